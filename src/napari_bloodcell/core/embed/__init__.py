"""Crops -> Embeddings. Each way of describing a cell is one file; ``EMBEDDERS`` lists them by kind."""

from pathlib import Path
from typing import Protocol, Self

from napari_bloodcell.core.parts import Registry
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import Crops, Embeddings


class Embedder(Protocol):
    """Describes each crop by a vector. ``hash`` changes whenever the vectors would."""

    @property
    def kind(self) -> str: ...

    @property
    def hash(self) -> str: ...

    @property
    def names(self) -> tuple[str, ...]: ...

    def embed(self, crops: Crops, *, progress: Progress = silent) -> Embeddings: ...

    def save(self, folder: Path) -> list[str]: ...

    @classmethod
    def load(cls, folder: Path) -> Self: ...


_HERE = "napari_bloodcell.core.embed"
EMBEDDERS = Registry(
    "embedder",
    {
        "measurements": f"{_HERE}.measurements:MeasurementEmbedder",
        "details": f"{_HERE}.measurements:DetailEmbedder",
        "sam": f"{_HERE}.sam_embedder:SamEmbedder",
        "sam-parts": f"{_HERE}.sam_embedder:SamPartsEmbedder",
        "sam+bcsam": f"{_HERE}.trained:BcsamEmbedder",
        "dino": f"{_HERE}.dino:DinoEmbedder",
        "sam+aligned": f"{_HERE}.aligned:AlignedEmbedder",
        "sam+dorl": f"{_HERE}.trained:DorlEmbedder",
        "sada": f"{_HERE}.sada.embedder:SadaEmbedder",
        "restained": f"{_HERE}.restained:RestainedEmbedder",
    },
    group="napari_bloodcell.embedders",
)
