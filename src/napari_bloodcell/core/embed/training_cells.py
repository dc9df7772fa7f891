"""The cells an autoencoder is trained on: rows of a feature store, each with its lab, some held out."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_bloodcell.core.artifact import hash_of
from napari_bloodcell.core.cells import crops_of
from napari_bloodcell.core.config import AlignConfig, FeatureConfig
from napari_bloodcell.core.datasets import CellImage, Dataset, split_of_cell
from napari_bloodcell.core.embed.feature_store import FeatureStore, keys_of, open_store
from napari_bloodcell.core.embed.sam_model import OpenSam, each_batch
from napari_bloodcell.core.embed.targets import targets_of
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.folders import cache_folder
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import Crops
from napari_bloodcell.core.segment import SEGMENTERS

SEGMENTER = "stain-watershed"
PIECE = 256  # cells cut out at a time
LEAST_IN_A_LAB = 8  # fewer cells say nothing about how a lab's cells are spread
MEMORY_BYTES = 2 * 2**30  # sets that fit are read once; larger ones are read as they are needed
APART = -1  # domain of cells that are kept out of the alignment

Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingCells:
    """``domain`` is the number of each cell's lab in ``labs``, or ``APART``."""

    store: FeatureStore
    rows: Rows  # N, into the store
    domain: Rows  # N
    held_out: NDArray[np.bool_]  # N
    labs: tuple[str, ...]  # those that are aligned
    share: NDArray[np.float32] | None = None  # N x C, the kind of each cell, for conditional alignment
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def hash(self) -> str:
        """Of the cells and what is known of them, whatever the store's order."""
        keys = {row: key for key, row in self.store.rows.items()}
        each = zip(self.rows, self.domain, self.held_out, strict=True)
        told = sorted([keys[int(r)], int(d), bool(h)] for r, d, h in each)
        return hash_of({"cells": told, "labs": list(self.labs)})

    @property
    def train(self) -> Rows:
        """Places (0 to N) of the cells that are trained on."""
        return np.flatnonzero(~self.held_out)

    def counts(self) -> dict[str, int]:
        found = {lab: int((self.domain == i).sum()) for i, lab in enumerate(self.labs)}
        apart = int((self.domain == APART).sum())
        return found | ({"not aligned": apart} if apart else {})


def prepare(
    dataset: Dataset,
    sam: OpenSam,
    features: FeatureConfig,
    align: AlignConfig,
    folder: Path | None = None,
    *,
    progress: Progress = silent,
) -> TrainingCells:
    """Cut out the cells, compute what the store lacks, and say which cells may be seen.

    Classes are never used. ``folder``: the store; by default one of the cache, by model.
    """
    cells = allowed([*dataset.cells, *dataset.unlabelled], align)
    place = folder if folder is not None else cache_folder() / "features" / store_name(sam, features)
    store = open_store(
        place,
        model=sam.hash,
        size_px=sam.input_px(features),
        shape=sam.map_shape(features),
        target=features.drawing,
    )
    rows: list[int] = []
    kept: list[CellImage] = []
    missing = 0
    for start in range(0, len(cells), PIECE):
        piece = cells[start : start + PIECE]
        found = crops_of(piece, SEGMENTERS[SEGMENTER], features.crop, progress=progress)
        rows += add_crops(store, sam, found.crops, features, progress=progress)
        kept += [piece[row] for row in found.row]
        missing += len(found.missing)
        progress("Preparing cells", start + len(piece), len(cells))
    notes = (
        (f"{missing} cells were left out: not found, or in pictures that cannot be read.",) if missing else ()
    )
    held_out = [split_of_cell(cell, align.held_out) == "held_out" for cell in kept]
    return arrange(store, rows, [cell.domain for cell in kept], held_out, notes)


def allowed(cells: Sequence[CellImage], align: AlignConfig) -> list[CellImage]:
    """What the protocol lets a training see."""
    labs = sorted({cell.domain for cell in cells})
    if align.target is not None and align.target not in labs:
        raise DataError(f"There is no lab {align.target!r} in the data; it has {', '.join(labs)}.")
    if align.protocol == "transductive":
        return list(cells)
    if align.target is None:
        raise DataError(
            "The inductive protocol leaves the target lab out: say which, with --align.target. "
            f"The data has {', '.join(labs)}."
        )
    return [cell for cell in cells if cell.domain != align.target]


def store_name(sam: OpenSam, features: FeatureConfig) -> str:
    told = {"input_px": sam.input_px(features), "target": features.drawing.to_json()}
    return f"{sam.hash[:12]}-{hash_of(told)[:8]}"


