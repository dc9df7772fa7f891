"""Logistic regression: one matrix."""

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.classify.heads.base import Floats, Head
from napari_bloodcell.core.config import ClassifierConfig


class LinearHead(Head):
    names: ClassVar[tuple[str, ...]] = ("coefficients", "intercept")

    @classmethod
    def fit(
        cls, ready: Floats, truths: NDArray[np.int32], weights: NDArray[Any], config: ClassifierConfig
    ) -> Self:
        import warnings

        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=config.strength, max_iter=config.iterations)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the iterations asked for are what was asked
            model.fit(ready, truths, sample_weight=weights)
        coefficients, intercept = model.coef_.T, model.intercept_
        if len(model.classes_) == 2:  # one column is kept for two classes; two make the softmax the same
            coefficients = np.concatenate([-coefficients / 2, coefficients / 2], axis=1)
            intercept = np.concatenate([-intercept / 2, intercept / 2])
        arrays = dict(zip(cls.names, (coefficients, intercept), strict=True))
        return cls({name: array.astype(np.float32) for name, array in arrays.items()})

    def scores(self, ready: Floats) -> Floats:
        result: Floats = ready @ self.arrays["coefficients"] + self.arrays["intercept"]
        return result

    def fits(self, width: int, classes: int) -> bool:
        a = self.arrays
        return a["coefficients"].shape == (width, classes) and a["intercept"].shape == (classes,)
