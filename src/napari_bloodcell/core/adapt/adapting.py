"""Try the updates, judge them on corrected cells they did not see, keep the best one if it is better."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.adapt.restaining import Restained
from napari_bloodcell.core.adapt.updates import (
    FOR_FORESTS,
    OF_RESTAINED,
    WITHOUT_LABELS,
    Lab,
    Update,
    balance,
    possible,
    thinned,
    without_cells_of,
)
from napari_bloodcell.core.classify.classifier import Classifier, Known, check_finite
from napari_bloodcell.core.classify.folds import deal
from napari_bloodcell.core.classify.selection import balanced_accuracy
from napari_bloodcell.core.config import AdaptConfig
from napari_bloodcell.core.errors import ClassifyError
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import UNIDENTIFIED, Embeddings
from napari_bloodcell.core.uncertainty.calibration import (
    MINIMUM,
    Calibration,
    best_temperature,
    log_softmax,
)
from napari_bloodcell.core.words import how_many

NO_UPDATE = "none"
LEAST_CORRECTED, LEAST_CLASSES = 5, 2
JUDGED_ON = 1_000  # old cells at most while judging; the update that is kept sees all of them
NEVER = 0.02  # no answer is taken for surer than this while judging: one cell must not decide alone
SLOW = ("random_forest", "xgboost", "ann")  # to fit: judged with one dealing
FEW_TREES, FEW_ROUNDS = 40, 20
CLEARLY = 2.0  # standard errors of the difference in loss
STAGE = "Adapting"

HeldOut = tuple[NDArray[np.float32], tuple[str, ...]]  # log-probabilities, and the classes they are of


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """One update on corrected cells held out from it."""

    name: str
    loss: float  # mean of -log(probability of the truth), rare classes weighing more
    accuracy: float
    balanced: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Adaptation:
    """What was tried and what was kept. ``before`` undoes it."""

    lab: str
    corrected: int
    kept: str  # name of the update; "none" where no update was better
    judged: tuple[Judged, ...]
    before: Classifier
    classifier: Classifier
    restained: Restained | None = None  # where the kept update restains cells before they are described

    def text(self) -> str:
        width = max(20, *(len(one.name) for one in self.judged))
        lines = [
            f"{self.corrected} corrected cells of {self.lab}, each held out in turn:",
            f"{'update':<{width}} {'loss':>6} {'right':>6} {'by class':>9}",
        ]
        for one in self.judged:
            mark = "  kept" if one.name == self.kept else ""
            lines.append(f"{one.name:<{width}} {one.loss:6.3f} {one.accuracy:6.1%} {one.balanced:9.1%}{mark}")
        least = min(self.judged, key=lambda one: one.loss).name
        if least == NO_UPDATE != self.kept:
            lines.append(
                f"So few cells, often the hardest of a lab, do not speak clearly against {self.kept}, which "
                "helped the labs it was measured on: it is kept. Look at what it changed; it can be undone."
            )
        elif self.kept not in (NO_UPDATE, least):
            lines.append(
                f"{least} is not clearly better than {self.kept} on so few cells, or is wrong more often "
                "than no update: the gentler one is kept."
            )
        by_name = {one.name: one for one in self.judged}
        before, kept = by_name[NO_UPDATE], by_name[self.kept]
        if kept.accuracy < before.accuracy and kept.loss < before.loss:
            lines.append(
                f"{kept.name} names fewer of the corrected cells right, but gives the right class more "
                f"probability (loss {kept.loss:.3f}, {before.loss:.3f} before), which says more of so few "
                "cells. It can be undone."
            )
        if self.kept == NO_UPDATE:
            lines.append("No update was better: the model stays as it is. Correct more cells and try again.")
        return "\n".join(lines)


def adapt(  # noqa: PLR0913 (what is known of the lab)
    before: Classifier,
    cells: Embeddings,
    labels: Sequence[str],
    config: AdaptConfig = AdaptConfig(),
    *,
    lab: str = "new lab",
    restained: Restained | None = None,
    progress: Progress = silent,
) -> Adaptation:
    """``cells`` are all cells of the lab; ``labels`` their corrected classes, "" where nobody looked. What a
    person leaves unidentified teaches no class. ``restained``: the corrected cells in another lab's stain, to
    judge that too."""
    new = _lab(before, cells, labels, lab)
    if before.known is not None:
        before = replace(before, known=without_cells_of(before.known, new))
    truths = np.unique(new.labels, return_inverse=True)[1]
    rng = np.random.default_rng(config.seed)
    quick = _quick(before, rng)
    repeats = 1 if before.kind in SLOW else config.repeats
    parts = [deal(truths, None, config.folds, rng) for _ in range(repeats)]
    updates: dict[str, Update] = {NO_UPDATE: _same} | possible(before, new)
    labs = dict.fromkeys(updates, new)
    if restained is not None:
        other = _in_other_stain(new, cells, restained)
        for name, update in _restained_updates(restained, updates).items():
            updates[name], labs[name] = update, other
    judged, held_out, losses = [], {}, {}
    for number, (name, update) in enumerate(updates.items()):
        progress(STAGE, number, len(updates) + 1)
        dealt = parts[:1] if name in WITHOUT_LABELS or update is _same else parts
        held_out[name] = _held_out(quick, labs[name], update, dealt)
        losses[name] = _losses(name, held_out[name], new.labels)
        judged.append(_judge(name, held_out[name], new.labels, losses[name]))
    progress(STAGE, len(updates), len(updates) + 1)
    kept = _best(judged, losses, config)
    after, stain = before, restained if labs[kept] is not new else None
    if kept != NO_UPDATE:
        after = _finished(before, labs[kept], kept, updates[kept], held_out[kept])
    if stain is not None:
        after = replace(after, embedder=stain.embedder.hash)
    progress(STAGE, len(updates) + 1, len(updates) + 1)
    return Adaptation(
        lab=lab,
        corrected=len(new.rows),
        kept=kept,
        judged=tuple(judged),
        before=before,
        classifier=after,
        restained=stain,
    )


def _same(before: Classifier, _: Lab) -> Classifier:
    return before


def _restained_updates(restained: Restained, updates: dict[str, Update]) -> dict[str, Update]:
    """Restaining alone, and before each update that needs no more than the corrected cells."""
    also = {name: updates[name] for name in OF_RESTAINED if name in updates}
    return {restained.name: _same} | {f"{restained.name}, {name}": update for name, update in also.items()}


def _in_other_stain(lab: Lab, cells: Embeddings, restained: Restained) -> Lab:
    """The same corrected cells, and no others."""
    place = {int(cell): row for row, cell in enumerate(restained.cells.cell_id)}
    ids = cells.cell_id[lab.rows].tolist()
    missing = [cell for cell in ids if cell not in place]
    if missing:
        raise ClassifyError(
            f"Cell {missing[0]} is corrected, but not among the restained ones. Restain all corrected cells."
        )
    values = restained.cells.values[[place[cell] for cell in ids]]
    return replace(lab, values=values, rows=np.arange(len(ids)))


def _lab(before: Classifier, cells: Embeddings, labels: Sequence[str], name: str) -> Lab:
    if cells.embedder != before.embedder:
        raise ClassifyError(
            f"The model takes vectors of embedder {before.embedder[:12]}; these come from "
            f"{cells.embedder[:12]}. Embed the cells with the model's own bundle."
        )
    if len(labels) != len(cells):
        raise ClassifyError(
            f"{len(labels)} labels for {len(cells)} cells. Give one to each cell, empty where nobody looked."
        )
    check_finite(cells)
    given = np.asarray(labels, dtype=np.str_)
    rows = np.flatnonzero((given != "") & (given != UNIDENTIFIED))
    if len(rows) < LEAST_CORRECTED:
        raise ClassifyError(
            f"Corrected so far: {how_many(len(rows), 'cell')}; {LEAST_CORRECTED} at least are needed to "
            "judge an update. Which to correct: Next cell in the panel, or `classify suggest`."
        )
    if len(set(given[rows])) < LEAST_CLASSES:
        raise ClassifyError(
            f"All {len(rows)} corrected cells are {given[rows[0]]}: what they teach cannot be judged, for a "
            "model that calls every cell so would be right. Correct cells of another class too."
        )
    return Lab(name=name, values=cells.values, rows=rows, labels=given[rows])


def _quick(before: Classifier, rng: np.random.Generator) -> Classifier:
    """The same classifier as it is fitted for judging: on fewer old cells, by fewer trees."""
    if before.known is None:
        return before
    config = replace(
        before.config, trees=min(before.config.trees, FEW_TREES), rounds=min(before.config.rounds, FEW_ROUNDS)
    )
    return replace(before, known=thinned(before.known, JUDGED_ON, rng), config=config)


def _held_out(
    before: Classifier, lab: Lab, update: Update, parts: Sequence[NDArray[np.int32]]
) -> list[HeldOut]:
    """For each dealing: log-probabilities of each corrected cell by an update that did not see it, and the
    classes they are of."""
    names = tuple(sorted({*before.class_names, *map(str, lab.labels)}))
    result = []
    for part in parts:
        scores = np.full((len(lab.rows), len(names)), np.log(1e-6), np.float32)
        for number in range(part.max() + 1):
            seen, held = part != number, part == number
            updated = update(before, replace(lab, rows=lab.rows[seen], labels=lab.labels[seen]))
            ready = updated.standardise(lab.values[lab.rows[held]])
            columns = np.searchsorted(names, updated.class_names)
            likely = updated.calibration.probabilities(updated.scores(ready))
            scores[np.ix_(held, columns)] = np.log(likely + 1e-6)
        result.append((scores, names))
    return result


def _losses(name: str, held_out: list[HeldOut], labels: NDArray[np.str_]) -> NDArray[np.float64]:
    """-log(probability of the truth) of each cell, rare classes weighing more; mean of the dealings."""
    each = []
    for scores, names in held_out:
        truths = np.searchsorted(names, labels)
        # an update gets its temperature from held-out cells at the end: here too
        cooled = scores if name == NO_UPDATE else scores / best_temperature(scores, truths)
        likely = np.exp(log_softmax(cooled))[np.arange(len(truths)), truths]
        each.append(balance(truths) * -np.log((1 - NEVER) * likely + NEVER / len(names)))
    mean: NDArray[np.float64] = np.mean(each, axis=0)
    return mean


def _judge(
    name: str, held_out: list[HeldOut], labels: NDArray[np.str_], losses: NDArray[np.float64]
) -> Judged:
    right, balanced = [], []
    for scores, names in held_out:
        truths, guesses = np.searchsorted(names, labels), scores.argmax(axis=1)
        right.append(float(np.mean(guesses == truths)))
        balanced.append(balanced_accuracy(truths, guesses))
    return Judged(
        name=name,
        loss=float(losses.mean()),
        accuracy=float(np.mean(right)),
        balanced=float(np.mean(balanced)),
    )


def _best(judged: Sequence[Judged], losses: dict[str, NDArray[np.float64]], config: AdaptConfig) -> str:
    """Only updates that are better than no update by enough, and by which no more cells (of all, and class by
    class) become wrong than one; that of forests unless it is clearly worse. Of those that held-out cells
    cannot tell from the best one (a standard error of the difference), the first."""
    nothing, *updates = judged
    cells = len(losses[nothing.name])

    def worse(name: str, than: str, errors: float) -> bool:
        gap = losses[name] - losses[than]
        return bool(gap.mean() > errors * gap.std() / np.sqrt(cells))

    def good(one: Judged) -> bool:
        if one.name in FOR_FORESTS:
            return not worse(one.name, nothing.name, CLEARLY)
        return bool(
            one.loss < nothing.loss * (1 - config.least_gain)
            and one.accuracy >= nothing.accuracy - 1 / cells
            and one.balanced >= nothing.balanced - 1 / cells
        )

    possible_ones = [one for one in updates if good(one)]
    if not possible_ones:
        return nothing.name
    best = min(possible_ones, key=lambda one: one.loss)
    return next(one.name for one in possible_ones if not worse(one.name, best.name, 1))


def _finished(
    before: Classifier,
    lab: Lab,
    name: str,
    update: Update,
    held_out: list[HeldOut],
) -> Classifier:
    """The update on all corrected cells, calibrated on what it said when they were held out."""
    after = update(before, lab)
    calibration = _calibrated(before, after, lab, held_out[0])
    known, old = None, before.known
    if old is not None:
        known = Known.of(
            np.concatenate([old.values, lab.values[lab.rows]]),
            np.concatenate([old.labels, lab.labels]),
            np.concatenate([old.labs, np.full(len(lab.rows), lab.name)]),
        )
    note = f"adapted to {lab.name} from {len(lab.rows)} corrected cells: {name}"
    return replace(after, calibration=calibration, known=known, notes=(*before.notes, note))


def _calibrated(before: Classifier, after: Classifier, lab: Lab, held_out: HeldOut) -> Calibration:
    scores, names = held_out
    columns = np.searchsorted(names, after.class_names)
    own = after.calibration
    temperature = best_temperature(scores, np.searchsorted(names, lab.labels))
    known = np.isin(lab.labels, after.class_names)  # an update that is not trained anew learns no new class
    truths = np.searchsorted(after.class_names, lab.labels[known])
    cooled = np.exp(log_softmax(scores[np.ix_(known, columns)] / temperature))
    misfits = 1 - cooled[np.arange(len(truths)), truths]
    basis = f"{len(truths)} corrected cells of {lab.name}, each held out once"
    if len(truths) < MINIMUM and before.calibration.cells:
        old = before.calibration
        misfits = np.concatenate([misfits, old.misfits])
        moved = np.searchsorted(after.class_names, before.class_names)
        truths = np.concatenate([truths, moved[old.truths]])
        basis += f", and {old.basis}"
    return replace(
        own,
        method="temperature",
        temperature=own.temperature * temperature,
        offsets=own.offsets / temperature,
        misfits=misfits.astype(np.float32),
        truths=truths.astype(np.int32),
        basis=basis,
    )
