"""Which Segment Anything model describes the cells, and how cells are brought to it."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from napari_bloodcell.core.artifact import hash_of
from napari_bloodcell.core.config import FeatureConfig, SamConfig
from napari_bloodcell.core.errors import WeightsError
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import Crops
from napari_bloodcell.core.sam.adapter import load_adapter
from napari_bloodcell.core.sam.checkpoint import hash_tensors
from napari_bloodcell.core.sam.inference import in_batches, ready
from napari_bloodcell.core.sam.lora import merge_for_good
from napari_bloodcell.core.sam.model import CellSam, load_model, load_weights, save_model
from napari_bloodcell.core.sam.registry import REGISTRY
from napari_bloodcell.core.sam.variants import PATCH_PX, check_size

SHIPPED = ("nano",)
PUBLISHED_PX, SMALL_PX = 224, 512
COPY = "embedder-sam.safetensors"

Describe = Callable[[Tensor, Tensor], Tensor]  # tokens B x D x h x w, parts B x S x S -> B x anything


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenSam:
    """A model, where it came from, and the hash of everything its tokens depend on."""

    model: CellSam
    source: str  # a shipped or registered name; "" for a file of one's own
    hash: str

    @property
    def dim(self) -> int:
        return self.model.variant.dim

    def input_px(self, config: FeatureConfig) -> int:
        if config.input_px is not None:
            return check_size(config.input_px)
        native = self.model.variant.native_px
        return native if native <= SMALL_PX else PUBLISHED_PX

    def map_shape(self, config: FeatureConfig) -> tuple[int, int, int]:
        side = self.input_px(config) // PATCH_PX
        return self.dim, side, side


def open_sam(name_or_path: str | Path = "nano", adapter: Path | None = None) -> OpenSam:
    """A shipped or registered model by name, or a checkpoint by path; with an adapter, merged into it."""
    name = str(name_or_path)
    if name in SHIPPED:
        model = load_model(shipped_path(name))
    elif name in REGISTRY:
        model = load_weights(name)
    elif Path(name).is_file():
        model, name = load_model(Path(name)), ""
    else:
        raise WeightsError(
            f"There is no model {name!r}. Give one of {', '.join((*SHIPPED, *REGISTRY))}, or the path of a "
            "checkpoint of Segment Anything."
        )
    if adapter is not None:
        load_adapter(model, adapter)
        merge_for_good(model)
        name = ""
    return of_model(model, name)


def of_model(model: CellSam, source: str = "") -> OpenSam:
    encoder = hash_tensors(model.image_encoder.state_dict())
    scale = [model.pixel_mean.flatten().tolist(), model.pixel_std.flatten().tolist()]
    return OpenSam(model=model, source=source, hash=hash_of({"encoder": encoder, "pixel_scale": scale}))


def shipped_path(name: str) -> Path:
    path = Path(str(files("napari_bloodcell"))) / "bundles" / "segmenters" / f"{name}.safetensors"
    if not path.is_file():
        raise WeightsError(
            f"The model {name!r} is not in this installation ({path}). Install napari-bloodcell again, or "
            "give the path of a checkpoint."
        )
    return path


def save_copy(sam: OpenSam, folder: Path) -> list[str]:
    """A model of one's own goes with the embedder; one that everybody has is only named."""
    if sam.source:
        return []
    save_model(sam.model, folder / COPY)
    return [COPY]


def load_copy(folder: Path, source: str, sha256: str) -> OpenSam:
    """The model an embedder was made with; any other is refused."""
    path = folder / COPY
    sam = of_model(load_model(path)) if path.is_file() else open_sam(source or COPY)
    if sam.hash != sha256:
        raise WeightsError(
            f"{folder} was made with model {sha256[:12]}; {source or path.name} here is {sam.hash[:12]}. Its "
            "vectors would be noise. Take the model it was made with, or train it again."
        )
    return sam


def each_batch(
    sam: OpenSam,
    crops: Crops,
    config: FeatureConfig,
    describe: Describe,
    take: Callable[[int, NDArray[Any]], None],
    *,
    progress: Progress = silent,
) -> None:
    """Cells through the model, batch by batch. ``take`` gets what ``describe`` made of their token maps, and
    the number of the first cell of the batch."""
    size, done = sam.input_px(config), 0
    settings = SamConfig(size_px=size, batch=config.at_once, device=config.device, precision=config.precision)
    stacked = np.concatenate([crops.pixels, crops.parts[..., None]], axis=-1)

    def report(stage: str, done: int, total: int) -> None:  # noqa: ARG001
        progress("Describing cells", done, total)

    with ready(sam.model, settings) as device:

        def step(piece: NDArray[np.uint8]) -> NDArray[Any]:
            cells = torch.from_numpy(piece).to(device).permute(0, 3, 1, 2)
            out = describe(sam.model.tokens(_resized(cells[:, :3], size)), cells[:, 3])
            return out.float().cpu().numpy()

        for part in in_batches(step, stacked, config.at_once, image_hw=(size, size), progress=report):
            take(done, part)
            done += len(part)


def _resized(pixels: Tensor, size: int) -> Tensor:
    if pixels.shape[-1] == size:
        return pixels
    return F.interpolate(pixels.float(), size=(size, size), mode="bilinear", antialias=True)
