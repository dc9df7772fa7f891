"""How fast BC-SAM and DoRL load, step and store: ``python -m benchmarks.embed_speed [--processor-time]``.

The baseline is the published loop, plainly (``published_*`` below): each cell masked, boxed and resized by
itself in the loader, fp32, SSIM by a two-dimensional convolution, masks drawn by numpy, features as gzipped
pickles of fp32. Networks, weights, cells and batches are the same; both run in turn, the least of the wall
times. A step is all of it, from the loading of the batch (from the second epoch on) to the optimizer's.
``bcsam_step_ratio`` and ``dorl_step_ratio`` are with the precision a user gets without asking: bf16 where the
processor computes in it, else fp32; ``..._fp32`` the same steps in fp32. ``--processor-time`` counts that, of
all threads together, instead of wall time: for a machine that others use too.
Cells are synthetic; token maps have the shape of the model that ships (``nano``), for the store of ViT-B.
"""

import gzip
import pickle  # noqa: TID251 (the baseline; nothing of ours reads one)
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from benchmarks._common import Figure, finish, header, in_turn
from napari_bloodcell.core.config import BcsamConfig, DorlConfig, TargetConfig
from napari_bloodcell.core.device import computes_bf16
from napari_bloodcell.core.embed.bcsam import BcsamAutoencoder
from napari_bloodcell.core.embed.dorl import DorlAutoencoder
from napari_bloodcell.core.embed.feature_store import FeatureStore, open_store
from napari_bloodcell.core.embed.recipe import AlignedRecipe, BcsamRecipe, DorlRecipe, pictures
from napari_bloodcell.core.embed.targets import targets_of
from napari_bloodcell.core.embed.training_cells import CellReader, arrange
from napari_bloodcell.core.records import Crops

LIMITS = {
    "data_path_ratio": "at least 50 (from the second epoch on, read once)",
    "data_path_stream_ratio": "sets too large for memory, read from the store",
    "bcsam_step_ratio": "at least 3, in the precision taken by default",
    "dorl_step_ratio": "at least 1.5, in the precision taken by default",
    "store_write_ratio": "at least 7",
    "store_read_ratio": "at least 7",
    "store_size_ratio": "at least 2",
}
CELLS, BATCH, SIDE, ROUNDS = 48, 24, 224, 5
NANO, VIT_B = (192, 10, 10), (768, 14, 14)
STORED = 24
CLOCK = time.process_time if "--processor-time" in sys.argv else time.perf_counter
TURNS: dict[str, Any] = {"rounds": ROUNDS, "least": True, "clock": CLOCK}


