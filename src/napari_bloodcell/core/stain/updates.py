"""The published updates of the sparse factorisation (SADA, arXiv 2412.02976), plainly and fast.

min |V - WH|^2 + l1 |H|, W and H not below zero, unit columns of W; W starts at the 0.5 and 1.0 quantiles of
the density, H at ones; ten multiplicative updates.

``fused`` gives the same numbers: an update of W needs only sums over pixels, and pixels of nearly one colour
count as one, so the ten dictionaries come from a histogram of colours; the concentrations then pass all ten
updates in one go, a stretch of pixels that fits the cache at a time.
"""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.stain.tensors import BYTE, DARKEST_LEVEL, as_bytes, levels_of

if TYPE_CHECKING:
    from torch import Tensor

BACKGROUND = 0.01  # quantile of the density that is called background
EPS = 1e-8
BITS = 5  # of each channel, in the histogram of colours
STRETCH_PX = 1 << 14


def start_quantiles(stains: int) -> list[float]:
    return [0.5, 1.0] if stains == 2 else [0.5, 0.75, 1.0]


def exact(image: "Tensor", stains: int, iterations: int, sparsity: float) -> "tuple[Tensor, Tensor, Tensor]":
    """Background (3), dictionary (3 x K) and concentrations (K x n) of one image, 3 x H x W."""
    import torch

    density = -torch.log(levels_of(image.flatten(1)) / BYTE)
    background = _quantile(density, BACKGROUND)
    v = (density - background[:, None]).clamp_(min=0)
    w = _unit(torch.stack([_quantile(v, q) for q in start_quantiles(stains)], 1) + EPS)
    h = torch.ones(stains, v.shape[1], device=v.device)
    for _ in range(iterations):
        h = h * (w.T @ v) / ((w.T @ w) @ h + (sparsity + EPS))
        w = _unit(w * (v @ h.T) / (w @ (h @ h.T) + EPS))
    return background, w, h


def fused(
    image: "Tensor", stains: int, iterations: int, sparsity: float, *, compiled: bool = False
) -> "tuple[Tensor, Tensor, Tensor]":
    """The same as ``exact``, to 1 % of the density."""
    import torch

    background, path = _path(as_bytes(image), stains, iterations, sparsity)
    h = torch.empty(stains, image[0].numel(), device=image.device)
    replay = _compiled_replay() if compiled else _replay
    steps, shift = path[:-1].to(image.device), torch.log(torch.tensor(BYTE)) - background
    shift = shift.to(image.device)[:, None]
    flat = image.flatten(1)
    for start in range(0, flat.shape[1], STRETCH_PX):
        stop = min(start + STRETCH_PX, flat.shape[1])
        v = levels_of(flat[:, start:stop]).log_().neg_().add_(shift).clamp_(min=0)
        h[:, start:stop] = replay(v, steps, sparsity + EPS)
    return background.to(image.device), path[-1].to(image.device), h


def _path(image: "Tensor", stains: int, iterations: int, sparsity: float) -> "tuple[Tensor, Tensor]":
    """Background and the dictionary before each update and after the last, T + 1 x 3 x K."""
    import torch

    channels = image.flatten(1).cpu().numpy()
    counts = [np.bincount(channel, minlength=256) for channel in channels]
    level_density = -np.log(np.maximum(np.arange(256), DARKEST_LEVEL) / BYTE)
    background = np.array([_quantile_of_counts(level_density, c, BACKGROUND) for c in counts])
    tables = np.maximum(level_density - background[:, None], 0)
    columns = [
        [_quantile_of_counts(table, c, q) for table, c in zip(tables, counts, strict=True)]
        for q in start_quantiles(stains)
    ]
    w = np.array(columns).T + EPS
    w /= np.linalg.norm(w, axis=0)
    v, weight = _colours(channels, tables)
    path, h = [w], np.ones((stains, len(weight)))
    for _ in range(iterations):
        h = h * (w.T @ v) / ((w.T @ w) @ h + (sparsity + EPS))
        weighed = h * weight
        w = w * (v @ weighed.T) / (w @ (h @ weighed.T) + EPS)
        w = w / (np.linalg.norm(w, axis=0) + EPS)
        path.append(w)
    steps = torch.from_numpy(np.stack(path).astype(np.float32))
    return torch.from_numpy(background.astype(np.float32)), steps


