"""SADA against plain training, each of its parts switched off once, and the time of its step:
``python -m benchmarks.sada``.

The accuracies come from ``sada_runs.json`` beside this file: what each run guessed for each cell of the lab
that it never saw. ``python -m benchmarks.sada --train FOLDER`` makes them anew (an hour and a half on two
cores; run again it goes on): three labs, each left out once, three seeds, one budget of steps for all. The
backbone is the small one; it starts from weights learnt on synthetic cells alone, for 300 cells are too few to
start from nothing.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812

from benchmarks._common import Figure, finish, header, real_data
from benchmarks.stain import batch_of, published_augmentation
from napari_bloodcell.core.cells import masks_of_parts
from napari_bloodcell.core.config import BackboneConfig, CropConfig, SadaConfig, TrainConfig
from napari_bloodcell.core.crop import crop, join
from napari_bloodcell.core.datasets import load_dataset
from napari_bloodcell.core.embed.sada.cells import LabCells, cut_out
from napari_bloodcell.core.embed.sada.fit import MODEL, f1, guesses, train_labs
from napari_bloodcell.core.embed.sada.recipe import LabsRecipe
from napari_bloodcell.core.records import SmearImage
from napari_bloodcell.core.synthetic import MAIN_KINDS, make_cells
from napari_bloodcell.core.taxonomy import COARSE, DEFAULT

RUNS = Path(__file__).with_name("sada_runs.json")
LABS, SEEDS, SIZE_PX = ("bccd", "cellavision", "jtsc"), (0, 1, 2), 64
SYNTHETIC, SYNTHETIC_LOOKS = 4000, 4
START = TrainConfig(epochs=16, optimizer="adam", learning_rate=1e-3, weight_decay=0, clip_norm=None)
TRAINING = TrainConfig(epochs=12, optimizer="adam", learning_rate=5e-4, weight_decay=0, clip_norm=None)
FULL = SadaConfig(per_lab=16, steps_per_epoch=12, swad_converge=2, swad_tolerance=3)
VARIANTS = {
    "erm": replace(FULL, method="erm"),
    "sada": FULL,
    "no_views": replace(FULL, stain_views=False),
    "no_alignment": replace(FULL, alignment=0.0),
    "no_proxies": replace(FULL, contrast="supcon"),
    "no_swad": replace(FULL, swad=False),
    "no_stages": replace(FULL, two_stages=False),
}


def synthetic_cells(seed: int) -> LabCells:
    """Drawn cells of random stains, cut out by their exact outlines; a few pretended labs."""
    drawn = make_cells(SYNTHETIC, seed=seed, size_px=128, classes=MAIN_KINDS)
    crops, labels = [], []
    for i, name in enumerate(drawn.class_names):
        masks = masks_of_parts(drawn.parts[i])
        if masks is not None:
            crops.append(crop(SmearImage(pixels=drawn.pixels[i]), masks, CropConfig(size_px=SIZE_PX)))
            labels.append(sorted(COARSE).index(DEFAULT.coarse(name)))
    n = len(labels)
    return LabCells(
        pixels=join(crops).pixels,
        labels=np.array(labels, np.int64),
        labs=np.arange(n) % SYNTHETIC_LOOKS,
        held_out=np.arange(n) % 10 == 9,
        class_names=tuple(sorted(COARSE)),
        lab_names=tuple(f"synthetic {i}" for i in range(SYNTHETIC_LOOKS)),
    )


def start_weights(folder: Path) -> Path:
    """The small backbone after plain training on synthetic cells."""
    path = folder / "start" / MODEL
    if not path.is_file():
        plain = SadaConfig(method="erm", per_lab=8, steps_per_epoch=100, swad=True)
        backbone = BackboneConfig(backbone="small", weights="none", size_px=SIZE_PX)
        done = train_labs(
            synthetic_cells(2026), path.parent, plain, backbone=backbone, training=START, watch=print
        )
        print("synthetic, held out:", done.model.figures)
    return path


if __name__ == "__main__":
    torch.set_num_threads(1)
    start_weights(Path("/tmp/h8_bench"))
