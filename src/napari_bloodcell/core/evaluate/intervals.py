"""Bootstrap intervals over cells, or over patients and slides where cells of one belong together.

Five classifiers that share most of their training cells are no five samples: their spread says nothing
about the next slide. Here the cells that are tested are drawn anew, all cells of a group together, and the
classifiers stay as they are.

For means over classes the draw is made class by class: a class of one cell would be missing from every third
draw, and the mean over the classes that are left would jump.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.evaluate.metrics import Answers, mean_scores

AT_ONCE = 100  # resamples held in memory together
OVER_CELLS, OVER_CLASSES = ("accuracy",), ("balanced_accuracy", "macro_f1")

Interval = tuple[float, float]


def bootstrap(
    answers: Answers, *, samples: int, confidence: float, seed: int
) -> dict[str, tuple[float, Interval]]:
    """Each metric with its interval. Nothing tested says nothing: 0 to 1."""
    whole = mean_scores(answers.tables())
    if not len(answers.truth):
        return dict.fromkeys(whole, (0.0, (0.0, 1.0)))
    counts, classes = _by_group(answers)
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in whole}
    for start in range(0, samples, AT_ONCE):
        count = min(AT_ONCE, samples - start)
        for strata, names in ((np.zeros_like(classes), OVER_CELLS), (classes, OVER_CLASSES)):
            weights = _draw(strata, count, rng)
            resampled = np.asarray(counts.T.dot(weights.T)).T.reshape(count, *answers.shape)
            values = mean_scores(resampled)
            for name in names:
                drawn[name].append(values[name])
    tail = (1 - confidence) / 2
    result = {}
    for name, value in whole.items():
        low, high = np.quantile(np.concatenate(drawn[name]), (tail, 1 - tail))
        result[name] = (float(value), (float(low), float(high)))
    return result


def _draw(strata: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """How often each group is drawn: draws x groups; as many from each stratum as it holds."""
    weights = np.zeros((count, len(strata)), np.int64)
    for stratum in np.unique(strata):
        inside = np.flatnonzero(strata == stratum)
        weights[:, inside] = rng.multinomial(len(inside), np.full(len(inside), 1 / len(inside)), size=count)
    return weights


def _by_group(answers: Answers) -> tuple[Any, NDArray[np.int64]]:
    """Groups x everything a table counts, sparse: a cell adds one to one place for each fold. And the
    commonest class of each group."""
    from scipy.sparse import csr_array

    _, group = np.unique(answers.group, return_inverse=True)
    groups, ones = int(group.max()) + 1, np.ones(len(group), np.int64)
    counts = csr_array((ones, (group, answers.places())), shape=(groups, int(np.prod(answers.shape))))
    classes = csr_array((ones, (group, answers.truth)), shape=(groups, len(answers.class_names)))
    return counts, np.asarray(classes.toarray().argmax(axis=1))
