"""An adapter on disk: peft's own layout, the cell head beside it, and one header that names everything.

adapter_config.json        peft's
adapter_model.safetensors  peft's: A and B of each adapted layer
decoder.safetensors        the cell head
adapter.json               base checkpoint, size, rank, data, scores, hashes; written last
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from napari_bloodcell.core.artifact import atomic_path, read_json, write_json
from napari_bloodcell.core.config import LoraConfig
from napari_bloodcell.core.errors import ArtifactError, WeightsError
from napari_bloodcell.core.sam.files import hash_file
from napari_bloodcell.core.sam.heads import CellHead
from napari_bloodcell.core.sam.lora import add_lora, freeze_base, lora_of, pairs_of
from napari_bloodcell.core.sam.model import CHANNEL_NAMES, CellSam, check_channels
from napari_bloodcell.core.sam.variants import check_size

HEADER = "adapter.json"
PEFT_CONFIG, PEFT_MODEL, DECODER = "adapter_config.json", "adapter_model.safetensors", "decoder.safetensors"
_PEFT_PREFIX = "base_model.model."


@dataclass(frozen=True, kw_only=True)
class AdapterInfo:
    """The header. ``size_px``: the input size it was trained at."""

    base_variant: str
    base_sha256: str
    size_px: int
    lora: LoraConfig
    channels: tuple[str, ...]
    pixel_mean: tuple[float, ...]
    pixel_std: tuple[float, ...]
    data: Mapping[str, Any]
    scores: Mapping[str, Any]
    sha256: str = ""


def save_adapter(
    model: CellSam,
    folder: Path,
    *,
    size_px: int,
    data: Mapping[str, Any] | None = None,
    scores: Mapping[str, Any] | None = None,
) -> str:
    """Write the adapter and the cell head; returns the header's hash. ``data``: what it was trained on."""
    lora = lora_of(model)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / HEADER).unlink(missing_ok=True)  # a half-written folder is no adapter
    model.image_encoder.peft_config["default"].save_pretrained(folder)  # type: ignore[union-attr, index]
    _save(folder / PEFT_MODEL, _lora_tensors(model))
    _save(folder / DECODER, model.cells.state_dict())
    return write_json(
        folder / HEADER,
        "adapter",
        {
            "base_variant": model.variant.name,
            "size_px": check_size(size_px),
            "channels": list(CHANNEL_NAMES[model.channels]),
            "pixel_mean": model.pixel_mean.flatten().tolist(),
            "pixel_std": model.pixel_std.flatten().tolist(),
            "data": dict(data or {}),
            "scores": dict(scores or {}),
            "files": {name: hash_file(folder / name) for name in (PEFT_CONFIG, PEFT_MODEL, DECODER)},
        },
        config=lora.to_json(),
        parents={"base": model.base_sha256},
    )


def read_adapter_info(folder: Path) -> AdapterInfo:
    """The header alone, after its files have been compared with their hashes."""
    folder = Path(folder)
    accepted = (
        "Give the folder that `train adapter` wrote, or the file itself where BC-SAM or DoRL released one."
    )
    if not folder.exists():
        raise ArtifactError(f"There is no adapter {folder}: no such folder or file. {accepted}")
    if not (folder / HEADER).is_file():
        raise ArtifactError(
            f"{folder} holds no {HEADER}: it is no adapter of ours, or its writing was cut off. {accepted}"
        )
    header, body = read_json(folder / HEADER, "adapter")
    for name, wanted in body["files"].items():
        if hash_file(folder / name) != wanted:
            raise ArtifactError(
                f"{folder / name} does not match its hash in {HEADER}. Take the original again."
            )
    return AdapterInfo(
        base_variant=body["base_variant"],
        base_sha256=header.parents["base"],
        size_px=body["size_px"],
        lora=LoraConfig.from_json(dict(header.config)),
        channels=tuple(body["channels"]),
        pixel_mean=tuple(body["pixel_mean"]),
        pixel_std=tuple(body["pixel_std"]),
        data=body["data"],
        scores=body["scores"],
        sha256=header.sha256,
    )


def load_adapter(model: CellSam, folder: Path) -> AdapterInfo:
    """Put an adapter and its cell head on the base it was trained on; another base is refused."""
    info = read_adapter_info(folder)
    if info.base_variant != model.variant.name:
        raise WeightsError(
            f"{folder} was trained on {info.base_variant}; this model is {model.variant.name}. "
            f"Load the {info.base_variant} checkpoint {info.base_sha256[:12]} first."
        )
    if info.base_sha256 != model.base_sha256:
        raise WeightsError(
            f"{folder} was trained on the {info.base_variant} checkpoint {info.base_sha256[:12]}; this model "
            f"comes from {model.base_sha256[:12]}. On another base an adapter is noise: load its own."
        )
    lora, head = _load(Path(folder) / PEFT_MODEL), _load(Path(folder) / DECODER)
    lora = {key.removeprefix(_PEFT_PREFIX): value for key, value in lora.items()}
    rank = next((value.shape[0] for key, value in lora.items() if "lora_A" in key), 0)
    if rank != info.lora.rank:
        raise WeightsError(f"{folder} says rank {info.lora.rank}, but its matrices have rank {rank}.")
    add_lora(model, info.lora)
    own = _lora_tensors(model, prefix="")
    if own.keys() != lora.keys():
        raise WeightsError(f"{folder} adapts other layers than {HEADER} says. Take the original again.")
    with torch.no_grad():
        for key, tensor in own.items():
            tensor.copy_(lora[key])
    set_cell_head(model, head, str(folder))
    model.set_pixel_scale(info.pixel_mean, info.pixel_std)
    return info


def set_cell_head(model: CellSam, state: Mapping[str, Tensor], source: str) -> None:
    """Give the model the cell head of a file, with as many channels as that has."""
    tokens = state.get("mask_decoder.mask_tokens.weight")
    if tokens is None:
        raise WeightsError(f"{source} has no mask decoder (mask_decoder.mask_tokens.weight is missing).")
    head = CellHead(model.variant, outputs=check_channels(int(tokens.shape[0])))
    for key, value in head.state_dict().items():
        if key not in state or state[key].shape != value.shape:
            found = tuple(state[key].shape) if key in state else "missing"
            raise WeightsError(
                f"{source}: {key} is {found}; the cell head of {model.variant.name} takes "
                f"{tuple(value.shape)}. It was made for another model."
            )
    head.load_state_dict({key: state[key] for key in head.state_dict()})
    model.cells = head.to(model.device).train(model.training)
    model.channels = int(tokens.shape[0])
    freeze_base(model)


def _lora_tensors(model: CellSam, prefix: str = _PEFT_PREFIX) -> dict[str, Tensor]:
    ready: dict[str, Tensor] = {}
    for pair in pairs_of(model):
        start = f"{prefix}blocks.{pair.block}.attn.{pair.target}"
        ready |= {f"{start}.lora_A.weight": pair.a.data, f"{start}.lora_B.weight": pair.b.data}
    return ready


def _save(path: Path, state: Mapping[str, Tensor]) -> None:
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        save_file({k: v.detach().cpu().contiguous() for k, v in state.items()}, temporary)


def _load(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    found: dict[str, Tensor] = load_file(path)
    return found
