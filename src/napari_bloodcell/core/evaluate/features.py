"""The vectors of all cells, kept on disk: cells are cut out and described once for all trials and runs.

Cells are stored in chunks named by what they were made from. A run that broke off goes on at the next chunk;
added cells are computed alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.artifact import hash_of, read_kept, write_arrays
from napari_bloodcell.core.cells import crops_of
from napari_bloodcell.core.config import CropConfig
from napari_bloodcell.core.embed import Embedder
from napari_bloodcell.core.errors import ClassifyError
from napari_bloodcell.core.evaluate.cells import CellTable
from napari_bloodcell.core.evaluate.methods import labs_seen
from napari_bloodcell.core.progress import Progress, silent, within
from napari_bloodcell.core.records import Embeddings
from napari_bloodcell.core.segment import Segmenter, StainSegmenter

CHUNK = 64
VERSION = 3  # raise it when cutting out changes: cached vectors are then made anew


# Vectors, whether each cell was found, and the reason for each picture that could not be read.
Chunk = tuple[NDArray[np.float32], NDArray[np.bool_], Mapping[int, str]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """One vector a cell of the table; zeros where it was not found. ``unread``: rows whose picture cannot be
    used, with the reason."""

    values: NDArray[np.float32]
    found: NDArray[np.bool_]
    names: tuple[str, ...]
    embedder: str
    labs_seen: frozenset[str] = frozenset()  # that the embedder was trained on, where it tells
    unread: Mapping[int, str] = field(default_factory=dict)

    def kept(self, rows: NDArray[np.int64]) -> "Features":
        """Of some rows of the table, all of which could be read."""
        return replace(self, values=self.values[rows], found=self.found[rows], unread={})


def features_of(
    table: CellTable,
    embedder: Embedder,
    folder: Path,
    segmenter: Segmenter = StainSegmenter(),
    *,
    use_masks: bool = True,
    progress: Progress = silent,
) -> Features:
    """All vectors of one embedder, computed where ``folder`` does not hold them yet. ``segmenter`` outlines
    the cells of sets without masks; all cells where ``use_masks`` is off."""
    if not use_masks:
        table = without_masks(table)
    values = np.zeros((len(table), len(embedder.names)), np.float32)
    found = np.zeros(len(table), bool)
    unread: dict[int, str] = {}
    chunks = list(_chunks(table))
    for number, rows in enumerate(chunks):
        progress(f"Describing cells: {embedder.kind}", number, len(chunks))
        path = folder / f"{_name_of(table, rows, embedder, segmenter)}.safetensors"
        values[rows], found[rows], lost = _kept(path) or _made(
            table, rows, embedder, segmenter, path, progress
        )
        unread |= {int(rows[place]): reason for place, reason in lost.items()}
    progress(f"Describing cells: {embedder.kind}", len(chunks), len(chunks))
    _check_finite(table, values, embedder)
    return Features(
        values=values,
        found=found,
        names=embedder.names,
        embedder=embedder.hash,
        labs_seen=labs_seen(embedder),
        unread=unread,
    )


def vectors_of(features: Features, rows: NDArray[np.int64]) -> Embeddings:
    """Of some rows of the table, as classifiers take them."""
    return Embeddings(
        cell_id=np.arange(1, len(rows) + 1, dtype=np.int32),
        values=features.values[rows],
        names=features.names,
        embedder=features.embedder,
    )


def without_masks(table: CellTable) -> CellTable:
    """The same cells, to be outlined anew."""
    key = [
        f"{key} outlined anew" if cell.has_mask else key
        for key, cell in zip(table.key, table.cells, strict=True)
    ]
    cells = tuple(cell.without_mask() for cell in table.cells)
    return replace(table, cells=cells, key=np.asarray(key, np.str_))


def _chunks(table: CellTable) -> Iterator[NDArray[np.int64]]:
    """Lab by lab in the order of the keys: a set that grows at its end keeps most of its chunks."""
    for lab in table.labs:
        rows = table.rows_of(lab)
        for start in range(0, len(rows), CHUNK):
            yield rows[start : start + CHUNK]


def _name_of(
    table: CellTable, rows: Sequence[int] | NDArray[np.int64], embedder: Embedder, segmenter: Segmenter
) -> str:
    made_from = {
        "cells": table.key[rows].tolist(),
        "embedder": getattr(embedder, "vectors_hash", embedder.hash),
        "segmenter": segmenter.hash,
        "crop": _crop_config(embedder).to_json(),
        "version": VERSION,
    }
    return hash_of(made_from)


def _crop_config(embedder: Embedder) -> CropConfig:
    """An embedder may ask for another size of crops than the usual one."""
    wanted = getattr(embedder, "crop", None)
    return wanted if isinstance(wanted, CropConfig) else CropConfig()


def _kept(path: Path) -> Chunk | None:
    kept = read_kept(path, "features")
    return kept and (kept[1]["values"], kept[1]["found"].astype(bool), {})


def _made(
    table: CellTable,
    rows: NDArray[np.int64],
    embedder: Embedder,
    segmenter: Segmenter,
    path: Path,
    progress: Progress,
) -> Chunk:
    """Kept on disk unless a picture cannot be read: it may be whole, or its reader installed, next time."""
    cells = [table.cells[row] for row in rows]
    seen = within(progress, embedder.kind)
    cut = crops_of(cells, segmenter, _crop_config(embedder), progress=seen)
    values = np.zeros((len(cells), len(embedder.names)), np.float32)
    found = np.zeros(len(cells), np.uint8)
    values[cut.row] = embedder.embed(cut.crops, progress=seen).values
    found[cut.row] = 1
    if not cut.unread:
        made = {"embedder": embedder.hash}
        write_arrays(path, "features", {"values": values, "found": found}, parents=made)
    return values, found.astype(bool), cut.unread


def _check_finite(table: CellTable, values: NDArray[np.float32], embedder: Embedder) -> None:
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise ClassifyError(
            f"{len(bad)} of {len(values)} vectors of embedder {embedder.kind} hold NaN or infinite numbers; "
            f"the first is of {table.cells[bad[0]].path}. Look at this picture, or leave it out."
        )
