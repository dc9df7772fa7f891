"""The encoders of BC-SAM and DoRL as embedders: Segment Anything, then the trained network."""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_bloodcell.core.artifact import Header
from napari_bloodcell.core.config import BcsamConfig, DorlConfig, FeatureConfig, TrainConfig
from napari_bloodcell.core.datasets import Dataset
from napari_bloodcell.core.device import resolve
from napari_bloodcell.core.embed.bcsam import BcsamAutoencoder, BcsamShape
from napari_bloodcell.core.embed.dorl import DorlAutoencoder, DorlShape
from napari_bloodcell.core.embed.recipe import AlignedRecipe, BcsamRecipe, DorlRecipe
from napari_bloodcell.core.embed.sam_embedder import SamEmbedder
from napari_bloodcell.core.embed.sam_model import OpenSam
from napari_bloodcell.core.embed.training_cells import TrainingCells, prepare
from napari_bloodcell.core.errors import ArtifactError
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.sam.checkpoint import hash_tensors
from napari_bloodcell.core.training import TrainingRun, Watch, train


class TrainedEmbedder(SamEmbedder):
    """``training`` says what the network has seen: protocol, labs, cells, scores."""

    network_class: ClassVar[type[BcsamAutoencoder | DorlAutoencoder]]
    shape_class: ClassVar[type[BcsamShape | DorlShape]]

    def __init__(
        self,
        sam: OpenSam,
        network: BcsamAutoencoder | DorlAutoencoder,
        config: FeatureConfig = FeatureConfig(),
        training: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(sam, config)
        self.network, self.training = network.eval(), dict(training or {})
        self._weights = hash_tensors(network.state_dict())

    def describe(self, tokens: Tensor, parts: Tensor) -> Tensor:  # noqa: ARG002
        return self.network.to(tokens.device).encode(tokens.float())

    def own_settings(self) -> dict[str, Any]:
        return {"shape": asdict(self.network.shape), "weights": self._weights}

    def own_arrays(self) -> dict[str, NDArray[Any]]:
        return {name: tensor.cpu().numpy() for name, tensor in self.network.state_dict().items()}

    def provenance(self) -> dict[str, Any]:
        return self.training

    @classmethod
    def from_file(
        cls, sam: OpenSam, config: FeatureConfig, header: Header, arrays: dict[str, NDArray[Any]]
    ) -> Self:
        with torch.device("meta"):
            network = cls.network_class(cls.shape_class(**header.config["own"]["shape"]))  # type: ignore[arg-type]
        state = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        try:
            network.load_state_dict(
                {name: state[name].reshape(tensor.shape) for name, tensor in network.state_dict().items()},
                assign=True,
            )
        except (KeyError, RuntimeError) as error:
            raise ArtifactError(
                f"The weights of an embedder of kind {cls.kind!r} are not complete ({error}). Train it again."
            ) from error
        return cls(sam, network, config, header.config.get("training"))


class BcsamEmbedder(TrainedEmbedder):
    kind: ClassVar[str] = "sam+bcsam"
    network_class = BcsamAutoencoder
    shape_class = BcsamShape

    @property
    def dim(self) -> int:
        return self.network.shape.z_dim


class DorlEmbedder(TrainedEmbedder):
    kind: ClassVar[str] = "sam+dorl"
    network_class = DorlAutoencoder
    shape_class = DorlShape


def train_embedder(  # noqa: PLR0913 (what to train on, how, and where to)
    dataset: Dataset,
    sam: OpenSam,
    out: Path,
    config: BcsamConfig | DorlConfig,
    loop: TrainConfig,
    *,
    store: Path | None = None,
    resume: bool = True,
    watch: Watch | None = None,
    progress: Progress = silent,
) -> tuple[TrainingRun, TrainedEmbedder]:
    """Train the method the config is of, and leave ``embedder.safetensors`` in ``out`` beside the run."""
    with _one_after_the_other(loop.device):
        cells = prepare(dataset, sam, config.features, config.align, store, progress=progress)
    recipe: BcsamRecipe | DorlRecipe
    kind: type[TrainedEmbedder]
    if isinstance(config, BcsamConfig):
        recipe, kind = BcsamRecipe(cells, config, sam.hash, seed=loop.seed), BcsamEmbedder
    else:
        recipe, kind = DorlRecipe(cells, config, sam.hash, seed=loop.seed), DorlEmbedder
    run = train(recipe, loop, out, resume=resume, watch=watch, progress=progress)
    embedder = kind(sam, recipe.module.network.cpu(), config.features, told(recipe, cells, run))
    embedder.save(out)
    return run, embedder


def _one_after_the_other(device: str) -> AbstractContextManager[Any]:
    """Of several processes the first fills the store; the others then find everything there."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return nullcontext()
    from accelerate import PartialState

    state: Any = PartialState(cpu=resolve(device)[0].type == "cpu")
    alone: AbstractContextManager[Any] = state.main_process_first()
    return alone


def told(recipe: AlignedRecipe, cells: TrainingCells, run: TrainingRun) -> dict[str, Any]:
    """What stands in the file: what was seen, under which protocol, and how it went."""
    align = recipe.config.align
    return {
        "protocol": align.protocol,
        "target": align.target,
        "labs": cells.counts(),
        "cells": cells.hash,
        "held_out": int(cells.held_out.sum()),
        "config": recipe.config.to_json(),
        "epochs": len(run.history),
        "best_epoch": run.best_epoch,
        "figures": run.figures,
        "notes": [*cells.notes, *run.notes],
    }
