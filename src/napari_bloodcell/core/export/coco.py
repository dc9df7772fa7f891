"""COCO, for training detectors elsewhere: all pictures in one file, with boxes, polygons and classes.

Polygons are outer rings: the format knows no holes in them, and nuclei are not written.
"""

from collections.abc import Iterable
from typing import Any

from napari_bloodcell.core.export.cells import OutlinedCell
from napari_bloodcell.core.export.polygons import signed_area
from napari_bloodcell.core.records import UNIDENTIFIED
from napari_bloodcell.core.report import RESEARCH_USE
from napari_bloodcell.core.taxonomy import DEFAULT

USUAL = (*DEFAULT.names, UNIDENTIFIED)


class Coco:
    """Collects pictures; ``content`` is the file."""

    def __init__(self) -> None:
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def add(self, file_name: str, size: tuple[int, int], cells: Iterable[OutlinedCell]) -> int:
        """Returns how many cells."""
        before = len(self._annotations)
        image = {"id": len(self._images) + 1, "file_name": file_name, "width": size[0], "height": size[1]}
        self._images.append(image)
        for cell in cells:
            if cell.outline:
                self._annotations.append(self._annotation(image["id"], cell))
        return len(self._annotations) - before

    def _annotation(self, image: Any, cell: OutlinedCell) -> dict[str, Any]:
        x0, y0, x1, y1 = cell.box
        one = {
            "id": len(self._annotations) + 1,
            "image_id": image,
            "category_id": cell.kind,  # its number is known when all are
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": sum(signed_area(ring) for piece in cell.outline for ring in piece),
            "segmentation": [[value for corner in piece[0] for value in corner] for piece in cell.outline],
            "iscrowd": 0,
            "cell_id": cell.number,
            "cell_type_source": cell.said_by,
        }
        probability = cell.measured.get("cell_type_prob")
        return one if probability is None else one | {"score": round(probability, 6)}

    def content(self) -> dict[str, Any]:
        # The usual classes have the same numbers in every file, found or not: files are trained on together.
        own = {one["category_id"] for one in self._annotations} - set(USUAL)
        numbers = {name: number for number, name in enumerate([*USUAL, *sorted(own)], 1)}
        return {
            "info": {"description": f"Cells of napari-bloodcell. {RESEARCH_USE}"},
            "images": self._images,
            "annotations": [one | {"category_id": numbers[one["category_id"]]} for one in self._annotations],
            "categories": [
                {"id": number, "name": name, "supercategory": "cell"} for name, number in numbers.items()
            ],
        }
