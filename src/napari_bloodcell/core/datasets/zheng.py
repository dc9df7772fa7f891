"""Zheng-18: ``NNN.bmp`` with its mask ``NNN.png`` (0, 128, 255) and a CSV of number and class.

The repository holds ``Dataset 1`` and ``Dataset 2`` with ``Class Labels of Dataset 1.csv`` beside them.
"""

import re
from dataclasses import replace
from pathlib import Path

from napari_bloodcell.core.datasets.labels_csv import Table, read_table
from napari_bloodcell.core.datasets.layout import EMPTY_FILE, entries, is_image, visible_folders
from napari_bloodcell.core.datasets.naming import Namer
from napari_bloodcell.core.datasets.own_classes import FILE_NAME as OWN_CLASSES
from napari_bloodcell.core.datasets.records import UNLABELLED, CellImage, Dataset, Preset, Skipped
from napari_bloodcell.core.datasets.sources import DATASETS
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.taxonomy import DATASET_CODES, DEFAULT, Taxonomy

# Two laboratories, so two domains.
_DOMAINS = {"1": "jtsc", "2": "cellavision"}
IMAGE_COLUMNS = ("image_id", "image", "image_number", "id", "number")
CLASS_COLUMNS = ("class_label", "class", "label")


def _is_part(folder: Path) -> bool:
    numbered = [e for e in entries(folder) if e.suffix.lower() == ".bmp" and e.stem.isdigit()]
    masked = any(e.with_suffix(".png").exists() for e in numbered)
    return masked or (bool(numbered) and _csv_of(folder) is not None)


def _parts(root: Path) -> list[Path]:
    """The folder itself, or both of the repository; not a folder where other sets stand beside them."""
    if _is_part(root):
        return [root]
    inside = visible_folders(root)
    return inside if all(_number(folder.name) and _is_part(folder) for folder in inside) else []


def _number(name: str) -> str | None:
    """``Dataset 1`` -> ``1``."""
    match = re.search(r"dataset[\s_-]*(\d+)", name, flags=re.IGNORECASE)
    return match.group(1) if match else None


def _csv_of(folder: Path) -> Path | None:
    inside, beside = (_tables_in(place) for place in (folder, folder.parent))
    if inside:
        return inside[0]
    number = _number(folder.name)
    if number is None:
        return None
    return next((e for e in beside if _number(e.stem) == number), None)


def _tables_in(folder: Path) -> list[Path]:
    return [e for e in entries(folder) if e.suffix.lower() == ".csv" and e.name != OWN_CLASSES]


def recognises(root: Path) -> bool:
    return bool(_parts(root))


def load(root: Path, *, taxonomy: Taxonomy = DEFAULT, preset: Preset = "standard") -> Dataset:  # noqa: ARG001
    whole = Dataset("zheng", root, (), notes=DATASETS["zheng"].notes)
    for folder in _parts(root):
        part = _load_part(folder, Namer(taxonomy, DATASET_CODES["zheng"]))
        whole = replace(
            whole,
            cells=whole.cells + part.cells,
            skipped=whole.skipped + part.skipped,
            unlabelled=whole.unlabelled + part.unlabelled,
        )
    return whole


def _load_part(folder: Path, namer: Namer) -> Dataset:
    domain = _DOMAINS.get(_number(folder.name) or "", DATASETS["zheng"].domain)
    source = _csv_of(folder)
    if source is None:
        raise DataError(
            f"No CSV of classes for {folder}. Zheng-18 keeps it beside the folder, as "
            f"'Class Labels of {folder.name}.csv' with columns image ID and class label."
        )
    codes = _codes_by_number(read_table(source, image=IMAGE_COLUMNS, class_=CLASS_COLUMNS))
    cells: list[CellImage] = []
    unlabelled: list[CellImage] = []
    skipped: list[Skipped] = []
    for path in [e for e in entries(folder) if e.suffix.lower() == ".bmp" and is_image(e)]:
        if path.stat().st_size == 0:
            skipped.append(Skipped(path, EMPTY_FILE))
            continue
        mask = path.with_suffix(".png")
        cell = CellImage(path, UNLABELLED, domain, mask_path=mask if is_image(mask) else None)
        code = codes.get(path.stem.lstrip("0"))
        named = namer(code) if code else None
        if named is None:
            unlabelled.append(cell)
        elif named.class_name is None:
            skipped.append(Skipped(path, named.reason))
        else:
            cells.append(replace(cell, class_name=named.class_name))
    return Dataset("zheng", folder, tuple(cells), tuple(skipped), unlabelled=tuple(unlabelled))


def _codes_by_number(table: Table) -> dict[str, str]:
    """Rows are numbered 1, 2, 3; files 001, 002, 003."""
    return {Path(row.image).stem.lstrip("0"): row.class_name for row in table.rows}
