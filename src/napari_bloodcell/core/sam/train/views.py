"""Random views of canvases: turned, zoomed, in another stain, under another camera. All in tensors, a batch
at once; the caller's generator decides everything.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from napari_bloodcell.core.config import ViewConfig
from napari_bloodcell.core.sam.ground import GROUND
from napari_bloodcell.core.sam.train.cells import CANVAS_PX, CELL_PX
from napari_bloodcell.core.sam.window import FACTOR

QUARTER = 4  # the loss is taken at a quarter of the input, as the decoder answers
_BLOCK = 8


@dataclass(frozen=True)
class Dice:
    """Random numbers for a batch, one of each kind for each cell."""

    generator: torch.Generator
    n: int

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(self.n, *shape, generator=self.generator)

    def between(self, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(self.n, *shape, generator=self.generator)

    def chance(self, p: float) -> Tensor:
        return torch.rand(self.n, generator=self.generator) < p


def plain_views(pixels: Tensor, parts: Tensor, size_px: int) -> tuple[Tensor, Tensor]:
    """Each cell as at inference: upright, in the middle of a window of ``FACTOR`` boxes.

    Canvases N x 3 x CANVAS_PX x CANVAS_PX and N x CANVAS_PX x CANVAS_PX, bytes; gives N x 3 x S x S, 0..255,
    and N x S x S.
    """
    n = len(pixels)
    half = torch.full((n, 1, 1), FACTOR * CELL_PX / CANVAS_PX)
    matrix = torch.cat([half * torch.eye(2), torch.zeros(n, 2, 1)], dim=2)
    return _sample(pixels, parts, matrix, size_px)


def random_views(
    pixels: Tensor,
    parts: Tensor,
    size_px: int,
    config: ViewConfig,
    generator: torch.Generator,
    surroundings: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The same shapes as ``plain_views``. ``surroundings``: canvases without a white cell to lay around."""
    dice = Dice(generator, len(pixels))
    seen, labels = _sample(pixels, parts, random_affine(config, dice), size_px)
    if surroundings is not None and config.paste:
        seen = lay_around(seen, labels, surroundings, config.paste, dice)
    if config.stain:
        seen = restain(seen, config.stain, dice)
    if config.camera:
        seen = rephotograph(seen, config.camera, dice)
    return seen, labels


