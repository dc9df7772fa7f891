"""Labs laid over each other without training: kinds of cell are found without labels, and in each lab each
kind is moved to where that kind lies over all labs.

Labs with other shares of classes are so mixed up less than by moving whole labs (the idea of Harmony,
Korsunsky et al., Nature Methods 2019, in its simplest form). Which lab a cell is from can be said;
else it is the known one it lies nearest to: labs are easily told apart, which is the whole trouble. A new lab
joins by a few dozen of its own cells, without classes; the space, and classifiers trained in it, stay.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.artifact import Header, hash_arrays, hash_of
from napari_bloodcell.core.config import FeatureConfig
from napari_bloodcell.core.embed.sam_embedder import SamEmbedder, SamPartsEmbedder
from napari_bloodcell.core.embed.sam_model import OpenSam
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import Crops, Embeddings, FloatArray

Pool = Literal["whole", "parts"]

COMPONENTS = 30  # principal components of all labs together; 20 to 40 do about the same
KINDS = 8  # 5 to 12 do about the same
# Of means over nucleus and cytoplasm, fewer keep more of the class. Chosen on one half of the cells of three
# labs, measured on the other: benchmark ``invariance``.
PARTS_COMPONENTS, PARTS_KINDS = 10, 4
ROUNDS = 8  # of finding kinds and moving them
SOFTNESS = 0.2  # how gradually a cell changes from one kind to the next
CAUTION = 0.01  # cells' worth of doubt in each move; more leaves a plain rest of the lab behind
LEAST = 20  # cells that tell where a lab's kinds lie


@dataclass(frozen=True, kw_only=True, eq=False)
class LabSpace:
    """D columns go in, P come out; K labs, C kinds."""

    labs: tuple[str, ...]
    founders: int  # the first so many labs make the space; later ones only join it
    mean: FloatArray  # D
    axes: FloatArray  # D x P, the scale of each column in it
    precision: FloatArray  # P x P, of cells within their labs
    kinds: FloatArray  # C x P, directions in the common space
    common: FloatArray  # C x P, where each kind lies over all labs, before moving
    start: FloatArray  # K x P, where each lab lies
    move: FloatArray  # K x C x P, taken off the cells of a kind

    def bring(self, values: FloatArray, lab: str | None = None) -> FloatArray:
        """N x D -> N x P in the common space."""
        before = (values.astype(np.float64) - self.mean) @ self.axes
        if lab is not None and lab not in self.labs:
            raise DataError(f"There is no lab {lab!r} in this space; it knows {', '.join(self.labs)}.")
        which = np.full(len(values), self.labs.index(lab)) if lab is not None else self.nearest(before)
        after = before - self.start[which]
        for _ in range(ROUNDS):
            after = before - np.einsum("nc,ncp->np", shares(after, self.kinds), self.move[which])
        return after.astype(np.float32)

    def nearest(self, before: NDArray[np.float64]) -> NDArray[np.int64]:
        """The known lab each cell lies nearest to."""
        off = before[:, None] - self.start[None]
        return np.asarray(np.einsum("nkp,pq,nkq->nk", off, self.precision, off).argmin(axis=1))

    def with_lab(self, lab: str, values: FloatArray) -> "LabSpace":
        """One more lab, or new statistics for one that joined earlier."""
        if lab in self.labs[: self.founders]:
            raise DataError(f"{lab!r} is one of the labs this space was made from. Make the space again.")
        check_count(lab, len(values))
        before = (values.astype(np.float64) - self.mean) @ self.axes
        start = before.mean(axis=0)
        after = before - start
        for _ in range(ROUNDS):
            share = shares(after, self.kinds)
            move = moves(before, share, self.common)
            after = before - share @ move
        kept = [i for i, name in enumerate(self.labs) if name != lab]
        return replace(
            self,
            labs=(*(self.labs[i] for i in kept), lab),
            start=np.concatenate([self.start[kept], start[None].astype(np.float32)]),
            move=np.concatenate([self.move[kept], move[None].astype(np.float32)]),
        )


def make_space(values: FloatArray, labs: Sequence[str], pool: Pool = "whole", *, seed: int = 0) -> LabSpace:
    """From the vectors of cells of several labs; classes are not used."""
    from sklearn.cluster import KMeans

    many, most = (PARTS_COMPONENTS, PARTS_KINDS) if pool == "parts" else (COMPONENTS, KINDS)
    known, lab = np.unique(np.asarray(labs, np.str_), return_inverse=True)
    if len(known) < 2:
        told = f"there is {str(known[0])!r} alone" if len(known) else "there is none"
        raise DataError(f"Laying labs over each other takes two at least; {told}. Add a lab.")
    for name in known.tolist():
        check_count(name, int((known[lab] == name).sum()))
    mean, axes = components(values.astype(np.float64), many)
    before = (values - mean) @ axes
    start = np.stack([before[lab == k].mean(axis=0) for k in range(len(known))])
    within = after = before - start[lab]
    for _ in range(ROUNDS):
        found = KMeans(min(most, len(after)), n_init=3, random_state=seed).fit(directions(after))
        kinds = directions(found.cluster_centers_)
        share = shares(after, kinds)
        common = share.T @ before / share.sum(axis=0)[:, None]
        move = np.stack([moves(before[lab == k], share[lab == k], common) for k in range(len(known))])
        after = before - np.einsum("nc,ncp->np", share, move[lab])
    covariance = within.T @ within / len(within)
    level = np.trace(covariance) / len(covariance)
    arrays = {
        "mean": mean,
        "axes": axes,
        "precision": np.linalg.inv(covariance + 0.1 * level * np.eye(len(covariance))),
        "kinds": kinds,
        "common": common,
        "start": start,
        "move": move,
    }
    ready = {name: array.astype(np.float32) for name, array in arrays.items()}
    return LabSpace(labs=tuple(known.tolist()), founders=len(known), **ready)


def components(values: NDArray[np.float64], many: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean, and the axes that bring standardised columns to their principal components."""
    mean, spread = values.mean(axis=0), values.std(axis=0)
    scale = np.where(spread > 1e-6, spread, 1)
    _, strength, rows = np.linalg.svd((values - mean) / scale, full_matrices=False)
    there = int((strength > 1e-6 * max(strength[0], 1e-6)).sum())
    return mean, rows[: max(1, min(many, there))].T / scale[:, None]


