"""A report as a PDF, for an archive that keeps no HTML: the count, the slides, the doubtful cells."""

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_bloodcell.core.artifact import atomic_path
from napari_bloodcell.core.figure import as_written
from napari_bloodcell.core.report.chart import draw
from napari_bloodcell.core.report.differential import RESEARCH_USE, to_text
from napari_bloodcell.core.report.patients import to_text_of
from napari_bloodcell.core.words import how_many

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from napari_bloodcell.core.report.gallery import Doubtful
    from napari_bloodcell.core.report.make import Report

A4_INCHES = (8.27, 11.69)
LINES, WIDTH = 92, 112  # of a page of small print
LEAST_BAR = 0.008  # of the height of the page, for a class in the chart
ROWS, COLUMNS = 7, 5  # of a page of cells


def write_pdf(path: Path, report: "Report") -> None:
    from matplotlib.backends.backend_pdf import PdfPages

    with atomic_path(path) as temporary, PdfPages(temporary, metadata={"Title": report.config.title}) as pdf:
        for page in _pages(report):
            with as_written(page):
                pdf.savefig(page)


def _pages(report: "Report") -> "Iterator[Figure]":
    said = _said(report)
    room = _room(report)
    yield _first(report, said[:room])
    lines = [line for text in (*said[room:], *_texts(report)) for line in _wrapped(text)]
    for start in range(0, len(lines), LINES):
        page = _page(report, "Slides and provenance")
        page.text(
            0.07, 0.92, "\n".join(lines[start : start + LINES]), va="top", family="monospace", fontsize=6.5
        )
        yield page
    for start in range(0, len(report.doubtful), ROWS * COLUMNS):
        yield _cells(report, report.doubtful[start : start + ROWS * COLUMNS])


def _said(report: "Report") -> list[str]:
    """Lines of the first page, above the count."""
    said = [
        *report.warnings,
        report.pooled.enough.text(),
        *report.said_by_people(),
        *report.calibration,
        report.made_of(),
    ]
    return [line for text in said for part in text.splitlines() for line in textwrap.wrap(part, 100)]


def _room(report: "Report") -> int:
    """How many of these lines leave the count and its chart their place."""
    d = report.pooled.differential
    left = 0.78 - 0.0125 * len(to_text(d).splitlines()) - LEAST_BAR * d.lines
    return max(3, int(left / 0.0165))


def _first(report: "Report", lines: list[str]) -> "Figure":
    page = _page(report, report.config.title)
    d = report.pooled.differential
    page.text(0.07, 0.92, "\n".join(lines), va="top", fontsize=8.5, linespacing=1.5)
    table = 0.90 - 0.0165 * len(lines)
    page.text(0.07, table, to_text(d), va="top", family="monospace", fontsize=8)
    chart = table - 0.0125 * len(to_text(d).splitlines()) - 0.02
    height = min(0.04 * d.lines, chart - 0.1)
    draw(page.add_axes((0.24, chart - height, 0.66, height)), d)
    return page


def _texts(report: "Report") -> Iterator[str]:
    if len(report.slides) > 1:
        for slide in report.slides:
            yield f"{slide.name} ({how_many(len(slide.images), 'image')}). {slide.enough.text()}"
            yield from to_text(slide.differential).splitlines()[:-1]
            yield ""
    for patient in report.patients:
        yield from to_text_of(patient).splitlines()
        yield ""
    for run in report.runs:
        yield (
            f"{run.slide}  {run.image['name']}  sha256 {run.image['sha256']}  model {run.bundle['name']} "
            f"{run.bundle['sha256'][:12]}  {run.record.get('finished', '')}"
        )
    yield from report.notes


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="    ", drop_whitespace=False) or [""]


def _cells(report: "Report", cells: "Sequence[Doubtful]") -> "Figure":
    page = _page(report, "Least certain cells nobody has reviewed")
    for place, cell in enumerate(cells):
        row, column = divmod(place, COLUMNS)
        axes = page.add_axes((0.07 + 0.175 * column, 0.84 - 0.122 * row, 0.15, 0.08))
        axes.set_axis_off()
        if cell.pixels is not None:
            axes.imshow(cell.pixels)
        guess = cell.guess.replace(", ", "\n")
        label = f"{cell.cell_type.replace('_', ' ')}\n{guess}\n{cell.image[-24:]}, {cell.cell_id}"
        axes.text(0, -0.03, label, transform=axes.transAxes, va="top", fontsize=6)
    return page


def _page(report: "Report", title: str) -> "Figure":
    from matplotlib.figure import Figure

    page = Figure(figsize=A4_INCHES)
    page.text(0.07, 0.95, title, fontsize=14, weight="bold")
    page.text(
        0.07, 0.03, f"{RESEARCH_USE}  {report.config.title}, {report.made_text}", fontsize=7, color="#9B2D00"
    )
    return page
