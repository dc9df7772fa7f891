"""Predictions -> Differential -> what a person reads, prints and keeps.

``differential`` counts, ``enough`` says when to stop counting, ``readers`` and ``agreement`` compare people,
``slides`` reads what ``analyse`` left on disk, ``sessions`` what a session's folder holds, ``patients`` puts
slides together, ``make`` turns it all into a report.
"""

from napari_bloodcell.core.report.chart import draw, draw_to_file
from napari_bloodcell.core.report.differential import (
    RESEARCH_USE,
    CountRow,
    Differential,
    count,
    count_cells,
    digest_of,
    exact_limits,
    state_of,
    to_json,
    to_text,
)
from napari_bloodcell.core.report.files import write_differential

__all__ = [
    "RESEARCH_USE",
    "CountRow",
    "Differential",
    "count",
    "count_cells",
    "digest_of",
    "draw",
    "draw_to_file",
    "exact_limits",
    "state_of",
    "to_json",
    "to_text",
    "write_differential",
]
