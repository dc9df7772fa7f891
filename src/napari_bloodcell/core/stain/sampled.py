"""The stains of an image from a sample of its stained pixels (mode ``fast``).

The start is the cone that holds the foreground: its two edges in the plane of most density, by percentiles of
angle. Edges move with the pixels when an image is restained, so a profile can be measured again after a
transfer; the published start (quantiles of each channel alone) does not. The published updates then draw the
edges in to where most pixels are, and the stains are taken between: edges alone lie too far apart for a pale
nucleus, the updates alone forget a stain that few pixels show. What is foreground is decided by concentration
and not by density: a pale stain next to a dark one is not lost.
"""

from typing import TYPE_CHECKING

import numpy as np

from napari_bloodcell.core.stain.density import DIMMEST_LIGHT, ground_light
from napari_bloodcell.core.stain.tensors import BYTE, DARKEST_LEVEL, as_bytes

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# A typical Romanowsky smear, for images that show no stain: columns nuclear, cytoplasmic, third.
TYPICAL = np.array([[0.60, 0.20, 0.10], [0.75, 0.90, 0.30], [0.28, 0.38, 0.95]], np.float32)
TYPICAL_SCALE = 1.0
EDGE = 0.05  # share of foreground pixels left outside each edge of the cone
FAINT = 0.06  # natural-log density, all channels: below it is noise of an empty ground
FOREGROUND = 0.12  # of the 99 % density, for the first look
STAINED = 0.3  # of the 99 % concentration, of any stain, after that
LIGHT_STEP = 2  # every second pixel of a sample tells the ground as well
ROUNDS = 2
PULL = 0.55  # how far from the cone's edges towards where the updates lead
TOP = 0.01  # the scale is what this share of foreground pixels exceeds
FEWEST = 24  # stained pixels of a sample that still show a stain
RIDGE = 1e-4
EPS = 1e-9


def sample_columns(pixels: int, size: int, generator: "torch.Generator") -> "Tensor":
    """Positions spread over the image, one in each stretch: the same for every image of this size, so that
    what is measured of an image does not depend on its neighbours in the batch."""
    import torch

    if pixels <= size:
        return torch.arange(pixels)
    jitter = torch.rand(size, generator=generator, dtype=torch.float64)
    return ((torch.arange(size) + jitter) * (pixels / size)).long().clamp_(max=pixels - 1)


def take_sample(
    batch: "Tensor", mask: "Tensor | None", size: int, generator: "torch.Generator"
) -> "tuple[Tensor, Tensor]":
    """B x 3 x n grey levels and B x 3 light of the ground."""
    import torch

    flat = batch.flatten(2)
    if mask is None:
        sample = pick(flat, sample_columns(flat.shape[2], size, generator))
        light = _light(
            as_bytes(sample[:, :, ::LIGHT_STEP] if sample.shape[2] > LIGHT_STEP * 1024 else sample)
        )
    else:
        # The ground is looked for in the whole image; the stains under the mask.
        light = _light(as_bytes(pick(flat, sample_columns(flat.shape[2], size, generator))))
        picked = []
        for i in range(len(flat)):
            inside = torch.nonzero(mask[i].flatten()).flatten()
            spots = torch.randint(len(inside), (size,), generator=generator).to(inside.device)
            picked.append(flat[i].index_select(1, inside[spots]))
        sample = torch.stack(picked)
    levels = sample.to(torch.float32) * (1 if sample.dtype == torch.uint8 else BYTE)
    return levels.clamp_(min=DARKEST_LEVEL), light.to(levels.device)


def pick(flat: "Tensor", columns: "Tensor") -> "Tensor":
    """``flat[:, :, columns]``. On a CPU numpy takes bytes ten times faster than torch."""
    import torch

    if flat.device.type == "cpu":
        return torch.from_numpy(np.take(flat.numpy(), columns.numpy(), axis=2))
    return flat.index_select(2, columns.to(flat.device))


