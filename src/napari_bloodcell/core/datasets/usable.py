"""Whether a picture of a cell can be used: read as `analyse` reads it, with the reason it gives."""

import re
from pathlib import Path

import numpy as np

from napari_bloodcell.core.datasets.masks import read_parts
from napari_bloodcell.core.datasets.records import CellImage
from napari_bloodcell.core.errors import ImageError
from napari_bloodcell.core.image import read_image
from napari_bloodcell.core.image.pixels import GRAY_NOTE, LEAST_CONTRAST

COLOURLESS = "colourless: red, green and blue are equal in every pixel, and there is no mask to tell the cell"


def why_not(cell: CellImage) -> str | None:
    """None where the picture can be used."""
    try:
        image = read_image(cell.path)
    except ImageError as error:
        return _reason(error, cell.path)
    gray = GRAY_NOTE in image.notes and np.ptp(image.pixels) > LEAST_CONTRAST
    return COLOURLESS if gray and not cell.has_mask else None


def without_flag(text: str) -> str:
    """What is wrong with a picture of a data set: nothing that reads one takes a page."""
    return re.sub(r" Say which with --read\.page.*?, or save ", " Save ", text)


def is_mask(path: Path) -> bool:
    try:
        read_parts(path)
    except ImageError:
        return False
    return True


def _reason(error: ImageError, path: Path) -> str:
    """Without what differs from file to file, as equal reasons are counted together, and without the flag
    for a page: cells have none."""
    text = without_flag(str(error)).removeprefix(f"'{path}' ").removesuffix(".")
    return re.sub(r" \([^()]*\d[^()]*\)", "", text)
