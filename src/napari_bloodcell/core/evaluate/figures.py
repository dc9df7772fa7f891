"""Pictures of an evaluation: confusion, calibration, risk against coverage, few-shot curves."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.core.evaluate.scores import Score
from napari_bloodcell.core.evaluate.table import column_name
from napari_bloodcell.core.figure import save_figure
from napari_bloodcell.core.palette import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours and a mark each: lines are told apart without colour too.
LINES = tuple(COLOURS[n] for n in ("neutrophil", "eosinophil", "lymphocyte", "basophil", "unidentified"))
LONGEST_LABEL = 32
LONGEST_NAME = 120  # of a method, in the name of a file
MARKS = ("o", "s", "^", "D", "v", "P", "X")


def draw_all(folder: Path, scores: Sequence[Score], protocol: str) -> list[Path]:
    """Every figure of a run; returns the files. A column without a scored cell has no picture."""
    scores = [score for score in scores if score.cells]
    if not scores:
        return []
    written = []
    for method in dict.fromkeys(score.method for score in scores):
        own = [score for score in scores if score.method == method]
        shown = own if protocol != "few-shot" else _ends(own)
        name = re.sub(r"[^\w.+-]+", "-", method)[-LONGEST_NAME:].lstrip("-")  # it may be a path
        written.append(_save(folder / f"confusion-{name}.png", draw_confusion(shown, method)))
    best = _first_columns(scores, protocol)
    written.append(_save(folder / "calibration.png", draw_calibration(best)))
    written.append(_save(folder / "risk-coverage.png", draw_risk_coverage(best)))
    if protocol == "few-shot":
        written.append(_save(folder / "few-shot.png", draw_few_shot(scores)))
    return written


def draw_confusion(scores: Sequence[Score], title: str) -> "Figure":
    figure, axes = _grid(len(scores), 3.4)
    for one, score in zip(axes, scores, strict=True):
        _confusion(one, score)
    figure.suptitle(
        f"{_short(title)}: rows are the labels, columns the answers, in % of the row", fontsize=10
    )
    return figure


def _confusion(axes: "Axes", score: Score) -> None:
    counts = np.asarray(score.confusion)
    there = counts.sum(axis=1) > 0
    total = counts[there].sum(axis=1, keepdims=True)
    share = counts[there] / total
    if not share[:, -1].any():
        share = share[:, :-1]
    axes.imshow(share, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    for row, column in np.argwhere(share >= 0.005):
        dark = share[row, column] > 0.55
        text = f"{100 * share[row, column]:.0f}"
        axes.text(column, row, text, ha="center", va="center", fontsize=6, color="w" if dark else "k")
    names = [name.replace("_", " ") for name in score.class_names]
    answers = [*names, "not found"][: share.shape[1]]
    kept = [name for name, is_there in zip(names, there, strict=True) if is_there]
    labels = [f"{name} ({n:.0f})" for name, n in zip(kept, total[:, 0], strict=True)]
    axes.set_xticks(range(len(answers)), answers, rotation=60, ha="right", fontsize=6)
    axes.set_yticks(range(len(labels)), labels, fontsize=6)
    axes.set_title(f"{column_name(score.key)}  {100 * score.metrics['accuracy'].value:.1f} %", fontsize=8)


def draw_calibration(scores: Sequence[Score]) -> "Figure":
    """How right at each degree of sureness; on the diagonal a probability means what it says."""
    columns = list(dict.fromkeys(score.key for score in scores))
    figure, axes = _grid(len(columns), 2.8)
    for one, key in zip(axes, columns, strict=True):
        one.plot([0, 1], [0, 1], color="#BBBBBB", lw=1)
        for number, score in enumerate(s for s in scores if s.key == key):
            bins = np.asarray([b for b in score.reliability if b[2]])
            if len(bins):
                label = f"{_short(score.method)} ({100 * score.calibration_error:.0f})"
                one.plot(bins[:, 0], bins[:, 1], label=label, **_line(number))
        _finish(one, "probability of the answer", "right", column_name(key))
    figure.suptitle("Calibration; in brackets the expected calibration error, %", fontsize=10)
    return figure


def draw_risk_coverage(scores: Sequence[Score]) -> "Figure":
    columns = list(dict.fromkeys(score.key for score in scores))
    figure, axes = _grid(len(columns), 2.8)
    for one, key in zip(axes, columns, strict=True):
        for number, score in enumerate(s for s in scores if s.key == key):
            curve = np.asarray(score.risk_coverage).reshape(-1, 2)
            line = _line(number) | {"marker": None}
            one.plot(curve[:, 0], curve[:, 1], label=_short(score.method), **line)
        _finish(one, "share of cells answered, the surest first", "wrong among them", column_name(key))
        one.set_ylim(0, max(0.05, one.get_ylim()[1]))
    figure.suptitle("Risk against coverage", fontsize=10)
    return figure


def draw_few_shot(scores: Sequence[Score]) -> "Figure":
    targets = list(dict.fromkeys(score.target for score in scores))
    figure, axes = _grid(len(targets), 3.2)
    for one, target in zip(axes, targets, strict=True):
        own = [score for score in scores if score.target == target]
        for number, method in enumerate(dict.fromkeys(score.method for score in own)):
            curve = sorted((score for score in own if score.method == method), key=lambda s: s.shots)
            values = [score.metrics["balanced_accuracy"] for score in curve]
            shots = [score.shots for score in curve]
            one.plot(shots, [v.value for v in values], label=_short(method), **_line(number))
            one.fill_between(
                shots,
                [v.low for v in values],
                [v.high for v in values],
                color=LINES[number % len(LINES)],
                alpha=0.12,
                lw=0,
            )
        _finish(one, "corrected cells of this lab", "balanced accuracy", target)
        one.set_ylim(0, 1)
    figure.suptitle("What a few corrected cells of a lab are worth", fontsize=10)
    return figure


def _short(method: str) -> str:
    """A model in a deep folder would leave no room for the picture: the end of its path tells it."""
    return method if len(method) <= LONGEST_LABEL else f"…{method[1 - LONGEST_LABEL :]}"


def _grid(count: int, size: float) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    columns = min(3, max(1, count))
    rows = max(1, -(-count // columns))
    figure = Figure(figsize=(size * columns + 0.6, size * rows + 0.5), dpi=110, layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for empty in axes[count:]:
        empty.set_axis_off()
    return figure, axes[:count]


def _line(number: int) -> dict[str, Any]:
    return {
        "color": LINES[number % len(LINES)],
        "marker": MARKS[number % len(MARKS)],
        "ls": ("-", "--", ":")[number // len(LINES) % 3],
        "ms": 3,
        "lw": 1.2,
    }


def _finish(axes: "Axes", x: str, y: str, title: str) -> None:
    axes.set_xlabel(x, fontsize=7)
    axes.set_ylabel(y, fontsize=7)
    axes.set_title(title, fontsize=8)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=6, frameon=False)


def _ends(scores: Sequence[Score]) -> list[Score]:
    """Without corrected cells and with the most, of each lab."""
    kept = []
    for target in dict.fromkeys(score.target for score in scores):
        own = sorted((score for score in scores if score.target == target), key=lambda s: s.shots)
        kept += [own[0], own[-1]] if len(own) > 1 else own
    return kept


def _first_columns(scores: Sequence[Score], protocol: str) -> list[Score]:
    return list(scores) if protocol != "few-shot" else _ends_of_each(scores)


def _ends_of_each(scores: Sequence[Score]) -> list[Score]:
    methods = dict.fromkeys(score.method for score in scores)
    return [kept for method in methods for kept in _ends([s for s in scores if s.method == method])]


def _save(path: Path, figure: "Figure") -> Path:
    save_figure(path, figure)
    return path
