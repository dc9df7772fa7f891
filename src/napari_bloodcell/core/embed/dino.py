"""DINOv2 and DinoBloom from a local file, through timm: encoders of others to compare with.

DinoBloom (Koch et al., MICCAI 2024; Zenodo 10908163) was trained on most public sets of blood cells, so a
figure on those is no figure of a new lab: ``seen_in_training`` says which of a list of sets it has seen.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from napari_bloodcell.core.artifact import hash_of, write_arrays
from napari_bloodcell.core.config import CropConfig, FeatureConfig
from napari_bloodcell.core.device import resolve
from napari_bloodcell.core.embed.sam_embedder import FILE, read_embedder
from napari_bloodcell.core.errors import WeightsError
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import Crops, Embeddings
from napari_bloodcell.core.sam.checkpoint import hash_tensors, read_torch

Family = Literal["dinov2", "dinobloom"]

INPUT_PX, PATCH_PX = 224, 14
MODELS = {384: "vit_small_patch14_dinov2", 768: "vit_base_patch14_dinov2"}
# Names of ``core.datasets`` that the pictures of a family come from.
PRETRAINED_ON: dict[str, tuple[str, ...]] = {
    "dinov2": (),
    "dinobloom": ("matek", "raabin", "lisc", "zheng", "bccd"),
}
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_NOT_NEEDED = ("mask_token", "register_tokens", "dino_head", "ibot_head")


def seen_in_training(family: str, sets: Iterable[str]) -> tuple[str, ...]:
    """Which of these sets the encoder was pre-trained on: figures on them are contaminated."""
    return tuple(name for name in sets if name in PRETRAINED_ON.get(family, ()))


class DinoEmbedder:
    """The CLS token of a vision transformer of patch 14 at 224 px."""

    kind: ClassVar[str] = "dino"

    def __init__(self, network: nn.Module, family: Family, config: FeatureConfig = FeatureConfig()) -> None:
        self.network, self.family, self.config = network.eval(), family, config
        self._weights = hash_tensors(network.state_dict())

    @classmethod
    def read(cls, path: Path, family: Family, config: FeatureConfig = FeatureConfig()) -> Self:
        """A file as its authors give it: a plain state, or ``teacher`` with ``backbone.`` before names."""
        return cls(_network(_plain_state(read_torch(Path(path)), str(path)), str(path)), family, config)

    @property
    def crop(self) -> CropConfig:
        return self.config.crop

    @property
    def pretrained_on(self) -> tuple[str, ...]:
        return PRETRAINED_ON[self.family]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{self.family}_{i}" for i in range(int(self.network.num_features)))  # type: ignore[arg-type]

    @property
    def hash(self) -> str:
        return hash_of({"embedder": self.kind, "family": self.family, "weights": self._weights})

    def embed(self, crops: Crops, *, progress: Progress = silent) -> Embeddings:
        device, _ = resolve(self.config.device)
        network = self.network.to(device)
        mean, std = (torch.tensor(v, device=device).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
        values = np.zeros((len(crops), len(self.names)), np.float32)
        step = self.config.at_once
        for start in range(0, len(crops), step):
            progress("Describing cells", start, len(crops))
            pixels = torch.from_numpy(np.array(crops.pixels[start : start + step])).to(device)
            pictures = pixels.permute(0, 3, 1, 2).float() / 255
            pictures = F.interpolate(pictures, size=(INPUT_PX, INPUT_PX), mode="bilinear", antialias=True)
            with torch.inference_mode():
                values[start : start + step] = network((pictures - mean) / std).float().cpu().numpy()
        return Embeddings(cell_id=crops.cell_id, values=values, names=self.names, embedder=self.hash)

    def save(self, folder: Path) -> list[str]:
        arrays = {name: tensor.cpu().numpy() for name, tensor in self.network.state_dict().items()}
        config = {"kind": self.kind, "family": self.family, "crop": self.crop.to_json()}
        write_arrays(Path(folder) / FILE, "embedder", arrays, config=config)
        return [FILE]

    @classmethod
    def load(cls, folder: Path) -> Self:
        header, arrays = read_embedder(folder, cls.kind)
        config = FeatureConfig(crop=CropConfig.from_json(header.config["crop"]))
        state = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        return cls(_network(state, str(folder)), header.config["family"], config)


def _plain_state(content: Any, source: str) -> dict[str, Tensor]:
    """Names as timm has them: no wrapping, no prefix, blocks not in chunks, no parts of the training."""
    while isinstance(content, Mapping) and "cls_token" not in content:
        inner = next((content[key] for key in ("teacher", "model", "state_dict") if key in content), None)
        if inner is None:
            stripped = {str(k).removeprefix("backbone."): v for k, v in content.items()}
            if "cls_token" not in stripped:
                raise WeightsError(f"{source} is no DINOv2 or DinoBloom file: it has no class token.")
            content = stripped
        else:
            content = inner
    chunked = re.compile(r"^blocks\.\d+\.(\d+)\.")
    return {
        chunked.sub(r"blocks.\1.", name): tensor
        for name, tensor in content.items()
        if isinstance(tensor, Tensor) and not name.startswith(_NOT_NEEDED)
    }


def _network(state: dict[str, Tensor], source: str) -> nn.Module:
    try:
        import timm
        from timm.layers import resample_abs_pos_embed
    except ImportError as error:
        raise WeightsError(
            "DINOv2 and DinoBloom take the package timm: pip install 'napari-bloodcell[dino]'."
        ) from error
    width = int(state["cls_token"].shape[-1])
    if width not in MODELS:
        raise WeightsError(
            f"{source} holds a transformer {width} wide; known are small ({min(MODELS)}) and base "
            f"({max(MODELS)})."
        )
    network: nn.Module = timm.create_model(MODELS[width], pretrained=False, img_size=INPUT_PX, num_classes=0)
    side = INPUT_PX // PATCH_PX
    ready = dict(state)
    ready["pos_embed"] = resample_abs_pos_embed(state["pos_embed"].float(), [side, side])
    wanted = network.state_dict()
    odd = sorted(set(wanted) ^ set(ready)) or [k for k in wanted if wanted[k].shape != ready[k].shape]
    if odd:
        raise WeightsError(
            f"{source} does not fit {MODELS[width]}: {odd[0]!r} is missing, too much, or of another shape."
        )
    network.load_state_dict({name: tensor.float() for name, tensor in ready.items()})
    return network
