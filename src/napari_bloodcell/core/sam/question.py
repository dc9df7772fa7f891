"""What is drawn for a cell, and what comes back: the same for a network and for the stain. Loads no torch.

Frames: everything is in pixels of the image, x before y.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.errors import SegmentError
from napari_bloodcell.core.records import BoolArray, FloatArray

SCRIBBLE_POINTS = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Prompt:
    """What was drawn for one cell. At least one of points, box and mask."""

    points_xy: NDArray[np.float64] | None = None  # N x 2
    inside: BoolArray | None = None  # N: the point is on the cell, or on ground that is not; None: all on it
    box_xyxy: NDArray[np.float64] | None = None  # 4
    mask: BoolArray | None = None  # H x W: improve this one


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """Masks for several prompts: N x H x W, and the model's own guess of each mask's IoU."""

    masks: BoolArray
    scores: FloatArray


def scribble(line_xy: NDArray[np.float64], points: int = SCRIBBLE_POINTS) -> NDArray[np.float64]:
    """Points spread evenly along a drawn line, its ends included."""
    line = np.asarray(line_xy, float).reshape(-1, 2)
    if len(line) == 0:
        raise SegmentError("The scribble is empty. Draw a line on the cell.")
    along = np.r_[0, np.cumsum(np.hypot(*np.diff(line, axis=0).T))]
    if along[-1] == 0:
        return line[:1]
    at = np.linspace(0, along[-1], points)
    return np.column_stack([np.interp(at, along, line[:, axis]) for axis in (0, 1)])


class Prompter(Protocol):
    """One image, looked at once, asked as often as needed."""

    def ask(self, prompts: list[Prompt]) -> Answer: ...
