"""Which cells a batch holds: equally many of each lab, each cell as often as the others, or each class."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.config import SadaConfig
from napari_bloodcell.core.embed.sada.cells import LabCells, Numbers


def rows_of_epoch(cells: LabCells, config: SadaConfig, seed: int, epoch: int) -> Iterator[Numbers]:
    """The rows of each batch. A lab with fewer cells than its share of a batch shows some of them twice."""
    rng = np.random.default_rng((seed, epoch))
    steps, each = config.steps_per_epoch, config.per_lab
    streams = [_stream(cells, lab, steps * each, config.balanced, rng) for lab in range(len(cells.lab_names))]
    for step in range(steps):
        yield np.concatenate([stream[step * each : (step + 1) * each] for stream in streams])


def class_shares(cells: LabCells, config: SadaConfig) -> NDArray[np.float64]:
    """How often each class is shown, all labs together: sums to 1."""
    shares = np.zeros(len(cells.class_names))
    for lab in range(len(cells.lab_names)):
        counts = np.bincount(cells.labels[_trained(cells, lab)], minlength=len(shares)).astype(np.float64)
        own = (counts > 0).astype(np.float64) if config.balanced else counts
        shares += own / own.sum()
    total: NDArray[np.float64] = shares / shares.sum()
    return total


def _trained(cells: LabCells, lab: int) -> Numbers:
    return np.flatnonzero((cells.labs == lab) & ~cells.held_out)


def _stream(cells: LabCells, lab: int, length: int, balanced: bool, rng: np.random.Generator) -> Numbers:
    """So many rows of a lab: shuffled anew each time all have been shown."""
    own = _trained(cells, lab)
    if not balanced:
        return _shuffled(own, length, rng)
    classes = np.unique(cells.labels[own])
    turns = _shuffled(classes, length, rng)
    stream = np.empty(length, np.int64)
    for label in classes:
        turn = turns == label
        stream[turn] = _shuffled(own[cells.labels[own] == label], int(turn.sum()), rng)
    return stream


def _shuffled(rows: Numbers, length: int, rng: np.random.Generator) -> Numbers:
    rounds = -(-length // len(rows))
    return np.concatenate([rng.permutation(rows) for _ in range(rounds)] or [rows[:0]])[:length]
