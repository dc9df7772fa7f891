"""An image in the stain of another image, slide or lab.

A pixel's density above the ground is W h plus a rest the stains do not explain. The restained density is
W' D h plus some of the rest plus the new ground: D scales each stain to the new lab's strength. With the
profile an image has already, that is the image itself. One small matrix does it, for any number of views.
"""

from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.core.config import StainConfig, TransferConfig
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.stain.profile import StainProfile, points_of
from napari_bloodcell.core.stain.sampled import solver, sweep
from napari_bloodcell.core.stain.separate import measure
from napari_bloodcell.core.stain.tensors import BYTE, as_batch, levels_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

STRETCH_PX = 1 << 15
FAR = 10.0  # profile distance from which on the rest is thinned all the way
MOST_SCALING = 16.0
APART = 0.01  # 1 - cosine between two stains, from which on they are told apart freely


@dataclass(frozen=True, kw_only=True, eq=False)
class Stains:
    """Profiles as tensors: N x 3 x K, N x 3, N x K."""

    dictionary: "Tensor"
    background: "Tensor"
    scale: "Tensor"

    def __len__(self) -> int:
        return len(self.dictionary)

    def take(self, rows: "Tensor") -> "Stains":
        return Stains(
            dictionary=self.dictionary[rows], background=self.background[rows], scale=self.scale[rows]
        )

    def in_order(self, order: "Tensor") -> "Stains":
        return Stains(
            dictionary=self.dictionary.gather(2, order[:, None].expand(-1, 3, -1)),
            background=self.background,
            scale=self.scale.gather(1, order),
        )

    def points(self) -> "np.ndarray[Any, np.dtype[np.float32]]":
        return points_of(*(t.cpu().numpy() for t in (self.dictionary, self.background, self.scale)))


def stains_of(profiles: "list[StainProfile]", device: "torch.device") -> Stains:
    import torch

    return Stains(
        dictionary=torch.from_numpy(np.stack([p.dictionary for p in profiles])).to(device),
        background=torch.from_numpy(np.stack([p.background for p in profiles])).to(device),
        scale=torch.from_numpy(np.stack([p.scale for p in profiles])).to(device),
    )


def transfer(
    images: Any,
    to: StainProfile,
    config: TransferConfig = TransferConfig(),
    *,
    source: StainProfile | None = None,
    stain: StainConfig = StainConfig(),
    progress: Progress = silent,
) -> Any:
    """Restain images, in the form they came in. ``source`` is the profile of their slide or lab; without it
    each image is measured alone, which needs some empty ground in the picture."""
    import torch

    batch, restore = as_batch(images)
    if source is not None:
        check_stains(source, to)
        start = stains_of([source] * len(batch), batch.device)
    else:
        stain = StainConfig.from_json(stain.to_json() | {"stains": to.stains})
        start = measured_stains(batch, stain)
    end = stains_of([to] * len(batch), batch.device)
    out = torch.empty((1, *batch.shape), dtype=batch.dtype, device=batch.device)
    restain(batch, start, [end], config, out, progress=progress)
    return restore(out[0])


def check_stains(source: StainProfile, to: StainProfile) -> None:
    if source.stains != to.stains:
        raise DataError(
            f"A profile of {source.stains} stains cannot become one of {to.stains}. "
            "Measure both with the same number of stains (--stains)."
        )


def measured_stains(batch: "Tensor", stain: StainConfig) -> Stains:
    found = measure(batch, stain)
    return Stains(dictionary=found.dictionary, background=found.background, scale=found.scale)


