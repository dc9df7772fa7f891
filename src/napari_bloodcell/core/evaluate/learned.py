"""Embeddings that are trained for a comparison, on no more than the protocol lets them see.

BC-SAM and DoRL use no classes. As published they see every picture, those of the target too (transductive);
``@inductive`` trains them without the target. SADA learns from classes too, so it never sees the target.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.artifact import hash_of
from napari_bloodcell.core.config import (
    BCSAM_TRAINING,
    DORL_TRAINING,
    SADA_TRAINING,
    BackboneConfig,
    BcsamConfig,
    DorlConfig,
    EvaluateConfig,
    SadaConfig,
    TrainConfig,
)
from napari_bloodcell.core.datasets import Dataset
from napari_bloodcell.core.embed import Embedder
from napari_bloodcell.core.errors import ConfigError
from napari_bloodcell.core.evaluate.cells import CellTable
from napari_bloodcell.core.evaluate.protocols import Trial
from napari_bloodcell.core.progress import Progress, silent

INDUCTIVE = "inductive"
EVERYTHING = ""  # the scope of an embedding that sees all labs


@dataclass(frozen=True, kw_only=True)
class Learner:
    """How an embedding is trained. ``needs_classes``: it is trained on labels, never on those of a target;
    ``epochs``: where none are asked for, as published."""

    needs_classes: bool
    epochs: int
    train: Callable[[Dataset, Path, EvaluateConfig, Progress], Embedder]


def scope_of(learner: Learner, how: str, trial: Trial, protocol: str) -> str:
    """What of the table a trial's embedding may see, in words; trials of one scope share one embedding."""
    if not learner.needs_classes and how != INDUCTIVE:
        return EVERYTHING
    if protocol == "cross-domain":
        if learner.needs_classes:
            raise ConfigError(
                "An embedding that learns from classes would have to be trained anew for each fold of "
                "cross-domain. Take --protocol leave-one-lab-out or few-shot."
            )
        return f"only {trial.source}"
    return f"without {trial.tests[0][0]}"


def rows_in(scope: str, table: CellTable) -> NDArray[np.bool_]:
    word, _, lab = scope.partition(" ")
    if word == "only":
        return np.asarray(table.lab == lab)
    return np.asarray(table.lab != lab) if word == "without" else np.ones(len(table), bool)


def train_embedder(
    name: str,
    scope: str,
    table: CellTable,
    folder: Path,
    config: EvaluateConfig,
    *,
    progress: Progress = silent,
) -> Embedder:
    """The embedding for one scope. A training that was cut short goes on."""
    rows = np.flatnonzero(rows_in(scope, table))
    cells = tuple(replace(table.cells[row], class_name=str(table.labels[row])) for row in rows)
    told = {
        "cells": table.key[rows].tolist(),
        "labels": table.labels[rows].tolist() if LEARNED[name].needs_classes else [],
        "epochs": config.epochs,
        "seed": config.seed,
    }
    place = folder / f"{name.replace('+', '-')}-{hash_of(told)[:16]}"
    dataset = Dataset(name="evaluation", root=folder, cells=cells)
    return LEARNED[name].train(dataset, place, config, progress)


def _bcsam(dataset: Dataset, folder: Path, config: EvaluateConfig, progress: Progress) -> Embedder:
    # One lab alone has nothing to be aligned with.
    settings = BcsamConfig()
    if len(dataset.domains) < 2:
        settings = replace(settings, alignment=0.0)
    return _aligned(dataset, folder, settings, _loop(BCSAM_TRAINING, config), progress)


def _dorl(dataset: Dataset, folder: Path, config: EvaluateConfig, progress: Progress) -> Embedder:
    settings = DorlConfig()
    if len(dataset.domains) < 2:
        settings = replace(settings, alignment=0.0)
    return _aligned(dataset, folder, settings, _loop(DORL_TRAINING, config), progress)


def _aligned(
    dataset: Dataset,
    folder: Path,
    settings: BcsamConfig | DorlConfig,
    loop: TrainConfig,
    progress: Progress,
) -> Embedder:
    from napari_bloodcell.core.embed.sam_model import open_sam
    from napari_bloodcell.core.embed.trained import train_embedder as train

    return train(dataset, open_sam(), folder, settings, loop, progress=progress)[1]


def _sada(dataset: Dataset, folder: Path, config: EvaluateConfig, progress: Progress) -> Embedder:
    settings = (SadaConfig(level="fine"), BackboneConfig())
    return _labs(dataset, folder, settings, _loop(SADA_TRAINING, config), progress)


def _sada_small(dataset: Dataset, folder: Path, config: EvaluateConfig, progress: Progress) -> Embedder:
    """For a machine without a GPU."""
    settings = (
        SadaConfig(level="fine", per_lab=8, steps_per_epoch=40),
        BackboneConfig(backbone="small", weights="none", size_px=64),
    )
    loop = replace(_loop(SADA_TRAINING, config), learning_rate=1e-3)
    return _labs(dataset, folder, settings, loop, progress)


def _labs(
    dataset: Dataset,
    folder: Path,
    settings: tuple[SadaConfig, BackboneConfig],
    loop: TrainConfig,
    progress: Progress,
) -> Embedder:
    from napari_bloodcell.core.embed.sada.embedder import SadaEmbedder
    from napari_bloodcell.core.embed.sada.fit import train_labs

    method, backbone = settings
    done = train_labs(dataset, folder, method, backbone=backbone, training=loop, progress=progress)
    return SadaEmbedder(done.model)


def _loop(published: TrainConfig, config: EvaluateConfig) -> TrainConfig:
    return replace(published, seed=config.seed, epochs=config.epochs or published.epochs)


LEARNED: dict[str, Learner] = {
    "sam+bcsam": Learner(needs_classes=False, epochs=BCSAM_TRAINING.epochs, train=_bcsam),
    "sam+dorl": Learner(needs_classes=False, epochs=DORL_TRAINING.epochs, train=_dorl),
    "sada": Learner(needs_classes=True, epochs=SADA_TRAINING.epochs, train=_sada),
    "sada-small": Learner(needs_classes=True, epochs=SADA_TRAINING.epochs, train=_sada_small),
}
