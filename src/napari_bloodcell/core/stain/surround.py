"""What lies round a picture: the black round an eyepiece, the white of a page, of turned or padded pictures.

White round a picture is brighter than its ground, so that the ground itself looks stained; black that is not
quite black looks like one large nucleus. Either is told from the picture by how it ends: its edge cuts across
cells and ground alike, while ground that is merely overexposed ends where cells begin.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_bloodcell.core.image.reduce import reduce
from napari_bloodcell.core.records import BoolArray, ByteArray
from napari_bloodcell.core.stain.density import ground_light

LOOK_PX = 480  # longer side of the picture as looked at
SMALLEST_PX = 32  # shorter side, below which nothing is looked for
WHITEST, WHITE = 252, 244  # every channel, in white that nothing shows through; the same after compression
DARKEST = 0.15  # of the light, in the brightest channel: a nucleus lets more through
LIT = 100  # grey levels of the light, below which a picture is too dark to tell
LEAST = 0.01  # of the picture, and at its border
LEAST_PICTURE = 0.15  # of the whole that is left
SOFT = 0.15  # of the longer side: how far the edge of a black round may be blurred
CLEAR = 0.85  # of the light further in, where a blurred edge ends
NEAR_PX, FAR_PX = (3, 5), (6, 9)  # rings along an edge, as looked at
ALIKE = (0.35, 1.5)  # darkness of a ring along the edge, by that of the whole picture
SHARP = 0.9  # darkness close to the edge by that a little further in
OWN_GROUND, SAME_LEVEL = 0.15, 14  # share of the rings that is ground, and grey levels it differs by
CROWDED, CROWDED_GROUND = 0.85, 0.05  # in a field this share will do, where rings are as dark as all of it
FIELD_PX = 320  # shorter side, as looked at: smaller ones show single cells
OVEREXPOSED = 247  # in every channel of the ground


def surround_of(pixels: ByteArray) -> BoolArray | None:
    """What of the picture is none; None where it fills its frame."""
    stride = max(1, max(pixels.shape[:2]) // LOOK_PX)
    small = reduce(pixels, stride)
    if min(small.shape[:2]) < SMALLEST_PX:
        return None
    outside = _white(small) | _black(small)
    if not outside.any() or outside.mean() > 1 - LEAST_PICTURE:
        return None
    wide = ndi.binary_dilation(outside, iterations=1).repeat(stride, axis=0).repeat(stride, axis=1)
    beyond = [(0, max(0, n - m)) for n, m in zip(pixels.shape[:2], wide.shape, strict=True)]
    return np.asarray(np.pad(wide, beyond, mode="edge"), np.bool_)


def painted(pixels: ByteArray, outside: BoolArray) -> ByteArray:
    """The picture with its own ground round it."""
    whole = pixels.copy()
    whole[outside] = np.rint(ground_light(pixels[~outside][None]))
    whole.flags.writeable = False
    return whole


def _white(small: ByteArray) -> BoolArray:
    palest = small.min(axis=2)
    white = _at_the_border(palest >= WHITEST)
    if white.any():
        white = ndi.binary_propagation(white, mask=palest >= WHITE)
    return white if _cuts_across(small, white, is_white=True) else np.zeros_like(white)


def _black(small: ByteArray) -> BoolArray:
    light = float(ground_light(small).max())
    black = _at_the_border(small.max(axis=2) < DARKEST * light)
    if light < LIT:
        return np.zeros_like(black)
    if black.any():
        black = _with_soft_edge(small, black)
    return black if _cuts_across(small, black, is_white=False) else np.zeros_like(black)


def _at_the_border(candidates: BoolArray) -> BoolArray:
    """Large pieces that reach the border of the picture."""
    pieces, count = ndi.label(candidates)
    edge = np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]])
    keep = np.bincount(pieces.ravel(), minlength=count + 1) >= LEAST * candidates.size
    keep &= np.isin(np.arange(count + 1), edge)
    keep[0] = False
    return np.asarray(keep[pieces], np.bool_)


def _with_soft_edge(small: ByteArray, black: BoolArray) -> BoolArray:
    """Grown to where the ground is as bright as further in."""
    away = ndi.distance_transform_edt(~black)
    reach = int(SOFT * max(black.shape))
    bright = small.max(axis=2)
    levels = [float(np.percentile(bright[ring], 75)) for ring in _rings(away, reach)]
    clear = [d for d, level in enumerate(levels) if level >= CLEAR * max(levels, default=0)]
    return np.asarray(away <= (clear[0] if clear else 0), np.bool_)


def _rings(away: NDArray[np.float64], reach: int) -> list[BoolArray]:
    rings = [(away > d) & (away <= d + 1) for d in range(reach)]
    return [ring for ring in rings if ring.any()]


def _cuts_across(small: ByteArray, outside: BoolArray, *, is_white: bool) -> bool:
    """Whether the picture along the edge is as it is elsewhere: cells, and ground of its own."""
    if not outside.any() or outside.mean() > 1 - LEAST_PICTURE:
        return False
    away = ndi.distance_transform_edt(~outside)
    inside, rings = away >= NEAR_PX[0], (away >= NEAR_PX[0]) & (away < FAR_PX[1])
    darkness = 255.0 - small.mean(axis=2)
    near, far = (darkness[(away >= low) & (away < high)] for low, high in (NEAR_PX, FAR_PX))
    if not len(near) or not len(far) or inside.mean() < LEAST_PICTURE:
        return False
    # Light falls towards the black of an eyepiece: there the ground is as bright as it is along the edge.
    light = ground_light(small[inside if is_white else rings][None])
    own_ground = np.abs(small[rings] - light).max(axis=1) <= SAME_LEVEL
    whole, close, further = (float(part.mean()) for part in (darkness[inside], near, far))
    is_crowded = further >= CROWDED * whole and min(outside.shape) >= FIELD_PX
    needed = CROWDED_GROUND if is_crowded else OWN_GROUND
    if light.min() > OVEREXPOSED or own_ground.mean() < needed:
        return False
    return ALIKE[0] * whole <= further <= ALIKE[1] * whole and SHARP * further <= close
