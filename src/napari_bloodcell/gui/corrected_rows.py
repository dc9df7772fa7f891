"""The table of cells after their outlines were corrected, or a correction was taken back."""

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.core.records import UNIDENTIFIED

if TYPE_CHECKING:
    import pandas as pd

BOX = ("x0", "y0", "x1", "y1")
# What says of which class a cell is, and who says so: true of the cell, whatever its outline.
CLASS = (
    *("cell_type", "cell_type_prob", "cell_type_source", "best", "second", "second_prob"),
    *("possible", "doubt"),
)


def rows_after(
    features: "pd.DataFrame", labels: Any, touched: tuple[int, ...], known: "pd.DataFrame | None"
) -> "pd.DataFrame":
    """The table of cells after an edit: a row for each cell that is there. A cell whose outline changed keeps
    its class; what was measured of it is not true any more and is left empty, unless its row is ``known``
    from the last time that it had this outline."""
    there = [int(i) for i in touched if (labels == i).any()]
    others = features["index"][~features["index"].isin(touched)].to_numpy(int)
    ids = np.sort(np.concatenate([others, np.asarray(there, int)]))
    table = features.set_index("index", drop=False).rename_axis(None)
    table = table[~table.index.duplicated()].reindex(ids)
    _name_new(table, [cell for cell in there if cell not in set(features["index"])])
    for cell in there:
        _measure(table, cell, _box(labels, cell), labels.shape)
    if known is not None:
        _put_back(table, known, there, set(features["index"]))
    for name in table:
        table[name] = _like(table[name], features[name].dtype)
    return table.reset_index(drop=True)


def without_match(features: "pd.DataFrame", labels: Any) -> tuple[int, ...]:
    """Cells in the table that are not drawn, and those drawn that are not in the table."""
    is_drawn = np.zeros(int(labels.max(initial=0)) + 1, bool)
    is_drawn[labels] = True
    differ = np.setxor1d(np.flatnonzero(is_drawn), features["index"].to_numpy(int))
    return tuple(int(cell) for cell in differ if cell > 0)


def _name_new(table: "pd.DataFrame", cells: list[int]) -> None:
    """Nobody has said yet what they are."""
    for name, value in (("cell_type", UNIDENTIFIED), ("cell_type_source", "")):
        if name in table:
            table[name] = _with(table[name], cells, [value] * len(cells))


def _measure(
    table: "pd.DataFrame", cell: int, box: tuple[int, int, int, int], shape: tuple[int, ...]
) -> None:
    measured = {"index": cell, "label": cell, "touches_border": _at_border(box, shape)}
    measured |= dict(zip(BOX, box, strict=True))
    for name in table:
        if name in measured:
            table[name] = _with(table[name], [cell], [measured[name]])
        elif name not in CLASS and table[name].dtype.kind == "f":
            table[name] = _with(table[name], [cell], [np.nan])


def _put_back(table: "pd.DataFrame", known: "pd.DataFrame", there: list[int], present: set[int]) -> None:
    """A cell that was there all along keeps the class it has now: somebody may have given it since. The table
    may have got columns since."""
    rows = known.set_index("index", drop=False)
    back = [cell for cell in there if cell in rows.index]
    returned = [cell for cell in back if cell not in present]
    for name in table:
        if name in rows:
            which = returned if name in CLASS else back
            table[name] = _with(table[name], which, rows[name].loc[which].tolist())


def _with(column: Any, where: list[int], values: list[Any]) -> Any:
    plain = column.astype(object)
    plain.loc[where] = values
    return plain


def _like(column: Any, dtype: Any) -> Any:
    import pandas as pd

    if isinstance(dtype, pd.CategoricalDtype):
        values = column.astype(object)
        more = [one for one in dict.fromkeys(values.dropna()) if one not in dtype.categories]
        return pd.Categorical(values, categories=[*dtype.categories, *more])
    if dtype.kind == "f":
        return pd.to_numeric(column).astype(dtype)
    if dtype.kind in "iub" and not column.isna().any():
        return column.astype(dtype)
    return column


def _box(labels: Any, cell: int) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(labels == cell)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def _at_border(box: tuple[int, int, int, int], shape: tuple[int, ...]) -> bool:
    x0, y0, x1, y1 = box
    return x0 <= 0 or y0 <= 0 or x1 >= shape[1] or y1 >= shape[0]
