"""Gradient-boosted trees, fitted by XGBoost, kept and walked as arrays.

XGBoost's own format is not read from files: an empty one aborts the whole process (3.2).
"""

import json
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.classify.heads import trees
from napari_bloodcell.core.classify.heads.base import Floats, Head, in_blocks
from napari_bloodcell.core.config import ClassifierConfig
from napari_bloodcell.core.device import resolve


class BoostedHead(Head):
    names: ClassVar[tuple[str, ...]] = (*trees.NAMES, "gains", "tree_class", "start")

    @classmethod
    def fit(
        cls, ready: Floats, truths: NDArray[np.int32], weights: NDArray[Any], config: ClassifierConfig
    ) -> Self:
        import xgboost

        settings = {
            "objective": "multi:softprob",
            "num_class": int(truths.max()) + 1,
            "device": _device(config.device),
            "seed": config.seed,
            "tree_method": "hist",
        }
        cells = xgboost.DMatrix(ready, label=truths, weight=weights)
        booster = xgboost.train(settings, cells, num_boost_round=config.rounds)
        learner = json.loads(bytes(booster.save_raw("json")))["learner"]
        model = learner["gradient_booster"]["model"]
        grown = [_flat(tree) for tree in model["trees"]]
        start = json.loads(learner["learner_model_param"]["base_score"])
        arrays = {
            "gains": np.concatenate([tree["below"] for tree in grown]).astype(np.float32),
            "tree_class": np.asarray(model["tree_info"], np.int32),
            "start": np.broadcast_to(np.asarray(start, np.float32), int(truths.max()) + 1).copy(),
        }
        return cls(trees.join(grown) | arrays)

    def scores(self, ready: Floats) -> Floats:
        return in_blocks(self._score, ready, len(self.arrays["start"]), trees.BLOCK)

    def _score(self, ready: Floats) -> Floats:
        total = np.tile(self.arrays["start"], (len(ready), 1))
        for number, leaf in zip(self.arrays["tree_class"], trees.leaves(self.arrays, ready), strict=True):
            total[:, number] += self.arrays["gains"].take(leaf)
        return total

    def fits(self, width: int, classes: int) -> bool:
        a = self.arrays
        if not trees.fit_each_other(a, width) or a["tree_class"].dtype.kind != "i":
            return False
        shapes = [a[name].shape for name in ("gains", "tree_class", "start")]
        expected = [a["feature"].shape, a["roots"].shape, (classes,)]
        return shapes == expected and 0 <= a["tree_class"].min() <= a["tree_class"].max() < classes


def _device(choice: str) -> str:
    """XGBoost falls back to the CPU without a word; a GPU that was asked for and is not there is an error."""
    if choice == "cpu":
        return choice
    found = resolve(choice)[0]
    return str(found) if found.type == "cuda" else "cpu"


def _flat(tree: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """A leaf's gain stands where a node has its threshold."""
    return {
        "feature": np.asarray(tree["split_indices"]),
        "below": np.asarray(tree["split_conditions"], np.float32),
        "left": np.asarray(tree["left_children"]),
        "right": np.asarray(tree["right_children"]),
    }
