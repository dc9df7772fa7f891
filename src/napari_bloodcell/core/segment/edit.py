"""Corrections of outlines: delete, merge, split, draw anew. Pure: an ``Edit`` says which pixels change to
what, and is put on arrays, taken off and put on again. Also outlines of any origin as ``Masks``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_bloodcell.core.errors import SegmentError
from napari_bloodcell.core.records import BoolArray, ByteArray, IntArray, Masks

LEAST_PART = 0.05  # of the cell's area, that each part of a split has
SMALLEST_PX = 12  # a cell of fewer pixels is a slip of the hand


@dataclass(frozen=True, kw_only=True, eq=False)
class Edit:
    """``rows`` and ``columns`` of the pixels that change, and both arrays there before and after."""

    name: str  # "delete", "merge", "split", "draw", "brush"
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    labels_before: IntArray
    labels_after: IntArray
    nucleus_before: BoolArray
    nucleus_after: BoolArray

    @property
    def cells(self) -> tuple[int, ...]:
        """Ids whose pixels change, ascending."""
        ids = np.unique(np.concatenate([self.labels_before, self.labels_after]))
        return tuple(int(i) for i in ids if i > 0)

    @property
    def is_empty(self) -> bool:
        same = np.array_equal(self.labels_before, self.labels_after)
        return same and np.array_equal(self.nucleus_before, self.nucleus_after)

    def put_on(self, labels: NDArray[Any], nuclei: NDArray[Any] | None) -> None:
        """In place. ``nuclei`` holds the cell's id on its nucleus, 0 elsewhere."""
        _write(self, labels, nuclei, self.labels_after, self.nucleus_after)

    def take_off(self, labels: NDArray[Any], nuclei: NDArray[Any] | None) -> None:
        _write(self, labels, nuclei, self.labels_before, self.nucleus_before)


@dataclass(kw_only=True)
class History:
    """Edits done and undone, in order. A new edit forgets what was undone."""

    done: list[Edit] = field(default_factory=list)
    undone: list[Edit] = field(default_factory=list)

    def add(self, edit: Edit) -> None:
        self.done.append(edit)
        self.undone.clear()

    def undo(self) -> Edit | None:
        """The edit to take off now."""
        if not self.done:
            return None
        self.undone.append(self.done.pop())
        return self.undone[-1]

    def redo(self) -> Edit | None:
        """The edit to put on again."""
        if not self.undone:
            return None
        self.done.append(self.undone.pop())
        return self.done[-1]


def delete(labels: IntArray, nucleus: BoolArray, cells: Sequence[int]) -> Edit:
    _check_there(labels, cells)
    where = np.isin(labels, list(cells))
    return _edit("delete", labels, nucleus, where, 0, np.False_)


def merge(labels: IntArray, nucleus: BoolArray, cells: Sequence[int]) -> Edit:
    """Into the lowest id. Where they lie apart, a narrow gap that is nobody's joins too."""
    ids = sorted(set(cells))
    if len(ids) < 2:
        raise SegmentError(f"Merging takes two cells at least; {len(ids)} is chosen. Pick another one.")
    _check_there(labels, ids)
    window = _window(labels, ids, margin=8)
    part = labels[window]
    whole = np.isin(part, ids)
    if ndi.label(whole)[1] > 1:
        whole = whole | (ndi.binary_closing(np.pad(whole, 8), iterations=4)[8:-8, 8:-8] & (part == 0))
    return _edit("merge", labels, nucleus, _whole(labels, window, whole), ids[0], None)


def split(
    labels: IntArray, nucleus: BoolArray, cell: int, line_xy: NDArray[np.float64] | None = None
) -> Edit:
    """In two: along a drawn line, or without one where the cell, or its nucleus, is narrowest. The larger
    part keeps the id."""
    _check_there(labels, [cell])
    window = _window(labels, [cell], margin=1)
    whole = labels[window] == cell
    if line_xy is None:
        parts = _halves(whole, nucleus[window] & whole)
    else:
        shift = np.array([window[1].start, window[0].start])
        parts = _sides(whole, np.asarray(line_xy, float).reshape(-1, 2) - shift)
    sizes = [int((parts == n).sum()) for n in (1, 2)]
    if min(sizes) < max(1, LEAST_PART * whole.sum()):
        how = "the line leaves nothing of it on one side" if line_xy is not None else "it has no waist"
        raise SegmentError(f"Cell {cell} was not split: {how}. Draw a line across it where it should be cut.")
    smaller = parts == 1 + int(np.argmin(sizes))
    new = next_id(labels)
    return _edit("split", labels, nucleus, _whole(labels, window, smaller), new, None)


