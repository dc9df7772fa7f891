"""One Segment Anything model with both its decoders: read from any checkpoint of the format, or fresh.

``load_model`` is the door. Frames: pixels go in as 0..255 RGB, B x 3 x H x W; maps come out at a quarter
of that size, as the decoders make them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from napari_bloodcell.core.artifact import write_arrays
from napari_bloodcell.core.errors import WeightsError
from napari_bloodcell.core.sam.attention import Mode, join_qkv, split_qkv
from napari_bloodcell.core.sam.checkpoint import KIND, Checkpoint, hash_tensors, read_checkpoint
from napari_bloodcell.core.sam.encoder import Encoder, resize_positions, start_fresh
from napari_bloodcell.core.sam.heads import FRESH, CellHead, PromptHead
from napari_bloodcell.core.sam.registry import known
from napari_bloodcell.core.sam.variants import (
    ENCODER,
    PATCH_PX,
    SAM_MEAN_RGB,
    SAM_STD_RGB,
    VARIANTS,
    Variant,
    check_size,
    recognise,
)
from napari_bloodcell.core.sam.weights import find_weights

CELLS = "cells."
LARGE_DIM = 512  # of an encoder whose first values take longer to make up than torch's compiler to load
CHANNEL_NAMES = {2: ("background", "cell"), 3: ("background", "cytoplasm", "nucleus")}


class CellSam(nn.Module):
    """Encoder, prompt-free cell head, and the promptable head of the plain checkpoint."""

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, variant: Variant, channels: int) -> None:
        super().__init__()
        self.variant, self.channels = variant, channels
        self.base_sha256 = ""  # of the file, or of the tensors of a fresh model without its cell head
        self.image_encoder = Encoder(variant)
        self.plain = PromptHead(variant, outputs=4)
        self.cells = CellHead(variant, outputs=channels)
        self.set_pixel_scale(SAM_MEAN_RGB, SAM_STD_RGB)

    def set_pixel_scale(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        """Mean and spread of the pixels the weights were trained with, 0..255."""
        for name, values in (("pixel_mean", mean), ("pixel_std", std)):
            tensor = torch.tensor(values, device="cpu").view(3, 1, 1)
            self.register_buffer(name, tensor.to(self.device), persistent=False)

    @property
    def device(self) -> torch.device:
        device = next(self.parameters()).device
        return torch.device("cpu") if device.type == "meta" else device

    def normalise(self, pixels: Tensor, frame_px: int | None = None) -> Tensor:
        """To the weights' own scale; with ``frame_px`` padded right and below to a square."""
        h, w = (*pixels.shape, 0, 0)[2:4] if frame_px is None else (frame_px, frame_px)
        fits = all(side >= PATCH_PX and side % PATCH_PX == 0 for side in (h, w))
        if pixels.ndim != 4 or pixels.shape[1] != 3 or not fits:
            raise WeightsError(
                f"Pixels of shape {tuple(pixels.shape)} are not accepted; the model takes B x 3 x H x W with "
                f"H and W multiples of {PATCH_PX}. Resize or pad them first."
            )
        scaled = (pixels.to(torch.float32) - self.pixel_mean) / self.pixel_std
        return F.pad(scaled, (0, w - pixels.shape[3], 0, h - pixels.shape[2]))

    def tokens(self, pixels: Tensor) -> Tensor:
        """Output of the last block before the neck, B x D x H/16 x W/16: what BC-SAM and DoRL embed."""
        return self.image_encoder.tokens(self.normalise(pixels))

    def embed(self, pixels: Tensor, frame_px: int | None = None) -> Tensor:
        """Output of the neck, B x C x H/16 x W/16: what both heads read."""
        out: Tensor = self.image_encoder(self.normalise(pixels, frame_px))
        return out

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of each class, B x channels x H/4 x W/4, and guesses of their IoU: no prompt needed."""
        maps: tuple[Tensor, Tensor] = self.cells(*self.image_encoder.with_detail(self.normalise(pixels)))
        return maps

    def set_mode(self, mode: Mode) -> None:
        """``exact`` for the numbers of segment-anything step by step, ``fused`` for speed."""
        self.image_encoder.set_mode(mode)


def new_model(variant: str = "nano", *, channels: int = 3, seed: int = 0) -> CellSam:
    """A model with fresh weights, the same for the same seed; torch's own generator is left as it was."""
    check_channels(channels)
    if variant not in VARIANTS:
        raise WeightsError(f"No variant {variant!r}. There are: {', '.join(VARIANTS)}.")
    with fresh_numbers(seed):
        model = CellSam(VARIANTS[variant], channels)
    with fresh_numbers(seed):  # once more from the start: the same for any number of channels
        start_fresh(model.image_encoder)
    base = {key: value for key, value in model.state_dict().items() if not key.startswith(CELLS)}
    model.base_sha256 = hash_tensors(base)
    return model.eval()


def load_model(path: Path, *, channels: int = 3, seed: int = 0, sha256: str | None = None) -> CellSam:
    """Read a checkpoint: Meta's, one of the same format, or one of ours; the variant is recognised.

    A plain checkpoint gets a fresh cell head (from ``seed``), which training then fills. With ``sha256``
    the file must have that hash.
    """
    check_channels(channels)
    return from_checkpoint(read_checkpoint(path, sha256=sha256), channels=channels, seed=seed)


