"""Images as tensors, natural-log optical density both ways, and what is no image of stains.

Arrays have their channels last (H x W x 3, or B x H x W x 3), tensors first (3 x H x W, or B x 3 x H x W);
bytes 0..255 or floats 0..1. The answer comes back as what was given. Nothing of the caller's is written to.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.core.errors import ImageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

DARKEST_LEVEL = 1.0  # of 255; log(0) has no value
BYTE, UNIT = 255.0, 1.0
_SLACK = 1e-4  # floats may miss 0 and 1 by what interpolation leaves

Restore = Callable[["Tensor"], Any]


def as_batch(images: Any, device: "torch.device | None" = None) -> "tuple[Tensor, Restore]":
    """B x 3 x H x W as given (bytes or floats), and what brings a result back into the caller's form."""
    import torch

    if isinstance(images, torch.Tensor):
        batch, single, last, home = images, images.ndim == 3, False, images.device
    else:
        array = np.asarray(images)
        _check_layout(array.shape, channels=-1)
        batch = torch.from_numpy(_readable(array))
        single, last, home = array.ndim == 3, True, torch.device("cpu")
        batch = batch.movedim(-1, -3)
    _check_layout(tuple(batch.shape), channels=-3)
    batch = batch[None] if single else batch
    batch = _check_values(batch.detach().to(device if device is not None else home))

    def restore(result: "Tensor") -> Any:
        back = result[0] if single else result
        return back.movedim(-3, -1).cpu().numpy() if last else back.to(home)

    return batch, restore


def optical_density(images: Any) -> Any:
    """-ln of the light, 0 for white: float32, in the caller's layout."""
    batch, restore = as_batch(images)
    return restore(-levels_of(batch).div_(BYTE).log_())


def from_optical_density(density: Any, *, as_bytes: bool = True) -> Any:
    """Back to bytes, or to floats 0..1."""
    import torch

    is_array = not isinstance(density, torch.Tensor)
    values = torch.as_tensor(np.asarray(density)) if is_array else density
    light = torch.exp(-values.to(torch.float32)).clamp_(0, 1)
    result = light.mul_(BYTE).round_().to(torch.uint8) if as_bytes else light
    return result.numpy() if is_array else result


def levels_of(batch: "Tensor") -> "Tensor":
    """Bytes or floats 0..1 as grey levels 1..255, float32, always a copy."""
    import torch

    if batch.dtype == torch.uint8:
        return batch.clamp(min=int(DARKEST_LEVEL)).to(torch.float32)
    return batch.to(torch.float32).mul(BYTE).clamp_(DARKEST_LEVEL, BYTE)


def as_bytes(batch: "Tensor") -> "Tensor":
    import torch

    return batch if batch.dtype == torch.uint8 else (batch.to(torch.float32) * BYTE).round_().to(torch.uint8)


def check_mask(mask: Any, batch: "Tensor") -> "Tensor | None":
    """B x H x W, or H x W for one image; true where pixels count."""
    import torch

    if mask is None:
        return None
    chosen = torch.as_tensor(np.asarray(mask) if not isinstance(mask, torch.Tensor) else mask) > 0
    chosen = chosen[None] if chosen.ndim == 2 else chosen
    wanted = (len(batch), *batch.shape[-2:])
    if tuple(chosen.shape) != wanted:
        raise ImageError(
            f"The mask has shape {tuple(chosen.shape)}; these images need {wanted}. "
            "Use the masks of the same images."
        )
    empty = torch.nonzero(~chosen.flatten(1).any(1)).flatten().tolist()
    if empty:
        raise ImageError(
            f"The mask of image {empty[0]} selects no pixel; a stain needs some. "
            "Leave the mask out to use the whole image."
        )
    return chosen.to(batch.device)


def _readable(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """torch warns about arrays that may not be written to: those are copied."""
    if array.dtype.byteorder not in ("=", "|") or not array.flags.writeable or min(array.strides) < 0:
        return array.astype(array.dtype.newbyteorder("="), copy=True)
    return array


def _check_layout(shape: tuple[int, ...], channels: int) -> None:
    where = "last (H x W x 3)" if channels == -1 else "first (3 x H x W)"
    if len(shape) == 2 or (len(shape) in (3, 4) and shape[channels] == 1):
        raise ImageError(
            f"A gray image of shape {shape} has no stains to tell apart; they need red, green and blue. "
            "Open the colour image."
        )
    if len(shape) in (3, 4) and shape[channels] == 4:
        raise ImageError(
            f"The image of shape {shape} has four channels, the last one alpha, perhaps; stains take three. "
            "Leave alpha out: image[..., :3] of an array, image[:3] of a tensor."
        )
    if len(shape) not in (3, 4) or shape[channels] != 3:
        raise ImageError(
            f"Images of shape {shape} are not accepted; channels come {where}, alone or as a batch. "
            "Arrays have them last, tensors first."
        )
    if 0 in shape:
        raise ImageError(f"Images of shape {shape} hold no pixel. Give at least one image of 1 x 1.")


def _check_values(batch: "Tensor") -> "Tensor":
    import torch

    if batch.dtype == torch.uint8:
        return batch
    if not batch.dtype.is_floating_point:
        raise ImageError(
            f"Images of {batch.dtype} are not accepted; give bytes 0..255 (uint8) or floats 0..1."
        )
    low, high = (float(v) for v in torch.aminmax(batch))
    if not (low >= -_SLACK and high <= UNIT + _SLACK):  # also catches NaN
        raise ImageError(
            f"Float images hold values from {low:g} to {high:g}; floats are light from 0 to 1. "
            "Divide by 255, or give bytes (uint8)."
        )
    return batch
