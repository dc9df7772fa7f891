"""What people said of the cells: their tables, how far two of them agree, and one answer from both.

A table is a CSV with the columns image, cell_id and cell_type (and perhaps source, the path of the image,
which goes first); an empty cell_type is a cell not looked at. So is a row whose cell_type_source names no
person, where there is that column, unless its class is another than the model's: a table written by the
program and corrected by hand can be given as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_bloodcell.core.cell_tables import by_person
from napari_bloodcell.core.errors import DataError, TaxonomyError
from napari_bloodcell.core.records import UNIDENTIFIED
from napari_bloodcell.core.rows import read_rows, whole_number
from napari_bloodcell.core.taxonomy import DEFAULT, Taxonomy

COLUMNS = ("image", "cell_id", "cell_type")

LEAST_FOR_LIMITS = 20  # the limits are those of large samples

Cell = tuple[str, int]  # image and cell_id
Answers = Mapping[Cell, str]


@dataclass(frozen=True, kw_only=True)
class Reader:
    name: str
    answers: Answers


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Of the cells both looked at. ``kappa`` is 1 for full agreement, 0 for what chance alone would give."""

    readers: tuple[str, str]
    cells: int
    agreed: int
    kappa: float | None  # None where both gave one and the same class to all
    low: float | None  # neither limit, where there are few cells
    high: float | None
    disputed: tuple[tuple[Cell, str, str], ...]

    @property
    def share(self) -> float:
        return self.agreed / self.cells if self.cells else 0.0

    def text(self) -> str:
        first, second = self.readers
        if not self.cells:
            return f"{first} and {second} looked at no cell in common."
        said = f"{first} and {second} agree on {self.agreed} of {self.cells} cells ({self.share:.0%})"
        if self.kappa is None:
            return f"{said}; kappa is not defined: both gave one class to all."
        if self.low is None:
            limits = f"fewer than {LEAST_FOR_LIMITS} cells: too few for its limits"
        else:
            limits = f"95 % limits {self.low:.2f} to {self.high:.2f}"
        return f"{said}, Cohen's kappa {self.kappa:.2f} ({limits})."


def read_readers(paths: Sequence[Path], taxonomy: Taxonomy = DEFAULT) -> list[Reader]:
    """One table is one person's: given twice, it would agree with itself."""
    people = [read_reader(Path(path), taxonomy) for path in paths]
    for at, path in enumerate(paths):
        if any(Path(one).samefile(path) for one in paths[:at]):
            raise DataError(f"{path} is given as two readers: it would agree with itself. Name it once.")
    return people


def read_reader(path: Path, taxonomy: Taxonomy = DEFAULT) -> Reader:
    """One person's table. An unknown class is named with its line."""
    table = read_rows(path)
    if not set(COLUMNS) <= set(table.columns) or not table.rows:
        has = f"it has {table.has}" if table.rows else "it has no rows"
        raise DataError(f"{path} needs the columns {', '.join(COLUMNS)}; {has}.")
    answers: dict[Cell, str] = {}
    for row in table.rows:
        line, said = row.line, row.get("cell_type")
        if not said or not by_person(row, said):
            continue
        cell = (row.get("source") or row.get("image"), _number(path, line, row.get("cell_id")))
        if cell in answers:
            raise DataError(f"{path}, line {line}: cell {cell[1]} of {cell[0]} is there twice. Keep one row.")
        answers[cell] = _class_of(path, line, said, taxonomy)
    return Reader(name=Path(path).stem, answers=answers)


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


def agreement(first: Reader, second: Reader) -> Agreement:
    """Cohen's kappa with the large-sample limits of Fleiss, Cohen and Everitt (1969)."""
    common = sorted(set(first.answers) & set(second.answers))
    pairs = [(first.answers[cell], second.answers[cell]) for cell in common]
    kappa, error = _kappa(pairs)
    is_few = len(pairs) < LEAST_FOR_LIMITS
    return Agreement(
        readers=(first.name, second.name),
        cells=len(common),
        agreed=sum(a == b for a, b in pairs),
        kappa=kappa,
        low=None if kappa is None or is_few else max(-1.0, kappa - 1.96 * error),
        high=None if kappa is None or is_few else min(1.0, kappa + 1.96 * error),
        disputed=tuple((cell, a, b) for cell, (a, b) in zip(common, pairs, strict=True) if a != b),
    )


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


def _kappa(pairs: Sequence[tuple[str, str]]) -> tuple[float | None, float]:
    if not pairs:
        return None, 0.0
    names = sorted({name for pair in pairs for name in pair})
    index = {name: i for i, name in enumerate(names)}
    table = np.zeros((len(names), len(names)))
    for a, b in pairs:
        table[index[a], index[b]] += 1
    table /= len(pairs)
    rows, columns, seen = table.sum(axis=1), table.sum(axis=0), float(np.trace(table))
    chance = float(rows @ columns)
    if np.isclose(chance, 1):
        return None, 0.0
    kappa = (seen - chance) / (1 - chance)
    diagonal = np.diag(table) * ((1 - chance) - (rows + columns) * (1 - seen)) ** 2
    off = table * (columns[:, None] + rows[None, :]) ** 2
    np.fill_diagonal(off, 0)
    spread = diagonal.sum() + (1 - seen) ** 2 * off.sum() - (seen * chance - 2 * chance + seen) ** 2
    return float(kappa), float(np.sqrt(max(0.0, spread) / len(pairs)) / (1 - chance) ** 2)
