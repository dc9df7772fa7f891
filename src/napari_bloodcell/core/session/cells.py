"""The outlines and the table of one image's cells, in one file, whole or not at all."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.core.artifact import read_arrays, write_arrays
from napari_bloodcell.core.records import BoolArray, IntArray
from napari_bloodcell.core.session.audit import ACTIONS_ON_CLASSES, Event

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

COLUMN = "column:"


@dataclass(frozen=True, kw_only=True, eq=False)
class SessionCells:
    """``table`` has one row a cell, with ``label``; ``made_from`` says what made it (model, config)."""

    labels: IntArray  # H x W
    nucleus: BoolArray  # H x W
    table: "pd.DataFrame"
    made_from: "Mapping[str, Any]"
    holds: int = 0  # number of the last change that is in it


def write_cells(path: Path, cells: SessionCells, holds: int) -> str:
    numbers = [name for name in cells.table if cells.table[name].dtype.kind in "biuf"]
    texts = [name for name in cells.table if name not in numbers]
    arrays = {f"{COLUMN}{name}": cells.table[name].to_numpy() for name in numbers}
    config = {
        "holds": holds,
        "made_from": dict(cells.made_from),
        "columns": list(cells.table),
        "texts": {name: [_text(value) for value in cells.table[name]] for name in texts},
    }
    arrays |= {"labels": cells.labels.astype(np.int32), "nucleus": cells.nucleus.astype(np.bool_)}
    return write_arrays(path, "session-cells", arrays, config=config)


def read_cells(path: Path) -> SessionCells:
    import pandas as pd

    header, arrays = read_arrays(path, "session-cells")
    texts = header.config["texts"]
    columns = {
        name: pd.Series(texts[name], dtype="object") if name in texts else arrays[COLUMN + name]
        for name in header.config["columns"]
    }
    return SessionCells(
        labels=arrays["labels"],
        nucleus=arrays["nucleus"],
        table=pd.DataFrame(columns),
        made_from=header.config["made_from"],
        holds=int(header.config["holds"]),
    )


def with_changes(cells: SessionCells, events: "Iterable[Event]") -> SessionCells:
    """The cells after the changes of class that came later than the file. A cell that is gone stays gone."""
    later = {e.cell_id: e for e in events if e.n > cells.holds and e.action in ACTIONS_ON_CLASSES}
    if not later:
        return cells
    table = cells.table.copy()
    for name in ("cell_type", "cell_type_source"):
        table[name] = table[name].astype("object") if name in table else ""
    rows = {int(label): row for row, label in enumerate(table["label"])}
    for cell_id, event in later.items():
        if cell_id in rows:
            table.loc[table.index[rows[cell_id]], ["cell_type", "cell_type_source"]] = [event.new, event.note]
    return replace(cells, table=table, holds=max(e.n for e in later.values()))


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value)  # noqa: PLR0124 (NaN)
