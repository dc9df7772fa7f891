"""RGB to optical density and back. By Beer and Lambert, stains add up in density and not in RGB.

Density is relative to the light of the ground, so a yellow, cream, grey or blue ground is density 0.
Pixels are bytes: every density is a look-up in a table of 256 entries for each channel.
"""

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.records import ByteArray, FloatArray

DARKEST = 4.0  # grey levels; below it a camera only sees noise, and log(0) has no value
DIMMEST_LIGHT = 40.0  # a darker ground is a closed shutter, not a bright field
_NEAR, _BELL = np.ones(17), np.hanning(11)[1:-1]  # what counts as one level, and how counts are smoothed


def ground_light(pixels: ByteArray) -> FloatArray:
    """RGB of the empty ground: the brightest peak of brightness that holds at least 3 % of the pixels.

    Glints inside red cells are brighter than the ground but few; in a crowded field red cells are more
    than the ground but darker.
    """
    flat = pixels.reshape(-1, 3)
    if not len(flat):
        return np.zeros(3, np.float32)
    red, green, blue = flat.T.astype(np.uint16)
    bright = (red + 2 * green + blue) >> 2
    counts = np.bincount(bright, minlength=256).astype(np.float64)
    mass, smooth = np.convolve(counts, _NEAR)[8:-8], np.convolve(counts, _BELL)[4:-4]
    enough = np.flatnonzero(mass >= 0.03 * len(flat))
    top = int(enough[-1]) if len(enough) else 255
    # Walk down the slope from the brightest level that counts to the peak it belongs to.
    low = max(0, top - 16)
    peak = low + int(np.argmax(smooth[low : top + 1]))
    while peak > 0 and smooth[max(0, peak - 8) : peak].max() > smooth[peak]:
        low = max(0, peak - 8)
        peak = low + int(np.argmax(smooth[low:peak]))
    near = np.abs(bright.astype(np.int16) - peak) <= 4
    if not near.any():
        return np.full(3, 255, np.float32)
    # One row for each channel: a median across rows is several times slower.
    light: FloatArray = np.median(np.ascontiguousarray(flat.T[:, near]), axis=1).astype(np.float32)
    return light


def density_table(light: FloatArray) -> FloatArray:
    """3 x 256: the optical density (base 10) of each grey level in each channel."""
    levels = np.maximum(np.arange(256, dtype=np.float32), DARKEST)
    return np.log10(np.maximum(light, DARKEST)[:, None] / levels).astype(np.float32)


def to_density(pixels: ByteArray, light: FloatArray) -> FloatArray:
    """... x 3 optical densities; brighter than the ground is negative."""
    table = density_table(light)
    return np.stack([table[c][pixels[..., c]] for c in range(3)], axis=-1)


def to_rgb(density: FloatArray, light: FloatArray) -> ByteArray:
    values = light * np.power(np.float32(10), -density)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def mixed_density(pixels: ByteArray, light: FloatArray, weights: tuple[float, float, float]) -> FloatArray:
    """A weighted sum of the three densities, without an array of the three."""
    table = density_table(light) * np.asarray(weights, np.float32)[:, None]
    mixed: NDArray[np.float32] = table[0][pixels[..., 0]]
    mixed += table[1][pixels[..., 1]]
    mixed += table[2][pixels[..., 2]]
    return mixed
