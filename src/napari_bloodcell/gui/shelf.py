"""What the gallery needs of each layer, read in a task: pixels and boxes; and the pictures cut from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap

from napari_bloodcell.core.config import ReadConfig
from napari_bloodcell.core.progress import Progress
from napari_bloodcell.gui.layers import Picture

MARGIN = 0.15  # of a cell's side, so that its neighbours show


@dataclass(frozen=True, kw_only=True, eq=False)
class Shelf:
    """One layer's cells: where they are and the image they are on."""

    pixels: Any  # H x W x 3, uint8
    boxes: dict[int, tuple[int, int, int, int]]  # cell id -> x0, y0, x1, y1
    areas: dict[int, int]

    def cut(self, cell_id: int, side_px: int) -> QPixmap | None:
        """A square around a cell. Only on the main thread: Qt's pictures live there."""
        box = self.boxes.get(cell_id)
        if box is None:
            return None
        x0, y0, x1, y1 = square(box, self.pixels.shape[:2])
        part = np.ascontiguousarray(self.pixels[y0:y1, x0:x1])
        height, width = part.shape[:2]
        image = QImage(part.data, width, height, 3 * width, QImage.Format.Format_RGB888)
        scaled = image.scaled(
            side_px,
            side_px,
            Qt.AspectRatioMode.KeepAspectRatio,
            Qt.TransformationMode.SmoothTransformation,
        )
        return QPixmap.fromImage(scaled)


def square(box: tuple[int, int, int, int], shape: Sequence[int]) -> tuple[int, int, int, int]:
    """A square around a box with a margin, moved inside the image, and cut where the image is too small."""
    x0, y0, x1, y1 = box
    side = round(max(x1 - x0, y1 - y0) * (1 + 2 * MARGIN))
    result = []
    for low, high, size in ((x0, x1, shape[1]), (y0, y1, shape[0])):
        begin = min(max((low + high - side) // 2, 0), max(size - side, 0))
        result.append((begin, min(begin + side, size)))
    (left, right), (top, bottom) = result
    return left, top, right, bottom


def read_shelves(taken: "Sequence[tuple[Picture, Any]]", progress: Progress) -> list[Shelf]:
    """Images with the labels on them, a layer each. For a task."""
    shelves = []
    for number, (picture, labels) in enumerate(taken):
        progress("Reading images", number, len(taken))
        image = picture.read(ReadConfig())
        shelves.append(shelf_of(image.pixels, labels))
    return shelves


def shelf_of(pixels: Any, labels: Any) -> Shelf:
    from scipy.ndimage import find_objects

    boxes = {
        number: (where[1].start, where[0].start, where[1].stop, where[0].stop)
        for number, where in enumerate(find_objects(labels), start=1)
        if where is not None
    }
    counts = np.bincount(labels.ravel(), minlength=1)
    return Shelf(pixels=pixels, boxes=boxes, areas={cell: int(counts[cell]) for cell in boxes})