def draw(
    labels: IntArray, nucleus: BoolArray, cell: int, mask: BoolArray, nucleus_mask: BoolArray | None = None
) -> Edit:
    """``mask`` becomes the outline of ``cell`` (an id that is there, or a new one). Pixels of other cells
    stay theirs; what the cell had outside the mask becomes ground."""
    if mask.shape != labels.shape:
        raise SegmentError(f"The outline has shape {mask.shape}; the image has {labels.shape}. Draw it here.")
    after = mask & ((labels == 0) | (labels == cell))
    if after.sum() < SMALLEST_PX:
        raise SegmentError(
            f"The outline covers {int(after.sum())} free pixels; a cell has {SMALLEST_PX} at least. "
            "Draw it larger, or delete the cell that lies there."
        )
    where = after | (labels == cell)
    inside = after & (nucleus if nucleus_mask is None else nucleus_mask)
    rows, columns = np.nonzero(where)
    return Edit(
        name="draw",
        rows=rows,
        columns=columns,
        labels_before=labels[rows, columns].astype(np.int32),
        labels_after=np.where(after[rows, columns], cell, 0).astype(np.int32),
        nucleus_before=nucleus[rows, columns],
        nucleus_after=np.asarray(inside[rows, columns]),
    )


def brush(
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    before: NDArray[Any],
    after: NDArray[Any],
    nucleus: BoolArray,
) -> Edit:
    """A stroke that is on the labels already. What becomes ground has no nucleus any more."""
    inside = np.asarray(nucleus[rows, columns])
    return Edit(
        name="brush",
        rows=rows,
        columns=columns,
        labels_before=np.asarray(before, np.int32),
        labels_after=np.asarray(after, np.int32),
        nucleus_before=inside,
        nucleus_after=inside & (np.asarray(after) > 0),
    )


def next_id(labels: IntArray) -> int:
    return int(labels.max(initial=0)) + 1


def masks_of(
    labels: NDArray[Any],
    nucleus: BoolArray | None = None,
    *,
    um_per_px: float | None = None,
    segmenter: str = "",
) -> Masks:
    """Labels of any origin as a record. Ids stay; without nuclei every nucleus is empty."""
    if labels.ndim != 2:
        raise SegmentError(f"Labels of shape {labels.shape} are not accepted; one plane is, height x width.")
    if labels.dtype.kind == "f" and not (labels == np.floor(labels)).all():
        raise SegmentError(
            "Labels with fractions or NaN are not accepted; each pixel holds the id of its cell."
        )
    highest, lowest = int(labels.max(initial=0)), int(labels.min(initial=0))
    if highest > np.iinfo(np.int32).max or lowest < 0:
        raise SegmentError(
            f"Labels from {lowest} to {highest} are not accepted; ids are 1 to 2147483647, 0 is ground."
        )
    plain = np.ascontiguousarray(labels, np.int32)
    ids = np.unique(plain)
    ids = ids[ids > 0]
    numbered = np.searchsorted(ids, plain) + 1
    numbered[plain == 0] = 0
    found = [box for box in ndi.find_objects(numbered) if box is not None]
    boxes = np.array([(c.start, r.start, c.stop, r.stop) for r, c in found], np.int32).reshape(-1, 4)
    height, width = plain.shape
    left, top, right, bottom = boxes.T
    inside = np.zeros(plain.shape, np.bool_) if nucleus is None else np.asarray(nucleus, np.bool_)
    return Masks(
        cell_id=ids.astype(np.int32),
        labels=plain,
        nucleus=inside & (plain > 0),
        boxes_xyxy=boxes,
        touches_border=(left <= 0) | (top <= 0) | (right >= width) | (bottom >= height),
        um_per_px=um_per_px,
        scale_source="unknown" if um_per_px is None else "given",
        segmenter=segmenter,
    )


def _edit(
    name: str,
    labels: IntArray,
    nucleus: BoolArray,
    where: BoolArray,
    value: int,
    inside: np.bool_ | None,
) -> Edit:
    """``inside`` None: nuclei stay where they are."""
    rows, columns = np.nonzero(where)
    before = np.asarray(nucleus[rows, columns])
    return Edit(
        name=name,
        rows=rows,
        columns=columns,
        labels_before=labels[rows, columns].astype(np.int32),
        labels_after=np.full(len(rows), value, np.int32),
        nucleus_before=before,
        nucleus_after=before if inside is None else np.full(len(rows), inside),
    )


def _write(
    edit: Edit, labels: NDArray[Any], nuclei: NDArray[Any] | None, values: IntArray, inside: BoolArray
) -> None:
    labels[edit.rows, edit.columns] = values
    if nuclei is not None:
        nuclei[edit.rows, edit.columns] = np.where(inside, values, 0)


