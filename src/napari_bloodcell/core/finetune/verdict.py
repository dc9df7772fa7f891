"""What a fine-tuning was worth, in words: the IoU of the held-out cells before and after."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.training import TrainingRun
from napari_bloodcell.core.words import how_many

FEW = 20  # held-out cells; what fewer of them say is mostly chance
NO_BETTER = (
    "No better than before on the held-out cells: do not use this adapter, unless its outlines look better "
    "to you on other pictures. More cells teach more."
)

Scores = Mapping[str, NDArray[np.float64]]


def is_better(before: Scores, after: Scores) -> bool:
    """Cell and nucleus together: what one gains must be more than what the other loses."""
    return sum(float(after[name].mean() - before[name].mean()) for name in after) > 0


def figures(before: Scores, after: Scores) -> list[str]:
    return [
        f"{name.removesuffix('_iou')} IoU {before[name].mean():.4f} before, {values.mean():.4f} after"
        for name, values in after.items()
    ]


def words(before: Scores, after: Scores) -> list[str]:
    """What a person must know of the figures before using the adapter."""
    cells = len(next(iter(after.values())))
    said = [] if is_better(before, after) else [NO_BETTER]
    if cells < FEW:
        held_out = how_many(cells, "held-out cell")
        said.append(f"The figures rest on {held_out}, which proves little: {FEW} at least are wanted.")
    return said


def course(run: TrainingRun, before: Scores, after: Scores) -> str:
    best = f"best {run.best_epoch}" if is_better(before, after) else "none better than the start"
    return f"{run.ended} after {how_many(len(run.history), 'epoch')}, {best}"
