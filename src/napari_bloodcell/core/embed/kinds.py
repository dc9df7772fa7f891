"""Kinds of cell found without labels, for aligning like with like."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.embed.training_cells import PIECE, TrainingCells

COMPONENTS = 16
SHARPNESS = 2.0  # how clearly a cell belongs to its nearest kind


def with_kinds(cells: TrainingCells, count: int, seed: int) -> TrainingCells:
    """The same cells with ``share``: clusters of their mean tokens, each lab centred and scaled by itself
    first, so that clusters are kinds of cell and not labs."""
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    mean = np.concatenate(
        [
            cells.store.read_tokens(cells.rows[start : start + PIECE]).astype(np.float32).mean(axis=(2, 3))
            for start in range(0, len(cells), PIECE)
        ]
    )
    ready = standardised(mean, cells.domain)
    few = PCA(min(COMPONENTS, *ready.shape), random_state=seed).fit_transform(ready)
    centres = KMeans(min(count, len(few)), n_init=4, random_state=seed).fit(few).cluster_centers_
    squared = ((few[:, None] - centres[None]) ** 2).sum(-1)
    closeness = -SHARPNESS * squared / np.maximum(squared.min(1).mean(), 1e-6)
    share = np.exp(closeness - closeness.max(1, keepdims=True))
    return replace(cells, share=(share / share.sum(1, keepdims=True)).astype(np.float32))


def standardised(values: NDArray[np.float32], domain: NDArray[np.int64]) -> NDArray[np.float32]:
    """Mean 0 and spread 1 of every column in every lab."""
    out = np.empty_like(values)
    for one in np.unique(domain):
        own = values[domain == one]
        spread = own.std(axis=0)
        out[domain == one] = (own - own.mean(axis=0)) / np.where(spread > 1e-6, spread, 1)
    return out
