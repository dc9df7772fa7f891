"""Which of several classifiers is best, and how good the best one really is: nested, grouped folds.

The inner folds choose; the outer folds, which had no part in the choice, say how good the chosen one is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.classify.classifier import Classifier
from napari_bloodcell.core.classify.fitting import check_training, fit, fit_scaled, held_out_scores
from napari_bloodcell.core.classify.folds import deal, folds_that_fit
from napari_bloodcell.core.config import ClassifierConfig
from napari_bloodcell.core.errors import ClassifyError
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import Embeddings


@dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """``inner``: held-out balanced accuracy of each candidate, on which the choice rests (so it flatters the
    chosen one). ``outer``: that of the whole procedure on cells without part in the choice."""

    candidates: tuple[ClassifierConfig, ...]
    inner: tuple[float, ...]
    outer: float
    chosen: ClassifierConfig
    chosen_in_folds: tuple[str, ...]
    classifier: Classifier
    notes: tuple[str, ...] = ()


def select(
    embeddings: Embeddings,
    labels: Sequence[str],
    candidates: Sequence[ClassifierConfig],
    *,
    groups: Sequence[str] | None = None,
    labs: Sequence[str] | None = None,
    progress: Progress = silent,
) -> Selection:
    """The best of the candidates, trained on all cells. The outer folds are as many as the first one's."""
    if not candidates:
        raise ClassifyError("There is nothing to select from: give one classifier at least.")
    check_training(embeddings, labels)
    _, truths = np.unique(np.asarray(labels, dtype=np.str_), return_inverse=True)
    config = candidates[0]
    folds, note = folds_that_fit(config.folds, truths, groups)
    part = deal(truths, groups, folds, np.random.default_rng(config.seed + 1))
    guesses = np.full(len(truths), -1)
    winners = []
    for number in range(folds):
        progress("Selecting classifier", number, folds + 1)
        held = part == number
        rows = np.flatnonzero(~held)
        inner = _inner(embeddings.values[rows], truths[rows], candidates, _at(groups, rows))
        winner = candidates[int(np.argmax(inner))]
        winners.append(winner.kind)
        guesses[held] = _guess(embeddings, truths, held, winner)
    progress("Selecting classifier", folds, folds + 1)
    inner = _inner(embeddings.values, truths, candidates, groups)
    chosen = candidates[int(np.argmax(inner))]
    return Selection(
        candidates=tuple(candidates),
        inner=tuple(inner),
        outer=balanced_accuracy(truths, guesses),
        chosen=chosen,
        chosen_in_folds=tuple(winners),
        classifier=fit(embeddings, labels, chosen, groups=groups, labs=labs, progress=progress),
        notes=(note,) if note else (),
    )


def balanced_accuracy(truths: NDArray[np.int_], guesses: NDArray[np.int_]) -> float:
    """Mean over the classes that are there of the share that is right."""
    return float(np.mean([(guesses[truths == c] == c).mean() for c in np.unique(truths)]))


def _at(groups: Sequence[str] | None, rows: NDArray[np.int_]) -> list[str] | None:
    return None if groups is None else [groups[row] for row in rows]


def _inner(
    values: NDArray[np.float32],
    truths: NDArray[np.int_],
    candidates: Sequence[ClassifierConfig],
    groups: Sequence[str] | None,
) -> list[float]:
    present, own = np.unique(truths, return_inverse=True)
    if len(present) < 2 or (groups is not None and len(set(groups)) < 2):
        return [0.0] * len(candidates)
    scores = [held_out_scores(values, own, config, groups=groups)[0] for config in candidates]
    return [balanced_accuracy(own, each.argmax(axis=1)) for each in scores]


def _guess(
    embeddings: Embeddings, truths: NDArray[np.int_], held: NDArray[np.bool_], config: ClassifierConfig
) -> NDArray[np.int_]:
    """Classes of the held-out cells, by the chosen classifier trained on the others."""
    present, own = np.unique(truths[~held], return_inverse=True)
    if len(present) < 2:
        return np.full(int(held.sum()), present[0])
    mean, scale, head = fit_scaled(embeddings.values[~held], own, config)
    ready = ((embeddings.values[held] - mean) / scale).astype(np.float32)
    guesses: NDArray[np.int_] = present[head.scores(ready).argmax(axis=1)]
    return guesses
