"""The label a cell gets, and what speaks against it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.config import ClassifyConfig
from napari_bloodcell.core.records import COULD_BE, FITS_NONE, UNIDENTIFIED


def decide(
    names: tuple[str, ...],
    probabilities: NDArray[np.float32],
    distance: NDArray[np.float32],
    sets: NDArray[np.bool_] | None,
    config: ClassifyConfig,
) -> tuple[NDArray[np.str_], tuple[str, ...]]:
    """Reasons strong enough make a cell "unidentified"; another possible class alone is only mentioned."""
    if not len(probabilities):
        return np.zeros(0, np.str_), ()
    best = probabilities.argmax(axis=1)
    labels, doubt = [], []
    for row, index in enumerate(best):
        reasons = _reasons(names[index], float(probabilities[row, index]), float(distance[row]), config)
        possible = None if sets is None else np.flatnonzero(sets[row])
        if possible is not None and config.max_set is not None and len(possible) > config.max_set:
            reasons.append(f"{len(possible)} classes are possible")
        labels.append(UNIDENTIFIED if reasons else names[index])
        doubt.append("; ".join(reasons + _others(names, index, possible, config)))
    return np.asarray(labels, dtype=np.str_), tuple(doubt)


def _reasons(name: str, probability: float, distance: float, config: ClassifyConfig) -> list[str]:
    reasons = []
    if probability < config.min_probability:
        reasons.append(f"best guess {name} at {probability:.0%}")
    if distance > config.max_distance:
        reasons.append(f"unlike the training cells ({distance:.1f} times as far as the outermost)")
    return reasons


def _others(
    names: tuple[str, ...], index: Any, possible: NDArray[Any] | None, config: ClassifyConfig
) -> list[str]:
    if possible is None:
        return []
    others = [names[i] for i in possible if i != index]
    if others:
        return [f"{COULD_BE}{', '.join(others)} too (sets of {config.coverage:.0%})"]
    return [] if len(possible) else [f"{FITS_NONE} (sets of {config.coverage:.0%})"]
