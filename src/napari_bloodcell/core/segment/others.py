"""What else lies in a field: red cells and platelets, found by colour and size, to be counted.

No outlines for measuring: each is a box. White cells are left out by their outlines.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage.feature import peak_local_max
from skimage.segmentation import watershed

from napari_bloodcell.core.config import SegmentConfig
from napari_bloodcell.core.image.lazy import LazyImage
from napari_bloodcell.core.image.reduce import reduce
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import (
    BoolArray,
    ByteArray,
    FloatArray,
    IntArray,
    Masks,
    SmearImage,
    freeze,
)
from napari_bloodcell.core.segment.survey import (
    RED_CELL_UM,
    Pixels,
    Survey,
    nuclear_stain,
    otsu,
    survey,
    thickness,
    windows_of,
)
from napari_bloodcell.core.segment.tiles import tiles_of
from napari_bloodcell.core.stain.lamp import evened

KINDS = ("red cell", "platelet")
CORE = 0.8  # middles of two red cells lie further apart than this, in radii
LEAST_RIM = 0.7  # of a circle, that must show
RADII = (0.75, 0.85, 0.95, 1.05, 1.15)  # of a red cell, that its rim may have
STEEP, RIM_PX = 0.15, 3.0  # slope of a rim a pixel, in levels, and how wide it is
LEAST_RED = 0.3  # area, in areas of a red cell
LEAST_PLATELET_UM, MOST_PLATELET_UM = 1.2, 4.5  # diameter of a disc of the same area
THIN, THINNEST = 0.3, 0.06  # density of the thinnest red cell: of a typical one, and at least
PALER = 0.5  # platelets stain like nuclei, but paler
ON_RED = 0.5  # share of red cell round a speck, above which it is a glint of that red cell
RIM_UM = 0.5  # of a platelet, too pale for its level
AROUND_UM = 0.8  # left out round a white cell
HALO_UM = 12.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Objects:
    """Red cells and platelets of one field."""

    kind: NDArray[np.str_]  # N
    boxes_xyxy: IntArray  # N x 4

    def __post_init__(self) -> None:
        freeze(self, "kind", np.str_, (None,))
        freeze(self, "boxes_xyxy", np.int32, (len(self.kind), 4))

    def __len__(self) -> int:
        return len(self.kind)

    def count(self, kind: str) -> int:
        return int((self.kind == kind).sum())


def find_others(
    image: SmearImage | LazyImage,
    masks: Masks,
    config: SegmentConfig = SegmentConfig(),
    *,
    progress: Progress = silent,
) -> Objects:
    """Tile by tile; each object is counted where its middle lies."""
    pixels: Pixels = evened(image) if isinstance(image, SmearImage) else image
    seen = survey(pixels, image.um_per_px)
    found: list[tuple[str, tuple[int, int, int, int]]] = []
    if seen is not None:
        level = _level(pixels, seen)
        shape = (int(pixels.shape[0]), int(pixels.shape[1]))
        halo_px = round(HALO_UM / seen.assumed_um_per_px)
        tiles = list(tiles_of(shape, config.tile_px, halo_px, seen.stride))
        for number, tile in enumerate(tiles):
            progress("count red cells and platelets", number, len(tiles))
            top, left = tile.outer[0].start, tile.outer[1].start
            for kind, (x0, y0, x1, y1) in _of_tile(
                pixels[tile.outer], masks.labels[tile.outer] > 0, seen, level
            ):
                box = (x0 + left, y0 + top, x1 + left, y1 + top)
                middle = ((box[1] + box[3]) / 2, (box[0] + box[2]) / 2)
                if all(s.start <= at < s.stop for s, at in zip(tile.core, middle, strict=True)):
                    found.append((kind, box))
    return Objects(
        kind=np.asarray([kind for kind, _ in found], np.str_),
        boxes_xyxy=np.asarray([box for _, box in found], np.int32).reshape(-1, 4),
    )


def _level(pixels: Pixels, seen: Survey) -> float:
    """What is thicker than this in blue and green is a cell; one level for the whole image."""
    thick = np.concatenate(
        [thickness(reduce(window, seen.stride), seen.light).ravel() for window in windows_of(pixels)]
    )
    return max(THINNEST, THIN * otsu(thick[thick > THINNEST], 0.1))


def _of_tile(
    pixels: ByteArray, white: BoolArray, seen: Survey, level: float
) -> list[tuple[str, tuple[int, int, int, int]]]:
    stride, um = seen.stride, seen.assumed_um_per_px * seen.stride
    small = reduce(pixels, stride)
    height, width = small.shape[:2]
    taken = white[::stride, ::stride][:height, :width]
    if taken.any():
        taken = ndi.distance_transform_edt(~taken) * um <= AROUND_UM
    platelets = _platelets(small, taken, seen, level, um)
    red = _red_cells(small, taken | (platelets > 0), seen, level, um)
    found, rim = [], max(1, round(RIM_UM / um))
    for kind, labels in zip(KINDS, (red, platelets), strict=True):
        found += [
            (kind, _box(box, rim if kind == "platelet" else 0, (height, width), stride))
            for box in ndi.find_objects(labels)
            if box is not None
        ]
    return found


def _box(
    box: tuple[slice, slice], rim: int, shape: tuple[int, int], stride: int
) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 in pixels of the tile, with a rim."""
    (top, bottom), (left, right) = (
        (max(0, s.start - rim), min(n, s.stop + rim)) for s, n in zip(box, shape, strict=True)
    )
    return stride * left, stride * top, stride * right, stride * bottom


