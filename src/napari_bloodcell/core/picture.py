"""The field with its outlines and classes drawn on: what a person checks first."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.figure import save_figure
from napari_bloodcell.core.palette import colour_of
from napari_bloodcell.core.report import draw
from napari_bloodcell.core.rings import rings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from napari_bloodcell.core.pipeline import Analysis

LONGEST_SIDE_PX = 1600  # of the drawn field; larger ones are thinned for the picture only


def draw_overlay(path: Path, analysis: "Analysis") -> None:
    """Left the field with outlines, right the differential with its limits."""
    from matplotlib.figure import Figure

    height, width = analysis.masks.labels.shape
    figure = Figure(figsize=(12.5, max(3.4, 7.6 * height / width + 0.4)), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.75, 1])
    draw_field(left, analysis)
    draw(right, analysis.differential)
    figure.suptitle(f"{analysis.image.name}: {analysis.bundle.title}", fontsize=10)
    save_figure(path, figure)


def draw_field(axes: "Axes", analysis: "Analysis") -> None:
    step = max(1, int(np.ceil(max(analysis.masks.labels.shape) / LONGEST_SIDE_PX)))
    best, probability = analysis.predictions.top(0)
    labels = analysis.predictions.labels
    colours = [colour_of(name) for name in labels]
    axes.imshow(_outlined(analysis, colours, step), interpolation="nearest")
    width, height = analysis.masks.labels.shape[1] / step, analysis.masks.labels.shape[0] / step
    for row, (x0, y0, x1, y1) in enumerate(analysis.masks.boxes_xyxy / step):
        # Near an edge the words lean inwards, so that none is cut off.
        side = "left" if x0 < 0.1 * width else "right" if x1 > 0.9 * width else "center"
        above = y0 > 0.05 * height
        shown = labels[row].replace("_", " ")
        if labels[row] != best[row]:
            shown += f" ({best[row].replace('_', ' ')}?)"
        axes.text(
            {"left": max(x0, 4), "right": min(x1, width - 4), "center": (x0 + x1) / 2}[side],
            y0 - 4 if above else y1 + 4,
            f"{analysis.masks.cell_id[row]}  {shown} {probability[row]:.0%}",
            fontsize=7,
            ha=side,
            va="bottom" if above else "top",
            color="white",
            clip_on=True,
            bbox={"facecolor": "#000000AA", "edgecolor": colours[row], "pad": 1.5, "linewidth": 1},
        )
    axes.set_axis_off()


def _outlined(analysis: "Analysis", colours: list[str], step: int) -> NDArray[np.uint8]:
    from matplotlib.colors import to_rgb

    pixels = np.array(analysis.image.pixels[::step, ::step])
    labels = analysis.masks.labels[::step, ::step]
    nuclei = np.where(analysis.masks.nucleus[::step, ::step], labels, 0)
    width = max(1, round(max(labels.shape) / 500))
    table = np.zeros((labels.max(initial=0) + 1, 3))
    table[analysis.masks.cell_id] = np.reshape([to_rgb(colour) for colour in colours], (-1, 3))
    for area, thickness, shade in ((nuclei, 1, 0.55), (labels, width, 1.0)):
        edge = rings(area, thickness)
        pixels[edge] = 255 * shade * table[area[edge]]
    return pixels
