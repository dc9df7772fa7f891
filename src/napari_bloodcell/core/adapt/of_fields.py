"""Adapting to what a person corrected on the fields at hand: images, their outlines and their vectors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from napari_bloodcell.core.adapt.adapting import Adaptation, adapt
from napari_bloodcell.core.adapt.restaining import MOST_FIELDS, Restained, crops_of, restain_cells
from napari_bloodcell.core.bundle import Bundle
from napari_bloodcell.core.config import AdaptConfig, CropConfig
from napari_bloodcell.core.crop import join
from napari_bloodcell.core.errors import ClassifyError
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import Crops, Embeddings, Masks, SmearImage
from napari_bloodcell.core.stain.profile import StainProfile, average, profiles_of


@dataclass(frozen=True, kw_only=True, eq=False)
class Field:
    """One image of a lab, all its cells, and the classes a person gave to some."""

    image: SmearImage
    masks: Masks
    cells: Embeddings
    corrected: Mapping[int, str]  # class of a cell id

    @property
    def labels(self) -> list[str]:
        return [self.corrected.get(int(cell), "") for cell in self.cells.cell_id]


def adapt_to_fields(
    model: Bundle,
    fields: Sequence[Field],
    config: AdaptConfig = AdaptConfig(),
    crop: CropConfig = CropConfig(),
    *,
    lab: str = "new lab",
    progress: Progress = silent,
) -> Adaptation:
    """All fields together are the lab: cells nobody looked at teach too (``second_opinion``)."""
    if not fields:
        raise ClassifyError("No field was given. Give the fields with corrected cells, at least one.")
    cells = _joined([field.cells for field in fields])
    labels = [label for field in fields for label in field.labels]
    restained = restain_of_fields(model, fields, crop, lab=lab, progress=progress)
    return adapt(model.classifier, cells, labels, config, lab=lab, restained=restained, progress=progress)


def restain_of_fields(
    model: Bundle,
    fields: Sequence[Field],
    config: CropConfig = CropConfig(),
    *,
    lab: str = "new lab",
    progress: Progress = silent,
) -> Restained | None:
    """The corrected cells in another lab's stain, numbered as in the joined fields."""
    parts: list[Crops] = []
    ids: list[int] = []
    profiles: list[StainProfile] = []
    before = 0
    for field in fields:
        rows = np.flatnonzero([bool(label) for label in field.labels])
        if len(rows):
            own = field.cells.cell_id[rows]
            crops = crops_of(model, field.image, field.masks, own.tolist(), config)
            places = {int(cell): before + int(row) for cell, row in zip(own, rows, strict=True)}
            parts.append(crops)
            ids += [places[int(cell)] for cell in crops.cell_id]
            if len(profiles) < MOST_FIELDS:
                profiles += profiles_of(np.array(field.image.pixels))
        before += len(field.cells)
    if not parts:
        return None
    numbered = replace(join(parts), cell_id=np.asarray(ids))
    return restain_cells(model, numbered, average(profiles, name=lab), progress=progress)


def _joined(parts: Sequence[Embeddings]) -> Embeddings:
    """Cell ids count the rows."""
    values = np.concatenate([part.values for part in parts])
    return replace(parts[0], cell_id=np.arange(len(values), dtype=np.int32), values=values)
