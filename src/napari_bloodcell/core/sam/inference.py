"""Running a model over many images: batches, merged adapters, bf16 where it pays, and short memory.

Out of memory halves the batch and goes on; what is finished is kept.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from napari_bloodcell.core.config import SamConfig
from napari_bloodcell.core.device import computes_bf16, is_out_of_memory, resolve
from napari_bloodcell.core.errors import DeviceError
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.sam.lora import merged
from napari_bloodcell.core.sam.model import CellSam

Step = Callable[[Tensor], Tensor]
_T = TypeVar("_T", bound=np.generic)


def predict_logits(
    model: CellSam, pixels: NDArray[np.uint8], config: SamConfig = SamConfig(), *, progress: Progress = silent
) -> NDArray[np.float32]:
    """Images N x S x S x 3 -> logits of each class, N x channels x S/4 x S/4."""
    return _run(model, lambda batch: model(batch)[0], pixels, config, progress)


def predict_parts(
    model: CellSam, pixels: NDArray[np.uint8], config: SamConfig = SamConfig(), *, progress: Progress = silent
) -> NDArray[np.uint8]:
    """Images N x S x S x 3 -> the channel of each pixel, N x S x S: logits are enlarged, then compared."""
    size = (pixels.shape[1], pixels.shape[2])

    def parts(batch: Tensor) -> Tensor:
        maps = F.interpolate(model(batch)[0].float(), size=size, mode="bilinear", align_corners=False)
        return largest_channel(maps)

    return _run(model, parts, pixels, config, progress)


def predict_tokens(
    model: CellSam, pixels: NDArray[np.uint8], config: SamConfig = SamConfig(), *, progress: Progress = silent
) -> NDArray[np.float32]:
    """Images N x S x S x 3 -> output of the last block before the neck, N x D x S/16 x S/16."""
    return _run(model, model.tokens, pixels, config, progress)


def largest_channel(maps: Tensor) -> Tensor:
    """``argmax`` over the channels of B x C x H x W, which torch itself does slowly across planes."""
    best, found = maps[:, 0], torch.zeros_like(maps[:, 0], dtype=torch.uint8)
    for channel in range(1, maps.shape[1]):
        found.masked_fill_(maps[:, channel] > best, channel)
        best = torch.maximum(best, maps[:, channel])
    return found


def _run(
    model: CellSam, step: Step, pixels: NDArray[np.uint8], config: SamConfig, progress: Progress
) -> NDArray[_T]:
    with ready(model, config) as device:

        def on_device(piece: NDArray[np.uint8]) -> NDArray[_T]:
            batch = torch.from_numpy(np.ascontiguousarray(piece)).to(device).permute(0, 3, 1, 2)
            out = step(batch)
            return (out.float() if out.is_floating_point() else out).cpu().numpy()

        if len(pixels) == 0:  # shape and type of an empty answer, from one blank image
            blank: NDArray[_T] = on_device(np.zeros((1, *pixels.shape[1:]), np.uint8))
            return blank[:0]
        parts = in_batches(
            on_device, pixels, config.batch, image_hw=(pixels.shape[1], pixels.shape[2]), progress=progress
        )
        return np.concatenate(list(parts))


def in_batches(
    step: Callable[[Any], Any],
    items: Sequence[Any] | NDArray[Any],
    batch: int,
    *,
    image_hw: tuple[int, int],
    progress: Progress = silent,
) -> Iterator[Any]:
    """Each batch of items through ``step``. A batch too large for the memory is halved, and so are those
    after it. ``image_hw``: what one item is for the model, for the message."""
    done, total = 0, len(items)
    while done < total:
        progress("segmenting", done, total)
        try:
            part = step(items[done : done + batch])
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            batch = _halved(batch, image_hw, error)
            continue
        yield part
        done += len(part)
    progress("segmenting", total, total)


def _halved(batch: int, image_hw: tuple[int, int], error: BaseException) -> int:
    if batch == 1:
        raise DeviceError(
            f"There is not enough memory for a single image of {image_hw[1]} x {image_hw[0]} px. Close other "
            "programs, choose a smaller input size or a smaller model, or use device 'cpu'."
        ) from error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return batch // 2


@contextmanager
def ready(model: CellSam, config: SamConfig) -> Iterator[torch.device]:
    """The model on its device, in eval mode, its adapter merged, without gradients; as before afterwards."""
    device, _ = resolve(config.device)
    low = choose_precision(device, config) == "bf16"
    was_training = model.training
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    # A click is one image: walking through hundreds of modules for nothing takes a fifth of it.
    if any(parameter.device != device for parameter, _ in wanted):
        model.to(device)
    if any(module.training for module in model.modules()):
        model.eval()
    model.set_mode(config.attention)
    with ExitStack() as stack:
        stack.enter_context(merged(model))
        stack.enter_context(torch.inference_mode())
        if low:
            # autocast keeps the bf16 copy of a weight for the whole block only where it could be trained
            for parameter, _ in wanted:
                parameter.requires_grad_(True)
            stack.enter_context(torch.autocast(device.type, dtype=torch.bfloat16))
        try:
            yield device
        finally:
            if low:
                for parameter, flag in wanted:
                    parameter.requires_grad_(flag)
            if was_training:
                model.train()


def choose_precision(device: torch.device, config: SamConfig) -> Literal["fp32", "bf16"]:
    if config.attention == "exact" or config.precision == "fp32":
        return "fp32"
    if computes_bf16(device):
        return "bf16"
    if config.precision == "bf16":
        raise DeviceError(
            f"Precision 'bf16' was asked for, but {device} does not compute in it. Use 'auto' or 'fp32'."
        )
    return "fp32"
