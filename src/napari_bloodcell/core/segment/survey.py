"""A first look at a field: light of the ground, colour of the red cells, size of a pixel.

The look is taken on windows at reduced resolution, so it costs the same for a crop and for a whole slide.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_bloodcell.core.records import BoolArray, ByteArray, FloatArray
from napari_bloodcell.core.stain import DIMMEST_LIGHT, ground_light, mixed_density

RED_CELL_UM = 7.3
WINDOW_PX = 1536  # side of a window, in pixels of the image
LOOK_PX = 512  # side of a window as looked at
RED_CELLS_NEEDED = 5
NUCLEUS_UM = 8.5  # taken for a typical nucleus where nothing tells the scale
WORKING_UM = 0.28  # pixel size at which cells are located: a cell is 40 pixels wide


@dataclass(frozen=True, kw_only=True)
class Survey:
    light: FloatArray  # RGB of the ground
    heme: float | None  # (red + green) / blue density of red cells; None where none are seen
    um_per_px: float | None
    scale_source: str
    assumed_um_per_px: float  # the true size where known, otherwise from the size of the nuclei

    @property
    def stride(self) -> int:
        """How many pixels of the image one working pixel spans."""
        return max(1, int(WORKING_UM / self.assumed_um_per_px))


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


def otsu(values: FloatArray, floor: float) -> float:
    """Otsu's threshold, but never below the floor, below which nothing is stain."""
    if values.size < 2:
        return floor
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-3:
        return floor
    counts, edges = np.histogram(values, bins=64, range=(low, high))
    middle = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1].astype(np.float64)
    above = counts.sum() - below
    sums = np.cumsum(counts * middle)
    gap = sums[:-1] / np.maximum(below, 1) - (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    return max(floor, float(edges[1 + int(np.argmax(below * above * gap**2))]))


def survey(pixels: ByteArray, um_per_px: float | None) -> Survey | None:
    """None where there is nothing to see: too small, too dark, or no contrast at all."""
    height, width = pixels.shape[:2]
    if min(height, width) < 8:
        return None
    windows = _windows(pixels)
    stride = max(1, -(-max(windows[0].shape[:2]) // LOOK_PX))
    small = [reduce(window, stride) for window in windows]
    light = ground_light(np.concatenate([s.reshape(-1, 3) for s in small])[None])
    if light.max() < DIMMEST_LIGHT:
        return None
    looks = [_look(s, light) for s in small]
    ratios = np.concatenate([look.heme for look in looks])
    heme = float(np.median(ratios)) if len(ratios) >= 0.02 * sum(s[..., 0].size for s in small) else None
    red_cells = np.concatenate([look.red_cells_px for look in looks]) * stride
    source, known = "unknown", um_per_px
    if um_per_px is not None:
        source = "file"
    elif (diameter := _typical(red_cells)) is not None:
        known, source = RED_CELL_UM / diameter, "red cells"
    if known is not None:
        assumed = known
    else:
        nuclei = np.concatenate([look.nuclei_px for look in looks]) * stride
        assumed = NUCLEUS_UM / _weighted_median(nuclei, nuclei**2) if len(nuclei) else 0.25
    return Survey(light=light, heme=heme, um_per_px=known, scale_source=source, assumed_um_per_px=assumed)


def _windows(pixels: ByteArray) -> list[ByteArray]:
    """The whole image where it is small, otherwise five windows: the middle and the four quarters."""
    height, width = pixels.shape[:2]
    side_y, side_x = min(height, WINDOW_PX), min(width, WINDOW_PX)
    middles = [(0.5, 0.5)]
    if max(height, width) > 2 * WINDOW_PX:
        middles += [(0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)]
    corners = [(int(y * (height - side_y)), int(x * (width - side_x))) for y, x in middles]
    return [pixels[y : y + side_y, x : x + side_x] for y, x in dict.fromkeys(corners)]


@dataclass(frozen=True)
class _Look:
    heme: FloatArray  # ratio at each pixel of red cells
    red_cells_px: FloatArray  # diameters
    nuclei_px: FloatArray  # diameters


def _look(pixels: ByteArray, light: FloatArray) -> _Look:
    thick = ndi.uniform_filter(mixed_density(pixels, light, (0, 1, 1)), 3)
    blue_stain = ndi.uniform_filter(mixed_density(pixels, light, (1, 0, -1)), 3)
    purple = ndi.uniform_filter(mixed_density(pixels, light, (1, 1, -1)), 3)
    nuclear = purple > otsu(purple[purple > 0.1], 0.15)
    nuclear = ndi.binary_opening(nuclear, iterations=2)
    pieces, count = ndi.label(nuclear)
    areas = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
    solid = thick > 0.6 * otsu(thick[thick > 0.06], 0.1)
    # Cytoplasm lies within reach of a nucleus; what lies further out is red cells.
    reach = float(np.sqrt(areas.max() / np.pi)) if count else 0.0
    far = ndi.distance_transform_edt(~nuclear) > reach if count else np.ones_like(nuclear)
    red = solid & far & (blue_stain < 0.06)
    parts = [mixed_density(pixels[red][None], light, weights)[0] for weights in ((1, 1, 0), (0, 0, 1))]
    ratio = parts[0] / np.maximum(parts[1], 0.02)
    return _Look(
        ratio[(ratio > 0.8) & (ratio < 3.6)],
        _round_objects(solid, blue_stain > 0.06),
        np.sqrt(4 / np.pi * areas[areas >= 40]).astype(np.float32),
    )


def _round_objects(solid: BoolArray, stained: BoolArray) -> FloatArray:
    """Diameters of the whole, round objects that hold no nuclear stain."""
    filled = ndi.binary_opening(ndi.binary_fill_holes(solid), iterations=2)
    labels, count = ndi.label(filled)
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    blue = np.bincount(labels[stained], minlength=count + 1)
    found: list[float] = []
    for i, (rows, columns) in enumerate(ndi.find_objects(labels), 1):
        h, w = rows.stop - rows.start, columns.stop - columns.start
        cut = not (rows.start > 0 and rows.stop < labels.shape[0] and columns.start > 0)
        if cut or columns.stop >= labels.shape[1] or min(h, w) < 6 or max(h, w) > 1.35 * min(h, w):
            continue
        if 0.92 < areas[i] / (np.pi / 4 * h * w) < 1.12 and blue[i] < 0.05 * areas[i]:
            found.append(float(np.sqrt(4 / np.pi * areas[i])))
    return np.asarray(found, np.float32)


def _typical(diameters: FloatArray) -> float | None:
    """Red cells are many and alike; None where what is round is neither."""
    if len(diameters) < RED_CELLS_NEEDED:
        return None
    middle = _weighted_median(diameters, diameters**2)
    alike = diameters[np.abs(diameters / middle - 1) < 0.3]
    return float(np.median(alike)) if len(alike) >= max(RED_CELLS_NEEDED, 0.4 * len(diameters)) else None


def _weighted_median(values: FloatArray, weights: FloatArray) -> float:
    order = np.argsort(values, kind="stable")
    total: NDArray[np.float64] = np.cumsum(weights[order], dtype=np.float64)
    return float(values[order[int(np.searchsorted(total, total[-1] / 2))]])
