"""Which cells to look at next: doubtful ones, unlike each other and unlike those already looked at.

A cell's weight is its doubt (how close its two best classes are) times its squared distance to the nearest
chosen cell, times how rare its class seems to be. Cells are drawn one after the other, as k-means++ draws its
centres.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.classify.classifier import Classifier
from napari_bloodcell.core.config import ClassifyConfig, SuggestConfig
from napari_bloodcell.core.errors import ClassifyError
from napari_bloodcell.core.records import Embeddings

SUREST = 0.05  # weight of a cell without any doubt: a model can be sure and wrong


def suggest(
    classifier: Classifier,
    cells: Embeddings,
    looked_at: Sequence[bool] | None = None,
    config: SuggestConfig = SuggestConfig(),
) -> NDArray[np.int32]:
    """Ids of the cells to look at next, the most telling first; fewer where fewer are left."""
    done = np.zeros(len(cells), np.bool_) if looked_at is None else np.asarray(looked_at, np.bool_)
    if len(done) != len(cells):
        raise ClassifyError(f"{len(done)} marks for {len(cells)} cells. Mark each cell: seen or not.")
    left = np.flatnonzero(~done)
    if not len(left):
        return np.zeros(0, np.int32)
    predictions = classifier.predict(cells, ClassifyConfig(min_probability=0, max_distance=1_000))
    ready = classifier.standardise(cells.values)
    weight = _doubt(predictions.probabilities[left]) ** (6 * (1 - config.diversity))
    weight *= np.sqrt(_rarity(predictions.probabilities[left]))
    rng = np.random.default_rng(config.seed)
    chosen = _draw(ready[left], ready[done], weight, config, rng)
    return cells.cell_id[left[chosen]]


def _doubt(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    best = np.sort(probabilities.astype(np.float64), axis=1)[:, ::-1]
    return 1 - (best[:, 0] - best[:, 1]) + SUREST


def _rarity(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    """High for cells of classes that few cells seem to be of."""
    share = np.maximum(probabilities.sum(axis=0, dtype=np.float64), 1)
    rarity: NDArray[np.float64] = probabilities @ (1 / share)
    return rarity


def _draw(
    points: NDArray[np.float32],
    seen: NDArray[np.float32],
    weight: NDArray[np.float64],
    config: SuggestConfig,
    rng: np.random.Generator,
) -> list[int]:
    nearest = np.full(len(points), np.inf)
    for point in seen:
        nearest = np.minimum(nearest, ((points - point) ** 2).sum(axis=1))
    chosen: list[int] = []
    free = np.ones(len(points), np.bool_)
    for _ in range(min(config.cells, len(points))):
        spread = nearest ** (2 * config.diversity) if np.isfinite(nearest).all() else np.ones(len(points))
        score = np.where(free, weight * spread + 1e-12, 0)
        pick = int(rng.choice(len(points), p=score / score.sum()))
        chosen.append(pick)
        free[pick] = False
        nearest = np.minimum(nearest, ((points - points[pick]) ** 2).sum(axis=1))
    return chosen
