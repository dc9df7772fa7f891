"""Crops -> Embeddings. Each way of describing a cell is one file; ``EMBEDDERS`` lists them by kind."""

from collections.abc import Callable
from typing import Protocol

from napari_bloodcell.core.embed.measurements import MeasurementEmbedder
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import Crops, Embeddings


class Embedder(Protocol):
    """Describes each crop by a vector. ``hash`` changes whenever the vectors would."""

    @property
    def hash(self) -> str: ...

    def embed(self, crops: Crops, *, progress: Progress = silent) -> Embeddings: ...


EMBEDDERS: dict[str, Callable[[], Embedder]] = {"measurements": MeasurementEmbedder}
