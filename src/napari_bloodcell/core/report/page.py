"""A report as one HTML file that needs nothing else, made to be printed on A4 or Letter."""

import io
import json
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from napari_bloodcell.core.figure import as_written
from napari_bloodcell.core.palette import colour_of
from napari_bloodcell.core.report.chart import draw
from napari_bloodcell.core.report.differential import NOT_KNOWN, RESEARCH_USE, Differential, state_of
from napari_bloodcell.core.report.style import CSS

if TYPE_CHECKING:
    from napari_bloodcell.core.report.counting import SlideCount
    from napari_bloodcell.core.report.gallery import Doubtful
    from napari_bloodcell.core.report.make import Report


def to_html(report: "Report") -> str:
    parts = [
        _head(report),
        _pooled(report),
        _by_slide(report),
        _by_patient(report),
        _disputed(report),
        _gallery(report.doubtful),
        _provenance(report),
        f"<footer>{escape(RESEARCH_USE)}</footer>",
    ]
    return _page(report.config.title, parts)


def cells_page(title: str, text: str, cells: "Sequence[Doubtful]") -> str:
    """Pictures of cells, numbered, and what to do with them."""
    head = f"<header><h1>{escape(title)}</h1><p>{escape(text)}</p></header>"
    figures = "".join(_figure(cell, f"{number}. ") for number, cell in enumerate(cells, 1))
    foot = f"<footer>{escape(RESEARCH_USE)}</footer>"
    return _page(title, [head, f'<section><div class="gallery">{figures}</div></section>', foot])


def _page(title: str, parts: Iterable[str]) -> str:
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{CSS}</style></head>\n<body>\n'
        + "\n".join(part for part in parts if part)
        + "\n</body></html>\n"
    )


def _head(report: "Report") -> str:
    return (
        f"<header><h1>{escape(report.config.title)}</h1>"
        f'<p class="warning">{escape(RESEARCH_USE)}</p>'
        f"<p>{escape(report.made_of())}</p>" + "".join(map(_warning, report.warnings)) + "</header>"
    )


def _warning(text: str) -> str:
    """Its first line, and a list of what it is about where there are more."""
    head, *each = text.split("\n- ")
    listed = "".join(f"<li>{escape(one)}</li>" for one in each)
    return f'<p class="open"><b>{escape(head)}</b></p>' + (f"<ul>{listed}</ul>" if each else "")


def _pooled(report: "Report") -> str:
    pooled = report.pooled
    state = "good" if pooled.enough.now else "open"
    said = [f'<p class="{state}"><b>{escape(pooled.enough.text())}</b></p>', f"<p>{_state(pooled)}</p>"]
    said += [f"<p>{escape(text)}</p>" for text in (*report.said_by_people(), *report.calibration)]
    return (
        f"<section><h2>{'All slides' if len(report.slides) > 1 else 'Differential'}</h2>"
        f'<div class="two"><div>{_table(pooled.differential)}</div>'
        f"<div>{_chart(pooled.differential)}</div></div>" + "".join(said) + "</section>"
    )


def _state(slide: "SlideCount") -> str:
    return escape(state_of(slide.differential))


def _table(d: Differential) -> str:
    head = ("class", "n", "%", f"{100 * d.confidence:g} % limits")
    rows = []
    for row in d.rows:
        limits = f"{row.low:.1f} to {row.high:.1f}" if d.counted else "-"
        swatch = f'<i style="background:{colour_of(row.class_name)}"></i>'
        rows.append((swatch + _named(row.class_name), str(row.n), f"{row.percent:.1f}", limits))
    rows += [(_named(name), "-", "-", NOT_KNOWN) for name in d.unknown]
    rows.append(("<b>white cells</b>", f"<b>{d.counted}</b>", "", ""))
    for name, n in d.outside.items():
        rate = d.per_hundred.get(name)
        note = "outside the count" if rate is None else f"{rate:.1f} per 100 white cells"
        rows.append((_named(name), str(n), "", note))
    return _rows(head, rows, "differential")


def _by_slide(report: "Report") -> str:
    """One row a slide. Left out where there is only one."""
    if len(report.slides) < 2:
        return ""
    shown = [row.class_name for row in report.pooled.differential.rows if row.n]
    rows = []
    for slide in report.slides:
        d = slide.differential
        cells = _shares(d, shown)
        enough = "enough" if slide.enough.now else f"about {slide.enough.more} more"
        rows.append((escape(slide.name), str(len(slide.images)), str(d.counted), *cells, enough))
    head = ("slide", "images", "cells", *(_named(name) for name in shown), "count")
    note = "<p>In per cent of the slide's white cells, with the limits; classes that were found.</p>"
    return f"<section><h2>By slide</h2>{_rows(head, rows, 'slides', escaped=True)}{note}</section>"


