"""What every loader gives: one record for each cell, whatever the layout on disk."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from napari_bloodcell.core.datasets.outline import Box, Outline
from napari_bloodcell.core.taxonomy import DEFAULT, Taxonomy

Preset = Literal["standard", "reproduction"]  # reproduction: the choices of the published systems

UNLABELLED = "unlabelled"  # class name of the cells in ``Dataset.unlabelled``, never of those in ``cells``


@dataclass(frozen=True)
class CellImage:
    """One white cell: a picture of its own, or a box in a field."""

    path: Path
    class_name: str
    domain: str  # one laboratory, stain and camera
    group: str | None = None  # patient or slide; None where the set does not say
    um_per_px: float | None = None
    mask_path: Path | None = None
    box_xyxy: Box | None = None  # pixels, right and lower edge exclusive; None: the whole picture
    outline: Outline | None = None  # in the field, where it is drawn there

    @property
    def has_mask(self) -> bool:
        return self.mask_path is not None or self.outline is not None

    def without_mask(self) -> "CellImage":
        """The same cell, to be outlined anew."""
        return replace(self, mask_path=None, outline=None)


@dataclass(frozen=True)
class Skipped:
    """What was not loaded, and why. Equal reasons are counted together, so a reason names no file."""

    path: Path
    reason: str
    count: int = 1  # images in a skipped folder, boxes in a skipped field


@dataclass(frozen=True)
class Dataset:
    name: str
    root: Path
    cells: tuple[CellImage, ...]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    unlabelled: tuple[CellImage, ...] = ()  # white cells whose class the set does not tell
    taxonomy: Taxonomy = DEFAULT  # with the classes the folder lists as its own

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def domains(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(cell.domain for cell in (*self.cells, *self.unlabelled)))

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(sorted({cell.class_name for cell in self.cells}))

    def counts(self) -> dict[str, Counter[str]]:
        """Cells for each class of each domain."""
        table: dict[str, Counter[str]] = {domain: Counter() for domain in self.domains}
        for cell in self.cells:
            table[cell.domain][cell.class_name] += 1
        return table

    def of_domain(self, domain: str) -> tuple[CellImage, ...]:
        return tuple(cell for cell in self.cells if cell.domain == domain)

    def renamed(self, old: str, new: str) -> "Dataset":
        """The same cells with another name for one domain."""

        def move(cells: tuple[CellImage, ...]) -> tuple[CellImage, ...]:
            return tuple(replace(cell, domain=new) if cell.domain == old else cell for cell in cells)

        return replace(self, cells=move(self.cells), unlabelled=move(self.unlabelled))
