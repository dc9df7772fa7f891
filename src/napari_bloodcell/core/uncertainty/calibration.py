"""From a classifier's scores to probabilities that mean what they say, and to sets that hold the truth.

Both rest on held-out cells: cells (or whole slides) the classifier had not seen when it scored them.
Temperature: Guo et al. 2017. Sets: split conformal prediction, class by class (Vovk 2012, "Mondrian").
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.errors import ClassifyError

Method = Literal["none", "temperature", "isotonic"]
MINIMUM = 20  # held-out cells of a class, below which it borrows the threshold of all classes together
COLDEST, HOTTEST = 0.05, 20.0
KNOTS = 64  # of a stored isotonic curve

Floats = NDArray[np.float32]
NOTHING = np.zeros(0, np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """What held-out cells taught. The default changes nothing and knows no sets."""

    method: Method = "none"
    temperature: float = 1.0
    offsets: Floats = field(
        default_factory=lambda: np.zeros(0, np.float32)
    )  # C, where classes are not equally likely, or their mix moved
    curves: Floats = field(default_factory=lambda: np.zeros((0, 2, KNOTS), np.float32))  # C x (raw, true)
    misfits: Floats = field(default_factory=lambda: np.zeros(0, np.float32))  # 1 - p of the true class
    truths: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))  # class of each misfit
    basis: str = "nothing: no cells were held out"

    @property
    def cells(self) -> int:
        return len(self.misfits)

    @property
    def is_nothing(self) -> bool:
        """Scores go through it as they are, and no cell was held out."""
        return not self.cells and not len(self.offsets)

    def probabilities(self, scores: NDArray[Any]) -> Floats:
        raw = softmax(shifted(scores, self.temperature, self.offsets))
        if self.method != "isotonic" or not len(raw):
            return raw
        risen = [np.interp(raw[:, c], *curve) for c, curve in enumerate(self.curves)]
        each = np.stack(risen, axis=1) + 1e-6
        normed: Floats = (each / each.sum(axis=1, keepdims=True)).astype(np.float32)
        return normed

    def sets(
        self, probabilities: Floats, coverage: float, minimum: int = MINIMUM
    ) -> NDArray[np.bool_] | None:
        """The classes each cell may be: N x C. Of the cells of each class, the share ``coverage`` has its own
        class in its set; of a class with fewer than ``minimum`` held-out cells it may be far fewer.
        None where nothing was held out."""
        if not self.cells:
            return None
        limits = [threshold(self.misfits_of(c, minimum), coverage) for c in range(probabilities.shape[1])]
        possible: NDArray[np.bool_] = 1 - probabilities <= np.asarray(limits, np.float32)
        return possible

    def misfits_of(self, number: int, minimum: int = MINIMUM) -> Floats:
        own = self.misfits[self.truths == number]
        return own if len(own) >= minimum else self.misfits

    def fits(self, classes: int) -> bool:
        """Whether what a file says of itself goes together."""
        width = classes if self.method == "isotonic" else len(self.curves)
        known = not self.cells or 0 <= self.truths.min() <= self.truths.max() < classes
        return bool(
            self.method in ("none", "temperature", "isotonic")
            and self.temperature > 0
            and len(self.offsets) in (0, classes)
            and self.curves.shape == (width, 2, KNOTS)
            and self.misfits.shape == self.truths.shape == (self.cells,)
            and known
        )

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "calibration_offsets": self.offsets,
            "calibration_curves": self.curves,
            "calibration_misfits": self.misfits,
            "calibration_truths": self.truths,
        }

    def to_json(self) -> dict[str, Any]:
        return {"method": self.method, "temperature": float(self.temperature), "basis": self.basis}

    @classmethod
    def from_parts(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> "Calibration":
        if not settings:
            return cls()
        return cls(
            method=settings["method"],
            temperature=float(settings["temperature"]),
            basis=str(settings["basis"]),
            offsets=arrays["calibration_offsets"],
            curves=arrays["calibration_curves"],
            misfits=arrays["calibration_misfits"],
            truths=arrays["calibration_truths"],
        )


def calibrate(
    scores: NDArray[Any],
    truths: NDArray[Any],
    method: Method = "temperature",
    *,
    offsets: Floats = NOTHING,
    basis: str,
) -> Calibration:
    """Learn from held-out cells: ``scores`` N x C as the classifier gave them, ``truths`` their classes;
    ``offsets`` are added to the scores, whatever is learned."""
    if not np.isfinite(scores).all():
        raise ClassifyError("Scores of held-out cells hold NaN or infinite numbers. Leave these cells out.")
    truths = np.asarray(truths, np.int32)
    if not len(truths):
        return Calibration(offsets=offsets)
    temperature = best_temperature(scores, truths, offsets=offsets) if method != "none" else 1.0
    learned = Calibration(method=method, temperature=temperature, offsets=offsets, basis=basis)
    if method == "isotonic":
        curves = _isotonic_curves(softmax(shifted(scores, temperature, offsets)), truths)
        learned = replace(learned, curves=curves)
    misfits = 1 - _of_truth(_honest(scores, truths, learned), truths)
    return replace(learned, misfits=misfits.astype(np.float32), truths=truths)


def shifted(scores: NDArray[Any], temperature: float, offsets: Floats) -> NDArray[Any]:
    cooled = scores / temperature
    return cooled + offsets if len(offsets) else cooled


def best_temperature(
    scores: NDArray[Any], truths: NDArray[Any], prior: float = 4.0, *, offsets: Floats = NOTHING
) -> float:
    """The temperature with the highest likelihood. ``prior`` counts like so many cells that say 1: a handful
    of cells must not freeze or melt the answers."""
    from scipy.optimize import minimize_scalar

    def loss(log_t: float) -> float:
        likely = _of_truth(log_softmax(shifted(scores, float(np.exp(log_t)), offsets)), truths)
        return float(-likely.sum() + prior * log_t**2)

    found = minimize_scalar(loss, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded")
    return float(np.exp(found.x))


def offsets_for(
    scores: NDArray[Any],
    truths: NDArray[Any],
    weights: NDArray[Any],
    stiffness: float = 1.0,
    *,
    start: Floats = NOTHING,
) -> tuple[float, Floats]:
    """Temperature and one offset a class, for a lab whose mix or look of classes moved. ``stiffness`` counts
    like so many cells that say nothing moved from ``start``."""
    from scipy.optimize import minimize

    truth = np.eye(scores.shape[1])[truths]
    before = start if len(start) else np.zeros(scores.shape[1])

    def loss(point: NDArray[Any]) -> tuple[float, NDArray[np.float64]]:
        cooled = scores / np.exp(point[0])
        likely = log_softmax(cooled + before + point[1:])
        excess = weights[:, None] * (np.exp(likely) - truth)  # slope of the loss by each score
        pull = stiffness * np.concatenate([[8 * point[0]], point[1:]])
        slope = np.concatenate([[-(excess * cooled).sum()], excess.sum(axis=0)]) + pull
        stiff = stiffness * (4 * point[0] ** 2 + (point[1:] ** 2).sum() / 2)
        return float(-(weights * _of_truth(likely, truths)).sum() + stiff), slope

    limits = [(np.log(COLDEST), np.log(HOTTEST))] + [(-6.0, 6.0)] * scores.shape[1]
    found = minimize(loss, np.zeros(1 + scores.shape[1]), jac=True, method="L-BFGS-B", bounds=limits).x
    return float(np.exp(found[0])), (before + found[1:]).astype(np.float32)


def threshold(misfits: NDArray[Any], coverage: float) -> float:
    """The misfit that ``coverage`` of new cells stay below; 1 (all fits) where the cells are too few."""
    n = len(misfits)
    rank = int(np.ceil((n + 1) * coverage - 1e-9))
    return 1.0 if rank > n else float(np.sort(misfits)[rank - 1])


def expected_calibration_error(probabilities: Floats, truths: NDArray[Any], bins: int = 10) -> float:
    """Mean gap between how sure and how right, over bins with equally many cells."""
    if not len(truths):
        return 0.0
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truths
    parts = np.array_split(np.argsort(sure, kind="stable"), bins)
    gaps = [len(p) * abs(float(sure[p].mean()) - float(right[p].mean())) for p in parts if len(p)]
    return float(sum(gaps) / len(truths))


def softmax(scores: NDArray[Any]) -> Floats:
    if scores.size == 0:
        return np.zeros(scores.shape, np.float32)
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    result: Floats = (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)
    return result


def log_softmax(scores: NDArray[Any]) -> NDArray[np.float64]:
    shifted = np.asarray(scores, np.float64) - scores.max(axis=1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def _of_truth(values: NDArray[Any], truths: NDArray[Any]) -> NDArray[Any]:
    own: NDArray[Any] = values[np.arange(len(truths)), truths]
    return own


def _honest(scores: NDArray[Any], truths: NDArray[np.int32], learned: Calibration) -> Floats:
    """Probabilities of the held-out cells. A curve flatters cells it saw: each half gets the other's."""
    if learned.method != "isotonic":
        return learned.probabilities(scores)
    result = np.zeros(scores.shape, np.float32)
    halves: Sequence[slice] = (slice(0, None, 2), slice(1, None, 2))
    for own, other in zip(halves, reversed(halves), strict=True):
        raw = softmax(shifted(scores[other], learned.temperature, learned.offsets))
        half = replace(learned, curves=_isotonic_curves(raw, truths[other]))
        result[own] = half.probabilities(scores[own])
    return result


def _isotonic_curves(raw: Floats, truths: NDArray[Any]) -> Floats:
    """For each class, how often a raw probability was right, on ``KNOTS`` points; C x 2 x KNOTS."""
    from sklearn.isotonic import IsotonicRegression

    curves = np.zeros((raw.shape[1], 2, KNOTS), np.float32)
    for c in range(raw.shape[1]):
        knots = np.unique(np.quantile(raw[:, c], np.linspace(0, 1, KNOTS))) if len(raw) else np.zeros(1)
        fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        known = len(raw) > 0
        level = fitted.fit(raw[:, c], truths == c).predict(knots) if known else knots
        curves[c, 0] = np.pad(knots, (0, KNOTS - len(knots)), constant_values=knots[-1])
        curves[c, 1] = np.pad(level, (0, KNOTS - len(level)), constant_values=level[-1])
    return curves
