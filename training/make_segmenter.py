"""Makes ``bundles/segmenters/nano``, the segmenter that ships: finds cytoplasm and nucleus of the cell in the
middle of a window.

``python training/make_segmenter.py`` from the root; about an hour of one CPU core. It learns from the training
cells of the labs with masks (BLOODCELL_DATA, or ``shared/data`` beside the checkout; the 20 % of them that the
hash of the file name holds out are only scored at the end), from the same cells in other stains, and from
synthetic cells. No choice is made by the held-out cells: the last epochs are chosen among by training cells.

``--leave-out LAB`` trains without that lab, and without the synthetic looks drawn after it, and scores all of
its cells. A run that was stopped goes on when started again.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks._common import real_data  # noqa: E402

from napari_bloodcell.core.artifact import read_json, write_bytes, write_json  # noqa: E402
from napari_bloodcell.core.config import (  # noqa: E402
    MaskTrainConfig,
    SmearConfig,
    StainAugmentConfig,
    TrainConfig,
    ViewConfig,
)
from napari_bloodcell.core.datasets import CellImage, load_dataset, split_of  # noqa: E402
from napari_bloodcell.core.errors import BloodcellError, ConfigError, DataError  # noqa: E402
from napari_bloodcell.core.finetune.pictures import read_cells  # noqa: E402
from napari_bloodcell.core.sam.files import hash_file  # noqa: E402
from napari_bloodcell.core.sam.ground import on_white  # noqa: E402
from napari_bloodcell.core.sam.model import CellSam, at_size, load_model, new_model, save_model  # noqa: E402
from napari_bloodcell.core.sam.train.cells import CANVAS_PX, MaskedCells, cells_of, join  # noqa: E402
from napari_bloodcell.core.sam.train.recipe import (  # noqa: E402
    MaskLoss,
    MaskRecipe,
    Mix,
    choose_trained,
    score_cells,
)
from napari_bloodcell.core.stain import ground_light  # noqa: E402
from napari_bloodcell.core.stain.augment import augment  # noqa: E402
from napari_bloodcell.core.stain.profile import profiles_of  # noqa: E402
from napari_bloodcell.core.synthetic import KINDS, make_cells, make_smear  # noqa: E402
from napari_bloodcell.core.training import train  # noqa: E402
from napari_bloodcell.core.training.checkpoint import BEST, read_state  # noqa: E402

LABS = ("jtsc", "cellavision")
# Looks of the generator that were drawn with the pictures of a lab in view.
DRAWN_AFTER = {"jtsc": "rapid_yellow", "cellavision": "wright_cream"}
DRAWN = tuple(name for name, kind in KINDS.items() if kind.nucleus != "burst")
OUT = ROOT / "src" / "napari_bloodcell" / "bundles" / "segmenters"
SEED, SIZE_PX, BATCH, STEPS = 2026, 128, 32, 100
RESTAINED = 6  # copies of each real cell in other stains
RUNS = ROOT / "benchmarks" / "segment_runs.json"
LOOP = TrainConfig(
    epochs=30,
    learning_rate=1e-3,
    weight_decay=0.05,
    warmup_steps=200,
    precision="bf16",
    device="cpu",
    seed=SEED,
)
MASKS = MaskTrainConfig(size_px=SIZE_PX, batch=BATCH, steps_per_epoch=STEPS)


CARD = """# nano: outlines of white cells

Nucleus and cytoplasm of the cell in the middle of a window: a Segment Anything model of 4.8 million parameters, of
which 0.8 (the promptable head) are untrained. Input {size} px, the ground made white (`core/sam/ground.py`), the window
1.5 times the cell's box (`core/sam/window.py`). SHA-256 `{file}`.

**Research use only. Not for diagnosis.**

## Trained on

- `jtsc` and `cellavision`: the training cells (those the hash of the file name does not hold out) of Dataset 1 and
  Dataset 2 of zxaoyou/segmentation_WBC (Zheng et al., Micron 107, 2018; images by Jiangxi Tecom and the CellaVision
  blog; repository licence GPL-3.0). No image of them is in this package.
- The same cells in other stains, and among drawn red cells.
- Half of what it saw: cells drawn by `core/synthetic`, each in a stain of its own.
- {steps} steps of {batch} cells (of a run of {of_steps}), `python training/make_segmenter.py`. No held-out cell took part in any choice.

## Scores

IoU of the parts in the window used at inference, centred on the true box. `python -m benchmarks.segment_accuracy`
scores the whole product: proposals by stain, then this model.

| cells | n | cell | 10th percentile | nucleus | 10th percentile |
|---|---|---|---|---|---|
{table}

"Trained without it": another model, made the same way without that lab and without the synthetic look drawn after
its pictures, scored on all its cells. It is the honest guess for a lab nobody has seen.

## Limits

