"""Support vector machines, one for each pair of classes, as libsvm fits them.

A class's score is its distance to the border of its worst pair: a class that wins all its pairs comes first,
as in libsvm's vote, and where none does there are no ties to be broken by the order of the classes.
"""

import math
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.classify.heads.base import Floats, Head, in_blocks
from napari_bloodcell.core.config import ClassifierConfig

KERNELS = ("linear", "poly", "rbf")  # poly is of the third degree
CACHE_MB = 500


class SvmHead(Head):
    """``kernel`` holds the kernel's number and gamma. For a linear kernel the support vectors are summed up:
    one vector a pair."""

    names: ClassVar[tuple[str, ...]] = ("kernel", "support", "pair_weights", "pair_bias")

    @classmethod
    def fit(
        cls, ready: Floats, truths: NDArray[np.int32], weights: NDArray[Any], config: ClassifierConfig
    ) -> Self:
        from sklearn.svm import SVC

        name = config.kind.removeprefix("svm_")
        model = SVC(C=config.strength, kernel=name, cache_size=CACHE_MB)
        model.fit(ready, truths, sample_weight=weights)
        gamma = 1.0 / max(ready.shape[1] * float(ready.astype(np.float64).var()), 1e-12)  # sklearn's "scale"
        support = model.support_vectors_.astype(np.float32)
        pair_weights = _pair_weights(model.dual_coef_, model.n_support_)
        bias = model.intercept_
        if len(model.n_support_) == 2:  # scikit-learn turns the sign of a single pair round
            pair_weights, bias = -pair_weights, -bias
        if name == "linear":
            support = (pair_weights.T @ model.support_vectors_).astype(np.float32)
            pair_weights = np.eye(len(support))
        return cls(
            {
                "kernel": np.array([KERNELS.index(name), gamma], np.float64),
                "support": support,
                "pair_weights": pair_weights.astype(np.float32),
                "pair_bias": bias.astype(np.float32),
            }
        )

    def scores(self, ready: Floats) -> Floats:
        return in_blocks(self._score, ready, _classes_of(len(self.arrays["pair_bias"])))

    def distances(self, ready: Floats) -> Floats:
        """To the border of each pair, (0, 1), (0, 2), ... (1, 2), ...; positive is the first's side."""
        number, gamma = int(self.arrays["kernel"][0]), np.float32(self.arrays["kernel"][1])
        support = self.arrays["support"]
        products = ready @ support.T
        if KERNELS[number] == "poly":
            products *= gamma
            products = products * products * products  # a power of whole numbers would take ten times as long
        elif KERNELS[number] == "rbf":
            products *= 2 * gamma
            products -= gamma * (ready**2).sum(axis=1, keepdims=True)
            products -= gamma * (support**2).sum(axis=1)
            np.exp(products, out=products)
        result: Floats = products @ self.arrays["pair_weights"] + self.arrays["pair_bias"]
        return result

    def _score(self, ready: Floats) -> Floats:
        distances = self.distances(ready)
        classes = _classes_of(distances.shape[1])
        result = np.full((len(ready), classes), np.inf, np.float32)
        for pair, (one, other) in enumerate(zip(*np.triu_indices(classes, 1), strict=True)):
            result[:, one] = np.minimum(result[:, one], distances[:, pair])
            result[:, other] = np.minimum(result[:, other], -distances[:, pair])
        return result

    def fits(self, width: int, classes: int) -> bool:
        a = self.arrays
        pairs = classes * (classes - 1) // 2
        if a["kernel"].shape != (2,) or a["kernel"][0] not in range(len(KERNELS)) or a["support"].ndim != 2:
            return False
        count = len(a["support"])
        shapes = [a[name].shape for name in self.names[1:]]
        return shapes == [(count, width), (count, pairs), (pairs,)]


def _pair_weights(dual: NDArray[Any], n_support: NDArray[Any]) -> NDArray[np.float64]:
    """libsvm keeps the weights of a class's support vectors, one row an opponent; here one column a pair."""
    classes = len(n_support)
    starts = np.concatenate([[0], np.cumsum(n_support)])
    result = np.zeros((starts[-1], classes * (classes - 1) // 2))
    for pair, (one, other) in enumerate(zip(*np.triu_indices(classes, 1), strict=True)):
        ones, others = slice(*starts[one : one + 2]), slice(*starts[other : other + 2])
        result[ones, pair] = dual[other - 1, ones]
        result[others, pair] = dual[one, others]
    return result


def _classes_of(pairs: int) -> int:
    return (1 + math.isqrt(1 + 8 * pairs)) // 2
