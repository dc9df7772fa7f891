"""Parts the two autoencoders share."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

PUBLISHED_DIM, PUBLISHED_GRID, Z_DIM = 768, 14, 50
STEP = 16


def scaled(widths: Sequence[int], dim: int) -> list[int]:
    """Channels of a decoder for an encoder ``dim`` wide: as published at 768 and above; below in proportion,
    so that a small encoder is not followed by a decoder twenty times its cost, in steps the processor likes.
    """
    if dim >= PUBLISHED_DIM:
        return list(widths)
    return [max(STEP, STEP * round(width * dim / PUBLISHED_DIM / STEP)) for width in widths]


def on_grid(tokens: Tensor, side: int = PUBLISHED_GRID) -> Tensor:
    """B x D x h x w brought to side x side; unchanged where it is that already."""
    if tuple(tokens.shape[2:]) == (side, side):
        return tokens
    return F.interpolate(tokens, size=(side, side), mode="bilinear", align_corners=False)


def normed(layer: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(layer, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


class Widening(nn.ConvTranspose2d):
    """A transposed convolution of stride 1, as the convolution it equals: that is faster on a processor."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:  # noqa: ARG002
        turned = self.weight.flip(2, 3).transpose(0, 1)
        return F.conv2d(x, turned, self.bias, padding=self.kernel_size[0] - 1)
