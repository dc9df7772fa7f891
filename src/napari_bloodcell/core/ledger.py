"""The diary of an output folder: one line for each image as it is finished, and a lock while a run writes.

The diary is for people; what is finished is decided by each image's own ``run.json``.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import IO, BinaryIO

from napari_bloodcell.core.artifact import only_writer
from napari_bloodcell.core.jobs import Item
from napari_bloodcell.core.report.provenance import LEDGER, read_ledger

__all__ = ["LEDGER", "Ledger", "open_ledger", "read_ledger"]


class Ledger:
    """Lines are added and never changed: the last line of an image is what became of it."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def add(self, item: Item) -> None:
        line = {
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "image": str(item.path),
            "slide": item.slide,
            "folder": item.folder.name,
            "state": item.state,
            "reason": item.reason,
            "seconds": round(item.seconds, 3),
            "worker": item.worker,
        }
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()


@contextmanager
def open_ledger(out: Path) -> Iterator[Ledger]:
    """The diary of ``out``, for one run at a time."""
    with only_writer(out), (out / LEDGER).open("a+b") as file:
        _end_line(file)
        with TextIOWrapper(file, encoding="utf-8", newline="\n") as text:
            yield Ledger(text)


def _end_line(file: BinaryIO) -> None:
    """What a killed run left half-written must not take the next line with it."""
    if file.seek(0, os.SEEK_END):
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.write(b"\n")
