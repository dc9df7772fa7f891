"""The cells to look at next as a page: each with its picture, where it lies, and the model's guesses."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_bloodcell.core.artifact import write_bytes
from napari_bloodcell.core.cell_places import CellPlaces
from napari_bloodcell.core.report.gallery import Doubtful, Shown, pictures
from napari_bloodcell.core.report.page import cells_page
from napari_bloodcell.core.report.slides import RUN, read_runs, together

if TYPE_CHECKING:
    import pandas as pd

HOW = (
    "In the order in which they teach the model most. Write the right class over the guess in {table}, and "
    "your name under person; a line without a name was not looked at."
)

Cell = tuple[str, int]  # as in the columns image and cell_id


def write_page(path: Path, table: Path, tables: Sequence[Path], cells: Sequence[Cell]) -> bool:
    """False where none of the tables lies in results of ``analyse``: others do not say where cells lie."""
    results = [one for one in tables if one.is_dir() and next(one.rglob(RUN), None) is not None]
    found = _pictured(results, cells) if results else []
    if not found:
        return False
    page = cells_page(f"{len(found)} cells to look at", HOW.format(table=table.name), found)
    write_bytes(path, page.encode())
    return True


def _pictured(results: Sequence[Path], cells: Sequence[Cell]) -> list[Doubtful]:
    runs = read_runs(results)
    table = together(runs)
    if not len(table):
        return []
    origins = {
        (str(run.folder), str(run.image["source"])): Shown(str(run.image["sha256"]), run.page) for run in runs
    }
    return pictures(table, _rows(table, cells), origins)


def _rows(table: "pd.DataFrame", cells: Sequence[Cell]) -> list[int]:
    places = CellPlaces(table["image"], table["source"], table["cell_id"])
    found = [places.rows(*cell) for cell in cells]
    return [rows[0] for rows in found if len(rows) == 1]
