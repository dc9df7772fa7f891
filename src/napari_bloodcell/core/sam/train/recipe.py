"""What the one training loop needs to fine-tune a segmenter on masks, and the score on held-out cells."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from napari_bloodcell.core.artifact import hash_of
from napari_bloodcell.core.config import MaskTrainConfig, ViewConfig
from napari_bloodcell.core.errors import DataError, TrainingError
from napari_bloodcell.core.records import ByteArray
from napari_bloodcell.core.sam.inference import largest_channel
from napari_bloodcell.core.sam.lora import pairs_of
from napari_bloodcell.core.sam.model import CellSam
from napari_bloodcell.core.sam.train import losses
from napari_bloodcell.core.sam.train.cells import NUCLEUS, MaskedCells
from napari_bloodcell.core.sam.train.views import plain_views, quarter_turns, random_views, shares_of
from napari_bloodcell.core.sam.variants import check_size
from napari_bloodcell.core.training.recipe import Batch, Recipe

CE_PUBLISHED, DICE_PUBLISHED = 0.2, 0.8
QUALITY = 0.1  # weight of the model's guess of its own IoU: of use, but not at the cost of the outline
SCORED_AT_ONCE = 32


class MaskLoss(nn.Module):
    """The model, and the named terms of its loss."""

    def __init__(self, model: CellSam, preset: str) -> None:
        super().__init__()
        self.model, self.preset = model, preset

    def forward(self, pixels: Tensor, shares: Tensor) -> dict[str, Tensor]:
        logits, guess = self.model(pixels)
        ce = losses.soft_cross_entropy(logits, shares)
        if self.preset == "published":
            return {"ce": CE_PUBLISHED * ce, "dice": DICE_PUBLISHED * losses.dice_of_batch(logits, shares)}
        return {
            "ce": ce,
            "dice": losses.dice_per_image(logits, shares),
            "quality": QUALITY * losses.quality_error(guess, logits, shares),
        }


@dataclass(frozen=True, kw_only=True)
class Mix:
    """Which cells a step sees. ``shares``: how much of each batch comes from each source; empty: each cell
    once an epoch. ``surroundings``: canvases (N x C x C x 3) laid around some of the cells."""

    shares: Mapping[str, float] = field(default_factory=dict)
    surroundings: NDArray[np.uint8] | None = None


class MaskRecipe(Recipe):
    """Trains what ``choose_trained`` left trainable."""

    name = "masks"

    def __init__(  # noqa: PLR0913 (what is trained, on what, how)
        self,
        model: CellSam,
        train: MaskedCells,
        held_out: MaskedCells,
        config: MaskTrainConfig = MaskTrainConfig(),
        views: ViewConfig = ViewConfig(),
        *,
        mix: Mix = Mix(),
        seed: int = 0,
    ) -> None:
        _check(model, train, held_out, config)
        self.model, self.config, self.views, self.mix, self.seed = model, config, views, mix, seed
        self.train_cells, self.held_out = train, held_out
        self.module = MaskLoss(model, config.preset)
        self.steps_per_epoch = config.steps_per_epoch or max(1, len(train) // config.batch)
        rest = mix.surroundings
        self._around = None if rest is None else torch.from_numpy(rest).permute(0, 3, 1, 2)

    @property
    def settings(self) -> dict[str, Any]:
        names = {"train": sorted(self.train_cells.names), "held_out": sorted(self.held_out.names)}
        return {
            "masks": self.config.to_json(),
            "views": self.views.to_json(),
            "shares": dict(self.mix.shares),
            "cells": hash_of(names),
            "base": self.model.base_sha256,
            "variant": self.model.variant.name,
            "seed": self.seed,
        }

    def batches(self, epoch: int) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        rows = self._rows(generator)
        for step in range(self.steps_per_epoch):
            chosen = rows[step * self.config.batch : (step + 1) * self.config.batch]
            pixels, labels = self._views(*tensors_of(self.train_cells, chosen), generator)
            yield {"pixels": pixels, "shares": shares_of(labels, self.config.channels)}

    def _views(self, pixels: Tensor, parts: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        size = self.config.size_px
        if self.config.preset == "published":
            return quarter_turns(pixels, parts, size, generator)
        return random_views(pixels, parts, size, self.views, generator, self._around)

    def _rows(self, generator: torch.Generator) -> NDArray[np.intp]:
        wanted, n = self.steps_per_epoch * self.config.batch, len(self.train_cells)
        if not self.mix.shares:
            rounds = -(-wanted // n)
            return torch.cat([torch.randperm(n, generator=generator) for _ in range(rounds)]).numpy()
        source = np.array(self.train_cells.source)
        weight = np.zeros(n)
        for name, share in self.mix.shares.items():
            members = source == name
            weight[members] = share / max(1, int(members.sum()))
        drawn = torch.multinomial(torch.from_numpy(weight), wanted, replacement=True, generator=generator)
        return drawn.numpy()

    def validate(self) -> dict[str, float]:
        """Means over the held-out cells. Score: the Dice, of cell and nucleus where both are learnt."""
        scores = score_cells(self.model, self.held_out, self.config.size_px)
        figures = {name: float(values.mean()) for name, values in scores.items()}
        figures["cell_iou_p10"] = float(np.percentile(scores["cell_iou"], 10))
        dices = [_dice(scores[name]) for name in ("cell_iou", "nucleus_iou") if name in scores]
        return {"score": float(np.mean(dices)), **figures}


def _dice(iou: NDArray[np.float64]) -> float:
    return float((2 * iou / (1 + iou)).mean())


def score_cells(model: CellSam, cells: MaskedCells, size_px: int) -> dict[str, NDArray[np.float64]]:
    """IoU of each cell, and of each nucleus where the model tells it, in the window used at inference."""
    return scores_of(outline_cells(model, cells, size_px), cells, size_px, nuclei=model.channels == 3)


def outline_cells(model: CellSam, cells: MaskedCells, size_px: int) -> ByteArray:
    """Parts of each cell in its window, N x S x S."""
    found = []
    for start in range(0, len(cells), SCORED_AT_ONCE):
        rows = np.arange(start, min(start + SCORED_AT_ONCE, len(cells)))
        pixels, _ = plain_views(*tensors_of(cells, rows), size_px)
        with torch.no_grad():
            maps = model(pixels.to(model.device))[0].float()
        wide = F.interpolate(maps, size=(size_px, size_px), mode="bilinear", align_corners=False)
        found.append(largest_channel(wide).cpu().numpy())
    return np.concatenate(found)


def scores_of(
    found: ByteArray, cells: MaskedCells, size_px: int, *, nuclei: bool = True
) -> dict[str, NDArray[np.float64]]:
    _, wanted = windows_of(cells, np.arange(len(cells)), size_px)
    scores = {"cell_iou": iou_of(found > 0, wanted > 0)}
    if nuclei:
        scores["nucleus_iou"] = iou_of(found == NUCLEUS, wanted == NUCLEUS)
    return scores


def windows_of(cells: MaskedCells, rows: NDArray[np.intp], size_px: int) -> tuple[ByteArray, ByteArray]:
    """What the model sees of some cells, N x S x S x 3, and their parts."""
    pixels, labels = plain_views(*tensors_of(cells, rows), size_px)
    return pixels.round().to(torch.uint8).permute(0, 2, 3, 1).numpy(), labels.numpy()


def tensors_of(cells: MaskedCells, rows: NDArray[np.intp]) -> tuple[Tensor, Tensor]:
    """Copies of some canvases and masks: N x 3 x C x C and N x C x C."""
    return torch.from_numpy(cells.pixels[rows]).permute(0, 3, 1, 2), torch.from_numpy(cells.parts[rows])


def iou_of(found: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """N x H x W each. Nothing found where nothing is: 1."""
    both = (found & wanted).sum(axis=(1, 2))
    either = (found | wanted).sum(axis=(1, 2))
    return np.where(either == 0, 1.0, both / np.maximum(either, 1))


def choose_trained(model: CellSam) -> None:
    """With an adapter: the adapter and the cell head. Without: all but the promptable head."""
    if pairs_of(model):
        return  # add_lora has chosen
    model.requires_grad_(True)
    model.plain.requires_grad_(False)


def _check(model: CellSam, train: MaskedCells, held_out: MaskedCells, config: MaskTrainConfig) -> None:
    check_size(config.size_px)
    if model.channels != config.channels:
        raise TrainingError(
            f"The model has {model.channels} channels, {config.channels} are to be trained. "
            "Load it with that many, or change the setting."
        )
    for what, cells in (("to train on", train), ("held out", held_out)):
        if not len(cells):
            raise DataError(
                f"No cell is {what}. Pictures go there by the hash of their name: give more pictures, or "
                "change the share that is held out."
            )
    if config.channels == 3 and not (train.parts == NUCLEUS).any():
        raise DataError(
            "No nucleus is marked in any mask, and three channels are to be trained. "
            "Mark nuclei (value 2), or train with two channels."
        )
