"""What SADA minimises. Views come as V x B x ...: V views of each of B cells. All in float32."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from napari_bloodcell.core.embed.sada.precision import in_float32

NEVER = -1e9  # as good as minus infinity, and its gradient is a number


@in_float32
def proxy_contrast(vectors: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """InfoNCE of proxies against all views. A cell's proxy is the mean of its V unit vectors (V x B x D);
    its positives are the views of all cells of its class, its own among them."""
    vectors = vectors.float()
    views, cells = vectors.shape[:2]
    scores = vectors.mean(0) @ vectors.flatten(0, 1).T / temperature
    same = (labels[:, None] == labels[None]).repeat(1, views)
    log_share = F.log_softmax(scores, dim=1)
    per_cell = (log_share * same).sum(1) / same.sum(1)
    return -per_cell.sum() / cells


@in_float32
def supcon(vectors: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Supervised contrast over all V x B views; a view is no pair of itself. A view without a partner of its
    class does not count."""
    flat = vectors.float().flatten(0, 1)
    every = labels.repeat(vectors.shape[0])
    itself = torch.eye(len(flat), dtype=torch.bool, device=flat.device)
    scores = (flat @ flat.T / temperature).masked_fill(itself, NEVER)
    same = (every[:, None] == every[None]) & ~itself
    log_share = F.log_softmax(scores, dim=1).masked_fill(~same, 0)
    partners = same.sum(1)
    counts = partners > 0
    per_view = log_share.sum(1) / partners.clamp(min=1)
    return -(per_view * counts).sum() / counts.sum().clamp(min=1)


@in_float32
def local_alignment(maps: Tensor) -> Tensor:
    """Mean over the other views of the squared difference from the first: V x B x C x H x W, each place
    normalised over its channels."""
    ready = F.normalize(maps.float(), dim=2)
    if len(ready) == 1:
        return ready.new_zeros(())
    return (ready[1:] - ready[:1]).square().mean()


@in_float32
def adjusted_cross_entropy(logits: Tensor, labels: Tensor, log_shares: Tensor, strength: float) -> Tensor:
    """Cross-entropy of logits that are lifted where a class is frequent, so that what is learnt beside the
    lift treats classes as equally frequent. Strength 0 is the plain one."""
    return F.cross_entropy(logits.float() + strength * log_shares, labels)


@in_float32
def coral(features: Tensor, labs: Tensor) -> Tensor:
    """Mean over the pairs of labs of the squared distances between their means and covariances."""
    moments = []
    for lab in torch.unique(labs):
        own = features[labs == lab].float()
        centred = own - own.mean(0)
        moments.append((own.mean(0), centred.T @ centred / max(len(own) - 1, 1)))
    pulls = [
        (mean_a - mean_b).square().mean() + (cov_a - cov_b).square().mean()
        for i, (mean_a, cov_a) in enumerate(moments)
        for mean_b, cov_b in moments[i + 1 :]
    ]
    return torch.stack(pulls).mean() if pulls else features.new_zeros(())
