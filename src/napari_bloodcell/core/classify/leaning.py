"""What a class is given before a cell is looked at. Heads are fitted with all classes weighing the same; in
blood they are not the same, and a basophil is rarer than the doubt of a forest."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.taxonomy import DEFAULT, NORMAL_BLOOD


def leaning(class_names: Sequence[str], strength: float) -> NDArray[np.float32]:
    """One offset a class: the logarithm of its share in a healthy adult's blood, times ``strength``. Classes
    that are not of healthy blood get the mean: there is no opinion of them. Empty where nothing leans."""
    if strength == 0:
        return np.zeros(0, np.float32)
    shares: dict[str, float] = {}
    for name, share in NORMAL_BLOOD.items():
        coarse = DEFAULT.coarse(name)
        shares[coarse] = shares.get(coarse, 0.0) + share
    known = [shares.get(DEFAULT.coarse(name)) for name in class_names]
    logs = np.array([np.nan if share is None else np.log(share) for share in known])
    if np.isnan(logs).all():
        return np.zeros(0, np.float32)
    offsets = strength * np.where(np.isnan(logs), np.nanmean(logs), logs)
    return np.asarray(offsets, np.float32)
