"""One square of an image, anywhere and at any scale, as a picture of a given size."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def cut_square(
    array: Any,
    corner_xy: tuple[float, float],
    side: float,
    size_px: int,
    *,
    smooth: bool,
    beyond_edge: bool = True,
) -> NDArray[Any]:
    """A square of the image (an array, or what is read piece by piece) at ``size_px``: averaged for pictures,
    nearest for labels. Beyond the edge the border pixels go on, or zeros where ``beyond_edge`` is false."""
    from PIL import Image

    height, width = array.shape[:2]
    left, top = int(np.floor(corner_xy[0])), int(np.floor(corner_xy[1]))
    right, bottom = int(np.ceil(corner_xy[0] + side)), int(np.ceil(corner_xy[1] + side))
    window = array[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    margins = [(max(-top, 0), max(bottom - height, 0)), (max(-left, 0), max(right - width, 0))]
    if any(sum(m) for m in margins):
        margins += [(0, 0)] * (window.ndim - 2)
        window = np.pad(window, margins, mode="edge" if beyond_edge else "constant")
    box = (corner_xy[0] - left, corner_xy[1] - top, corner_xy[0] - left + side, corner_xy[1] - top + side)
    if window.dtype == np.bool_:
        window = window.view(np.uint8)
    method = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    picture = Image.fromarray(np.ascontiguousarray(window))
    return np.asarray(picture.resize((size_px, size_px), method, box=box))
