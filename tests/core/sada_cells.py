"""A few drawn cells of made-up labs, for the tests of SADA."""

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from napari_bloodcell.core.datasets import Dataset, load_dataset
from napari_bloodcell.core.embed.sada.cells import LabCells
from napari_bloodcell.core.synthetic import make_cells

LOOKS = ("giemsa_blue", "rapid_yellow", "wright_cream")
NAMES = ("eosinophil", "lymphocyte_typical", "monocyte")


def lab_cells(
    size_px: int = 32, counts: tuple[int, ...] = (8, 8, 8), held_out: int = 2, *, odd_one: bool = False
) -> LabCells:
    """Each lab has its own look; so many train, so many are held out. ``odd_one``: lab 0 has one class only,
    but for a cell."""
    pixels, labels, labs, held = [], [], [], []
    for lab, count in enumerate(counts):
        total = count + held_out
        pixels.append(_drawn(LOOKS[lab], total, size_px))
        own = np.arange(total) % len(NAMES)
        if odd_one and lab == 0:
            own = (np.arange(total) == 1).astype(np.int64)
        labels.append(own)
        labs.append(np.full(total, lab))
        held.append(np.arange(total) >= count)
    return LabCells(
        pixels=np.concatenate(pixels),
        labels=np.concatenate(labels).astype(np.int64),
        labs=np.concatenate(labs).astype(np.int64),
        held_out=np.concatenate(held),
        class_names=NAMES,
        lab_names=tuple(f"lab {i}" for i in range(len(counts))),
    )


@cache
def _drawn(look: str, count: int, size_px: int) -> np.ndarray:
    return make_cells(count, seed=5, size_px=size_px, look=look, classes=NAMES).pixels


def drawn_labs(root: Path) -> Dataset:
    """Two labs of folders, cells of which have other picture sizes for other classes."""
    for lab, look in (("north", "giemsa_blue"), ("south", "rapid_yellow")):
        for name, size in (("monocyte", 96), ("lymphocyte", 140)):
            kind = {"lymphocyte": "lymphocyte_typical"}.get(name, name)
            folder = root / lab / name
            folder.mkdir(parents=True)
            for i, pixels in enumerate(make_cells(2, seed=4, size_px=size, look=look, classes=[kind]).pixels):
                Image.fromarray(pixels).save(folder / f"{name}_{i}.png")
        Image.fromarray(np.full((90, 90, 3), 240, np.uint8)).save(root / lab / "monocyte" / "blank.png")
    return load_dataset(root)
