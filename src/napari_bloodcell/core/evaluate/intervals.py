"""Bootstrap intervals over cells, or over patients and slides where cells of one belong together.

Five classifiers that share most of their training cells are no five samples: their spread says nothing
about the next slide. Here the cells that are tested are drawn anew, all cells of a group together, and the
classifiers stay as they are.

For means over classes the draw is made class by class, and fold by fold where a cell is tested in one: a
class of one cell would be missing from every third draw, and the mean over the classes left would jump.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.evaluate.metrics import Answers, mean_scores

AT_ONCE = 100  # resamples held in memory together
OVER_CELLS, OVER_CLASSES = ("accuracy", "kappa"), ("balanced_accuracy", "macro_f1")

Interval = tuple[float, float]
Drawn = dict[str, NDArray[np.float64]]  # each metric, of each draw


def bootstrap(
    answers: Answers, *, samples: int, confidence: float, seed: int
) -> dict[str, tuple[float, Interval]]:
    """Each metric with its interval. Nothing tested says nothing: 0 to 1."""
    return intervals_of(answers, resampled(answers, samples=samples, seed=seed), confidence)


def intervals_of(answers: Answers, drawn: Drawn, confidence: float) -> dict[str, tuple[float, Interval]]:
    whole = mean_scores(answers.tables())
    if not len(answers.truth):
        return dict.fromkeys(whole, (0.0, (0.0, 1.0)))
    return {name: (float(value), _middle(drawn[name], confidence)) for name, value in whole.items()}


def differences(
    answers: Answers, drawn: Drawn, first: Answers, first_drawn: Drawn, confidence: float
) -> dict[str, tuple[float, Interval]]:
    """Each metric less that of ``first`` on the same cells. Both were drawn with the same seed, so that every
    draw holds the same cells of both."""
    own, other = mean_scores(answers.tables()), mean_scores(first.tables())
    return {
        name: (float(own[name] - other[name]), _middle(drawn[name] - first_drawn[name], confidence))
        for name in own
    }


def resampled(answers: Answers, *, samples: int, seed: int) -> Drawn:
    """Each metric of each draw. The draws depend on the cells and the seed, not on what was answered."""
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in (*OVER_CELLS, *OVER_CLASSES)}
    if not len(answers.truth):
        return {name: np.zeros(0) for name in drawn}
    counts, kinds = _by_group(answers)
    rng = np.random.default_rng(seed)
    for start in range(0, samples, AT_ONCE):
        count = min(AT_ONCE, samples - start)
        for strata, names in ((np.zeros_like(kinds), OVER_CELLS), (kinds, OVER_CLASSES)):
            weights = _draw(strata, count, rng)
            resampled = np.asarray(counts.T.dot(weights.T)).T.reshape(count, *answers.shape)
            values = mean_scores(resampled)
            for name in names:
                drawn[name].append(values[name])
    return {name: np.concatenate(values) for name, values in drawn.items()}


def _middle(values: NDArray[np.float64], confidence: float) -> Interval:
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, (tail, 1 - tail))
    return float(low), float(high)


def _draw(strata: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """How often each group is drawn: draws x groups; as many from each stratum as it holds."""
    weights = np.zeros((count, len(strata)), np.int64)
    for stratum in np.unique(strata):
        inside = np.flatnonzero(strata == stratum)
        weights[:, inside] = rng.multinomial(len(inside), np.full(len(inside), 1 / len(inside)), size=count)
    return weights


def _by_group(answers: Answers) -> tuple[Any, NDArray[np.int64]]:
    """Groups x everything a table counts, sparse: a cell adds one to one place for each fold. And of each
    group a number for its commonest class and the folds that test it."""
    from scipy.sparse import csr_array

    _, group = np.unique(answers.group, return_inverse=True)
    groups, ones = int(group.max()) + 1, np.ones(len(group), np.int64)
    counts = csr_array((ones, (group, answers.places())), shape=(groups, int(np.prod(answers.shape))))
    classes = csr_array((ones, (group, answers.truth)), shape=(groups, len(answers.class_names)))
    folds = csr_array((ones, (group, answers.fold)), shape=(groups, answers.shape[0])).toarray() > 0
    told = np.column_stack([classes.toarray().argmax(axis=1), folds])
    return counts, np.unique(told, axis=0, return_inverse=True)[1].reshape(-1)
