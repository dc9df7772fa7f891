"""How right a method is. Everything is counted from confusion tables, whole or resampled.

A confusion table is classes x (classes + 1): rows are the truth; the last column holds cells that got no
answer, because they were not found. Those are never right.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "kappa")


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """One row for each cell and classifier that was tested. A cell tested by five classifiers has five."""

    class_names: tuple[str, ...]
    truth: NDArray[np.int64]  # into class_names
    predicted: NDArray[np.int64]  # into class_names; -1 for a cell without an answer
    fold: NDArray[np.int64]  # which classifier, from 0
    group: NDArray[Any]  # cells of one patient or slide share it
    confidence: NDArray[np.float64]  # probability of the answer; 0 without one
    identified: NDArray[np.bool_]  # False where a classifier would call the cell unidentified

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the tables: folds x classes x (classes + 1)."""
        classes = len(self.class_names)
        return (int(self.fold.max(initial=0)) + 1, classes, classes + 1)

    @property
    def right(self) -> NDArray[np.bool_]:
        return np.asarray(self.truth == self.predicted)

    def places(self) -> NDArray[np.int64]:
        """Where each row counts in the flattened tables."""
        _, classes, columns = self.shape
        column = np.where(self.predicted < 0, classes, self.predicted)
        return np.asarray((self.fold * classes + self.truth) * columns + column)

    def tables(self) -> NDArray[np.int64]:
        return np.bincount(self.places(), minlength=int(np.prod(self.shape))).reshape(self.shape)


def accuracy(tables: NDArray[Any]) -> Floats:
    """Share of right answers; the same as F1 averaged over cells (micro). Leading axes are kept."""
    right = np.trace(tables, axis1=-2, axis2=-1)
    return _ratio(right, tables.sum(axis=(-2, -1)))


def balanced_accuracy(tables: NDArray[Any]) -> Floats:
    """Mean recall of the classes that occur."""
    cells = tables.sum(axis=-1)
    recall = _ratio(np.diagonal(tables, axis1=-2, axis2=-1), cells)
    return _mean_where(recall, cells > 0)


def macro_f1(tables: NDArray[Any]) -> Floats:
    """Mean F1 of the classes that occur or were answered."""
    right = np.diagonal(tables, axis1=-2, axis2=-1)
    both = tables.sum(axis=-1) + tables[..., :-1].sum(axis=-2)
    return _mean_where(_ratio(2 * right, both), both > 0)


def kappa(tables: NDArray[Any]) -> Floats:
    """Cohen's: agreement of label and answer beyond what their shares of classes give by chance. 0 where
    nothing is left beyond chance."""
    whole = tables.sum(axis=(-2, -1))
    labels, answered = tables.sum(axis=-1), tables[..., :-1].sum(axis=-2)
    chance = _ratio((labels * answered).sum(axis=-1), whole.astype(float) ** 2)
    seen = accuracy(tables)
    return np.divide(seen - chance, 1 - chance, out=np.zeros_like(seen), where=chance < 1)


def scores_of(tables: NDArray[Any]) -> dict[str, Floats]:
    return {
        "accuracy": accuracy(tables),
        "balanced_accuracy": balanced_accuracy(tables),
        "macro_f1": macro_f1(tables),
        "kappa": kappa(tables),
    }


def mean_scores(tables: NDArray[Any]) -> dict[str, Floats]:
    """Each metric for each fold, averaged over the folds that hold cells."""
    there = tables.sum(axis=(-2, -1)) > 0
    return {name: _mean_where(values, there) for name, values in scores_of(tables).items()}


def majority(truth: NDArray[Any]) -> float:
    """The accuracy of calling every cell by the commonest class."""
    return float(np.bincount(truth).max() / len(truth)) if len(truth) else 0.0


def ceiling(truth_names: NDArray[np.str_], known: set[str]) -> float:
    """The best accuracy there can be where some classes were never trained."""
    return float(np.isin(truth_names, sorted(known)).mean()) if len(truth_names) else 0.0


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Bins of the probability of the best class: how sure, how right, how many."""

    sure: Floats
    right: Floats
    cells: NDArray[np.int64]

    @property
    def error(self) -> float:
        """Expected calibration error: the mean gap, weighted by cells."""
        total = self.cells.sum()
        return float((np.abs(self.sure - self.right) * self.cells).sum() / total) if total else 0.0


def reliability(confidence: NDArray[Any], right: NDArray[np.bool_], bins: int = 15) -> Reliability:
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    cells = np.bincount(place, minlength=bins)
    return Reliability(
        sure=_ratio(np.bincount(place, weights=confidence, minlength=bins), cells),
        right=_ratio(np.bincount(place, weights=right, minlength=bins), cells),
        cells=cells,
    )


def risk_coverage(confidence: NDArray[Any], right: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Coverage, and the share of wrong answers among the surest so many. Equally sure cells go together."""
    if not len(confidence):
        return np.zeros(0), np.zeros(0)
    order = np.argsort(-confidence, kind="stable")
    wrong = np.cumsum(~right[order])
    count = np.arange(1, len(order) + 1)
    last_of_tie = np.append(np.diff(confidence[order]) != 0, True)
    return count[last_of_tie] / len(order), wrong[last_of_tie] / count[last_of_tie]


def accuracy_of_surest(confidence: NDArray[Any], right: NDArray[np.bool_], share: float = 0.5) -> float:
    """Among the surest ``share`` of the cells."""
    if not len(confidence):
        return 0.0
    chosen = np.argsort(-confidence, kind="stable")[: max(1, round(share * len(confidence)))]
    return float(right[chosen].mean())


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> Floats:
    """0 where there is nothing."""
    part, whole = np.broadcast_arrays(np.asarray(part, float), np.asarray(whole, float))
    result: Floats = np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)
    return result


def _mean_where(values: Floats, there: NDArray[np.bool_]) -> Floats:
    return _ratio((values * there).sum(axis=-1), there.sum(axis=-1))