def _platelets(small: ByteArray, taken: BoolArray, seen: Survey, level: float, um: float) -> IntArray:
    """Small, stained like nuclei, and on the ground: glints in red cells look alike."""
    stain, solid = nuclear_stain(small, seen), thickness(small, seen.light) > level
    pieces, count = ndi.label(ndi.binary_opening(stain > PALER * seen.nuclear_level) & ~taken)
    across = 2 * np.sqrt(np.bincount(pieces.ravel(), minlength=count + 1) / np.pi) * um
    kept = np.zeros(count + 1, np.bool_)
    wide = round(1.5 / um)
    for number, box in enumerate(ndi.find_objects(pieces), 1):
        if not LEAST_PLATELET_UM <= across[number] <= MOST_PLATELET_UM:
            continue
        window = tuple(slice(max(0, s.start - wide), s.stop + wide) for s in box)
        away = ndi.distance_transform_edt(pieces[window] != number) * um
        ring = (away > 0.7) & (away <= 1.5)
        kept[number] = ring.any() and solid[window][ring].mean() < ON_RED
    return np.asarray(np.where(kept[pieces], pieces, 0), np.int32)


def _red_cells(small: ByteArray, taken: BoolArray, seen: Survey, level: float, um: float) -> IntArray:
    """Each red cell by itself, in heaps too: its rim, wherever it shows, points at its middle."""
    radius = RED_CELL_UM / 2 / um
    thick = thickness(small, seen.light)
    votes = _middles(np.where(taken, 0, np.minimum(thick / level, 2)), radius)
    peaks = peak_local_max(
        votes, min_distance=max(1, round(CORE * radius)), threshold_abs=LEAST_RIM, exclude_border=False
    )
    solid = thick > level
    holes = ndi.binary_fill_holes(solid) & ~solid
    gaps, count = ndi.label(holes)
    is_small = np.bincount(gaps.ravel(), minlength=count + 1) < 0.6 * np.pi * radius**2
    solid |= holes & is_small[gaps]  # the pale middle of a cell, and not the ground among many
    solid &= ~taken
    peaks = peaks[solid[tuple(peaks.T)]]
    seeds = np.zeros(solid.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    away = ndi.distance_transform_edt(seeds == 0) if len(peaks) else np.zeros(solid.shape)
    cells = watershed(away, seeds, mask=solid & (away <= 1.25 * radius))
    area = np.bincount(cells.ravel(), minlength=len(peaks) + 1) / (np.pi * radius**2)
    kept = area >= LEAST_RED
    kept[0] = False
    return np.asarray(np.where(kept[cells], cells, 0), np.int32)


def _middles(thick: FloatArray, radius: float) -> FloatArray:
    """How much of a rim has each pixel as its middle: 1 for a whole circle of the size of a red cell."""
    height, width = thick.shape
    down, across = (ndi.gaussian_filter(thick, 1.0, order=order) for order in ((1, 0), (0, 1)))
    slope = np.hypot(down, across)
    rows, columns = np.nonzero(slope > STEEP)
    steep = slope[rows, columns]
    total = np.zeros(thick.size)
    for reach in RADII:
        y, x = (
            np.rint(at + reach * radius * part[rows, columns] / steep).astype(int)
            for at, part in ((rows, down), (columns, across))
        )
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        total += np.bincount((y * width + x)[inside], minlength=thick.size)
    sigma = 0.15 * radius
    whole = 2 * np.pi * radius * RIM_PX / (2 * np.pi * sigma**2)
    return np.asarray(ndi.gaussian_filter(total.reshape(thick.shape), sigma) / whole, np.float32)
