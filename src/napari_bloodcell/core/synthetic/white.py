"""White cells: outline, nucleus, chromatin, granules, vacuoles. Sizes are those of dried, flattened cells."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.synthetic.fields import (
    RNG,
    Contour,
    Disc,
    Field,
    Patch,
    noise,
    press,
    ramp,
    strokes,
    wavy,
)
from napari_bloodcell.core.synthetic.granules import GRANULES, Sketch, vacuoles
from napari_bloodcell.core.synthetic.looks import BLUE, CHROMATIN, LAYERS, PINK, PURPLE, RELIEF
from napari_bloodcell.core.synthetic.nuclei import BUILDERS


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What one class of white cell looks like. Pairs are the bounds of a uniform draw."""

    diameter_um: tuple[float, float, float]  # mean, spread, least
    nucleus: str
    blue: tuple[float, float]
    pink: tuple[float, float]
    chromatin: tuple[float, float]
    clump_um: float  # grain of the chromatin
    clump: float  # and its contrast
    oval: float = 0.08
    rough: float = 0.028
    contacts: float = 0.8  # neighbours pressed in, mean
    granules: str = ""
    vacuoles: float = 0.0  # mean number
    fray_um: float = 0.10  # raggedness of the edge, at most
    size: float = 1.0  # of the nucleus, against its drawing


KINDS: dict[str, Kind] = {
    "neutrophil_segmented": Kind(
        diameter_um=(13.7, 1.3, 10.5), nucleus="segmented", blue=(0.05, 0.25), pink=(0.45, 0.95),
        chromatin=(0.8, 1.25), clump_um=0.32, clump=0.36, granules="fine", vacuoles=0.2,
    ),
    "neutrophil_banded": Kind(
        diameter_um=(13.9, 1.3, 11.0), nucleus="band", blue=(0.08, 0.3), pink=(0.45, 0.9),
        chromatin=(0.75, 1.2), clump_um=0.32, clump=0.33, granules="fine", vacuoles=0.2,
    ),
    "eosinophil": Kind(
        diameter_um=(14.4, 1.3, 11.5), nucleus="bilobed", blue=(0.05, 0.25), pink=(0.3, 0.6),
        chromatin=(0.75, 1.2), clump_um=0.36, clump=0.32, granules="eosin", rough=0.022,
    ),
    "basophil": Kind(
        diameter_um=(12.4, 1.1, 10.0), nucleus="blurred_lobes", blue=(0.1, 0.3), pink=(0.4, 0.8),
        chromatin=(0.55, 0.9), size=1.2, clump_um=0.42, clump=0.2, granules="basic", rough=0.025,
    ),
    "monocyte": Kind(
        diameter_um=(16.6, 1.6, 13.5), nucleus="kidney", blue=(0.45, 1.3), pink=(0.1, 0.6),
        chromatin=(0.5, 1.05), clump_um=0.24, clump=0.30, oval=0.09, rough=0.04, contacts=1.6,
        granules="dust", vacuoles=1.6, fray_um=0.45, size=1.14,
    ),
    "lymphocyte_typical": Kind(
        diameter_um=(9.6, 1.2, 7.4), nucleus="round", blue=(0.4, 1.5), pink=(0.0, 0.25),
        chromatin=(0.8, 1.4), clump_um=0.42, clump=0.24, oval=0.05, rough=0.022, contacts=0.8,
    ),
    "lymphocyte_atypical": Kind(
        diameter_um=(15.0, 1.8, 11.5), nucleus="irregular", blue=(0.7, 1.5), pink=(0.0, 0.15),
        chromatin=(0.8, 1.15), clump_um=0.42, clump=0.2, oval=0.12, rough=0.035, contacts=2.6, vacuoles=0.4,
    ),
    "smudge_cell": Kind(
        diameter_um=(13.0, 2.0, 9.5), nucleus="burst", blue=(0.0, 0.1), pink=(0.0, 0.15),
        chromatin=(0.55, 0.85), clump_um=0.9, clump=0.3, oval=0.15, rough=0.08, contacts=0.0,
    ),
}  # fmt: skip

MAIN_KINDS = tuple(KINDS)[:6]


@dataclass(frozen=True)
class Outline:
    """A cell before it is painted."""

    name: str
    contour: Contour
    contacts: tuple[Disc, ...]  # red cells pressed into it


def outline(rng: RNG, name: str, *, contacts: bool = True) -> Outline:
    kind = KINDS[name]
    mean, spread, least = kind.diameter_um
    radius = max(rng.normal(mean, spread), least) / 2
    contour = wavy(rng, radius, abs(rng.normal(0, kind.oval)), kind.rough * rng.uniform(0.4, 1.5))
    discs: list[Disc] = []
    for _ in range(int(rng.poisson(kind.contacts)) if contacts else 0):
        angle, r = rng.uniform(0, 2 * np.pi), rng.uniform(3.1, 4.1)
        away = radius + r - rng.uniform(0.2, 1.5) * radius / 7
        x, y = away * np.cos(angle), away * np.sin(angle)
        if all(np.hypot(x - u, y - v) > 1.5 * r for u, v, _ in discs):
            discs.append((float(x), float(y), float(r)))
    return Outline(name, press(contour, discs), tuple(discs))


