"""Who is trained on, who is tried: each protocol as a list of ``Trial``.

A trial is one classifier. No patient, slide or picture is ever on both sides; ``check`` refuses it.
"""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.config import EvaluateConfig
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.evaluate.cells import CellTable

Rows = NDArray[np.int64]
LEAST_TO_TRAIN = 2  # cells of a class: with one, nothing can be held out to check it


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """One classifier: the rows it learns from, and for each lab the rows it is tried on."""

    source: str  # lab trained on; "" where all labs but the target are
    fold: int
    train: Rows
    tests: tuple[tuple[str, Rows], ...]
    corrected: Rows  # cells of the target that a person has named; empty but in few-shot
    shots: int = 0
    pool: Rows = field(default_factory=lambda: np.zeros(0, np.int64))  # those a person might be asked about


def trials_of(
    table: CellTable, config: EvaluateConfig, found: NDArray[np.bool_] | None = None, *, fits: bool = True
) -> tuple[list[Trial], list[str]]:
    """The trials of a protocol, and what a reader of its table must know. Cells that were not ``found`` are
    not trained on, but are tried: they count as wrong. ``fits``: something is trained; finished models alone
    are tried on whole labs, or on the half of few-shot that is not corrected."""
    if not fits and config.protocol != "few-shot":
        return _whole_labs(table), []
    there = np.ones(len(table), bool) if found is None else found
    make = {"cross-domain": _cross_domain, "leave-one-lab-out": _leave_one_out, "few-shot": _few_shot}
    trials, notes = make[config.protocol](table, config)
    ready = []
    for trial in trials:
        kept, dropped = _trainable(table, trial, there) if fits else (trial, [])
        ready.append(kept)
        notes += [
            f"{name}: one cell in {_learned_in(trial)}, so it was not trained there." for name in dropped
        ]
        check(table.group, kept)
    return ready, list(dict.fromkeys(notes))


def _whole_labs(table: CellTable) -> list[Trial]:
    nobody = np.zeros(0, np.int64)
    return [
        Trial(source="", fold=0, train=nobody, tests=((lab, table.rows_of(lab)),), corrected=nobody)
        for lab in table.labs
    ]


def check(group: NDArray[np.str_], trial: Trial) -> None:
    """A patient, slide or picture on both sides makes every figure worthless: refused."""
    seen = set(group[trial.train].tolist()) | set(group[trial.pool].tolist())
    seen |= set(group[trial.corrected].tolist())
    for lab, rows in trial.tests:
        leaking = sorted(seen & set(group[rows].tolist()))
        if leaking:
            raise DataError(
                f"{len(leaking)} groups are on both sides of fold {trial.fold} of {trial.source or lab}: the "
                f"first is {leaking[0]!r}. Cells of one patient, slide or picture must stay on one side. "
                "Correct the group column, or leave the doubled pictures out."
            )


