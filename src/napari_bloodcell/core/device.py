"""Where tensors live. Resolved once, at the start of a call; explicit choices never fall back."""

import os
import re
from typing import TYPE_CHECKING

from napari_bloodcell.core.errors import DeviceError

if TYPE_CHECKING:
    import torch


def resolve(choice: str = "auto") -> "tuple[torch.device, str]":  # noqa: PLR0911
    """``auto | cpu | cuda[:n] | mps`` -> the device, and one sentence saying what was taken and why.

    ``auto`` takes what ``BLOODCELL_DEVICE`` says (the Preferences set it), or else the best there is."""
    import torch

    if choice == "auto":
        usual = os.environ.get("BLOODCELL_DEVICE", "").strip()
        if usual not in ("", "auto"):
            try:
                device, told = resolve(usual)
            except DeviceError as error:
                raise DeviceError(
                    f"{error} It is set for this machine: BLOODCELL_DEVICE, or File > Preferences in napari."
                ) from error
            return device, told.replace(", as asked", ", as set for this machine")
        if torch.cuda.is_available():
            return torch.device("cuda:0"), f"Using {torch.cuda.get_device_name(0)}."
        if torch.backends.mps.is_available():
            return torch.device("mps"), "Using the Apple GPU."
        return torch.device("cpu"), "Using the CPU: torch sees no GPU here."
    if choice == "cpu":
        return torch.device("cpu"), "Using the CPU, as asked."
    if choice == "mps":
        if not torch.backends.mps.is_available():
            raise DeviceError(
                "Device 'mps' was asked for, but this machine has no Apple GPU. Use 'auto' or 'cpu'."
            )
        return torch.device("mps"), "Using the Apple GPU, as asked."
    match = re.fullmatch(r"cuda(?::(\d+))?", choice)
    if match is None:
        raise DeviceError(f"Unknown device {choice!r}. Accepted: auto, cpu, cuda, cuda:0 (1, 2, ...), mps.")
    return _cuda(int(match[1] or 0))


def _cuda(index: int) -> "tuple[torch.device, str]":
    import torch

    if not torch.cuda.is_available():
        build = torch.version.cuda or "not built in"
        raise DeviceError(
            f"Device 'cuda:{index}' was asked for, but torch {torch.__version__} (CUDA {build}) sees no GPU. "
            "Use 'auto' or 'cpu', or check the driver with nvidia-smi."
        )
    count = torch.cuda.device_count()
    if index >= count:
        raise DeviceError(
            f"Device 'cuda:{index}' was asked for; this machine has cuda:0 to cuda:{count - 1}."
        )
    return torch.device("cuda", index), f"Using {torch.cuda.get_device_name(index)}, as asked."


def computes_bf16(device: "torch.device") -> bool:
    """Whether bf16 is arithmetic of the device, and not emulated (which is slower than fp32)."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


_CPU_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "DefaultCPUAllocator")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a smaller batch would help. torch says so in several ways."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _CPU_OUT_OF_MEMORY)
