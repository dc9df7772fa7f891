"""What a training takes, measured on one cell before it starts: every tensor kept for the way back."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from napari_bloodcell.core.sam.train.recipe import MaskRecipe
from napari_bloodcell.core.words import how_many

OPTIMIZER_COPIES = 3  # gradient and the two means of Adam
SLACK = 1.3  # what the allocator and passing tensors take on top
SHARE = 0.8  # of what is free
LEAST_TOLD = 0.1  # GiB


@dataclass(frozen=True, kw_only=True)
class Memory:
    fixed_bytes: int  # weights, gradients, optimizer
    cell_bytes: int  # each cell of a batch

    def of(self, cells: int) -> int:
        return self.fixed_bytes + cells * self.cell_bytes

    def parts(self, batch: int, free_bytes: int) -> int:
        """In how many parts a batch must be taken to fit."""
        room = max(0, int(SHARE * free_bytes) - self.fixed_bytes)
        cells = max(1, room // max(1, self.cell_bytes))
        return -(-batch // min(cells, batch))

    def text(self, batch: int, parts: int) -> str:
        at_once = -(-batch // parts)
        gib = self.of(at_once) / 2**30
        need = f"about {gib:.1f} GiB" if gib >= LEAST_TOLD else f"less than {LEAST_TOLD} GiB"
        told = f"Needs {need} with {how_many(at_once, 'cell')} at once"
        return f"{told}." if parts == 1 else f"{told}: each batch of {batch} is taken in {parts} parts."


def measure(recipe: MaskRecipe) -> Memory:
    """By one forward pass of one cell, where the model is now."""
    parameters = list(recipe.module.parameters())
    own = {p.untyped_storage().data_ptr() for p in parameters}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    batch = next(iter(recipe.batches(0)))
    one = {name: tensor[:1] for name, tensor in batch.items()}
    device = parameters[0].device
    with torch.enable_grad(), saved_tensors_hooks(keep, lambda tensor: tensor):
        terms = recipe.module(**{name: tensor.to(device) for name, tensor in one.items()})
        del terms
    size = sum(p.numel() * p.element_size() for p in parameters)
    trained = sum(p.numel() * p.element_size() for p in parameters if p.requires_grad)
    return Memory(
        fixed_bytes=int(size + OPTIMIZER_COPIES * trained), cell_bytes=int(SLACK * sum(kept.values()))
    )


def free_bytes(device: torch.device) -> int | None:
    """What is free on a device; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        with open("/proc/meminfo") as file:  # noqa: PTH123 (no path of ours)
            line = next(line for line in file if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None
    return int(line.split()[1]) * 1024