def _light(sample: "Tensor") -> "Tensor":
    import torch

    pixels = np.ascontiguousarray(sample.movedim(1, 2).cpu().numpy())
    return torch.from_numpy(np.stack([ground_light(one) for one in pixels])).clamp_(min=DARKEST_LEVEL)


def flag_samples(levels: "Tensor", light: "Tensor", density: "Tensor") -> list[str]:
    """Per image: empty, or why its stains are not measured but taken as typical."""
    brightest = levels.amax(1)
    spread = (brightest - levels.amin(1)).amax(1).tolist()
    stained = (density.sum(1) > FAINT).sum(1).tolist()
    black = (brightest <= 3).float().mean(1).tolist()
    dim = (light.amax(1) < DIMMEST_LIGHT).tolist()
    constant = (levels == levels[:, :, :1]).all(2).all(1).tolist()
    flags = []
    for i in range(len(levels)):
        if black[i] > 0.5 or dim[i]:
            flags.append("too dark")
        elif constant[i]:
            flags.append("constant")
        elif spread[i] <= 2:
            flags.append("no colour")
        elif stained[i] < FEWEST:
            flags.append("no stain")
        else:
            flags.append("")
    return flags


def dictionary_of(
    density: "Tensor", stains: int, iterations: int, sparsity: float
) -> "tuple[Tensor, Tensor, Tensor]":
    """B x 3 x K unit columns, B x K scales and B x K x n concentrations of B x 3 x n densities, none below
    zero."""
    import torch

    total = density.sum(1)
    dense = rising(total)[:, total.shape[1] - 1 - int(TOP * total.shape[1])]
    chosen = total > (FOREGROUND * dense).clamp(min=FAINT)[:, None]
    w = scale = h = torch.empty(0)
    for step in range(ROUNDS):
        chosen = torch.where(chosen.sum(1, keepdim=True) < FEWEST, torch.ones_like(chosen), chosen)
        w = _edges(density, chosen, stains)
        if step == ROUNDS - 1:
            w = _unit(torch.lerp(w, _updates(w, density * chosen[:, None], iterations, sparsity), PULL))
        h = solve(w, density)
        scale = top_of(h, chosen)
        chosen = ((h / scale[:, :, None]).amax(1) > STAINED) & (total > FAINT)
    return w, scale, h


def nuclear_first(w: "Tensor", h: "Tensor") -> "Tensor":
    """B x K: the order of the stains, by how dense the pixels are that hold each. A smear is densest in its
    nuclei. Blue light does not count: red cells and yellow grounds take most of it."""
    import torch

    dense = (h @ h.mT) @ (w[:, 0] + w[:, 1])[:, :, None]
    return torch.argsort(dense[..., 0] / h.sum(2).clamp_(min=EPS), dim=1, descending=True, stable=True)


def top_of(h: "Tensor", chosen: "Tensor") -> "Tensor":
    """What 1 % of the chosen exceed, per stain: B x K."""
    ranked = rising(h.masked_fill(~chosen[:, None], -1))
    place = h.shape[2] - 1 - (chosen.sum(1) * TOP).long()
    return ranked.gather(2, place[:, None, None].expand(-1, h.shape[1], 1))[..., 0].clamp_(min=1e-3)


def rising(values: "Tensor") -> "Tensor":
    """Sorted along the last axis. On a CPU numpy sorts floats several times faster than torch, and where many
    are equal faster than it finds the one at a place."""
    import torch

    if values.device.type == "cpu":
        return torch.from_numpy(np.sort(values.numpy(), axis=-1))
    return values.sort(dim=-1).values


