"""YOLO: a text file of boxes or polygons for each field, with numbers for classes, and their names."""

from pathlib import Path

from napari_bloodcell.core.datasets.boxes import NO_BOXES, NO_FIELD, Drawn, Fields, box_within
from napari_bloodcell.core.datasets.headers import Header, read_header
from napari_bloodcell.core.datasets.layout import by_stem, entries, folder_named, visible_folders
from napari_bloodcell.core.datasets.naming import Namer
from napari_bloodcell.core.datasets.outline import Box, Outline, OutlineError, of_polygons
from napari_bloodcell.core.datasets.records import Dataset, Preset, Skipped
from napari_bloodcell.core.taxonomy import DEFAULT, Taxonomy

NO_BOX = "line that is no box"
UNREADABLE = "unreadable image header"
NAMES_FILE = "classes.txt"  # also among the boxes, where labelImg puts it
_BOX, _BOX_AND_SCORE = 5, 6  # numbers in a line; more are the corners of a polygon


def recognises(root: Path) -> bool:
    pairs = _pairs(root)
    return bool(pairs) and bool(_names(root, pairs))


def _pairs(root: Path) -> list[tuple[Path, Path]]:
    """Folders of fields and of boxes: images/ and labels/, images/train/ and labels/train/, or train/images/
    and train/labels/."""
    places = [root, *visible_folders(root)]
    found = [(folder_named(place, "images"), folder_named(place, "labels")) for place in places]
    pairs: list[tuple[Path, Path]] = []
    for images, labels in found:
        if images is None or labels is None:
            continue
        inner = [(images / below.name, below) for below in visible_folders(labels)]
        pairs += [pair for pair in ((images, labels), *inner) if pair[0].is_dir() and _boxes_in(pair[1])]
    return pairs


def _boxes_in(folder: Path) -> dict[str, Path]:
    return {
        e.stem: e
        for e in entries(folder)
        if e.suffix.lower() == ".txt" and e.name[0] != "." and e.name != NAMES_FILE
    }


def _names(root: Path, pairs: list[tuple[Path, Path]]) -> dict[int, str]:
    """What the numbers mean; nothing where no file tells it."""
    for path in (e for e in entries(root) if e.suffix.lower() in (".yaml", ".yml")):
        names = _names_in_yaml(path)
        if names:
            return names
    places = (root, *(labels for _, labels in pairs))
    source = next((place / NAMES_FILE for place in places if (place / NAMES_FILE).is_file()), None)
    if source is None:
        return {}
    lines = source.read_text(encoding="utf-8-sig", errors="replace").split("\n")
    return {number: line.strip() for number, line in enumerate(lines) if line.strip()}


def _names_in_yaml(path: Path) -> dict[int, str]:
    import yaml

    try:
        content = yaml.safe_load(path.read_bytes())
        names = content["names"]
        if not isinstance(names, dict | list):
            return {}
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        return {int(number): str(name) for number, name in pairs}
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return {}


def load(root: Path, *, taxonomy: Taxonomy = DEFAULT, preset: Preset = "standard") -> Dataset:  # noqa: ARG001
    fields = Fields(Namer(taxonomy), root.name)
    pairs = _pairs(root)
    names = _names(root, pairs)
    for images, labels in pairs:
        written = _boxes_in(labels)
        for stem, path in by_stem(images).items():
            source, header = written.pop(stem, None), read_header(path)
            if source is None or header is None:
                fields.skipped.append(Skipped(path, NO_BOXES if source is None else UNREADABLE))
                continue
            _add(fields, path, header, source.read_text(encoding="utf-8", errors="replace"), names)
        fields.skipped += [Skipped(path, NO_FIELD) for path in written.values()]
    return fields.dataset("yolo", root)


def _add(fields: Fields, path: Path, header: Header, text: str, names: dict[int, str]) -> None:
    boxes: list[Drawn] = []
    for line in text.splitlines():
        if not line.strip():
            continue
        try:
            number, box, corners = _box(line.split(), header.size)
        except ValueError:
            fields.skipped.append(Skipped(path, NO_BOX))
            continue
        if number in names:
            boxes.append(Drawn(names[number], box, _outline(fields, path, corners)))
        else:
            fields.skipped.append(Skipped(path, f"box of class number {number}, which has no name"))
    fields.add(path, boxes)


def _outline(fields: Fields, path: Path, corners: list[float]) -> Outline | None:
    try:
        return of_polygons([corners]) if corners else None
    except OutlineError as error:
        fields.skipped.append(Skipped(path, str(error)))
        return None


def _box(words: list[str], size: tuple[int, int]) -> tuple[int, Box, list[float]]:
    """Shares of width and height: a middle and two sides, or the corners of a polygon, which are given in
    pixels too."""
    number, values = int(words[0]), [float(word) for word in words[1:]]
    width, height = size
    corners: list[float] = []
    if len(words) in (_BOX, _BOX_AND_SCORE):
        x, y, w, h = values[:4]
        sides = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
    elif len(words) > _BOX_AND_SCORE and len(values) % 2 == 0:
        xs, ys = values[::2], values[1::2]
        sides = (min(xs), min(ys), max(xs), max(ys))
        corners = [share * side for share, side in zip(values, (width, height) * len(xs), strict=True)]
    else:
        raise ValueError("neither a box nor a polygon")
    x0, y0, x1, y1 = sides
    return number, box_within(x0 * width, y0 * height, x1 * width, y1 * height, size), corners
