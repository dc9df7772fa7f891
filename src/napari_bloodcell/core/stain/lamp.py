"""A field as an even lamp would have shown it.

Microscope lamps and lenses darken towards the corners or one side. The fall is read off the empty ground,
which keeps its colour where it gets darker, as a curved surface over the field, and taken out of every pixel.
A picture whose ground is not seen in enough places, or is even already, stays as it is; so does a small one.
"""

import weakref
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_bloodcell.core.image.reduce import reduce
from napari_bloodcell.core.records import BoolArray, ByteArray, IntArray, SmearImage
from napari_bloodcell.core.stain.cutout import cut_out_of, on_glass
from napari_bloodcell.core.stain.density import ground_light, to_density
from napari_bloodcell.core.stain.marks import without_marks
from napari_bloodcell.core.stain.surround import painted, surround_of

LOOK_PX = 240  # longer side of the picture as looked at
GRID = 12  # blocks along each side
SAME_COLOUR = 0.03  # density by which channels of ground may differ
DEEPEST = 0.45  # density below which nothing is ground: 0.35 of the light
LEAST_GROUND = 0.05  # of a block, or its ground is not known
BLOCKS_NEEDED = 0.35  # share of them
LEAST_FALL = 0.02  # density between the brightest and the darkest place: less is left as it is
FINEST = 0.01  # density that blocks differ by without a reason
ROUNDS = 12
CORNERS = ((-1, -1), (-1, 1), (1, -1), (1, 1))  # of a block, in halves of its side
SMALLEST_PX = 450  # shorter side: a smaller picture shows a cell, over which no lamp changes much
LARGEST_PX = 50_000_000  # of a camera's field; what is larger was put together from many
DEEPEST_FALL = 0.6  # share of the light: more is no lamp, but something that was taken for ground
ROWS_AT_ONCE = 256
CUT_PX = 3  # between a cell and what lies round the picture, at which the cell is cut

Surface = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """A picture as cells are looked for in it, and what was done to it."""

    pixels: ByteArray
    fall: float = 0.0  # share of the light that the darkest place lacked; 0: nothing was evened out
    marks: int = 0  # pixels of scale bars and letters
    outside: BoolArray | None = None  # what lay round the picture
    cut_out: bool = False  # a cell without its ground, which was painted


_known: "weakref.WeakKeyDictionary[SmearImage, Seen]" = weakref.WeakKeyDictionary()


def evened(image: SmearImage) -> ByteArray:
    """The pixels under an even lamp, without marks and with ground round them, worked out once: what cells
    are found, outlined and measured in."""
    return _seen(image).pixels


def light_fall(image: SmearImage) -> float:
    """Share of the light that the darkest place lacked, and that was evened out; 0: nothing was."""
    return _seen(image).fall


def told_of(image: SmearImage) -> tuple[str, ...]:
    """Notes where the lamp was evened out, and where something was painted over."""
    seen = _seen(image)
    share = 0.0 if seen.outside is None else float(seen.outside.mean())
    round_it = f"{share:.0%} of the picture is black or white round it: left out"
    uneven = f"the light was uneven, {seen.fall:.0%} less at the darkest place: evened out"
    marked = f"marks drawn into the picture ({seen.marks} pixels of black or a pure colour) were left out"
    alone = "the cell was cut out of its picture: the flat colour round it is taken for empty ground"
    notes = ((share, round_it), (seen.fall, uneven), (seen.marks, marked), (seen.cut_out, alone))
    return tuple(note for there, note in notes if there)


def cut_off(image: SmearImage, labels: IntArray) -> IntArray:
    """The cells that end where the picture does and black or white begins."""
    outside = _seen(image).outside
    if outside is None:
        return np.zeros(0, np.int32)
    near: IntArray = np.unique(labels[ndi.binary_dilation(outside, iterations=CUT_PX)])
    return near[near > 0]


def _seen(image: SmearImage) -> Seen:
    if image not in _known:
        _known[image] = _looked_at(image)
    return _known[image]