def published_target(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """One cell: largest component, grey surround, box, margin, cubic zoom, 0..1."""
    from scipy.ndimage import label, zoom

    marked, count = label(mask)
    sizes = [(marked == k).sum() for k in range(1, count + 1)]
    cell = marked == 1 + int(np.argmax(sizes))
    image = pixels.copy()
    image[~cell] = 128
    ys, xs = np.where(cell)
    box = image[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    box = np.pad(box, ((10, 10), (10, 10), (0, 0)), constant_values=128).astype(np.float32)
    small = zoom(box, (128 / box.shape[0], 128 / box.shape[1], 1), order=3)
    return (np.clip(small, 0, 255) / 255).transpose(2, 0, 1).astype(np.float32)


def published_ssim(one: Tensor, other: Tensor) -> Tensor:
    line = torch.exp(-((torch.arange(11) - 5.0) ** 2) / (2 * 1.5**2))
    line = line / line.sum()
    window = (line[:, None] * line[None]).expand(3, 1, 11, 11).contiguous()

    def blur(x: Tensor) -> Tensor:
        return F.conv2d(x, window, padding=5, groups=3)

    m1, m2 = blur(one), blur(other)
    s1, s2, s12 = blur(one * one) - m1**2, blur(other * other) - m2**2, blur(one * other) - m1 * m2
    quality = (2 * m1 * m2 + 1e-4) * (2 * s12 + 9e-4) / ((m1**2 + m2**2 + 1e-4) * (s1 + s2 + 9e-4))
    return quality.mean()


def published_mmd(z: Tensor, domain: Tensor) -> Tensor:
    """The first lab against the others."""
    one, other = z[domain == 0].mean(0), z[domain != 0].mean(0)
    return ((one - other) ** 2).mean()


def published_bcsam(network: BcsamAutoencoder, tokens: Tensor, target: Tensor, domain: Tensor) -> Tensor:
    z = network.encoder(tokens)
    drawn = network.decoder(z[:, :, None, None])
    return (1 - published_ssim(drawn, target)) + 5 * published_mmd(z, domain)


def published_dorl(
    network: DorlAutoencoder, tokens: Tensor, target: Tensor, domain: Tensor, rng: np.random.Generator
) -> Tensor:
    """Masks by numpy, cell by cell."""
    line = tokens.flatten(2).transpose(1, 2)
    x = line + network.position
    b, length, d = x.shape
    order = np.stack([rng.permutation(length) for _ in range(b)])
    back = torch.from_numpy(np.argsort(order, axis=1))
    keep = torch.from_numpy(order[:, : round(length * 0.25)].copy())
    seen = network.blocks(
        torch.cat([network.cls.expand(b, -1, -1), torch.stack([x[i][keep[i]] for i in range(b)])], 1)
    )
    filler = network.mask_token.expand(b, length - keep.shape[1], d)
    whole = torch.cat([seen[:, 1:], filler], 1)
    whole = torch.stack([whole[i][back[i]] for i in range(b)])
    made = network.decoder(torch.cat([seen[:, :1], whole], 1) + network.decoder_position)[:, 1:]
    z = network.to_z(made.mean(1))
    shown = network.picture(made)
    return (1 - published_ssim(shown, target)) + 2 * published_mmd(z, domain) + F.mse_loss(made, line)


def made_crops() -> Crops:
    """Ragged discs of many sizes."""
    rng = np.random.default_rng(0)
    yy, xx = np.mgrid[:SIDE, :SIDE]
    centre = SIDE / 2 + rng.uniform(-15, 15, (CELLS, 2, 1, 1))
    radius = rng.uniform(40, 85, CELLS)[:, None, None]
    angle = np.arctan2(yy - centre[:, 0], xx - centre[:, 1])
    edge = radius * (1 + 0.1 * np.sin(5 * angle + rng.uniform(0, 6, CELLS)[:, None, None]))
    parts = (np.hypot(yy - centre[:, 0], xx - centre[:, 1]) < edge).astype(np.uint8)
    pixels = rng.integers(0, 256, (CELLS, SIDE, SIDE, 3), dtype=np.uint8)
    return Crops(
        cell_id=np.arange(1, CELLS + 1), pixels=pixels, parts=parts, px_per_crop_px=np.ones(CELLS),
        area_px=parts.sum((1, 2)), nucleus_area_px=np.zeros(CELLS), ground_rgb=np.full(3, 230.0),
    )  # fmt: skip


def filled_store(folder: Path, crops: Crops) -> FeatureStore:
    tokens = np.random.default_rng(1).normal(size=(CELLS, *NANO)).astype(np.float32)
    store = open_store(folder, model="0" * 64, size_px=160, shape=NANO, target=TargetConfig())
    store.add([f"{i:064d}" for i in range(CELLS)], tokens, targets_of(crops))
    return store


def measure_data(crops: Crops, store: FeatureStore, reader: CellReader) -> dict[str, Figure]:
    places = np.random.default_rng(2).permutation(CELLS)[:BATCH]

    def published() -> Tensor:
        return torch.from_numpy(
            np.stack([published_target(crops.pixels[i], crops.parts[i] > 0) for i in places])
        )

    def ours() -> Tensor:
        return pictures(reader.read(places)[1])

    def streamed() -> Tensor:
        store.read_tokens(places)
        return pictures(torch.from_numpy(store.read_targets(places)))

    slow, once, fast, stream = in_turn(published, lambda: targets_of(crops), ours, streamed, **TURNS)
    return {
        "published_cell_ms": 1e3 * slow / BATCH,
        "first_epoch_cell_ms": 1e3 * once / CELLS,
        "data_path_ratio": slow / fast,
        "data_path_stream_ratio": slow / stream,
    }


def measure_steps(crops: Crops, recipes: tuple[AlignedRecipe, AlignedRecipe]) -> dict[str, Figure]:
    figures: dict[str, Figure] = {}
    rng = np.random.default_rng(3)
    for recipe in recipes:
        plain = type(recipe)(recipe.cells, recipe.config, "x")  # its own weights and memory layout
        network = plain.module.network.to(memory_format=torch.contiguous_format)  # type: ignore[union-attr]
        slow_adam = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=0.05)
        adam = torch.optim.AdamW(recipe.module.parameters(), lr=1e-4, weight_decay=0.05)
        recipe.module.train()
        network.train()

        def published(recipe=recipe, network=network, adam=slow_adam) -> None:  # type: ignore[no-untyped-def]
            places = rng.permutation(CELLS)[:BATCH]
            target = torch.from_numpy(
                np.stack([published_target(crops.pixels[i], crops.parts[i] > 0) for i in places])
            )
            tokens = recipe.reader.read(places)[0].float()
            domain = torch.from_numpy(recipe.cells.domain[places])
            adam.zero_grad()
            if isinstance(network, DorlAutoencoder):
                loss = published_dorl(network, tokens, target, domain, rng)
            else:
                loss = published_bcsam(network, tokens, target, domain)
            loss.backward()
            adam.step()

        def ours(low: bool = False, recipe=recipe, adam=adam) -> None:  # type: ignore[no-untyped-def]
            batch = next(iter(recipe.batches(0)))
            adam.zero_grad(set_to_none=True)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low):
                terms = recipe.module(**batch)
                total = torch.stack([term.float() for term in terms.values()]).sum()
            total.backward()
            adam.step()

        low = recipe.bf16_on_processors and computes_bf16(torch.device("cpu"))
        slow, default, full = in_turn(published, lambda: ours(low), ours, **TURNS)  # noqa: B023
        name = recipe.name
        figures |= {
            f"{name}_published_cell_ms": 1e3 * slow / BATCH,
            f"{name}_cell_ms": 1e3 * default / BATCH,
            f"{name}_step_ratio": slow / default,
            f"{name}_default_is_bf16": float(low),
            f"{name}_step_ratio_fp32": slow / full,
        }
    return figures


