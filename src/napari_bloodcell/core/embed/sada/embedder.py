"""The encoder of a model trained on several labs, as a part of a bundle. Its classifier is in its file."""

from pathlib import Path
from typing import ClassVar, Self

from napari_bloodcell.core.config import CropConfig
from napari_bloodcell.core.device import resolve
from napari_bloodcell.core.embed.sada.cells import shown
from napari_bloodcell.core.embed.sada.model import FILE, KIND, LabModel, load_model
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import Crops, Embeddings


class SadaEmbedder:
    kind: ClassVar[str] = KIND

    def __init__(self, model: LabModel, device: str = "cpu") -> None:
        self.model = model
        model.net.to(resolve(device)[0])
        self._hash = model.hash  # reads all weights: once is enough

    @property
    def hash(self) -> str:
        return self._hash

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{self.kind}_{i}" for i in range(self.model.width))

    @property
    def crop(self) -> CropConfig:
        """How cells are to be cut out for it."""
        return CropConfig(size_px=self.model.backbone.size_px)

    def embed(self, crops: Crops, *, progress: Progress = silent) -> Embeddings:
        vectors, _ = self.model.run(shown(crops, self.model.backbone), progress=progress)
        return Embeddings(cell_id=crops.cell_id, values=vectors, names=self.names, embedder=self.hash)

    def save(self, folder: Path) -> list[str]:
        self.model.save(Path(folder) / FILE)
        return [FILE]

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls(load_model(Path(folder) / FILE), "auto")
