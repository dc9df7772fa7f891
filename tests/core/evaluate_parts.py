"""Small labs for evaluations."""

from pathlib import Path

import numpy as np
from PIL import Image

from napari_bloodcell.core.synthetic import make_cells
from napari_bloodcell.core.taxonomy import DEFAULT

KINDS = ("neutrophil_segmented", "lymphocyte_typical", "eosinophil")


def draw_labs(root: Path, cells: int = 12) -> Path:
    """Two labs, ``north`` and ``south``, of so many drawn cells each, in folders of coarse classes, without
    masks."""
    for number, lab in enumerate(("north", "south")):
        drawn = make_cells(cells, seed=31 + number, size_px=128, classes=KINDS)
        for i, name in enumerate(drawn.class_names):
            path = root / lab / DEFAULT.coarse(name) / f"{i:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.asarray(drawn.pixels[i])).save(path)
    return root
