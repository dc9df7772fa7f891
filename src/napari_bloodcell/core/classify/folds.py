"""Dealing cells into parts, so that each part can be held out once. Cells of one group (a slide, a patient)
stay together; within that, each part gets its share of each class."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.errors import ClassifyError


def deal(
    truths: NDArray[Any], groups: Sequence[Any] | None, folds: int, rng: np.random.Generator
) -> NDArray[np.int32]:
    """The part of each cell, 0 to ``folds`` - 1: fewer where there are fewer groups."""
    count = len(truths)
    if groups is not None and len(groups) != count:
        raise ClassifyError(f"{len(groups)} groups for {count} cells. Give one group to each cell, or none.")
    members = np.arange(count) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    total = int(members.max(initial=-1)) + 1
    folds = min(folds, total)
    if folds < 2:
        raise ClassifyError(
            f"All {count} cells are of one group: nothing can be held out. Add cells of another slide."
        )
    names, classes = np.unique(truths, return_inverse=True)
    table = np.zeros((total, len(names)))
    np.add.at(table, (members, classes), 1)
    return _spread(table, folds, rng)[members]


def _spread(table: NDArray[Any], folds: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Groups (rows; cells a class in columns) to parts: the largest and rarest first, each to the part that
    has least of its classes."""
    rarity = table / np.maximum(table.sum(axis=0), 1)
    order = rng.permutation(len(table))
    order = order[np.argsort(-rarity[order].sum(axis=1), kind="stable")]
    filled = np.zeros((folds, table.shape[1]))
    part = np.zeros(len(table), np.int32)
    for group in order:
        crowded = filled @ rarity[group] + 1e-6 * filled.sum(axis=1)
        part[group] = int(crowded.argmin())
        filled[part[group]] += rarity[group] + 1e-6 * table[group]
    return part


def folds_that_fit(wanted: int, truths: NDArray[Any], groups: Sequence[Any] | None) -> tuple[int, str]:
    """How many parts there can be, and a sentence where they are fewer than asked for."""
    units = len(truths) if groups is None else len(set(groups))
    fit = min(wanted, units)
    what = "cells" if groups is None else "slides"
    return fit, "" if fit == wanted else f"{fit} folds instead of {wanted}: there are {units} {what}"
