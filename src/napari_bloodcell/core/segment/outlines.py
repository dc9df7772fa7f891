"""Outlines drawn by a network, cell by cell in windows of their own -> the labels of a field."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage as ndi

from napari_bloodcell.core.errors import Cancelled
from napari_bloodcell.core.records import BoolArray, FloatArray
from napari_bloodcell.core.sam.window import Window
from napari_bloodcell.core.segment.tiles import Found

SAME_CELL = 0.5  # IoU of two outlines that are one cell
LEAST_NUCLEUS = 0.25  # of the nucleus by stain, that the network must call nucleus too
LEAST_COVERED = 0.5  # of the nucleus by stain, that must lie in the outline
OWN_NUCLEUS = 1e3  # logits: nothing takes a cell's own nucleus from it
SMALLEST_FACTOR, LARGEST_FACTOR = 1.1, 2.2  # a window outside these was badly chosen: look again
OFF_CENTRE = 0.2  # in longer sides of the cell


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """One cell in its own part of the tile; ``score`` is how sure each pixel is of it, in logits."""

    number: int  # of its proposal
    corner: tuple[int, int]  # row, column
    cell: BoolArray
    nucleus: BoolArray
    score: FloatArray
    note: str = ""

    @property
    def span(self) -> tuple[slice, slice]:
        (top, left), (height, width) = self.corner, self.cell.shape
        return slice(top, top + height), slice(left, left + width)

    @property
    def box_xyxy(self) -> tuple[int, int, int, int]:
        """Of the cell's pixels; all 0 where there are none."""
        rows, columns = np.flatnonzero(self.cell.any(1)), np.flatnonzero(self.cell.any(0))
        if not len(rows):
            return 0, 0, 0, 0
        top, left = self.corner
        return (
            left + int(columns[0]), top + int(rows[0]), left + int(columns[-1]) + 1, top + int(rows[-1]) + 1
        )  # fmt: skip

    def seen_in(self, span: tuple[slice, slice], part: str) -> BoolArray:
        """Its pixels in another part of the tile."""
        found = np.zeros((span[0].stop - span[0].start, span[1].stop - span[1].start), np.bool_)
        both = [
            slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(span, self.span, strict=True)
        ]
        if all(s.start < s.stop for s in both):
            to, of = (
                tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(both, frame, strict=True))
                for frame in (span, self.span)
            )
            found[to] = getattr(self, part)[of]
        return found


def proposals_of(found: Found) -> list[Drawn]:
    """The cells of a tile as the stain has them."""
    proposals = []
    for number, box in enumerate(ndi.find_objects(found.labels), 1):
        if box is None:
            continue
        cell = np.asarray(found.labels[box] == number)
        proposals.append(
            Drawn(
                number=number,
                corner=(box[0].start, box[1].start),
                cell=cell,
                nucleus=cell & found.nucleus[box],
                score=np.zeros(cell.shape, np.float32),
            )
        )
    return proposals


def draw(logits: FloatArray, window: Window, proposal: Drawn, shape: tuple[int, int]) -> Drawn:
    """Logits of a window, channels x m x m, as the one cell in the middle of it. Of two channels (ground and
    cell) the nucleus is that of the stain."""
    corner, maps = to_pixels(logits, window, shape)
    inside = maps[1] if len(maps) == 2 else np.logaddexp(maps[1], maps[2])
    score = np.asarray(inside - maps[0], np.float32)
    blank = Drawn(number=proposal.number, corner=corner, cell=score > 0, nucleus=score > 0, score=score)
    by_stain = proposal.seen_in(blank.span, "nucleus")
    cell = _one_piece(blank.cell, by_stain)
    nucleus = by_stain if len(maps) == 2 else np.asarray(maps[2] > maps[1])
    return replace(blank, cell=cell, nucleus=cell & nucleus)


def to_pixels(
    logits: FloatArray, window: Window, shape: tuple[int, int]
) -> tuple[tuple[int, int], FloatArray]:
    """Maps of a window, bilinearly enlarged to the pixels of the image that it covers; and their corner."""
    rows, columns = (
        np.arange(max(0, int(np.floor(start))), min(n, int(np.ceil(start + window.side_px))))
        for start, n in zip((window.y0, window.x0), shape, strict=True)
    )
    tall = _between(logits, 1, rows, window.y0, window.side_px)
    return (int(rows[0]), int(columns[0])), _between(tall, 2, columns, window.x0, window.side_px)


def _between(maps: FloatArray, axis: int, pixels: NDArray[np.int64], start: float, side: float) -> FloatArray:
    """Values of the pixels along one axis, between the two map values beside each. (As a product of matrices
    it would wake the threads of a library for a few thousand numbers.)"""
    count = maps.shape[axis]
    at = np.clip((pixels + 0.5 - start) / side * count - 0.5, 0, count - 1)
    low = at.astype(np.int64)
    share = (at - low).astype(np.float32)[(slice(None),) + (None,) * (maps.ndim - 1 - axis)]
    before, after = maps.take(low, axis), maps.take(np.minimum(low + 1, count - 1), axis)
    between: FloatArray = before + (after - before) * share
    return between


