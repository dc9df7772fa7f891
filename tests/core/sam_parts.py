"""What the tests of the Segment Anything core share: a tiny variant, its original, random numbers."""

from functools import partial

import numpy as np
import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import Tensor

from napari_bloodcell.core.sam.variants import Variant

TINY = Variant(name="tiny", dim=32, depth=2, heads=1, global_blocks=(1,), prompt_dim=32, decoder_mlp=64)


def seeded(size: tuple[int, ...], seed: int = 0, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(size, generator=torch.Generator().manual_seed(seed))


def shake(module: torch.nn.Module, seed: int = 0) -> None:
    """Random numbers in the position tables, which start at zero."""
    with torch.no_grad():
        for i, (name, table) in enumerate(module.named_parameters()):
            if "rel_pos" in name or "pos_embed" in name:
                table.copy_(seeded(tuple(table.shape), seed + i, 0.3))


def original(variant: Variant) -> Sam:
    """The same architecture from segment-anything's own parts."""
    grid = variant.native_px // 16
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        sam = Sam(
            ImageEncoderViT(
                img_size=variant.native_px, embed_dim=variant.dim, depth=variant.depth,
                num_heads=variant.heads, out_chans=variant.prompt_dim, use_rel_pos=True,
                norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
                global_attn_indexes=variant.global_blocks, window_size=variant.window,
            ),
            PromptEncoder(variant.prompt_dim, (grid, grid), (variant.native_px,) * 2, 16),
            MaskDecoder(
                num_multimask_outputs=3, transformer_dim=variant.prompt_dim,
                transformer=TwoWayTransformer(2, variant.prompt_dim, variant.decoder_heads, variant.decoder_mlp),
            ),
            [123.675, 116.28, 103.53], [58.395, 57.12, 57.375],
        )  # fmt: skip
    shake(sam)
    return sam.eval()


def error(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).abs().max() / wanted.abs().max())


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
