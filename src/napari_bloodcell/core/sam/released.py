"""The adapter files that BC-SAM and DoRL released: in, and out again.

One ``torch.save`` of a flat dictionary: ``w_a_000``, ``w_b_000``, ... for q and then v of each block, and the
whole state of prompt encoder and mask decoder, from training at 224 px on ViT-B.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from napari_bloodcell.core.artifact import atomic_path
from napari_bloodcell.core.config import LoraConfig
from napari_bloodcell.core.errors import WeightsError
from napari_bloodcell.core.sam.adapter import set_cell_head
from napari_bloodcell.core.sam.checkpoint import read_torch
from napari_bloodcell.core.sam.files import hash_file
from napari_bloodcell.core.sam.lora import TARGETS, add_lora, lora_of, pairs_of
from napari_bloodcell.core.sam.model import CellSam

# Mean and spread of the pixels the released models were trained with.
PIXEL_MEAN_RGB = (215.0322, 187.7592, 200.4668)
PIXEL_STD_RGB = (41.3047, 56.9191, 21.9522)
# The last two are not in released files: only our own small model has such layers.
_HEAD = ("prompt_encoder.", "mask_decoder.", "eighth.", "quarter.")


def import_released(
    model: CellSam,
    path: Path,
    *,
    pixel_mean: tuple[float, ...] = PIXEL_MEAN_RGB,
    pixel_std: tuple[float, ...] = PIXEL_STD_RGB,
) -> str:
    """Put a released adapter and its decoder on the plain checkpoint; returns the file's hash."""
    path = Path(path)
    sha256 = hash_file(path)
    state = _tensors(read_torch(path), str(path))
    a = _numbered(state, "w_a_")
    b = _numbered(state, "w_b_")
    _check(model, a, b, str(path))
    add_lora(model, LoraConfig(rank=a[0].shape[0]))
    head = {key[key.index(start) :]: v for key, v in state.items() for start in _HEAD if start in key}
    with torch.no_grad():
        for pair, wanted_a, wanted_b in zip(pairs_of(model), a, b, strict=True):
            pair.a.copy_(wanted_a)
            pair.b.copy_(wanted_b)
    set_cell_head(model, head, str(path))
    model.set_pixel_scale(pixel_mean, pixel_std)
    return sha256


def export_released(model: CellSam, path: Path) -> None:
    """Write a model's adapter in that layout. It knows no alpha and no choice of blocks: alpha goes into B,
    and blocks without an adapter get zeros."""
    rank, dim = lora_of(model).rank, model.variant.dim
    pairs = {(pair.block, pair.target): pair for pair in pairs_of(model)}
    state: dict[str, Tensor] = {}
    places = [(block, target) for block in range(model.variant.depth) for target in TARGETS]
    for number, place in enumerate(places):
        pair = pairs.get(place)
        a = torch.zeros(rank, dim) if pair is None else pair.a.detach().cpu().clone()
        b = torch.zeros(dim, rank) if pair is None else pair.b.detach().cpu() * pair.scale
        state |= {f"w_a_{number:03d}": a, f"w_b_{number:03d}": b}
    ordered = {key: state[key] for kind in ("w_a_", "w_b_") for key in state if key.startswith(kind)}
    head = {key: value.detach().cpu().clone() for key, value in model.cells.state_dict().items()}
    with atomic_path(path) as temporary:
        torch.save(ordered | head, temporary)


def _tensors(content: object, source: str) -> dict[str, Tensor]:
    if isinstance(content, Mapping):
        for inner in (content, *content.values()):  # as it is, or wrapped once
            if isinstance(inner, Mapping) and any("w_a_" in str(key) for key in inner):
                return {str(key): value for key, value in inner.items() if isinstance(value, Tensor)}
    raise WeightsError(
        f"{source} is no released BC-SAM or DoRL adapter: it holds no w_a_000. A folder with "
        "adapter_config.json is given as the folder, a whole checkpoint as the model."
    )


def _numbered(state: Mapping[str, Tensor], start: str) -> list[Tensor]:
    keys = [key for key in state if key.removeprefix("module.").startswith(start)]
    return [state[key] for key in sorted(keys)]


def _check(model: CellSam, a: list[Tensor], b: list[Tensor], source: str) -> None:
    variant = model.variant
    if len(a) != 2 * variant.depth or len(b) != len(a):
        raise WeightsError(
            f"{source} holds {len(a)} matrices A and {len(b)} B; {variant.name} with {variant.depth} blocks "
            f"takes {2 * variant.depth} of each. It was made for another base."
        )
    rank = a[0].shape[0]
    for number, (one, two) in enumerate(zip(a, b, strict=True)):
        if tuple(one.shape) != (rank, variant.dim) or tuple(two.shape) != (variant.dim, rank):
            raise WeightsError(
                f"{source}: pair {number:03d} has shapes {tuple(one.shape)} and {tuple(two.shape)}; "
                f"{variant.name} at rank {rank} takes {(rank, variant.dim)} and {(variant.dim, rank)}. "
                "It was made for another base or mixes ranks."
            )
