"""The cell at a click, in a box, along a scribble: by stain, without weights.

The same questions and answers as ``core/sam/prompt.py``. Only a window round the prompt is looked at, so an
answer takes a few milliseconds in a field of any size.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage.segmentation import watershed

from napari_bloodcell.core.config import SegmentConfig
from napari_bloodcell.core.errors import SegmentError
from napari_bloodcell.core.image.reduce import reduce
from napari_bloodcell.core.records import BoolArray, ByteArray, FloatArray
from napari_bloodcell.core.sam.question import Answer, Prompt
from napari_bloodcell.core.segment.locate import PALEST, Window, disc, group_pieces, grow_cell
from napari_bloodcell.core.segment.outline import nucleus_of
from napari_bloodcell.core.segment.survey import (
    Survey,
    not_red,
    nuclear_stain,
    plasm_weights,
    survey,
)
from napari_bloodcell.core.stain import mixed_density

REACH_UM = 16.0  # looked at around the prompt
TOUCH_UM = 1.2  # a click this near to a nucleus means it
DOT_UM = 0.7  # radius of what a click alone is sure of
ALIKE = 0.35  # of the density at the click, that plasm may differ by
BOX_SLACK_UM = 0.4


class StainPrompter:
    """One image, its stain looked at once."""

    def __init__(self, pixels: ByteArray, um_per_px: float | None = None) -> None:
        seen = survey(pixels, um_per_px)
        if seen is None:
            raise SegmentError("There is nothing to see in this image: it is blank, or dark. Choose another.")
        self._pixels, self._seen = pixels, seen

    def ask(self, prompts: list[Prompt]) -> Answer:
        """``scores`` say how much of what was drawn the outline agrees with, 0 to 1."""
        shape = self._pixels.shape[:2]
        masks = np.zeros((len(prompts), *shape), np.bool_)
        scores = np.zeros(len(prompts), np.float32)
        for number, prompt in enumerate(prompts):
            window = self._window(prompt)
            cell = _Look(self._pixels[window], self._seen, _moved(prompt, window)).cell()
            masks[number][window] = cell
            scores[number] = _agreement(cell, _moved(prompt, window))
        return Answer(masks=masks, scores=scores)

    def nucleus(self, mask: BoolArray) -> BoolArray:
        """The nucleus in an outline."""
        inside = np.zeros(mask.shape, np.bool_)
        box = ndi.find_objects(mask.astype(np.uint8))
        if box:
            inside[box[0]] = nucleus_of(self._pixels[box[0]], mask[box[0]], self._seen)
        return inside

    def _window(self, prompt: Prompt) -> Window:
        places = [np.zeros((0, 2))]
        if prompt.points_xy is not None:
            places.append(np.reshape(prompt.points_xy, (-1, 2)))
        if prompt.box_xyxy is not None:
            places.append(np.reshape(prompt.box_xyxy, (2, 2)))
        if prompt.mask is not None and prompt.mask.any():
            rows, columns = np.nonzero(prompt.mask)
            places.append(np.array([[columns.min(), rows.min()], [columns.max(), rows.max()]]))
        drawn = np.concatenate(places)
        if not len(drawn):
            raise SegmentError("The prompt is empty. Give points, a box or a mask.")
        height, width = self._pixels.shape[:2]
        if (drawn < 0).any() or (drawn > (width, height)).any():
            raise SegmentError(f"The prompt runs out of the image of {width} x {height} px. Draw it inside.")
        # Whole working pixels, so that the window is reduced as the image would be.
        reach, step = REACH_UM / self._seen.assumed_um_per_px, self._seen.stride
        low = (np.floor((drawn.min(axis=0) - reach).clip(0) / step) * step).astype(int)
        high = np.minimum(np.ceil(drawn.max(axis=0) + reach), (width, height)).astype(int)
        return slice(low[1], high[1]), slice(low[0], high[0])


class _Look:
    """One window on the working grid, and the cell a prompt means there."""

    def __init__(self, pixels: ByteArray, seen: Survey, prompt: Prompt) -> None:
        self._prompt, self._stride = prompt, seen.stride
        self._shape = pixels.shape[:2]
        self._um = seen.assumed_um_per_px * seen.stride
        small = reduce(pixels, seen.stride)
        stain = nuclear_stain(small, seen)
        self._plasm: FloatArray = stain
        if seen.heme is None:
            self._plasm = ndi.uniform_filter(mixed_density(small, seen.light, plasm_weights(None)), 3)
        pieces = ndi.binary_opening(stain > seen.nuclear_level, disc(0.5 / self._um))
        if seen.heme is None:
            pieces &= not_red(small, seen.light)
        config = SegmentConfig(min_nucleus_um=1.5)
        self._nuclei = group_pieces(pieces, self._plasm, self._um, config)
        self._yes, self._no = self._places(inside=True), self._places(inside=False)

    def cell(self) -> BoolArray:
        cell = self._meant()
        if self._yes.any():
            cell = cell | self._yes
            cell = cell | _closed(cell, disc(1.2 / self._um))
        if self._no.any():
            cell = self._without(cell)
        box = self._box()
        if box is not None:
            cell = cell & box
        cell = _one_piece(cell, self._yes)
        if not cell.any():
            raise SegmentError("There is no cell here that the stain would show. Draw a box or paint it.")
        return self._enlarged(ndi.binary_fill_holes(cell))

    def _meant(self) -> BoolArray:
        """What the stain offers for the positive part of the prompt."""
        base = self._small_mask()
        box = self._box()
        chosen = self._chosen(self._yes)
        if base is not None:
            found: BoolArray = base | self._grown(chosen) if chosen else base
            return found
        if box is not None and not self._yes.any():
            chosen = self._in_box(box)
            return (self._grown(chosen) if chosen else self._plasm > PALEST) & box
        return self._grown(chosen) if chosen else self._plasm_here()

    def _grown(self, chosen: list[int]) -> BoolArray:
        """The cell of these nuclei, taken for one; others keep their own."""
        nuclei, number = self._nuclei.copy(), chosen[0]
        nuclei[np.isin(nuclei, chosen)] = number
        box = ndi.find_objects(nuclei, number)[number - 1]
        window, grown = grow_cell(nuclei, number, box, self._plasm, self._um, SegmentConfig())
        cell = np.zeros(nuclei.shape, np.bool_)
        cell[window] = grown
        return cell

    def _plasm_here(self) -> BoolArray:
        """Without a nucleus: what is as dense as where was clicked, and joined to it."""
        level = float(np.median(self._plasm[self._yes])) if self._yes.any() else 0.0
        if level < PALEST:
            return self._yes
        alike = np.abs(self._plasm - level) < max(ALIKE * level, 0.03)
        return np.asarray(ndi.binary_opening(alike, disc(0.8 / self._um))) | self._yes

    def _chosen(self, at: BoolArray) -> list[int]:
        if not at.any():
            return []
        near = _widened(at, disc(TOUCH_UM / self._um))
        refused = set(np.unique(self._nuclei[self._no])) if self._no.any() else set()
        return [int(i) for i in np.unique(self._nuclei[near]) if i > 0 and i not in refused]

    def _in_box(self, box: BoolArray) -> list[int]:
        inside, whole = np.bincount(self._nuclei[box]), np.bincount(self._nuclei.ravel())
        inside = np.pad(inside, (0, len(whole) - len(inside)))
        return [int(i) for i in np.flatnonzero(inside > 0.5 * whole) if i > 0]

    def _without(self, cell: BoolArray) -> BoolArray:
        """The part of the cell that is nearer, uphill and downhill, to what is wanted than to what is not."""
        wanted = self._yes if self._yes.any() else self._core(cell & ~self._no)
        seeds = np.where(self._no, 2, 0).astype(np.int32)
        seeds[wanted & cell & ~self._no] = 1
        depth = ndi.distance_transform_edt(np.pad(cell, 1))[1:-1, 1:-1]
        return np.asarray(watershed(-depth, seeds, mask=cell | self._no) == 1)

    def _core(self, cell: BoolArray) -> BoolArray:
        """The deepest place of a cell, away from where it was refused."""
        far = ndi.distance_transform_edt(np.pad(cell, 1))[1:-1, 1:-1]
        far = np.minimum(far, ndi.distance_transform_edt(~self._no))
        return np.asarray(far >= 0.9 * far.max()) & cell

    def _places(self, *, inside: bool) -> BoolArray:
        where = np.zeros(self._plasm.shape, np.bool_)
        points = self._prompt.points_xy
        if points is None:
            return where
        spots = np.reshape(points, (-1, 2))
        flags = np.ones(len(spots), bool) if self._prompt.inside is None else np.asarray(self._prompt.inside)
        for x, y in spots[flags == inside]:
            row, column = self._small(y, 0), self._small(x, 1)
            where[row, column] = True
        return _widened(where, disc(DOT_UM / self._um)) if where.any() else where

    def _small(self, at: float, axis: int) -> int:
        return min(max(int(at / self._stride), 0), int(self._plasm.shape[axis]) - 1)

    def _box(self) -> BoolArray | None:
        if self._prompt.box_xyxy is None:
            return None
        slack = BOX_SLACK_UM / self._um
        x0, y0, x1, y1 = np.asarray(self._prompt.box_xyxy, float) / self._stride
        rows, columns = np.ogrid[: self._plasm.shape[0], : self._plasm.shape[1]]
        inside = (rows >= min(y0, y1) - slack) & (rows <= max(y0, y1) + slack)
        return np.asarray(inside & (columns >= min(x0, x1) - slack) & (columns <= max(x0, x1) + slack))

    def _small_mask(self) -> BoolArray | None:
        mask = self._prompt.mask
        if mask is None or not mask.any():
            return None
        height, width = self._plasm.shape
        return np.asarray(mask[:: self._stride, :: self._stride][:height, :width])

    def _enlarged(self, cell: BoolArray) -> BoolArray:
        smooth = ndi.gaussian_filter(np.asarray(cell, np.float32), 0.8, mode="nearest")
        if self._stride > 1:
            smooth = ndi.zoom(smooth, self._stride, order=1, grid_mode=True, mode="nearest")
        spare = [(0, n - m) for n, m in zip(self._shape, smooth.shape, strict=True)]
        whole: BoolArray = np.pad(smooth, spare, mode="edge") > 0.5
        return whole


def _moved(prompt: Prompt, window: Window) -> Prompt:
    """The prompt as the window has it."""
    corner = np.array([window[1].start, window[0].start], float)
    points = None if prompt.points_xy is None else np.reshape(prompt.points_xy, (-1, 2)) - corner
    box = None if prompt.box_xyxy is None else np.asarray(prompt.box_xyxy, float) - np.tile(corner, 2)
    mask = None if prompt.mask is None else prompt.mask[window]
    return Prompt(points_xy=points, inside=prompt.inside, box_xyxy=box, mask=mask)


def _round(mask: BoolArray, spare: int) -> Window:
    """The part of a window that holds the mask: what is near it is not looked for anywhere else."""
    rows, columns = ndi.find_objects(mask.astype(np.uint8))[0]
    return (
        slice(max(0, rows.start - spare), rows.stop + spare),
        slice(max(0, columns.start - spare), columns.stop + spare),
    )


def _widened(mask: BoolArray, brush: BoolArray) -> BoolArray:
    wide = np.zeros_like(mask)
    window = _round(mask, len(brush))
    wide[window] = ndi.binary_dilation(mask[window], brush)
    return wide


def _closed(cell: BoolArray, brush: BoolArray) -> BoolArray:
    closed = np.zeros_like(cell)
    window = _round(cell, len(brush))
    closed[window] = ndi.binary_closing(cell[window], brush)
    return closed


def _one_piece(cell: BoolArray, wanted: BoolArray) -> BoolArray:
    pieces, count = ndi.label(cell)
    if count < 2:
        return cell
    touched = np.unique(pieces[wanted & cell])
    touched = touched[touched > 0]
    if len(touched):
        return np.asarray(np.isin(pieces, touched))
    return np.asarray(pieces == 1 + int(np.bincount(pieces.ravel())[1:].argmax()))


def _agreement(cell: BoolArray, prompt: Prompt) -> float:
    parts: list[float] = []
    if prompt.points_xy is not None:
        at: NDArray[np.intp] = np.asarray(prompt.points_xy).astype(int)
        at = at.clip(0, np.array(cell.shape)[::-1] - 1)
        flags = np.ones(len(at), bool) if prompt.inside is None else np.asarray(prompt.inside)
        parts.append(float((cell[at[:, 1], at[:, 0]] == flags).mean()))
    if prompt.box_xyxy is not None:
        found = ndi.find_objects(cell.astype(np.uint8))
        x0, y0, x1, y1 = np.asarray(prompt.box_xyxy, float)
        area = abs((x1 - x0) * (y1 - y0))
        seen = 0.0 if not found else float(np.prod([one.stop - one.start for one in found[0]]))
        parts.append(min(seen, area) / max(seen, area, 1.0))
    return float(np.mean(parts)) if parts else 1.0
