"""Small tables as people and their programs save them: commas, semicolons or tabs, Excel's byte-order mark,
blank lines, spaces beside the commas, the line ``sep=;`` before the table.

And tables as we write them: a spreadsheet would run a text that begins like a formula, so it gets an
apostrophe before it, which is taken away where the table is read again.
"""

import csv
import io
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_bloodcell.core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = "=+-@\t\r"


@dataclass(frozen=True)
class Row:
    line: int  # in the file, as an editor counts
    values: dict[str, str]  # by column; "" where the row is short

    def get(self, column: str) -> str:
        """ "" where there is no such column."""
        return self.values.get(column, "")


@dataclass(frozen=True)
class Rows:
    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def has(self) -> str:
        """Its columns, for a message."""
        return ", ".join(self.columns) or "(none)"


def read_rows(path: Path) -> Rows:
    """Every row that says anything. Words stay words: a slide may be called NA."""
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path} is a folder; a table (CSV) is needed here. Name the file.")
    if not path.exists():
        raise DataError(f"There is no table {path}. Check its name, and the folder you are in.")
    try:
        text, delimiter = separated(text_of(path))
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        lines = [(reader.line_num, [plain(value.strip()) for value in values]) for values in reader]
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} cannot be read as a table: its letters are not in UTF-8. Save it as CSV in UTF-8 (in "
            'Excel: "CSV UTF-8" among the file types).'
        ) from error
    except (OSError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table ({error}). Save it as CSV in UTF-8.") from error
    lines = [(line, values) for line, values in lines if any(values)]
    columns = tuple(name.lower() for name in _without_empty_ends(lines[0][1])) if lines else ()
    return Rows(path, columns, tuple(_row(path, columns, line, values) for line, values in lines[1:]))


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """A table to be opened in a spreadsheet, numbers with a point."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([harmless(value) for value in row] for row in rows)
    return out.getvalue()


def harmless_table(table: "pd.DataFrame") -> "pd.DataFrame":
    """The same, to be written as CSV."""
    texts = [name for name in table if table[name].dtype.kind == "O"]
    return table.assign(**{str(name): table[name].astype(object).map(harmless) for name in texts})


def harmless(value: Any) -> Any:
    """Text that begins like a formula, unless it is a number."""
    is_formula = isinstance(value, str) and len(value) > 1 and value[0] in _FORMULA and not _is_number(value)
    return f"'{value}" if is_formula else value


def plain(value: Any) -> Any:
    """As it was before ``harmless``."""
    is_told = isinstance(value, str) and value[:1] == "'" and harmless(value[1:]) == value
    return value[1:] if is_told else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def whole_number(text: str) -> int:
    """Programs that know only numbers with a point write 1 as 1.0; in some countries as 1,0."""
    return int(re.sub(r"(?<=\d)[.,]0{1,2}$", "", text))


def text_of(path: Path) -> str:
    """UTF-8, or UTF-16 where a mark at the start says so ("Unicode text" of spreadsheets)."""
    stored = path.read_bytes()
    return stored.decode("utf-16" if stored.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig")


def separated(text: str) -> tuple[str, str]:
    """Spreadsheets may say in a line before the table what it is separated by: ``sep=;``."""
    first, end, rest = text.partition("\n")
    said = re.fullmatch(r'"?sep=(.)"?\r?', first, re.IGNORECASE)
    return (f"\n{rest}", said[1]) if said and end else (text, delimiter_of(text))


def delimiter_of(text: str) -> str:
    """What the first line is separated by."""
    return max(",;\t", key=text.lstrip().partition("\n")[0].count)


def _row(path: Path, columns: tuple[str, ...], line: int, values: list[str]) -> Row:
    values = _without_empty_ends(values)
    if len(values) > len(columns):
        raise DataError(
            f"{path}, line {line}: {len(values)} fields, but the first line names {len(columns)} columns. "
            "Put a text that holds a comma in quotes, or name the columns that are missing."
        )
    return Row(line, dict(zip(columns, values + [""] * (len(columns) - len(values)), strict=True)))


def _without_empty_ends(values: list[str]) -> list[str]:
    """Spreadsheets write commas after the last column."""
    while values and not values[-1]:
        values = values[:-1]
    return values
