"""Click, box, scribble or mask -> the cell there, by a network without a promptable head, such as ``nano``.

What is pointed at gives a window, and the prompt-free head outlines the cell in its middle. Asked and
answered like ``sam/prompt.py``, in pixels of the image.
"""

from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.config import SamConfig
from napari_bloodcell.core.records import BoolArray, SmearImage
from napari_bloodcell.core.sam.embeddings import EmbeddingCache
from napari_bloodcell.core.sam.prompt import Answer, Prompt, PromptSession, check_prompt
from napari_bloodcell.core.segment.choose import STAIN, read_network
from napari_bloodcell.core.segment.outlines import Drawn
from napari_bloodcell.core.segment.prompted import StainPrompter
from napari_bloodcell.core.segment.sam_segmenter import SamSegmenter
from napari_bloodcell.core.segment.stain_segmenter import StainSegmenter
from napari_bloodcell.core.segment.survey import NUCLEUS_UM, WORKING_UM, survey
from napari_bloodcell.core.stain import ground_light
from napari_bloodcell.core.stain.lamp import evened

CELL_UM = 1.5 * NUCLEUS_UM  # what a lonely click is taken to stand in the middle of


class PointedSession:
    """One image, looked at once, asked as often as needed."""

    def __init__(self, segmenter: SamSegmenter, image: SmearImage) -> None:
        self._segmenter, self._pixels = segmenter, evened(image)
        self.image_hw = (image.pixels.shape[0], image.pixels.shape[1])
        seen = survey(evened(image), image.um_per_px)
        self._light = ground_light(evened(image)) if seen is None else seen.light
        self._cell_px = CELL_UM / (WORKING_UM if seen is None else seen.assumed_um_per_px)

    def ask(self, prompts: list[Prompt]) -> Answer:
        """A mask for each prompt; the score is how sure the network is of its pixels, 0 to 1."""
        for prompt in prompts:
            check_prompt(prompt, self.image_hw)
        masks = np.zeros((len(prompts), *self.image_hw), np.bool_)
        scores = np.zeros(len(prompts), np.float32)
        about = [self._about(prompt, number) for number, prompt in enumerate(prompts)]
        drawn = self._segmenter.outline_windows(self._pixels, self._light, about)
        for number, one in enumerate(drawn):
            cell = one.cell & _nearer_inside(prompts[number], one)
            masks[number][one.span] = cell
            if cell.any():
                scores[number] = float((1 / (1 + np.exp(-np.abs(one.score[cell])))).mean())
        return Answer(masks=masks, scores=scores)

    def _about(self, prompt: Prompt, number: int) -> Drawn:
        """Where the cell must be: the box, the mask, what the points span, or a usual cell there."""
        height, width = self.image_hw
        if prompt.box_xyxy is not None:
            x0, y0, x1, y1 = (float(v) for v in np.ravel(prompt.box_xyxy))
        elif prompt.mask is not None:
            rows, columns = (np.flatnonzero(prompt.mask.any(axis)) for axis in (1, 0))
            x0, y0, x1, y1 = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        else:
            inside, _ = _points(prompt)
            (x0, y0), (x1, y1) = inside.min(0), inside.max(0)
            spare_x, spare_y = (max(0.0, self._cell_px - span) / 2 for span in (x1 - x0, y1 - y0))
            x0, y0, x1, y1 = x0 - spare_x, y0 - spare_y, x1 + spare_x, y1 + spare_y
        left, top = (max(0, min(int(v), n - 2)) for v, n in ((x0, width), (y0, height)))
        right, bottom = (
            min(n, max(round(v), low + 2)) for v, low, n in ((x1, left, width), (y1, top, height))
        )
        whole = np.ones((bottom - top, right - left), np.bool_)
        middle = np.zeros_like(whole)
        middle[whole.shape[0] // 2, whole.shape[1] // 2] = True
        blank = np.zeros(whole.shape, np.float32)
        return Drawn(number=number, corner=(top, left), cell=whole, nucleus=middle, score=blank)


def _points(prompt: Prompt) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    points = np.zeros((0, 2)) if prompt.points_xy is None else np.reshape(prompt.points_xy, (-1, 2))
    flags = np.ones(len(points), np.bool_) if prompt.inside is None else np.asarray(prompt.inside, np.bool_)
    inside = points[flags]
    return (inside if len(inside) else points), points[~flags]


def _nearer_inside(prompt: Prompt, one: Drawn) -> BoolArray:
    """False on what lies nearer to a negative point than to a positive one."""
    inside, outside = _points(prompt)
    if not len(outside) or not len(inside):
        return np.ones(one.cell.shape, np.bool_)
    rows, columns = (np.arange(s.start, s.stop) + 0.5 for s in one.span)
    near = [
        np.min([np.hypot(rows[:, None] - y, columns[None] - x) for x, y in some], axis=0)
        for some in (inside, outside)
    ]
    return np.asarray(near[0] <= near[1])


class Session(Protocol):
    """An image that can be asked."""

    def ask(self, prompts: list[Prompt]) -> Answer: ...


def open_session(
    model: str | Path, image: SmearImage, config: SamConfig = SamConfig()
) -> tuple[Session, str]:
    """A session by the model's own promptable head where it is a plain checkpoint, by its cell head where
    that alone is trained; by stain where no network is wanted; and the hash of what answers."""
    if str(model) == STAIN:
        return StainPrompter(evened(image), image.um_per_px), StainSegmenter().hash
    network, has_head = read_network(model)
    if has_head:
        segmenter = SamSegmenter(network, replace(config, size_px=network.variant.native_px))
        return PointedSession(segmenter, image), segmenter.hash
    ready = replace(config, size_px=network.variant.native_px)
    return PromptSession(network, evened(image), ready, EmbeddingCache()), network.base_sha256
