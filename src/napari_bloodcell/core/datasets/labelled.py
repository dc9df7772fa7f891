"""A labelled folder of any lab: ``labels.csv`` beside ``images/`` or ``cells/``, and masks if there are.

Columns: image, class; optional group (or patient, subject, slide), um_per_px, mask.
"""

import math
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from napari_bloodcell.core.datasets.labels_csv import GROUP_COLUMNS, Row, Table, read_table
from napari_bloodcell.core.datasets.layout import (
    DOT_FILE,
    EMPTY_FILE,
    by_stem,
    child_named,
    folder_named,
    images_of,
    is_image,
)
from napari_bloodcell.core.datasets.naming import Namer
from napari_bloodcell.core.datasets.records import UNLABELLED, CellImage, Dataset, Preset, Skipped
from napari_bloodcell.core.datasets.written_names import WrittenNames
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.taxonomy import DEFAULT, Taxonomy
from napari_bloodcell.core.words import how_many

NOT_LISTED = "not listed in labels.csv"
NOT_THERE = "listed in labels.csv, but there is no such file"
TWO_CLASSES = "listed in labels.csv with two different classes"
NO_MASK = "mask named in labels.csv, but there is no such image (its cell is kept)"
BAD_SCALE = "um_per_px in labels.csv is not a positive number"
# A white cell is 8 to 20 µm wide: with larger pixels it has no shape, and no microscope has smaller ones.
SMEAR_UM = (0.01, 2.0)
NO_SMEAR = (
    f"um_per_px in labels.csv is no pixel size of a smear, which is {SMEAR_UM[0]:g} to {SMEAR_UM[1]:g} µm "
    "(80 nm are 0.08; so are 12.5 px a µm)"
)


class NoneListedError(DataError):
    """A table that speaks of other pictures than those beside it."""


def table_of(root: Path) -> Path | None:
    found = child_named(root, "labels.csv")
    return found if found is not None and found.is_file() else None


def recognises(root: Path) -> bool:
    return table_of(root) is not None


def load(root: Path, *, taxonomy: Taxonomy = DEFAULT, preset: Preset = "standard") -> Dataset:  # noqa: ARG001
    source = table_of(root)
    if source is None:
        raise DataError(f"There is no labels.csv in {root}. It needs the columns image and class.")
    folder = folder_named(root, "images", "cells") or root
    masks, namer = by_stem(folder_named(root, "masks")), Namer(taxonomy)
    files = WrittenNames(root, folder)
    rows: dict[Path, list[Row]] = defaultdict(list)
    table = read_table(source)
    for row in table.rows:
        rows[files.file_of(row.image)].append(row)
    if rows and not any(path.is_file() for path in rows):
        raise NoneListedError(_none_listed(source, table, folder))
    cells: list[CellImage] = []
    unlabelled: list[CellImage] = []
    skipped: list[Skipped] = []
    for path, same in rows.items():
        got = _cell(path, same, namer, root, table.group_column)
        if isinstance(got, Skipped):
            skipped.append(got)
            continue
        cell = got if got.mask_path else replace(got, mask_path=masks.get(path.stem))
        if cell.mask_path is None and same[0].extra.get("mask"):
            skipped.append(Skipped(path, NO_MASK))
        (unlabelled if cell.class_name == UNLABELLED else cells).append(cell)
    skipped += _not_listed(folder, set(rows))
    return Dataset(
        "labels",
        root,
        tuple(cells),
        tuple(skipped),
        (*files.notes(), *_notes(root, table)),
        tuple(unlabelled),
    )


def _none_listed(source: Path, table: Table, folder: Path) -> str:
    names = sorted({row.image for row in table.rows}, key=lambda name: (len(name), name))
    where = "beside it" if folder == source.parent else f"in {folder.name}/"
    there = next((path.name for path in images_of(folder)[0]), None)
    has = f"which holds {there!r} for one" if there else "where there is no image at all"
    return (
        f"{source} lists {how_many(len(names), 'name')}, none of which is {where}, e.g. {names[0]!r}, {has}. "
        "Write the names in the table as the files are called."
    )


def _cell(
    path: Path, rows: list[Row], namer: Namer, root: Path, group_column: str | None
) -> CellImage | Skipped:
    if not path.is_file():
        return Skipped(path, NOT_THERE)
    if path.stat().st_size == 0:
        return Skipped(path, EMPTY_FILE)
    names = {namer(row.class_name) for row in rows if row.class_name}
    if len(names) > 1:
        return Skipped(path, TWO_CLASSES)
    named = next(iter(names), None)
    if named is not None and named.class_name is None:
        return Skipped(path, named.reason)
    extra = rows[0].extra
    scale = _scale(extra.get("um_per_px", ""))
    if isinstance(scale, str):
        return Skipped(path, scale)
    return CellImage(
        path,
        (named.class_name if named else None) or UNLABELLED,
        root.name,
        group=(extra.get(group_column) or None) if group_column else None,
        um_per_px=scale,
        mask_path=_mask(root, extra.get("mask", "")),
    )


def _scale(written: str) -> float | str | None:
    """The pixel size; none where nothing is written; why it is none where it cannot be one."""
    if not written:
        return None
    try:
        value = float(written.replace(",", "."))  # a decimal comma is what half of Europe's Excel writes
    except ValueError:
        return BAD_SCALE
    if not 0 < value < math.inf:
        return BAD_SCALE
    return value if SMEAR_UM[0] <= value <= SMEAR_UM[1] else NO_SMEAR


def _mask(root: Path, written: str) -> Path | None:
    places = (root / written, root / "masks" / written) if written else ()
    return next((place for place in places if is_image(place)), None)


def _not_listed(folder: Path, listed: set[Path]) -> list[Skipped]:
    images, left = images_of(folder)
    rest = [Skipped(path, NOT_LISTED) for path in images if path not in listed]
    return rest + [
        s for s in left if s.reason == DOT_FILE or (s.reason == EMPTY_FILE and s.path not in listed)
    ]


def _notes(root: Path, table: Table) -> tuple[str, ...]:
    notes = []
    if table.group_column not in (None, "group"):
        notes.append(f"{root.name}: the column {table.group_column} says whose cells these are.")
    unread = [name for name in table.others if name not in (table.group_column, "um_per_px", "mask")]
    if unread:
        notes.append(
            f"{root.name}: {how_many(len(unread), 'column')} of labels.csv not read: {', '.join(unread)}. "
            f"Read are image, class, group ({', '.join(GROUP_COLUMNS[1:])}), um_per_px and mask."
        )
    fields = folder_named(root, "fields")
    if fields is not None:
        count = len(images_of(fields)[0])
        notes.append(
            f"{root.name} also holds {count} whole fields in {fields.name}/; "
            "only its single cells are listed."
        )
    return tuple(notes)
