"""Bootstrap intervals over cells, or over patients and slides where cells of one belong together.

Five classifiers that share most of their training cells are no five samples: their spread says nothing
about the next slide. Here the cells that are tested are drawn anew, all cells of a group together, and the
classifiers stay as they are.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.evaluate.metrics import Answers, mean_scores

AT_ONCE = 100  # resamples held in memory together

Interval = tuple[float, float]


def bootstrap(
    answers: Answers, *, samples: int, confidence: float, seed: int
) -> dict[str, tuple[float, Interval]]:
    """Each metric with its interval. Nothing tested says nothing: 0 to 1."""
    whole = mean_scores(answers.tables())
    if not len(answers.truth):
        return dict.fromkeys(whole, (0.0, (0.0, 1.0)))
    counts = _by_group(answers)
    groups = counts.shape[0]
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in whole}
    for start in range(0, samples, AT_ONCE):
        count = min(AT_ONCE, samples - start)
        weights = rng.multinomial(groups, np.full(groups, 1 / groups), size=count)
        resampled = np.asarray(counts.T.dot(weights.T)).T.reshape(count, *answers.shape)
        for name, value in mean_scores(resampled).items():
            drawn[name].append(value)
    tail = (1 - confidence) / 2
    result = {}
    for name, value in whole.items():
        low, high = np.quantile(np.concatenate(drawn[name]), (tail, 1 - tail))
        result[name] = (float(value), (float(low), float(high)))
    return result


def _by_group(answers: Answers) -> Any:
    """Groups x everything a table counts, sparse: a cell adds one to one place for each fold."""
    from scipy.sparse import csr_array

    _, group = np.unique(answers.group, return_inverse=True)
    ones = np.ones(len(group), np.int64)
    return csr_array((ones, (group, answers.places())), shape=(group.max() + 1, int(np.prod(answers.shape))))
