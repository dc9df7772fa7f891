"""Answers -> scores: one ``Score`` for each method and column of the table."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.config import EvaluateConfig
from napari_bloodcell.core.evaluate import metrics
from napari_bloodcell.core.evaluate.cells import CellTable
from napari_bloodcell.core.evaluate.features import Features
from napari_bloodcell.core.evaluate.intervals import Drawn, differences, intervals_of, resampled
from napari_bloodcell.core.evaluate.methods import Method
from napari_bloodcell.core.evaluate.protocols import Trial
from napari_bloodcell.core.evaluate.trials import TrialAnswers
from napari_bloodcell.core.report import exact_limits

FROZEN_KIND, ADAPTED_KIND = "frozen bundle", "adapted bundle"
TRAINED_ON = " (trained on)"  # beside a figure of a lab that a bundle knows from before
Key = tuple[str, str, int]  # source ("" for all labs but the target), target, shots


@dataclass(frozen=True, kw_only=True)
class Value:
    """A metric with its bootstrap interval, and its spread over classifiers (no interval: see intervals)."""

    value: float
    low: float
    high: float
    spread: float


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A metric less that of another method on the same cells, with its bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Recall:
    """Of one class: right answers among its cells, with exact limits for that many cells."""

    class_name: str
    cells: int
    recall: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Score:
    method: str
    sees_target: bool
    source: str
    target: str
    shots: int
    cells: int  # tried, each counted once
    not_found: int
    classifiers: int  # each tried on the cells, or on its fold of them
    metrics: dict[str, Value]
    majority: float  # accuracy of one answer for all
    ceiling: float  # best accuracy with the classes that were trained
    calibration_error: float
    surest_half: float  # accuracy of it
    recalls: tuple[Recall, ...]
    class_names: tuple[str, ...]
    confusion: tuple[tuple[float, ...], ...]  # cells, averaged over classifiers; last column: no answer
    reliability: tuple[tuple[float, float, int], ...]  # sure, right, cells
    risk_coverage: tuple[tuple[float, float], ...]
    unidentified: float = 0.0  # share of the cells found
    accuracy_identified: float | None = None  # None where none was identified
    compared_with: str = ""  # the first method of the list; "" for that one
    differences: dict[str, Difference] = field(default_factory=dict)  # to it
    frozen: bool = False  # a bundle: no classifier was fitted from nothing
    adapted: str = ""  # inductive or transductive, where it learned from corrected cells

    @property
    def key(self) -> Key:
        return (self.source, self.target, self.shots)

    @property
    def in_domain(self) -> bool:
        return self.source == self.target

    @property
    def kind(self) -> str:
        """How much of the lab tried it had seen, in words."""
        if self.frozen:
            adapted = f"{ADAPTED_KIND}, {self.adapted}" if self.adapted else FROZEN_KIND
            return adapted + TRAINED_ON * self.sees_target
        return "transductive" if self.sees_target else "inductive"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def scores_of(
    table: CellTable,
    work: Sequence[tuple[Method, Trial]],
    answers: Sequence[TrialAnswers],
    features: Mapping[str, Features],
    config: EvaluateConfig,
) -> list[Score]:
    """One score for each method and column, in the order of the work."""
    columns: dict[tuple[Method, Key], list[tuple[NDArray[np.int64], TrialAnswers, set[str]]]] = {}
    seen: set[tuple[Method, Key]] = set()
    for (method, trial), answer in zip(work, answers, strict=True):
        for target, rows in trial.tests:
            place = (method, (trial.source, target, trial.shots))
            columns.setdefault(place, []).append((rows, answer, set(answer.class_names)))
            labs = features[method.features(trial, config.protocol)].labs_seen
            if method.sees_target or target in labs:
                seen.add(place)
    first = work[0][0] if work else None
    references: dict[Key, tuple[metrics.Answers, Drawn]] = {}
    scores = []
    for place, parts in columns.items():
        counted = _answers(table, parts)
        own = (counted, resampled(counted, samples=config.bootstrap, seed=config.seed))
        score = _score(table, place, parts, own, place in seen, config)
        if place[0] == first:
            references[place[1]] = own
        elif first is not None and score.cells:
            score = _compared(score, own, first.name, references[place[1]], config)
        scores.append(score)
    return scores


def _compared(
    score: Score,
    own: tuple[metrics.Answers, Drawn],
    name: str,
    first: tuple[metrics.Answers, Drawn],
    config: EvaluateConfig,
) -> Score:
    apart = differences(*own, *first, config.confidence)
    found = {
        metric: Difference(value=value, low=low, high=high) for metric, (value, (low, high)) in apart.items()
    }
    return replace(score, compared_with=name, differences=found)


def _score(
    table: CellTable,
    column: tuple[Method, Key],
    parts: Sequence[tuple[NDArray[np.int64], TrialAnswers, set[str]]],
    given: tuple[metrics.Answers, Drawn],
    sees_target: bool,
    config: EvaluateConfig,
) -> Score:
    method, key = column
    answers, drawn = given
    values = intervals_of(answers, drawn, config.confidence)
    tables = answers.tables()
    each = metrics.scores_of(tables)
    tried = [rows for rows, _, _ in parts]
    distinct = np.unique(np.concatenate(tried))
    known = [metrics.ceiling(table.labels[rows], names) for rows, _, names in parts if len(rows)]
    answered = answers.predicted >= 0
    sure = answered & answers.identified
    share = _reliability(answers)
    coverage, risk = metrics.risk_coverage(answers.confidence, answers.right)
    thin = np.unique(np.linspace(0, len(coverage) - 1, min(200, len(coverage))).astype(int))
    return Score(
        method=method.name,
        sees_target=sees_target,
        source=key[0],
        target=key[1],
        shots=key[2],
        cells=len(distinct),
        not_found=len(set(distinct.tolist()) - set(np.concatenate([p[1].rows for p in parts]).tolist())),
        classifiers=len(parts),
        metrics={
            name: Value(value=value, low=low, high=high, spread=float(np.std(each[name])))
            for name, (value, (low, high)) in values.items()
        },
        majority=metrics.majority(np.unique(table.labels[distinct], return_inverse=True)[1]),
        ceiling=float(np.mean(known)) if known else 0.0,
        calibration_error=share.error,
        surest_half=metrics.accuracy_of_surest(answers.confidence, answers.right),
        unidentified=float(np.mean(~answers.identified[answered])) if answered.any() else 0.0,
        accuracy_identified=float(np.mean(answers.right[sure])) if sure.any() else None,
        recalls=_recalls(table, distinct, answers, tables, config),
        class_names=answers.class_names,
        confusion=tuple(tuple(row) for row in _per_cell(tables, len(answers.truth), len(distinct)).tolist()),
        reliability=tuple(
            (float(s), float(r), int(n)) for s, r, n in zip(share.sure, share.right, share.cells, strict=True)
        ),
        risk_coverage=tuple((float(coverage[i]), float(risk[i])) for i in thin),
        frozen=method.frozen,
        adapted=(method.how or "transductive") if method.frozen and key[2] else "",
    )


def _reliability(answers: metrics.Answers) -> metrics.Reliability:
    """Of the cells that got an answer."""
    answered = answers.predicted >= 0
    return metrics.reliability(answers.confidence[answered], answers.right[answered])


def _answers(
    table: CellTable, parts: Sequence[tuple[NDArray[np.int64], TrialAnswers, set[str]]]
) -> metrics.Answers:
    """All classifiers of a column, in one space of classes: those that occur and those that were answered."""
    names = sorted(set().union(*({*table.labels[rows].tolist()} | known for rows, _, known in parts)))
    index = {name: i for i, name in enumerate(names)}
    truth, predicted, fold, rows_all, confidence, identified = [], [], [], [], [], []
    for number, (rows, answer, _) in enumerate(parts):
        place = {int(row): i for i, row in enumerate(answer.rows)}
        own = np.array([place.get(int(row), -1) for row in rows], int)
        best = answer.probabilities.argmax(axis=1) if len(answer.rows) else np.zeros(0, int)
        sure = answer.probabilities.max(axis=1) if len(answer.rows) else np.zeros(0)
        there = own >= 0
        said = np.full(len(rows), -1)
        said[there] = [index[answer.class_names[i]] for i in best[own[there]]]
        how_sure = np.zeros(len(rows))
        how_sure[there] = sure[own[there]]
        truth += [index[name] for name in table.labels[rows].tolist()]
        predicted.append(said)
        confidence.append(how_sure)
        fold += [number] * len(rows)
        is_sure = np.zeros(len(rows), bool)
        is_sure[there] = answer.identified[own[there]]
        identified.append(is_sure)
        rows_all.append(rows)
    return metrics.Answers(
        class_names=tuple(names),
        truth=np.asarray(truth, int),
        predicted=np.concatenate(predicted).astype(int),
        fold=np.asarray(fold, int),
        group=table.group[np.concatenate(rows_all)],
        confidence=np.concatenate(confidence),
        identified=np.concatenate(identified),
    )


def _recalls(
    table: CellTable,
    distinct: NDArray[np.int64],
    answers: metrics.Answers,
    tables: NDArray[np.int64],
    config: EvaluateConfig,
) -> tuple[Recall, ...]:
    """A cell tried by five classifiers is one cell: its limits are no narrower for that."""
    whole = tables.sum(axis=0)
    labels, counts = np.unique(table.labels[distinct], return_counts=True)
    cells: Mapping[str, int] = dict(zip(labels.tolist(), counts.tolist(), strict=True))
    found = []
    for place, name in enumerate(answers.class_names):
        tried = whole[place].sum()
        if not tried:
            continue
        recall = float(whole[place, place] / tried)
        low, high = exact_limits(recall * cells[name], cells[name], config.confidence)
        found.append(Recall(class_name=name, cells=cells[name], recall=recall, low=low, high=high))
    return tuple(found)


def _per_cell(tables: NDArray[np.int64], rows: int, cells: int) -> NDArray[np.float64]:
    """Counts of all classifiers, scaled to the number of distinct cells."""
    return np.asarray(tables.sum(axis=0) * (cells / rows if rows else 0.0))
