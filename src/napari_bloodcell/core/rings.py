"""The rim of each cell, as wide as asked: what outlines are drawn with."""

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.records import BoolArray


def rings(labels: NDArray[np.integer], width_px: int) -> BoolArray:
    """True on the outermost ``width_px`` pixels of each cell, inside it; touching cells each have one."""
    from scipy.ndimage import maximum_filter, minimum_filter

    size = 2 * width_px + 1
    at_edge = minimum_filter(labels, size=size) != maximum_filter(labels, size=size)
    result: BoolArray = at_edge & (labels > 0)
    return result
