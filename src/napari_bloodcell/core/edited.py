"""Tables and outlines of results that a person changed by hand: told, and kept when they are made anew."""

from collections.abc import Mapping
from pathlib import Path

from napari_bloodcell.core.image import hash_file

TABLE = "cells.csv"
BY_HAND = (TABLE, "labels.ome.tif", "nuclei.ome.tif")  # what people edit


def is_edited(folder: Path, outputs: Mapping[str, str], name: str = TABLE) -> bool:
    """Whether a file is another than the one that was written. ``outputs``: hashes by name."""
    path = folder / name
    return name in outputs and path.is_file() and hash_file(path) != outputs[name]


def set_aside(folder: Path, outputs: Mapping[str, str]) -> list[str]:
    """Before results are written anew: what was changed gets another name. Returns a note of each."""
    notes = []
    for name in BY_HAND:
        if is_edited(folder, outputs, name):
            kept = _free(folder, name)
            (folder / name).rename(kept)
            notes.append(
                f"{name} had been changed since it was written: it is kept as {kept.name}{_advice(name)}"
            )
    return notes


def _advice(name: str) -> str:
    return ", for `report --readers`" if name == TABLE else ""


def _free(folder: Path, name: str) -> Path:
    stem, dot, ending = name.partition(".")
    numbers = ("", *(f"-{number}" for number in range(2, 10_000)))
    return next(
        place for number in numbers if not (place := folder / f"{stem}-changed{number}{dot}{ending}").exists()
    )
