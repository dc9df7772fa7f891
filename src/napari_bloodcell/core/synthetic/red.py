"""Red cells, platelets and dirt: everything on the glass that is no white cell."""

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
    patch_around,
    pulled,
    ramp,
    scatter,
    wavy,
)
from napari_bloodcell.core.synthetic.looks import (
    BLUE,
    CHROMATIN,
    HAEMOGLOBIN,
    PINK,
    PURPLE,
    RELIEF,
    Look,
)

_TRIES = 6  # places looked at for one red cell before it is left out


@dataclass(frozen=True)
class Neighbour:
    """A white cell as red cells meet it: middle (µm from the upper left corner) and outline."""

    x: float
    y: float
    contour: Contour


@dataclass(frozen=True)
class RedHabit:
    """What the red cells of one field share: a person's blood, and how the film dried."""

    diameter_um: float
    spread: float
    oval: float
    rough: float
    pallor: float
    burnt: float  # share of cells with refractile drying artefacts
    solid: float  # share of cells without a pale centre
    pulled: float  # share of egg and drop shapes
    rim: float  # how much redder the edge stains
    tint: float  # how much the cells take up of other dyes
    squeeze: float  # what overlapping takes off the density


def habit_of(rng: RNG, look: Look) -> RedHabit:
    strength = min(
        1.0, sum(look.haemoglobin) / 0.6
    )  # where haemoglobin is faint, so is all else in red cells
    return RedHabit(
        diameter_um=float(rng.normal(7.3, 0.3)),
        spread=float(rng.uniform(0.03, 0.09)),
        oval=float(rng.uniform(0.03, 0.12)),
        rough=float(rng.uniform(0.008, 0.025)),
        pallor=float(look.pallor * rng.uniform(0.7, 1.25)),
        burnt=float(rng.uniform(0, 0.12) * (rng.random() < 0.5)),
        solid=float(rng.uniform(0.02, 0.9) * (1 - 0.8 * look.pallor)),
        pulled=float(rng.uniform(0.02, 0.3)),
        rim=float(rng.uniform(0, 0.28) * strength),
        tint=0.1 * strength,
        squeeze=float(rng.uniform(0.4, 0.9)),
    )


def lay_red(
    rng: RNG, size_um: tuple[float, float], crowding: float, fixed: list[Disc], whites: list[Neighbour]
) -> NDArray[np.float64]:
    """Places (n x 2, µm) for red cells: single, touching, overlapping, in chains; few on white cells."""
    margin = 4.0
    width, height = size_um[0] + 2 * margin, size_um[1] + 2 * margin
    wanted = int(rng.poisson(1.3 * crowding * width * height / 43.0))
    white = np.array([(w.x, w.y, w.contour.mean_um) for w in whites], np.float64).reshape(-1, 3)
    spots = np.empty((len(fixed) + wanted, 2))
    count = len(fixed)
    spots[:count] = [(x, y) for x, y, _ in fixed] or np.empty((0, 2))
    overlap = 0.08 + 0.5 * crowding
    for _ in range(wanted):
        nearest = 7.1 if rng.random() > overlap else rng.uniform(2.8, 6.8)
        if count and rng.random() < 0.6 * crowding:  # beside or upon another one
            angle, step = rng.uniform(0, 2 * np.pi, _TRIES), rng.uniform(max(nearest, 3.5), 7.6, _TRIES)
            tries = (
                spots[rng.integers(count, size=_TRIES)] + (step * np.array([np.cos(angle), np.sin(angle)])).T
            )
        else:
            tries = rng.uniform(-margin, [size_um[0] + margin, size_um[1] + margin], (_TRIES, 2))
        free = ~_any_nearer(tries, spots[:count], nearest) & ~_any_nearer(
            tries, white[:, :2], white[:, 2] + 2.4
        )
        if free.any():
            spots[count] = tries[int(free.argmax())]
            count += 1
    return spots[:count]


def _any_nearer(
    points: NDArray[np.float64], others: NDArray[np.float64], than: NDArray[np.float64] | float
) -> NDArray[np.bool_]:
    """For each point: does any of the others lie nearer than so many µm?"""
    dx, dy = points[:, :1] - others[:, 0], points[:, 1:] - others[:, 1]
    return np.asarray(np.any(dx * dx + dy * dy < np.square(than), axis=1))


