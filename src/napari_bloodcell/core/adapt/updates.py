"""The ways a classifier can follow a new lab, from the gentlest to the boldest.

Each takes the lab as it is known so far and gives a new classifier; the old one is never changed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.adapt.second_opinion import second_opinion
from napari_bloodcell.core.classify.classifier import Classifier, Known, centre_and_scale
from napari_bloodcell.core.classify.fitting import fit_head
from napari_bloodcell.core.classify.leaning import leaning
from napari_bloodcell.core.uncertainty.calibration import Calibration, offsets_for
from napari_bloodcell.core.uncertainty.cloud import cloud_of

LEAST_OF_A_LAB = 20  # cells, below which a lab's own mean and spread say nothing
HALF_WAY = 40  # corrected cells that weigh as much as all old ones together
MOST_WEIGHT = 2.0  # of all corrected cells together, against the old ones
SAME = 0.02  # largest difference, in standard deviations, of a vector kept in 16 bits from the vector itself
SHY = 5.0  # corrected cells that move the prototypes half of the way

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Lab:
    """What is known of the new lab: vectors of all its cells, and the classes of some."""

    name: str
    values: Floats  # N x D, every cell, looked at or not
    rows: NDArray[np.int_]  # of the corrected cells
    labels: NDArray[np.str_]  # their classes


Update = Callable[[Classifier, Lab], Classifier]


def recalibrate(before: Classifier, lab: Lab) -> Classifier:
    """Other probabilities from the same scores: another temperature, and an offset for each class."""
    known = np.isin(lab.labels, before.class_names)
    if not known.any():
        return before
    truths = np.searchsorted(before.class_names, lab.labels[known])
    scores = before.scores(before.standardise(lab.values[lab.rows[known]]))
    start = leaning(before.class_names, before.config.lean)
    temperature, offsets = offsets_for(scores, truths, balance(truths), start=start)
    return replace(
        before, calibration=Calibration(method="temperature", temperature=temperature, offsets=offsets)
    )


def shift_prototypes(before: Classifier, lab: Lab) -> Classifier:
    """Move the lab's cells so that its classes lie where the training cells' did, on average."""
    ready = before.standardise(lab.values[lab.rows])
    moves = [
        (ready[lab.labels == name].mean(axis=0) - before.cloud.centres[number], np.sum(lab.labels == name))
        for number, name in enumerate(before.class_names)
        if (lab.labels == name).any()
    ]
    if not moves:
        return before
    trust = len(lab.rows) / (len(lab.rows) + SHY)
    move = trust * np.mean([step for step, _ in moves], axis=0)
    return replace(before, mean=(before.mean + move * before.scale).astype(np.float32))


def align(strength: float) -> Update:
    """Without labels: each lab's cells standardised by their own mean and spread (1), or half way (0.5)."""

    def update(before: Classifier, lab: Lab) -> Classifier:
        nobody = replace(lab, rows=lab.rows[:0], labels=lab.labels[:0])
        return _refitted(before, nobody, strength)

    return update


def refit(strength: float) -> Update:
    """The head anew, on the old cells and the corrected ones; labs aligned by ``strength``."""

    def update(before: Classifier, lab: Lab) -> Classifier:
        return _refitted(before, lab, strength)

    return update


def refit_with_second_opinion(before: Classifier, lab: Lab) -> Classifier:
    """The head anew, and beside it an opinion that comes from the cells of this lab alone."""
    after = _refitted(before, lab, 0.0)
    return replace(after, second=second_opinion(after, lab.values, lab.rows, lab.labels))


# The first one is taken where held-out cells do not clearly speak for another: a few dozen cells often
# cannot tell them apart, and this order is that of the labs at hand.
UPDATES: dict[str, Update] = {
    "refit, align half": refit(0.5),
    "refit": refit(0.0),
    "refit, align": refit(1.0),
    "align half": align(0.5),
    "align": align(1.0),
    "shift prototypes": shift_prototypes,
    "recalibrate": recalibrate,
}
WITHOUT_LABELS = ("align half", "align")
# Trees split at fixed values: moving a lab's cells costs them accuracy, and so do new offsets for the
# classes. A few corrected cells cannot tell (docs/evaluation.md), so neither is tried. They are the hardest
# cells of a lab, and poor judges of what helps the others: this one is kept unless they clearly object.
FOR_FORESTS: dict[str, Update] = {"refit, second opinion": refit_with_second_opinion}
FORESTS = ("random_forest", "xgboost")
OF_RESTAINED = ("refit", "shift prototypes", "recalibrate")  # tried on restained cells too


