"""A differential on disk: JSON with its header, CSV, and a picture."""

from pathlib import Path
from typing import Any

from napari_bloodcell.core.artifact import write_bytes, write_json
from napari_bloodcell.core.report.chart import draw_to_file
from napari_bloodcell.core.report.differential import NOT_KNOWN, Differential, state_of, to_json
from napari_bloodcell.core.rows import csv_text


def write_differential(
    folder: Path, differential: Differential, *, title: str, parents: dict[str, str], picture: bool = True
) -> None:
    """``differential.json``, ``.csv`` and ``.png`` in a folder."""
    write_json(folder / "differential.json", "differential", to_json(differential), parents=parents)
    write_bytes(folder / "differential.csv", _to_csv(differential).encode())
    if picture:
        draw_to_file(folder / "differential.png", differential, title=title)


def _to_csv(d: Differential) -> str:
    table: list[list[Any]] = [["class", "n", "percent", "low", "high", "in_denominator", "note"]]
    for row in d.rows:
        numbers = [f"{v:.2f}" for v in (row.percent, row.low, row.high)]
        table.append([row.class_name, row.n, *numbers, "yes", ""])
    table += [[name, "", "", "", "", "no", NOT_KNOWN] for name in d.unknown]
    for name, n in d.outside.items():
        rate = d.per_hundred.get(name)
        note = "" if rate is None else f"{rate:.1f} per 100 white cells"
        table.append([name, n, "", "", "", "no", note])
    table.append(["white cells", d.counted, "", "", "", "", f"{state_of(d)} {d.research_use}"])
    return csv_text(table)
