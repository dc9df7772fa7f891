"""The autoencoder of BC-SAM (arXiv 2408.06716): token maps -> 50 numbers -> the cell's picture."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from napari_bloodcell.core.embed.networks import Z_DIM, Widening, normed, on_grid, scaled

ENCODER = (256, 256)
# Channels, kernel and stride of each step of the decoder; the sides are 5, 12, 14, 31, 63, 127, 128.
DECODER = ((150, 5, 1), (200, 4, 2), (256, 3, 1), (200, 5, 2), (180, 3, 2), (150, 3, 2), (128, 2, 1))


@dataclass(frozen=True, kw_only=True)
class BcsamShape:
    """What the network is built from; stored with its weights."""

    dim: int
    z_dim: int = Z_DIM
    labs: int = 0  # the decoder is told which of so many labs the cell is from; 0 as published


class BcsamAutoencoder(nn.Module):
    def __init__(self, shape: BcsamShape) -> None:
        super().__init__()
        self.shape = shape
        one, two = scaled(ENCODER, shape.dim)
        self.encoder = nn.Sequential(
            normed(nn.Conv2d(shape.dim, one, 1), one),
            normed(nn.Conv2d(one, two, 3, stride=2), two),
            normed(nn.Conv2d(two, shape.z_dim, 1), shape.z_dim),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        widths = scaled([step[0] for step in DECODER], shape.dim)
        steps, before = [], shape.z_dim + shape.labs
        for width, (_, kernel, stride) in zip(widths, DECODER, strict=True):
            kind = Widening if stride == 1 else nn.ConvTranspose2d
            steps.append(normed(kind(before, width, kernel, stride=stride), width))
            before = width
        self.decoder = nn.Sequential(*steps, nn.ConvTranspose2d(before, 3, 1), nn.Sigmoid())

    def encode(self, tokens: Tensor) -> Tensor:
        """B x D x h x w -> B x 50."""
        z: Tensor = self.encoder(on_grid(tokens))
        return z

    def decode(self, z: Tensor, domain: Tensor | None = None) -> Tensor:
        """B x 50 -> B x 3 x 128 x 128 in 0..1."""
        if self.shape.labs:
            known = torch.zeros(len(z), self.shape.labs, device=z.device, dtype=z.dtype)
            if domain is not None:
                known = (domain[:, None] == torch.arange(self.shape.labs, device=z.device)).to(z.dtype)
            z = torch.cat([z, known], dim=1)
        picture: Tensor = self.decoder(z[:, :, None, None])
        return picture
