"""Many decision trees as flat arrays: the nodes of all trees behind each other.

``children`` holds the left and the right child of each node. A leaf is its own child on both sides, so a cell
that arrives early stays.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.classify.heads.base import Arrays, Floats

NAMES = ("feature", "below", "children", "roots", "depth")
DEEPEST = 64
BLOCK = 16_384  # cells scored at a time: each tree is walked once a block


def leaves(arrays: Arrays, ready: Floats) -> Iterator[NDArray[np.intp]]:
    """Tree by tree, the node each cell ends in. Left is where x < ``below``."""
    rows, count = np.arange(len(ready)), len(ready)
    columns = np.ascontiguousarray(ready.T).ravel()
    starts = arrays["feature"].astype(np.intp) * count  # of each node's column
    below, children = arrays["below"], arrays["children"].astype(np.intp).ravel()
    for root in arrays["roots"]:
        node = np.full(count, root, np.intp)
        for _ in range(int(arrays["depth"][0])):
            goes_right = columns.take(starts.take(node) + rows) >= below.take(node)
            node = children.take(2 * node + goes_right)
        yield node


def join(trees: list[dict[str, NDArray[Any]]]) -> Arrays:
    """Trees of ``feature``, ``below``, ``left`` (negative in a leaf) and ``right``, behind each other."""
    sizes = [len(tree["left"]) for tree in trees]
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    parts: dict[str, list[NDArray[Any]]] = {"feature": [], "below": [], "children": []}
    for tree, root in zip(trees, roots, strict=True):
        leaf, own = tree["left"] < 0, np.arange(len(tree["left"]))
        pair = np.stack([tree["left"], tree["right"]], axis=1)
        parts["feature"].append(np.where(leaf, 0, tree["feature"]))
        parts["below"].append(np.where(leaf, 0, tree["below"]))
        parts["children"].append(np.where(leaf[:, None], own[:, None], pair) + root)
    deepest = max(_depth(tree["left"], tree["right"]) for tree in trees)
    return {
        "feature": np.concatenate(parts["feature"]).astype(np.int32),
        "below": np.concatenate(parts["below"]).astype(np.float32),
        "children": np.concatenate(parts["children"]).astype(np.int32),
        "roots": roots.astype(np.int32),
        "depth": np.array([deepest], np.int32),
    }


def fit_each_other(arrays: Arrays, width: int) -> bool:
    """Whether nothing would be looked up out of bounds."""
    whole = all(arrays[name].dtype.kind == "i" for name in ("feature", "children", "roots", "depth"))
    nodes = len(arrays["feature"])
    shapes = [arrays[name].shape for name in ("below", "children", "depth")]
    if not whole or not nodes or not len(arrays["roots"]) or shapes != [(nodes,), (nodes, 2), (1,)]:
        return False
    limits = {"feature": width, "children": nodes, "roots": nodes, "depth": DEEPEST + 1}
    return all(arrays[name].min() >= 0 and arrays[name].max() < limit for name, limit in limits.items())


def _depth(left: NDArray[Any], right: NDArray[Any]) -> int:
    level, depth = np.zeros(1, int), 0
    while True:
        inner = level[left[level] >= 0]
        if not len(inner):
            return depth
        level, depth = np.concatenate([left[inner], right[inner]]), depth + 1