def restain(
    batch: "Tensor",
    start: Stains,
    ends: "list[Stains]",
    config: TransferConfig,
    out: "Tensor",
    *,
    progress: Progress = silent,
) -> None:
    """Each image towards each of its ends, into ``out`` (views x B x 3 x H x W)."""
    import torch

    k = start.dictionary.shape[2]
    recipes = [_recipe(start, end, config) for end in ends]
    mix = torch.cat([one[0] for one in recipes], 1)  # B x 3V x (3 + K)
    bias = torch.cat([one[1] for one in recipes], 1)[..., None]
    solve = solver(start.dictionary)
    gram = start.dictionary.mT @ start.dictionary
    shift = (float(np.log(BYTE)) - start.background)[..., None]
    for i, image in enumerate(batch):
        progress("Restaining", i, len(batch))
        flat = image.flatten(1)
        for a in range(0, flat.shape[1], STRETCH_PX):
            b = min(a + STRETCH_PX, flat.shape[1])
            v = torch.empty(3 + k, b - a, device=batch.device)
            torch.sub(shift[i], levels_of(flat[:, a:b]).log_(), out=v[:3])
            solved = torch.mm(solve[i], v[:3]).clamp_(min=0)
            torch.minimum(solved[:k], solved[k:], out=v[3:])
            if k > 2:
                v[3:] = sweep(v[None, 3:], solved[None, k:], gram[i, None])[0]
            light = torch.addmm(bias[i], mix[i], v).exp_().clamp_(max=BYTE)
            light = light.round_() if batch.dtype == torch.uint8 else light.div_(BYTE)
            out[:, i].flatten(2)[:, :, a:b] = light.view(len(ends), 3, -1)


def _recipe(start: Stains, end: Stains, config: TransferConfig) -> "tuple[Tensor, Tensor]":
    """B x 3 x (3 + K) and B x 3: -(restained density) + ln 255, from [density above the ground; h]."""
    import torch

    goal = _towards(start, end.in_order(partners(start, end)), config.strength)
    ratio = (goal.scale / start.scale).clamp_(1 / MOST_SCALING, MOST_SCALING)
    ratio = torch.where(ratio > 1, ratio**config.contrast, ratio)
    gap = torch.from_numpy(np.linalg.norm(goal.points() - start.points(), axis=1)).to(ratio.device)
    keep = (1 - (1 - config.residue) * (gap / FAR).clamp(max=1))[:, None, None]
    columns = _apart(start.dictionary, goal.dictionary) * ratio[:, None]
    mix = torch.cat([keep * torch.eye(3, device=ratio.device), columns - keep * start.dictionary], 2)
    return -mix, float(np.log(BYTE)) - goal.background


def partners(start: Stains, end: Stains) -> "Tensor":
    """B x K: which stain of the end each stain of the start becomes. The colours decide, by the pairing that
    moves them least, and not the names: a stain whose name was judged wrongly still finds its like."""
    import torch

    here, there = (one.dictionary * one.scale[:, None] for one in (start, end))
    moved = (here[:, :, :, None] - there[:, :, None]).norm(dim=1)
    orders = torch.tensor(list(permutations(range(here.shape[2]))), device=here.device)
    places = torch.arange(here.shape[2], device=here.device)
    best = torch.stack([moved[:, places, order].sum(1) for order in orders], 1).argmin(1)
    return orders[best]


def _towards(start: Stains, end: Stains, strength: float) -> Stains:
    import torch

    w = torch.lerp(start.dictionary, end.dictionary, strength)
    return Stains(
        dictionary=w / w.norm(dim=1, keepdim=True),
        background=torch.lerp(start.background, end.background, strength),
        scale=torch.exp(torch.lerp(start.scale.log(), end.scale.log(), strength)),
    )


def _apart(start: "Tensor", goal: "Tensor") -> "Tensor":
    """The goal's columns, drawn together where the start's nearly coincide: which of the two a pixel belongs
    to is then noise, and must not become two colours. Where start and goal are equal, nothing changes."""
    cosine = (start[:, :, 0] * start[:, :, 1]).sum(1)
    free = ((1 - cosine) / APART).clamp(0, 1)[:, None, None]
    pull = (goal.mean(2, keepdim=True) - goal) - (start.mean(2, keepdim=True) - start)
    return goal + (1 - free) * pull
