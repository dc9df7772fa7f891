"""Classes that a lab has beside the usual ones, as it lists them itself: a table with the columns class and
parent. Beside the cells it is called ``classes.csv``; elsewhere it is named (``--classes``)."""

from collections.abc import Iterable
from pathlib import Path

from napari_bloodcell.core.errors import DataError, TaxonomyError
from napari_bloodcell.core.records import UNIDENTIFIED
from napari_bloodcell.core.rows import Row, read_rows
from napari_bloodcell.core.taxonomy import COARSE, DEFAULT, Taxonomy, normalise

FILE_NAME = "classes.csv"


def own_classes(folders: Iterable[Path]) -> Taxonomy | None:
    """The list in the first of these folders that has one."""
    found = next((path for folder in folders if (path := folder / FILE_NAME).is_file()), None)
    return None if found is None else read_classes(found)


def read_classes(path: Path) -> Taxonomy:
    """The usual classes and those of the table; an empty parent: the class stands on its own."""
    table = read_rows(path)
    if "class" not in table.columns:
        raise DataError(
            f"{path} has the columns {table.has}; it takes class, and parent where a class has one."
        )
    parents: dict[str, str | None] = {}
    for row in table.rows:
        name, parent = normalise(row.get("class")) or row.get("class"), _parent(path, row)
        if parents.setdefault(name, parent) != parent:
            raise DataError(f"{path}, line {row.line}: {name} is there twice. Keep one line for each class.")
        if name in COARSE or name == UNIDENTIFIED:
            raise DataError(f"{path}, line {row.line}: {name} is known already. List your own only.")
    try:
        return Taxonomy.of_lab(parents)
    except TaxonomyError as error:
        raise DataError(f"{path}: {error}") from error


def _parent(path: Path, row: Row) -> str | None:
    """The class a coarse count puts it under: one that is known, or none."""
    written = row.get("parent")
    if not written:
        return None
    try:
        return DEFAULT.coarse(DEFAULT.resolve(written))
    except TaxonomyError as error:
        raise DataError(
            f"{path}, line {row.line}: the parent {written!r} is no class. It takes one of "
            f"{', '.join(DEFAULT.names)}, or nothing where the class stands on its own."
        ) from error


def with_own(path: Path | None) -> Taxonomy:
    """The usual classes, and those of a table where one is given."""
    return DEFAULT if path is None else read_classes(path)
