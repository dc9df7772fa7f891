"""Cells of one lab described as if they were stained like another: each crop is restained before another
embedder sees it. It is made by adapting a model to a lab, and holds for that lab's images."""

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from napari_bloodcell.core.artifact import hash_of, read_json, write_json
from napari_bloodcell.core.config import TransferConfig
from napari_bloodcell.core.embed.choose import RESTAINED as FILE
from napari_bloodcell.core.errors import ArtifactError
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import Crops, Embeddings
from napari_bloodcell.core.stain.profile import StainProfile, profile_from_json

KIND = "restained"
INSIDE = "embedder-inside"  # how files of the embedder inside begin, in the place of "embedder"
VERSION = 2  # raise it whenever a restained pixel changes


@dataclass(frozen=True, kw_only=True, eq=False)
class RestainedEmbedder:
    """``source`` is the stain of the lab whose cells come, ``target`` the one they are shown in."""

    inside: Any  # an Embedder
    source: StainProfile
    target: StainProfile
    kind: ClassVar[str] = KIND

    def __post_init__(self) -> None:
        for name in ("source", "target"):  # as they come from the file: a digit less may turn a pixel
            kept = profile_from_json(Path(FILE), getattr(self, name).to_json())
            object.__setattr__(self, name, kept)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.inside.names)

    @property
    def crop(self) -> Any:
        """The crops the embedder inside asks for."""
        return getattr(self.inside, "crop", None)

    @property
    def hash(self) -> str:
        stains = {"source": self.source.to_json(), "target": self.target.to_json()}
        how = {"version": VERSION, "transfer": TransferConfig().to_json()}
        return hash_of({"embedder": KIND, "inside": self.inside.hash, **how, **stains})

    def __str__(self) -> str:
        return f"{self.inside.kind} of cells restained from {self.source.name} to {self.target.name}"

    def embed(self, crops: Crops, *, progress: Progress = silent) -> Embeddings:
        shown = restained(crops, self.source, self.target, progress=progress)
        found = self.inside.embed(shown, progress=progress)
        return Embeddings(cell_id=found.cell_id, values=found.values, names=found.names, embedder=self.hash)

    def save(self, folder: Path) -> list[str]:
        with tempfile.TemporaryDirectory(dir=folder) as own:
            names = self.inside.save(Path(own))
            renamed = [INSIDE + name.removeprefix("embedder") for name in names]
            for name, new in zip(names, renamed, strict=True):
                shutil.move(Path(own) / name, folder / new)
        body = {
            "inside": self.inside.kind,
            "inside_hash": self.inside.hash,
            "files": dict(zip(renamed, names, strict=True)),
            "source": self.source.to_json(),
            "target": self.target.to_json(),
        }
        write_json(folder / FILE, "restained", body)
        return [FILE, *renamed]

    @classmethod
    def load(cls, folder: Path) -> Self:
        from napari_bloodcell.core.embed import EMBEDDERS

        _, body = read_json(folder / FILE, "restained")
        kind, files = str(body.get("inside")), body.get("files")
        if kind == KIND or not isinstance(files, dict):
            raise ArtifactError(f"{folder / FILE} does not name the embedder inside. Take the original file.")
        with tempfile.TemporaryDirectory(prefix="bloodcell-", ignore_cleanup_errors=True) as own:
            for name, original in files.items():
                _check_names(folder, str(name), str(original))
                shutil.copyfile(folder / name, Path(own) / original)
            inside = EMBEDDERS[kind].load(Path(own))
        if inside.hash != body.get("inside_hash"):
            raise ArtifactError(
                f"The embedder {kind!r} of this release is another version than the one {folder / FILE} was "
                "made with. Use the release it was made for, or adapt the model again."
            )
        profiles = {
            name: profile_from_json(folder / FILE, body.get(name) or {}) for name in ("source", "target")
        }
        return cls(inside=inside, **profiles)


def restained(
    crops: Crops, source: StainProfile, target: StainProfile, *, progress: Progress = silent
) -> Crops:
    """The crops in the target's stain, on its ground. Each starts from the ground of its own image."""
    import torch

    from napari_bloodcell.core.stain.tensors import BYTE
    from napari_bloodcell.core.stain.transfer import Stains, check_stains, restain, stains_of

    check_stains(source, target)
    n = len(crops)
    ground = np.float32(BYTE) * np.exp(-target.background)
    if not n:
        return crops
    cpu = torch.device("cpu")
    lab, end = stains_of([source] * n, cpu), stains_of([target] * n, cpu)
    own = np.log(np.float32(BYTE)) - np.log(np.maximum(crops.ground_rgb, 1))
    start = Stains(dictionary=lab.dictionary, background=torch.from_numpy(own), scale=lab.scale)
    batch = torch.from_numpy(np.ascontiguousarray(crops.pixels.transpose(0, 3, 1, 2)))
    out = torch.empty((1, *batch.shape), dtype=batch.dtype)
    restain(batch, start, [end], TransferConfig(), out, progress=progress)
    pixels = np.ascontiguousarray(out[0].numpy().transpose(0, 2, 3, 1))
    return replace(crops, pixels=pixels, ground_rgb=np.tile(ground, (n, 1)))


def _check_names(folder: Path, name: str, original: str) -> None:
    plain = all(Path(one).name == one and one.startswith("embedder") for one in (name, original))
    if not plain or not name.startswith(INSIDE) or not (folder / name).is_file():
        raise ArtifactError(f"{folder / FILE} names a file {name!r} that is not its own: not loaded.")