def measure_store(folder: Path) -> dict[str, Figure]:
    """Token maps alone, of ViT-B's shape: one gzipped pickle a cell against one chunk a cell."""
    tokens = np.random.default_rng(4).normal(size=(STORED, *VIT_B)).astype(np.float32)
    blank = np.full((STORED, 128, 128, 3), 128, np.uint8)
    plain = folder / "pickles"
    plain.mkdir()
    stores: list[FeatureStore] = []

    def write_plain() -> None:
        for i, one in enumerate(tokens):
            with gzip.open(plain / f"{i}.pkl.gz", "wb") as file:
                pickle.dump(one, file)

    def read_plain() -> None:
        for i in range(STORED):
            with gzip.open(plain / f"{i}.pkl.gz", "rb") as file:
                pickle.load(file)

    def write_ours() -> None:
        place = folder / f"store{len(stores)}"
        store = open_store(place, model="0" * 64, size_px=224, shape=VIT_B, target=TargetConfig())
        store.add([f"{i:064d}" for i in range(STORED)], tokens, blank)
        stores.append(store)

    slow_write, write = in_turn(write_plain, write_ours, **TURNS)
    slow_read, read = in_turn(read_plain, lambda: stores[-1].read_tokens(np.arange(STORED)), **TURNS)

    def size(root: Path) -> int:
        return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())

    return {
        "store_write_ratio": slow_write / write,
        "store_read_ratio": slow_read / read,
        "store_size_ratio": size(plain) / size(stores[-1].folder),
    }


def main() -> None:
    header(
        "embed_speed",
        f"{CELLS} cells, batches of {BATCH}, maps {NANO} and {VIT_B}, {torch.get_num_threads()} threads, "
        f"{'processor' if CLOCK is time.process_time else 'wall'} time",
    )
    with tempfile.TemporaryDirectory() as place:
        folder, crops = Path(place), made_crops()
        store = filled_store(folder / "cells", crops)
        labs = ["a" if i % 2 else "b" for i in range(CELLS)]
        cells = arrange(store, range(CELLS), labs, [False] * CELLS)
        figures = measure_data(crops, store, CellReader(cells))
        recipes = (
            BcsamRecipe(cells, BcsamConfig(batch=BATCH), "x"),
            DorlRecipe(cells, DorlConfig(batch=BATCH), "x"),
        )
        figures |= measure_steps(crops, recipes)
        figures |= measure_store(folder)
    reasons = {}
    if not torch.cuda.is_available():
        figures |= {"gpu_bcsam_cells_per_s": None, "gpu_dorl_cells_per_s": None}
        reasons = dict.fromkeys(("gpu_bcsam_cells_per_s", "gpu_dorl_cells_per_s"), "torch sees no GPU here")
    finish(figures, LIMITS, reasons)


if __name__ == "__main__":
    main()
