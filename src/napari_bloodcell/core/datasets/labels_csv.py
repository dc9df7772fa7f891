"""Reading a table of image and class, as Excel, pandas or a person writes it."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.rows import plain, separated, text_of
from napari_bloodcell.core.taxonomy import normalise

# Also as tables are headed in German and French.
IMAGE_COLUMNS = (
    *("image", "file", "filename", "file_name", "image_name", "path"),
    *("bild", "bildname", "datei", "dateiname", "fichier", "nom_fichier", "nom_du_fichier"),
)
# Whose cells these are, the most cautious first: two slides may be of one patient.
GROUP_COLUMNS = ("group", "patient", "patient_id", "subject", "subject_id", "slide", "slide_id")
CLASS_COLUMNS = (
    *("class", "label", "class_name", "category", "cell_type"),
    *("klasse", "zelltyp", "zellart", "classe", "type_cellulaire", "type_de_cellule"),
)


@dataclass(frozen=True)
class Row:
    image: str
    class_name: str
    extra: dict[str, str] = field(default_factory=dict)  # the other columns, by normalised name


@dataclass(frozen=True)
class Table:
    path: Path
    rows: tuple[Row, ...]
    others: tuple[str, ...] = ()  # the other columns, by normalised name

    @property
    def group_column(self) -> str | None:
        return next((name for name in GROUP_COLUMNS if name in self.others), None)


def read_table(
    path: Path, *, image: Sequence[str] = IMAGE_COLUMNS, class_: Sequence[str] = CLASS_COLUMNS
) -> Table:
    """All rows with an image. Commas, semicolons and tabs are understood, and Excel's byte-order mark."""
    try:
        text, delimiter = separated(text_of(path))
        raw = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if any(row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"Cannot read the table {path}: {error}. Save it as CSV in UTF-8.") from error
    names = [normalise(name) for name in raw[0]] if raw else []
    at_image = next((names.index(name) for name in image if name in names), None)
    at_class = next((names.index(name) for name in class_ if name in names), None)
    if at_image is None or at_class is None:
        raise DataError(
            f"{path} has the columns {', '.join(raw[0]) if raw else '(none)'}. It needs one for the image "
            f"({', '.join(image)}) and one for the class ({', '.join(class_)})."
        )
    rows = []
    for values in raw[1:]:
        padded = [plain(value.strip()) for value in values] + [""] * (len(names) - len(values))
        if padded[at_image]:
            extra = {n: padded[i] for i, n in enumerate(names) if i not in (at_image, at_class)}
            rows.append(Row(padded[at_image], padded[at_class], extra))
    others = [name for i, name in enumerate(names) if name and i not in (at_image, at_class)]
    return Table(path, tuple(rows), tuple(others))
