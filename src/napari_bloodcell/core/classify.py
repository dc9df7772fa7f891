"""Embeddings -> Predictions: a linear classifier whose file holds numbers only.

scikit-learn fits it; what is kept are its arrays. Beside each class's score it keeps how far the training
cells of that class lie from their centre, so that a cell unlike all of them can be called "unidentified".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.artifact import read_arrays, write_arrays
from napari_bloodcell.core.config import ClassifyConfig
from napari_bloodcell.core.errors import ArtifactError, ClassifyError
from napari_bloodcell.core.records import UNIDENTIFIED, Embeddings, Predictions

OUTERMOST = 0.99  # a distance of 1 reaches exactly this share of the training cells
SHRINK = 0.1  # of the covariance towards its diagonal: few cells must not look precise
ARRAYS = ("mean", "scale", "coefficients", "intercept", "centres", "whitening", "reach")


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearClassifier:
    """Standardise, multiply, softmax. ``hash`` and ``embedder`` tie it to its vectors."""

    class_names: tuple[str, ...]
    embedder: str
    arrays: dict[str, NDArray[Any]]  # keys: ARRAYS
    hash: str = ""

    kind = "linear"

    def predict(self, embeddings: Embeddings, config: ClassifyConfig = ClassifyConfig()) -> Predictions:
        if embeddings.embedder != self.embedder:
            raise ClassifyError(
                f"This classifier was trained on vectors of embedder {self.embedder[:12]}; these come from "
                f"{embeddings.embedder[:12]}. Embed the cells with the classifier's own bundle."
            )
        _check_finite(embeddings)
        ready = (embeddings.values - self.arrays["mean"]) / self.arrays["scale"]
        probabilities = _softmax(ready @ self.arrays["coefficients"] + self.arrays["intercept"])
        distance = _distance(ready, self.arrays)
        labels, doubt = _decide(self.class_names, probabilities, distance, config)
        return Predictions(
            cell_id=embeddings.cell_id,
            class_names=self.class_names,
            probabilities=probabilities,
            labels=labels,
            doubt=doubt,
            distance=distance,
            classifier=self.hash,
        )

    def save(self, path: Path) -> str:
        config = {"kind": self.kind, "class_names": list(self.class_names)}
        return write_arrays(
            path, "classifier", self.arrays, config=config, parents={"embedder": self.embedder}
        )

    @classmethod
    def load(cls, path: Path) -> "LinearClassifier":
        header, arrays = read_arrays(path, "classifier")
        names = tuple(header.config.get("class_names", ()))
        if header.config.get("kind") != cls.kind or set(arrays) != set(ARRAYS) or len(names) < 2:
            raise ArtifactError(f"{path} is no complete {cls.kind} classifier. Take the original file again.")
        return cls(class_names=names, embedder=header.parents["embedder"], arrays=arrays, hash=header.sha256)


def fit_linear(
    embeddings: Embeddings, labels: Sequence[str], *, strength: float = 1.0, seed: int = 0
) -> LinearClassifier:
    """Logistic regression with balanced classes. ``strength`` is scikit-learn's C."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    _check_training(embeddings, labels)
    scaler = StandardScaler().fit(embeddings.values)
    ready = scaler.transform(embeddings.values)
    model = LogisticRegression(C=strength, class_weight="balanced", max_iter=2_000, random_state=seed)
    model.fit(ready, list(labels))
    names = tuple(str(name) for name in model.classes_)
    coefficients, intercept = model.coef_.T, model.intercept_
    if len(names) == 2:  # scikit-learn keeps one column for two classes; two make the softmax the same
        coefficients = np.concatenate([-coefficients / 2, coefficients / 2], axis=1)
        intercept = np.concatenate([-intercept / 2, intercept / 2])
    arrays = {
        "mean": scaler.mean_,
        "scale": scaler.scale_,
        "coefficients": coefficients,
        "intercept": intercept,
        **_cloud(ready, np.asarray(labels), names),
    }
    ready_arrays = {key: value.astype(np.float32) for key, value in arrays.items()}
    return LinearClassifier(class_names=names, embedder=embeddings.embedder, arrays=ready_arrays)