def directions(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9))


def shares(values: NDArray[np.float64], kinds: NDArray[Any]) -> NDArray[np.float64]:
    """N x C: how much each cell is of each kind, by its direction."""
    closeness = 2 * directions(values) @ kinds.T / SOFTNESS
    raised = np.exp(closeness - closeness.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def moves(
    before: NDArray[np.float64], share: NDArray[np.float64], common: NDArray[Any]
) -> NDArray[np.float64]:
    """C x P: how far each kind of one lab lies from where that kind lies over all."""
    amount = share.sum(axis=0)[:, None]
    return np.asarray((share.T @ before - amount * common) / (amount + CAUTION))


def check_count(lab: str, count: int) -> None:
    if count < LEAST:
        raise DataError(
            f"{lab} has {count} cells; {LEAST} at least tell where its kinds of cell lie. Add cells, or "
            "leave the lab out."
        )


ARRAYS = tuple(f.name for f in fields(LabSpace) if f.name not in ("labs", "founders"))
PER_LAB = ("start", "move")


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
        return int(self.space.axes.shape[1])

    @property
    def raw(self) -> SamEmbedder:
        """The vectors before they are moved."""
        return (SamPartsEmbedder if self.pool == "parts" else SamEmbedder)(self.sam, self.config)

    def embed(self, crops: Crops, *, progress: Progress = silent) -> Embeddings:
        values = self.space.bring(self.raw.embed(crops, progress=progress).values, self.lab)
        return Embeddings(cell_id=crops.cell_id, values=values, names=self.names, embedder=self.hash)

    def for_lab(self, lab: str) -> "AlignedEmbedder":
        """The same for cells of one known lab."""
        self.space.bring(np.zeros((0, len(self.space.mean)), np.float32), lab)
        return AlignedEmbedder(self.sam, self.space, self.pool, self.config, lab, self.training)

    def with_lab(self, lab: str, crops: Crops, *, progress: Progress = silent) -> "AlignedEmbedder":
        """The same with one more lab, known by some of its cells."""
        space = self.space.with_lab(lab, self.raw.embed(crops, progress=progress).values)
        return AlignedEmbedder(self.sam, space, self.pool, self.config, None, self.training)

    @property
    def vectors_hash(self) -> str:
        """Of all that a vector depends on: also of labs that joined, and of the lab that cells are said to be
        from. ``hash`` says what space they lie in, and which classifiers can read them."""
        labs = hash_arrays({"start": self.space.start, "move": self.space.move}, {}, {})
        return hash_of([self.hash, list(self.space.labs), labs, self.lab])

    def own_settings(self) -> dict[str, Any]:
        """The labs that made the space; those that joined later do not change it."""
        n = self.space.founders
        made = {
            name: (array[:n] if name in PER_LAB else array).astype(np.float32).tobytes().hex()
            for name, array in self.own_arrays().items()
        }
        return {"pool": self.pool, "founders": list(self.space.labs[:n]), "space": hash_of(made)}

    def own_arrays(self) -> dict[str, NDArray[Any]]:
        return {name: getattr(self.space, name) for name in ARRAYS}

    def provenance(self) -> dict[str, Any]:
        return {**self.training, "known_labs": list(self.space.labs)}

    @classmethod
    def from_file(
        cls, sam: OpenSam, config: FeatureConfig, header: Header, arrays: dict[str, NDArray[Any]]
    ) -> Self:
        own, training = header.config["own"], dict(header.config["training"])
        space = LabSpace(
            labs=tuple(training.pop("known_labs")),
            founders=len(own["founders"]),
            **{name: arrays[name] for name in ARRAYS},
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
    space = make_space(np.concatenate(values) if values else np.zeros((0, raw.dim), np.float32), labs, pool)
    counts = {lab: labs.count(lab) for lab in space.labs}
    training = {"protocol": "transductive", "labs": counts}
    embedder = AlignedEmbedder(sam, space, pool, config, training=training)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        embedder.save(out)
    return embedder
