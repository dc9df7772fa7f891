"""The outlines of located cells at full resolution, each cell in its own window."""

import numpy as np
from scipy import ndimage as ndi

from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import BoolArray, ByteArray, IntArray
from napari_bloodcell.core.segment.locate import Located
from napari_bloodcell.core.segment.survey import Survey, nuclear_weights, otsu
from napari_bloodcell.core.stain import mixed_density

FINE_UM = 0.12  # finer than this no nucleus has detail
PORE_UM2 = 3.0  # a larger hole in a nucleus is the plasm inside a ring


def outline(
    pixels: ByteArray,
    survey: Survey,
    located: Located,
    *,
    progress: Progress = silent,
) -> tuple[IntArray, BoolArray]:
    """Labels and nuclei as large as the image."""
    height, width = pixels.shape[:2]
    labels = np.zeros((height, width), np.int32)
    nuclei = np.zeros((height, width), np.bool_)
    boxes = ndi.find_objects(located.labels)
    for done, box in enumerate(boxes):
        progress("outline cells", done, len(boxes))
        if box is None:
            continue
        window, cell = _enlarge(located.labels, box, done + 1, located.stride, (height, width))
        free = labels[window] == 0
        cell &= free
        nucleus = nucleus_of(pixels[window], cell, survey)
        if nucleus.any():
            labels[window][cell] = done + 1
            nuclei[window] |= nucleus
    progress("outline cells", len(boxes), len(boxes))
    return labels, nuclei


def _enlarge(
    labels: IntArray, box: tuple[slice, slice], number: int, stride: int, shape: tuple[int, int]
) -> tuple[tuple[slice, slice], BoolArray]:
    """One cell of the working grid in pixels of the image, its steps smoothed."""
    rows, columns = (
        slice(max(0, s.start - 2), min(n, s.stop + 2)) for s, n in zip(box, labels.shape, strict=True)
    )
    mask = (labels[rows, columns] == number).astype(np.float32)
    mask = ndi.gaussian_filter(mask, 0.8, mode="nearest")
    if stride > 1:
        mask = ndi.zoom(mask, stride, order=1, grid_mode=True, mode="nearest")
    # The working grid drops a last part of a pixel: the outermost cells reach the edge of the image.
    pads = [
        (0, edge - s.stop * stride if s.stop == n else 0)
        for s, n, edge in zip((rows, columns), labels.shape, shape, strict=True)
    ]
    mask = np.pad(mask, pads, mode="edge")
    window = tuple(
        slice(s.start * stride, s.start * stride + n)
        for s, n in zip((rows, columns), mask.shape, strict=True)
    )
    return (window[0], window[1]), np.asarray(mask > 0.5)


def nucleus_of(pixels: ByteArray, cell: BoolArray, survey: Survey) -> BoolArray:
    um = survey.assumed_um_per_px
    step = max(1, int(FINE_UM / um))
    stain = mixed_density(pixels[::step, ::step], survey.light, nuclear_weights(survey.heme))
    stain = ndi.gaussian_filter(stain, max(0.6, 0.15 / um / step))
    inside = cell[::step, ::step]
    if not inside.any():
        return np.zeros(cell.shape, np.bool_)
    stained = inside & (stain >= otsu(stain[inside], 0.05))
    if not stained.any():
        return np.zeros(cell.shape, np.bool_)
    # The darkest chromatin would draw the threshold into the nucleus: cut it off and look again.
    dark = float(np.median(stain[stained]))
    nucleus = inside & (stain > otsu(np.minimum(stain[inside], dark), 0.05))
    nucleus = _without_pores(nucleus, um * step)
    nucleus = np.repeat(np.repeat(nucleus, step, 0), step, 1)[: cell.shape[0], : cell.shape[1]]
    return np.asarray(nucleus & cell)


def _without_pores(nucleus: BoolArray, um: float) -> BoolArray:
    """Pale spots inside chromatin are nucleus; the plasm that a ring encloses is not."""
    holes, count = ndi.label(ndi.binary_fill_holes(nucleus) & ~nucleus)
    small = np.bincount(holes.ravel(), minlength=count + 1) * um**2 < PORE_UM2
    small[0] = False
    return np.asarray(nucleus | small[holes])
