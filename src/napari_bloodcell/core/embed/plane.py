"""Vectors of cells as points in the plane, and whether cells of a class lie together."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import FloatArray

How = Literal["pca", "umap"]

MOST_COLUMNS = 50  # given to UMAP: more are first reduced
NEIGHBOURS = 15
VOTERS = 5
LEAST_CELLS = 3
LEAST_TO_JUDGE = 4  # cells of each of two groups


@dataclass(frozen=True, kw_only=True, eq=False)
class Plane:
    xy: FloatArray  # N x 2
    axes: tuple[str, str]  # what they are, for people


def to_plane(values: FloatArray, how: How = "pca", seed: int = 0, *, progress: Progress = silent) -> Plane:
    """Columns count alike, whatever their units; unknown values are the column's median."""
    if len(values) < LEAST_CELLS:
        raise DataError(f"A map takes {LEAST_CELLS} cells at least; there are {len(values)}. Add an image.")
    ready = standardised(values)
    progress("Drawing the map", 0, 1)
    centred, shares = _components(ready)
    if how == "umap":
        return Plane(xy=_umap(centred[:, :MOST_COLUMNS], seed), axes=("UMAP 1", "UMAP 2"))
    wide = np.zeros((len(values), 2), np.float32)
    wide[:, : centred.shape[1]] = centred[:, :2]
    first, second = (float(s) for s in (*shares, 0.0, 0.0)[:2])
    return Plane(xy=wide, axes=(f"{first:.0%} of the variance", f"{second:.0%}"))


def standardised(values: FloatArray) -> FloatArray:
    known = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    empty = np.isnan(known).all(axis=0)
    known[:, empty] = 0
    filled = np.where(np.isnan(known), np.nanmedian(known, axis=0), known)
    spread = filled.std(axis=0)
    return np.asarray((filled - filled.mean(axis=0)) / np.where(spread > 1e-9, spread, 1), np.float32)


def told_apart(values: FloatArray, groups: Sequence[str]) -> tuple[float, float] | None:
    """How well the nearest cells tell the group of a cell, and what guessing gives: both as balanced
    accuracy (each group counts alike). None where there are too few cells of two groups."""
    names, codes = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)
    counts = np.bincount(codes, minlength=len(names))
    usable = counts >= LEAST_TO_JUDGE
    if usable.sum() < 2:
        return None
    rows = usable[codes]
    ready, own = standardised(values[rows]), codes[rows]
    votes = _votes(ready, own, len(names), 1 / np.maximum(counts, 1))
    right = votes.argmax(axis=1) == own
    recalls = [float(right[own == group].mean()) for group in np.flatnonzero(usable)]
    return float(np.mean(recalls)), 1 / int(usable.sum())


def class_in_words(values: FloatArray, classes: Sequence[str]) -> str:
    """Whether like cells lie together, as a person reads it, and over which classes. Whether labs do:
    ``judge``."""
    found = told_apart(values, classes)
    if found is None:
        return f"Classes: cannot be judged with fewer than {LEAST_TO_JUDGE} cells of two classes."
    score, chance = found
    judged = [name for name, n in sorted(Counter(classes).items()) if n >= LEAST_TO_JUDGE]
    return (
        f"The class of a cell is told by its nearest neighbours in {score:.0%} (guessing: {chance:.0%}), "
        f"over the {classes_in_words(judged)} with {LEAST_TO_JUDGE} cells or more."
    )


def classes_in_words(names: Sequence[str]) -> str:
    number = "1 class" if len(names) == 1 else f"{len(names)} classes"
    return f"{number} ({', '.join(name.replace('_', ' ') for name in names)})"


def _votes(ready: FloatArray, own: NDArray[Any], groups: int, weights: NDArray[np.float64]) -> NDArray[Any]:
    """Each cell's nearest others vote for their group; rare groups weigh more."""
    voters = min(VOTERS, len(ready) - 1)
    votes = np.zeros((len(ready), groups))
    squares = (ready**2).sum(axis=1)
    for start in range(0, len(ready), 1024):
        part = ready[start : start + 1024]
        far = squares[start : start + 1024, None] + squares[None] - 2 * part @ ready.T
        far[np.arange(len(part)), np.arange(start, start + len(part))] = np.inf
        nearest = np.argpartition(far, voters - 1, axis=1)[:, :voters]
        for column in nearest.T:
            votes[np.arange(start, start + len(part)), own[column]] += weights[own[column]]
    return votes


def _components(ready: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Scores on the principal components, widest first, and the share of the variance of each."""
    left, widths, _ = np.linalg.svd(ready.astype(np.float64), full_matrices=False)
    # The sign of a component is free: the largest score is positive, so that a map looks the same again.
    largest = left[np.abs(left).argmax(axis=0), np.arange(left.shape[1])]
    scores = left * np.where(largest < 0, -1, 1) * widths
    power = widths**2
    return scores.astype(np.float32), (power / max(float(power.sum()), 1e-12)).astype(np.float32)


def require_umap() -> None:
    if find_spec("umap") is None:
        raise DataError("UMAP is not installed here. Choose PCA, or: pip install 'napari-bloodcell[umap]'")


def _umap(values: FloatArray, seed: int) -> FloatArray:
    require_umap()
    from umap import UMAP

    neighbours = min(NEIGHBOURS, len(values) - 1)
    # With few cells the spectral start has no solution.
    start = "spectral" if len(values) > 4 * NEIGHBOURS else "random"
    reducer = UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1, init=start)
    return np.asarray(reducer.fit_transform(values), np.float32)
