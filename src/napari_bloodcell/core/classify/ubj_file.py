"""Boosted trees as XGBoost's own file (UBJSON), for other programs: vectors in, calibrated probabilities out.

Written, never read: our own files are arrays (``docs/security.md``). Standardising and calibration go into
the trees, so that whoever loads the file gives it plain vectors and gets our probabilities.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.artifact import write_bytes
from napari_bloodcell.core.classify.classifier import Classifier
from napari_bloodcell.core.classify.heads.base import Arrays
from napari_bloodcell.core.errors import ClassifyError

NO_PARENT = 2**31 - 1  # as XGBoost writes it
FIRST, LAST = -(2**31) + 2**23, 2**31 - 2**23  # around -inf and inf, as numbers in the order of floats


def export_ubj(classifier: Classifier, path: Path) -> None:
    """For ``xgboost.Booster.load_model``; class names and the embedder's hash are among its attributes."""
    if classifier.kind != "xgboost" or classifier.calibration.method == "isotonic":
        raise ClassifyError(
            f"A {classifier.kind} classifier with {classifier.calibration.method} calibration cannot be "
            "written as UBJSON. It takes xgboost, with temperature or no calibration."
        )
    if classifier.second is not None:
        raise ClassifyError(
            "This classifier was adapted to a lab and has a second opinion beside its trees, for which the "
            "file has no place. Write the classifier as it was before, or train one on your own cells."
        )
    try:
        import xgboost
    except ImportError as error:
        raise ClassifyError("Writing UBJSON takes: pip install xgboost.") from error
    booster = xgboost.Booster()
    booster.load_model(bytearray(json.dumps(_model(classifier)).encode()))
    write_bytes(path, bytes(booster.save_raw("ubj")))


def _model(classifier: Classifier) -> dict[str, Any]:
    """XGBoost's JSON schema; what it does not need to predict is left at nothing."""
    arrays, classes, width = classifier.head.arrays, len(classifier.class_names), len(classifier.mean)
    below, gains = _thresholds(classifier), _gains(classifier)
    numbers = arrays["tree_class"].tolist()
    return {
        "learner": {
            "attributes": {
                "classes": ",".join(classifier.class_names),
                "embedder": classifier.embedder,
                "classifier": classifier.hash,
            },
            "feature_names": [],
            "feature_types": [],
            "gradient_booster": {
                "model": {
                    "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(len(numbers))},
                    "iteration_indptr": list(range(0, len(numbers) + 1, classes)),
                    "tree_info": numbers,
                    "trees": _trees(arrays, below, gains, width),
                },
                "name": "gbtree",
            },
            "learner_model_param": {
                "base_score": "0E0",
                "boost_from_average": "1",
                "num_class": str(classes),
                "num_feature": str(width),
                "num_target": "1",
            },
            "objective": {"name": "multi:softprob", "softmax_multiclass_param": {"num_class": str(classes)}},
        },
        "version": [3, 1, 0],
    }


def _trees(
    arrays: Arrays, below: NDArray[np.float32], gains: NDArray[np.float32], width: int
) -> list[dict[str, Any]]:
    ends = [*arrays["roots"][1:].tolist(), len(arrays["feature"])]
    found = []
    for number, (root, end) in enumerate(zip(arrays["roots"].tolist(), ends, strict=True)):
        children = arrays["children"][root:end] - root
        own = np.arange(end - root)
        leaf = children[:, 0] == own
        parents = np.full(len(own), NO_PARENT, np.int64)
        for side in (0, 1):
            parents[children[~leaf, side]] = own[~leaf]
        nothing = np.zeros(len(own))
        found.append(
            {
                "base_weights": gains[root:end].tolist(),
                "categories": [],
                "categories_nodes": [],
                "categories_segments": [],
                "categories_sizes": [],
                "default_left": nothing.astype(int).tolist(),
                "id": number,
                "left_children": np.where(leaf, -1, children[:, 0]).tolist(),
                "loss_changes": nothing.tolist(),
                "parents": parents.tolist(),
                "right_children": np.where(leaf, -1, children[:, 1]).tolist(),
                "split_conditions": np.where(leaf, gains[root:end], below[root:end]).tolist(),
                "split_indices": np.where(leaf, 0, arrays["feature"][root:end]).tolist(),
                "split_type": nothing.astype(int).tolist(),
                "sum_hessian": nothing.tolist(),
                "tree_param": {
                    "num_deleted": "0",
                    "num_feature": str(width),
                    "num_nodes": str(len(own)),
                    "size_leaf_vector": "1",
                },
            }
        )
    return found


def _gains(classifier: Classifier) -> NDArray[np.float32]:
    """What leaves add to a class: cooled; the first tree of each class brings what the class starts from."""
    arrays, calibration = classifier.head.arrays, classifier.calibration
    offsets = calibration.offsets if len(calibration.offsets) else np.zeros(len(classifier.class_names))
    start = arrays["start"] / calibration.temperature + offsets
    gains = arrays["gains"].astype(np.float64) / calibration.temperature
    ends = [*arrays["roots"][1:].tolist(), len(gains)]
    for number, value in enumerate(start):
        tree = int(np.flatnonzero(arrays["tree_class"] == number)[0])
        gains[arrays["roots"][tree] : ends[tree]] += value
    return gains.astype(np.float32)


def _thresholds(classifier: Classifier) -> NDArray[np.float32]:
    """For plain vectors: the least float whose standardised value is not below a node's threshold. Found by
    halving all floats, so no cell goes another way than with us."""
    arrays = classifier.head.arrays
    feature, below = arrays["feature"], arrays["below"]
    mean, scale = classifier.mean[feature], classifier.scale[feature]
    low = np.full(len(below), FIRST, np.int64)
    high = np.full(len(below), LAST, np.int64)
    while (high - low).max(initial=0) > 1:
        middle = (low + high) // 2
        with np.errstate(over="ignore"):
            reached = (_float(middle) - mean) / scale >= below
        high, low = np.where(reached, middle, high), np.where(reached, low, middle)
    return _float(high)


def _float(order: NDArray[np.int64]) -> NDArray[np.float32]:
    """The float at a place in the order of all floats; 0 is at 0, negative ones lie before it."""
    bits = np.abs(order).astype(np.uint32)
    sign = (order < 0).astype(np.uint32) << np.uint32(31)
    return (bits | sign).view(np.float32)