- Two labs, 240 training cells, five classes; the masks were drawn by others and not checked by us.
- Granules that leave the cell, smudge cells and cells cut by the edge of the picture are outlined worst.
- Red cells that cling to a dark cell may be taken in, pale cytoplasm may be cut off: look at the outlines.
- Outlines are for windows with one white cell in the middle. It does not find cells by itself.
"""


def synthetic(count: int, seed: int, without: Sequence[str]) -> MaskedCells:
    """Half of them alone in their picture, half from whole fields; each from a laboratory of its own."""
    alone = make_cells(count // 2, seed=seed, size_px=144, classes=DRAWN, without=without)
    groups = [
        cells_of(alone.pixels[i], parts > 0, parts == 2, name=f"alone {seed} {i}", source="synthetic")
        for i, parts in enumerate(alone.parts)
    ]
    found, number = 0, 0
    while found < count - count // 2:
        number += 1
        rng = np.random.default_rng([seed, number])
        um, side = float(np.exp(rng.uniform(np.log(0.06), np.log(0.22)))), int(rng.integers(320, 560))
        whites = max(1, int((side * um / 18) ** 2 * rng.uniform(0.4, 1.3)))
        crowding = float(rng.uniform(0.2, 1)) if rng.random() < 0.9 else 0.0
        try:
            smear = make_smear(field(seed, number, um, side, whites, crowding), without=without)
            cells = cells_of(
                smear.image.pixels, smear.masks.labels, smear.masks.nucleus, name=f"field {seed} {number}",
                source="synthetic",
            )  # fmt: skip
        except (ConfigError, DataError):  # too many cells for the field, or all of them cut by its border
            continue
        groups.append(cells)
        found += len(cells)
    return join(groups)


def field(seed: int, number: int, um: float, side: int, whites: int, crowding: float) -> SmearConfig:
    return SmearConfig(
        look="random", um_per_px=um, width_px=side, height_px=side, mix="even", white_cells=whites,
        crowding=crowding, seed=seed * 10_000 + number,
    )  # fmt: skip


def red_cells(count: int, seed: int, without: Sequence[str]) -> np.ndarray:
    """Fields without a white cell, to lay around real ones."""
    rng, fields = np.random.default_rng([seed, 0]), []
    for number in range(count):
        um, crowding = float(np.exp(rng.uniform(np.log(0.08), np.log(0.2)))), float(rng.uniform(0.3, 1))
        config = field(seed + 50, number, um, CANVAS_PX, 0, crowding)
        pixels = make_smear(config, without=without).image.pixels
        fields.append(on_white(pixels, ground_light(pixels)))
    return np.stack(fields)


def restained(cells: MaskedCells, samples: MaskedCells, copies: int) -> MaskedCells:
    """The same cells in stains drawn from the spread of those of ``samples``."""
    profiles = profiles_of([samples.pixels[i] for i in range(0, len(samples), max(1, len(samples) // 300))])
    profiles = [p for p in profiles if not p.flag]
    config = StainAugmentConfig(kind="random", views=copies, spread=1.0)
    groups = []
    for start in range(0, len(cells), 16):
        few = cells.take(range(start, min(start + 16, len(cells))))
        views = augment(few.pixels.copy(), config, generator=SEED + start, profiles=profiles)
        groups += [
            MaskedCells(
                pixels=view, parts=few.parts, names=tuple(f"{n} restained {k}" for n in few.names),
                source=tuple(f"{s} restained" for s in few.source),
            )
            for k, view in enumerate(views)
        ]  # fmt: skip
    return join(groups)


def stored_bank(cache: Path, count: int, seed: int, without: Sequence[str]) -> MaskedCells:
    path = cache / f"synthetic-{count}-{seed}-{'-'.join(without) or 'all'}.npz"
    if not path.exists():
        bank = synthetic(count, seed, without)
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(path, pixels=bank.pixels, parts=bank.parts, names=np.array(bank.names))
    with np.load(path) as stored:
        names = tuple(map(str, stored["names"]))
        return MaskedCells(
            pixels=stored["pixels"], parts=stored["parts"], names=names, source=("synthetic",) * len(names)
        )


def gather(labs: Sequence[str], left_out: str | None, cache: Path, count: int) -> tuple[MaskedCells, Mix]:
    """What the training sees."""
    without = () if left_out is None else (DRAWN_AFTER[left_out],)
    drawn = stored_bank(cache, count, SEED, without)
    real = [read_cells(cells_of_lab(lab, "train")) for lab in labs]
    around = red_cells(300, SEED, without)
    again = [restained(cells, drawn, RESTAINED) for cells in real]
    shares = {"synthetic": 0.5}
    for lab in labs:
        shares |= {lab: 0.3 / len(labs), f"{lab} restained": 0.2 / len(labs)}
    return join([*real, *again, drawn]), Mix(shares=shares, surroundings=around)


def cells_of_lab(lab: str, side: str) -> list[CellImage]:
    root = real_data()
    if root is None:
        raise DataError("No real cells: set BLOODCELL_DATA to the folder that holds jtsc and cellavision.")
    return [c for c in load_dataset(root / lab).cells if side == "all" or split_of(c.path.name) == side]


def scores_of(model: CellSam, cells: MaskedCells) -> dict[str, float]:
    figures: dict[str, float] = {"cells": len(cells)}
    for name, values in score_cells(model, cells, SIZE_PX).items():
        figures |= {name: float(values.mean()), f"{name}_p10": float(np.percentile(values, 10))}
    return figures


def finish(model: CellSam, folder: Path, left_out: str | None, settings: dict[str, Any]) -> None:
    """The model as it ships, read back and scored on cells it never saw."""
    path = folder / "nano.safetensors"
    save_model(at_size(model, SIZE_PX), path, half=True)
    back = load_model(path)
    sides = {lab: "all" if lab == left_out else "held_out" for lab in LABS}
    scores = {lab: scores_of(back, read_cells(cells_of_lab(lab, side))) for lab, side in sides.items()}
    body = {"leave_out": left_out, "scores": scores, "file": hash_file(path), "settings": settings}
    write_json(folder / "nano.json", "training", body)
    for lab, figures in scores.items():
        print(lab, sides[lab], " ".join(f"{name} {value:.4f}" for name, value in figures.items()))


def keep(folder: Path, left_out: str | None) -> None:
    """The best of a run, finished or not, takes its place: model and card in the package, or the scores
    without a lab."""
    header, parts = read_state(folder / BEST)
    model, settings = new_model("nano", seed=SEED), header["settings"]
    MaskLoss(model, MASKS.preset).load_state_dict(parts["weights"], strict=False)
    stored = settings["method"] | {"loop": settings["loop"], "best_epoch": header["best_epoch"]}
    finish(model.eval(), folder, left_out, stored)
    _, body = read_json(folder / "nano.json", "training")
    if left_out is None:
        OUT.mkdir(parents=True, exist_ok=True)
        for name in ("nano.safetensors", "nano.json"):
            shutil.copyfile(folder / name, OUT / name)
    else:
        runs = json.loads(RUNS.read_text()) if RUNS.is_file() else {}
        runs[left_out] = body["scores"][left_out] | {"sha256": body["file"]} | steps_of(body)
        write_bytes(RUNS, (json.dumps(runs, indent=2, sort_keys=True) + "\n").encode())
    if (OUT / "nano.json").is_file():
        write_bytes(OUT / "nano.md", card().encode())


def card() -> str:
    _, body = read_json(OUT / "nano.json", "training")
    runs = json.loads(RUNS.read_text()) if RUNS.is_file() else {}
    rows = [(f"{lab}, held out", figures) for lab, figures in body["scores"].items()]
    rows += [
        (f"{lab}, trained without it ({run['steps']} steps of {run['of_steps']})", run)
        for lab, run in sorted(runs.items())
    ]
    names = ("cell_iou", "cell_iou_p10", "nucleus_iou", "nucleus_iou_p10")
    lines = [
        f"| {what} | {figures['cells']:.0f} | " + " | ".join(f"{figures[name]:.3f}" for name in names) + " |"
        for what, figures in rows
    ]
    return CARD.format(table="\n".join(lines), file=body["file"], size=SIZE_PX, batch=BATCH, **steps_of(body))


def steps_of(body: dict[str, Any]) -> dict[str, int]:
    """After how many steps the weights were taken, and of how many."""
    settings = body["settings"]
    return {"steps": settings["best_epoch"] * STEPS, "of_steps": settings["loop"]["epochs"] * STEPS}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--leave-out", choices=LABS, help="train without this lab, score on all of it")
    parser.add_argument(
        "--run", type=Path, required=True, help="folder of the run; started again, it goes on"
    )
    parser.add_argument("--cache", type=Path, help="folder for the synthetic cells; default: in the run's")
    parser.add_argument("--cells", type=int, default=6000, help="synthetic cells")
    parser.add_argument("--epochs", type=int, default=LOOP.epochs, help=f"of {STEPS} steps")
    parser.add_argument(
        "--keep", action="store_true", help="put the best of the run in its place, and no more"
    )
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.keep:
        keep(chosen.run, chosen.leave_out)
        return
    labs = [lab for lab in LABS if lab != chosen.leave_out]
    cells, mix = gather(labs, chosen.leave_out, chosen.cache or chosen.run, chosen.cells)
    own = [i for i, source in enumerate(cells.source) if source in LABS]
    model = new_model("nano", seed=SEED)
    choose_trained(model)
    recipe = MaskRecipe(model, cells, cells.take(own), MASKS, ViewConfig(), mix=mix, seed=SEED)
    loop = TrainConfig.from_json(LOOP.to_json() | {"epochs": chosen.epochs})
    started = time.time()

    def show(epoch: object) -> None:
        figures = " ".join(f"{k} {v:.4f}" for k, v in {**epoch.losses, **epoch.figures}.items())
        print(f"{epoch.number} {figures} {time.time() - started:.0f} s", flush=True)

    print(f"{len(cells)} cells, {len(own)} of them real; {mix.shares}", flush=True)
    run = train(recipe, loop, chosen.run, watch=show)
    print(run.ended, run.best_epoch, run.figures)
    finish(
        model.eval(),
        chosen.run,
        chosen.leave_out,
        recipe.settings | {"loop": loop.to_json(), "best_epoch": run.best_epoch},
    )


if __name__ == "__main__":
    try:
        main()
    except BloodcellError as error:
        sys.exit(f"Error: {error}")
