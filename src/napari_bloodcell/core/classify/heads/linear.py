"""Logistic regression: one matrix."""

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.classify.heads.base import Floats, Head
from napari_bloodcell.core.config import ClassifierConfig
from napari_bloodcell.core.uncertainty.calibration import log_softmax

STEPS = 100
LIGHT = 0.1  # how hard the intercept is held, against the coefficients: classes are not equally common


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

    @classmethod
    def fit_shares(cls, ready: Floats, shares: NDArray[Any], weights: NDArray[Any], strength: float) -> Self:
        """Where a cell is of several classes at once, by ``shares`` (N x C); every class has its column, also
        one of which there is no cell."""
        from scipy.optimize import minimize

        (cells, width), classes = ready.shape, shares.shape[1]
        points, pull = np.c_[ready, np.ones(cells)].astype(np.float64), np.ones((width + 1, 1))
        pull[-1] = LIGHT * strength

        def loss(flat: NDArray[Any]) -> tuple[float, NDArray[np.float64]]:
            matrix = flat.reshape(width + 1, classes)
            likely = log_softmax(points @ matrix)
            excess = weights[:, None] * (np.exp(likely) * shares.sum(axis=1, keepdims=True) - shares)
            slope = strength * points.T @ excess + pull * matrix
            wrong = -strength * (weights[:, None] * shares * likely).sum()
            return float(wrong + (pull * matrix**2).sum() / 2), slope.ravel()

        start = np.zeros((width + 1) * classes)
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": STEPS}).x
        matrix = found.reshape(width + 1, classes).astype(np.float32)
        return cls({"coefficients": matrix[:-1], "intercept": matrix[-1]})

    def scores(self, ready: Floats) -> Floats:
        result: Floats = ready @ self.arrays["coefficients"] + self.arrays["intercept"]
        return result

    def fits(self, width: int, classes: int) -> bool:
        a = self.arrays
        return a["coefficients"].shape == (width, classes) and a["intercept"].shape == (classes,)
