"""Training a classifier, and adapting it to a lab."""

from dataclasses import dataclass
from typing import Annotated, Literal

from napari_bloodcell.core.config.base import Config, Knob

ClassifierKind = Literal["logistic", "svm_linear", "svm_poly", "svm_rbf", "random_forest", "ann", "xgboost"]


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(Config):
    """Which classifier, and how it is fitted to vectors with labels."""

    kind: Annotated[ClassifierKind, Knob("Classifier")] = "logistic"
    """Logistic regression is quick and hard to beat on few cells; the others are those of the published
    systems."""
    class_weights: Annotated[Literal["balanced", "none"], Knob("Class weights")] = "balanced"
    """balanced: rare classes count as much as common ones. none: every cell counts the same."""
    lean: Annotated[float, Knob("Lean to healthy blood", low=0, high=1)] = 0.0
    """How far answers lean to the shares of a healthy adult's blood. 0: before a cell is looked at, a
    basophil is as likely as a neutrophil."""
    strength: Annotated[float, Knob("Strength of the fit", low=1e-6, high=1e6)] = 1.0
    """C of logistic regression and SVMs: lower follows single cells less."""
    iterations: Annotated[int, Knob("Iterations", low=1, high=100_000)] = 500
    """Most steps of logistic regression and of the neural network."""
    trees: Annotated[int, Knob("Trees", low=1, high=5_000)] = 200
    """Trees of the random forest."""
    depth: Annotated[int, Knob("Depth", low=1, high=64)] = 16
    """Deepest tree of the random forest."""
    rounds: Annotated[int, Knob("Rounds", low=1, high=10_000)] = 100
    """Rounds of boosting (XGBoost)."""
    hidden: Annotated[int, Knob("Hidden units", low=1, high=10_000)] = 100
    """Width of the neural network's one hidden layer."""
    calibration: Annotated[Literal["temperature", "isotonic", "none"], Knob("Calibration")] = "temperature"
    """How probabilities are made honest on held-out cells. isotonic needs some hundred cells a class."""
    folds: Annotated[int, Knob("Folds", low=2, high=100)] = 10
    """Parts the cells are held out in, slide by slide where slides are given. Fewer where cells are few. With
    few parts the sets are wider than need be: what is held out is judged on fewer training cells."""
    keep_cells: Annotated[int, Knob("Cells kept", low=0, high=100_000)] = 5_000
    """How many training vectors go into the file, for adapting to another lab later. They hold no image."""
    device: Annotated[Literal["auto", "cpu", "cuda"], Knob("Device")] = "cpu"
    """Where XGBoost trains. auto: on the GPU where there is one; worth it from tens of thousands of cells on.
    The last digits of a model may depend on it."""
    seed: Annotated[int, Knob("Seed", low=0, high=2_147_483_647)] = 0
    """The same seed trains the same way."""


@dataclass(frozen=True, kw_only=True)
class AdaptConfig(Config):
    """Making a model right on a new lab, from cells a person has corrected."""

    folds: Annotated[int, Knob("Folds", low=2, high=50)] = 5
    """Parts the corrected cells are held out in, to judge each update."""
    repeats: Annotated[int, Knob("Repeats", low=1, high=20)] = 2
    """How often the corrected cells are dealt into folds anew."""
    least_gain: Annotated[float, Knob("Least gain", low=0, high=1)] = 0.01
    """An update is kept only where it lowers the held-out loss by this share at least."""
    seed: Annotated[int, Knob("Seed", low=0, high=2_147_483_647)] = 0
    """The same seed deals the same folds."""


@dataclass(frozen=True, kw_only=True)
class SuggestConfig(Config):
    """Which cells to look at next."""

    cells: Annotated[int, Knob("Cells", low=1, high=10_000)] = 25
    """How many to suggest."""
    diversity: Annotated[float, Knob("Diversity", low=0, high=1)] = 0.5
    """0 takes the most doubtful cells, 1 the most different ones; between, both count."""
    seed: Annotated[int, Knob("Seed", low=0, high=2_147_483_647)] = 0
    """The same seed suggests the same cells."""
