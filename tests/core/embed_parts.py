"""What the tests of embeddings share: a tiny model, cells of two labs, a store with made token maps."""

from pathlib import Path

import numpy as np
import torch
from sam_parts import TINY, shake

from napari_bloodcell.core.config import TargetConfig
from napari_bloodcell.core.embed.feature_store import FeatureStore, open_store
from napari_bloodcell.core.embed.sam_model import OpenSam, of_model
from napari_bloodcell.core.embed.training_cells import TrainingCells, arrange
from napari_bloodcell.core.records import Crops
from napari_bloodcell.core.sam.model import CellSam

SHAPE = (8, 4, 4)


def tiny_sam(seed: int = 0) -> OpenSam:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CellSam(TINY, 3).eval()
    shake(model, seed)
    return of_model(model)


def crops(count: int, seed: int = 0, side: int = 32, tint: int = 0) -> Crops:
    """Discs of two sizes on a pale ground; ``tint`` is the lab's stain."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:side, :side] - side / 2
    radius = rng.uniform(side / 5, side / 2.5, count)[:, None, None]
    distance = np.hypot(yy, xx)[None]
    parts = (distance < radius).astype(np.uint8) + (distance < radius / 2)
    pixels = rng.integers(190, 230, (count, side, side, 3)).astype(np.uint8)
    pixels[parts > 0] -= np.array([60, 90, 20 + tint], np.uint8)
    return Crops(
        cell_id=np.arange(1, count + 1), pixels=pixels, parts=parts.astype(np.uint8),
        px_per_crop_px=np.ones(count), area_px=(parts > 0).sum((1, 2)),
        nucleus_area_px=(parts == 2).sum((1, 2)), ground_rgb=np.full(3, 220.0),
    )  # fmt: skip


def open_small(folder: Path, model: str = "a" * 64, shape: tuple[int, int, int] = SHAPE) -> FeatureStore:
    return open_store(folder, model=model, size_px=64, shape=shape, target=TargetConfig())


def key(i: int) -> str:
    return f"{i:064d}"


def made_cells(folder: Path, labs: list[str], seed: int = 0, held_out: float = 0.25) -> TrainingCells:
    """Cells with random token maps, each lab with a mean of its own."""
    rng, store = np.random.default_rng(seed), open_small(folder)
    number = np.array([sorted(set(labs)).index(lab) for lab in labs])
    tokens = rng.normal(size=(len(labs), *SHAPE)) + number[:, None, None, None]
    targets = rng.integers(0, 256, (len(labs), 128, 128, 3), dtype=np.uint8)
    store.add([key(i) for i in range(len(labs))], tokens, targets)
    held = [i % round(1 / held_out) == 0 for i in range(len(labs))] if held_out else [False] * len(labs)
    return arrange(store, range(len(labs)), labs, held)
