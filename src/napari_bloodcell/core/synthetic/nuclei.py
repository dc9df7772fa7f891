"""Shapes of nuclei. Each builder gives brush strokes (points and radii in units of the cell's radius)."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.synthetic.fields import RNG

Strokes = tuple[NDArray[np.float64], NDArray[np.float64]]


def _turn(points: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    c, s = np.cos(angle), np.sin(angle)
    turned: NDArray[np.float64] = points @ np.array([[c, s], [-s, c]])
    return turned


def _arc(radius: float, span: float, count: int, *, squeeze: float = 1.0) -> NDArray[np.float64]:
    angle = np.linspace(-span / 2, span / 2, count)
    return np.stack([radius * np.cos(angle), squeeze * radius * np.sin(angle)], axis=1)


def _join(start: NDArray[np.float64], end: NDArray[np.float64], width: float, bow: float) -> Strokes:
    """A thread between two lobes: a tapered, slightly bowed line."""
    count = max(5, int(np.hypot(*(end - start)) / max(0.7 * width, 0.03)))
    t = np.linspace(0.0, 1.0, min(count, 16))
    across = np.array([end[1] - start[1], start[0] - end[0]])
    points = start + t[:, None] * (end - start) + (bow * np.sin(np.pi * t))[:, None] * across
    return points, width * (1 + 1.2 * (2 * t - 1) ** 4)


def _gather(parts: list[Strokes]) -> Strokes:
    return np.concatenate([p for p, _ in parts]), np.concatenate([r for _, r in parts])


def _lobe(rng: RNG, centre: NDArray[np.float64], radius: float, direction: float) -> Strokes:
    """A bean: discs along a short bent line."""
    half = radius * rng.uniform(0.1, 0.65)
    t = np.linspace(-1.0, 1.0, 5)
    bend = rng.normal(0, 0.25) * radius
    points = np.stack([half * t, bend * (1 - t**2)], axis=1)
    thick = radius * np.sqrt(1 / (1 + 0.9 * half / radius)) * (1 + rng.normal(0, 0.12) * t)
    return _turn(points, direction) + centre, thick


def segmented(rng: RNG) -> Strokes:
    count = int(rng.choice([2, 3, 4, 5], p=[0.17, 0.43, 0.3, 0.1]))
    return _lobed(
        rng, count, area=rng.uniform(0.24, 0.38), ring=rng.uniform(0.44, 0.58), off=rng.uniform(0, 0.12)
    )


def bilobed(rng: RNG) -> Strokes:
    count = 3 if rng.random() < 0.16 else 2
    return _lobed(
        rng, count, area=rng.uniform(0.26, 0.36), ring=rng.uniform(0.46, 0.58), off=rng.uniform(0.05, 0.25)
    )


def _lobed(rng: RNG, count: int, *, area: float, ring: float, off: float) -> Strokes:
    size = np.sqrt(area / count) * rng.uniform(0.82, 1.15, count)
    gap = 2.45 * np.sqrt(area / count) * rng.uniform(0.8, 1.15, count) / ring
    gap = np.minimum(gap, 2 * np.pi / count * 1.02)
    angle = np.cumsum(gap)
    angle -= angle.mean()
    away = ring * rng.uniform(0.75, 1.12, count)
    if count >= 4 and rng.random() < 0.35:
        away[int(rng.integers(1, count - 1))] *= 0.35
    centres = np.stack([away * np.cos(angle) + off - 0.12 * (count == 2), away * np.sin(angle)], axis=1)
    parts: list[Strokes] = []
    for i in range(count):
        parts.append(_lobe(rng, centres[i], size[i], angle[i] + np.pi / 2 + rng.normal(0, 0.5)))
        if i:
            parts.append(_join(centres[i - 1], centres[i], rng.uniform(0.035, 0.09), rng.normal(0, 0.12)))
    points, radii = _gather(parts)
    return _turn(points, rng.uniform(0, 2 * np.pi)), radii


def band(rng: RNG) -> Strokes:
    """A sausage bent to a C, a U or an S, nowhere thinner than a third of its widest."""
    kind = rng.choice(["c", "u", "s"], p=[0.55, 0.3, 0.15])
    width = rng.uniform(0.19, 0.25)
    t = np.linspace(0.0, 1.0, 22)
    if kind == "s":
        y = (t - 0.5) * rng.uniform(1.1, 1.3)
        points = np.stack([rng.uniform(0.2, 0.32) * np.sin(2 * np.pi * t), y], axis=1)
    elif kind == "u":
        points = _arc(rng.uniform(0.42, 0.5), rng.uniform(3.2, 4.1), 22, squeeze=rng.uniform(0.7, 0.95))
    else:
        points = _arc(rng.uniform(0.42, 0.52), rng.uniform(3.3, 5.0), 22)
    waves = 1 + 0.16 * np.sin(2 * np.pi * (rng.uniform(0.6, 1.7) * t + rng.random()))
    ends = 1 + 0.18 * (2 * t - 1) ** 4
    return _turn(points + rng.normal(0, 0.04, 2), rng.uniform(0, 2 * np.pi)), width * waves * ends


def kidney(rng: RNG) -> Strokes:
    """Kidney, horseshoe, folded or lobulated: what monocytes have."""
    kind = rng.choice(["kidney", "horseshoe", "folded", "broad"], p=[0.42, 0.2, 0.22, 0.16])
    off = np.array([rng.uniform(-0.05, 0.2), rng.normal(0, 0.06)])
    t = np.linspace(-1.0, 1.0, 16)
    if kind == "folded":
        count = int(rng.integers(3, 6))
        angle = np.linspace(0, 2 * np.pi, count, endpoint=False) + rng.normal(0, 0.25, count)
        away = rng.uniform(0.24, 0.40, count)
        lobes = np.stack([away * np.cos(angle), away * np.sin(angle)], axis=1)
        points, radii = np.concatenate([lobes, [[0, 0]]]), np.append(rng.uniform(0.27, 0.37, count), 0.36)
    else:
        ring, span, width = {
            "kidney": (0.34, rng.uniform(1.7, 2.6), rng.uniform(0.33, 0.42)),
            "horseshoe": (0.44, rng.uniform(2.8, 4.2), rng.uniform(0.25, 0.31)),
            "broad": (0.5, rng.uniform(0.7, 1.3), rng.uniform(0.44, 0.52)),
        }[str(kind)]
        points = _arc(ring, span, 16) - [0.75 * ring, 0]
        radii = width * (1 + rng.normal(0, 0.07) * t + rng.normal(0, 0.08) * t**2)
    return _turn(points + off, rng.uniform(0, 2 * np.pi)), radii


def round_(rng: RNG) -> Strokes:
    """Nearly fills the cell; off centre; now and then slightly dented."""
    radius = rng.uniform(0.76, 0.93)
    off = (0.97 - radius) * rng.uniform(0.1, 1.0)
    dent = rng.uniform(0.0, 0.22) if rng.random() < 0.5 else 0.0
    points = _arc(0.30, 2.4, 9) * [1 + dent, 1.0] - [0.2, 0]
    points = np.concatenate([points, [[-0.12 + dent * 0.8, 0.0]]])
    stretch = rng.uniform(0.86, 1.12)
    points = points * [stretch, 1.0] * 0.6
    radii = np.full(len(points), radius - 0.18)
    return _turn(points, rng.uniform(0, 2 * np.pi)) + _turn(np.array([[off, 0.0]]), rng.uniform(0, 7)), radii


def irregular(rng: RNG) -> Strokes:
    """The nucleus of a stirred-up lymphocyte: large, oval or notched, off centre."""
    count = int(rng.integers(3, 6))
    points = rng.normal(0, 0.13, (count, 2)) * [1.5, 1.0]
    radii = rng.uniform(0.42, 0.56, count)
    shift = np.array([[rng.uniform(0.0, 0.2), 0.0]])
    return _turn(points + shift, rng.uniform(0, 2 * np.pi)), radii


def blurred_lobes(rng: RNG) -> Strokes:
    """The ill-defined, broad nucleus below a basophil's granules."""
    count = int(rng.integers(2, 5))
    angle = np.sort(rng.uniform(0, 2 * np.pi, count))
    points = 0.34 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.concatenate([points, [[0, 0]]]), np.append(rng.uniform(0.28, 0.42, count), 0.33)


def burst(rng: RNG) -> Strokes:
    """A smudge: bare chromatin, squashed and drawn out in strands."""
    parts: list[Strokes] = [(rng.normal(0, 0.16, (5, 2)), rng.uniform(0.4, 0.62, 5))]
    lean = rng.uniform(0, 2 * np.pi)
    for _ in range(int(rng.integers(4, 12))):
        angle = lean + rng.normal(0, 0.55)
        tip = rng.uniform(0.6, 1.05) * np.array([np.cos(angle), np.sin(angle)])
        t = np.linspace(0.2, 1, 18)
        sway = rng.normal(0, 0.12) * np.sin(3 * t)
        strand = t[:, None] * tip + sway[:, None] * np.array([-np.sin(angle), np.cos(angle)])
        parts.append((strand, rng.uniform(0.2, 0.34) * (1.05 - t) + 0.06))
    return _gather(parts)


BUILDERS: dict[str, Callable[[RNG], Strokes]] = {
    "segmented": segmented,
    "bilobed": bilobed,
    "band": band,
    "kidney": kidney,
    "round": round_,
    "irregular": irregular,
    "blurred_lobes": blurred_lobes,
    "burst": burst,
}
