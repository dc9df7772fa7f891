"""A random forest as flat arrays: the nodes of all trees behind each other, in the order they were grown.

A node's left child is the next node; its right child is in ``right``. A leaf has itself as right child and a
threshold that nothing lies below, so a cell that arrives early stays.
"""

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.classify.heads.base import Floats, Head, in_blocks
from napari_bloodcell.core.config import ClassifierConfig

LEAST = 1e-6  # share of trees a class is given that has none: its logarithm must be finite
DEEPEST = 64
BLOCK = 16_384  # cells scored at a time: each tree is walked once a block


class ForestHead(Head):
    names: ClassVar[tuple[str, ...]] = ("feature", "below", "right", "shares", "roots", "depth")

    @classmethod
    def fit(
        cls, ready: Floats, truths: NDArray[np.int32], weights: NDArray[Any], config: ClassifierConfig
    ) -> Self:
        from sklearn.ensemble import RandomForestClassifier

        model = RandomForestClassifier(
            config.trees, max_depth=config.depth, random_state=config.seed, n_jobs=-1
        )
        model.fit(ready, truths, sample_weight=weights)
        trees = [one.tree_ for one in model.estimators_]
        sizes = [tree.node_count for tree in trees]
        roots = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        parts = [_flat(tree, int(root)) for tree, root in zip(trees, roots, strict=True)]
        arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        depth = np.array([max(tree.max_depth for tree in trees)], np.int32)
        return cls(arrays | {"roots": roots.astype(np.int32), "depth": depth})

    def scores(self, ready: Floats) -> Floats:
        return in_blocks(self._score, ready, self.arrays["shares"].shape[1], BLOCK)

    def _score(self, ready: Floats) -> Floats:
        a = self.arrays
        rows, count = np.arange(len(ready)), len(ready)
        columns = np.ascontiguousarray(ready.T).ravel()
        starts = a["feature"].astype(np.intp) * count  # of each node's column
        children = np.stack([np.arange(1, len(starts) + 1), a["right"]], axis=1).ravel()
        total = np.zeros((count, a["shares"].shape[1]), np.float32)
        for root in a["roots"]:
            node = np.full(count, root, np.intp)
            for _ in range(int(a["depth"][0])):
                goes_right = columns.take(starts.take(node) + rows) >= a["below"].take(node)
                node = children.take(2 * node + goes_right)
            total += a["shares"].take(node, axis=0)
        result: Floats = np.log(total / len(a["roots"]) + LEAST)
        return result

    def fits(self, width: int, classes: int) -> bool:
        a = self.arrays
        nodes, trees = len(a["feature"]), len(a["roots"])
        whole = all(a[name].dtype.kind == "i" for name in ("feature", "right", "roots", "depth"))
        if not whole or not nodes or not trees or a["depth"].shape != (1,):
            return False
        if a["shares"].shape != (nodes, classes) or {len(a["below"]), len(a["right"])} != {nodes}:
            return False
        inner = a["below"] > -np.inf  # a leaf compares with nothing; only the last node of all must be one
        limits = {"feature": width, "right": nodes, "roots": nodes}
        inside = all(a[name].min() >= 0 and a[name].max() < limit for name, limit in limits.items())
        return bool(inside) and not inner[-1] and 0 <= a["depth"][0] <= DEEPEST


def _flat(tree: Any, root: int) -> dict[str, NDArray[Any]]:
    """scikit-learn goes left where x <= t, x being float32; we where x < the next float32 above t."""
    leaf = tree.children_left < 0
    threshold = tree.threshold.astype(np.float32)
    threshold = np.where(threshold > tree.threshold, np.nextafter(threshold, np.float32(-np.inf)), threshold)
    below = np.where(leaf, np.float32(-np.inf), np.nextafter(threshold, np.float32(np.inf)))
    own = np.arange(tree.node_count)
    shares = tree.value[:, 0, :] / tree.value[:, 0, :].sum(axis=1, keepdims=True)
    return {
        "feature": np.where(leaf, 0, tree.feature).astype(np.int32),
        "below": below.astype(np.float32),
        "right": (np.where(leaf, own, tree.children_right) + root).astype(np.int32),
        "shares": shares.astype(np.float32),
    }
