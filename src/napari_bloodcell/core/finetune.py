"""Fine-tuning from pictures with masks, from data sets or from labels drawn in napari."""

from collections.abc import Sequence

import numpy as np

from napari_bloodcell.core.datasets import CellImage, read_parts
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.image import read_image
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.sam.train.cells import CYTOPLASM, NUCLEUS, MaskedCells, cells_of, join


def read_cells(cells: Sequence[CellImage], *, progress: Progress = silent) -> MaskedCells:
    """The pictures of a data set that come with masks, one cell each."""
    groups = []
    for done, cell in enumerate(cells):
        progress("Reading masks", done, len(cells))
        if cell.mask_path is None:
            raise DataError(f"{cell.path} has no mask. Choose a data set with masks, or draw them.")
        parts = read_parts(cell.mask_path)
        pixels = read_image(cell.path).pixels
        groups.append(
            cells_of(
                pixels,
                (parts >= CYTOPLASM).astype(np.uint8),
                (parts == NUCLEUS).astype(np.uint8),
                name=f"{cell.domain}/{cell.path.name}",
                source=cell.domain,
            )
        )
    progress("Reading masks", len(cells), len(cells))
    return join(groups)
