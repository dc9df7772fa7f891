"""What lies in the cytoplasm: the granules each kind is named for, and vacuoles."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from napari_bloodcell.core.synthetic.fields import RNG, Contour, Field, Patch, grid_points, ramp, scatter
from napari_bloodcell.core.synthetic.looks import BLUE, ORANGE, PINK, PURPLE, RELIEF


@dataclass(frozen=True)
class Sketch:
    """A white cell half painted. ``layers`` is added to in place."""

    contour: Contour
    patch: Patch
    layers: Field  # LAYERS x h x w
    depth: Field  # in the cell, µm
    core: Field  # in the nucleus, µm


def none(_rng: RNG, _cell: Sketch) -> None:
    """Lymphocytes: none worth painting."""


def fine(rng: RNG, cell: Sketch) -> None:
    """Neutrophil dust: lilac to pink, at the limit of resolution."""
    points = grid_points(rng, cell.contour.reach_um, 0.42, 0.5)
    grain = scatter(cell.patch, points, rng.gamma(1.8, 0.5, len(points)), rng.uniform(0.1, 0.17))
    strength = rng.uniform(0.15, 0.65)
    cell.layers[PINK] += np.float32(strength) * grain * ramp(cell.depth, 0.2, 0.9)
    cell.layers[PURPLE] += (
        np.float32(0.14 * strength * rng.uniform(0.2, 1)) * grain * ramp(cell.depth, 0.2, 0.9)
    )


def eosin(rng: RNG, cell: Sketch) -> None:
    """Packed, round, even, refractile granules."""
    spacing = rng.uniform(0.62, 0.9)
    points = grid_points(rng, cell.contour.reach_um, spacing, rng.uniform(0.14, 0.28))
    weight = rng.uniform(0.4, 1.2, len(points)) * (rng.random(len(points)) < 0.93)
    where = ramp(cell.depth, 0.1, 0.6)
    full = scatter(cell.patch, points, weight, 0.46 * spacing)
    heart = scatter(cell.patch, points, weight, 0.24 * spacing)
    base = np.float32(rng.uniform(0.2, 0.6))
    amount = base + (1 - base) * np.minimum(full, 1.5) - np.float32(rng.uniform(0.0, 0.2)) * heart
    cell.layers[ORANGE] += np.float32(rng.uniform(0.65, 1.45)) * amount * where
    cell.layers[PURPLE] += np.float32(max(rng.uniform(-0.15, 0.3), 0)) * amount * where  # overstained
    cell.layers[RELIEF] += np.float32(0.25) * np.minimum(full, 1) * where


def basic(rng: RNG, cell: Sketch) -> None:
    """Coarse granules of uneven size over everything, crowded here and washed out there."""
    where = ramp(cell.depth, 0.0, 0.35)
    reach = cell.contour.reach_um
    waves = rng.normal(0, 2.2 / reach, (5, 2))
    phase = rng.uniform(0, 2 * np.pi, 5)
    unevenness, fullness = rng.uniform(0.1, 0.55), rng.uniform(0.3, 0.75)
    sum_ = np.zeros(cell.patch.shape, np.float32)
    for radius, spacing in ((0.16, 0.55), (0.26, 0.7), (0.38, 0.95), (0.46, 1.5)):
        points = grid_points(rng, reach, spacing, 0.5)
        crowd = np.cos(points @ waves.T + phase).sum(axis=1) * unevenness
        kept = rng.random(len(points)) < fullness * rng.uniform(0.5, 1.1) * (1 + crowd)
        sum_ += scatter(cell.patch, points, kept * rng.uniform(0.3, 1.3, len(points)), radius)
    strength = np.float32(rng.uniform(0.55, 1.0))
    cell.layers[PURPLE] += (np.float32(rng.uniform(0.02, 0.2)) + strength * (1 - np.exp(-sum_))) * where
    cell.layers[RELIEF] += np.float32(0.2) * np.minimum(sum_, 1) * where
    pale = grid_points(rng, reach, 2.6, 0.4)
    washed = scatter(cell.patch, pale, (rng.random(len(pale)) < 0.3) * 1.0, 0.45) * (cell.core < 0.5)
    cell.layers[BLUE : PURPLE + 1] *= 1 - np.float32(0.6) * np.minimum(washed, 1)


def dust(rng: RNG, cell: Sketch) -> None:
    """A monocyte's ground glass: very fine, sparse, reddish."""
    points = grid_points(rng, cell.contour.reach_um, 0.7, 0.5)
    grain = scatter(cell.patch, points, rng.gamma(0.6, 0.8, len(points)), 0.14)
    cell.layers[PURPLE] += np.float32(rng.uniform(0.05, 0.22)) * grain * ramp(cell.depth, 0.2, 0.9)


def vacuoles(rng: RNG, cell: Sketch, mean_number: float) -> None:
    """Clear, sharp bubbles in the cytoplasm, in groups."""
    count = int(rng.poisson(mean_number)) * int(rng.integers(1, 5))
    if not count:
        return
    angle, reach = rng.uniform(0, 2 * np.pi), cell.contour.mean_um
    middle = reach * rng.uniform(0.4, 0.8) * np.array([np.cos(angle), np.sin(angle)])
    points = middle + rng.normal(0, 0.22 * reach, (count, 2))
    hole = np.zeros(cell.patch.shape, np.float32)
    for radius in (0.25, 0.45, 0.7):
        hole += scatter(cell.patch, points, (rng.random(count) < 0.4) * 1.0, radius)
    hole = np.minimum(hole, 1) * ramp(-cell.core, 0.0, 0.4)
    cell.layers[BLUE : PURPLE + 1] *= 1 - np.float32(rng.uniform(0.5, 0.9)) * hole
    cell.layers[RELIEF] -= 0.25 * hole


GRANULES: dict[str, Callable[[RNG, Sketch], None]] = {
    "": none,
    "fine": fine,
    "eosin": eosin,
    "basic": basic,
    "dust": dust,
}
