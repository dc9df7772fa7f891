"""What a training leaves: an encoder with its classifier, in one file."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_bloodcell.core.artifact import hash_of, read_arrays, write_arrays
from napari_bloodcell.core.config import BackboneConfig, SadaConfig
from napari_bloodcell.core.device import is_out_of_memory
from napari_bloodcell.core.embed.sada.backbones import build
from napari_bloodcell.core.embed.sada.network import LabNet
from napari_bloodcell.core.errors import ArtifactError
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import ByteArray, FloatArray
from napari_bloodcell.core.sam.checkpoint import hash_tensors

KIND = "sada"  # of an embedder
FILE = "embedder.safetensors"
VERSION = 1  # raise it whenever a number changes
BATCH = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class LabModel:
    """A network that was trained on several labs, and on which."""

    net: LabNet
    backbone: BackboneConfig
    config: SadaConfig
    class_names: tuple[str, ...]
    lab_names: tuple[str, ...]
    figures: dict[str, float] = field(default_factory=dict)  # on held-out cells of these labs
    notes: tuple[str, ...] = ()

    @property
    def hash(self) -> str:
        """Of the encoder: what vectors depend on."""
        return hash_of(
            {
                "embedder": KIND,
                "version": VERSION,
                "weights": hash_tensors(self.net.backbone.state_dict()),
                "size_px": self.backbone.size_px,
                "masked": self.backbone.masked,
            }
        )

    @property
    def width(self) -> int:
        return self.net.backbone.width

    def run(self, pixels: ByteArray, *, progress: Progress = silent) -> tuple[FloatArray, FloatArray]:
        """N x S x S x 3 bytes -> vectors and logits. Other sizes are brought to the network's own."""
        vectors = np.zeros((len(pixels), self.width), np.float32)
        logits = np.zeros((len(pixels), len(self.class_names)), np.float32)
        start, size = 0, BATCH
        while start < len(pixels):
            progress("Describing cells", start, len(pixels))
            rows = slice(start, start + size)
            try:
                found = self._batch(pixels[rows])
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or size == 1:
                    raise
                size //= 2
                continue
            vectors[rows], logits[rows] = found
            start += size
        return vectors, logits

    @torch.inference_mode()
    def _batch(self, pixels: ByteArray) -> tuple[FloatArray, FloatArray]:
        self.net.eval()
        batch = torch.from_numpy(pixels.astype(np.float32)).movedim(-1, 1).to(self.net.device)
        side = self.backbone.size_px
        if batch.shape[-1] != side:
            batch = torch.nn.functional.interpolate(
                batch, size=(side, side), mode="bilinear", antialias=True, align_corners=False
            )
        vectors = self.net.vectors(batch)
        return vectors.cpu().numpy(), self.net.classifier(vectors).cpu().numpy()

    def save(self, path: Path) -> str:
        """Weights that 16 bits hold exactly are stored so: half the size, and nothing lost."""
        arrays = {}
        for key, value in self.net.state_dict().items():
            full = value.to("cpu", torch.float32)
            half = full.to(torch.float16)
            arrays[key] = (half if torch.equal(half.float(), full) else full).numpy()
        body = {
            "kind": KIND,
            "backbone": self.backbone.to_json() | {"weights": "none", "norm": self._norm()},
            "sada": self.config.to_json(),
            "class_names": list(self.class_names),
            "lab_names": list(self.lab_names),
            "figures": self.figures,
            "notes": list(self.notes),
        }
        return write_arrays(path, "embedder", arrays, config=body)

    def _norm(self) -> str:
        return "frozen" if self.net.backbone.frozen else "group"


def round_to_half(net: LabNet) -> None:
    """Weights as 16 bits hold them: a file of half the size gives the very same vectors."""
    with torch.no_grad():
        for tensor in net.state_dict().values():
            tensor.copy_(tensor.to(torch.float16))


def load_model(path: Path) -> LabModel:
    """A file that ``save`` wrote."""
    header, arrays = read_arrays(Path(path), "embedder")
    body: dict[str, Any] = dict(header.config)
    if body.get("kind") != KIND:
        raise ArtifactError(f"{path} is an embedder of kind {body.get('kind')!r}, not {KIND!r}.")
    try:
        backbone = BackboneConfig.from_json(body["backbone"])
        names = tuple(body["class_names"])
        net = LabNet(build(backbone, empty=True), len(names))
        net.load_state_dict({key: torch.from_numpy(value).float() for key, value in arrays.items()})
        return LabModel(
            net=net.eval(),
            backbone=backbone,
            config=SadaConfig.from_json(body["sada"]),
            class_names=names,
            lab_names=tuple(body["lab_names"]),
            figures=dict(body["figures"]),
            notes=tuple(body["notes"]),
        )
    except (KeyError, RuntimeError) as error:
        said = str(error).splitlines()[0][:200]
        raise ArtifactError(
            f"{path} is no complete encoder ({said}). Take the original file again."
        ) from error
