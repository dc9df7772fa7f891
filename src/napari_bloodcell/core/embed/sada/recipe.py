"""Any of the methods, for the one training loop."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from napari_bloodcell.core.config import BackboneConfig, SadaConfig
from napari_bloodcell.core.embed.sada.backbones import build
from napari_bloodcell.core.embed.sada.cells import LabCells
from napari_bloodcell.core.embed.sada.methods import METHODS
from napari_bloodcell.core.embed.sada.network import LabNet
from napari_bloodcell.core.embed.sada.sampling import class_shares, rows_of_epoch
from napari_bloodcell.core.embed.sada.swad import Swad
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.sam.model import fresh_numbers
from napari_bloodcell.core.training import Batch, Recipe

VALIDATE_BATCH = 64
LABS_OF_CORAL = 2


class LabsRecipe(Recipe):
    """Trains on the cells of several labs and validates on those of the same labs that were held out.

    Methods of two stages change over at half of the epochs. A first stage has no classifier yet: its score
    lies below that of any second stage, so the best epoch is always one that can classify.
    """

    bf16_on_processors = True

    def __init__(
        self, cells: LabCells, backbone: BackboneConfig, config: SadaConfig, *, epochs: int, seed: int
    ) -> None:
        _check(cells, config)
        self.name, self.cells, self.config, self.backbone = config.method, cells, config, backbone
        self.epochs, self.seed, self.steps_per_epoch = epochs, seed, config.steps_per_epoch
        self.net = LabNet(build(backbone, seed), len(cells.class_names), seed)
        shares = torch.from_numpy(np.log(class_shares(cells, config))).float()
        with fresh_numbers(seed):
            self.module = METHODS[config.method](self.net, config, shares)
        self.pixels = torch.from_numpy(np.ascontiguousarray(cells.pixels)).movedim(-1, 1)
        self.labels, self.labs = torch.from_numpy(cells.labels), torch.from_numpy(cells.labs)
        self.swad = Swad(self.net, config) if config.swad else None
        self.stage = 1

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "backbone": self.backbone.to_json(),
            "sada": self.config.to_json(),
            "cells": self.cells.hash,
            "epochs": self.epochs,  # they say when the second stage begins
        }

    @property
    def first_epochs(self) -> int:
        """Epochs of the first stage; 0 where there is one stage only."""
        stages = self.module.stages
        return self.epochs // 2 if stages == 2 else 0

    def batches(self, epoch: int) -> Iterable[Batch]:
        self.stage = 1 if epoch < self.first_epochs else 2
        luck = np.random.default_rng((self.seed, epoch, 1))
        for rows in rows_of_epoch(self.cells, self.config, self.seed, epoch):
            chosen, n = torch.from_numpy(rows), len(rows)
            yield {
                "pixels": self.pixels[chosen].contiguous(),
                "labels": self.labels[chosen],
                "labs": self.labs[chosen],
                "luck": torch.from_numpy(luck.integers(2**62, size=n)),
                "stage": torch.full((n,), self.stage),
            }

    def validate(self) -> dict[str, float]:
        rows = torch.from_numpy(np.flatnonzero(self.cells.held_out))
        labels, labs = self.labels[rows], self.labs[rows]
        vectors, logits = self._outputs(rows)
        if self.stage == 1:
            agreement = _neighbour_agreement(vectors, labels)
            return {"score": agreement - 2, "neighbour_agreement": agreement}
        loss = float(F.cross_entropy(logits, labels))
        if self.swad is not None:
            self.swad.close(loss)
        right = (logits.argmax(1) == labels).float()
        accuracy = float(torch.stack([right[labs == lab].mean() for lab in torch.unique(labs)]).mean())
        return {"score": accuracy, "accuracy": accuracy, "loss": loss}

    def _outputs(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors and logits of cells as they are, on the CPU."""
        vectors, logits = [], []
        for part in torch.split(rows, VALIDATE_BATCH):
            found = self.net.vectors(self.pixels[part].to(self.net.device))
            vectors.append(found.cpu())
            logits.append(self.net.classifier(found).float().cpu())
        return torch.cat(vectors), torch.cat(logits)

    def after_step(self, step: int) -> None:  # noqa: ARG002
        if self.swad is not None and self.stage == 2:
            self.swad.after_step()

    def extra_state(self) -> dict[str, Tensor]:
        return {} if self.swad is None else self.swad.state()

    def load_extra_state(self, state: Mapping[str, Tensor]) -> None:
        if self.swad is not None:
            self.swad.load_state(state)

    def take_average(self) -> bool:
        """The weights of the valley into the network, where there are any."""
        mean = self.swad.result() if self.swad is not None else None
        if mean is not None:
            self.net.load_state_dict(mean.state_dict())
        return mean is not None


def _neighbour_agreement(vectors: Tensor, labels: Tensor) -> float:
    """Share of cells whose nearest other cell is of their class."""
    if len(vectors) < 2:
        return 0.0
    unit = F.normalize(vectors, dim=1)
    nearest = (unit @ unit.T).fill_diagonal_(-2).argmax(1)
    return float((labels[nearest] == labels).float().mean())


def _check(cells: LabCells, config: SadaConfig) -> None:
    labs = len(cells.lab_names)
    if config.method == "coral" and labs < LABS_OF_CORAL:
        raise DataError(
            f"CORAL compares labs, and there is one to train on: {cells.lab_names[0]}. Add cells of another."
        )
    batch = labs * config.per_lab
    if config.method == "sada" and config.stain_views and batch < config.clusters:
        raise DataError(
            f"A batch of {batch} cells ({labs} labs x per_lab = {config.per_lab}) cannot make "
            f"{config.clusters} groups of stains. Raise per_lab, or lower clusters."
        )
