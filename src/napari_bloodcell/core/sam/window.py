"""The square a network sees around one cell: the same in training and over whole fields.

Convention: the square is centred on the cell's box and ``FACTOR`` times as wide as its longer side. Beyond
the edge of the image its border pixels go on. In training the factor varies from 1.0 to 2.0 and the centre
by 15 % of the cell, because the box of a located cell is a guess.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_bloodcell.core.image.square import cut_square
from napari_bloodcell.core.records import ByteArray

FACTOR = 1.5  # side of the window, in longer sides of the box
LEAST_PX = 4.0  # no window is smaller than this


@dataclass(frozen=True, kw_only=True)
class Window:
    """A square in pixels of the image; it may reach beyond its edge."""

    x0: float
    y0: float
    side_px: float

    def cut(self, pixels: ByteArray, size_px: int) -> ByteArray:
        """What is in it, H x W x 3, at the network's input size."""
        return np.asarray(
            cut_square(pixels, (self.x0, self.y0), self.side_px, size_px, smooth=True), np.uint8
        )

    def cut_labels(self, labels: NDArray[Any], size_px: int) -> NDArray[Any]:
        """The same square of a label image: nearest, and 0 beyond the edge."""
        return cut_square(labels, (self.x0, self.y0), self.side_px, size_px, smooth=False, beyond_edge=False)


def window_of(box_xyxy: ArrayLike, factor: float = FACTOR) -> Window:
    """The window around a box (x0, y0, x1, y1; right and lower edge exclusive)."""
    x0, y0, x1, y1 = (float(v) for v in np.asarray(box_xyxy, float))
    side = max(factor * max(x1 - x0, y1 - y0), LEAST_PX)
    return Window(x0=(x0 + x1 - side) / 2, y0=(y0 + y1 - side) / 2, side_px=side)
