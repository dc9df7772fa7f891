"""Boxes and outlines with names in fields, as programs for drawing write them: which are white cells, and
of which class."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from napari_bloodcell.core.datasets.naming import Namer
from napari_bloodcell.core.datasets.outline import Box, Outline
from napari_bloodcell.core.datasets.records import UNLABELLED, CellImage, Dataset, Skipped
from napari_bloodcell.core.taxonomy import normalise
from napari_bloodcell.core.words import how_many

NO_AREA = "box without area"
NO_BOXES = "no annotation for this field"
NO_FIELD = "annotation without its field"
_NOT_WHITE = frozenset({"rbc", "red_blood_cell", "red_cell", "erythrocyte", "platelet", "thrombocyte"})
_WHITE = frozenset({"wbc", "white_blood_cell", "white_cell", "leukocyte", "leucocyte"})
_COPY = ".rf."  # Roboflow: NAME_jpg.rf.HASH.jpg, several of one NAME where it has changed copies


class Drawn(NamedTuple):
    """What was drawn in a field, with the name it has there."""

    name: str
    box: Box
    outline: Outline | None = None


@dataclass
class Fields:
    """Collects the boxes of one lab's fields."""

    namer: Namer
    domain: str
    cells: list[CellImage] = field(default_factory=list)
    unlabelled: list[CellImage] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    _paths: list[Path] = field(default_factory=list)

    def add(self, path: Path, drawn: Iterable[Drawn]) -> None:
        """What was drawn in one field."""
        self._paths.append(path)
        left: Counter[str] = Counter()
        for name, box, outline in drawn:
            class_name, reason = self._class_of(name)
            if box[2] <= box[0] or box[3] <= box[1]:
                left[NO_AREA] += 1
            elif class_name is None:
                left[reason] += 1
            else:
                cell = CellImage(path, class_name, self.domain, box_xyxy=box, outline=outline)
                (self.unlabelled if class_name == UNLABELLED else self.cells).append(cell)
        self.skipped += [Skipped(path, reason, count) for reason, count in left.items()]

    def _class_of(self, name: str) -> tuple[str | None, str]:
        key = normalise(name).removesuffix("s")
        if key in _NOT_WHITE:
            return None, f"box of {name}, not a white cell"
        if key in _WHITE:
            return UNLABELLED, ""
        named = self.namer(name)
        return named.class_name, named.reason

    def dataset(self, name: str, root: Path) -> Dataset:
        return Dataset(
            name, root, tuple(self.cells), tuple(self.skipped), self._notes(), tuple(self.unlabelled)
        )

    def _notes(self) -> tuple[str, ...]:
        """Copies of a field on both sides of a split make every number too good."""
        fields = Counter(path.name.partition(_COPY)[0] for path in self._paths if _COPY in path.name)
        copied = sum(count > 1 for count in fields.values())
        if not copied:
            return ()
        return (
            f"{self.domain}: several copies of {how_many(copied, 'field')} (augmentation by Roboflow). "
            "Export the set without it: tests would hold copies of what was learned.",
        )


def box_within(x0: float, y0: float, x1: float, y1: float, size: tuple[float, float]) -> Box:
    """Whole pixels around a box, inside its field."""
    if not all(math.isfinite(value) for value in (x0, y0, x1, y1)):
        raise ValueError("a side of the box is no number")
    width, height = size
    return (
        max(0, math.floor(x0)),
        max(0, math.floor(y0)),
        min(int(width), math.ceil(x1)),
        min(int(height), math.ceil(y1)),
    )
