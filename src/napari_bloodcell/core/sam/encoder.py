"""The image encoder: segment-anything's vision transformer, at any size that is a multiple of 16 px."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from napari_bloodcell.core.sam.attention import FastLinear, Mode, SplitAttention
from napari_bloodcell.core.sam.original import ImageEncoderViT
from napari_bloodcell.core.sam.variants import PATCH_PX, Variant

Detail = tuple[Tensor, Tensor]  # B x C x H/4 x W/4 and B x C x H/8 x W/8


class Stem(nn.Module):
    """Convolutions down to patches of 16 px: they learn edges from few images, and keep their places."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        half, quarter, eighth = variant.stem
        self.to_half, self.to_quarter = convolve(3, half, stride=2), convolve(half, quarter, stride=2)
        self.at_quarter, self.to_eighth = convolve(quarter, quarter), convolve(quarter, eighth, stride=2)
        self.proj = nn.Conv2d(eighth, variant.dim, 2, stride=2)

    def detail(self, pixels: Tensor) -> Detail:
        quarter = self.at_quarter(self.to_quarter(self.to_half(pixels)))
        return quarter, self.to_eighth(quarter)

    def patches(self, detail: Detail) -> Tensor:
        out: Tensor = self.proj(detail[1]).permute(0, 2, 3, 1)
        return out

    def forward(self, pixels: Tensor) -> Tensor:
        return self.patches(self.detail(pixels))


def convolve(channels: int, width: int, stride: int = 1) -> nn.Sequential:
    """3 x 3, then normalised within the image: statistics of a batch would be those of its labs."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False), nn.GroupNorm(8, width), nn.GELU()
    )


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
        self.patch_embed = Stem(variant) if variant.stem else vit.patch_embed
        self.pos_embed = vit.pos_embed
        self.blocks, self.neck = vit.blocks, vit.neck
        grid = variant.native_px // PATCH_PX
        for index, block in enumerate(self.blocks):
            side = grid if index in variant.global_blocks else variant.window
            block.attn = SplitAttention(variant.dim, variant.heads, 2 * side - 1)
            block.mlp.lin1 = FastLinear(variant.dim, 4 * variant.dim)
            block.mlp.lin2 = FastLinear(4 * variant.dim, variant.dim)

    def tokens(self, pixels: Tensor) -> Tensor:
        """Normalised B x 3 x H x W -> output of the last block, before the neck: B x D x H/16 x W/16."""
        return self._through(self.patch_embed(pixels))

    def _through(self, x: Tensor) -> Tensor:
        x = x + resize_positions(self.pos_embed, (x.shape[1], x.shape[2]))
        for block in self.blocks:
            x = block(x)
        out: Tensor = x.permute(0, 3, 1, 2)
        return out

    def forward(self, pixels: Tensor) -> Tensor:
        """-> B x C x H/16 x W/16, what the decoders read."""
        out: Tensor = self.neck(self.tokens(pixels))
        return out

    def with_detail(self, pixels: Tensor) -> tuple[Tensor, Detail | None]:
        """The same, and what the stem saw at a quarter and an eighth of the image; None where it has none."""
        if not isinstance(self.patch_embed, Stem):
            return self(pixels), None
        detail = self.patch_embed.detail(pixels)
        out: Tensor = self.neck(self._through(self.patch_embed.patches(detail)))
        return out, detail

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
