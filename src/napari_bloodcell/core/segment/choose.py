"""A segmenter by name: what ships, a registered checkpoint, or a file, with or without an adapter."""

from dataclasses import replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from napari_bloodcell.core.config import SamConfig
from napari_bloodcell.core.errors import WeightsError
from napari_bloodcell.core.sam.registry import REGISTRY
from napari_bloodcell.core.segment import Segmenter, StainSegmenter

if TYPE_CHECKING:
    from napari_bloodcell.core.sam.model import CellSam

STAIN, SHIPPED = "stain", "nano"


def shipped_weights() -> Path:
    """The small model inside the package."""
    return Path(str(files("napari_bloodcell"))) / "bundles" / "segmenters" / "nano.safetensors"


def find_segmenter(
    model: str | Path = SHIPPED, adapter: Path | None = None, config: SamConfig = SamConfig()
) -> Segmenter:
    """``model``: "stain", "nano", a registered name such as "vit_b", or a checkpoint file. ``adapter``: a
    folder of ours, or a file that BC-SAM or DoRL released. The input size is the one it was trained at."""
    if str(model) == STAIN:
        if adapter is not None:
            raise WeightsError(f"The stain segmenter takes no adapter ({adapter}). Name its base: --model.")
        return StainSegmenter()
    from napari_bloodcell.core.sam.adapter import read_adapter_info
    from napari_bloodcell.core.segment.sam_segmenter import SamSegmenter

    network, has_head = read_network(model)
    size_px, white_ground = network.variant.native_px, True
    if adapter is None and not has_head:
        raise WeightsError(
            f"The checkpoint {str(model)!r} knows no white cells: without an adapter its cell head is "
            "untrained. Give one with --adapter, train one (train adapter), or point at cells with --prompts."
        )
    if adapter is not None:
        put_adapter(network, adapter)
        released = Path(adapter).is_file()
        size_px = 224 if released else read_adapter_info(Path(adapter)).size_px
        white_ground = not released
    source = SHIPPED if adapter is None and str(model) == SHIPPED else ""
    config = replace(config, size_px=size_px)
    return SamSegmenter(network, config, white_ground=white_ground, source=source)


@lru_cache(maxsize=1)
def shipped_segmenter() -> Segmenter:
    """The small model that ships, loaded once."""
    return find_segmenter(SHIPPED)


def read_network(model: str | Path, channels: int = 3) -> "tuple[CellSam, bool]":
    """A checkpoint by name or path, and whether it comes with a trained cell head. ``channels``: of the fresh
    head of one that does not."""
    from napari_bloodcell.core.sam.checkpoint import read_checkpoint
    from napari_bloodcell.core.sam.model import CELLS, from_checkpoint, load_weights

    path = Path(model)
    if str(model) == SHIPPED:
        path = shipped_weights()
        if not path.is_file():
            raise WeightsError(
                f"This release ships no {SHIPPED} weights: {path} is not there. Take 'stain', or a file."
            )
    elif str(model) in REGISTRY and not path.exists():
        return load_weights(str(model), channels=channels), False
    elif not path.is_file():
        raise WeightsError(
            f"There is no model {str(model)!r}. Known: {STAIN}, {SHIPPED}, {', '.join(REGISTRY)}; or give "
            "the path of a checkpoint file (.pth, .safetensors)."
        )
    checkpoint = read_checkpoint(path)
    return from_checkpoint(checkpoint, channels=channels), any(
        key.startswith(CELLS) for key in checkpoint.state
    )


def put_adapter(network: "CellSam", adapter: Path) -> None:
    from napari_bloodcell.core.sam.adapter import load_adapter
    from napari_bloodcell.core.sam.released import import_released

    if Path(adapter).is_file():
        import_released(network, Path(adapter))
    else:
        load_adapter(network, Path(adapter))
