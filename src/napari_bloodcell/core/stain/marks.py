"""Scale bars, frames and letters drawn into a picture: darker or purer in colour than anything stained.

A black bar is denser than every nucleus, so a threshold set by it finds no nucleus at all. Marks are painted
over with the colour of the ground before cells are looked for.
"""

import numpy as np
from scipy import ndimage as ndi

from napari_bloodcell.core.records import BoolArray, ByteArray
from napari_bloodcell.core.stain.density import ground_light

BLACKEST = 0.06  # of the light: nuclei let more through in one channel at least
LIT = 100  # grey levels of the light, below which a picture is too dark to tell black from stained
PURE_LOW, PURE_HIGH = 30, 225  # a channel that is off and one that is full: no dye is so pure
FLAT = 24  # grey levels that a mark's pixels differ by at most, after compression
LEAST_PX = 24  # of a mark; less harms nothing
MOST = 0.7  # of a picture; what is nearly all mark is another kind of picture
EDGE_PX = 2  # softened edges of a mark


def without_marks(pixels: ByteArray) -> tuple[ByteArray, int]:
    """The picture without marks, and how many pixels they had; the same object where there are none."""
    red, green, blue = (pixels[..., channel] for channel in range(3))
    brightest, dimmest = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    pure = (dimmest <= PURE_LOW) & (brightest >= PURE_HIGH)
    dark = brightest < BLACKEST * 255
    if int(pure.sum()) + int(dark.sum()) < LEAST_PX:
        return pixels, 0
    light = ground_light(pixels)
    black = brightest < BLACKEST * light.max() if light.max() >= LIT else np.zeros_like(pure)
    marks = _flat_pieces(pixels, pure) | _flat_pieces(pixels, black)
    count = int(marks.sum())
    if not count or count > MOST * marks.size:
        return pixels, 0
    clean = pixels.copy()
    clean[ndi.binary_dilation(marks, iterations=EDGE_PX)] = np.rint(ground_light(pixels[~marks][None]))
    clean.flags.writeable = False
    return clean, count


def _flat_pieces(pixels: ByteArray, candidates: BoolArray) -> BoolArray:
    """Those of one colour: light that shines through a cell is never so even."""
    pieces, count = ndi.label(candidates)
    keep = np.bincount(pieces.ravel(), minlength=count + 1) >= LEAST_PX
    keep[0] = False
    boxes = ndi.find_objects(pieces)
    for number in np.flatnonzero(keep):  # specks may be many, and are no marks
        box = boxes[number - 1]
        inside = pixels[box][pieces[box] == number]
        keep[number] = int(np.ptp(inside, axis=0).max()) <= FLAT
    return np.asarray(keep[pieces], np.bool_)
