"""Labelled cells of several labs, cut out at their own scale: what a training samples from.

A picture's size and border never reach the network: each cell is cut by its own outline.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.artifact import hash_of
from napari_bloodcell.core.cells import FoundCells, crops_of
from napari_bloodcell.core.config import BackboneConfig, CropConfig, SadaConfig
from napari_bloodcell.core.datasets import CellImage, Dataset, split_of_cell
from napari_bloodcell.core.embed.sada.kept import crops_kept
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import BoolArray, ByteArray, Crops
from napari_bloodcell.core.segment import StainSegmenter
from napari_bloodcell.core.taxonomy import Taxonomy

Numbers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class LabCells:
    """N cells. ``labels`` and ``labs`` are places in the lists of names."""

    pixels: ByteArray  # N x S x S x 3
    labels: Numbers
    labs: Numbers
    held_out: BoolArray
    class_names: tuple[str, ...]
    lab_names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def hash(self) -> str:
        digest = hashlib.sha256(np.ascontiguousarray(self.pixels).tobytes()).hexdigest()
        others = [array.tolist() for array in (self.labels, self.labs, self.held_out)]
        return hash_of([digest, *others, list(self.class_names), list(self.lab_names)])


def cut_out(
    dataset: Dataset,
    backbone: BackboneConfig,
    config: SadaConfig,
    *,
    folder: Path | None = None,
    progress: Progress = silent,
) -> LabCells:
    """Every labelled cell of every lab that is found in its picture. ``folder`` keeps what is cut out."""
    crops = CropConfig(size_px=backbone.size_px)
    if folder is None:
        found = crops_of(dataset.cells, StainSegmenter, crops, progress=progress)
    else:
        found = crops_kept(dataset.cells, crops, folder, progress=progress)
    cells = [dataset.cells[row] for row in found.row]
    classes = [_class_of(cell, dataset.taxonomy, config) for cell in cells]
    class_names = tuple(sorted(set(classes)))
    lab_names = dataset.domains
    return LabCells(
        pixels=shown(found.crops, backbone),
        labels=np.array([class_names.index(name) for name in classes], np.int64),
        labs=np.array([lab_names.index(cell.domain) for cell in cells], np.int64),
        held_out=np.array([split_of_cell(cell, config.held_out) == "held_out" for cell in cells], np.bool_),
        class_names=class_names,
        lab_names=lab_names,
        notes=_not_found(dataset, found),
    )


def shown(crops: Crops, config: BackboneConfig) -> ByteArray:
    """What the network gets to see of crops: all of them, or the cell alone on the colour of the ground."""
    if not config.masked or not len(crops):
        return crops.pixels
    ground = np.rint(crops.ground_rgb).astype(np.uint8)
    outside = crops.parts[..., None] == 0
    return np.where(outside, ground[:, None, None], crops.pixels)


def leave_out(cells: LabCells, lab: str) -> tuple[LabCells, LabCells]:
    """The source labs, and the lab that nothing is learnt from."""
    here = [name for number, name in enumerate(cells.lab_names) if (cells.labs == number).any()]
    if lab not in here:
        raise DataError(f"There are no labelled cells of a lab {lab!r}. There are: {', '.join(here)}.")
    target = cells.labs == cells.lab_names.index(lab)
    if target.all():
        raise DataError(
            f"{lab} is the only lab with labelled cells: without it there is nothing to train on."
        )
    return _part(cells, ~target), _part(cells, target)


def seen_before(cells: LabCells, source: LabCells) -> int:
    """How many of the cells are those of ``source``, pixel by pixel: a picture may stand under two labs."""
    known = {one.tobytes() for one in source.pixels}
    return sum(one.tobytes() in known for one in cells.pixels)


def ready_to_train(cells: LabCells) -> LabCells:
    """Only what can be learnt from, and what is odd about it in ``notes``."""
    trained = ~cells.held_out
    known = np.unique(cells.labels[trained])
    part = _part(cells, np.isin(cells.labels, known))
    notes = list(part.notes)
    lost = sorted(set(cells.class_names) - set(part.class_names))
    if lost:
        notes.append(f"Left out, for all of their cells are held out: {', '.join(lost)}.")
    if len(part.class_names) < 2:
        raise DataError(
            f"A classifier needs cells of two classes to train on; here is "
            f"{', '.join(part.class_names) or 'none'}. Add cells of other classes."
        )
    for number, lab in enumerate(part.lab_names):
        own = part.labs == number
        if not (own & ~part.held_out).any():
            raise DataError(
                f"All {int(own.sum())} cells of {lab} are held out; none is left to train on. Add cells, "
                "lower held_out, or leave the lab away."
            )
    if not part.held_out.any():
        raise DataError(
            f"None of {len(part)} cells is held out (held_out picks by file name), so nothing can be "
            "validated. Add cells, or raise held_out."
        )
    return replace(part, notes=tuple(notes + _one_lab_only(part)))


def _one_lab_only(cells: LabCells) -> list[str]:
    if len(cells.lab_names) < 2:
        return [
            f"All cells are of {cells.lab_names[0]}: what differs from lab to lab could not be learned. "
            "Expect little of it on another."
        ]
    notes = []
    for number, name in enumerate(cells.class_names):
        labs = np.unique(cells.labs[(cells.labels == number) & ~cells.held_out])
        if len(labs) == 1:
            notes.append(
                f"{name} is trained from {cells.lab_names[labs[0]]} only: the stain of that lab may be taken "
                "for the class."
            )
    return notes


def _part(cells: LabCells, chosen: BoolArray) -> LabCells:
    """Some of the cells, with the names that occur among them."""
    classes, labels = np.unique(cells.labels[chosen], return_inverse=True)
    labs, lab_numbers = np.unique(cells.labs[chosen], return_inverse=True)
    return LabCells(
        pixels=cells.pixels[chosen],
        labels=labels.astype(np.int64),
        labs=lab_numbers.astype(np.int64),
        held_out=cells.held_out[chosen],
        class_names=tuple(cells.class_names[i] for i in classes),
        lab_names=tuple(cells.lab_names[i] for i in labs),
        notes=cells.notes,
    )


def _class_of(cell: CellImage, taxonomy: Taxonomy, config: SadaConfig) -> str:
    return taxonomy.coarse(cell.class_name) if config.level == "coarse" else cell.class_name


def _not_found(dataset: Dataset, found: FoundCells) -> tuple[str, ...]:
    reasons = Counter(reason for _, reason in found.missing)
    first: dict[str, CellImage] = {}
    for row, reason in found.missing:
        first.setdefault(reason, dataset.cells[row])
    return tuple(
        f"{count} of {len(dataset)} cells left out ({first[reason].path.name} the first): {reason}"
        for reason, count in reasons.items()
    )
