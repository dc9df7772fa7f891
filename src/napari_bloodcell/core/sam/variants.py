"""The sizes of model we know, and which one a file holds: told from the shapes of its tensors alone."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from napari_bloodcell.core.errors import WeightsError

PATCH_PX = 16
ENCODER = "image_encoder."
MARKER = f"{ENCODER}patch_embed.proj.weight"  # the one tensor every file of the format holds

SAM_MEAN_RGB = (123.675, 116.28, 103.53)
SAM_STD_RGB = (58.395, 57.12, 57.375)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One size of model. ``global_blocks`` attend to the whole image, the others to windows.

    ``stem``: widths at a half, a quarter and an eighth of the image, of the convolutions that stand where the
    others cut the image into patches; what they see goes on to the cell head. Empty: patches, as published.
    """

    name: str
    dim: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]
    native_px: int = 1024  # side of the images its position tables were made for
    window: int = 14
    prompt_dim: int = 256
    decoder_mlp: int = 2048
    decoder_heads: int = 8
    stem: tuple[int, ...] = ()


VARIANTS = {
    one.name: one
    for one in (
        Variant(name="vit_b", dim=768, depth=12, heads=12, global_blocks=(2, 5, 8, 11)),
        Variant(name="vit_l", dim=1024, depth=24, heads=16, global_blocks=(5, 11, 17, 23)),
        Variant(name="vit_h", dim=1280, depth=32, heads=16, global_blocks=(7, 15, 23, 31)),
        Variant(
            # every block global: small crops then need no padding to whole windows
            name="nano", dim=192, depth=6, heads=3, global_blocks=tuple(range(6)),
            native_px=160, prompt_dim=128, decoder_mlp=512, stem=(32, 64, 128),
        ),
    )
}  # fmt: skip

# What a file without our marker probably is: a piece of a key -> words.
_OTHERS = {
    "image_encoder.trunk.": "a SAM 2 checkpoint",
    "detector.": "a SAM 3 checkpoint",
    "image_encoder.layers.0.": "a MobileSAM (TinyViT) checkpoint",
    "w_a_000": "a LoRA adapter of BC-SAM or DoRL: import it as an adapter",
    "lora_A": "a LoRA adapter: load it as an adapter",
    "cls_token": "a plain vision transformer (DINO, MAE or the like)",
    "layer1.0.conv1.weight": "a ResNet",
    "model.0.conv.weight": "a YOLO (FastSAM) checkpoint",
}
_ACCEPTED = (
    "Accepted are files of Meta's Segment Anything format: ViT-B, ViT-L, ViT-H (micro-sam, MedSAM) or nano."
)


def find_state(content: Any, source: str) -> dict[str, Any]:
    """The one dictionary of tensors in a file, however deep it is wrapped, its keys without prefixes."""
    found = _search(content)
    if found is None:
        keys = list(_keys(content))
        told = f"its first key is {keys[0]!r}" if keys else "it is empty"
        for piece, words in _OTHERS.items():
            if any(piece in key for key in keys):
                told = f"it looks like {words}"
                break
        raise WeightsError(f"{source} is no Segment Anything checkpoint: {told}. {_ACCEPTED}")
    marker = next(key for key in found if key.endswith(MARKER))
    prefix = marker.removesuffix(MARKER)
    return {key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)}


def recognise(state: Mapping[str, Any], source: str) -> Variant:
    """Which variant these tensors are, with ``native_px`` as the file's own position table has it."""
    if f"{ENCODER}pos_embed" not in state:
        raise WeightsError(f"{source} has no {ENCODER}pos_embed. {_ACCEPTED}")
    dim = int(state[MARKER].shape[0])
    depth = len({key.split(".")[2] for key in state if key.startswith(f"{ENCODER}blocks.")})
    for variant in VARIANTS.values():
        if (variant.dim, variant.depth) == (dim, depth):
            return replace(variant, native_px=PATCH_PX * int(state[f"{ENCODER}pos_embed"].shape[1]))
    raise WeightsError(
        f"{source} holds a transformer of {depth} blocks of {dim}; no variant is like that. {_ACCEPTED}"
    )


def check_size(size_px: int) -> int:
    if size_px < PATCH_PX or size_px % PATCH_PX:
        raise WeightsError(
            f"Input size {size_px} px is not accepted; it takes a multiple of {PATCH_PX}, "
            f"such as {max(PATCH_PX, round(size_px / PATCH_PX) * PATCH_PX)}."
        )
    return size_px


def _search(content: Any) -> dict[str, Any] | None:
    if not isinstance(content, Mapping):
        return None
    if any(isinstance(key, str) and key.endswith(MARKER) for key in content):
        return dict(content)
    return next((found for value in content.values() if (found := _search(value)) is not None), None)


def _keys(content: Any) -> list[str]:
    if not isinstance(content, Mapping):
        return []
    return [str(key) for key in content] + [key for value in content.values() for key in _keys(value)]
