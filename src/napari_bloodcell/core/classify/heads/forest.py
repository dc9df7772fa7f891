"""A random forest: the mean of what its trees' leaves say."""

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.classify.heads import trees
from napari_bloodcell.core.classify.heads.base import Floats, Head, in_blocks
from napari_bloodcell.core.config import ClassifierConfig

WORTH_THREADS = 2_000  # cells; below, threads gain nothing, and scikit-learn warns where they race
LEAST = 1e-6  # share of trees a class is given that has none: its logarithm must be finite


class ForestHead(Head):
    names: ClassVar[tuple[str, ...]] = (*trees.NAMES, "shares")

    @classmethod
    def fit(
        cls, ready: Floats, truths: NDArray[np.int32], weights: NDArray[Any], config: ClassifierConfig
    ) -> Self:
        from sklearn.ensemble import RandomForestClassifier

        model = RandomForestClassifier(
            config.trees,
            max_depth=config.depth,
            random_state=config.seed,
            n_jobs=-1 if len(ready) > WORTH_THREADS else 1,
        )
        model.fit(ready, truths, sample_weight=weights)
        grown = [one.tree_ for one in model.estimators_]
        shares = np.concatenate([tree.value[:, 0, :] for tree in grown])
        shares = shares / shares.sum(axis=1, keepdims=True)
        return cls(trees.join([_flat(tree) for tree in grown]) | {"shares": shares.astype(np.float32)})

    def scores(self, ready: Floats) -> Floats:
        return in_blocks(self._score, ready, self.arrays["shares"].shape[1], trees.BLOCK)

    def _score(self, ready: Floats) -> Floats:
        shares = self.arrays["shares"]
        total = np.zeros((len(ready), shares.shape[1]), np.float32)
        for leaf in trees.leaves(self.arrays, ready):
            total += shares.take(leaf, axis=0)
        result: Floats = np.log(total / len(self.arrays["roots"]) + LEAST)
        return result

    def fits(self, width: int, classes: int) -> bool:
        shapes = self.arrays["shares"].shape == (len(self.arrays["feature"]), classes)
        return shapes and trees.fit_each_other(self.arrays, width)


def _flat(tree: Any) -> dict[str, NDArray[Any]]:
    """scikit-learn goes left where x <= t, x being float32; we where x < the next float32 above t."""
    threshold = tree.threshold.astype(np.float32)
    threshold = np.where(threshold > tree.threshold, np.nextafter(threshold, np.float32(-np.inf)), threshold)
    return {
        "feature": tree.feature,
        "below": np.nextafter(threshold, np.float32(np.inf)),
        "left": tree.children_left,
        "right": tree.children_right,
    }
