"""Training: the head on all cells, the calibration on cells held out in turn."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.classify.classifier import Classifier, Known, centre_and_scale, check_finite
from napari_bloodcell.core.classify.folds import deal, folds_that_fit
from napari_bloodcell.core.classify.heads import HEADS, Head
from napari_bloodcell.core.classify.leaning import leaning
from napari_bloodcell.core.config import ClassifierConfig, ClassifierKind
from napari_bloodcell.core.errors import ClassifyError
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import Embeddings
from napari_bloodcell.core.uncertainty.calibration import Calibration, calibrate
from napari_bloodcell.core.uncertainty.cloud import cloud_of

STAGE = "Training classifier"
ABSENT = -30.0  # score of a class that a fold's training cells lack
UNKNOWN_LAB = "unnamed"

Floats = NDArray[np.float32]


def published(kind: ClassifierKind) -> ClassifierConfig:
    """The settings BC-SAM and DoRL were published with: no class weights, no calibration, seed 1234."""
    return ClassifierConfig(kind=kind, class_weights="none", calibration="none", seed=1234)


def fit(
    embeddings: Embeddings,
    labels: Sequence[str],
    config: ClassifierConfig = ClassifierConfig(),
    *,
    groups: Sequence[str] | None = None,
    labs: Sequence[str] | None = None,
    progress: Progress = silent,
) -> Classifier:
    """Train on cells with labels. ``groups`` (slide or patient) are held out as a whole when calibrating;
    ``labs`` are remembered for adapting."""
    check_training(embeddings, labels)
    names, truths = np.unique(np.asarray(labels, dtype=np.str_), return_inverse=True)
    values = embeddings.values
    notes: tuple[str, ...] = ()
    offsets = leaning([str(name) for name in names], config.lean)
    calibration = Calibration(offsets=offsets)
    if config.calibration != "none":
        scores, note = held_out_scores(values, truths, config, groups=groups, progress=progress)
        basis = _basis(len(truths), groups)
        calibration = calibrate(scores, truths, config.calibration, offsets=offsets, basis=basis)
        notes = (note,) if note else ()
    progress(STAGE, config.folds, config.folds + 1)
    mean, scale, head = fit_scaled(values, truths, config)
    ready = ((values - mean) / scale).astype(np.float32)
    progress(STAGE, config.folds + 1, config.folds + 1)
    given = np.asarray([UNKNOWN_LAB] * len(truths) if labs is None else labs, dtype=np.str_)
    return Classifier(
        class_names=tuple(str(name) for name in names),
        embedder=embeddings.embedder,
        config=replace(config, device="cpu"),  # it may be adapted on a machine without a GPU
        mean=mean,
        scale=scale,
        head=head,
        cloud=cloud_of(ready, truths, len(names)),
        calibration=calibration,
        known=_kept(Known.of(values, names[truths], given), config),
        notes=notes,
    )


def fit_scaled(values: Floats, truths: NDArray[Any], config: ClassifierConfig) -> tuple[Floats, Floats, Head]:
    """Mean, spread, and the head on vectors standardised with them."""
    mean, scale = centre_and_scale(values)
    ready = ((values - mean) / scale).astype(np.float32)
    return mean, scale, fit_head(ready, truths, np.ones(len(truths)), config)


def fit_head(ready: Floats, truths: NDArray[Any], weights: NDArray[Any], config: ClassifierConfig) -> Head:
    """The head alone, on standardised vectors; every class must be there."""
    truths = np.asarray(truths, np.int32)
    weights = np.asarray(weights, np.float64)
    if config.class_weights == "balanced":
        share = np.bincount(truths, weights)
        weights = weights * (weights.sum() / (len(share) * share))[truths]
    head: Head = HEADS[config.kind].fit(ready, truths, weights / weights.mean(), config)
    return head


def held_out_scores(
    values: Floats,
    truths: NDArray[Any],
    config: ClassifierConfig,
    *,
    groups: Sequence[str] | None = None,
    progress: Progress = silent,
) -> tuple[Floats, str]:
    """Scores of each cell by a head that did not see its group; and what had to be decided."""
    folds, note = folds_that_fit(config.folds, truths, groups)
    part = deal(truths, groups, folds, np.random.default_rng(config.seed))
    classes = int(truths.max()) + 1
    scores = np.full((len(truths), classes), ABSENT, np.float32)
    for number in range(folds):
        progress(STAGE, number, config.folds + 1)
        held = part == number
        present, own = np.unique(truths[~held], return_inverse=True)
        if len(present) < 2:
            scores[np.ix_(held, present)] = 0
            continue
        mean, scale, head = fit_scaled(values[~held], own, config)
        ready = ((values[held] - mean) / scale).astype(np.float32)
        scores[np.ix_(held, present)] = head.scores(ready)
    return scores, note


def check_training(embeddings: Embeddings, labels: Sequence[str]) -> None:
    check_finite(embeddings)
    if len(labels) != len(embeddings):
        raise ClassifyError(f"{len(labels)} labels for {len(embeddings)} cells. Give one label to each cell.")
    names, counts = np.unique(np.asarray(labels, dtype=np.str_), return_counts=True)
    if len(names) < 2:
        found = f"only {str(names[0])!r}" if len(names) else "none"
        raise ClassifyError(f"A classifier needs cells of two classes at least; there is {found}. Add cells.")
    if counts.min() < 2:
        lonely = ", ".join(map(str, names[counts < 2]))
        raise ClassifyError(f"These classes have a single cell: {lonely}. Add cells, or leave the class out.")


def _basis(cells: int, groups: Sequence[str] | None) -> str:
    slides = "" if groups is None else f" of {len(set(groups))} slides, slide by slide"
    return f"{cells} training cells{slides}, each held out once"


def _kept(known: Known, config: ClassifierConfig) -> Known | None:
    """A sample of the training cells; every class of every lab keeps its share, and some cells at least."""
    if config.keep_cells == 0:
        return None
    if len(known) <= config.keep_cells:
        return known
    rng = np.random.default_rng(config.seed)
    strata = np.unique(np.char.add(np.char.add(known.labs, "\0"), known.labels), return_inverse=True)[1]
    shuffled = rng.permutation(len(known))
    rank = np.empty(len(known))
    for stratum in range(strata.max() + 1):
        rows = shuffled[strata[shuffled] == stratum]
        rank[rows] = (np.arange(len(rows)) + 0.5) / len(rows) - (np.arange(len(rows)) < 20)
    rows = np.sort(np.argsort(rank, kind="stable")[: config.keep_cells])
    return replace(known, ready=known.ready[rows], labels=known.labels[rows], labs=known.labs[rows])
