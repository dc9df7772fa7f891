"""What people said of the cells: their tables, and one answer from several.

A table is a CSV with the columns image, cell_id and cell_type (and perhaps source, the path of the image,
which goes first); an empty cell_type is a cell not looked at. So is a row whose cell_type_source names no
person, where there is that column, unless its class is another than the model's: a table written by the
program and corrected by hand can be given as it is. Where there is a column person the readers are called as
it says, else as the file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from napari_bloodcell.core.cell_tables import by_person
from napari_bloodcell.core.errors import DataError, TaxonomyError
from napari_bloodcell.core.records import PERSON, UNIDENTIFIED
from napari_bloodcell.core.rows import read_rows, whole_number
from napari_bloodcell.core.taxonomy import DEFAULT, Taxonomy

COLUMNS = ("image", "cell_id", "cell_type")

Cell = tuple[str, int]  # image and cell_id
Answers = Mapping[Cell, str]


@dataclass(frozen=True, kw_only=True)
class Reader:
    name: str
    answers: Answers
    is_named: bool = False  # by the table itself, not after its file


def read_readers(paths: Sequence[Path], taxonomy: Taxonomy = DEFAULT) -> list[Reader]:
    """One table is given once: twice, it would agree with itself. A person whose name stands in several is
    one reader, unless two tables have the same cells."""
    tables = [(Path(path), read_table(Path(path), taxonomy)) for path in paths]
    for at, path in enumerate(paths):
        if any(Path(one).samefile(path) for one in paths[:at]):
            raise DataError(f"{path} is given as two readers: it would agree with itself. Name it once.")
    found: dict[str, list[tuple[Path, Reader]]] = {}
    for path, readers in tables:
        for reader in readers:
            found.setdefault(reader.name, []).append((path, reader))
    return [reader for same in found.values() for reader in _of_one_name(same)]


def _of_one_name(found: Sequence[tuple[Path, Reader]]) -> list[Reader]:
    cells = [cell for _, reader in found for cell in reader.answers]
    if len(found) == 1:
        return [found[0][1]]
    if all(reader.is_named for _, reader in found) and len(set(cells)) == len(cells):
        answers = {cell: said for _, reader in found for cell, said in reader.answers.items()}
        return [replace(found[0][1], answers=answers)]
    files = [path.name for path, _ in found]
    told = files if len(set(files)) == len(files) else [str(path) for path, _ in found]
    return [
        replace(reader, name=f"{reader.name} ({where})")
        for (_, reader), where in zip(found, told, strict=True)
    ]


def read_table(path: Path, taxonomy: Taxonomy = DEFAULT) -> list[Reader]:
    """The people of a table, one at least. An unknown class is named with its line."""
    table = read_rows(path)
    if not set(COLUMNS) <= set(table.columns) or not table.rows:
        has = f"it has {table.has}" if table.rows else "it has no rows"
        raise DataError(f"{path} needs the columns {', '.join(COLUMNS)}; {has}.")
    people: dict[str, dict[Cell, str]] = {}
    for row in table.rows:
        line, said = row.line, row.get("cell_type")
        if not said or not by_person(row, said):
            continue
        answers = people.setdefault(row.get(PERSON), {})
        cell = (row.get("source") or row.get("image"), _number(path, line, row.get("cell_id")))
        if cell in answers:
            raise DataError(f"{path}, line {line}: cell {cell[1]} of {cell[0]} is there twice. Keep one row.")
        answers[cell] = _class_of(path, line, said, taxonomy)
    return [
        Reader(name=name or Path(path).stem, answers=answers, is_named=bool(name))
        for name, answers in (people or {"": {}}).items()
    ]


def _number(path: Path, line: int, text: str) -> int:
    try:
        return whole_number(text)
    except ValueError as error:
        raise DataError(f"{path}, line {line}: cell_id {text!r} is no whole number.") from error


def _class_of(path: Path, line: int, said: str, taxonomy: Taxonomy) -> str:
    if said.lower() == UNIDENTIFIED:
        return UNIDENTIFIED
    try:
        return taxonomy.resolve(said)
    except TaxonomyError as error:
        raise DataError(f"{path}, line {line}: {error}") from error


def merge(readers: Sequence[Reader]) -> dict[Cell, str]:
    """One answer a cell. Where two differ, a third decides; without one the cell is unidentified."""
    merged: dict[Cell, str] = {}
    for cell in dict.fromkeys(cell for reader in readers for cell in reader.answers):
        said = [reader.answers[cell] for reader in readers if cell in reader.answers]
        counts = {name: said.count(name) for name in said}
        best = max(counts.values())
        leading = [name for name, n in counts.items() if n == best]
        merged[cell] = leading[0] if len(leading) == 1 else UNIDENTIFIED
    return merged
