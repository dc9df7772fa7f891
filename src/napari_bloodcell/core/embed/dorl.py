"""The masked autoencoder of DoRL (arXiv 2408.07467): a transformer over the tokens of Segment Anything."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from napari_bloodcell.core.embed.networks import PUBLISHED_GRID, Z_DIM, on_grid, scaled

# Channels, kernel and stride of the image head (padding 1); the sides are 28, 56, 57, 62, 128.
IMAGE_HEAD = ((512, 4, 2), (256, 4, 2), (128, 4, 1), (64, 8, 1))
LAST_STEP = (8, 2)
HEAD_DIM = 64


@dataclass(frozen=True, kw_only=True)
class DorlShape:
    """What the network is built from; stored with its weights."""

    dim: int
    grid: int = PUBLISHED_GRID
    depth: int = 12
    decoder_depth: int = 4
    z_dim: int = Z_DIM
    token_scale: float = 1.0  # tokens are divided by it


class Block(nn.Module):
    """Pre-norm transformer block, q, k and v without bias."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.heads = max(1, dim // HEAD_DIM)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        b, length, d = x.shape
        qkv = self.qkv(self.norm1(x)).view(b, length, 3, self.heads, d // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, length, d)
        x = x + self.proj(mixed)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class DorlAutoencoder(nn.Module):
    def __init__(self, shape: DorlShape) -> None:
        super().__init__()
        self.shape, dim, places = shape, shape.dim, shape.grid**2
        self.cls = nn.Parameter(torch.empty(1, 1, dim))
        self.position = nn.Parameter(torch.empty(1, places, dim))
        self.blocks = nn.Sequential(*(Block(dim) for _ in range(shape.depth)), nn.LayerNorm(dim))
        self.mask_token = nn.Parameter(torch.empty(1, 1, dim))
        self.decoder_position = nn.Parameter(torch.empty(1, places + 1, dim))
        self.decoder = nn.Sequential(*(Block(dim) for _ in range(shape.decoder_depth)))
        self.to_z = nn.Linear(dim, shape.z_dim)
        self.image_head = _image_head(dim)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 3:
                nn.init.normal_(parameter, std=0.02)
            elif parameter.ndim == 2:
                nn.init.xavier_uniform_(parameter)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def encode(self, tokens: Tensor) -> Tensor:
        """B x D x h x w -> the CLS token of the unmasked pass, B x D: what classifiers get."""
        cls: Tensor = self._encode(self.in_line(tokens) + self.position)[:, 0]
        return cls

    def forward(self, tokens: Tensor, noise: Tensor, mask: float) -> tuple[Tensor, Tensor, Tensor]:
        """-> the tokens as rebuilt from those kept, B x L x D; which were kept, B x L; CLS of those, B x D.

        ``noise`` (B x L) decides: the tokens with the smallest numbers are kept.
        """
        x = self.in_line(tokens) + self.position
        b, length, d = x.shape
        order = noise.argsort(dim=1)
        keep = order[:, : max(1, round(length * (1 - mask)))]
        seen = self._encode(x.gather(1, keep[..., None].expand(-1, -1, d)))
        whole = self.mask_token.to(seen.dtype).repeat(b, length, 1)
        whole = whole.scatter(1, keep[..., None].expand(-1, -1, d), seen[:, 1:])
        made = self.decoder(torch.cat([seen[:, :1], whole], dim=1) + self.decoder_position)[:, 1:]
        kept = torch.zeros(b, length, dtype=torch.bool, device=x.device).scatter(1, keep, True)
        return made, kept, seen[:, 0]

    def in_line(self, tokens: Tensor) -> Tensor:
        """B x D x h x w -> B x L x D, scaled: what goes in, and what is rebuilt."""
        return tokens.flatten(2).transpose(1, 2) / self.shape.token_scale

    def picture(self, made: Tensor) -> Tensor:
        """B x L x D -> B x 3 x 128 x 128; nothing holds it in 0..1."""
        side = self.shape.grid
        grid = made.transpose(1, 2).reshape(len(made), -1, side, side)
        out: Tensor = self.image_head(on_grid(grid))
        return out

    def discrepancy_vector(self, made: Tensor) -> Tensor:
        z: Tensor = self.to_z(made.mean(dim=1))
        return z

    def _encode(self, x: Tensor) -> Tensor:
        out: Tensor = self.blocks(torch.cat([self.cls.expand(len(x), -1, -1).to(x.dtype), x], dim=1))
        return out


def _image_head(dim: int) -> nn.Sequential:
    widths, before = scaled([step[0] for step in IMAGE_HEAD], dim), dim
    steps: list[nn.Module] = []
    for width, (_, kernel, stride) in zip(widths, IMAGE_HEAD, strict=True):
        steps += [nn.ConvTranspose2d(before, width, kernel, stride=stride, padding=1), nn.ReLU(inplace=True)]
        before = width
    kernel, stride = LAST_STEP
    return nn.Sequential(*steps, nn.ConvTranspose2d(before, 3, kernel, stride=stride, padding=1))
