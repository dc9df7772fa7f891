"""Numbers of a mask's shape: of a cell, a nucleus, or the densest part of one."""

import numpy as np
from numpy.typing import NDArray


def moments(mask: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """Centre (row, column) and elongation: 0 for a circle, towards 1 for a line."""
    points = np.argwhere(mask)
    if len(points) < 3:
        return np.asarray(mask.shape, float) / 2, 0.0
    centre = points.mean(axis=0)
    small, large = np.linalg.eigvalsh(np.cov((points - centre).T))
    return centre, float(1 - np.sqrt(max(small, 0) / large)) if large > 0 else 0.0


def circularity(mask: NDArray[np.bool_]) -> float:
    """4 pi area / perimeter², 1 for a circle, with the perimeter counted at pixel edges and corrected."""
    edges = np.count_nonzero(np.diff(mask, axis=0)) + np.count_nonzero(np.diff(mask, axis=1))
    perimeter = edges * np.pi / 4  # a digital outline is 4/pi longer than the smooth one, on average
    return float(4 * np.pi * mask.sum() / perimeter**2) if perimeter else 0.0


def solidity(mask: NDArray[np.bool_]) -> float:
    """Area over the area of the convex hull."""
    from scipy.spatial import ConvexHull, QhullError

    points = np.argwhere(mask)
    if len(points) < 4:
        return 1.0
    corners = np.concatenate([points + np.array(shift) for shift in ((0, 0), (0, 1), (1, 0), (1, 1))])
    try:
        return float(len(points) / ConvexHull(corners).volume)
    except QhullError:
        return 1.0


def depth_of(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance of each pixel of the mask to its edge."""
    from scipy.ndimage import distance_transform_edt

    depth: NDArray[np.float64] = distance_transform_edt(np.pad(mask, 1))
    return depth[1:-1, 1:-1]


def pieces(mask: NDArray[np.bool_]) -> float:
    """Separate parts, specks aside."""
    from scipy.ndimage import label

    marked, count = label(mask)
    areas = np.bincount(marked.ravel(), minlength=count + 1)[1:]
    return float(np.count_nonzero(areas > 0.05 * mask.sum())) if count else 0.0


def lobes(depth: NDArray[np.float64], unit: float) -> float:
    """Thick places of the nucleus, joined by thinner ones."""
    from scipy.ndimage import gaussian_filter, label, maximum_filter

    if depth.max() <= 0:
        return 0.0
    smooth = gaussian_filter(depth, 1.5 * unit)
    size = 2 * round(4 * unit) + 1
    peaks = (smooth == maximum_filter(smooth, size=size)) & (smooth > 0.45 * smooth.max())
    return float(label(peaks, np.ones((3, 3)))[1])  # pixels of one flat top are one peak


def inner(mask: NDArray[np.bool_], unit: float) -> NDArray[np.bool_]:
    """The part away from the edge, where blur is no texture; all of it where it is thin."""
    from scipy.ndimage import binary_erosion

    core: NDArray[np.bool_] = binary_erosion(mask, iterations=max(1, round(2 * unit)))
    return core if core.sum() > 0.15 * mask.sum() else mask
