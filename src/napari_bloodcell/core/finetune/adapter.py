"""``train_adapter``: pictures with masks in, an adapter with its scores and a report out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.artifact import check_writable, hash_of
from napari_bloodcell.core.config import (
    ADAPTER_TRAINING,
    PUBLISHED_ADAPTER_TRAINING,
    AdapterConfig,
    MaskTrainConfig,
    TrainConfig,
)
from napari_bloodcell.core.device import resolve
from napari_bloodcell.core.finetune import verdict
from napari_bloodcell.core.finetune.memory import free_bytes, measure
from napari_bloodcell.core.finetune.pictures import Picture, divide, read_pictures
from napari_bloodcell.core.finetune.report import Outlines, write_report
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.sam.adapter import save_adapter
from napari_bloodcell.core.sam.lora import add_lora
from napari_bloodcell.core.sam.model import CellSam
from napari_bloodcell.core.sam.train.cells import MaskedCells
from napari_bloodcell.core.sam.train.recipe import MaskRecipe, choose_trained, outline_cells, scores_of
from napari_bloodcell.core.segment.choose import read_network
from napari_bloodcell.core.training import TrainingRun, Watch, train
from napari_bloodcell.core.words import how_many

RUN = "run"  # the folder of the loop's own files, beside the adapter
WARMUP_EPOCHS = 10  # as published; the loop counts steps


@dataclass(frozen=True, kw_only=True, eq=False)
class AdapterRun:
    """``folder`` holds the adapter, ``report.json`` and ``report.png``; scores are of the held-out cells."""

    folder: Path
    sha256: str
    training: TrainingRun
    before: dict[str, NDArray[np.float64]]  # IoU of each held-out cell, before the training
    after: dict[str, NDArray[np.float64]]
    cells: tuple[int, int]  # trained on, held out
    notes: tuple[str, ...]

    def text(self) -> str:
        """For a person, at the end."""
        return "\n".join(
            (
                *self.notes,
                f"{how_many(self.cells[0], 'cell')} trained on, {self.cells[1]} held out",
                verdict.course(self.training, self.before, self.after),
                *verdict.figures(self.before, self.after),
                *verdict.words(self.before, self.after),
            )
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Ready:
    """What a training of an adapter begins with: nothing is trained or written yet."""

    recipe: MaskRecipe
    loop: TrainConfig
    notes: tuple[str, ...]  # the device, the memory, and what had to be decided

    @property
    def held_out(self) -> MaskedCells:
        return self.recipe.held_out

    def text(self) -> str:
        """For a person, before the start."""
        cells = f"{len(self.recipe.train_cells)} cells to train on, {len(self.held_out)} held out."
        return "\n".join((cells, *self.notes))


def ready_adapter(
    data: Sequence[Path | Picture],
    sam: str | Path,
    config: AdapterConfig = AdapterConfig(),
    loop: TrainConfig = ADAPTER_TRAINING,
    *,
    progress: Progress = silent,
) -> Ready:
    """Read the data and the model, and measure the memory. ``sam``: as ``find_segmenter`` takes it."""
    pictures: list[Picture] = []
    for one in data:
        pictures += [one] if isinstance(one, Picture) else read_pictures(one, progress=progress)
    progress("Reading the model", 0, 1)
    model, _ = read_network(sam, channels=config.masks.channels)
    masks = config.masks
    train_cells, held_out, note = divide(pictures, masks.held_out)
    masks = replace(masks, size_px=masks.size_px or min(model.variant.native_px, 224))
    add_lora(model, config.lora)
    choose_trained(model)
    loop = loop_of(masks, loop, len(train_cells))
    device, told = resolve(loop.device)
    model.to(device)
    recipe = MaskRecipe(model, train_cells, held_out, masks, config.views, seed=loop.seed)
    progress("Measuring the memory", 0, 1)
    free, memory = free_bytes(device), measure(recipe)
    parts = max(loop.accumulate, 1 if free is None else memory.parts(masks.batch, free))
    needed = memory.text(masks.batch, parts)
    if free is not None:
        needed += f" {free / 2**30:.1f} GiB are free."
    notes = (told, needed, *([note] if note else []))
    progress(needed, 0, 1)
    return Ready(recipe=recipe, loop=replace(loop, accumulate=parts), notes=notes)


def train_adapter(  # noqa: PLR0913 (what, onto what, where, how)
    data: Sequence[Path | Picture],
    sam: str | Path,
    out: Path,
    config: AdapterConfig = AdapterConfig(),
    loop: TrainConfig = ADAPTER_TRAINING,
    *,
    watch: Watch | None = None,
    progress: Progress = silent,
) -> AdapterRun:
    """Train LoRA, prompt encoder and mask decoder on masks, from data to report.

    Started again with the same settings it goes on. A cancel keeps the best so far and writes it like a
    finished one; before the first epoch nothing is written.
    """
    check_writable(Path(out))
    ready = ready_adapter(data, sam, config, loop, progress=progress)
    return train_ready(ready, out, watch=watch, progress=progress)


def train_ready(
    ready: Ready, out: Path, *, watch: Watch | None = None, progress: Progress = silent
) -> AdapterRun:
    out = Path(out)
    check_writable(out)
    model, masks = ready.recipe.model, ready.recipe.config
    train_cells, held_out = ready.recipe.train_cells, ready.held_out
    before = outline_cells(model.eval(), held_out, masks.size_px)
    run = train(ready.recipe, ready.loop, out / RUN, watch=watch, progress=progress)
    after = outline_cells(model.eval(), held_out, masks.size_px)
    scores = (scores_of(before, held_out, masks.size_px), scores_of(after, held_out, masks.size_px))
    sha256 = _save(model, out, masks, (train_cells, held_out), scores[1], run)
    write_report(
        out, run, scores, Outlines(cells=held_out, size_px=masks.size_px, before=before, after=after)
    )
    return AdapterRun(
        folder=out, sha256=sha256, training=run, before=scores[0], after=scores[1],
        cells=(len(train_cells), len(held_out)), notes=tuple(dict.fromkeys((*ready.notes, *run.notes))),
    )  # fmt: skip


def loop_of(masks: MaskTrainConfig, loop: TrainConfig, cells: int) -> TrainConfig:
    """The published recipe brings its own loop, but for what was changed of it."""
    if masks.preset != "published":
        return loop
    steps = masks.steps_per_epoch or max(1, cells // masks.batch)
    usual, chosen = ADAPTER_TRAINING.to_json(), loop.to_json()
    changed = {name: value for name, value in chosen.items() if value != usual[name]}
    return replace(PUBLISHED_ADAPTER_TRAINING, **({"warmup_steps": WARMUP_EPOCHS * steps} | changed))


def _save(
    model: CellSam,
    out: Path,
    masks: MaskTrainConfig,
    cells: tuple[MaskedCells, MaskedCells],
    scores: dict[str, NDArray[np.float64]],
    run: TrainingRun,
) -> str:
    train_cells, held_out = cells
    data: dict[str, Any] = {
        "sources": sorted(set(train_cells.source)),
        "cells": len(train_cells),
        "held_out": len(held_out),
        "names": hash_of(sorted(train_cells.names)),
        "recipe": masks.to_json(),
        "epochs": len(run.history),
    }
    means = {name: float(values.mean()) for name, values in scores.items()}
    return save_adapter(model, out, size_px=masks.size_px, data=data, scores=means)