def _check_there(labels: IntArray, cells: Sequence[int]) -> None:
    if not cells:
        raise SegmentError("No cell is chosen. Pick one first.")
    for cell in cells:
        if cell <= 0 or not (labels == cell).any():
            raise SegmentError(f"There is no cell {cell} any more. Pick one that is there.")


def _window(labels: IntArray, cells: Sequence[int], margin: int) -> tuple[slice, slice]:
    rows, columns = np.nonzero(np.isin(labels, list(cells)))
    height, width = labels.shape
    return (
        slice(max(0, int(rows.min()) - margin), min(height, int(rows.max()) + 1 + margin)),
        slice(max(0, int(columns.min()) - margin), min(width, int(columns.max()) + 1 + margin)),
    )


def _whole(labels: IntArray, window: tuple[slice, slice], part: BoolArray) -> BoolArray:
    where = np.zeros(labels.shape, np.bool_)
    where[window] = part
    return where


def _halves(whole: BoolArray, nucleus: BoolArray) -> IntArray:
    """1 and 2 on either side of the waist of the nucleus where it has two bodies, else of the cell."""
    from skimage.segmentation import watershed

    for shape in (nucleus, whole):
        seeds = _two_bodies(shape)
        if seeds is not None:
            depth = ndi.distance_transform_edt(np.pad(whole, 1))[1:-1, 1:-1]
            return np.asarray(watershed(-depth, seeds, mask=whole), np.int32)
    return whole.astype(np.int32)


def _two_bodies(shape: BoolArray) -> IntArray | None:
    """The two largest pieces of a shape that is shrunk until it falls apart."""
    depth = ndi.distance_transform_edt(np.pad(shape, 1))[1:-1, 1:-1]
    for level in np.linspace(0, 0.9, 19) * float(depth.max()):
        pieces, count = ndi.label(depth > level)
        if count > 1:
            sizes = np.bincount(pieces.ravel())[1:]
            first, second = np.argsort(-sizes, kind="stable")[:2] + 1
            if sizes[second - 1] >= LEAST_PART * (depth > 0).sum():
                return np.asarray((pieces == first) + 2 * (pieces == second), np.int32)
    return None


def _sides(whole: BoolArray, line_xy: NDArray[np.float64]) -> IntArray:
    """1 and 2 left and right of a line. Its ends are drawn on, as far as the cell reaches."""
    if len(line_xy) < 2:
        return whole.astype(np.int32)
    reach = float(np.hypot(*whole.shape)) + 2
    ends = []
    for end, before in ((line_xy[0], line_xy[1]), (line_xy[-1], line_xy[-2])):
        direction = end - before
        ends.append(end + direction / max(float(np.hypot(*direction)), 1e-9) * reach)
    long = np.vstack([ends[0], line_xy, ends[1]])
    cut = np.zeros(whole.shape, np.bool_)
    for start, stop in pairwise(long):
        steps = np.linspace(0, 1, 2 + int(2 * np.hypot(*(stop - start))))[:, None]
        x, y = np.rint(start + steps * (stop - start)).astype(int).T
        seen = (x >= 0) & (y >= 0) & (x < whole.shape[1]) & (y < whole.shape[0])
        cut[y[seen], x[seen]] = True
    cut = ndi.binary_dilation(cut)
    pieces, count = ndi.label(whole & ~cut)
    if count < 2:
        return whole.astype(np.int32)
    sizes = np.bincount(pieces.ravel())[1:]
    first, second = np.argsort(-sizes, kind="stable")[:2] + 1
    near = [ndi.distance_transform_edt(pieces != one) for one in (first, second)]
    return np.where(whole, np.where(near[0] <= near[1], 1, 2), 0).astype(np.int32)


def nuclei_by_stain(pixels: ByteArray, labels: NDArray[Any], um_per_px: float | None = None) -> BoolArray:
    """The nucleus in each outline, as the segmenter finds it; none where nothing in it is stained."""
    from napari_bloodcell.core.segment.outline import nucleus_of
    from napari_bloodcell.core.segment.survey import survey

    nucleus = np.zeros(labels.shape, np.bool_)
    seen = survey(pixels, um_per_px)
    ids = np.unique(labels)
    if seen is None or ids[-1:].sum() == 0:
        return nucleus
    numbered = np.searchsorted(ids[ids > 0], labels) + 1
    numbered[labels == 0] = 0
    for number, box in enumerate(ndi.find_objects(numbered), 1):
        if box is not None:
            nucleus[box] |= nucleus_of(pixels[box], numbered[box] == number, seen)
    return nucleus