def _colours(
    channels: NDArray[np.uint8], tables: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean density (3 x n) and number of pixels of each colour that occurs."""
    coarse = (channels >> (8 - BITS)).astype(np.int32)
    index = (coarse[0] << (2 * BITS)) | (coarse[1] << BITS) | coarse[2]
    count = np.bincount(index, minlength=1 << (3 * BITS))
    there = np.flatnonzero(count)
    weight = count[there].astype(np.float64)
    sums = [np.bincount(index, tables[c][channels[c]], 1 << (3 * BITS))[there] for c in range(3)]
    return np.stack(sums) / weight, weight


def _quantile_of_counts(values: NDArray[np.float64], counts: NDArray[np.intp], q: float) -> float:
    """The quantile, linear between neighbours, of values that fall with the level."""
    rising, upto = values[::-1], np.cumsum(counts[::-1])
    place = q * (upto[-1] - 1)
    low = int(np.searchsorted(upto, np.floor(place), side="right"))
    high = int(np.searchsorted(upto, np.ceil(place), side="right"))
    part = place - np.floor(place)
    return float(rising[low] * (1 - part) + rising[high] * part)


def _replay(v: "Tensor", steps: "Tensor", sparsity: float) -> "Tensor":
    """All updates of the concentrations, the dictionaries known: K x n."""
    import torch

    stains = steps.shape[2]
    gram = steps.mT @ steps
    numerators = steps.mT.reshape(-1, 3) @ v
    h = torch.ones(stains, v.shape[1], device=v.device)
    for t in range(len(steps)):
        below = torch.mm(gram[t], h).add_(sparsity)
        h.mul_(numerators[t * stains : (t + 1) * stains]).div_(below)
    return h


def _replay_two(v: "Tensor", steps: "Tensor", sparsity: float) -> "Tensor":
    """The same for two stains, written for a compiler: one loop over pixels, all in registers."""
    import torch

    r, g, b = v[0], v[1], v[2]
    first, second = torch.ones_like(r), torch.ones_like(r)
    for t in range(steps.shape[0]):
        w = steps[t]
        p, q = w[:, 0], w[:, 1]
        pp, pq, qq = (p * p).sum(), (p * q).sum(), (q * q).sum()
        up, uq = p[0] * r + p[1] * g + p[2] * b, q[0] * r + q[1] * g + q[2] * b
        lower = pp * first + pq * second + sparsity
        other = pq * first + qq * second + sparsity
        first, second = first * up / lower, second * uq / other
    return torch.stack([first, second])


@cache
def _compiled_replay() -> "Callable[..., Tensor]":
    """The compiled loop; the plain one, with a warning, where nothing here can compile."""
    import warnings

    import torch

    fast = torch.compile(_replay_two, dynamic=True)

    def replay(v: "Tensor", steps: "Tensor", sparsity: float) -> "Tensor":
        return fast(v, steps, sparsity) if steps.shape[2] == 2 else _replay(v, steps, sparsity)

    try:
        fast(torch.rand(3, 64), torch.rand(2, 3, 2), EPS)
    except Exception as error:  # noqa: BLE001 (the compiler of torch raises anything)
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        warnings.warn(
            f"torch cannot compile here ({reason[:200]}); fused runs uncompiled, with the same result. "
            "Install a C++ compiler (g++), or leave 'compiled' off.",
            stacklevel=2,
        )
        return _replay
    return replay


def _quantile(values: "Tensor", q: float) -> "Tensor":
    """Of each row; torch.quantile refuses rows above 16.7 million values, sorting does not."""
    import torch

    ranked = values.sort(dim=1).values
    place = q * (values.shape[1] - 1)
    low = int(place)
    high = min(low + 1, values.shape[1] - 1)
    found: Tensor = torch.lerp(ranked[:, low], ranked[:, high], place - low)
    return found


def _unit(columns: "Tensor") -> "Tensor":
    unit: Tensor = columns / (columns.norm(dim=0, keepdim=True) + EPS)
    return unit
