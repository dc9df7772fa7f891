"""BCCD in the layout of Pascal VOC: white cells are boxes in fields, their class is in a separate table."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from napari_bloodcell.core.datasets.boxes import NO_AREA, NO_BOXES, NO_FIELD
from napari_bloodcell.core.datasets.labels_csv import CLASS_COLUMNS, read_table
from napari_bloodcell.core.datasets.layout import child_named, entries, folder_named, images_of
from napari_bloodcell.core.datasets.naming import Named, Namer
from napari_bloodcell.core.datasets.outline import Box
from napari_bloodcell.core.datasets.records import UNLABELLED, CellImage, Dataset, Preset, Skipped
from napari_bloodcell.core.datasets.sources import DATASETS
from napari_bloodcell.core.datasets.voc import BROKEN, read_objects
from napari_bloodcell.core.taxonomy import DEFAULT, Taxonomy


@dataclass(frozen=True)
class _Boxes:
    white: tuple[Box, ...]
    others: dict[str, int]
    empty: int


def recognises(root: Path) -> bool:
    return folder_named(root, "JPEGImages") is not None and folder_named(root, "Annotations") is not None


def load(root: Path, *, taxonomy: Taxonomy = DEFAULT, preset: Preset = "standard") -> Dataset:  # noqa: ARG001
    fields, skipped = images_of(folder_named(root, "JPEGImages") or root)
    written = entries(folder_named(root, "Annotations") or root)
    annotations = {e.stem: e for e in written if e.suffix.lower() == ".xml" and e.name[0] != "."}
    names = _names(root, Namer(taxonomy))
    cells: list[CellImage] = []
    unlabelled: list[CellImage] = []
    for path in fields:
        source = annotations.pop(path.stem, None)
        objects = read_objects(source) if source else None
        if objects is None:
            skipped.append(Skipped(source or path, BROKEN if source else NO_BOXES))
            continue
        boxes = _sort(objects)
        skipped += [Skipped(path, f"box of {kind}, not a white cell", n) for kind, n in boxes.others.items()]
        if boxes.empty:
            skipped.append(Skipped(path, NO_AREA, boxes.empty))
        found, left = _cells(path, boxes.white, names.get(path.stem, []))
        skipped += left
        for cell in found:
            (unlabelled if cell.class_name == UNLABELLED else cells).append(cell)
    skipped += [Skipped(path, NO_FIELD) for path in annotations.values()]
    notes = () if names else ("Without a labels.csv of image and class, BCCD tells no class: boxes only.",)
    return Dataset("bccd", root, tuple(cells), tuple(skipped), notes, tuple(unlabelled))


def _cells(path: Path, boxes: tuple[Box, ...], names: list[Named]) -> tuple[list[CellImage], list[Skipped]]:
    """A field's classes go to its boxes only where there is no doubt which is which."""
    info = DATASETS["bccd"]
    found = [
        CellImage(path, UNLABELLED, info.domain, um_per_px=info.um_per_px, box_xyxy=box) for box in boxes
    ]
    if len(names) != len(boxes) or len(set(names)) != 1:
        return found, []
    class_name = names[0].class_name
    if class_name is None:
        return [], [Skipped(path, names[0].reason, len(boxes))]
    return [replace(cell, class_name=class_name) for cell in found], []


def _names(root: Path, namer: Namer) -> dict[str, list[Named]]:
    """Classes by field. The common table has a number for the image and ``NEUTROPHIL, EOSINOPHIL``."""
    tables = [child_named(place, "labels.csv") for place in (root, root.parent)]
    source = next((table for table in tables if table is not None), None)
    if source is None:
        return {}
    names: dict[str, list[Named]] = {}
    for row in read_table(source, class_=("category", *CLASS_COLUMNS)).rows:
        written = [part.strip() for part in row.class_name.split(",") if part.strip()]
        names.setdefault(_field(row.image), []).extend(namer(part) for part in written)
    return names


def _field(written: str) -> str:
    """The field a row speaks of: ``7``, ``BloodImage_00007.jpg`` and the crop ``BloodImage_00007_1.jpg``."""
    if written.isdigit():
        return f"BloodImage_{int(written):05d}"
    stem = Path(written).stem
    match = re.fullmatch(r"(BloodImage_\d+)_\d+", stem)
    return match.group(1) if match else stem


def _sort(objects: list[tuple[str, Box]]) -> _Boxes:
    white: list[Box] = []
    others: dict[str, int] = {}
    empty = 0
    for kind, box in objects:
        if kind.upper() != "WBC":
            others[kind] = others.get(kind, 0) + 1
        elif box[2] <= box[0] or box[3] <= box[1]:
            empty += 1
        else:
            white.append(box)
    return _Boxes(tuple(white), others, empty)