def add_crops(
    store: FeatureStore, sam: OpenSam, crops: Crops, features: FeatureConfig, *, progress: Progress = silent
) -> list[int]:
    """Rows of the cells in the store; what it lacks is computed and kept batch by batch."""
    keys = keys_of(crops)
    new = np.array([i for i, key in enumerate(keys) if key not in store], np.int64)
    if len(new):
        part = _only(crops, new)
        targets = targets_of(part, features.drawing)

        def take(first: int, tokens: NDArray[np.float32]) -> None:
            ready = slice(first, first + len(tokens))
            store.add([keys[i] for i in new[ready]], tokens, targets[ready])

        each_batch(sam, part, features, lambda tokens, parts: tokens, take, progress=progress)  # noqa: ARG005
    return [store.rows[key] for key in keys]


def arrange(
    store: FeatureStore,
    rows: Sequence[int],
    labs_of: Sequence[str],
    held_out: Sequence[bool],
    notes: Sequence[str] = (),
) -> TrainingCells:
    """Number the labs. Those with too few cells to train on are trained on, but not aligned."""
    names = np.asarray(labs_of, np.str_)
    held = np.asarray(held_out, np.bool_)
    told = list(notes)
    labs: list[str] = []
    for lab in sorted(set(labs_of)):
        count = int(((names == lab) & ~held).sum())
        if count >= LEAST_IN_A_LAB:
            labs.append(lab)
        else:
            told.append(
                f"{lab} has {count} cells to train on; fewer than {LEAST_IN_A_LAB} do not show how a lab's "
                "cells are spread: they are drawn, but not aligned."
            )
    domain = np.array([labs.index(lab) if lab in labs else APART for lab in labs_of], np.int64)
    return TrainingCells(
        store=store,
        rows=np.asarray(rows, np.int64),
        domain=domain,
        held_out=held,
        labs=tuple(labs),
        notes=tuple(told),
    )


class CellReader:
    """Tokens and targets of places, as tensors. Small sets are held in memory, as stored (half precision)."""

    def __init__(self, cells: TrainingCells) -> None:
        self.cells = cells
        d, h, w = cells.store.shape
        fits = len(cells) * (2 * d * h * w + 3 * 128 * 128) <= MEMORY_BYTES
        self._tokens: Tensor | None = None
        self._targets: Tensor | None = None
        if fits and len(cells):
            self._tokens = torch.from_numpy(cells.store.read_tokens(cells.rows))
            self._targets = torch.from_numpy(cells.store.read_targets(cells.rows))

    def read(self, places: Rows) -> tuple[Tensor, Tensor]:
        """B x D x h x w (half precision) and B x 128 x 128 x 3 (bytes)."""
        if self._tokens is not None and self._targets is not None:
            index = torch.from_numpy(places)
            return self._tokens[index], self._targets[index]
        rows = self.cells.rows[places]
        store = self.cells.store
        return torch.from_numpy(store.read_tokens(rows)), torch.from_numpy(store.read_targets(rows))

    def ahead(self, batches: Sequence[Rows]) -> Iterator[tuple[Rows, Tensor, Tensor]]:
        """Each batch; the next one is read while this one is used."""
        if self._tokens is not None or not batches:
            for places in batches:
                yield places, *self.read(places)
            return
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(self.read, batches[0])
            for number, places in enumerate(batches):
                ready = coming.result()
                if number + 1 < len(batches):
                    coming = pool.submit(self.read, batches[number + 1])
                yield places, *ready


def balanced(domain: Rows, places: Rows, batch: int, rng: np.random.Generator) -> list[Rows]:
    """One epoch: as many batches as the cells fill, each with the same number of cells of every lab.

    A small lab comes round again and again, in a new order each time. Cells ``APART`` count as a lab.
    """
    groups = [places[domain[places] == one] for one in np.unique(domain[places])]
    steps = max(1, -(-len(places) // batch))
    share = max(1, batch // len(groups))
    columns = []
    for group in groups:
        rounds = -(-steps * share // len(group))
        order = np.concatenate([rng.permutation(group) for _ in range(rounds)])
        columns.append(order[: steps * share].reshape(steps, share))
    return [np.concatenate([column[step] for column in columns]) for step in range(steps)]


def _only(crops: Crops, rows: Rows) -> Crops:
    names = [name for name in Crops.__dataclass_fields__ if len(getattr(crops, name)) == len(crops)]
    return Crops(**{name: np.asarray(getattr(crops, name))[rows] for name in names})