def paint_red(
    rng: RNG, layers: Field, centre: tuple[float, float], habit: RedHabit, whites: list[Neighbour], um: float
) -> list[float]:
    """Add one red cell to the slide. Its box (x, y, x, y, slide pixels), empty where nothing is seen."""
    radius = habit.diameter_um / 2 * float(np.clip(rng.normal(1, habit.spread), 0.75, 1.3))
    oval = abs(rng.normal(0, habit.oval)) + (rng.random() < 0.04) * rng.uniform(0.1, 0.25)
    contour = wavy(rng, radius, oval, habit.rough * rng.uniform(0.5, 1.6))
    if rng.random() < habit.pulled:
        contour = pulled(rng, contour)
    patch = patch_around(centre, contour.reach_um + 2 * um, (layers.shape[1], layers.shape[2]), um)
    if patch.empty:
        return []
    distance, edge = contour.edge(patch)
    whole = edge - distance
    depth = _make_room(rng, whole, _near(centre, whites, contour), patch, radius)
    if np.count_nonzero(depth > 0) < 0.35 * np.count_nonzero(whole > 0):
        return []
    share = (distance / np.maximum(edge, 1e-3)).astype(np.float32)
    thickness = _profile(rng, depth, share, habit, patch, um)
    target = layers[:, patch.rows, patch.columns]
    _lay_down(rng, target, thickness, depth, habit)
    if rng.random() < habit.burnt:
        _glint(rng, target, patch, depth, radius)
    return _box(depth, patch)


def _lay_down(rng: RNG, target: Field, thickness: Field, depth: Field, habit: RedHabit) -> None:
    """Dyes of one red cell upon what already lies there.

    Where two cells lie on each other densities add, though less than twice: both were squeezed in drying.
    """
    amount = np.float32(np.clip(rng.normal(1, 0.09), 0.6, 1.4))
    squeezed = 1 - np.float32(habit.squeeze) * np.minimum(target[HAEMOGLOBIN], 1)
    target[HAEMOGLOBIN] += amount * thickness * squeezed
    target[RELIEF] += thickness * np.float32(0.9)
    young = rng.random() < 0.03  # and therefore bluish
    blue = rng.uniform(1, 3.5) * habit.tint if young else max(rng.normal(0, habit.tint / 2), 0)
    pink = max(rng.normal(0, habit.tint), 0)
    steep = np.exp(-((depth - np.float32(0.6)) ** 2) / np.float32(0.5))
    target[BLUE] += np.float32(blue) * thickness
    target[PINK] += (np.float32(pink) + np.float32(habit.rim) * steep) * thickness


def _glint(rng: RNG, target: Field, patch: Patch, depth: Field, radius: float) -> None:
    """Water caught under a drying cell: a small bright streak with dark sides, or a glassy ring."""
    angle, off = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.3 * radius, 2).astype(np.float32)
    x, y = patch.x - off[0], patch.y - off[1]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    bend = across + np.float32(rng.normal(0, 0.3)) * along**2
    away = np.sqrt(
        (along / np.float32(rng.uniform(0.4, 1.1))) ** 2 + (bend / np.float32(rng.uniform(0.2, 0.5))) ** 2
    )
    bright, dark = np.exp(-(away**2)), np.exp(-((away - 1.7) ** 2) * 2)
    inside = ramp(depth, 0.0, 0.6)
    target[HAEMOGLOBIN] *= 1 - bright * inside
    target[HAEMOGLOBIN] += np.float32(rng.uniform(0.2, 1.0)) * dark * inside
    target[RELIEF] -= np.float32(rng.uniform(0.5, 4.0)) * bright * inside


def _box(depth: Field, patch: Patch) -> list[float]:
    rows, columns = np.flatnonzero((depth > 0).any(axis=1)), np.flatnonzero((depth > 0).any(axis=0))
    if not len(rows):
        return []
    top, left = patch.rows.start, patch.columns.start
    return [left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1]


def _near(
    centre: tuple[float, float], whites: list[Neighbour], contour: Contour
) -> list[tuple[float, float, Contour]]:
    """White cells within reach, seen from the red cell's middle."""
    near: list[tuple[float, float, Contour]] = []
    for white in whites:
        dx, dy = white.x - centre[0], white.y - centre[1]
        if np.hypot(dx, dy) < white.contour.reach_um + contour.reach_um + 0.3:
            near.append((dx, dy, white.contour))
    return near


def _make_room(
    rng: RNG, depth: Field, near: list[tuple[float, float, Contour]], patch: Patch, radius: float
) -> Field:
    """A red cell gives way to a white one: its edge follows the other's, with a gap or a slight overlap."""
    for dx, dy, contour in near:
        overlap = rng.normal(0.05, 0.25) if rng.random() > 0.15 else rng.uniform(0, 0.35) * radius
        depth = np.minimum(depth, np.float32(overlap) - contour.depth(patch.seen_from(dx, dy)))
    return depth


