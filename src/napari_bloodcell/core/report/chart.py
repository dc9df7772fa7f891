"""A differential as bars with exact limits."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_bloodcell.core.figure import save_figure
from napari_bloodcell.core.report.differential import NOT_KNOWN, RESEARCH_USE, Differential
from napari_bloodcell.core.words import how_many

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_to_file(path: Path, differential: Differential, *, title: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 0.9 + 0.42 * max(differential.lines, 3)), dpi=130, layout="constrained")
    draw(figure.add_subplot(), differential)
    figure.suptitle(title, fontsize=10)
    save_figure(path, figure)


def draw(axes: "Axes", differential: Differential) -> None:
    """Bars with exact limits, in colours a colour-blind reader can tell apart."""
    from napari_bloodcell.core.palette import colour_of

    rows = list(reversed(differential.rows))
    places = np.arange(len(rows)) + len(differential.unknown)
    percents = np.array([row.percent for row in rows])
    axes.barh(places, percents, color=[colour_of(row.class_name) for row in rows], height=0.66)
    if differential.counted:
        below = percents - [row.low for row in rows]
        above = np.array([row.high for row in rows]) - percents
        axes.errorbar(percents, places, xerr=[below, above], fmt="none", ecolor="#333333", capsize=3, lw=1)
    for place, row in zip(places, rows, strict=True):
        edge = row.high if differential.counted else 0
        axes.annotate(
            f"{row.n}  ({row.percent:.1f} %)",
            (edge, place),
            (6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    for line in range(len(differential.unknown)):
        axes.annotate(
            NOT_KNOWN,
            (0, line),
            (6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color="#777777",
        )
    names = [*reversed(differential.unknown), *(row.class_name for row in rows)]
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names], fontsize=9)
    axes.set_ylim(-0.6, len(names) - 0.4)  # lines without a bar would be cut off
    axes.set_xlim(0, 125)
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel(
        f"% of {how_many(differential.counted, 'white cell')}, "
        f"{100 * differential.confidence:g} % exact limits",
        fontsize=8,
    )
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.text(
        1, 0.01, RESEARCH_USE, transform=axes.transAxes, ha="right", va="bottom", fontsize=7, color="#777777"
    )
