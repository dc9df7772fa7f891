"""How BC-SAM and DoRL are trained: what both share, and the loss of each."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_bloodcell.core.config import AlignConfig, BcsamConfig, DorlConfig
from napari_bloodcell.core.embed.bcsam import BcsamAutoencoder, BcsamShape
from napari_bloodcell.core.embed.dorl import DorlAutoencoder, DorlShape
from napari_bloodcell.core.embed.kinds import with_kinds
from napari_bloodcell.core.embed.losses import (
    conditional_discrepancy,
    covariance_discrepancy,
    kernel_discrepancy,
    mean_discrepancy,
    ssim,
    token_error,
)
from napari_bloodcell.core.embed.training_cells import CellReader, Rows, TrainingCells, balanced
from napari_bloodcell.core.errors import TrainingError
from napari_bloodcell.core.sam.model import fresh_numbers
from napari_bloodcell.core.training import Batch, Recipe

JUDGED = 2_048  # cells that are looked at after an epoch, at most
SAMPLED = 256
ORDER, MASKS = 0, 1  # streams of random numbers


class AlignedRecipe(Recipe):
    """Balanced batches of labs; the held-out cells judge."""

    bf16_on_processors = True

    def __init__(
        self, cells: TrainingCells, config: BcsamConfig | DorlConfig, sam_hash: str, *, seed: int = 0
    ) -> None:
        """``seed``: of the weights, the order of cells and the masks."""
        align = config.align
        if not len(cells.train):
            raise TrainingError(f"{self.name}: there are no cells to train on. Add cells.")
        if len(cells.labs) < 2 and (config.alignment or align.conditional):
            told = f"only {cells.labs[0]!r} has" if cells.labs else "no lab has"
            raise TrainingError(
                f"{self.name}: {told} enough cells to be aligned, and aligning takes two labs at least. Add "
                "cells of another lab, or train without it: --alignment 0 --align.conditional 0."
            )
        self.cells = with_kinds(cells, align.clusters, seed) if align.conditional else cells
        self.config, self.sam_hash, self.seed = config, sam_hash, seed
        self.reader = CellReader(self.cells)
        self.steps_per_epoch = -(-len(cells.train) // config.batch)
        with fresh_numbers(seed):
            # twice as fast on a processor
            self.module: nn.Module = self.make().to(memory_format=torch.channels_last)

    @abstractmethod
    def make(self) -> nn.Module:
        """The network and its loss, fresh."""

    def noise(self, places: Rows, rng: np.random.Generator) -> dict[str, Tensor]:  # noqa: ARG002
        """Random numbers a batch takes along."""
        return {}

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "config": self.config.to_json(),
            "cells": self.cells.hash,
            "sam": self.sam_hash,
            "seed": self.seed,
        }

    def batches(self, epoch: int) -> Iterable[Batch]:
        order = np.random.default_rng([self.seed, ORDER, epoch])
        masks = np.random.default_rng([self.seed, MASKS, epoch])
        chosen = balanced(self.cells.domain, self.cells.train, self.config.batch, order)
        for places, tokens, targets in self.reader.ahead(chosen):
            yield self._batch(places, tokens, targets) | self.noise(places, masks)

    def validate(self) -> dict[str, float]:
        """The loss on the held-out cells; on those trained on where none are held out."""
        rng = np.random.default_rng([self.seed, ORDER])
        held = np.flatnonzero(self.cells.held_out)
        places = rng.permutation(held if len(held) else self.cells.train)[:JUDGED]
        pieces = np.array_split(places, max(1, round(len(places) / self.config.batch)))
        device = next(self.module.parameters()).device
        sums: dict[str, float] = {}
        for piece in pieces:
            batch = self._batch(piece, *self.reader.read(piece)) | self.noise(piece, rng)
            terms = self.module(**{name: tensor.to(device) for name, tensor in batch.items()})
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + float(term) * len(piece) / len(places)
        return {"score": -sum(sums.values()), **sums}

    def _batch(self, places: Rows, tokens: Tensor, targets: Tensor) -> dict[str, Tensor]:
        batch = {
            "tokens": tokens,
            "targets": targets,
            "domain": torch.from_numpy(self.cells.domain[places]),
        }
        if self.cells.share is not None:
            batch["share"] = torch.from_numpy(self.cells.share[places])
        return batch


class Alignment(nn.Module):
    """The terms that bring labs together, for the vectors of a batch."""

    def __init__(self, config: AlignConfig, weight: float, labs: int) -> None:
        super().__init__()
        self.config, self.weight, self.labs = config, weight, labs

    def forward(self, vectors: Tensor, domain: Tensor, share: Tensor | None) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = {}
        kind = self.config.discrepancy
        with torch.autocast(vectors.device.type, enabled=False):
            if self.weight:
                found = (mean_discrepancy if kind != "kernel" else kernel_discrepancy)(
                    vectors, domain, self.labs
                )
                if kind == "covariance":
                    found = found + covariance_discrepancy(vectors, domain, self.labs)
                terms["alignment"] = self.weight * found
            if self.config.conditional and share is not None:
                within = conditional_discrepancy(vectors, domain, self.labs, share)
                terms["within_kinds"] = self.config.conditional * within
        return terms


class BcsamLoss(nn.Module):
    def __init__(self, network: BcsamAutoencoder, config: BcsamConfig, labs: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.align = Alignment(config.align, config.alignment, len(labs))

    def forward(
        self, tokens: Tensor, targets: Tensor, domain: Tensor, share: Tensor | None = None
    ) -> dict[str, Tensor]:
        z = self.network.encode(tokens.float())
        drawn = self.network.decode(z, domain)
        terms: dict[str, Tensor] = self.align(z, domain, share)
        return {"picture": 1 - ssim(drawn, pictures(targets)).mean(), **terms}


class DorlLoss(nn.Module):
    def __init__(self, network: DorlAutoencoder, config: DorlConfig, labs: Sequence[str]) -> None:
        super().__init__()
        self.network, self.config = network, config
        self.align = Alignment(config.align, config.alignment, len(labs))

    def forward(
        self, tokens: Tensor, targets: Tensor, domain: Tensor, noise: Tensor, share: Tensor | None = None
    ) -> dict[str, Tensor]:
        network, config = self.network, self.config
        tokens = tokens.float()
        made, kept, cls = network(tokens, noise, config.mask)
        terms: dict[str, Tensor] = {}
        if config.image_weight:
            shown = ssim(network.picture(made), pictures(targets)).mean()
            terms["picture"] = config.image_weight * (1 - shown)
        terms |= self.align(cls if config.align_cls else network.discrepancy_vector(made), domain, share)
        if config.token_weight:
            error = token_error(made, network.in_line(tokens), kept if config.only_hidden else None)
            terms["tokens"] = config.token_weight * error
        return terms


class BcsamRecipe(AlignedRecipe):
    name = "bcsam"
    config: BcsamConfig
    module: BcsamLoss

    def make(self) -> nn.Module:
        shape = BcsamShape(
            dim=self.cells.store.shape[0], labs=len(self.cells.labs) if self.config.tell_lab else 0
        )
        return BcsamLoss(BcsamAutoencoder(shape), self.config, self.cells.labs)


class DorlRecipe(AlignedRecipe):
    name = "dorl"
    config: DorlConfig
    module: DorlLoss

    def make(self) -> nn.Module:
        dim, grid, _ = self.cells.store.shape
        shape = DorlShape(
            dim=dim,
            grid=grid,
            depth=self.config.depth,
            decoder_depth=self.config.decoder_depth,
            token_scale=self._spread() if self.config.scale_tokens else 1.0,
        )
        return DorlLoss(DorlAutoencoder(shape), self.config, self.cells.labs)

    def _spread(self) -> float:
        """Of the tokens of the first cells that are trained on."""
        tokens, _ = self.reader.read(self.cells.train[:SAMPLED])
        return max(float(tokens.float().std()), 1e-6)

    def noise(self, places: Rows, rng: np.random.Generator) -> dict[str, Tensor]:
        _, h, w = self.cells.store.shape
        return {"noise": torch.from_numpy(rng.random((len(places), h * w), np.float32))}


def pictures(targets: Tensor) -> Tensor:
    """B x H x W x 3 bytes -> B x 3 x H x W in 0..1."""
    return targets.permute(0, 3, 1, 2).float() / 255