def _looked_at(image: SmearImage) -> Seen:
    cut_out = cut_out_of(image.pixels)
    if cut_out is not None and (whole := on_glass(image.pixels, cut_out)) is not image.pixels:
        return Seen(pixels=whole, cut_out=True)
    pixels, outside = image.pixels, surround_of(image.pixels) if cut_out is None else None
    if outside is not None:
        pixels = painted(pixels, outside)
    pixels, marks = without_marks(pixels)
    even, fall = even_light(pixels, outside) if image.even_light else (pixels, 0.0)
    if outside is None:
        return Seen(pixels=even, fall=fall, marks=marks)
    return Seen(pixels=painted(even, outside), fall=fall, marks=marks, outside=outside)


def even_light(pixels: ByteArray, outside: BoolArray | None = None) -> tuple[ByteArray, float]:
    """The evened picture, and which share of the light the darkest place lacked; 0 where nothing was done.
    ``outside``: what of it is not looked at."""
    height, width = pixels.shape[:2]
    if min(height, width) < SMALLEST_PX or height * width > LARGEST_PX:
        return pixels, 0.0
    surface = _surface(pixels, outside)
    if surface is None:
        return pixels, 0.0
    coefficients, least, most = surface
    fall = float(1 - 10 ** (least - most))
    if fall > DEEPEST_FALL:
        return pixels, 0.0
    even = np.empty_like(pixels)
    x = np.linspace(-1, 1, width)
    for top in range(0, height, ROWS_AT_ONCE):
        rows = slice(top, min(height, top + ROWS_AT_ONCE))
        y = np.linspace(-1, 1, height)[rows, None]
        shade = np.clip(_terms(y, x) @ coefficients, least, most).astype(np.float32)
        even[rows] = np.clip(np.rint(pixels[rows] * np.power(np.float32(10), shade)[..., None]), 0, 255)
    even.flags.writeable = False
    return even, fall


def _surface(pixels: ByteArray, outside: BoolArray | None) -> tuple[Surface, float, float] | None:
    """How much darker than the light the ground is: six numbers of a curved surface in density, its least and
    its most where ground was seen. None: leave the picture alone."""
    seen = _ground_of_blocks(pixels, outside)
    if len(seen) < BLOCKS_NEEDED * GRID * GRID:
        return None
    y, x, shade, share = seen.T
    terms, weight = _terms(y, x), np.sqrt(share)
    trust = weight
    for _ in range(ROUNDS):
        fitted = np.linalg.lstsq(terms * trust[:, None], shade * trust, rcond=None)[0]
        off = shade - terms @ fitted
        usual = max(FINEST, 1.48 * float(np.median(np.abs(off))))
        # A block that is darker than its neighbours may show something thin and grey, and no ground.
        darker, brighter = 1 / (1 + (off / usual) ** 2), 2 * usual / np.maximum(np.abs(off), 2 * usual)
        trust = weight * np.where(off > 0, darker, brighter)
    there = np.concatenate([_terms(y + down / GRID, x + right / GRID) @ fitted for down, right in CORNERS])
    least, most = float(there.min()), float(there.max())
    return (fitted, least, most) if most - least >= LEAST_FALL else None


def _ground_of_blocks(pixels: ByteArray, outside: BoolArray | None) -> NDArray[np.float64]:
    """One row for each block in which ground is seen: where it is (-1 to 1), how dark, and how much of it."""
    light, stride = ground_light(pixels), max(1, max(pixels.shape[:2]) // LOOK_PX)
    density = to_density(reduce(pixels, stride), light)
    shade = density.mean(axis=-1)
    is_ground = np.abs(density - shade[..., None]).max(axis=-1) < SAME_COLOUR
    is_ground &= np.abs(shade) < DEEPEST
    if outside is not None:
        is_ground &= ~outside[::stride, ::stride][: shade.shape[0], : shade.shape[1]]
    ys, xs = (np.linspace(0, length, GRID + 1).astype(int) for length in shade.shape)
    rows = []
    for i in range(GRID):
        for j in range(GRID):
            block = slice(ys[i], ys[i + 1]), slice(xs[j], xs[j + 1])
            here = shade[block][is_ground[block]]
            if len(here) >= max(4, LEAST_GROUND * is_ground[block].size):
                place = ((n + 0.5) / GRID * 2 - 1 for n in (i, j))
                rows.append((*place, float(np.percentile(here, 25)), len(here) / is_ground[block].size))
    return np.asarray(rows, np.float64).reshape(-1, 4)


def _terms(y: NDArray[np.float64], x: NDArray[np.float64]) -> Surface:
    y, x = np.broadcast_arrays(y, x)
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)
