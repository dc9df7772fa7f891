"""What came of a fine-tuning: the course of it, the IoU of each held-out cell before and after, pictures."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.artifact import write_json
from napari_bloodcell.core.figure import save_figure
from napari_bloodcell.core.finetune import verdict
from napari_bloodcell.core.records import ByteArray
from napari_bloodcell.core.sam.train.cells import NUCLEUS, MaskedCells
from napari_bloodcell.core.sam.train.recipe import windows_of
from napari_bloodcell.core.training import TrainingRun
from napari_bloodcell.core.training.checkpoint import jsonable
from napari_bloodcell.core.words import how_many

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REPORT, PICTURE = "report.json", "report.png"
SHOWN = 6  # cells: from the worst to the best, evenly
TRUTH, FOUND, NUCLEUS_FOUND = "#00a000", "#d02020", "#ffd000"
Scores = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Outlines:
    """What the model made of the held-out cells: parts, N x S x S."""

    cells: MaskedCells
    size_px: int
    before: ByteArray
    after: ByteArray


def write_report(folder: Path, run: TrainingRun, scores: tuple[Scores, Scores], outlines: Outlines) -> None:
    """``report.json`` with every number, ``report.png`` to look at."""
    before, after = scores
    body = {
        "summary": {name: _summary(before[name], after[name]) for name in after},
        "cells": [
            {"name": name}
            | {f"{part}_before": float(before[part][i]) for part in before}
            | {f"{part}_after": float(after[part][i]) for part in after}
            for i, name in enumerate(outlines.cells.names)
        ],
        "verdict": verdict.words(before, after),
        "ended": run.ended,
        "best_epoch": run.best_epoch,
        "history": [
            asdict(e) | {"losses": jsonable(e.losses), "figures": jsonable(e.figures)} for e in run.history
        ],
    }
    write_json(folder / REPORT, "training", body)
    _draw(folder / PICTURE, run, scores, outlines)


def _summary(before: NDArray[np.float64], after: NDArray[np.float64]) -> dict[str, dict[str, float]]:
    return {
        when: {
            "mean": float(values.mean()),
            **{f"p{p}": float(np.percentile(values, p)) for p in (5, 10, 25, 50, 75, 90)},
        }
        for when, values in (("before", before), ("after", after))
    }


def _draw(path: Path, run: TrainingRun, scores: tuple[Scores, Scores], outlines: Outlines) -> None:
    from matplotlib.figure import Figure

    order = np.argsort(scores[1]["cell_iou"], kind="stable")
    shown = order[np.linspace(0, len(order) - 1, min(SHOWN, len(order))).round().astype(int)]
    figure = Figure(figsize=(12.5, 8.6), dpi=100, layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=[1, 1.55])
    top, bottom = parts
    course, spread = top.subplots(1, 2)
    _course(course, run, better=verdict.is_better(*scores))
    _spread(spread, scores)
    axes = bottom.subplots(2, len(shown), squeeze=False)
    pixels, truth = windows_of(outlines.cells, shown, outlines.size_px)
    for row, (when, found, iou) in enumerate(
        (("before", outlines.before, scores[0]), ("after", outlines.after, scores[1]))
    ):
        for column, i in enumerate(shown):
            axis = axes[row, column]
            _cell(axis, pixels[column], truth[column], found[i])
            axis.set_title(f"{when}: {iou['cell_iou'][i]:.3f}", fontsize=9)
    figure.suptitle("\n".join(title_of(scores)), fontsize=10)
    save_figure(path, figure)


def title_of(scores: tuple[Scores, Scores]) -> list[str]:
    cells = how_many(len(scores[1]["cell_iou"]), "held-out cell")
    return [
        f"{cells}: {'; '.join(verdict.figures(*scores))}",
        *verdict.words(*scores),
        "Green: as marked; red: as found; yellow: nucleus as found",
    ]


def _course(axes: "Axes", run: TrainingRun, *, better: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    scored = [e for e in run.history if "score" in e.figures]
    axes.plot([e.number for e in run.history], [e.losses["total"] for e in run.history], ".-", color="0.4")
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("loss (grey)")
    other = axes.twinx()
    other.plot([e.number for e in scored], [e.figures["score"] for e in scored], ".-", color=FOUND)
    other.set_ylabel("Dice of held-out cells (red)")
    axes.axvline(run.best_epoch, color="0.7", linestyle=":")
    axes.set_title(
        f"best: epoch {run.best_epoch}" if better else "no epoch better than the start", fontsize=9
    )


def _spread(axes: "Axes", scores: tuple[Scores, Scores]) -> None:
    bins = np.linspace(0, 1, 41)
    for when, one, colour in (("before", scores[0], "0.6"), ("after", scores[1], FOUND)):
        axes.hist(one["cell_iou"], bins=bins.tolist(), alpha=0.6, color=colour, label=when)
    axes.set_xlabel("IoU of a held-out cell")
    axes.set_ylabel("cells")
    axes.legend()


def _cell(axes: "Axes", pixels: ByteArray, truth: ByteArray, found: ByteArray) -> None:
    axes.imshow(pixels)
    for mask, colour in ((truth > 0, TRUTH), (found > 0, FOUND), (found == NUCLEUS, NUCLEUS_FOUND)):
        if mask.any() and not mask.all():
            axes.contour(mask, levels=[0.5], colors=[colour], linewidths=1.2)
    axes.set_axis_off()
