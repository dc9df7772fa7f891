"""Small drawn fields, for tests of what many images leave behind."""

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from napari_bloodcell.core.config import SmearConfig
from napari_bloodcell.core.synthetic import make_smear


def draw(path: Path, seed: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(_pixels(seed)).save(path)
    return path


@cache
def _pixels(seed: int) -> np.ndarray:
    smear = make_smear(SmearConfig(width_px=320, height_px=240, white_cells=2, seed=seed))
    return np.array(smear.image.pixels)
