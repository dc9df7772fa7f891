"""How far a cell lies from the training cells: Mahalanobis distance to the nearest class, in units of what
nearly all training cells of that class keep."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

OUTERMOST = 0.99  # a distance of 1 reaches exactly this share of the training cells
SHRINK = 0.1  # of the covariance towards its diagonal: few cells must not look precise
FEW = 3  # cells of a class, below which its reach is that of all cells
MOST_DIRECTIONS = 64  # long vectors are looked at along their main directions only
ARRAYS = ("centres", "whitening", "reach")


@dataclass(frozen=True, kw_only=True, eq=False)
class Cloud:
    """The training cells of each class, in a few numbers. Vectors are standardised."""

    centres: NDArray[np.float32]  # C x D
    whitening: NDArray[np.float32]  # D x K
    reach: NDArray[np.float32]  # C

    def distance(self, ready: NDArray[np.float32]) -> NDArray[np.float32]:
        """To the nearest class; above 1 is further than 99 % of its training cells."""
        if len(ready) == 0:
            return np.zeros(0, np.float32)
        points, centres = ready @ self.whitening, self.centres @ self.whitening
        nearest = np.full(len(ready), np.inf, np.float32)
        for centre, reach in zip(centres, self.reach, strict=True):
            np.minimum(nearest, np.linalg.norm(points - centre, axis=1) / reach, out=nearest)
        return nearest

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        return {name: getattr(self, name) for name in ARRAYS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "Cloud":
        return cls(**{name: arrays[name] for name in ARRAYS})


def cloud_of(ready: NDArray[Any], truths: NDArray[Any], classes: int) -> Cloud:
    """Class centres, one pooled whitening, and the distance of the outermost cells of each class."""
    ready = np.asarray(ready, np.float64)
    centres = np.stack([ready[truths == c].mean(axis=0) for c in range(classes)])
    basis = _main_directions(ready)
    residuals = (ready - centres[truths]) @ basis
    covariance = np.cov(residuals.T) + 1e-6 * np.eye(basis.shape[1])
    covariance = (1 - SHRINK) * covariance + SHRINK * np.diag(np.diag(covariance))
    whitening = np.linalg.cholesky(np.linalg.inv(covariance))
    lengths = np.linalg.norm(residuals @ whitening, axis=1)
    few = np.bincount(truths, minlength=classes) < FEW
    reach = np.array(
        [np.quantile(lengths if few[c] else lengths[truths == c], OUTERMOST) for c in range(classes)]
    )
    return Cloud(
        centres=centres.astype(np.float32),
        whitening=(basis @ whitening).astype(np.float32),
        reach=np.maximum(reach, 1e-6).astype(np.float32),
    )


def _main_directions(ready: NDArray[np.float64]) -> NDArray[np.float64]:
    width = ready.shape[1]
    if width <= MOST_DIRECTIONS:
        return np.eye(width)
    _, directions = np.linalg.eigh(np.cov(ready.T))
    main: NDArray[np.float64] = directions[:, -MOST_DIRECTIONS:]
    return main
