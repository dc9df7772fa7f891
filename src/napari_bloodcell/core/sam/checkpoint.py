"""A checkpoint file -> a flat dictionary of tensors. Nothing in a file can run code."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from napari_bloodcell.core.artifact import read_arrays
from napari_bloodcell.core.errors import WeightsError
from napari_bloodcell.core.sam.files import hash_file
from napari_bloodcell.core.sam.variants import find_state

KIND = "segmenter"  # our own files, in core/artifact.py
_Scale = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    source: str
    sha256: str
    state: Mapping[str, Tensor]
    pixel_scale: _Scale | None = None  # mean and spread of its pixels; None: as Meta's


def read_checkpoint(path: Path, *, sha256: str | None = None) -> Checkpoint:
    """Read Meta's format, wrapped or not, as ``.pth`` or ``.safetensors``. ``sha256``: what it must be."""
    path = Path(path)
    found = hash_file(path)
    if sha256 is not None and found != sha256:
        raise WeightsError(
            f"{path} has the SHA-256 {found[:16]}...; expected is {sha256[:16]}.... It is another file or a "
            "broken one, and was not loaded. Fetch or copy it again."
        )
    scale: _Scale | None = None
    content: Any
    if path.suffix == ".safetensors":
        content, scale = _read_safetensors(path)
    else:
        content = read_torch(path)
    state = find_state(content, str(path))
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    return Checkpoint(source=str(path), sha256=found, state=tensors, pixel_scale=scale)


def read_torch(path: Path) -> Any:
    """A file of ``torch.save``, tensors and plain values only."""
    if path.stat().st_size == 0:
        raise WeightsError(f"{path} is empty. Fetch or copy it again.")
    with path.open("rb") as file:
        start = file.read(2)
    if start not in (b"PK", b"\x80\x02"):  # a zip, or a pickle of older releases
        raise WeightsError(
            f"{path} cannot be read as weights: it starts with {start!r}, as no checkpoint does. "
            "Give a .pth or .safetensors file."
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        said = str(error).strip().split("\n", maxsplit=1)[0][:200]
        if "weights_only" in str(error) or "Unsupported" in str(error):
            told = "it holds more than tensors (code that would run on loading), and is refused"
        else:
            told = f"torch says: {said or type(error).__name__}"
        raise WeightsError(
            f"{path} ({path.stat().st_size:,} bytes) cannot be read as weights: {told}. A file cut short "
            "looks like this too: compare its size and hash, and fetch it again."
        ) from error


def hash_tensors(state: Mapping[str, Tensor]) -> str:
    """A hash of content: names, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(state):
        array = state[name].detach().to("cpu", torch.float32).contiguous().numpy()
        digest.update(f"{name}|{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], _Scale | None]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            if "header" not in (file.metadata() or {}):
                return {name: file.get_tensor(name) for name in file.keys()}, None  # noqa: SIM118
    except SafetensorError as error:
        raise WeightsError(
            f"{path} ({path.stat().st_size:,} bytes) is cut short or no safetensors file ({error}). "
            "Fetch or copy it again."
        ) from error
    header, arrays = read_arrays(path, KIND)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return tensors, (tuple(header.config["pixel_mean"]), tuple(header.config["pixel_std"]))
