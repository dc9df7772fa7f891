"""The state of a run between two epochs, in one file: weights, optimizer, history."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from napari_bloodcell.core.artifact import read_arrays, write_arrays
from napari_bloodcell.core.config import TrainConfig
from napari_bloodcell.core.errors import TrainingError

KIND = "training"
LAST, BEST, HISTORY = "last.safetensors", "best.safetensors", "history.json"
# Settings that do not change what is computed in an epoch: they may differ when a run goes on.
FREE = ("device", "patience")
# Why a training whose settings hold this may not grow.
BOUND_TO_EPOCHS = {
    "loop.epochs": "its learning rate falls to zero over all of them (with schedule constant it could)",
    "method.epochs": "its second stage begins at half of them",
}


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one epoch gave. ``figures`` is empty where nothing was validated."""

    number: int  # from 1
    losses: dict[str, float]  # the mean of each term, and "total"
    figures: dict[str, float]
    learning_rate: float
    seconds: float


def settings_of(name: str, settings: Mapping[str, Any], config: TrainConfig) -> dict[str, Any]:
    free = FREE + (("epochs",) if config.schedule == "constant" else ())
    loop = {key: value for key, value in config.to_json().items() if key not in free}
    return {"recipe": name, "loop": loop, "method": dict(settings)}


def check_same(folder: Path, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """A run goes on only with the settings it was begun with; the first that differs is named."""
    before, now = _flat(stored), _flat(wanted)
    anew = f"To begin anew, choose another folder (--out), or delete {folder}."
    other = [name for name in sorted(set(before) | set(now)) if before.get(name) != now.get(name)]
    first = next((name for name in other if name not in BOUND_TO_EPOCHS), None)
    if first is not None:
        raise TrainingError(
            f"{folder} holds a training with other settings: {first} was {before.get(first)!r}, now it is "
            f"{now.get(first)!r}. Use the same settings to go on. {anew}"
        )
    for name in other:
        raise TrainingError(
            f"{folder} holds a training with other settings: it was laid out over {before.get(name)} epochs "
            f"and cannot go on to {now.get(name)}, for {BOUND_TO_EPOCHS[name]}. {anew}"
        )


def write_state(path: Path, parts: Mapping[str, Mapping[str, Tensor]], config: Mapping[str, Any]) -> str:
    arrays = {
        f"{part}/{name}": tensor.detach().cpu().contiguous().numpy()
        for part, tensors in parts.items()
        for name, tensor in tensors.items()
    }
    return write_arrays(path, KIND, arrays, config=config)


def read_state(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
    header, arrays = read_arrays(path, KIND)
    parts: dict[str, dict[str, Tensor]] = {}
    for key, array in arrays.items():
        part, _, name = key.partition("/")
        parts.setdefault(part, {})[name] = torch.from_numpy(array.copy())
    return dict(header.config), parts


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{index}/{name}": torch.as_tensor(value)
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition("/")
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def jsonable(figures: Mapping[str, float]) -> dict[str, float | None]:
    """NaN is no JSON: a figure that could not be computed is none."""
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = list(value) if isinstance(value, tuple) else value
    return flat