def _edges(density: "Tensor", chosen: "Tensor", stains: int) -> "Tensor":
    """The cone's edges, the redder one first; a third stain is what stands furthest off their plane."""
    import torch

    inside = density * chosen[:, None]
    axes = torch.linalg.eigh(inside @ inside.mT)[1].flip(2)  # columns by falling strength
    axes = axes * torch.where(axes.sum(1) < 0, -1.0, 1.0)[:, None]
    side = axes[:, :, 1] * torch.where(axes[:, 0, 1] < 0, -1.0, 1.0)[:, None]
    main = axes[:, :, 0]
    x, y = (torch.einsum("bc,bcn->bn", axis, density) for axis in (main, side))
    angle = rising(torch.atan2(y, x).masked_fill(~chosen, torch.inf))
    count = chosen.sum(1)
    places = torch.stack([((count - 1) * (1 - EDGE)).long(), ((count - 1) * EDGE).long()], 1)
    found = angle.gather(1, places)
    columns = main[:, :, None] * found.cos()[:, None] + side[:, :, None] * found.sin()[:, None]
    if stains == 3:
        columns = torch.cat([columns, _off_plane(density, chosen, axes[:, :, 2])], 2)
    return _unit(columns.clamp_(min=1e-4))


def _off_plane(density: "Tensor", chosen: "Tensor", normal: "Tensor") -> "Tensor":
    import torch

    off = torch.einsum("bc,bcn->bn", normal, density) / density.norm(dim=1).clamp_(min=EPS)
    off = off.masked_fill(~chosen, 0)
    rank = max(1, off.shape[1] // 50)
    ends = torch.cat([off.topk(rank, dim=1).indices, off.topk(rank, dim=1, largest=False).indices], 1)
    picked = density.gather(2, ends[:, None].expand(-1, 3, -1))
    up, down = picked[:, :, :rank].mean(2), picked[:, :, rank:].mean(2)
    strength = off.gather(1, ends).abs()
    upper = strength[:, :rank].mean(1) >= strength[:, rank:].mean(1)
    return torch.where(upper[:, None], up, down)[:, :, None]


def _updates(w: "Tensor", v: "Tensor", iterations: int, sparsity: float) -> "Tensor":
    """The published updates, concentrations from ones: they draw the edges in to where most pixels are."""
    import torch

    h = torch.ones(len(v), w.shape[2], v.shape[2], device=v.device)
    for _ in range(iterations):
        h.mul_(w.mT @ v).div_(((w.mT @ w) @ h).add_(sparsity + EPS))
        w = _unit(w * (v @ h.mT) / (w @ (h @ h.mT) + EPS))
    return w


def _unit(columns: "Tensor") -> "Tensor":
    unit: Tensor = columns / columns.norm(dim=1, keepdim=True).clamp_(min=EPS)
    return unit


def solver(w: "Tensor") -> "Tensor":
    """B x 2K x 3: above, the unconstrained concentrations; below, those of each stain alone."""
    import torch

    gram = w.mT @ w + RIDGE * torch.eye(w.shape[2], device=w.device)
    return torch.cat([torch.linalg.solve(gram, w.mT), w.mT], 1)


def solve(w: "Tensor", v: "Tensor") -> "Tensor":
    """B x K x n concentrations, none below zero: least squares, exactly for two stains.

    With w and v not below zero, a stain alone explains more than the same stain beside another: clamping the
    free solution between 0 and "alone" is the constrained optimum for two, and bounds the concentrations
    however close the two stains are. Three stains take a few sweeps, one stain at a time.
    """
    import torch

    k = w.shape[2]
    both = solver(w) @ v
    alone = both[:, k:].clamp_(min=0)
    h = torch.minimum(both[:, :k].clamp_(min=0), alone)
    return h if k == 2 else sweep(h, alone, w.mT @ w)


def sweep(h: "Tensor", alone: "Tensor", gram: "Tensor", sweeps: int = 6) -> "Tensor":
    """Coordinate descent on the concentrations."""
    for _ in range(sweeps):
        for i in range(h.shape[1]):
            others = (gram[:, i, :, None] * h).sum(1) - gram[:, i, i, None] * h[:, i]
            h[:, i] = (alone[:, i] - others).clamp_(min=0)
    return h
