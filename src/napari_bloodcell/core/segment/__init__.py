"""Finding white cells and outlining nucleus and cytoplasm, without weights: by stain and watershed."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from scipy import ndimage as ndi

from napari_bloodcell.core.config import SegmentConfig
from napari_bloodcell.core.errors import SegmentError
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import BoolArray, ByteArray, IntArray, Masks, SmearImage
from napari_bloodcell.core.segment.locate import locate
from napari_bloodcell.core.segment.outline import outline
from napari_bloodcell.core.segment.survey import survey

__all__ = ["SEGMENTERS", "Segmenter", "StainSegmenter"]

LEAST_CONTRAST = 12  # grey levels; a picture flatter than this is blank, not colourless


class Segmenter(Protocol):
    """Finds and outlines white cells."""

    name: str

    def segment(
        self, image: SmearImage, config: SegmentConfig = ..., *, progress: Progress = silent
    ) -> Masks: ...


class StainSegmenter:
    """White cells by the stain of their nuclei.

    Where the scale is unknown, a typical nucleus of the image is taken for 8.5 µm wide, and the settings
    in µm are measured against that.
    """

    name = "stain-watershed"

    def segment(
        self,
        image: SmearImage,
        config: SegmentConfig = SegmentConfig(),
        *,
        progress: Progress = silent,
    ) -> Masks:
        progress("look at the stain", 0, 1)
        pixels = image.pixels
        if _is_colourless(pixels):
            raise SegmentError(
                f"{image.name} is colourless: red, green and blue are equal in every pixel. White cells are "
                "located by the colour of their stain. Open the colour original, or place the cells by hand."
            )
        seen = survey(pixels, image.um_per_px)
        progress("look at the stain", 1, 1)
        if seen is None:
            known = image.um_per_px is not None
            labels = np.zeros(pixels.shape[:2], np.int32)
            nucleus = np.zeros(labels.shape, np.bool_)
            return self._masks(labels, nucleus, image.um_per_px, "file" if known else "unknown")
        located = locate(pixels, seen, config, progress=progress)
        labels, nucleus = outline(pixels, seen, located, progress=progress)
        if config.border == "drop":
            _drop_border(labels, nucleus)
        return self._masks(labels, nucleus, seen.um_per_px, seen.scale_source)

    def _masks(self, labels: IntArray, nucleus: BoolArray, um_per_px: float | None, source: str) -> Masks:
        _number_anew(labels)
        boxes = [
            (columns.start, rows.start, columns.stop, rows.stop)
            for rows, columns in filter(None, _boxes_of(labels))
        ]
        boxes_xyxy = np.asarray(boxes, np.int32).reshape(-1, 4)
        height, width = labels.shape
        left, top, right, bottom = boxes_xyxy.T
        touches = (left <= 0) | (top <= 0) | (right >= width) | (bottom >= height)
        return Masks(
            cell_id=np.arange(1, len(boxes) + 1, dtype=np.int32),
            labels=labels,
            nucleus=nucleus,
            boxes_xyxy=boxes_xyxy,
            touches_border=touches,
            um_per_px=um_per_px,
            scale_source=source,
            segmenter=self.name,
        )


def _is_colourless(pixels: ByteArray) -> bool:
    low, high = 255, 0
    for start in range(0, len(pixels), 1024):
        rows = pixels[start : start + 1024]
        if not ((rows[..., 0] == rows[..., 1]).all() and (rows[..., 1] == rows[..., 2]).all()):
            return False
        if rows.size:
            low, high = min(low, int(rows.min())), max(high, int(rows.max()))
    return high - low > LEAST_CONTRAST


def _drop_border(labels: IntArray, nucleus: BoolArray) -> None:
    cut = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    drop = np.zeros(int(labels.max(initial=0)) + 1, np.bool_)
    drop[cut] = True
    drop[0] = False
    gone = drop[labels]
    labels[gone] = 0
    nucleus[gone] = False


def _boxes_of(labels: IntArray) -> list[tuple[slice, slice] | None]:
    return list(ndi.find_objects(labels)) if labels.size else []


def _number_anew(labels: IntArray) -> None:
    """Ids from 1 without gaps, in place."""
    boxes = _boxes_of(labels)
    number = 0
    for old, box in enumerate(boxes, 1):
        if box is None:
            continue
        number += 1
        if number != old:
            part = labels[box]
            part[part == old] = number


SEGMENTERS: dict[str, Callable[[], Segmenter]] = {StainSegmenter.name: StainSegmenter}
