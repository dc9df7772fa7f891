"""One process, or several started by ``accelerate launch``: the loop does not see the difference."""

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from napari_bloodcell.core.device import resolve
from napari_bloodcell.core.training.recipe import Batch


class Engine:
    """One process on one device."""

    index, processes = 0, 1

    def __init__(self, device: str) -> None:
        self.device, self.device_note = resolve(device)

    @property
    def is_main(self) -> bool:
        return self.index == 0

    def prepare(self, module: nn.Module) -> nn.Module:
        return module.to(self.device)

    def backward(self, loss: Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """The mean over the processes."""
        return dict(values)

    def share(self, batch: Batch) -> dict[str, Tensor]:
        """This process's part of a batch, on its device. Every n-th cell: a balanced batch stays balanced."""
        part = slice(self.index, None, self.processes)
        return {name: tensor[part].to(self.device, non_blocking=True) for name, tensor in batch.items()}

    def wait(self) -> None:
        """Until every process is here."""


class SeveralProcesses(Engine):
    """Gradients are averaged over the processes, so equal shares train as one process would."""

    def __init__(self, device: str) -> None:
        from accelerate import Accelerator, DistributedDataParallelKwargs

        wanted, _ = resolve(device)
        partly_used = DistributedDataParallelKwargs(find_unused_parameters=True)
        self.accelerator: Any = Accelerator(cpu=wanted.type == "cpu", kwargs_handlers=[partly_used])
        self.device, self.device_note = self.accelerator.device, ""
        self.index, self.processes = self.accelerator.process_index, self.accelerator.num_processes

    def prepare(self, module: nn.Module) -> nn.Module:
        prepared: nn.Module = self.accelerator.prepare(module)
        return prepared

    def backward(self, loss: Tensor) -> None:
        self.accelerator.backward(loss)

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        names = sorted(values)
        mine = torch.tensor([values[n] for n in names], dtype=torch.float64, device=self.device)
        return dict(zip(names, self.accelerator.reduce(mine, reduction="mean").tolist(), strict=True))

    def wait(self) -> None:
        self.accelerator.wait_for_everyone()


def open_engine(device: str) -> Engine:
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return SeveralProcesses(device) if several else Engine(device)