def paint(rng: RNG, cell: Outline, patch: Patch, *, clumping: float = 1.0) -> tuple[Field, NDArray[np.uint8]]:
    """Layers to add to the slide, and parts (0 outside, 1 cytoplasm, 2 nucleus) of the patch.

    ``clumping`` scales the contrast of chromatin: how well stain and lens show it.
    """
    kind, um = KINDS[cell.name], patch.um_per_px
    layers = np.zeros((LAYERS, *patch.shape), np.float32)
    depth = cell.contour.depth(patch)
    patchy = np.maximum(noise(rng, patch.shape, 2.5 / um) + 0.3, 0.15)
    depth += (
        noise(rng, patch.shape, rng.uniform(0.3, 0.7) / um)
        * patchy
        * np.float32(0.02 + kind.fray_um * rng.random() ** 2)
    )
    core = _nucleus_depth(rng, kind, cell, patch, depth)
    if kind.nucleus == "burst":  # nothing is left of the cell but its chromatin
        depth = np.minimum(depth, core + np.float32(0.4))
    inside = ramp(depth, -0.5 * um - 0.05, 0.5 * um + 0.05)
    body = inside * (1 - np.float32(rng.uniform(0.15, 0.7)) * (1 - ramp(depth, 0.0, rng.uniform(0.6, 2.4))))
    blue, pink = _cytoplasm(rng, kind, patch, depth, core)
    layers[BLUE] = np.float32(rng.uniform(*kind.blue)) * body * blue
    layers[PINK] = np.float32(rng.uniform(*kind.pink)) * body * pink
    chromatin = _chromatin(rng, kind, patch, core, clumping)
    sketch = Sketch(cell.contour, patch, layers, depth, core)
    GRANULES[kind.granules](rng, sketch)
    if kind.vacuoles:
        vacuoles(rng, sketch, kind.vacuoles)
    layers[BLUE : PURPLE + 1] *= 1 - 0.75 * np.clip(chromatin, 0, 1) * (kind.granules != "basic")
    layers[CHROMATIN] = chromatin
    layers[PINK] += np.float32(0.35) * ramp(core, -0.1, 0.2) * np.maximum(1.1 - chromatin, 0)
    layers[RELIEF] = 0.8 * inside + 0.35 * np.minimum(chromatin, 1.2)
    parts = (depth > 0).astype(np.uint8)
    parts[(core > 0) & (depth > 0)] = 2
    return layers, parts


def _nucleus_depth(rng: RNG, kind: Kind, cell: Outline, patch: Patch, depth: Field) -> Field:
    points, radii = BUILDERS[kind.nucleus](rng)
    size = cell.contour.mean_um * kind.size
    core = strokes(patch, points * size, radii * size)
    um = patch.um_per_px
    uneven = 0.20 * noise(rng, patch.shape, 0.9 / um) + 0.06 * noise(rng, patch.shape, 0.3 / um)
    # Threads are thin: unevenness must not cut them, so it fades where the strokes are narrow.
    core += (
        np.float32(min(size / 6.5, 1.2) * (0.5 if kind.nucleus == "round" else 1))
        * uneven
        * ramp(core + 0.8, 0, 0.8)
    )
    if kind.nucleus == "burst":
        return core
    inner: Field = np.minimum(core, depth - np.float32(rng.uniform(0.12, 0.4)))
    return inner


def _cytoplasm(rng: RNG, kind: Kind, patch: Patch, depth: Field, core: Field) -> tuple[Field, Field]:
    """Uneven density of the cell body, for the blue and the pink dye.

    Cloudy, not alike for both dyes; paler beside the nucleus; denser or paler at the rim.
    """
    um = patch.um_per_px
    wide, fine = (np.float32(rng.uniform(0.05, 0.30)) for _ in range(2))
    common = 1 + wide * noise(rng, patch.shape, 1.1 / um) + fine * noise(rng, patch.shape, 0.2 / um)
    apart = np.float32(rng.uniform(0.05, 0.30)) * noise(rng, patch.shape, rng.uniform(0.3, 0.9) / um)
    halo = 1 - np.float32(rng.uniform(0.1, 0.4)) * np.exp(-np.abs(core) / np.float32(0.8))
    rim = 1 + np.float32(rng.uniform(-0.25, 0.7 if kind.blue[1] > 0.5 else 0.3)) * np.exp(
        -np.abs(depth) / 0.8
    )
    blue: Field = np.maximum((common + apart) * halo * rim, 0.05)
    pink: Field = np.maximum((common - apart) * halo, 0.05)
    return blue, pink


def _chromatin(rng: RNG, kind: Kind, patch: Patch, core: Field, clumping: float) -> Field:
    um = patch.um_per_px
    coarse = noise(rng, patch.shape, kind.clump_um / um)
    fine = noise(rng, patch.shape, 0.36 * kind.clump_um / um)
    if kind.nucleus in ("kidney", "irregular"):  # strands around paler holes: lace
        texture = 1.1 - 1.5 * np.abs(coarse) + 0.6 * fine
        texture = 0.6 * texture + 0.5 * noise(rng, patch.shape, 2.4 * kind.clump_um / um)
    else:
        texture = np.tanh(1.2 * coarse) + 0.6 * fine
    dome = 0.80 + 0.20 * ramp(core, 0.0, 1.3)
    rim = np.float32(rng.uniform(0.05, 0.4)) * np.exp(-((core - np.float32(0.15)) ** 2) / np.float32(0.02))
    soft = max(0.5 * um, 0.10 if kind.nucleus != "burst" else 0.5)
    amount = np.float32(rng.uniform(*kind.chromatin)) * (
        dome + rim + np.float32(kind.clump * clumping * rng.uniform(0.7, 1.3)) * texture
    )
    stained: Field = np.maximum(amount, 0.15) * ramp(core, -soft, soft)
    return stained
