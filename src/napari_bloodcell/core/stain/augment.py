"""Restained views for training: same cells, same geometry, the stain of another lab.

``sada`` takes the other stains from the batch itself (arXiv 2412.02976, section on stain-based augmentation):
the images are sorted into groups of stains, and each view has the stain of a random image of another group.
``random`` draws from the spread of profiles. The caller's generator decides; the global one is not touched.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.core.config import ClusterConfig, StainAugmentConfig, StainConfig, TransferConfig
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.stain.cluster import kmeans
from napari_bloodcell.core.stain.profile import StainProfile
from napari_bloodcell.core.stain.tensors import as_batch
from napari_bloodcell.core.stain.transfer import Stains, measured_stains, restain, stains_of
from napari_bloodcell.core.words import how_many

if TYPE_CHECKING:
    import torch
    from torch import Tensor

RESTARTS = 2  # of k-means; groups of a batch need not be the best there are
LEAST_PROFILES = 2


def augment(
    images: Any,
    config: StainAugmentConfig = StainAugmentConfig(),
    *,
    generator: "torch.Generator | int" = 0,
    profiles: Sequence[StainProfile] = (),
    stain: StainConfig = StainConfig(),
    how: TransferConfig = TransferConfig(),
) -> Any:
    """Views x B x the form the images came in. ``profiles`` are what ``random`` draws from (else the batch's
    own); ``generator`` is a torch generator on the CPU, or a seed."""
    import torch

    batch, restore = as_batch(images)
    dice = torch.Generator().manual_seed(generator) if isinstance(generator, int) else generator
    start = measured_stains(batch, stain)
    if config.kind == "sada":
        partners = other_stains(start, config, dice)
        ends = [start.take(row) for row in partners]
    else:
        known = stains_of(list(profiles), batch.device) if profiles else start
        ends = [draw(known, len(batch), config.spread, dice) for _ in range(config.views)]
    out = torch.empty((config.views, *batch.shape), dtype=batch.dtype, device=batch.device)
    restain(batch, start, ends, how, out)
    restored = [restore(view) for view in out] if not isinstance(images, torch.Tensor) else None
    if restored is not None:
        return np.stack(restored)
    return out[:, 0] if images.ndim == 3 else out


def other_stains(start: Stains, config: StainAugmentConfig, dice: "torch.Generator") -> "Tensor":
    """Views x B: whose stain each view of each image takes. The views of an image go through the other groups
    in turn, from a random one on."""
    import torch

    n = len(start)
    if n < config.clusters:
        raise DataError(
            f"{how_many(n, 'image')} cannot make {config.clusters} groups of stains. "
            f"Give batches of at least {config.clusters} images, or ask for fewer groups."
        )
    seed = int(torch.randint(2**31 - 1, (1,), generator=dice))
    search = ClusterConfig(clusters=config.clusters, restarts=RESTARTS, seed=seed)
    labels = kmeans(start.points().astype(np.float64), config.clusters, search)[0]
    groups = [np.flatnonzero(labels == c) for c in np.unique(labels)]
    own = {int(i): g for g, members in enumerate(groups) for i in members}
    luck = torch.rand(config.views + 1, n, generator=dice).numpy()
    chosen = np.empty((config.views, n), np.int64)
    for i in range(n):
        others = [g for j, g in enumerate(groups) if j != own[i]] or groups
        first = int(luck[-1, i] * len(others))
        for view in range(config.views):
            members = others[(first + view) % len(others)]
            chosen[view, i] = members[int(luck[view, i] * len(members))]
    return torch.from_numpy(chosen).to(start.scale.device)


def draw(known: Stains, n: int, spread: float, dice: "torch.Generator") -> Stains:
    """Profiles from the normal distribution of the known ones, held to what a stain can be."""
    import torch

    if len(known) < LEAST_PROFILES:
        raise DataError(
            f"Random stains are drawn from the spread of profiles, and there is {len(known)}. "
            "Give the profiles of at least two labs, or a batch of images."
        )
    k = known.scale.shape[1]
    flat = torch.cat([known.dictionary.flatten(1), known.background, known.scale.log()], 1).cpu().double()
    mean = flat.mean(0)
    deviations = (flat - mean) / (len(flat) - 1) ** 0.5
    # A normal draw without a covariance to factorise: random weights of the deviations themselves.
    weights = torch.randn(n, len(flat), generator=dice, dtype=torch.float64)
    drawn = (mean + spread * (weights @ deviations)).float().to(known.scale.device)
    w = drawn[:, : 3 * k].unflatten(1, (3, k)).clamp_(min=1e-4)
    low, high = flat[:, -k:].min(0).values.float(), flat[:, -k:].max(0).values.float()
    room = (1 + spread) * (high - low) + 1e-3
    middle = (low + high) / 2
    scale = drawn[:, -k:].clamp_((middle - room).to(w.device), (middle + room).to(w.device)).exp()
    return Stains(
        dictionary=w / w.norm(dim=1, keepdim=True),
        background=drawn[:, 3 * k : 3 * k + 3].clamp_(0, 2),
        scale=scale,
    )
