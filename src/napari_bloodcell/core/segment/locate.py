"""Where the white cells are: nuclei by stain, pieces of one nucleus together, cells by watershed.

Everything here works on a reduced image whose pixels are about 0.28 µm, so a length in µm is a few
pixels. Where the scale is unknown, a typical nucleus is taken for 8.5 µm and lengths follow from that.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage as ndi
from skimage.measure import regionprops
from skimage.segmentation import watershed

from napari_bloodcell.core.config import SegmentConfig
from napari_bloodcell.core.image.reduce import reduce
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import BoolArray, ByteArray, FloatArray, IntArray
from napari_bloodcell.core.segment.survey import Survey, not_red, nuclear_stain, plasm_weights
from napari_bloodcell.core.stain import mixed_density

LOBE_GAP_UM = 1.6  # pieces closer than this are lobes of one nucleus
WHOLE_UM2 = 26.0  # a nucleus of this area may be one by itself; lobes are smaller
WHOLE_APART_UM = 8.0  # and two such have their middles this far apart
BODY_UM = 6.0  # the plasm looked at to tell one cell from two
RAGGED_UM = 1.6  # gaps between granules, and the bays they leave in an edge, are narrower than twice this
ROUNDEST = 0.88  # area in areas of the convex hull: one cell is rounder than two that touch
LONGEST = 1.6  # and two that touch are longer, in widths
NECK = 0.75  # width of the bridge between two nuclei, in widths of the smaller
PLASM_GAP_UM = 7.0  # and so are pieces with dense plasm between them
REACH_UM = 6.5  # plasm ends at this distance from its nucleus
PALEST = 0.05  # and below which nothing is plasm

Window = tuple[slice, slice]


@dataclass(frozen=True, kw_only=True)
class Located:
    """Cells on the working grid."""

    labels: IntArray  # cells
    nuclei: IntArray  # the nuclei of those cells, same numbers
    um: float  # size of a working pixel, known or assumed
    stride: int


def locate(
    pixels: ByteArray, survey: Survey, config: SegmentConfig, *, progress: Progress = silent
) -> Located:
    stride = survey.stride
    um = survey.assumed_um_per_px * stride
    small = reduce(pixels, stride)
    stain = nuclear_stain(small, survey)
    progress("locate nuclei", 1, 3)
    if survey.heme is None:
        plasm = ndi.uniform_filter(mixed_density(small, survey.light, plasm_weights(survey.heme)), 3)
    else:
        plasm = stain
    pieces = np.asarray(ndi.binary_opening(stain > survey.nuclear_level, disc(0.5 / um)))
    if survey.heme is None:  # then the mix does not cancel red cells, if there are a few after all
        pieces &= not_red(small, survey.light)
    nuclei = group_pieces(pieces, plasm, um, config)
    progress("locate nuclei", 2, 3)
    labels = grow_cells(nuclei, plasm, um, config)
    progress("locate nuclei", 3, 3)
    return Located(labels=labels, nuclei=np.where(labels == nuclei, nuclei, 0), um=um, stride=stride)


def disc(radius: float) -> BoolArray:
    r = max(1, round(radius))
    y, x = np.ogrid[-r : r + 1, -r : r + 1]
    return np.asarray(x * x + y * y <= (r + 0.3) ** 2)


def group_pieces(pieces: BoolArray, plasm: FloatArray, um: float, config: SegmentConfig) -> IntArray:
    """Number the nuclei: lobes together, touching cells apart, specks away."""
    labels, count = ndi.label(pieces)
    if not count:
        return np.zeros(pieces.shape, np.int32)
    area = np.bincount(labels.ravel(), minlength=count + 1) * um**2
    area[0] = 0
    speck = area < np.pi / 4 * (0.35 * config.min_nucleus_um) ** 2
    pieces = ~speck[labels] & pieces
    away = ndi.distance_transform_edt(~pieces)
    body = ndi.binary_opening(plasm > PALEST, disc(0.8 / um))
    bridge = (away <= LOBE_GAP_UM / 2 / um) | ((away <= PLASM_GAP_UM / 2 / um) & body)
    groups, count = ndi.label(bridge)
    nuclei = np.where(pieces, groups, 0).astype(np.int32)
    if config.split_touching:
        count = split_groups(nuclei, body, count, um)
    total = np.bincount(nuclei.ravel(), minlength=count + 1) * um**2
    keep = total >= np.pi / 4 * config.min_nucleus_um**2
    keep[0] = False
    number = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    return np.asarray(number[nuclei], np.int32)


def split_groups(nuclei: IntArray, body: BoolArray, count: int, um: float) -> int:
    """Give each whole nucleus of a group its own number, in place; returns the highest number."""
    highest = count
    for number, box in enumerate(ndi.find_objects(nuclei), 1):
        if box is None:
            continue
        group = nuclei[box] == number
        if group.sum() * um**2 < 2 * WHOLE_UM2:
            continue
        owner = _whole_nuclei(np.pad(group, 1), um)[1:-1, 1:-1]
        if owner.max() == 2 and _one_cell(nuclei, number, box, body, um):
            continue  # three whole nuclei are never one cell, however round their heap
        for extra in range(2, int(owner.max()) + 1):
            highest += 1
            nuclei[box][group & (owner == extra)] = highest
    return highest


def _one_cell(nuclei: IntArray, number: int, box: tuple[slice, slice], body: BoolArray, um: float) -> bool:
    """One round body round all these nuclei: lobes or buds of one nucleus, however large."""
    wide = round(BODY_UM / um)
    window = tuple(slice(max(0, s.start - wide), s.stop + wide) for s in box)
    group = nuclei[window] == number
    near = (ndi.distance_transform_edt(~group) <= wide) & (body[window] | group)
    parts, _ = ndi.label(ndi.binary_opening(near, disc(1.2 / um)) | group)
    mine = np.pad(np.isin(parts, np.unique(parts[group])), round(2 * RAGGED_UM / um))
    closed = ndi.binary_fill_holes(ndi.binary_closing(mine, disc(RAGGED_UM / um)))
    whole = regionprops(closed.astype(np.uint8))[0]
    elongated = whole.axis_major_length > LONGEST * whole.axis_minor_length
    return bool(whole.solidity >= ROUNDEST and not elongated)


def _whole_nuclei(group: BoolArray, um: float) -> IntArray:
    """1, 2, ... on each whole nucleus; lobes and fragments go with the nearest."""
    depth = ndi.gaussian_filter(ndi.distance_transform_edt(group), 0.8)
    wide = 2 * round(1.2 / um) + 1
    peaks, count = ndi.label((depth == ndi.maximum_filter(depth, wide)) & group)
    parts = watershed(-depth, peaks, mask=group)
    area = np.bincount(parts.ravel(), minlength=count + 1)[1:] * um**2
    index = np.arange(1, count + 1)
    middle = np.asarray(ndi.center_of_mass(group, parts, index), np.float32) * um
    peak = np.asarray(ndi.maximum(depth, parts, index), np.float32)
    chosen: list[int] = []
    for i in np.argsort(-area, kind="stable"):
        if area[i] < WHOLE_UM2:
            break
        if all(_apart(parts, depth, (i, j), peak, middle) for j in chosen):
            chosen.append(int(i))
    if len(chosen) < 2:
        return group.astype(np.int32)
    nearest = np.linalg.norm(middle[:, None] - middle[chosen], axis=2).argmin(axis=1) + 1
    owner = np.concatenate([[0], nearest])[parts]
    return np.asarray(owner, np.int32)


def _apart(
    parts: IntArray, depth: FloatArray, pair: tuple[int, int], peak: FloatArray, middle: FloatArray
) -> bool:
    """Two cells, not one nucleus: far enough for two round nuclei, and joined by a neck at most."""
    i, j = pair
    if np.linalg.norm(middle[i] - middle[j]) < WHOLE_APART_UM:
        return False
    shared = ndi.binary_dilation(parts == i + 1, iterations=2) & (parts == j + 1)
    neck = float(depth[shared].max()) if shared.any() else 0.0
    return neck < NECK * min(float(peak[i]), float(peak[j]))


def grow_cells(nuclei: IntArray, plasm: FloatArray, um: float, config: SegmentConfig) -> IntArray:
    """One region for each nucleus: its plasm, as far as it is nearer to this nucleus than to others."""
    labels = np.zeros(nuclei.shape, np.int32)
    for number, box in enumerate(ndi.find_objects(nuclei), 1):
        window, cell = grow_cell(nuclei, number, box, plasm, um, config)
        labels[window][cell & (labels[window] == 0)] = number
    return labels


def grow_cell(
    nuclei: IntArray, number: int, box: Window, plasm: FloatArray, um: float, config: SegmentConfig
) -> tuple[Window, BoolArray]:
    """The cell of the nucleus in this box, in the window that it may fill."""
    reach = round(REACH_UM / um) + 2
    rows, columns = (slice(max(0, s.start - reach), s.stop + reach) for s in box)
    here = nuclei[rows, columns]
    cell = _cell(here, number, plasm[rows, columns], um)
    return (rows, columns), cell & _within(here == number, config.max_cell_um / 2 / um)


def _cell(nuclei: IntArray, number: int, plasm: FloatArray, um: float) -> BoolArray:
    nucleus = nuclei == number
    away = ndi.distance_transform_edt(~nucleus) * um
    others = (nuclei > 0) & ~nucleus
    mine = away <= REACH_UM
    if others.any():
        mine &= away <= ndi.distance_transform_edt(~others) * um
    ring = mine & (away > 0.6) & (away <= 1.6)
    level = float(np.percentile(plasm[ring], 50)) if ring.any() else 0.0
    threshold = min(max(0.35 * level, PALEST), 0.2)
    cell = mine & ((plasm > threshold) | (away <= 0.5))
    cell = ndi.binary_opening(cell, disc(1.0 / um)) | (away <= 0.4)
    parts, _ = ndi.label(cell)
    cell = np.isin(parts, np.unique(parts[nucleus]))
    cell = ndi.binary_fill_holes(ndi.binary_closing(np.pad(cell, 8, mode="edge"), disc(1.2 / um)))[8:-8, 8:-8]
    cell &= mine
    parts, _ = ndi.label(cell)
    kept = np.unique(parts[nucleus & cell])
    return np.asarray(np.isin(parts, kept[kept > 0]))


def _within(nucleus: BoolArray, radius: float) -> BoolArray:
    """A disc around the middle of the nucleus."""
    y, x = ndi.center_of_mass(nucleus)
    rows, columns = np.ogrid[: nucleus.shape[0], : nucleus.shape[1]]
    return np.asarray((rows - y) ** 2 + (columns - x) ** 2 <= radius**2)
