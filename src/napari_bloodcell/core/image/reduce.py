"""A smaller picture, for a first look."""

import numpy as np

from napari_bloodcell.core.records import ByteArray


def reduce(pixels: ByteArray, stride: int) -> ByteArray:
    """Every stride-th pixel of a 2 x 2 mean: cheap, and free of the worst camera noise."""
    if stride == 1:
        return pixels
    h, w = (pixels.shape[0] // stride) * stride, (pixels.shape[1] // stride) * stride
    half = stride // 2
    total = pixels[0:h:stride, 0:w:stride].astype(np.uint16)
    for dy, dx in ((0, half), (half, 0), (half, half)):
        total += pixels[dy:h:stride, dx:w:stride]
    return (total >> 2).astype(np.uint8)
