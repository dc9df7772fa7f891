"""Labels that answers of a classifier contradict: a person slipped there, or the classifier is wrong.

As in confident learning (Northcutt et al., JAIR 2021): an answer speaks against a label where it is as sure
of another class as it is, on average, of the cells that carry that class.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LEAST_OF_CLASS = 3  # cells, below which nobody knows how sure of a class is usual


def contradicted(
    probabilities: NDArray[np.floating], class_names: Sequence[str], labels: NDArray[np.str_]
) -> NDArray[np.float64]:
    """How far each label is contradicted, 0 to 1; 0 where it is not. ``probabilities`` (N x C) must come from
    classifiers that did not see the cell. A class they do not know is never contradicted."""
    if not len(class_names):
        return np.zeros(len(labels))
    names = np.asarray(class_names, np.str_)
    carried = labels[:, None] == names
    usual = np.ones(len(names))
    enough = carried.sum(axis=0) >= LEAST_OF_CLASS
    usual[enough] = (probabilities * carried).sum(axis=0)[enough] / carried.sum(axis=0)[enough]
    best = probabilities.argmax(axis=1)
    rows = np.arange(len(labels))
    against = carried.any(axis=1) & ~carried[rows, best] & (probabilities[rows, best] >= usual[best])
    own = (probabilities * carried).sum(axis=1)
    return np.where(against, probabilities[rows, best] - own, 0.0)
