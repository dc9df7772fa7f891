"""Profiles to groups: k-means with bounded restarts, and how many groups there are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.config import ClusterConfig
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.stain.profile import StainProfile, average, check_same_stains
from napari_bloodcell.core.words import how_many

STEPS = 50  # of one start; k-means on a few thousand profiles settles in ten
SMALLEST_GAIN = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class Clusters:
    labels: NDArray[np.int32]  # one for each profile, 0 to k - 1, the largest group first
    centres: tuple[StainProfile, ...]  # mean profile of each group

    def __len__(self) -> int:
        return len(self.centres)


def cluster(profiles: Sequence[StainProfile], config: ClusterConfig = ClusterConfig()) -> Clusters:
    """Sort profiles into groups. Equal profiles end up together, even where more groups were asked for."""
    if not profiles:
        raise DataError("Groups of no profiles were asked for. Give at least one image or profile.")
    if config.clusters is not None and len(profiles) < config.clusters:
        raise DataError(
            f"{how_many(len(profiles), 'image')} cannot make {config.clusters} groups of stains. "
            f"Give at least {config.clusters} images, or ask for fewer groups."
        )
    check_same_stains(profiles)
    points = np.stack([p.vector() for p in profiles]).astype(np.float64)
    if config.clusters is None:
        labels = _automatic(points, config)
    else:
        labels = kmeans(points, config.clusters, config)[0]
    labels = _largest_first(labels)
    centres = [
        average([p for p, one in zip(profiles, labels, strict=True) if one == c], name=f"group {c + 1}")
        for c in range(int(labels.max()) + 1)
    ]
    return Clusters(labels=labels.astype(np.int32), centres=tuple(centres))


def kmeans(
    points: NDArray[np.float64], k: int, config: ClusterConfig
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Labels and centres of the best of a few starts. Ends on any input: identical points make one group."""
    rng = np.random.default_rng(config.seed)
    best: tuple[float, NDArray[np.intp], NDArray[np.float64]] | None = None
    for _ in range(config.restarts):
        inertia, labels, centres = _one_start(points, _spread_start(points, k, rng))
        if best is None or inertia < best[0] - SMALLEST_GAIN:
            best = (inertia, labels, centres)
    assert best is not None  # restarts are at least one
    return best[1], best[2]


def _spread_start(points: NDArray[np.float64], k: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """k-means++; fewer centres than k where there are fewer different points."""
    centres = [points[rng.integers(len(points))]]
    for _ in range(k - 1):
        far = _squares(points, np.array(centres)).min(axis=1)
        if far.sum() <= SMALLEST_GAIN:
            break
        centres.append(points[rng.choice(len(points), p=far / far.sum())])
    return np.array(centres)


def _one_start(
    points: NDArray[np.float64], centres: NDArray[np.float64]
) -> tuple[float, NDArray[np.intp], NDArray[np.float64]]:
    labels = _squares(points, centres).argmin(axis=1)
    for _ in range(STEPS):
        centres = np.stack(
            [
                points[labels == c].mean(axis=0) if (labels == c).any() else centres[c]
                for c in range(len(centres))
            ]
        )
        moved = _squares(points, centres).argmin(axis=1)
        if (moved == labels).all():
            break
        labels = moved
    inertia = float(_squares(points, centres)[np.arange(len(points)), labels].sum())
    return inertia, labels, centres


def _automatic(points: NDArray[np.float64], config: ClusterConfig) -> NDArray[np.intp]:
    """The number of groups that explains the spread at least cost (Bayesian information criterion of round
    groups of one common width, at least as wide as a profile is uncertain)."""
    n, d = points.shape
    best_cost, best = np.inf, np.zeros(n, np.intp)
    for k in range(1, min(config.most, n) + 1):
        labels, centres = kmeans(points, k, config)
        within = _squares(points, centres)[np.arange(n), labels].sum()
        variance = max(within / (n * d), 1.0)
        counts = np.bincount(labels, minlength=len(centres))
        counts = counts[counts > 0]
        likelihood = -0.5 * n * d * np.log(variance) - 0.5 * within / variance
        likelihood += float((counts * np.log(counts / n)).sum())
        cost = -2 * likelihood + (len(counts) * (d + 1)) * np.log(n)
        if cost < best_cost:
            best_cost, best = cost, labels
    return best


def _largest_first(labels: NDArray[np.intp]) -> NDArray[np.intp]:
    found, where, counts = np.unique(labels, return_inverse=True, return_counts=True)
    place = np.empty(len(found), np.intp)
    place[np.argsort(-counts, kind="stable")] = np.arange(len(found))
    return np.asarray(place[where], np.intp)


def _squares(points: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    squares: NDArray[np.float64] = ((points[:, None] - centres[None]) ** 2).sum(axis=2)
    return squares
