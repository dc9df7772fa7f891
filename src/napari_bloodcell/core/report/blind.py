"""A second reading of cells by one who does not see what others said of them: a table of this person's
answers alone, written anew at each answer, and read again to go on or to be compared.
"""

from collections.abc import Sequence
from pathlib import Path

from napari_bloodcell.core.artifact import check_writable
from napari_bloodcell.core.cell_tables import Correction, write_corrections
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.report.agreement import agreement
from napari_bloodcell.core.report.readers import Answers, Cell, Reader
from napari_bloodcell.core.rows import read_rows, whole_number

COLUMNS = ("image", "cell_id", "cell_type", "person")


def blind_name(name: str) -> str:
    """A second look of one's own is compared with the first: it needs a name of its own."""
    return f"{name} blind"


def blind_table(folder: Path, name: str) -> Path:
    """Where the answers of this reader are kept."""
    plain = "".join(c if c.isalnum() or c in "-_. " else "_" for c in name).strip(" .") or "reader"
    return Path(folder) / f"{blind_name(plain)}.csv"


def begin_blind(path: Path, name: str) -> dict[Cell, str]:
    """The answers given so far; none where the table is new. That of another is left alone: its answers would
    be seen, and written over."""
    if not path.exists():
        check_writable(path.parent)
        return {}
    table = read_rows(path)
    if table.rows and not set(COLUMNS) <= set(table.columns):
        raise DataError(
            f"{path} needs the columns {', '.join(COLUMNS)}; it has {table.has}. Rename the file."
        )
    others = sorted({row.get("person") or "nobody" for row in table.rows} - {blind_name(name)})
    if others:
        raise DataError(
            f"{path} holds answers of {', '.join(others)}, not of {blind_name(name)} alone. Choose another "
            "folder."
        )
    answers: dict[Cell, str] = {}
    for row in table.rows:
        try:
            answers[row.get("image"), whole_number(row.get("cell_id"))] = row.get("cell_type")
        except ValueError as error:
            raise DataError(
                f"{path}, line {row.line}: cell_id {row.get('cell_id')!r} is no whole number."
            ) from error
    return answers


def write_blind(path: Path, name: str, answers: Answers) -> None:
    """As a second reader's table is read: ``report --readers`` and the panel *Differential* take it."""
    write_corrections(
        path,
        [
            Correction(image=image, cell_id=cell, cell_type=said, person=blind_name(name))
            for (image, cell), said in sorted(answers.items())
        ],
    )


def compared(blind: Reader, others: Sequence[Reader]) -> list[str]:
    """How far each of the others agrees with the one who has not seen them."""
    return [agreement(one, blind).text() for one in others if set(one.answers) & set(blind.answers)]