def load_weights(name: str, *, channels: int = 3, seed: int = 0) -> CellSam:
    """A registered checkpoint that is on this machine; its hash is compared before it is read."""
    path = find_weights(name)
    return load_model(path, channels=channels, seed=seed, sha256=known(name).sha256)


def from_checkpoint(checkpoint: Checkpoint, *, channels: int = 3, seed: int = 0) -> CellSam:
    source, state = checkpoint.source, checkpoint.state
    variant = recognise(state, source)
    ready = _plain_names(split_qkv(state))
    own = {key for key in ready if key.startswith(CELLS)}
    if own:
        channels = int(ready[f"{CELLS}mask_decoder.mask_tokens.weight"].shape[0])
    with _to_be_filled(variant):
        model = CellSam(variant, channels)
    if not own:
        with fresh_numbers(seed):
            head = CellHead(variant, outputs=channels).state_dict()
        ready |= {
            f"{CELLS}{key}": value if key.startswith(FRESH) else ready.get(f"plain.{key}", value).clone()
            for key, value in head.items()
        }
    _check_fit(model, ready, source)
    model.load_state_dict({key: ready[key].float() for key in model.state_dict()}, assign=True)
    for parameter in model.parameters():
        parameter.requires_grad_(True)  # as nn.Module has it; assign takes what the file's tensors say
    model.base_sha256 = checkpoint.sha256
    if checkpoint.pixel_scale is not None:
        model.set_pixel_scale(*checkpoint.pixel_scale)
    else:
        model.set_pixel_scale(SAM_MEAN_RGB, SAM_STD_RGB)
    return model.eval()


def save_model(model: CellSam, path: Path, *, half: bool = False) -> str:
    """One safetensors file with a header; q, k and v are joined again, so that other programs read it too."""
    if any(".lora_A." in key for key in model.state_dict()):
        raise WeightsError("This model has an adapter: save that, or merge it for good first.")
    state = {key.removeprefix("plain."): value for key, value in join_qkv(model.state_dict()).items()}
    kind = torch.float16 if half else torch.float32
    arrays = {key: value.detach().to("cpu", kind).numpy() for key, value in state.items()}
    config = {
        "variant": model.variant.name,
        "channels": CHANNEL_NAMES[model.channels],
        "pixel_mean": model.pixel_mean.flatten().tolist(),
        "pixel_std": model.pixel_std.flatten().tolist(),
    }
    return write_arrays(path, KIND, arrays, config=config)


def at_size(model: CellSam, size_px: int) -> CellSam:
    """The same model with its position tables made for another input size, as it resizes them itself at that
    size: the answers there are the same, and the file says which size it was trained at."""
    side = check_size(size_px) // PATCH_PX
    changed = CellSam(replace(model.variant, native_px=size_px), model.channels)
    state = model.state_dict()
    for key, wanted in changed.state_dict().items():
        table = state[key]
        if key.endswith("pos_embed"):
            state[key] = resize_positions(table, (side, side))
        elif table.shape != wanted.shape:  # relative positions: rows x head
            rows = F.interpolate(table.T[None], size=wanted.shape[0], mode="linear")
            state[key] = rows[0].T.contiguous()
    changed.load_state_dict(state)
    changed.set_pixel_scale(
        tuple(model.pixel_mean.flatten().tolist()), tuple(model.pixel_std.flatten().tolist())
    )
    changed.base_sha256 = model.base_sha256
    return changed.train(model.training)


def check_channels(channels: int) -> int:
    if channels not in CHANNEL_NAMES:
        wanted = "; ".join(f"{n} ({', '.join(names)})" for n, names in CHANNEL_NAMES.items())
        raise WeightsError(f"{channels} channels are not accepted; it takes {wanted}.")
    return channels


@contextmanager
def fresh_numbers(seed: int) -> Iterator[None]:
    """Weights made in this block depend on the seed alone, and nothing outside notices."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def _to_be_filled(variant: Variant) -> Iterator[None]:
    """For weights that a file brings. On the device "meta" they are given no values first; but that loads
    torch's compiler, which takes longer than the values of a small model."""
    with fresh_numbers(0) if variant.dim < LARGE_DIM else torch.device("meta"):
        yield


def _plain_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    kept = (ENCODER, CELLS)
    return {key if key.startswith(kept) else f"plain.{key}": value for key, value in state.items()}


def _check_fit(model: CellSam, state: Mapping[str, Tensor], source: str) -> None:
    """Every tensor there, of the right shape, and none in the encoder that we would silently leave out."""
    wanted, name = model.state_dict(), model.variant.name
    missing = sorted(set(wanted) - set(state))
    if missing:
        raise WeightsError(
            f"{source} looks like {name} but lacks {len(missing)} of its {len(wanted)} tensors, "
            f"{missing[0].removeprefix('plain.')!r} the first. It is cut short or of another model."
        )
    extra = sorted(key for key in state if key.startswith(ENCODER) and key not in wanted)
    if extra:
        raise WeightsError(
            f"{source} holds layers that {name} does not have, {extra[0]!r} the first of {len(extra)}: it "
            "is a checkpoint of another model (a SAM with adapters inside?). Use the plain checkpoint."
        )
    for key, tensor in wanted.items():
        if tensor.shape != state[key].shape:
            raise WeightsError(
                f"{source}: {key.removeprefix('plain.')} has shape {tuple(state[key].shape)}; {name} at "
                f"{model.variant.native_px} px takes {tuple(tensor.shape)}. It is of another model."
            )
