"""SADA against plain training, each of its parts switched off once, and the time of its step:
``python -m benchmarks.sada``.

The accuracies come from ``sada_runs.json`` beside this file: what each run guessed for each cell of the lab
that it never saw. ``python -m benchmarks.sada --train FOLDER`` makes them anew, and goes on where it stopped:
three labs, each left out once, three seeds, one budget of steps for all. The backbone is the small one. It
starts from weights learnt on drawn cells alone: 300 cells are too few to start from nothing.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812
from torchvision.transforms import ColorJitter
from torchvision.transforms.functional import rotate

from benchmarks._common import Figure, finish, header, real_data
from benchmarks.stain import batch_of, published_augmentation
from napari_bloodcell.core.artifact import hash_of, write_bytes
from napari_bloodcell.core.cells import masks_of_parts
from napari_bloodcell.core.config import BackboneConfig, CropConfig, SadaConfig, TrainConfig
from napari_bloodcell.core.crop import crop, join
from napari_bloodcell.core.datasets import load_dataset
from napari_bloodcell.core.device import computes_bf16
from napari_bloodcell.core.embed.sada.backbones import build
from napari_bloodcell.core.embed.sada.cells import LabCells, cut_out
from napari_bloodcell.core.embed.sada.fit import guesses, train_labs
from napari_bloodcell.core.embed.sada.losses import local_alignment, proxy_contrast
from napari_bloodcell.core.embed.sada.methods.sada import Sada
from napari_bloodcell.core.embed.sada.model import FILE
from napari_bloodcell.core.embed.sada.network import LabNet
from napari_bloodcell.core.embed.sada.recipe import LabsRecipe
from napari_bloodcell.core.embed.sada.views import BRIGHTNESS, CONTRAST, HUE, SATURATION
from napari_bloodcell.core.records import SmearImage
from napari_bloodcell.core.synthetic import MAIN_KINDS, make_cells
from napari_bloodcell.core.taxonomy import COARSE, DEFAULT

LIMITS = {
    "step_ratio": "at least 3 (plain transcription over ours, same backbone)",
    "sada_gain_f1_micro": "published: +0.048 (four labs, ResNet50, ImageNet weights)",
    "sada_gain_f1_macro": "published: +0.054",
}
CELLS, VIEWS, STEP_PX, ROUNDS, DRAWS = 96, 3, 96, 3, 1000
RUNS = Path(__file__).with_name("sada_runs.json")
LABS, SEEDS, SIZE_PX = ("bccd", "cellavision", "jtsc"), (0, 1, 2), 64
DRAWN, PRETENDED_LABS = 4000, 4
PLAIN = TrainConfig(optimizer="adam", learning_rate=1e-3, weight_decay=0.0, clip_norm=None)
START = replace(PLAIN, epochs=16)
TRAINING = replace(PLAIN, epochs=8, schedule="constant", learning_rate=3e-4)
FULL = SadaConfig(per_lab=8, steps_per_epoch=12, swad_converge=2, swad_tolerance=3)
VARIANTS = {
    "erm": replace(FULL, method="erm"),
    "sada": FULL,
    "no_views": replace(FULL, stain_views=False),
    "no_alignment": replace(FULL, alignment=0.0),
    "no_proxies": replace(FULL, contrast="supcon"),
    "no_swad": replace(FULL, swad=False),
    "no_stages": replace(FULL, two_stages=False),
}


def drawn_cells(seed: int) -> LabCells:
    """Cells of random stains, cut out by their exact outlines; a few pretended labs."""
    drawn = make_cells(DRAWN, seed=seed, size_px=128, classes=MAIN_KINDS)
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
        labs=np.arange(n) % PRETENDED_LABS,
        held_out=np.arange(n) % 10 == 9,
        class_names=tuple(sorted(COARSE)),
        lab_names=tuple(f"drawn {i}" for i in range(PRETENDED_LABS)),
    )


def start_weights(folder: Path) -> Path:
    """The small backbone after plain training on drawn cells."""
    path = folder / "start" / FILE
    if not path.is_file():
        plain = SadaConfig(method="erm", per_lab=8, steps_per_epoch=100)
        backbone = BackboneConfig(backbone="small", weights="none", size_px=SIZE_PX)
        done = train_labs(drawn_cells(2026), path.parent, plain, backbone=backbone, training=START)
        print("drawn cells, held out:", done.model.figures)
    return path


def real_cells(folder: Path, data: Path) -> LabCells:
    """Cut out once."""
    path = folder / "cells.npz"
    if not path.is_file():
        backbone = BackboneConfig(backbone="small", weights="none", size_px=SIZE_PX)
        cells = cut_out(load_dataset(data), backbone, FULL)
        names = ("pixels", "labels", "labs", "held_out", "class_names", "lab_names")
        np.savez(path, **{name: np.asarray(getattr(cells, name)) for name in names})
    stored = np.load(path)
    return LabCells(**{n: tuple(stored[n].tolist()) if "names" in n else stored[n] for n in stored.files})


def train_all(folder: Path, data: Path) -> None:
    """Every run that is not there yet; each is written at once."""
    folder.mkdir(parents=True, exist_ok=True)
    start, cells = start_weights(folder), real_cells(folder, data)
    backbone = BackboneConfig(backbone="small", weights=str(start), norm="group", size_px=SIZE_PX)
    settings = hash_of(
        [
            cells.hash,
            SIZE_PX,
            TRAINING.to_json(),
            {n: c.to_json() for n, c in VARIANTS.items()},
            default_is_bf16(),
        ]
    )
    stored = read_runs()
    if stored.get("settings") != settings:
        stored = {"settings": settings, "truth": {}, "runs": {}}
    for seed in SEEDS:
        for lab in LABS:
            for name, config in VARIANTS.items():
                key = f"{name}/{lab}/{seed}"
                if key not in stored["runs"]:
                    began, cpu = time.perf_counter(), time.process_time()
                    training = replace(TRAINING, seed=seed)
                    with TemporaryDirectory() as place:
                        done = train_labs(
                            cells, Path(place), config, backbone=backbone, training=training, leave=lab
                        )
                    assert done.target is not None
                    truth, guess = guesses(done.model, done.target)
                    stored["truth"][lab], stored["runs"][key] = truth, guess
                    write_bytes(RUNS, json.dumps(stored).encode())
                    spent = time.perf_counter() - began, time.process_time() - cpu
                    print(
                        key,
                        done.scores,
                        done.model.figures,
                        f"{spent[0]:.0f} s, {spent[1]:.1f} s of processor",
                        flush=True,
                    )


def read_runs() -> dict[str, Any]:
    return json.loads(RUNS.read_text()) if RUNS.is_file() else {}


def scores_of(runs: dict[str, Any]) -> dict[str, Figure]:
    """F1 of each variant: the mean over the labs left out, of the mean over the seeds. Intervals by drawing
    the cells of each lab anew; ``gain`` compares with plain training on the same draws."""
    rng = np.random.default_rng(0)
    figures: dict[str, Figure] = {}
    truth = {lab: np.array(names) for lab, names in runs["truth"].items()}
    draws = [{lab: rng.integers(len(t), size=len(t)) for lab, t in truth.items()} for _ in range(DRAWS)]
    whole = {lab: np.arange(len(t)) for lab, t in truth.items()}
    tables: dict[str, np.ndarray] = {}
    for name in VARIANTS:
        own = [
            (*key.split("/")[1:], guess) for key, guess in runs["runs"].items() if key.startswith(f"{name}/")
        ]
        figures[f"{name}_runs"] = len(own)
        if {lab for lab, _, _ in own} != set(LABS):
            continue
        runs_of = {lab: [np.array(guess) for at, _, guess in own if at == lab] for lab in LABS}
        tables[name] = np.array([_mean_scores(truth, runs_of, rows) for rows in [whole, *draws]])
        for column, figure in enumerate(("f1_micro", "f1_macro")):
            low, high = np.quantile(tables[name][1:, column], (0.025, 0.975))
            key = f"{name}_{figure}"
            figures |= {key: tables[name][0, column], f"{key}_low": low, f"{key}_high": high}
    for name, table in tables.items():
        if name != "erm" and "erm" in tables:
            gain = table - tables["erm"]
            for column, figure in enumerate(("f1_micro", "f1_macro")):
                low, high = np.quantile(gain[1:, column], (0.025, 0.975))
                key = f"{name}_gain_{figure}"
                figures |= {key: gain[0, column], f"{key}_low": low, f"{key}_high": high}
    return {name: float(v) if isinstance(v, np.floating) else v for name, v in figures.items()}


def _mean_scores(
    truth: dict[str, np.ndarray], guesses_of: dict[str, list[np.ndarray]], rows: dict[str, np.ndarray]
) -> list[float]:
    each = []
    for lab, several in guesses_of.items():
        chosen, known = truth[lab][rows[lab]], np.unique(truth[lab])
        scores = [quick_f1(chosen, guess[rows[lab]], known) for guess in several]
        each.append(np.mean(scores, axis=0))
    return list(np.mean(each, axis=0))


def quick_f1(truth: np.ndarray, guess: np.ndarray, known: np.ndarray) -> tuple[float, float]:
    """As ``f1`` of the package, without its checks: it is asked for thousands of times."""
    right = truth == guess
    parts = [
        2 * (right & (truth == k)).sum() / max((truth == k).sum() + (guess == k).sum(), 1) for k in known
    ]
    return float(right.mean()), float(np.mean(parts))


def plain_step(
    net: Sada, images: torch.Tensor, labels: torch.Tensor, optimizer: torch.optim.Optimizer
) -> None:
    """The published step, written down plainly: stains image after image, then one geometry for the views
    of an image, colour jitter by torchvision, and the same network and losses."""
    views = published_augmentation(images, VIEWS).float() / 255
    jitter = ColorJitter(BRIGHTNESS, CONTRAST, SATURATION, HUE)
    angles = torch.rand(len(images)) * 360
    ready = torch.stack(
        [
            torch.stack([jitter(rotate(one, float(angle))) for one, angle in zip(view, angles, strict=True)])
            for view in views
        ]
    )
    backbone = net.net.backbone
    maps = backbone.network((ready.flatten(0, 1) * 255 - backbone.mean) / backbone.std)
    unit = F.normalize(net.projector(maps.mean((2, 3))), dim=1).view(VIEWS, len(images), -1)
    places = net.local(maps)
    loss = proxy_contrast(unit, labels, 0.1) + local_alignment(
        places.view(VIEWS, len(images), *places.shape[1:])
    )
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def our_step(net: Sada, batch: dict[str, torch.Tensor], optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad(set_to_none=True)
    torch.stack(list(net(**batch).values())).sum().backward()
    optimizer.step()


def default_is_bf16() -> bool:
    return LabsRecipe.bf16_on_processors and computes_bf16(torch.device("cpu"))


def measure_step() -> dict[str, Figure]:
    """Processor seconds of one step in the first stage: one thread, the least of several turns."""
    images = batch_of(CELLS)[:, :, :STEP_PX, :STEP_PX].contiguous()
    labels = torch.arange(CELLS) % 5
    batch = {
        "pixels": images,
        "labels": labels,
        "labs": torch.arange(CELLS) % 3,
        "luck": torch.arange(CELLS),
        "stage": torch.ones(CELLS, dtype=torch.int64),
    }
    backbone = BackboneConfig(backbone="small", weights="none", size_px=STEP_PX)

    def fresh() -> tuple[Sada, torch.optim.Optimizer]:
        net = Sada(LabNet(build(backbone), 5), SadaConfig(views=VIEWS), torch.zeros(5))
        return net, torch.optim.Adam(net.parameters(), lr=5e-5)

    (plain, plain_optimizer), (ours, our_optimizer) = fresh(), fresh()
    plain = plain.to(memory_format=torch.contiguous_format)
    low = default_is_bf16()
    slow = least(lambda: plain_step(plain, images, labels, plain_optimizer))
    full = least(lambda: our_step(ours, batch, our_optimizer))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low):
        default = least(lambda: our_step(ours, batch, our_optimizer))
    return {
        "plain_step_s": slow,
        "step_s": default,
        "step_ratio": slow / default,
        "default_is_bf16": float(low),
        "step_ratio_fp32": slow / full,
    }


def least(call: Callable[[], object]) -> float:
    taken = []
    for _ in range(ROUNDS):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return min(taken)


def main() -> None:
    torch.set_num_threads(1)
    if "--train" in sys.argv:
        data = real_data()
        if data is None:
            sys.exit("There are no real cells: set BLOODCELL_DATA.")
        train_all(Path(sys.argv[sys.argv.index("--train") + 1]), data)
    header("sada", f"small backbone; step: {CELLS} cells x {VIEWS} views, {STEP_PX} px, one thread")
    figures, reasons = measure_step(), {}
    runs = read_runs()
    if runs:
        figures |= scores_of(runs)
    else:
        reasons["sada_f1_micro"] = "no runs: python -m benchmarks.sada --train FOLDER"
        figures["sada_f1_micro"] = None
    finish(figures, LIMITS, reasons)


if __name__ == "__main__":
    main()