def quarter_turns(
    pixels: Tensor, parts: Tensor, size_px: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """As published: half of the cells turned by quarters and mirrored, half turned by up to 20 degrees."""
    dice = Dice(generator, len(pixels))
    angle = torch.where(
        dice.chance(0.5),
        torch.randint(4, (dice.n,), generator=generator) * (math.pi / 2),
        dice.between(-math.pi / 9, math.pi / 9),
    )
    mirror = torch.where(dice.chance(0.5), -1.0, 1.0)
    half = torch.full((dice.n,), FACTOR * CELL_PX / CANVAS_PX)
    return _sample(pixels, parts, _affine(angle, half * mirror, half, torch.zeros(dice.n, 2)), size_px)


def random_affine(config: ViewConfig, dice: Dice) -> Tensor:
    """N x 2 x 3, from view to canvas, both -1..1."""
    angle = dice.between(-math.radians(config.turn), math.radians(config.turn))
    low, high = sorted((config.zoom_low, config.zoom_high))
    half = dice.between(low, high) * (CELL_PX / CANVAS_PX)
    stretch = torch.exp(config.stretch * dice.normal())
    mirror = torch.where(dice.chance(0.5), -1.0, 1.0) if config.flip else torch.ones(dice.n)
    shift = dice.between(-config.shift, config.shift, 2) * (2 * CELL_PX / CANVAS_PX)
    return _affine(angle, half * stretch * mirror, half / stretch, shift)


def _affine(angle: Tensor, across: Tensor, down: Tensor, shift: Tensor) -> Tensor:
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = [cos * across, -sin * down, shift[:, 0], sin * across, cos * down, shift[:, 1]]
    return torch.stack(rows, dim=1).view(-1, 2, 3)


def _sample(pixels: Tensor, parts: Tensor, matrix: Tensor, size_px: int) -> tuple[Tensor, Tensor]:
    grid = F.affine_grid(matrix, [len(pixels), 1, size_px, size_px], align_corners=False)
    seen = F.grid_sample(pixels.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    labels = F.grid_sample(
        parts[:, None].float(), grid, mode="nearest", padding_mode="border", align_corners=False
    )
    return seen, labels[:, 0].to(torch.uint8)


def shares_of(labels: Tensor, channels: int) -> Tensor:
    """N x S x S -> N x channels x S/4 x S/4: how much of each coarse pixel each part covers."""
    kinds = labels if channels == 3 else labels.clamp(max=1)
    planes = torch.stack([kinds == c for c in range(channels)], dim=1).float()
    return F.avg_pool2d(planes, QUARTER)


def lay_around(seen: Tensor, labels: Tensor, surroundings: Tensor, share: float, dice: Dice) -> Tensor:
    """Red cells of other pictures around some of the cells, as light that has gone through both."""
    chosen = dice.chance(share).nonzero()[:, 0]
    if not len(chosen):
        return seen
    few = Dice(dice.generator, len(chosen))
    rows = torch.randint(len(surroundings), (few.n,), generator=dice.generator)
    zoom = few.between(0.35, 0.65)
    matrix = _affine(few.between(-math.pi, math.pi), zoom, zoom, few.between(-0.3, 0.3, 2))
    grid = F.affine_grid(matrix, [few.n, *seen.shape[1:]], align_corners=False)
    other = F.grid_sample(surroundings[rows].float(), grid, padding_mode="border", align_corners=False)
    inside = F.avg_pool2d((labels[chosen, None] > 0).float(), 5, stride=1, padding=2)
    out = seen.clone()
    out[chosen] *= inside + (1 - inside) * (other / GROUND)
    return out.clamp_(0, 255)


def restain(seen: Tensor, strength: float, dice: Dice) -> Tensor:
    """Another stain and lamp: densities are mixed, weakened or strengthened, and bent a little."""
    density = -torch.log((seen.flatten(2) + 1) / (GROUND + 1))
    mix = torch.eye(3) + strength * 0.07 * dice.normal(3, 3)
    mix = (
        mix * torch.exp(strength * 0.14 * dice.normal(3, 1)) * torch.exp(strength * 0.22 * dice.normal(1, 1))
    )
    wild = dice.chance(0.7).view(-1, 1, 1)  # the others keep their own stain
    density = torch.where(wild, torch.bmm(mix, density), density)
    bend = torch.exp(strength * 0.12 * dice.normal(1, 1))
    density = torch.where(wild, density.clamp(min=0) ** bend + density.clamp(max=0), density)
    size = seen.shape[-1]
    light = torch.exp(strength * 0.02 * dice.normal(3, 1)) * torch.exp(strength * 0.03 * dice.normal(1, 1))
    along = torch.linspace(-1, 1, size)
    slope = 1 + strength * 0.03 * (
        dice.normal(1, 1) * along[None, None] + dice.normal(1, 1).mT * along[None, :, None]
    )
    out: Tensor = (torch.exp(-density) * light * (GROUND + 1)).view_as(seen) * slope[:, None] - 1
    return out.clamp_(0, 255)


def rephotograph(seen: Tensor, strength: float, dice: Dice) -> Tensor:
    """Blur or sharpening, JPEG blocks, noise: each on some of the views."""
    blurred = _soften(_soften(seen, 2), 3)
    amount = torch.where(dice.chance(0.7), strength * dice.between(-0.9, 1.0), torch.zeros(()))
    seen = seen + amount.view(-1, 1, 1, 1) * (blurred - seen)
    some = dice.chance(0.3).nonzero()[:, 0]
    few = Dice(dice.generator, len(some))
    seen[some] = _blocky(seen[some], few.between(2, 14) * strength)
    noise = torch.randn(seen.shape, generator=dice.generator)
    level = torch.where(dice.chance(0.6), strength * dice.between(0, 7), torch.zeros(()))
    return (seen + level.view(-1, 1, 1, 1) * noise).clamp_(0, 255)


def _soften(seen: Tensor, axis: int) -> Tensor:
    """1 4 6 4 1 along an axis: by sums of shifted views, far faster than a convolution of single channels."""
    n = seen.shape[axis]
    before, after = seen.narrow(axis, 0, 1), seen.narrow(axis, n - 1, 1)
    wide = torch.cat([before, before, seen, after, after], dim=axis)
    for _ in range(4):
        n = wide.shape[axis] - 1
        wide = (wide.narrow(axis, 0, n) + wide.narrow(axis, 1, n)) * 0.5
    return wide


def _blocky(seen: Tensor, step: Tensor) -> Tensor:
    """The cosines of each 8 x 8 block in whole steps, coarser for fine ones: what JPEG keeps."""
    size = seen.shape[-1] - seen.shape[-1] % _BLOCK
    k, n = torch.arange(_BLOCK)[:, None], torch.arange(_BLOCK)[None, :]
    rows = 0.5 * torch.cos(math.pi * (2 * n + 1) * k / (2 * _BLOCK))
    rows[0] /= math.sqrt(2)
    steps = step.view(-1, 1, 1, 1) * (1 + 0.3 * (k + n)).float()
    many = size // _BLOCK
    blocks = seen[..., :size, :size].reshape(-1, 3, many, _BLOCK, many, _BLOCK).transpose(3, 4)
    cosines = rows @ blocks @ rows.T
    steps = steps[:, :, None, None]
    back = rows.T @ ((cosines / steps).round() * steps) @ rows
    out = seen.clone()
    out[..., :size, :size] = back.transpose(3, 4).flatten(4, 5).flatten(2, 3)
    return out
