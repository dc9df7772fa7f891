"""A cell's outline in its field, as programs for drawing write it: polygons, or COCO's run lengths.

Corners lie as in COCO: 0, 0 is the upper left corner of the picture, so the first pixel reaches from 0 to 1.
Several polygons of one cell are one cell, also where they overlap: polygons have no holes, run lengths do.
What lies outside the field is cut off. A polygon of four corners is a box: programs write boxes so.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from napari_bloodcell.core.records import BoolArray

Box = tuple[int, int, int, int]

NO_PIXEL = "outline without a pixel in its field (its box is taken)"
NOT_READ = "outline that cannot be read (its box is taken)"
OTHER_SIZE = "outline made for a field of another size (its box is taken)"
_CORNERS_OF_A_BOX = 4
_LEAST_AREA = 1.0  # pixels


class OutlineError(ValueError):
    """Why there is no outline; the text is one of the reasons above."""


@dataclass(frozen=True)
class Outline:
    polygons: tuple[tuple[float, ...], ...] = ()  # x, y, x, y, ... of each
    runs: tuple[int, ...] = ()  # pixels of ground and of cell in turn, column after column
    height: int = 0  # of the field, for runs

    def box(self, size: tuple[int, int]) -> Box:
        """Around its pixels in a field of this width and height."""
        x0, y0, x1, y1 = self._sides()
        box = (max(0, x0), max(0, y0), min(size[0], x1), min(size[1], y1))
        if box[0] >= box[2] or box[1] >= box[3]:
            raise OutlineError(NO_PIXEL)
        return box

    def mask(self, box: Box) -> BoolArray:
        """Its pixels in this part of the field."""
        x0, y0, x1, y1 = box
        if self.runs:
            places = np.arange(x0, x1) * self.height + np.arange(y0, y1)[:, None]
            inside: BoolArray = np.searchsorted(np.cumsum(self.runs), places, side="right") % 2 == 1
            return inside
        from skimage.draw import polygon

        drawn = np.zeros((y1 - y0, x1 - x0), np.bool_)
        for corners in self.polygons:  # the middle of a pixel says whether it is inside
            rows, columns = np.array(corners[1::2]) - y0 - 0.5, np.array(corners[::2]) - x0 - 0.5
            drawn[polygon(rows, columns, drawn.shape)] = True
        return drawn

    def _sides(self) -> Box:
        if not self.runs:
            xs = [x for corners in self.polygons for x in corners[::2]]
            ys = [y for corners in self.polygons for y in corners[1::2]]
            return math.floor(min(xs)), math.floor(min(ys)), math.ceil(max(xs)), math.ceil(max(ys))
        ends = list(accumulate(self.runs))
        pieces = [(start, end) for start, end in zip(ends[::2], ends[1::2], strict=False) if end > start]
        if not pieces:
            raise OutlineError(NO_PIXEL)
        is_tall = any(start // self.height != (end - 1) // self.height for start, end in pieces)
        top = 0 if is_tall else min(start % self.height for start, _ in pieces)
        bottom = self.height if is_tall else max((end - 1) % self.height for _, end in pieces) + 1
        return pieces[0][0] // self.height, top, (pieces[-1][1] - 1) // self.height + 1, bottom


def of_polygons(written: Sequence[Sequence[Any]]) -> Outline | None:
    """None where they are only boxes."""
    try:
        polygons = [tuple(float(value) for value in corners) for corners in written]
    except (TypeError, ValueError) as error:
        raise OutlineError(NOT_READ) from error
    if any(len(corners) % 2 or not all(map(math.isfinite, corners)) for corners in polygons):
        raise OutlineError(NOT_READ)
    polygons = [corners for corners in polygons if _area(corners) >= _LEAST_AREA]
    if not polygons:
        raise OutlineError(NO_PIXEL)
    corners = {corner for one in polygons for corner in zip(one[::2], one[1::2], strict=True)}
    if len(corners) <= _CORNERS_OF_A_BOX:
        return None
    return Outline(polygons=tuple(polygons))


def of_runs(counts: Any, size: Any, field: tuple[int, int]) -> Outline:
    """``counts``: numbers, or the text that COCO's own program packs them into. ``size``: height and width
    as written, ``field``: width and height of the picture."""
    try:
        height, width = (int(value) for value in size)
        runs = _unpacked(counts) if isinstance(counts, str) else [int(count) for count in counts]
    except (TypeError, ValueError) as error:
        raise OutlineError(NOT_READ) from error
    if (width, height) != tuple(field):
        raise OutlineError(OTHER_SIZE)
    if sum(runs) != width * height or min(runs) < 0:
        raise OutlineError(NOT_READ)
    return Outline(runs=tuple(runs), height=height)


def _unpacked(text: str) -> list[int]:
    """Five bits a letter, the sixth says that more follow; from the fourth number on each is written as the
    difference to the one before the last."""
    runs: list[int] = []
    value = shift = 0
    for letter in text.encode("ascii"):
        bits = letter - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs


def _area(corners: Sequence[float]) -> float:
    xs, ys = np.array(corners[::2]), np.array(corners[1::2])
    return abs(float(xs @ np.roll(ys, -1) - ys @ np.roll(xs, -1))) / 2 if len(xs) else 0.0
