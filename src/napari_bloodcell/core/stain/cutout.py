"""A cell that was cut out of its picture, on one flat colour: black as a rule, sometimes grey or green.

Nothing of its ground is left. On black the cell itself would be taken for the ground, and its palest part
for the light: it gets empty ground of a usual brightness instead. A picture that was turned or padded, or
that lies in an eyepiece, has ground of its own (``surround.py``); what tells it is that it fills more of its
frame, meets more of the border, or shows less nucleus.
"""

import numpy as np
from scipy import ndimage as ndi

from napari_bloodcell.core.records import BoolArray, ByteArray
from napari_bloodcell.core.stain.density import to_density

SMALLEST_PX, LARGEST_PX = 16, 640  # sides: a larger picture shows more than one cell
FLAT, LEAST_FLAT = 3, 0.3  # grey levels by which a flat colour differs from itself, and share of the border
RINGING, RINGING_PX = 40, 8  # the same beside the cell, where a picture was compressed
EXACT, LEAST_EXACT = 1, 0.3  # the same for so much of it: ground that is merely even is never so flat
AT_BORDER = 0.65  # of the border that is of this colour: a turned picture meets more of it
LEAST_CELL = 0.03  # of the picture
FULLEST = 0.82  # of a rectangle round a cell, turned as it may be, that it fills: a disc fills 0.79
TURNS = np.deg2rad(np.arange(0, 90, 3))
LEAST_NUCLEUS = 0.15  # of a cell
SAME_LEVEL, MOST_PALE = 14, 0.3  # grey levels, and share of a cell that is as pale as its palest part
PALEST = 95  # percentile
GLASS = 245  # light of the ground that a cell gets
DARKER = 20  # grey levels, in a channel: what is so much darker than the cell's palest part is no ground


def cut_out_of(pixels: ByteArray) -> BoolArray | None:
    """The flat colour round a cell; None where there is a picture round it."""
    height, width = pixels.shape[:2]
    if min(height, width) < SMALLEST_PX or max(height, width) > LARGEST_PX:
        return None
    colour = np.median(_border(pixels), axis=0)
    off = np.abs(pixels - colour).max(axis=2)
    edge = _border(off)
    if (edge <= FLAT).mean() < LEAST_FLAT or (edge <= RINGING).mean() < AT_BORDER:
        return None
    flat = ndi.binary_propagation(_frame(height, width) & (off <= FLAT), mask=off <= FLAT)
    outside: BoolArray = ndi.binary_dilation(flat, iterations=RINGING_PX, mask=off <= RINGING) | flat
    is_flat = (off[outside] <= EXACT).mean() >= LEAST_EXACT
    return outside if is_flat and _is_one_cell(pixels, ~outside) else None


def on_glass(pixels: ByteArray, outside: BoolArray) -> ByteArray:
    """The cell on empty ground. Unchanged where what is round it can be that, hardly darker than the cell."""
    palest = np.percentile(pixels[~outside], PALEST, axis=0)
    if (np.median(pixels[outside], axis=0) >= palest - DARKER).all():
        return pixels
    whole = pixels.copy()
    whole[outside] = np.rint(np.maximum(palest, GLASS))
    whole.flags.writeable = False
    return whole


def _border(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values[0], values[-1], values[1:-1, 0], values[1:-1, -1]])


def _frame(height: int, width: int) -> BoolArray:
    frame = np.ones((height, width), np.bool_)
    frame[1:-1, 1:-1] = False
    return frame


def _smallest_rectangle(inside: BoolArray) -> float:
    """Area of the smallest rectangle round it."""
    rim = np.argwhere(inside & ~ndi.binary_erosion(inside))
    along, across = (rim @ (np.stack(axis)) for axis in _axes())
    return float(((np.ptp(along, axis=0) + 1) * (np.ptp(across, axis=0) + 1)).min())


def _axes() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    cos, sin = np.cos(TURNS), np.sin(TURNS)
    return (cos, sin), (-sin, cos)


def _is_one_cell(pixels: ByteArray, inside: BoolArray) -> bool:
    area = int(inside.sum())
    if area < LEAST_CELL * inside.size:
        return False
    if area > FULLEST * _smallest_rectangle(inside):
        return False
    cell = pixels[inside]
    palest = np.percentile(cell, PALEST, axis=0)
    density = to_density(cell[None], np.asarray(palest, np.float32))[0, :, :2].sum(axis=-1)
    nuclear = float((density > np.percentile(density, 98) / 2).mean())
    pale = float((np.abs(cell - palest).max(axis=1) <= SAME_LEVEL).mean())
    return nuclear >= LEAST_NUCLEUS and pale <= MOST_PALE
