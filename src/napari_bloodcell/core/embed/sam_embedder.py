"""Cells described by Segment Anything: the mean token, or the means over nucleus and cytoplasm."""

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from napari_bloodcell.core.artifact import Header, hash_of, read_arrays, write_arrays
from napari_bloodcell.core.config import CropConfig, FeatureConfig
from napari_bloodcell.core.embed.sam_model import OpenSam, each_batch, load_copy, open_sam, save_copy
from napari_bloodcell.core.errors import ArtifactError
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import Crops, Embeddings

VERSION = 1  # raise it whenever a number changes
FILE = "embedder.safetensors"
NUCLEUS, CYTOPLASM = 2, 1


class SamEmbedder:
    """The mean over all tokens of a cell's picture: the "raw" features of BC-SAM and DoRL."""

    kind: ClassVar[str] = "sam"

    def __init__(self, sam: OpenSam | None = None, config: FeatureConfig = FeatureConfig()) -> None:
        self.sam, self.config = sam if sam is not None else open_sam(), config

    @property
    def crop(self) -> CropConfig:
        """How cells are to be cut out for it."""
        return self.config.crop

    @property
    def dim(self) -> int:
        return self.sam.dim

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{self.kind}_{i}" for i in range(self.dim))

    @property
    def hash(self) -> str:
        return hash_of(
            {
                "embedder": self.kind,
                "version": VERSION,
                "sam": self.sam.hash,
                "input_px": self.sam.input_px(self.config),
                **self.own_settings(),
            }
        )

    def embed(self, crops: Crops, *, progress: Progress = silent) -> Embeddings:
        values = np.zeros((len(crops), self.dim), np.float32)

        def take(first: int, part: NDArray[Any]) -> None:
            values[first : first + len(part)] = part

        each_batch(self.sam, crops, self.config, self.describe, take, progress=progress)
        return Embeddings(cell_id=crops.cell_id, values=values, names=self.names, embedder=self.hash)

    def describe(self, tokens: Tensor, parts: Tensor) -> Tensor:  # noqa: ARG002
        return tokens.mean(dim=(2, 3))

    def own_settings(self) -> dict[str, Any]:
        """What else the vectors depend on."""
        return {}

    def provenance(self) -> dict[str, Any]:
        """What it has learned from, for the file; the vectors do not depend on it."""
        return {}

    def own_arrays(self) -> dict[str, NDArray[Any]]:
        """Weights of its own, for the file."""
        return {}

    def save(self, folder: Path) -> list[str]:
        config = {
            "kind": self.kind,
            "sam": {"source": self.sam.source, "input_px": self.sam.input_px(self.config)},
            "crop": self.crop.to_json(),
            "own": self.own_settings(),
            "training": self.provenance(),
        }
        write_arrays(
            folder / FILE, "embedder", self.own_arrays(), config=config, parents={"sam": self.sam.hash}
        )
        return [FILE, *save_copy(self.sam, folder)]

    @classmethod
    def load(cls, folder: Path) -> Self:
        header, arrays = read_embedder(folder, cls.kind)
        stored = header.config["sam"]
        sam = load_copy(folder, stored["source"], header.parents["sam"])
        config = FeatureConfig(input_px=stored["input_px"], crop=CropConfig.from_json(header.config["crop"]))
        return cls.from_file(sam, config, header, arrays)

    @classmethod
    def from_file(
        cls, sam: OpenSam, config: FeatureConfig, header: Header, arrays: dict[str, NDArray[Any]]
    ) -> Self:
        del header, arrays
        return cls(sam, config)


class SamPartsEmbedder(SamEmbedder):
    """The mean token over the nucleus, then the one over the cytoplasm: where a class shows matters."""

    kind: ClassVar[str] = "sam-parts"

    @property
    def dim(self) -> int:
        return 2 * self.sam.dim

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(
            f"{self.kind}_{part}_{i}" for part in ("nucleus", "cytoplasm") for i in range(self.sam.dim)
        )

    def describe(self, tokens: Tensor, parts: Tensor) -> Tensor:
        return pool_parts(tokens, parts).flatten(1)


def pool_parts(tokens: Tensor, parts: Tensor) -> Tensor:
    """B x D x h x w and parts B x S x S -> B x 2 x D: mean over nucleus and over cytoplasm.

    A token counts by how much of its square the part covers. A part that is not there takes the mean of the
    cell, and a cell without a mask that of its picture.
    """
    nucleus, cytoplasm = (parts == NUCLEUS).float(), (parts == CYTOPLASM).float()
    everything = nucleus.new_ones(nucleus.shape)
    masks = F.adaptive_avg_pool2d(
        torch.stack([nucleus, cytoplasm, nucleus + cytoplasm, everything], dim=1),
        (tokens.shape[2], tokens.shape[3]),
    )
    sums = masks.flatten(2) @ tokens.float().flatten(2).transpose(1, 2)
    amount = masks.sum(dim=(2, 3))[..., None]
    means = sums / amount.clamp(min=1e-6)
    there = amount > 0
    cell = means[:, 2:3].where(there[:, 2:3], means[:, 3:4])
    return means[:, :2].where(there[:, :2], cell)


def read_embedder(folder: Path, kind: str) -> tuple[Header, dict[str, NDArray[Any]]]:
    header, arrays = read_arrays(Path(folder) / FILE, "embedder")
    found = header.config.get("kind")
    if found != kind:
        raise ArtifactError(f"{Path(folder) / FILE} is an embedder of kind {found!r}, not {kind!r}.")
    return header, arrays
