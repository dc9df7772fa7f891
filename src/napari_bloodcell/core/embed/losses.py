"""The terms BC-SAM and DoRL are trained with. Cells come first in every tensor; batches may lack a domain.

``domain`` numbers each cell's lab from 0; a negative number keeps the cell out of every alignment.
"""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

WINDOW_PX, SIGMA_PX = 11, 1.5
C1, C2 = 0.01**2, 0.03**2
BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the mean squared distance between cells


def ssim(one: Tensor, other: Tensor) -> Tensor:
    """Structural similarity of pictures B x C x H x W in 0..1, one number a picture.

    Gaussian window of 11 px, sigma 1.5, only where the whole window lies inside. The window is separable,
    so each filter is two products with a banded matrix; always in fp32.
    """
    with torch.autocast(one.device.type, enabled=False):
        x, y = one.float(), other.float()
        rows, columns = _window(x.shape[-2], x.device), _window(x.shape[-1], x.device)
        mean_x, mean_y, squares, product = (
            rows @ picture @ columns.T for picture in (x, y, x * x + y * y, x * y)
        )
        means, both = mean_x * mean_y, mean_x**2 + mean_y**2
        spread = squares - both  # the two variances together
        quality = (2 * means + C1) * (2 * (product - means) + C2) / ((both + C1) * (spread + C2))
        return quality.mean(dim=(1, 2, 3))


def _window(length: int, device: torch.device) -> Tensor:
    """length - 10 x length: each row holds the Gaussian, one place further."""
    offsets = torch.arange(WINDOW_PX, device=device) - WINDOW_PX // 2
    weights = torch.exp(-(offsets.float() ** 2) / (2 * SIGMA_PX**2))
    matrix = torch.zeros(length - WINDOW_PX + 1, length, device=device)
    places = torch.arange(len(matrix), device=device)
    matrix[places[:, None], places[:, None] + torch.arange(WINDOW_PX, device=device)] = (
        weights / weights.sum()
    )
    return matrix


def mean_discrepancy(vectors: Tensor, domain: Tensor, domains: int) -> Tensor:
    """Squared distance of the domains' means over the dimension, averaged over all pairs that are there.

    For two domains it is the "MMD" of the published code (a linear kernel).
    """
    vectors, member = vectors.float(), _members(domain, domains)
    counts = member.sum(0)
    means = (member.T @ vectors) / counts.clamp(min=1)[:, None]
    return _over_pairs(_squared(means, means) / vectors.shape[1], counts > 0)


def kernel_discrepancy(vectors: Tensor, domain: Tensor, domains: int) -> Tensor:
    """Squared maximum mean discrepancy under a sum of Gaussian kernels, averaged over all pairs."""
    vectors, member = vectors.float(), _members(domain, domains)
    counts = member.sum(0)
    squared = _squared(vectors, vectors)
    inside = member.sum(1)
    typical = (inside @ squared @ inside) / (inside.sum() * (inside.sum() - 1)).clamp(min=1)
    scale = typical.detach().clamp(min=1e-12)
    kernel = torch.stack([torch.exp(-squared / (scale * b)) for b in BANDWIDTHS]).mean(0)
    within = (member.T @ kernel @ member) / (counts[:, None] * counts[None]).clamp(min=1)
    diagonal = within.diagonal()
    return _over_pairs(diagonal[:, None] + diagonal[None] - 2 * within, counts > 0)


def covariance_discrepancy(vectors: Tensor, domain: Tensor, domains: int) -> Tensor:
    """Squared distance of the domains' covariances over 4 d² (deep CORAL), averaged over all pairs."""
    vectors, member = vectors.float(), _members(domain, domains)
    counts, d = member.sum(0), vectors.shape[1]
    means = (member.T @ vectors) / counts.clamp(min=1)[:, None]
    centred = (vectors - member @ means)[None] * member.T[:, :, None]
    covariance = centred.transpose(1, 2) @ centred / (counts - 1).clamp(min=1)[:, None, None]
    return _over_pairs(_squared(covariance.flatten(1), covariance.flatten(1)) / (4 * d * d), counts > 1)


def conditional_discrepancy(vectors: Tensor, domain: Tensor, domains: int, share: Tensor) -> Tensor:
    """The mean discrepancy within each class, weighted by how much of the class the rarer domain holds.

    ``share``: B x C, how much each cell belongs to each class (labels, clusters or pseudo-labels).
    """
    vectors, member = vectors.float(), _members(domain, domains)
    weights = torch.einsum("bk,bc->ckb", member, share.float())
    amount = weights.sum(2)  # C x K
    means = (weights @ vectors) / amount.clamp(min=1e-6)[..., None]
    squared = ((means[:, :, None] - means[:, None]) ** 2).mean(-1)  # C x K x K
    pairs = torch.triu(torch.minimum(amount[:, :, None], amount[:, None]), diagonal=1)
    return (squared * pairs).sum() / pairs.sum().clamp(min=1e-6)


def token_error(made: Tensor, tokens: Tensor, kept: Tensor | None = None) -> Tensor:
    """Mean squared error over all tokens B x L x D (as published), or over those not ``kept`` (B x L)."""
    if kept is None:
        return F.mse_loss(made.float(), tokens.float())
    each = ((made.float() - tokens.float()) ** 2).mean(-1)
    hidden = (~kept).float()
    return (each * hidden).sum() / hidden.sum().clamp(min=1)


def _members(domain: Tensor, domains: int) -> Tensor:
    """B x K, one where the cell is of the domain."""
    return (domain[:, None] == torch.arange(domains, device=domain.device)).float()


def _squared(one: Tensor, other: Tensor) -> Tensor:
    """Squared distances between rows; written out, so that equal rows have a gradient too."""
    return ((one[:, None] - other[None]) ** 2).sum(-1)


def _over_pairs(values: Tensor, there: Tensor) -> Tensor:
    """Mean of K x K over the pairs of different domains that are both there; 0 where there is no pair."""
    pairs = torch.triu(there[:, None] & there[None], diagonal=1)
    return (values * pairs).sum() / pairs.sum().clamp(min=1)