def _by_patient(report: "Report") -> str:
    """One row a patient, also a single one; below it how far the slides of each differ."""
    if not report.patients:
        return ""
    shown = [row.class_name for row in report.pooled.differential.rows if row.n]
    rows = [
        (
            escape(patient.name),
            str(len(patient.slides)),
            str(patient.images),
            str(patient.differential.counted),
            *_shares(patient.differential, shown),
        )
        for patient in report.patients
    ]
    head = ("patient", "slides", "images", "cells", *(_named(name) for name in shown))
    spread = "".join(
        f"<p><b>{escape(patient.name)}</b>: {escape(text)}</p>"
        for patient in report.patients
        if (text := patient.spread_text())
    )
    note = "<p>All slides of a patient together, in per cent, with exact limits; classes that were found.</p>"
    return f"<section><h2>By patient</h2>{_rows(head, rows, 'slides', escaped=True)}{note}{spread}</section>"


def _shares(d: Differential, shown: Sequence[str]) -> list[str]:
    """Per cent and limits of these classes, as HTML."""
    by_name = {row.class_name: row for row in d.rows}
    cells = []
    for name in shown:
        row = by_name.get(name)
        if name in d.unknown:
            cells.append('<span class="none">not known</span>')
        elif row is None or not row.n:
            cells.append('<span class="none">0</span>')
        else:
            cells.append(f"{row.percent:.1f}<small>{row.low:.0f} to {row.high:.0f}</small>")
    return cells


def _disputed(report: "Report") -> str:
    agreed = report.agreement
    if agreed is None or not agreed.disputed:
        return ""
    rows = [(escape(c[0]), str(c[1]), *(_named(said) for said in each)) for c, each in agreed.disputed]
    note = "<p>What most readers said counts; where no class leads, the cell is unidentified.</p>"
    head = ("image", "cell", *agreed.readers)
    return f"<section><h2>Cells the readers disagree on</h2>{note}{_rows(head, rows, 'plain')}</section>"


def _gallery(cells: "Sequence[Doubtful]") -> str:
    if not cells:
        return ""
    return (
        "<section><h2>Least certain cells nobody has reviewed</h2>"
        f'<div class="gallery">{"".join(map(_figure, cells))}</div></section>'
    )


def _figure(cell: "Doubtful", number: str = "") -> str:
    picture = (
        f'<img src="{cell.data_uri()}" alt="cell {cell.cell_id}">'
        if cell.pixels is not None
        else '<span class="gone">image not there, or changed</span>'
    )
    doubt = f"<br><em>{escape(cell.doubt)}</em>" if cell.doubt else ""
    return (
        f'<figure style="border-color:{colour_of(cell.cell_type)}">{picture}<figcaption>'
        f"<b>{number}{_named(cell.cell_type)}</b><br>{escape(cell.guess)}{doubt}"
        f"<br><small>{escape(cell.image)}, cell {cell.cell_id}</small></figcaption></figure>"
    )


def _provenance(report: "Report") -> str:
    rows = []
    for run in report.runs:
        scale = run.record.get("scale") or {}
        um = scale.get("um_per_px")
        size = "unknown" if um is None else f"{um:.4f} µm ({scale.get('from')})"
        bundle = f"{run.bundle['name']} {str(run.bundle['sha256'])[:12]}"
        hashed = str(run.image["sha256"])[:12]
        texts = (run.slide, run.image["name"], hashed, size, bundle, _time(run.record.get("finished")))
        rows.append(tuple(escape(str(text)) for text in texts))
    head = ("slide", "image", "SHA-256", "pixel", "model", "analysed")
    models = dict.fromkeys(f"{run.bundle['name']}: {run.bundle['title']}" for run in report.runs)
    versions = dict.fromkeys(
        ", ".join(f"{name} {value}" for name, value in (run.record.get("versions") or {}).items())
        for run in report.runs
    )
    settings = dict.fromkeys(json.dumps(run.config, sort_keys=True) for run in report.runs)
    said = [*models, *(f"Computed with {text}." for text in versions if text), *report.notes]
    return (
        f"<section><h2>Where this comes from</h2>{_rows(head, rows, 'plain')}"
        + "".join(f"<p>{escape(text)}</p>" for text in said)
        + "".join(
            f"<details><summary>Settings</summary><pre>{escape(text)}</pre></details>" for text in settings
        )
        + "</section>"
    )


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str, *, escaped: bool = False) -> str:
    """Cells are HTML already; the head is text unless told."""
    top = "".join(f"<th>{text if escaped else escape(text)}</th>" for text in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<table class="{kind}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'


def _chart(differential: Differential) -> str:
    """As SVG, inside the page."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 0.8 + 0.4 * max(differential.lines, 3)), layout="constrained")
    draw(figure.add_subplot(), differential)
    out = io.StringIO()
    with as_written(figure):
        figure.savefig(out, format="svg", metadata={"Date": None})
    svg = out.getvalue()
    return re.sub(r"^.*?(?=<svg)", "", svg, flags=re.DOTALL)


def _time(text: object) -> str:
    return str(text or "").replace("T", " ").removesuffix("+00:00")


def _named(class_name: str) -> str:
    return escape(class_name.replace("_", " "))