def _profile(rng: RNG, depth: Field, share: Field, habit: RedHabit, patch: Patch, um: float) -> Field:
    """Thickness from 0 to about 1.1: rounded edge, and a pale middle of varying width and place."""
    edge = np.clip(depth / np.float32(rng.uniform(0.5, 1.0)), 0, 1)
    body = np.sqrt(np.maximum(1 - (1 - edge) ** 2, 0)) * ramp(depth, -0.5 * um, 0.5 * um + 0.05)
    tilt = rng.normal(0, 0.07, 2).astype(np.float32) / np.float32(habit.diameter_um / 2)
    body *= np.maximum(1 + tilt[0] * patch.x + tilt[1] * patch.y, 0.5)
    if rng.random() < habit.solid:
        middle = np.float32(1 - 0.35 * habit.pallor * rng.random()) * np.exp(-7.7 * (share * share) ** 2)
        solid: Field = body * (0.92 + 0.08 * middle + 0.06 * ramp(share, 0.6, 0.9))
        return solid
    width = rng.uniform(0.34, 0.74)
    off = rng.normal(0, 0.35, 2)
    lean, squeeze = (
        rng.uniform(0, np.pi),
        rng.uniform(1.0, 1.5) if rng.random() < 0.85 else rng.uniform(1.8, 3),
    )
    x, y = patch.x - np.float32(off[0]), patch.y - np.float32(off[1])
    along = (x * np.float32(np.cos(lean)) + y * np.float32(np.sin(lean))) / np.float32(squeeze**0.5)
    across = (y * np.float32(np.cos(lean)) - x * np.float32(np.sin(lean))) * np.float32(squeeze**0.5)
    away2 = (along**2 + across**2) / np.float32((width * habit.diameter_um / 2) ** 2)
    depth_of_pallor = np.float32(np.clip(habit.pallor * rng.uniform(0.5, 1.35), 0, 0.95))
    blunt = np.float32(rng.uniform(0.0, 1.0))
    pale = np.exp(-away2 * (1 - blunt + blunt * away2))
    thickness: Field = body * (1 - depth_of_pallor * pale) * (0.9 + 0.16 * ramp(share, 0.45, 0.85))
    np.maximum(thickness, 0, out=thickness)
    return thickness


def paint_platelet(rng: RNG, layers: Field, centre: tuple[float, float], um: float) -> list[float]:
    """2 to 3 µm, seldom a giant: a pale body with purple grains in its middle. Its box, as for red cells."""
    radius = float(np.clip(rng.lognormal(np.log(1.1), 0.25), 0.6, 2.6))
    contour = wavy(rng, radius, abs(rng.normal(0, 0.15)), 0.05)
    patch = patch_around(centre, contour.reach_um + 0.6, (layers.shape[1], layers.shape[2]), um)
    if patch.empty:
        return []
    depth = contour.depth(patch) + 0.10 * noise(rng, patch.shape, 0.3 / um)
    body = ramp(depth, -0.3, 0.5)
    points = rng.normal(0, 0.38 * radius, (int(rng.integers(8, 22)), 2))
    grain = np.minimum(scatter(patch, points, rng.uniform(0.3, 1.0, len(points)), 0.24), 1.6)
    target = layers[:, patch.rows, patch.columns]
    target[PURPLE] += (
        body * np.float32(rng.uniform(0.08, 0.3)) + grain * np.float32(rng.uniform(0.2, 0.45)) * body
    )
    target[BLUE] += np.float32(rng.uniform(0.1, 0.5)) * body
    target[RELIEF] += 0.3 * body
    return _box(depth, patch)


def paint_dirt(rng: RNG, layers: Field, amount: float, um: float) -> None:
    """Specks of stain, sharp or out of focus."""
    height, width = layers.shape[1:]
    for _ in range(int(rng.poisson(amount * 10 * min(1.0, width * height * um**2 / 1900)))):
        centre = (rng.uniform(0, width * um), rng.uniform(0, height * um))
        radius = float(rng.lognormal(np.log(0.22), 0.5))
        soft = radius * rng.uniform(0.15, 0.9)
        patch = patch_around(centre, 3 * radius + 2 * um, (height, width), um)
        if patch.empty:
            continue
        spot = ramp(np.float32(radius) - np.hypot(patch.x, patch.y).astype(np.float32), -soft, soft)
        layer = int(rng.choice([CHROMATIN, PURPLE, PURPLE, BLUE]))
        layers[layer, patch.rows, patch.columns] += np.float32(rng.uniform(0.3, 1.1)) * spot
        layers[RELIEF, patch.rows, patch.columns] += np.float32(rng.choice([-0.5, 0.5])) * spot


def paint_haze(rng: RNG, layers: Field, amount: float, um: float) -> None:
    """Dried plasma: a faint, cloudy bluish film; and red cells are not quite even."""
    shape = (layers.shape[1], layers.shape[2])
    wide, fine = noise(rng, shape, 4.0 / um), noise(rng, shape, 0.4 / um)
    cloud = np.maximum(1 + 0.6 * wide + 0.35 * fine, 0)
    layers[BLUE] += np.float32(amount) * cloud * (1 - np.minimum(layers[HAEMOGLOBIN], 1))
    layers[HAEMOGLOBIN] *= 1 + 0.04 * noise(rng, shape, 0.9 / um) - 0.025 * fine
