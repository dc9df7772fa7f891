"""Cells of a data set -> Crops: each cell of a list, whatever it is stored as, cut out and outlined.

Where the set has masks or outlines, those are used; else the segmenter finds the cell in the middle of its
picture (or of its box in a field). A cell that is not found has no crop, and is told with its reason.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_bloodcell.core.config import CropConfig, ReadConfig
from napari_bloodcell.core.crop import crop, join
from napari_bloodcell.core.datasets import CellImage, read_parts
from napari_bloodcell.core.datasets.outline import Box, Outline
from napari_bloodcell.core.datasets.usable import without_flag
from napari_bloodcell.core.errors import ImageError, SegmentError
from napari_bloodcell.core.image import read_image
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import ByteArray, Crops, IntArray, Masks, SmearImage, freeze
from napari_bloodcell.core.stain.lamp import evened

if TYPE_CHECKING:
    from napari_bloodcell.core.segment import Segmenter

NOT_FOUND = "no white cell found in the middle of the picture"
AROUND_A_BOX = 0.5  # of its longer side: a segmenter wants to see ground beside the cell
REPORT_EVERY = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundCells:
    """The crops of those cells of a list that were found. ``row`` says which cell of the list each one is."""

    crops: Crops
    row: IntArray  # N, ascending
    missing: tuple[tuple[int, str], ...]  # row and reason of each cell that has no crop
    boxes_xyxy: IntArray | None = None  # N x 4, of the outline in the cell's picture, or the window cut out

    def __post_init__(self) -> None:
        freeze(self, "row", np.int32, (len(self.crops),))
        if self.boxes_xyxy is not None:
            freeze(self, "boxes_xyxy", np.int32, (len(self.crops), 4))

    @property
    def unread(self) -> dict[int, str]:
        """Cells whose picture or mask could not be used, with the reason: nothing was looked for there."""
        return {row: reason for row, reason in self.missing if reason != NOT_FOUND}


def crops_of(
    cells: Sequence[CellImage],
    segmenter: "Segmenter | Callable[[], Segmenter]",
    config: CropConfig = CropConfig(),
    *,
    progress: Progress = silent,
) -> FoundCells:
    """One crop a cell, in the order of the list. ``segmenter`` may be a function that makes one: it is
    called only where a cell has no mask."""
    made: list[Crops] = []
    rows: list[int] = []
    boxes: list[IntArray] = []
    missing: list[tuple[int, str]] = []
    ready: Segmenter | None = None
    for row, cell in enumerate(cells):
        if row % REPORT_EVERY == 0:
            progress("Cutting out cells", row, len(cells))
        try:
            image = picture_of(cell)
            if not cell.has_mask and ready is None:
                ready = segmenter() if callable(segmenter) else segmenter
            masks = _given_mask(cell, image) if cell.has_mask else _found_mask(image, ready)
        except (ImageError, SegmentError) as error:
            missing.append((row, without_flag(str(error))))
            continue
        if masks is None:
            missing.append((row, NOT_FOUND))
            continue
        made.append(crop(image, masks, config))
        rows.append(row)
        boxes.append(masks.boxes_xyxy[0])
    crops = join(made) if made else _no_crops(config.size_px)
    return FoundCells(
        crops=crops,
        row=np.asarray(rows, np.int32),
        missing=tuple(missing),
        boxes_xyxy=np.asarray(boxes, np.int32).reshape(-1, 4),
    )


def by_name(name: str, reason: str) -> str:
    """Why a picture could not be used, with its name."""
    return reason if name in reason else f"{name}: {reason}"


def picture_of(cell: CellImage) -> SmearImage:
    """The picture of one cell: its own file, or a window around its box in a field."""
    image = read_image(cell.path, ReadConfig(um_per_px=cell.um_per_px))
    if cell.box_xyxy is None:
        return image
    left, top, right, bottom = _window(cell.box_xyxy, image.pixels.shape)
    return SmearImage(
        pixels=evened(image)[top:bottom, left:right],
        name=f"{image.name} {cell.box_xyxy}",
        source=image.source,
        um_per_px=image.um_per_px,
        sha256=image.sha256,
        notes=image.notes,
        even_light=False,  # done, for the whole field
    )


def _window(box: Box, shape: tuple[int, ...]) -> Box:
    """Ground around a box, in a field of this height and width."""
    left, top, right, bottom = box
    margin = round(AROUND_A_BOX * max(right - left, bottom - top))
    return (
        max(0, left - margin),
        max(0, top - margin),
        min(shape[1], right + margin),
        min(shape[0], bottom + margin),
    )


def masks_of_parts(parts: ByteArray, um_per_px: float | None = None) -> Masks | None:
    """One cell drawn as 0 ground, 1 cytoplasm, 2 nucleus; None where nothing is drawn."""
    drawn = parts > 0
    if not drawn.any():
        return None
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    box = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    height, width = parts.shape
    return Masks(
        cell_id=np.ones(1, np.int32),
        labels=drawn.astype(np.int32),
        nucleus=parts == 2,
        boxes_xyxy=np.array([box], np.int32),
        touches_border=np.array([box[0] == 0 or box[1] == 0 or box[2] == width or box[3] == height]),
        um_per_px=um_per_px,
        scale_source="unknown" if um_per_px is None else "given",
        segmenter="given",
    )


def _given_mask(cell: CellImage, image: SmearImage) -> Masks | None:
    if cell.outline is not None:
        return _drawn_mask(cell, cell.outline, image)
    assert cell.mask_path is not None
    parts = read_parts(cell.mask_path)
    if parts.shape != image.pixels.shape[:2]:
        raise SegmentError(
            f"The mask {cell.mask_path} is {parts.shape[1]} x {parts.shape[0]} px, its image "
            f"{image.pixels.shape[1]} x {image.pixels.shape[0]} px. Take the mask made for this image."
        )
    return masks_of_parts(parts, image.um_per_px)


def _drawn_mask(cell: CellImage, outline: Outline, image: SmearImage) -> Masks | None:
    """An outline drawn in the field; the nucleus in it is that of the stain."""
    from napari_bloodcell.core.segment.edit import nuclei_by_stain

    assert cell.box_xyxy is not None
    height, width = image.pixels.shape[:2]
    left, top, _, _ = _window(cell.box_xyxy, (height, width))
    drawn = outline.mask((left, top, left + width, top + height))
    nucleus = nuclei_by_stain(evened(image), drawn.astype(np.int32), image.um_per_px)
    return masks_of_parts(drawn.astype(np.uint8) + nucleus, image.um_per_px)


def _found_mask(image: SmearImage, segmenter: "Segmenter | None") -> Masks | None:
    assert segmenter is not None
    masks = segmenter.segment(image)
    nearest = central_cell(masks)
    if nearest is None:
        return None
    one = slice(nearest, nearest + 1)
    labels = np.where(masks.labels == masks.cell_id[nearest], masks.labels, 0)
    return Masks(
        cell_id=masks.cell_id[one],
        labels=labels,
        nucleus=masks.nucleus & (labels > 0),
        boxes_xyxy=masks.boxes_xyxy[one],
        touches_border=masks.touches_border[one],
        um_per_px=masks.um_per_px,
        scale_source=masks.scale_source,
        segmenter=masks.segmenter,
    )


def central_cell(masks: Masks) -> int | None:
    """Which cell is the one a single-cell picture was taken of; None where none lies near its middle."""
    if not len(masks):
        return None
    middle = np.array(masks.labels.shape[::-1]) / 2
    off = np.abs((masks.boxes_xyxy[:, :2] + masks.boxes_xyxy[:, 2:]) / 2 - middle).max(axis=1)
    nearest = int(off.argmin())
    return nearest if off[nearest] <= 0.6 * middle.max() else None


def _no_crops(size_px: int) -> Crops:
    return Crops(
        cell_id=np.zeros(0, np.int32),
        pixels=np.zeros((0, size_px, size_px, 3), np.uint8),
        parts=np.zeros((0, size_px, size_px), np.uint8),
        px_per_crop_px=np.zeros(0, np.float32),
        area_px=np.zeros(0, np.int32),
        nucleus_area_px=np.zeros(0, np.int32),
        ground_rgb=np.zeros((0, 3), np.float32),
    )
