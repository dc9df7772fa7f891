"""COCO: fields with a table of boxes and outlines beside them, as Roboflow, CVAT, Label Studio write it."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from napari_bloodcell.core.datasets.boxes import NO_BOXES, NO_FIELD, Drawn, Fields, box_within
from napari_bloodcell.core.datasets.headers import read_header
from napari_bloodcell.core.datasets.layout import (
    entries,
    folder_named,
    images_of,
    is_image,
    split_folders,
)
from napari_bloodcell.core.datasets.naming import Namer
from napari_bloodcell.core.datasets.outline import Box, Outline, OutlineError, of_polygons, of_runs
from napari_bloodcell.core.datasets.records import Dataset, Preset, Skipped
from napari_bloodcell.core.taxonomy import DEFAULT, Taxonomy

NO_BOX = "annotation without a box or an outline"
UNREADABLE = "unreadable image header"
_Table = dict[str, list[dict[str, Any]]]
_PARTS = ("images", "annotations", "categories")
_PERSON = "person"  # how our own export begins to say who gave a class; the others are a model's


def recognises(root: Path) -> bool:
    return bool(_tables(root))


def _tables(root: Path) -> dict[Path, _Table]:
    """The tables of a set, read: in its folder, in annotations/, and in train/, valid/ and test/."""
    annotations = folder_named(root, "annotations")
    places = [root, *([annotations] if annotations else []), *split_folders(root)]
    files = [e for place in places for e in entries(place) if _may_be_table(e.name)]
    read = {path: _read(path) for path in files}
    return {path: content for path, content in read.items() if content is not None}


def _may_be_table(name: str) -> bool:
    """By its name: other programs keep large files in JSON too."""
    low = name.lower()
    words = ("coco", "instances", "annotations", "result")
    return low.endswith(".json") and low[0] != "." and any(word in low for word in words)


def _read(path: Path) -> _Table | None:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    fits = isinstance(content, dict) and all(isinstance(content.get(part), list) for part in _PARTS)
    if not fits:
        return None
    return {part: [one for one in content[part] if isinstance(one, dict)] for part in _PARTS}


def load(root: Path, *, taxonomy: Taxonomy = DEFAULT, preset: Preset = "standard") -> Dataset:  # noqa: ARG001
    fields = Fields(Namer(taxonomy), root.name)
    listed: set[Path] = set()
    for table, content in _tables(root).items():
        names = {str(one.get("id")): str(one.get("name", "")) for one in content["categories"]}
        drawn: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for one in content["annotations"]:
            drawn[str(one.get("image_id"))].append(one)
        for image in content["images"]:
            path = _place(str(image.get("file_name", "")), table.parent, root)
            if path is None:
                where = table.parent / str(image.get("file_name", ""))
                fields.skipped.append(Skipped(where, NO_FIELD, max(1, len(drawn[str(image.get("id"))]))))
                continue
            listed.add(path)
            _add(fields, path, drawn[str(image.get("id"))], names)
    beside = {image for folder in {path.parent for path in listed} for image in images_of(folder)[0]}
    fields.skipped += [Skipped(path, NO_BOXES) for path in sorted(beside - listed)]
    return fields.dataset("coco", root)


def _place(name: str, beside: Path, root: Path) -> Path | None:
    """Tools write names, or paths of the machine they ran on."""
    last = name.replace("\\", "/").rpartition("/")[2]
    folders = (beside, beside / "images", root, root / "images")
    places = [folder / part for part in (name, last) for folder in folders]
    return next((place for place in places if name and is_image(place)), None)


def _add(fields: Fields, path: Path, drawn: list[dict[str, Any]], names: dict[str, str]) -> None:
    header = read_header(path)
    if header is None:
        fields.skipped.append(Skipped(path, UNREADABLE, max(1, len(drawn))))
        return
    boxes: list[Drawn] = []
    for one in drawn:
        box, outline = _box(one, header.size), None
        try:
            outline = _outline(one.get("segmentation"), header.size)
            box = box if outline is None else outline.box(header.size)
        except OutlineError as error:
            outline = None
            fields.skipped += [] if box is None else [Skipped(path, str(error))]
        if box is None:
            fields.skipped.append(Skipped(path, NO_BOX))
            continue
        by_model = not str(one.get("cell_type_source", _PERSON)).startswith(_PERSON)  # no truth to learn
        name = "wbc" if by_model else names.get(str(one.get("category_id")), "")
        boxes.append(Drawn(name, box, outline))
    fields.add(path, boxes)


def _box(drawn: dict[str, Any], size: tuple[int, int]) -> Box | None:
    try:
        x, y, width, height = (float(value) for value in drawn["bbox"])
        return box_within(x, y, x + width, y + height, size)
    except (KeyError, TypeError, ValueError):
        return None


def _outline(written: Any, size: tuple[int, int]) -> Outline | None:
    """None where only a box was drawn."""
    if not written:
        return None
    if isinstance(written, dict):
        return of_runs(written.get("counts"), written.get("size"), size)
    flat = isinstance(written, list) and isinstance(written[0], int | float)  # some leave out a bracket
    return of_polygons([written] if flat else written)
