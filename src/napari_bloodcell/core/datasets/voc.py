"""Pascal VOC where the boxes are named by class. BCCD, whose boxes say WBC only, is ``bccd``."""

from itertools import islice
from pathlib import Path
from xml.etree import ElementTree

from napari_bloodcell.core.datasets.boxes import NO_BOXES, NO_FIELD, Drawn, Fields
from napari_bloodcell.core.datasets.layout import entries, folder_named, images_of, split_folders
from napari_bloodcell.core.datasets.naming import Namer
from napari_bloodcell.core.datasets.outline import Box
from napari_bloodcell.core.datasets.records import Dataset, Preset, Skipped
from napari_bloodcell.core.taxonomy import DEFAULT, Taxonomy

BROKEN = "annotation that is not a VOC file"
_LOOKED_AT = 50  # annotations, to see what they are of


def recognises(root: Path) -> bool:
    fields = Fields(Namer(), root.name)
    annotations = (path for _, written in _places(root) for path in _annotations(written).values())
    for path in islice(annotations, _LOOKED_AT):
        fields.add(path, (Drawn(*one) for one in read_objects(path) or []))
    return bool(fields.cells)


def _places(root: Path) -> list[tuple[Path, Path]]:
    """Folders of fields and of annotations; some programs put both in one."""
    images, annotations = folder_named(root, "JPEGImages", "images"), folder_named(root, "Annotations")
    apart = [(images, annotations)] if images and annotations else []
    return apart + [(place, place) for place in (root, *split_folders(root)) if _annotations(place)]


def _annotations(folder: Path) -> dict[str, Path]:
    return {e.stem: e for e in entries(folder) if e.suffix.lower() == ".xml" and e.name[0] != "."}


def load(root: Path, *, taxonomy: Taxonomy = DEFAULT, preset: Preset = "standard") -> Dataset:  # noqa: ARG001
    fields = Fields(Namer(taxonomy), root.name)
    for images, written in _places(root):
        annotations = _annotations(written)
        for path in images_of(images)[0]:
            source = annotations.pop(path.stem, None)
            objects = read_objects(source) if source else None
            if objects is None:
                fields.skipped.append(Skipped(source or path, BROKEN if source else NO_BOXES))
            else:
                fields.add(path, (Drawn(*one) for one in objects))
        fields.skipped += [Skipped(path, NO_FIELD) for path in annotations.values()]
    return fields.dataset("voc", root)


def read_objects(path: Path) -> list[tuple[str, Box]] | None:
    """Names and boxes of one field; None where the file is no VOC annotation."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:  # an annotation declares nothing; a bomb does
        return None
    try:
        top = ElementTree.fromstring(text)  # noqa: S314 (no declarations are let in, see above)
        return [(o.findtext("name", "").strip(), _box(o)) for o in top.iter("object")]
    except (ElementTree.ParseError, ValueError, OverflowError):
        return None


def _box(element: ElementTree.Element) -> Box:
    """VOC counts pixels from 1 and includes the last; ours count from 0 and exclude it."""
    x0, y0, x1, y1 = (
        int(float(element.findtext(f"bndbox/{side}", ""))) for side in ("xmin", "ymin", "xmax", "ymax")
    )
    return max(x0 - 1, 0), max(y0 - 1, 0), x1, y1
