"""What a network is shown of a cell: one geometry, any number of stains, one jitter of colour for each.

Made on the device of the pixels, without gradients. Bytes in, bytes out, B x 3 x H x W; a CPU generator
decides, so that a batch looks the same wherever it is made.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from napari_bloodcell.core.config import SadaConfig, StainAugmentConfig
from napari_bloodcell.core.embed.sada.precision import in_float32
from napari_bloodcell.core.stain.augment import augment

BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.2, 0.25, 0.25, 0.15  # methods of SADA; factors are 1 +- these
SHRINK, GROW = 0.85, 1.2  # range of scales
SHIFT = 0.06  # of the side, at most
GREY = (0.299, 0.587, 0.114)
PIECE = 16  # pictures at a time: they stay in the cache of a processor


@torch.no_grad()
@in_float32
def views_of(pixels: Tensor, config: SadaConfig, dice: torch.Generator) -> Tensor:
    """V x B x 3 x H x W: restained views of each cell, all in its one geometry."""
    turned = turn(pixels, dice)
    if config.stain_views:
        how = StainAugmentConfig(views=config.views, clusters=config.clusters)
        views: Tensor = augment(turned, how, generator=dice)
    else:
        views = turned[None].expand(config.views, *turned.shape)
    flat = views.reshape(-1, *turned.shape[1:])
    return jitter(flat, config.jitter, dice).view(views.shape)


@torch.no_grad()
@in_float32
def one_view(pixels: Tensor, config: SadaConfig, dice: torch.Generator) -> Tensor:
    """B x 3 x H x W: geometry and colour jitter only, for plain classification."""
    return jitter(turn(pixels, dice), config.jitter, dice)


def turn(pixels: Tensor, dice: torch.Generator) -> Tensor:
    """Any angle, mirror, a little scale and shift; what comes in from beyond the edge is mirrored."""
    grid = F.affine_grid(
        _geometry(len(pixels), dice).to(pixels.device), list(pixels.shape), align_corners=False
    )
    moved = F.grid_sample(pixels.float(), grid, padding_mode="reflection", align_corners=False)
    return moved.round_().clamp_(0, 255).to(torch.uint8)


def _geometry(n: int, dice: torch.Generator) -> Tensor:
    """n x 2 x 3, from places in the result to places in the picture."""
    luck = torch.rand(n, 5, generator=dice)
    angle, mirror = 2 * math.pi * luck[:, 0], torch.where(luck[:, 1] < 0.5, -1.0, 1.0)
    scale = 1 / (SHRINK * (GROW / SHRINK) ** luck[:, 2])
    shift = (2 * luck[:, 3:] - 1) * 2 * SHIFT  # the side is 2 long
    sine, cosine = angle.sin() * scale, angle.cos() * scale
    rows = torch.stack([torch.stack([mirror * cosine, -sine], 1), torch.stack([mirror * sine, cosine], 1)], 1)
    return torch.cat([rows, shift[:, :, None]], 2)


def jitter(pixels: Tensor, strength: float, dice: torch.Generator) -> Tensor:
    """Brightness, contrast, saturation and hue of each picture, each by its own draw."""
    luck = (2 * torch.rand(len(pixels), 4, generator=dice) - 1) * strength
    if strength == 0:
        return pixels
    out = torch.empty_like(pixels)
    step = PIECE if pixels.device.type == "cpu" else max(1, len(pixels))
    for start in range(0, len(pixels), step):
        piece = slice(start, start + step)
        flat = pixels[piece].flatten(2).float()
        matrix, bias = _colours(luck[piece], flat.mean(2).cpu())
        changed = torch.baddbmm(bias.to(pixels.device)[:, :, None], matrix.to(pixels.device), flat)
        out[piece] = changed.round_().clamp_(0, 255).view(-1, *pixels.shape[1:])
    return out


def _colours(luck: Tensor, means: Tensor) -> tuple[Tensor, Tensor]:
    """The four as one matrix and shift for each picture: B x 3 x 3 and B x 3. Hue turns the colour circle
    of YIQ, which is linear, where HSV's is not. Contrast leaves the mean grey in place."""
    widths = torch.tensor([BRIGHTNESS, CONTRAST, SATURATION])
    factors = (1 + luck[:, :3] * widths).clamp_(min=0)
    bright, contrast, saturation = (f[:, None, None] for f in factors.T)
    grey = torch.tensor(GREY).expand(3, 3)
    saturate = saturation * torch.eye(3) + (1 - saturation) * grey
    colours = _turn_hue(luck[:, 3] * HUE * 2 * math.pi) @ saturate
    matrix = bright * contrast * colours
    middle = bright[:, :, 0] * (colours @ grey @ means[:, :, None])[:, :, 0]
    return matrix, (1 - contrast[:, :, 0]) * middle


def _turn_hue(angle: Tensor) -> Tensor:
    """B x 3 x 3 on RGB."""
    to_yiq = torch.tensor([list(GREY), [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    turn_chroma = torch.zeros(len(angle), 3, 3)
    turn_chroma[:, 0, 0] = 1
    turn_chroma[:, 1, 1] = turn_chroma[:, 2, 2] = angle.cos()
    turn_chroma[:, 2, 1] = angle.sin()
    turn_chroma[:, 1, 2] = -turn_chroma[:, 2, 1]
    turned: Tensor = torch.linalg.inv(to_yiq) @ turn_chroma @ to_yiq
    return turned
