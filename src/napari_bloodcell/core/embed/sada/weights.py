"""Weights for the backbones: ImageNet's from this machine, or any file of the same network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from napari_bloodcell.core.config import BackboneConfig
from napari_bloodcell.core.errors import ConfigError, WeightsError
from napari_bloodcell.core.sam.checkpoint import read_torch
from napari_bloodcell.core.sam.files import hash_file
from napari_bloodcell.core.sam.registry import known
from napari_bloodcell.core.sam.weights import find_weights

NONE, IMAGENET = "none", "imagenet"
PREFIXES = ("module.", "model.", "backbone.", "network.")  # what wrappers put before a name


def read_weights(config: BackboneConfig) -> dict[str, Tensor]:
    path, sha256 = file_of(config)
    return _without_prefixes(_read(path, sha256))


def has_statistics(state: Mapping[str, Tensor]) -> bool:
    """Those of BatchNorm; what was trained with GroupNorm has none."""
    return any(key.endswith("running_mean") for key in state)


def load_into(network: nn.Module, state: Mapping[str, Tensor], config: BackboneConfig) -> None:
    """Fill a network, or say why not. BatchNorm's statistics are left out where it has GroupNorm."""
    path, wanted = config.weights, network.state_dict()
    missing = [key for key in wanted if key not in state and not key.endswith("num_batches_tracked")]
    if missing:
        raise WeightsError(
            f"{path} lacks {len(missing)} of the {len(wanted)} tensors of {config.backbone}, {missing[0]!r} "
            "the first. It is of another network: choose the backbone it was made for."
        )
    for key, tensor in wanted.items():
        if key in state and state[key].shape != tensor.shape:
            raise WeightsError(
                f"{path}: {key} has shape {tuple(state[key].shape)}; {config.backbone} takes "
                f"{tuple(tensor.shape)}. Choose the backbone the file was made for."
            )
    network.load_state_dict({key: state.get(key, tensor) for key, tensor in wanted.items()})


def file_of(config: BackboneConfig) -> tuple[Path, str | None]:
    """The file of weights, and the hash it must have."""
    if config.weights == IMAGENET:
        if config.backbone not in ("resnet18", "resnet50"):
            raise ConfigError(
                f"There are no ImageNet weights of the backbone {config.backbone!r}. "
                "Use weights 'none', the path of a file, or the backbone resnet18 or resnet50."
            )
        return find_weights(config.backbone), known(config.backbone).sha256
    path = Path(config.weights).expanduser()
    if not path.is_file():
        raise WeightsError(
            f"There is no file of weights {path}. Give 'imagenet', 'none', or the path of a .pth or "
            ".safetensors file."
        )
    return path, None


def _read(path: Path, sha256: str | None) -> dict[str, Tensor]:
    found = hash_file(path)
    if sha256 is not None and found != sha256:
        raise WeightsError(
            f"{path} has the SHA-256 {found[:16]}...; expected is {sha256[:16]}.... It is another file or a "
            "broken one, and was not loaded. Fetch or copy it again."
        )
    content: Any
    if path.suffix == ".safetensors":
        content = _read_safetensors(path)
    else:
        content = read_torch(path)
        for wrapper in ("state_dict", "model"):
            content = content.get(wrapper, content) if isinstance(content, dict) else {}
    tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise WeightsError(f"{path} holds no tensors by name. Give the state dict of a network.")
    return tensors


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise WeightsError(
            f"{path} ({path.stat().st_size:,} bytes) is cut short or no safetensors file ({error}). "
            "Fetch or copy it again."
        ) from error


def _without_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    ready = {}
    for key, value in state.items():
        name = key
        for prefix in PREFIXES:
            name = name.removeprefix(prefix)
        ready[name] = value.to(torch.float32) if value.is_floating_point() else value
    return ready
