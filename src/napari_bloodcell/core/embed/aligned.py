"""Labs laid over each other without training: each lab's vectors are centred, scaled and whitened by its own
cells, so that what a stain or a camera does to all cells alike drops out.

A cell is brought over by the statistics of its lab. Which lab that is can be said; else it is the known one
the cell lies nearest to (labs are easily told apart, which is the whole trouble). A new lab joins by a few
dozen of its own cells, without classes; the space, and classifiers trained in it, stay.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from napari_bloodcell.core.artifact import Header, hash_of
from napari_bloodcell.core.config import FeatureConfig
from napari_bloodcell.core.embed.sam_embedder import SamEmbedder, SamPartsEmbedder, pool_parts
from napari_bloodcell.core.embed.sam_model import OpenSam
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import Crops, Embeddings, FloatArray

Pool = Literal["whole", "parts"]

SHRINK = 0.3  # of each covariance towards a multiple of one: labs have fewer cells than columns
LEAST = 20  # cells that tell how a lab's cells are spread


@dataclass(frozen=True, kw_only=True, eq=False)
class LabSpace:
    """Statistics of each known lab. ``whitening`` is symmetric, so columns keep their meaning."""

    labs: tuple[str, ...]
    mean: FloatArray  # K x D
    scale: FloatArray  # K x D
    whitening: FloatArray  # K x D x D
    founders: int = 0  # the first so many labs make the space; later ones only join it

    def bring(self, values: FloatArray, lab: str | None = None) -> FloatArray:
        """N x D into the common space."""
        each = [((values - m) / s) @ w for m, s, w in zip(self.mean, self.scale, self.whitening, strict=True)]
        if lab is not None:
            if lab not in self.labs:
                raise DataError(f"There is no lab {lab!r} in this space; it knows {', '.join(self.labs)}.")
            return np.asarray(each[self.labs.index(lab)], np.float32)
        stacked = np.stack(each)
        nearest = (stacked**2).sum(axis=2).argmin(axis=0)
        return np.asarray(stacked[nearest, np.arange(len(values))], np.float32)

    def with_lab(self, lab: str, values: FloatArray) -> "LabSpace":
        """One more lab, or new statistics for one that joined earlier."""
        if lab in self.labs[: self.founders]:
            raise DataError(f"{lab!r} is one of the labs this space was made from. Make the space again.")
        mean, scale, whitening = statistics(lab, values)
        others = [i for i, name in enumerate(self.labs) if name != lab]
        return replace(
            self,
            labs=(*(self.labs[i] for i in others), lab),
            mean=np.concatenate([self.mean[others], mean[None]]),
            scale=np.concatenate([self.scale[others], scale[None]]),
            whitening=np.concatenate([self.whitening[others], whitening[None]]),
        )


def make_space(values: FloatArray, labs: Sequence[str]) -> LabSpace:
    """From the vectors of cells of several labs; classes are not used."""
    names = np.asarray(labs, np.str_)
    known = tuple(sorted(set(labs)))
    if len(known) < 2:
        raise DataError(
            f"Laying labs over each other takes two at least; there is {known[0]!r} alone."
            if known
            else "There are no cells to lay over each other."
        )
    found = [statistics(lab, values[names == lab]) for lab in known]
    mean, scale, whitening = (np.stack([one[part] for one in found]) for part in range(3))
    return LabSpace(labs=known, mean=mean, scale=scale, whitening=whitening, founders=len(known))


def statistics(lab: str, values: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean, spread and whitening of one lab."""
    if len(values) < LEAST:
        raise DataError(
            f"{lab} has {len(values)} cells; {LEAST} at least tell how a lab's cells are spread. Add "
            "cells, or leave the lab out."
        )
    plain = values.astype(np.float64)
    mean, spread = plain.mean(axis=0), plain.std(axis=0)
    scale = np.where(spread > 1e-6, spread, 1)
    ready = (plain - mean) / scale
    covariance = ready.T @ ready / len(ready)
    level = np.trace(covariance) / len(covariance)
    power, axes = np.linalg.eigh((1 - SHRINK) * covariance + SHRINK * max(level, 1e-6) * np.eye(len(mean)))
    whitening = (axes / np.sqrt(power)) @ axes.T
    return mean.astype(np.float32), scale.astype(np.float32), whitening.astype(np.float32)


