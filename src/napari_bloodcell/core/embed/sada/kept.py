"""Cells cut out for a training, kept in its folder until it is finished: outlining thousands of cells takes
longer than an epoch, and a run that was stopped shall not do it again.

Pieces are named by what they were made from, so a changed picture or setting makes its own piece anew.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from napari_bloodcell.core.artifact import hash_of, read_kept, write_arrays
from napari_bloodcell.core.cells import FoundCells, crops_of
from napari_bloodcell.core.config import CropConfig
from napari_bloodcell.core.crop import join
from napari_bloodcell.core.datasets import CellImage
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import Crops
from napari_bloodcell.core.segment import StainSegmenter

PIECE = 64
FOLDER = "cut-cells"
VERSION = 2  # raise it when cutting out changes


def crops_kept(
    cells: Sequence[CellImage], config: CropConfig, folder: Path, *, progress: Progress = silent
) -> FoundCells:
    """As ``crops_of``, piece by piece; pieces that the folder holds are read."""
    segmenter, found = StainSegmenter(), []
    starts = range(0, len(cells), PIECE)
    for start in starts:
        piece = cells[start : start + PIECE]
        path = folder / FOLDER / f"{_name_of(piece, config, segmenter)}.safetensors"
        one = _read(path)
        if one is None:
            one = crops_of(piece, segmenter, config, progress=_counted(progress, start, len(cells)))
            _write(path, one)
        found.append(one)
    return FoundCells(
        crops=join([one.crops for one in found]),
        row=np.concatenate([one.row + start for one, start in zip(found, starts, strict=True)]),
        missing=tuple(
            (row + start, reason)
            for one, start in zip(found, starts, strict=True)
            for row, reason in one.missing
        ),
    )


def kept_files(folder: Path) -> list[str]:
    """The names of what is kept, from ``folder`` on."""
    return sorted(f"{FOLDER}/{one.name}" for one in (folder / FOLDER).glob(f"{'?' * 64}.safetensors"))


def forget(folder: Path) -> None:
    """Once a training is finished they are of no more use, and they may be gigabytes. Whatever else lies
    there is somebody's own, and stays."""
    for name in kept_files(folder):
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):
        (folder / FOLDER).rmdir()


def _counted(progress: Progress, before: int, everything: int) -> Progress:
    """A piece's progress, told as that of all cells."""

    def told(stage: str, done: int, total: int) -> None:  # noqa: ARG001
        progress(stage, before + done, everything)

    return told


def _name_of(piece: Sequence[CellImage], config: CropConfig, segmenter: StainSegmenter) -> str:
    cells = [
        [_state_of(c.path), _state_of(c.mask_path), c.box_xyxy, c.um_per_px]
        + ([str(c.outline)] if c.outline else [])
        for c in piece
    ]
    return hash_of([cells, config.to_json(), segmenter.hash, VERSION])


def _state_of(path: Path | None) -> list[Any]:
    """Changes when the file does; reading thousands of files to know it would take as long as cutting."""
    if path is None:
        return []
    try:
        about = path.stat()
    except OSError:
        return [str(path)]
    return [str(path), about.st_size, about.st_mtime_ns]


def _write(path: Path, found: FoundCells) -> None:
    arrays = {name: getattr(found.crops, name) for name in Crops.__dataclass_fields__}
    missing = [[row, reason] for row, reason in found.missing]
    write_arrays(path, "cut-cells", arrays | {"row": found.row}, config={"missing": missing})


def _read(path: Path) -> FoundCells | None:
    kept = read_kept(path, "cut-cells")
    if kept is None:
        return None
    header, arrays = kept
    row = arrays.pop("row")
    missing = tuple((int(number), str(reason)) for number, reason in header.config["missing"])
    return FoundCells(crops=Crops(**arrays), row=row, missing=missing)
