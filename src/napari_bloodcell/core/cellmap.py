"""The cells of several fields in one table of vectors, as they are or with all stains made alike first."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_bloodcell.core.config import CropConfig
from napari_bloodcell.core.crop import crop
from napari_bloodcell.core.embed import Embedder
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.progress import Progress, silent, within
from napari_bloodcell.core.records import FloatArray, IntArray, Masks, SmearImage, freeze


@dataclass(frozen=True, kw_only=True, eq=False)
class CellVectors:
    """One row a cell; ``field`` counts the fields from 0."""

    field: IntArray  # N
    cell_id: IntArray  # N
    values: FloatArray  # N x D
    names: tuple[str, ...]
    embedder: str

    def __post_init__(self) -> None:
        freeze(self, "field", np.int32, (None,))
        freeze(self, "cell_id", np.int32, (len(self.field),))
        freeze(self, "values", np.float32, (len(self.field), len(self.names)))

    def __len__(self) -> int:
        return len(self.field)


def vectors_of(
    fields: Sequence[tuple[SmearImage, Masks]], embedder: Embedder, *, progress: Progress = silent
) -> CellVectors:
    """Cells in the order of the fields and of their ids."""
    wanted = getattr(embedder, "crop", None)  # an embedder may ask for crops of its own
    config = wanted if isinstance(wanted, CropConfig) else CropConfig()
    parts = []
    for number, (image, masks) in enumerate(fields):
        seen = within(progress, image.name) if len(fields) > 1 else progress
        seen("Describing cells", number, len(fields))
        parts.append(embedder.embed(crop(image, masks, config, progress=seen), progress=seen))
    if not sum(map(len, parts)):
        raise DataError("There is no cell in these outlines. Segment the images first, or add cells.")
    return CellVectors(
        field=np.repeat(np.arange(len(parts), dtype=np.int32), [len(one) for one in parts]),
        cell_id=np.concatenate([one.cell_id for one in parts]),
        values=np.concatenate([one.values for one in parts]),
        names=parts[0].names,
        embedder=embedder.hash,
    )


def in_one_stain(
    fields: Sequence[tuple[SmearImage, Masks]], *, progress: Progress = silent
) -> list[tuple[SmearImage, Masks]]:
    """Copies of the fields in the mean stain of all of them; the outlines stay."""
    from napari_bloodcell.core.stain.profile import average, profiles_of
    from napari_bloodcell.core.stain.transfer import transfer

    profiles = profiles_of([image.pixels for image, _ in fields], progress=progress)
    goal = average(profiles, name="mean")
    alike = []
    for number, ((image, masks), own) in enumerate(zip(fields, profiles, strict=True)):
        progress("Making stains alike", number, len(fields))
        pixels = transfer(image.pixels, goal, source=own)
        copy = SmearImage(pixels=pixels, name=image.name, source=image.source, um_per_px=image.um_per_px)
        alike.append((copy, masks))
    return alike
