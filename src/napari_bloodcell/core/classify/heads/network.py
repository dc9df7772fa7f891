"""A neural network of one hidden layer (the published systems' ANN)."""

import warnings
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.classify.heads.base import Floats, Head
from napari_bloodcell.core.config import ClassifierConfig

HELD_OUT = 0.1  # for stopping early
LEAST_HELD_OUT = 100  # cells; the score of fewer jumps about, and training would stop at once


class NetworkHead(Head):
    names: ClassVar[tuple[str, ...]] = ("weights_in", "bias_in", "weights_out", "bias_out")

    @classmethod
    def fit(
        cls, ready: Floats, truths: NDArray[np.int32], weights: NDArray[Any], config: ClassifierConfig
    ) -> Self:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPClassifier

        counts = np.bincount(truths)
        enough = HELD_OUT * len(truths) >= LEAST_HELD_OUT and counts.min() >= 2
        model = MLPClassifier(
            (config.hidden,),
            max_iter=config.iterations,
            early_stopping=bool(enough),
            validation_fraction=HELD_OUT,
            random_state=config.seed,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(ready, truths, sample_weight=weights)
        (first, last), (bias, end) = model.coefs_, model.intercepts_
        if len(counts) == 2:  # one logistic unit is kept for two classes
            last, end = np.concatenate([-last / 2, last / 2], axis=1), np.concatenate([-end / 2, end / 2])
        arrays = dict(zip(cls.names, (first, bias, last, end), strict=True))
        return cls({name: array.astype(np.float32) for name, array in arrays.items()})

    def scores(self, ready: Floats) -> Floats:
        hidden = np.maximum(ready @ self.arrays["weights_in"] + self.arrays["bias_in"], 0)
        result: Floats = hidden @ self.arrays["weights_out"] + self.arrays["bias_out"]
        return result

    def fits(self, width: int, classes: int) -> bool:
        a = self.arrays
        hidden = a["bias_in"].shape[0] if a["bias_in"].ndim == 1 else -1
        shapes = [a[name].shape for name in self.names]
        return shapes == [(width, hidden), (hidden,), (hidden, classes), (classes,)]
