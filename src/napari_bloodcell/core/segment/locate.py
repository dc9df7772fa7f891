"""Where the white cells are: nuclei by stain, pieces of one nucleus together, cells by watershed.

Everything here works on a reduced image whose pixels are about 0.28 µm, so a length in µm is a few
pixels. Where the scale is unknown, a typical nucleus is taken for 8.5 µm and lengths follow from that.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage as ndi

from napari_bloodcell.core.config import SegmentConfig
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import BoolArray, ByteArray, FloatArray, IntArray
from napari_bloodcell.core.segment.survey import Survey, otsu, reduce
from napari_bloodcell.core.stain import mixed_density

LOBE_GAP_UM = 1.6  # pieces closer than this are lobes of one nucleus
PLASM_GAP_UM = 4.0  # and so are pieces with dense plasm between them
REACH_UM = 6.5  # plasm ends at this distance from its nucleus
FAINTEST = 0.08  # density contrast below which nothing is a nucleus


@dataclass(frozen=True, kw_only=True)
class Located:
    """Cells on the working grid."""

    labels: IntArray  # cells
    nuclei: IntArray  # the nuclei of those cells, same numbers
    um: float  # size of a working pixel, known or assumed
    stride: int


def nuclear_weights(survey: Survey) -> tuple[float, float, float]:
    """A density mix in which red cells are as dark as the ground."""
    return (1.0, 1.0, -(survey.heme if survey.heme is not None else 0.8))


def plasm_weights(survey: Survey) -> tuple[float, float, float]:
    """The same where there are red cells; without them every stained thing round a nucleus is plasm."""
    return (1.0, 1.0, -survey.heme) if survey.heme is not None else (1.0, 1.0, 0.0)


def locate(
    pixels: ByteArray, survey: Survey, config: SegmentConfig, *, progress: Progress = silent
) -> Located:
    stride = survey.stride
    um = survey.assumed_um_per_px * stride
    small = reduce(pixels, stride)
    stain = ndi.uniform_filter(mixed_density(small, survey.light, nuclear_weights(survey)), 3)
    progress("locate nuclei", 1, 3)
    if survey.heme is None:
        plasm = ndi.uniform_filter(mixed_density(small, survey.light, plasm_weights(survey)), 3)
    else:
        plasm = stain
    pieces = nuclear_pieces(stain, um)
    nuclei = group_pieces(pieces, plasm, um, config)
    progress("locate nuclei", 2, 3)
    labels = grow_cells(nuclei, plasm, um, config)
    progress("locate nuclei", 3, 3)
    return Located(labels=labels, nuclei=np.where(labels == nuclei, nuclei, 0), um=um, stride=stride)


def disc(radius: float) -> BoolArray:
    r = max(1, round(radius))
    y, x = np.ogrid[-r : r + 1, -r : r + 1]
    return np.asarray(x * x + y * y <= (r + 0.3) ** 2)


def nuclear_pieces(stain: FloatArray, um: float) -> BoolArray:
    dense = otsu(stain[stain > FAINTEST], FAINTEST)
    pieces = stain > max(FAINTEST, 0.75 * dense)
    return np.asarray(ndi.binary_opening(pieces, disc(0.5 / um)))


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
    bridge = (away <= LOBE_GAP_UM / 2 / um) | ((away <= PLASM_GAP_UM / 2 / um) & (plasm > 0.06))
    groups, count = ndi.label(bridge)
    nuclei = np.where(pieces, groups, 0).astype(np.int32)
    total = np.bincount(nuclei.ravel(), minlength=count + 1) * um**2
    keep = total >= np.pi / 4 * config.min_nucleus_um**2
    keep[0] = False
    number = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    return number[nuclei]


def grow_cells(nuclei: IntArray, plasm: FloatArray, um: float, config: SegmentConfig) -> IntArray:
    """One region for each nucleus: its plasm, as far as it is nearer to this nucleus than to others."""
    labels = np.zeros(nuclei.shape, np.int32)
    reach = round(REACH_UM / um)
    for number, box in enumerate(ndi.find_objects(nuclei), 1):
        window = tuple(slice(max(0, s.start - reach - 2), s.stop + reach + 2) for s in box)
        cell = _cell(nuclei[window], number, plasm[window], um)
        labels[window][cell & (labels[window] == 0)] = number
    return labels


def _cell(nuclei: IntArray, number: int, plasm: FloatArray, um: float) -> BoolArray:
    nucleus = nuclei == number
    away = ndi.distance_transform_edt(~nucleus) * um
    others = (nuclei > 0) & ~nucleus
    mine = away <= REACH_UM
    if others.any():
        mine &= away <= ndi.distance_transform_edt(~others) * um
    ring = mine & (away > 0.6) & (away <= 1.6)
    far = mine & (away > 0.75 * REACH_UM)
    ground = float(np.median(plasm[far])) if far.any() else 0.0
    level = float(np.percentile(plasm[ring], 65)) if ring.any() else 0.0
    threshold = max(ground + 0.5 * (level - ground), ground + 0.02)
    cell = mine & ((plasm > threshold) | (away <= 0.5))
    cell = ndi.binary_opening(cell, disc(1.0 / um)) | (away <= 0.4)
    cell = ndi.binary_fill_holes(cell)
    parts, _ = ndi.label(cell)
    kept = np.unique(parts[nucleus])
    return np.asarray(np.isin(parts, kept[kept > 0]))