class AlignedEmbedder(SamEmbedder):
    """Mean tokens of Segment Anything, each lab laid over the others. ``lab``: where the cells are from."""

    kind: ClassVar[str] = "sam+aligned"

    def __init__(
        self,
        sam: OpenSam,
        space: LabSpace,
        pool: Pool = "whole",
        config: FeatureConfig = FeatureConfig(),
        lab: str | None = None,
        training: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(sam, config)
        self.space, self.pool, self.lab, self.training = space, pool, lab, dict(training or {})

    @property
    def dim(self) -> int:
        return self.sam.dim * (2 if self.pool == "parts" else 1)

    def describe(self, tokens: Tensor, parts: Tensor) -> Tensor:
        return pool_parts(tokens, parts).flatten(1) if self.pool == "parts" else tokens.mean(dim=(2, 3))

    def embed(self, crops: Crops, *, progress: Progress = silent) -> Embeddings:
        raw = super().embed(crops, progress=progress)
        return replace(raw, values=self.space.bring(raw.values, self.lab))

    def for_lab(self, lab: str) -> "AlignedEmbedder":
        """The same for cells of one known lab."""
        self.space.bring(np.zeros((0, self.dim), np.float32), lab)
        return AlignedEmbedder(self.sam, self.space, self.pool, self.config, lab, self.training)

    def with_lab(self, lab: str, crops: Crops, *, progress: Progress = silent) -> "AlignedEmbedder":
        """The same with one more lab, known by some of its cells."""
        raw = super().embed(crops, progress=progress)
        space = self.space.with_lab(lab, raw.values)
        return AlignedEmbedder(self.sam, space, self.pool, self.config, None, self.training)

    def own_settings(self) -> dict[str, Any]:
        """The labs that made the space; those that joined later do not change it."""
        space, n = self.space, self.space.founders
        arrays = (space.mean[:n], space.scale[:n], space.whitening[:n])
        digest = hash_of([array.astype(np.float32).tobytes().hex() for array in arrays])
        return {"pool": self.pool, "founders": list(space.labs[:n]), "space": digest}

    def own_arrays(self) -> dict[str, NDArray[Any]]:
        return {"mean": self.space.mean, "scale": self.space.scale, "whitening": self.space.whitening}

    def provenance(self) -> dict[str, Any]:
        return {**self.training, "known_labs": list(self.space.labs)}

    @classmethod
    def from_file(
        cls, sam: OpenSam, config: FeatureConfig, header: Header, arrays: dict[str, NDArray[Any]]
    ) -> Self:
        own, training = header.config["own"], dict(header.config["training"])
        space = LabSpace(
            labs=tuple(training.pop("known_labs")),
            mean=arrays["mean"],
            scale=arrays["scale"],
            whitening=arrays["whitening"],
            founders=len(own["founders"]),
        )
        return cls(sam, space, own["pool"], config, training=training)


def align_labs(
    sam: OpenSam,
    crops: Sequence[tuple[str, Crops]],
    pool: Pool = "whole",
    config: FeatureConfig = FeatureConfig(),
    out: Path | None = None,
    *,
    progress: Progress = silent,
) -> AlignedEmbedder:
    """An embedder from the cells of several labs, each given with the lab's name."""
    raw = (SamPartsEmbedder if pool == "parts" else SamEmbedder)(sam, config)
    values = [raw.embed(part, progress=progress).values for _, part in crops]
    labs = [lab for lab, part in crops for _ in range(len(part))]
    space = make_space(np.concatenate(values) if values else np.zeros((0, raw.dim), np.float32), labs)
    counts = {lab: labs.count(lab) for lab in space.labs}
    training = {"protocol": "transductive", "labs": counts}
    embedder = AlignedEmbedder(sam, space, pool, config, training=training)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        embedder.save(out)
    return embedder
