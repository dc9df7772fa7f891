"""The image encoder: segment-anything's vision transformer, at any size that is a multiple of 16 px."""

from functools import partial

import torch
from segment_anything.modeling.image_encoder import ImageEncoderViT
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from napari_bloodcell.core.sam.attention import FastLinear, Mode, SplitAttention
from napari_bloodcell.core.sam.variants import PATCH_PX, Variant


class Encoder(nn.Module):
    """Parts and names of ``ImageEncoderViT``, but for q, k and v. Position tables are kept as the file has
    them and resized to the image at hand: the absolute one bilinearly, the relative ones of the global
    blocks linearly (windowed blocks always see windows of the same size, so theirs stay).
    """

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        vit = ImageEncoderViT(
            img_size=variant.native_px,
            patch_size=PATCH_PX,
            embed_dim=variant.dim,
            depth=variant.depth,
            num_heads=variant.heads,
            out_chans=variant.prompt_dim,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            global_attn_indexes=variant.global_blocks,
            window_size=variant.window,
        )
        self.patch_embed, self.pos_embed = vit.patch_embed, vit.pos_embed
        self.blocks, self.neck = vit.blocks, vit.neck
        grid = variant.native_px // PATCH_PX
        for index, block in enumerate(self.blocks):
            side = grid if index in variant.global_blocks else variant.window
            block.attn = SplitAttention(variant.dim, variant.heads, 2 * side - 1)
            block.mlp.lin1 = FastLinear(variant.dim, 4 * variant.dim)
            block.mlp.lin2 = FastLinear(4 * variant.dim, variant.dim)

    def tokens(self, pixels: Tensor) -> Tensor:
        """Normalised B x 3 x H x W -> output of the last block, before the neck: B x D x H/16 x W/16."""
        x = self.patch_embed(pixels)
        x = x + resize_positions(self.pos_embed, (x.shape[1], x.shape[2]))
        for block in self.blocks:
            x = block(x)
        out: Tensor = x.permute(0, 3, 1, 2)
        return out

    def forward(self, pixels: Tensor) -> Tensor:
        """-> B x C x H/16 x W/16, what the decoders read."""
        out: Tensor = self.neck(self.tokens(pixels))
        return out

    def set_mode(self, mode: Mode) -> None:
        for module in self.modules():
            if isinstance(module, SplitAttention):
                module.mode = mode
            elif isinstance(module, FastLinear):
                module.exact = mode == "exact"


def resize_positions(table: Tensor, grid: tuple[int, int]) -> Tensor:
    """The absolute position table 1 x H x W x D for another grid."""
    if tuple(table.shape[1:3]) == grid:
        return table
    moved = F.interpolate(table.permute(0, 3, 1, 2), size=grid, mode="bilinear", align_corners=False)
    return moved.permute(0, 2, 3, 1)


def start_fresh(encoder: Encoder) -> None:
    """The usual start of a transformer that is trained from nothing; position tables at zero would teach
    the first epochs that all places are alike."""
    for module in encoder.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
    nn.init.trunc_normal_(encoder.pos_embed, std=0.02)
    with torch.no_grad():
        for name, table in encoder.named_parameters():
            if "rel_pos" in name:
                nn.init.trunc_normal_(table, std=0.02)
