"""Masks of all sets in one code: 0 ground, 1 cytoplasm, 2 nucleus."""

from pathlib import Path

import numpy as np

from napari_bloodcell.core.errors import ImageError
from napari_bloodcell.core.records import ByteArray

CYTOPLASM, NUCLEUS = 1, 2


def read_parts(path: Path) -> ByteArray:
    """H x W. Masks written as 0, 1, 2 stay; those in grey (0, 128, 255, as Zheng-18) are cut in three."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            flat = image if image.mode in ("1", "L", "P") else image.convert("L")
            values = np.asarray(flat).astype(np.uint8)
    except (OSError, ValueError) as error:
        raise ImageError(
            f"Cannot read the mask {path}: {error}. It takes an image of one channel."
        ) from error
    if values.max(initial=0) <= NUCLEUS:
        return values
    return np.where(values < 64, 0, np.where(values < 192, CYTOPLASM, NUCLEUS)).astype(np.uint8)
