"""The slide at a glance: every cell as a dot in the colour of its class, beside the differential."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.figure import save_figure
from napari_bloodcell.core.image.lazy import LazyImage
from napari_bloodcell.core.palette import colour_of
from napari_bloodcell.core.records import ByteArray
from napari_bloodcell.core.report import Differential, draw
from napari_bloodcell.core.slide.plan import Plan

LONGEST_PX = 1600
STRIP_PX = 512  # rows of the level that is thinned, read at a time
DIMMED = 0.6  # what is left of the light where nothing was looked for


def thumbnail(image: LazyImage, longest_px: int = LONGEST_PX) -> tuple[ByteArray, float]:
    """A picture of the whole slide, and how many of its pixels one pixel of the picture spans."""
    levels = [level for level in image.levels if max(level.shape) >= longest_px] or [image]
    level = levels[-1]
    thin = max(1, -(-max(level.shape) // longest_px))
    height, width = level.shape[:2]
    rows = max(1, STRIP_PX // thin) * thin
    strips = [
        level[slice(top, min(top + rows, height)), slice(0, width)][::thin, ::thin]
        for top in range(0, height, rows)
    ]
    picture = np.concatenate(strips)
    return picture, image.shape[0] / level.shape[0] * thin


def draw_overview(
    path: Path,
    image: LazyImage,
    plan: Plan,
    cells: tuple[NDArray[np.float32], Sequence[str]],
    differential: Differential,
    title: str,
) -> None:
    """``cells``: x and y of each, and its class. Glass and what is out of focus are dimmed."""
    from matplotlib.colors import to_rgb
    from matplotlib.figure import Figure

    picture, step = thumbnail(image)
    units = plan.sharp if plan.seen is not None else np.ones_like(plan.sharp)
    rows, columns = (
        np.minimum((np.arange(n) * step // plan.unit_px).astype(int), limit - 1)
        for n, limit in zip(picture.shape[:2], units.shape, strict=True)
    )
    dim = ~units[np.ix_(rows, columns)]
    picture[dim] = (picture[dim] * DIMMED).astype(np.uint8)
    middles, names = cells
    kinds = np.asarray(names, dtype=object)
    radius = max(1, round(max(picture.shape) / 500))
    x, y = (middles / step).astype(int).T if len(middles) else (np.zeros(0, int),) * 2
    for name in dict.fromkeys(names):
        own = kinds == name
        for dy in range(-radius, radius + 1):
            for dx in range(-radius, radius + 1):
                at = (
                    np.clip(y[own] + dy, 0, picture.shape[0] - 1),
                    np.clip(x[own] + dx, 0, picture.shape[1] - 1),
                )
                picture[at] = np.rint(255 * np.array(to_rgb(colour_of(name))))
    height, width = picture.shape[:2]
    figure = Figure(figsize=(12.5, max(3.4, 7.6 * height / width + 0.4)), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.75, 1])
    left.imshow(picture, interpolation="antialiased")
    left.set_axis_off()
    draw(right, differential)
    figure.suptitle(title, fontsize=10)
    save_figure(path, figure)