def _cloud(ready: NDArray[Any], labels: NDArray[np.str_], names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Class centres, one pooled whitening, and the distance of the outermost cells of each class."""
    centres = np.stack([ready[labels == name].mean(axis=0) for name in names])
    residuals = ready - centres[np.searchsorted(names, labels)]
    covariance = np.cov(residuals.T) + 1e-6 * np.eye(ready.shape[1])
    covariance = (1 - SHRINK) * covariance + SHRINK * np.diag(np.diag(covariance))
    whitening = np.linalg.cholesky(np.linalg.inv(covariance))
    lengths = np.linalg.norm(residuals @ whitening, axis=1)
    reach = np.array([np.quantile(lengths[labels == name], OUTERMOST) for name in names])
    return {"centres": centres, "whitening": whitening, "reach": np.maximum(reach, 1e-6)}


def _distance(ready: NDArray[Any], arrays: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
    """Distance to the nearest class, in units of that class's reach."""
    if len(ready) == 0:
        return np.zeros(0, np.float32)
    whitening = arrays["whitening"]
    each = [
        np.linalg.norm((ready - centre) @ whitening, axis=1) / reach
        for centre, reach in zip(arrays["centres"], arrays["reach"], strict=True)
    ]
    return np.asarray(np.min(each, axis=0), np.float32)


def _decide(
    names: tuple[str, ...],
    probabilities: NDArray[np.float32],
    distance: NDArray[np.float32],
    config: ClassifyConfig,
) -> tuple[NDArray[np.str_], tuple[str, ...]]:
    """The label of each cell, and why it is in doubt."""
    best = probabilities.argmax(axis=1) if len(probabilities) else np.zeros(0, int)
    labels, doubt = [], []
    for row, index in enumerate(best):
        probability = float(probabilities[row, index])
        reasons = []
        if probability < config.min_probability:
            reasons.append(f"best guess {names[index]} at {probability:.0%}")
        if distance[row] > config.max_distance:
            reasons.append(f"unlike the training cells ({distance[row]:.1f} times as far as the outermost)")
        labels.append(UNIDENTIFIED if reasons else names[index])
        doubt.append("; ".join(reasons))
    return np.asarray(labels, dtype=np.str_), tuple(doubt)


def _softmax(scores: NDArray[Any]) -> NDArray[np.float32]:
    if scores.size == 0:
        return np.zeros(scores.shape, np.float32)
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    result: NDArray[np.float32] = (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)
    return result


def _check_finite(embeddings: Embeddings) -> None:
    bad = np.asarray(~np.isfinite(embeddings.values).all(axis=1))
    if bad.any():
        cells = ", ".join(map(str, embeddings.cell_id[bad][:5]))
        raise ClassifyError(
            f"{int(bad.sum())} of {len(bad)} vectors hold NaN or infinite numbers (cells {cells}). "
            "Embed these cells again, or leave them out."
        )


def _check_training(embeddings: Embeddings, labels: Sequence[str]) -> None:
    _check_finite(embeddings)
    if len(labels) != len(embeddings):
        raise ClassifyError(f"{len(labels)} labels for {len(embeddings)} cells. Give one label to each cell.")
    names, counts = np.unique(np.asarray(labels, dtype=np.str_), return_counts=True)
    if len(names) < 2:
        found = f"only {str(names[0])!r}" if len(names) else "none"
        raise ClassifyError(f"A classifier needs cells of two classes at least; there is {found}. Add cells.")
    if counts.min() < 2:
        lonely = ", ".join(map(str, names[counts < 2]))
        raise ClassifyError(f"These classes have a single cell: {lonely}. Add cells, or leave the class out.")
