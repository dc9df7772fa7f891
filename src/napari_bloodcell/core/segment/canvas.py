"""Where the labels of a field are written: in memory, or for whole slides in a file that vanishes.

Cells are put down one by one, as tiles find them; what is finished is a valid ``Masks`` at any time.
"""

import mmap
import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.records import ABOUT_CELL, BoolArray, IntArray, Masks
from napari_bloodcell.core.segment.survey import Survey

IN_MEMORY_PX = 64_000_000  # labels of larger fields go to a file
COUNTED = 0.5  # a cell of which so much is there already was put down by the tile beside


class Canvas:
    """Labels and nuclei of H x W pixels, and the cells put down so far, numbered from 1."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self._files: list[mmap.mmap] = []
        self.labels: IntArray = self._blank(np.int32)
        self.nucleus: BoolArray = self._blank(np.bool_)
        self.boxes: list[tuple[int, int, int, int]] = []
        self.notes: list[str] = []

    def put(self, cell: BoolArray, nucleus: BoolArray, corner: tuple[int, int], note: str = "") -> bool:
        """Write one cell whose upper left corner (row, column) this is; pixels of other cells stay theirs.
        False where the cell was there already, from another tile."""
        window = tuple(slice(c, c + n) for c, n in zip(corner, cell.shape, strict=True))
        labels = self.labels[window]
        free = cell & (labels == 0)
        rows, columns = np.flatnonzero(free.any(1)), np.flatnonzero(free.any(0))
        if not len(rows) or free.sum() < (1 - COUNTED) * cell.sum():
            return False
        number = len(self.boxes) + 1
        labels[free] = number
        self.nucleus[window] |= nucleus & free
        top, left = corner
        self.boxes.append(
            (left + int(columns[0]), top + int(rows[0]), left + int(columns[-1]) + 1, top + int(rows[-1]) + 1)
        )
        if note:
            self.notes.append(f"{ABOUT_CELL}{number}: {note}")
        return True

    def release(self) -> None:
        """Let the file's pages go from memory; they come back when they are read."""
        if hasattr(mmap, "MADV_DONTNEED"):
            for file in self._files:
                file.madvise(mmap.MADV_DONTNEED)

    def masks(self, seen: Survey | None, um_per_px: float | None, segmenter: str) -> Masks:
        boxes = np.asarray(self.boxes, np.int32).reshape(-1, 4)
        left, top, right, bottom = boxes.T
        height, width = self.shape
        known = "given" if um_per_px is not None else "unknown"
        return Masks(
            cell_id=np.arange(1, len(boxes) + 1, dtype=np.int32),
            labels=self.labels,
            nucleus=self.nucleus,
            boxes_xyxy=boxes,
            touches_border=(left <= 0) | (top <= 0) | (right >= width) | (bottom >= height),
            um_per_px=um_per_px if seen is None else seen.um_per_px,
            scale_source=known if seen is None else seen.scale_source,
            segmenter=segmenter,
            notes=tuple(self.notes),
        )

    def _blank(self, dtype: Any) -> NDArray[Any]:
        count = self.shape[0] * self.shape[1]
        if count <= IN_MEMORY_PX:
            return np.zeros(self.shape, dtype)
        size = count * np.dtype(dtype).itemsize
        with tempfile.TemporaryFile(prefix="bloodcell-") as file:  # nameless: gone with the last array of it
            file.truncate(size)
            held = mmap.mmap(file.fileno(), size)
        self._files.append(held)
        return np.frombuffer(held, dtype).reshape(self.shape)
