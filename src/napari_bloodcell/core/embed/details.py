"""What tells kinds apart where outlines are generous: the colour of the cytoplasm against the nucleus's own,
and the gaps between the lobes of a nucleus, which an outline drawn around all of them hides.

All are ratios and differences within one cell: they know no magnification. Shapes and evenness know no
strength of the stain, hues hardly any.
``measurements.measure`` puts them into its table.
"""

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.embed.shapes import depth_of, inner, pieces, solidity

FAINT = 0.05  # density of two channels, below which nothing is divided by
FIRM = 0.12  # of the nucleus's density: cytoplasm below it is the halo that outlines take in
CORE = 0.7  # of the way from cytoplasm to nucleus: what is denser is the nucleus's core
SMOOTH, SMOOTHER = 1.5, 2.5  # in 1/96 of the crop, so that grains of chromatin are no lobes
SPECK = 0.05  # of the core's area; smaller parts are none
MARGIN = 1.5  # in 1/96 of the crop, inside the outline

PLASM = (
    "cytoplasm_hue_low",
    "cytoplasm_hue_mid",
    "cytoplasm_hue_high",
    "cytoplasm_hue_range",
    "cytoplasm_eosin",
    "eosin_contrast",
    "cytoplasm_firm_density",
    "cytoplasm_firm_share",
)
NUCLEAR = ("chromatin_gaps", "chromatin_range", "chromatin_evenness")
CORES = ("core_solidity", "core_thickness", "fine_core_solidity", "fine_core_pieces")
DETAILS = PLASM + NUCLEAR + CORES

Mask = NDArray[np.bool_]
FloatMap = NDArray[np.float32]


def details_of(density: FloatMap, cell: Mask, nucleus: Mask, unit: float) -> dict[str, float]:
    """``density``: optical, H x W x 3, not negative; ``unit``: pixels in 1/96 of the crop."""
    plasm = inner(cell & ~nucleus, unit)
    return _plasm(density, plasm, nucleus) | _nuclear(density, nucleus) | _cores(density, cell, nucleus, unit)


def _plasm(density: FloatMap, plasm: Mask, nucleus: Mask) -> dict[str, float]:
    """Hues as in ``measurements``: blue-absorbing against red-absorbing; eosin absorbs green against red."""
    grey = density.sum(axis=2)
    nuclear = float(grey[nucleus].mean()) if nucleus.any() else 1.0
    firm = plasm & (grey > FIRM * nuclear)
    shown = firm if firm.sum() > 5 else plasm
    hue = (density[..., 2] - density[..., 0]) / (grey + 0.15)
    eosin = (density[..., 1] - density[..., 0]) / (grey + 0.15)
    low, mid, high = np.quantile(hue[shown], (0.1, 0.5, 0.9)) if shown.any() else (0.0, 0.0, 0.0)
    own, pink = _median(hue, nucleus), _median(eosin, firm)
    return {
        "cytoplasm_hue_low": float(low - own),
        "cytoplasm_hue_mid": float(mid - own),
        "cytoplasm_hue_high": float(high - own),
        "cytoplasm_hue_range": float(high - low),
        "cytoplasm_eosin": pink,
        "eosin_contrast": pink - _median(eosin, nucleus),
        "cytoplasm_firm_density": float(grey[firm].mean() / max(nuclear, 1e-3)) if firm.any() else 0.0,
        "cytoplasm_firm_share": float(firm.sum() / max(int(plasm.sum()), 1)),
    }


def _nuclear(density: FloatMap, nucleus: Mask) -> dict[str, float]:
    """How even the nucleus is: 1 for one flat disc, low where paler ground lies between its lobes. Red and
    green alone: blue is what the eosin around it absorbs."""
    if not nucleus.any():
        return dict.fromkeys(NUCLEAR, 1.0)
    levels = (density[..., 0] + density[..., 1])[nucleus]
    q5, q10, q25, q50, q75, q90 = np.quantile(levels, (0.05, 0.1, 0.25, 0.5, 0.75, 0.9))
    return {
        "chromatin_gaps": float(q5 / max(q50, FAINT)),
        "chromatin_range": float(q10 / max(q90, FAINT)),
        "chromatin_evenness": float(q25 / max(q75, FAINT)),
    }


def _cores(density: FloatMap, cell: Mask, nucleus: Mask, unit: float) -> dict[str, float]:
    from scipy.ndimage import binary_erosion

    inside = binary_erosion(cell, iterations=max(1, round(MARGIN * unit)))
    plasm = inner(cell & ~nucleus, unit)
    absorbed = density[..., 0] + density[..., 1]
    coarse, fine = (_core(absorbed, inside, plasm, nucleus, width * unit) for width in (SMOOTHER, SMOOTH))
    radius = np.sqrt(max(int(coarse.sum()), 1) / np.pi)
    return {
        "core_solidity": solidity(coarse),
        "core_thickness": float(depth_of(coarse).max() / radius) if coarse.any() else 0.0,
        "fine_core_solidity": solidity(fine),
        "fine_core_pieces": pieces(fine),
    }


def _core(absorbed: FloatMap, inside: Mask, plasm: Mask, nucleus: Mask, width: float) -> Mask:
    """Where the smoothed density is that of the nucleus, whatever the outline says; specks left out."""
    from scipy.ndimage import gaussian_filter, label

    smooth = gaussian_filter(absorbed, width)
    dense = float(np.quantile(smooth[nucleus], 0.9)) if nucleus.any() else 1.0
    pale = _median(smooth, plasm)
    marked, _ = label((smooth > pale + CORE * (dense - pale)) & inside)
    areas = np.bincount(marked.ravel())
    areas[0] = 0
    large = areas > SPECK * areas.sum()
    core: Mask = large[marked]
    return core


def _median(values: FloatMap, where: Mask) -> float:
    return float(np.median(values[where])) if where.any() else 0.0
