"""A second opinion for a forest, from the cells of one lab alone.

A forest is robust where it has not been, and slow to learn from a few corrections. Logistic regression learns
from few, but needs every class to be there: so it learns from all cells of the lab, the corrected ones as a
person named them and the others, less, as the forest does. Its scores are added to the forest's
(docs/evaluation.md).
"""

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.classify.classifier import EXTREME, Classifier
from napari_bloodcell.core.classify.heads.linear import LinearHead

STRENGTH = 1.0
OTHERS = 25.0  # corrected cells that weigh as much as all other cells of the lab together
MOST_OF_ONE = 0.5  # weight of one other cell, a corrected one being 1
MOST_OTHERS = 1_000  # looked at: more of them say no more, and cost time
FULL_VOICE = 60  # cells of the lab, below which the opinion counts less


def second_opinion(
    forest: Classifier, values: NDArray[np.float32], corrected: NDArray[np.int_], labels: NDArray[np.str_]
) -> LinearHead:
    """``values`` of all cells of the lab; ``labels`` are the classes of those in ``corrected``, all of them
    known to the forest."""
    others = _some(np.setdiff1d(np.arange(len(values)), corrected))
    ready = forest.standardise(values[np.concatenate([corrected, others])])
    classes = len(forest.class_names)
    named = np.eye(classes)[np.searchsorted(forest.class_names, labels)]
    guessed = forest.calibration.probabilities(forest.head.scores(ready[len(corrected) :]))
    weight = min(MOST_OF_ONE, OTHERS / max(len(others), 1))
    weights = np.concatenate([np.ones(len(corrected)), np.full(len(others), weight)])
    shares = np.concatenate([named, guessed])
    opinion = LinearHead.fit_shares(np.clip(ready, -EXTREME, EXTREME), shares, weights, STRENGTH)
    voice = np.float32(min(1.0, len(values) / FULL_VOICE))
    return LinearHead({name: array * voice for name, array in opinion.arrays.items()})


def _some(rows: NDArray[np.int_]) -> NDArray[np.int_]:
    """Evenly spread over the list, where there are too many."""
    if len(rows) <= MOST_OTHERS:
        return rows
    spread: NDArray[np.int_] = np.linspace(0, len(rows) - 1, MOST_OTHERS).astype(int)
    return rows[spread]