def _one_piece(cell: BoolArray, nucleus: BoolArray) -> BoolArray:
    """The piece that holds most of the nucleus, its holes filled."""
    pieces, count = ndi.label(cell)
    if count > 1:
        held = np.bincount(pieces[nucleus & cell], minlength=count + 1)
        sizes = np.bincount(pieces.ravel(), minlength=count + 1)
        held[0] = sizes[0] = 0
        cell = pieces == (held if held.any() else sizes).argmax()
    return np.asarray(ndi.binary_fill_holes(cell))


def look_again(drawn: Drawn, window: Window, shape: tuple[int, int]) -> bool:
    """Whether the window was badly chosen for the cell that was found in it: it runs out of the window, or
    the window is far too wide or beside it."""
    x0, y0, x1, y1 = drawn.box_xyxy
    longer = max(x1 - x0, y1 - y0)
    if not longer:
        return False
    off = max(
        abs(x0 + x1 - 2 * window.x0 - window.side_px), abs(y0 + y1 - 2 * window.y0 - window.side_px)
    ) / (2 * longer)
    at_border = x0 == 0 or y0 == 0 or (y1, x1) == shape or x1 == shape[1] or y1 == shape[0]
    fits = SMALLEST_FACTOR <= window.side_px / longer <= LARGEST_FACTOR
    return not fits or (off > OFF_CENTRE and not at_border)


def why_not(drawn: Drawn, proposal: Drawn, widest_px: float) -> str:
    """What is wrong with an outline, in words; empty where it can be a cell."""
    own = int(proposal.nucleus.sum())
    x0, y0, x1, y1 = drawn.box_xyxy
    if not drawn.cell.any():
        return "it was empty"
    if (drawn.cell & proposal.seen_in(drawn.span, "nucleus")).sum() < LEAST_COVERED * own:
        return "it missed the nucleus"
    if drawn.nucleus.sum() < LEAST_NUCLEUS * own:
        return "it had no nucleus inside"
    if max(x1 - x0, y1 - y0) > widest_px:
        return f"it was {max(x1 - x0, y1 - y0)} px wide, more than the largest cell"
    return ""


def kept_by_stain(proposal: Drawn, why: str) -> Drawn:
    return replace(proposal, note=f"outline by stain; that of the network was left, {why}")


def settle(
    drawn: Sequence[Drawn],
    proposals: Sequence[Drawn],
    proposed: Found,
    stopped: Cancelled | None = None,
) -> Found:
    """One label for each pixel: of outlines that are the same cell one stays, and what two cells claim goes
    to the one that is surer; the nuclei by stain stay with their own."""
    nuclei = {one.number: one for one in proposals}
    labels = np.zeros(proposed.labels.shape, np.int32)
    best = np.zeros(labels.shape, np.float32)
    kept = _without_doubles(drawn)
    for one in kept:
        score = np.where(one.cell, np.maximum(one.score, 1e-3), 0)
        score[one.cell & nuclei[one.number].seen_in(one.span, "nucleus")] += OWN_NUCLEUS
        wins = score > best[one.span]
        labels[one.span][wins] = one.number
        best[one.span][wins] = score[wins]
    nucleus = np.zeros(labels.shape, np.bool_)
    notes: dict[int, str] = {}
    for one in kept:
        own = labels[one.span] == one.number
        whole = _one_piece(own, one.nucleus) & own
        labels[one.span][own & ~whole] = 0
        if not (whole & one.nucleus).any():  # nothing but the rim of a neighbour
            labels[one.span][whole] = 0
            continue
        nucleus[one.span] |= whole & one.nucleus
        if one.note:
            notes[one.number] = one.note
    return Found(labels=labels, nucleus=nucleus, anchors=proposed.anchors, notes=notes, stopped=stopped)


def _without_doubles(drawn: Sequence[Drawn]) -> list[Drawn]:
    """Of outlines that overlap as one cell the surest stays, one by the network before one by stain."""
    order = sorted(drawn, key=lambda one: (bool(one.note), -_sureness(one), one.number))
    kept: list[Drawn] = []
    boxes = np.zeros((0, 4), int)
    for one in order:
        box = np.asarray(one.box_xyxy)
        near = np.flatnonzero(_touching(box, boxes))
        if any(_iou(one, kept[i]) > SAME_CELL for i in near):
            continue
        kept.append(one)
        boxes = np.vstack([boxes, box])
    return sorted(kept, key=lambda one: one.number)


def _sureness(one: Drawn) -> float:
    return float(one.score[one.cell].mean()) if one.cell.any() else 0.0


def _touching(box: ArrayLike, boxes: NDArray[np.int_]) -> BoolArray:
    x0, y0, x1, y1 = np.asarray(box)
    return np.asarray((boxes[:, 0] < x1) & (boxes[:, 2] > x0) & (boxes[:, 1] < y1) & (boxes[:, 3] > y0))


def _iou(a: Drawn, b: Drawn) -> float:
    both = int((a.cell & b.seen_in(a.span, "cell")).sum())
    return both / max(1, int(a.cell.sum()) + int(b.cell.sum()) - both)