def possible(before: Classifier, lab: Lab) -> dict[str, Update]:
    """Those that what is there supports."""
    names = list(UPDATES)
    if before.known is None:
        names = ["recalibrate", "shift prototypes"]
    elif before.kind in FORESTS:
        return FOR_FORESTS
    if len(lab.values) < LEAST_OF_A_LAB:
        names = [name for name in names if "align" not in name]
    return {name: UPDATES[name] for name in names}


def balance(truths: NDArray[np.int_]) -> NDArray[np.float64]:
    """One weight a cell, 1 on average: rarer classes weigh more, but a single cell does not rule."""
    each = 1 / np.sqrt(np.bincount(truths)[truths])
    weights: NDArray[np.float64] = each / each.mean()
    return weights


def thinned(known: Known, most: int, rng: np.random.Generator) -> Known:
    """A sample for judging; each class of each lab keeps up to an equal number of cells."""
    if len(known) <= most:
        return known
    strata = np.unique(np.char.add(np.char.add(known.labs, "\0"), known.labels), return_inverse=True)[1]
    shuffled = rng.permutation(len(known))
    rank = np.zeros(len(known))
    for stratum in range(strata.max() + 1):
        own = shuffled[strata[shuffled] == stratum]
        rank[own] = np.arange(len(own))
    rows = np.sort(np.argsort(rank, kind="stable")[:most])
    return replace(known, ready=known.ready[rows], labels=known.labels[rows], labs=known.labs[rows])


def without_cells_of(known: Known, lab: Lab) -> Known:
    """The training cells less those corrected before and given again, whatever the lab was called then: no
    cell may be judged by itself."""
    given = ((lab.values[lab.rows] - known.mean) / known.scale).astype(np.float32)
    again = [
        row
        for row, ready in enumerate(known.ready.astype(np.float32))
        if len(given) and np.abs(given - ready).max(axis=1).min() < SAME
    ]
    rows = np.setdiff1d(np.arange(len(known)), again)
    return replace(known, ready=known.ready[rows], labels=known.labels[rows], labs=known.labs[rows])


def _refitted(before: Classifier, lab: Lab, strength: float) -> Classifier:
    if before.known is None:
        return before
    values, labels, labs = before.known.values, before.known.labels, before.known.labs
    whole = centre_and_scale(values)
    own = [np.flatnonzero(labs == name) for name in np.unique(labs)]
    ready = np.zeros_like(values)
    for rows in own:
        mean, scale = _between(whole, values[rows], strength)
        ready[rows] = (values[rows] - mean) / scale
    mean, scale = _between(whole, lab.values, strength)
    new = ((lab.values[lab.rows] - mean) / scale).astype(np.float32)
    names, truths = np.unique(np.concatenate([labels, lab.labels]), return_inverse=True)
    ready = np.concatenate([ready, new])
    each = min(len(values) / HALF_WAY, MOST_WEIGHT * len(values) / max(len(new), 1))
    weights = np.concatenate([np.ones(len(values)), np.full(len(new), each)])
    class_names = tuple(str(name) for name in names)
    return replace(
        before,
        class_names=class_names,
        mean=mean,
        scale=scale,
        head=fit_head(ready, truths, weights, before.config),
        second=None,
        cloud=cloud_of(ready, truths, len(names)),
        calibration=Calibration(offsets=leaning(class_names, before.config.lean)),
    )


def _between(whole: tuple[Floats, Floats], values: Floats, strength: float) -> tuple[Floats, Floats]:
    """Mean and spread between those of all labs and those of one; a lab of few cells has none of its own."""
    if len(values) < LEAST_OF_A_LAB or strength == 0:
        return whole
    mean, scale = centre_and_scale(values)
    return (
        ((1 - strength) * whole[0] + strength * mean).astype(np.float32),
        (whole[1] ** (1 - strength) * scale**strength).astype(np.float32),
    )
