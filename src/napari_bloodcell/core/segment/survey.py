"""A first look at a field: light of the ground, colour of the red cells, size of a pixel.

The look is taken on windows at reduced resolution, so it costs the same for a crop and for a whole slide.
"""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_bloodcell.core.image.reduce import reduce
from napari_bloodcell.core.records import BoolArray, ByteArray, FloatArray
from napari_bloodcell.core.stain import DIMMEST_LIGHT, ground_light, mixed_density

RED_CELL_UM = 7.3
WINDOW_PX = 1536  # side of a window, in pixels of the image
LOOK_PX = 512  # side of a window as looked at
RED_CELLS_NEEDED = 3
INSCRIBED = 1.14  # a red cell is not quite round: its mean diameter over that of the inscribed circle
NUCLEUS_UM = 8.5  # taken for a typical nucleus where nothing tells the scale
REDDEST = 2.6  # of these densities, red cells keep next to nothing in red + green - 2.6 blue
LEAST_RED = 0.03  # of the pixels, or the colour of red cells is not known
REACH_OF_PLASM = 1.0  # in radii of the largest nucleus
WORKING_UM = 0.28  # pixel size at which cells are located: a cell is 40 pixels wide
FAINTEST = 0.08  # density contrast below which nothing is a nucleus


class Pixels(Protocol):
    """An array, or what is read piece by piece (``image/lazy.py``): H x W x 3, bytes."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, window: tuple[slice, slice], /) -> ByteArray: ...


@dataclass(frozen=True, kw_only=True)
class Survey:
    light: FloatArray  # RGB of the ground
    heme: float | None  # (red + green) / blue density of red cells; None where none are seen
    um_per_px: float | None
    scale_source: str
    assumed_um_per_px: float  # the true size where known, otherwise from the size of the nuclei
    nuclear_level: float = FAINTEST  # density that tells nuclei from the rest, on the working grid
    red_cells: int = 0  # that are alone and alike, in what was looked at
    red_cell_px: float = 0.0  # their diameter in the picture; 0 where too few are seen to say

    @property
    def stride(self) -> int:
        """How many pixels of the image one working pixel spans."""
        return max(1, int(WORKING_UM / self.assumed_um_per_px))


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


def survey(pixels: Pixels, um_per_px: float | None) -> Survey | None:
    """None where there is nothing to see: too small, too dark, or no contrast at all."""
    if min(pixels.shape[:2]) < 8:
        return None
    return survey_windows(windows_of(pixels), um_per_px)


def survey_windows(windows: list[ByteArray], um_per_px: float | None) -> Survey | None:
    """The same on windows that were chosen elsewhere: most of a slide is glass."""
    stride = max(1, -(-max(windows[0].shape[:2]) // LOOK_PX))
    small = [reduce(window, stride) for window in windows]
    light = ground_light(np.concatenate([s.reshape(-1, 3) for s in small])[None])
    if light.max() < DIMMEST_LIGHT:
        return None
    ratios = np.concatenate([_heme_ratios(s, light) for s in small])
    heme = float(np.median(ratios)) if len(ratios) >= LEAST_RED * sum(s[..., 0].size for s in small) else None
    red_cells, red_cell_px = _typical(np.concatenate([_red_cells_px(s, light) for s in small]) * stride)
    size, source = um_per_px, "given"
    if size is None:
        size, source = (RED_CELL_UM / red_cell_px, "red cells") if red_cells else (None, "unknown")
    assumed = size
    if assumed is None:
        nuclei = np.concatenate([_nuclei_px(s, light, heme) for s in small])
        assumed = NUCLEUS_UM / (_weighted_median(nuclei, nuclei**2) * stride) if len(nuclei) else WORKING_UM
    seen = Survey(
        light=light,
        heme=heme,
        um_per_px=size,
        scale_source=source,
        assumed_um_per_px=assumed,
        red_cells=red_cells,
        red_cell_px=red_cell_px,
    )
    return replace(seen, nuclear_level=_nuclear_level(windows, seen))


def nuclear_stain(small: ByteArray, seen: Survey) -> FloatArray:
    """Density of the stain of nuclei on the working grid, free of red cells."""
    return _smooth_mix(small, seen.light, nuclear_weights(seen.heme))


def thickness(small: ByteArray, light: FloatArray) -> FloatArray:
    """Density in green and blue, where red cells and white ones are both dense."""
    return _smooth_mix(small, light, (0, 1, 1))


def _nuclear_level(windows: list[ByteArray], seen: Survey) -> float:
    """One level for the whole image, so that no tile of it decides by itself."""
    stain = np.concatenate([nuclear_stain(reduce(w, seen.stride), seen).ravel() for w in windows])
    return max(FAINTEST, 0.75 * otsu(stain[stain > FAINTEST], FAINTEST))


def windows_of(pixels: Pixels) -> list[ByteArray]:
    """The whole image where it is small, otherwise five windows: the middle and the four quarters."""
    height, width = pixels.shape[:2]
    side_y, side_x = min(height, WINDOW_PX), min(width, WINDOW_PX)
    middles = [(0.5, 0.5)]
    if max(height, width) > 2 * WINDOW_PX:
        middles += [(0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)]
    corners = [(int(y * (height - side_y)), int(x * (width - side_x))) for y, x in middles]
    return [pixels[y : y + side_y, x : x + side_x] for y, x in dict.fromkeys(corners)]


def nuclear_weights(heme: float | None) -> tuple[float, float, float]:
    """A density mix in which red cells are as light as the ground."""
    return (1.0, 1.0, -(heme if heme is not None else 0.8))


def plasm_weights(heme: float | None) -> tuple[float, float, float]:
    """The same where there are red cells; without them every stained thing round a nucleus is plasm."""
    return (1.0, 1.0, -heme) if heme is not None else (1.0, 1.0, 0.0)


def not_red(pixels: ByteArray, light: FloatArray) -> BoolArray:
    """Too little blue density for a red cell of any laboratory: (red + green) / blue is below 3.2 there."""
    return _smooth_mix(pixels, light, (1.0, 1.0, -REDDEST)) > 0.05


def _smooth_mix(pixels: ByteArray, light: FloatArray, weights: tuple[float, float, float]) -> FloatArray:
    return np.asarray(ndi.uniform_filter(mixed_density(pixels, light, weights), 3), np.float32)


def _heme_ratios(pixels: ByteArray, light: FloatArray) -> FloatArray:
    """(red + green) / blue density wherever a pixel must be of a red cell: stained, not blue, and out of
    reach of any nucleus."""
    purple = _smooth_mix(pixels, light, nuclear_weights(1.0))
    nuclear = (purple > otsu(purple[purple > 0.1], 0.15)) & not_red(pixels, light)
    nuclear = ndi.binary_opening(nuclear, iterations=2)
    thick = thickness(pixels, light)
    solid = thick > 0.6 * otsu(thick[(thick > 0.06) & ~nuclear], 0.1)
    objects, count = ndi.label(solid | nuclear)
    held = np.bincount(objects[nuclear], minlength=count + 1)
    if held.any():
        reach = REACH_OF_PLASM * float(np.sqrt(held.max() / np.pi))
        far, _ = ndi.label(solid & (ndi.distance_transform_edt(~nuclear) > reach))
        # Plasm can lie that far out too, but it is enclosed by its cell.
        outer = np.unique(np.concatenate([far[0], far[-1], far[:, 0], far[:, -1]]))
        sizes = np.bincount(objects[solid], minlength=count + 1)
        alone = (held == 0) & (sizes >= 0.15 * held.max())
        solid &= alone[objects] | np.isin(far, outer[outer > 0])
    red = solid & (_smooth_mix(pixels, light, (1, 0, -1)) < 0.06)
    red_green, blue = (
        mixed_density(pixels[red][None], light, weights)[0] for weights in ((1, 1, 0), (0, 0, 1))
    )
    ratio = red_green / np.maximum(blue, 0.02)
    return np.asarray(ratio[(ratio > 0.8) & (ratio < 3.6)], np.float32)


def _red_cells_px(pixels: ByteArray, light: FloatArray) -> FloatArray:
    """Diameters of red cells with a free outline for at least half of it, so that clumps do not count."""
    thick = thickness(pixels, light)
    solid = ndi.binary_fill_holes(thick > 0.6 * otsu(thick[thick > 0.06], 0.1))
    solid = ndi.binary_opening(solid, iterations=2)
    stained = ndi.binary_opening(_smooth_mix(pixels, light, (1, 0, -1)) > 0.06, iterations=2)
    from_stain = ndi.distance_transform_edt(~stained) if stained.any() else np.full(solid.shape, np.inf)
    depth = ndi.gaussian_filter(ndi.distance_transform_edt(np.pad(solid, 1))[1:-1, 1:-1], 1)
    peaks = np.argwhere((depth == ndi.maximum_filter(depth, 9)) & (depth >= 4))
    angles = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    circle = np.stack([np.sin(angles), np.cos(angles)], axis=1)
    found: list[float] = []
    for y, x in peaks:
        radius = float(depth[y, x])
        around = np.rint((y, x) + 1.25 * radius * circle).astype(int)
        inside = (around >= 0).all() and (around < solid.shape).all()
        if inside and from_stain[y, x] > 1.2 * radius and (~solid[tuple(around.T)]).mean() >= 0.5:
            found.append(2 * INSCRIBED * radius)
    return np.asarray(found, np.float32)


def _nuclei_px(pixels: ByteArray, light: FloatArray, heme: float | None) -> FloatArray:
    """Diameter of a disc of the area of each nucleus. Lobes count as one where plasm joins them."""
    stain = _smooth_mix(pixels, light, nuclear_weights(heme))
    plasm = stain if heme is not None else _smooth_mix(pixels, light, plasm_weights(heme))
    nuclear = stain > otsu(stain[stain > 0.08], 0.08)
    if heme is None:
        nuclear &= not_red(pixels, light)
    nuclear = ndi.binary_opening(nuclear, iterations=1)
    cells, count = ndi.label(ndi.binary_opening(plasm > 0.06, iterations=2) | nuclear)
    areas = np.bincount(cells[nuclear], minlength=count + 1)[1:]
    return np.asarray(np.sqrt(4 / np.pi * areas[areas >= 40]), np.float32)


def _typical(diameters: FloatArray) -> tuple[int, float]:
    """How many red cells, and how wide they are: many and alike. None where what is round is neither."""
    if len(diameters) < RED_CELLS_NEEDED:
        return 0, 0.0
    middle = _weighted_median(diameters, diameters**2)
    alike = diameters[np.abs(diameters / middle - 1) < 0.3]
    if len(alike) < max(RED_CELLS_NEEDED, 0.4 * len(diameters)):
        return 0, 0.0
    return len(alike), float(np.median(alike))


def _weighted_median(values: FloatArray, weights: FloatArray) -> float:
    order = np.argsort(values, kind="stable")
    total: NDArray[np.float64] = np.cumsum(weights[order], dtype=np.float64)
    return float(values[order[int(np.searchsorted(total, total[-1] / 2))]])