def folds_of(labels: NDArray[np.str_], group: NDArray[Any], folds: int, seed: int) -> list[tuple[Rows, Rows]]:
    """Train and test rows of each fold, stratified by class. As published (StratifiedKFold, shuffled) where
    every cell is a group of its own; else no group is cut."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    alone = len(set(group.tolist())) == len(group)
    kind = StratifiedKFold if alone else StratifiedGroupKFold
    splitter = kind(n_splits=folds, shuffle=True, random_state=seed)
    together = None if alone else group
    with warnings.catch_warnings():
        # A class with fewer cells than folds: we say so ourselves, by name.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        return [(train, test) for train, test in splitter.split(labels, labels, together) if len(test)]


def possible_folds(labels: NDArray[np.str_], group: NDArray[Any], asked: int) -> int:
    """As many as there are cells of the commonest class, and groups; never more than asked."""
    commonest = max(Counter(labels.tolist()).values())
    return min(asked, commonest, len(set(group.tolist())))


def _cross_domain(table: CellTable, config: EvaluateConfig) -> tuple[list[Trial], list[str]]:
    trials, notes = [], []
    for source in table.labs:
        own = table.rows_of(source)
        labels, group = table.labels[own], table.group[own]
        folds = possible_folds(labels, group, config.folds)
        if folds < config.folds:
            notes.append(f"{source}: {folds} folds instead of {config.folds}, it has too few cells for more.")
        if folds < 2:
            raise DataError(
                f"{source} has {len(own)} cells, too few for two folds. Add cells, or leave this lab out."
            )
        rare = sorted(name for name, count in Counter(labels.tolist()).items() if count < folds)
        if rare:
            notes.append(f"{source}: fewer cells than folds of {', '.join(rare)}; some folds test none.")
        for fold, (train, test) in enumerate(folds_of(labels, group, folds, config.seed)):
            others = [(lab, _not_in(table, table.rows_of(lab), own)) for lab in table.labs if lab != source]
            trials.append(
                Trial(
                    source=source,
                    fold=fold,
                    train=own[train],
                    tests=((source, own[test]), *others),
                    corrected=np.zeros(0, np.int64),
                )
            )
    return trials, [*notes, *_doubled(table)]


def _leave_one_out(table: CellTable, config: EvaluateConfig) -> tuple[list[Trial], list[str]]:  # noqa: ARG001
    trials = []
    for target in table.labs:
        own = table.rows_of(target)
        others = np.flatnonzero(table.lab != target)
        tests = ((target, _not_in(table, own, others)),)
        trials.append(Trial(source="", fold=0, train=others, tests=tests, corrected=np.zeros(0, np.int64)))
    return trials, _doubled(table)


def _few_shot(table: CellTable, config: EvaluateConfig) -> tuple[list[Trial], list[str]]:
    """Half of the target, by groups, is scored; the corrected cells come from the other half, the pool. More
    shots keep the cells of fewer."""
    trials, notes = [], []
    for place, target in enumerate(table.labs):
        others = np.flatnonzero(table.lab != target)
        own = _not_in(table, table.rows_of(target), others)
        most = 0
        for repeat in range(config.repeats):
            rng = np.random.default_rng([config.seed, place, repeat])
            pool, scored = _halves(table, own, rng)
            most = max(most, len(pool))
            for shots in sorted(set(config.shots)):
                if shots > len(pool):
                    continue
                trials.append(
                    Trial(
                        source="",
                        fold=repeat,
                        train=others,
                        tests=((target, scored),),
                        corrected=pool[:shots],
                        shots=shots,
                        pool=pool,
                    )
                )
        too_many = [str(shots) for shots in sorted(set(config.shots)) if shots > most]
        if too_many:
            notes.append(f"{target} has {most} cells to correct: no figure for {', '.join(too_many)}.")
    return trials, [*notes, *_doubled(table)]


def _halves(table: CellTable, rows: Rows, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Two halves in random order, groups whole."""
    _, group = np.unique(table.group[rows], return_inverse=True)
    order = rng.permutation(int(group.max(initial=-1)) + 1)
    sizes = np.bincount(group, minlength=len(order))[order]
    first = set(order[np.cumsum(sizes) <= len(rows) / 2].tolist())
    inside = np.array([one in first for one in group.tolist()], bool)
    return rng.permutation(rows[inside]), rows[~inside]


def _trainable(table: CellTable, trial: Trial, found: NDArray[np.bool_]) -> tuple[Trial, list[str]]:
    """Without classes of a single cell. They still count where they are tested."""
    learned = np.concatenate([trial.train, trial.corrected])
    counts = Counter(table.labels[learned[found[learned]]].tolist())
    dropped = sorted(name for name, count in counts.items() if count < LEAST_TO_TRAIN)
    keep = found & ~np.isin(table.labels, dropped)
    kept = replace(
        trial, train=trial.train[keep[trial.train]], corrected=trial.corrected[keep[trial.corrected]]
    )
    if len(counts) - len(dropped) < 2:
        raise DataError(
            f"{_where(trial)} has cells of fewer than two classes with {LEAST_TO_TRAIN} cells each: "
            f"{_counted(counts)}. Add cells, or leave this lab out."
        )
    return kept, dropped


def _not_in(table: CellTable, rows: Rows, others: Rows) -> Rows:
    """Cells whose picture or patient is not among the others: sets borrow pictures from each other."""
    return rows[~np.isin(table.group[rows], table.group[others])]


def _doubled(table: CellTable) -> list[str]:
    notes = []
    for place, lab in enumerate(table.labs):
        for other in table.labs[place + 1 :]:
            shared = set(table.group[table.rows_of(lab)]) & set(table.group[table.rows_of(other)])
            if shared:
                notes.append(
                    f"{len(shared)} pictures or patients are in {lab} and in {other}: where one is trained "
                    "on, they are not scored in the other."
                )
    return notes


def _where(trial: Trial) -> str:
    return trial.source or f"the labs without {trial.tests[0][0]}"


def _learned_in(trial: Trial) -> str:
    return f"a training fold of {trial.source}" if trial.source else _where(trial)


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def columns_of(trials: Sequence[Trial]) -> list[tuple[str, str, int]]:
    """Source, target and shots of each column of the table, in the order of the trials."""
    return list(dict.fromkeys((t.source, lab, t.shots) for t in trials for lab, _ in t.tests))
