"""What the gallery needs of each layer, read in a task: pixels and boxes; and the pictures cut from them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap

from napari_bloodcell.core.config import ReadConfig
from napari_bloodcell.core.errors import SegmentError
from napari_bloodcell.core.progress import Progress
from napari_bloodcell.gui.layers import Picture, picture_of
from napari_bloodcell.gui.outlines import image_of, outlined
from napari_bloodcell.gui.slide_layers import is_slide

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.viewer import Viewer

MARGIN = 0.15  # of a cell's side, so that its neighbours show


Box = tuple[int, int, int, int]
Value = TypeVar("Value")


class Column(Mapping[int, Value]):
    """A column of a table as a mapping from cell ids: a million entries take no more than their numbers."""

    def __init__(self, ids: Any, values: Any, read: Callable[[Any], Value]) -> None:
        self._order = np.argsort(ids, kind="stable")
        self._ids, self._values, self._read = np.asarray(ids)[self._order], values, read

    def __getitem__(self, cell: int) -> Value:
        place = int(np.searchsorted(self._ids, cell))
        if place == len(self._ids) or self._ids[place] != cell:
            raise KeyError(cell)
        return self._read(self._values[self._order[place]])

    def of(self, cells: Any) -> Any:
        """The numbers of many cells at once; 0 where there is none."""
        places = np.minimum(np.searchsorted(self._ids, cells), max(len(self._ids) - 1, 0))
        values = (
            np.asarray(self._values, float)[self._order[places]] if len(self._ids) else np.zeros(len(cells))
        )
        return np.where(self._ids[places] == cells, values, 0.0) if len(self._ids) else values

    def __iter__(self) -> Iterator[int]:
        return iter(self._ids.tolist())

    def __len__(self) -> int:
        return len(self._ids)


@dataclass(frozen=True, kw_only=True, eq=False)
class Shelf:
    """One layer's cells: where they are and the image they are on."""

    pixels: Any  # H x W x 3, uint8; of a slide they are read where they are cut
    boxes: Mapping[int, Box]  # cell id -> x0, y0, x1, y1
    areas: Mapping[int, int]

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


def taken_of(cells: "Labels", viewer: "Viewer") -> tuple[Picture, Any]:
    """What ``read_shelves`` takes of a layer, on the main thread."""
    if not is_slide(cells):
        one = outlined(cells, viewer)
        return one.picture, one.labels
    image = image_of(cells, viewer)
    if image is None:
        raise SegmentError(f"The slide of {cells.name} is not open. Open it, and the run again.")
    return picture_of(image, viewer), cells.features.copy()


def read_shelves(taken: "Sequence[tuple[Picture, Any]]", progress: Progress) -> list[Shelf]:
    """Images with the labels on them, a layer each; of a slide its table. For a task."""
    shelves = []
    for number, (picture, labels) in enumerate(taken):
        progress("Reading images", number, len(taken))
        if hasattr(labels, "columns"):
            shelves.append(shelf_of_slide(picture.pixels, labels))
            continue
        image = picture.read(ReadConfig())
        shelves.append(shelf_of(image.pixels, labels))
    return shelves


def shelf_of_slide(pixels: Any, table: Any) -> Shelf:
    """Nothing is read but the table: pictures are cut one by one when they are seen."""
    ids = table["index"].to_numpy(int)
    boxes = table[["x0", "y0", "x1", "y1"]].to_numpy(np.int32)
    areas = (
        table["area_px"].to_numpy() if "area_px" in table else np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    )
    return Shelf(
        pixels=pixels,
        boxes=Column(ids, boxes, lambda row: (int(row[0]), int(row[1]), int(row[2]), int(row[3]))),
        areas=Column(ids, areas, int),
    )


def shelf_of(pixels: Any, labels: Any) -> Shelf:
    from scipy.ndimage import find_objects

    boxes = {
        number: (where[1].start, where[0].start, where[1].stop, where[0].stop)
        for number, where in enumerate(find_objects(labels), start=1)
        if where is not None
    }
    counts = np.bincount(labels.ravel(), minlength=1)
    return Shelf(pixels=pixels, boxes=boxes, areas={cell: int(counts[cell]) for cell in boxes})
