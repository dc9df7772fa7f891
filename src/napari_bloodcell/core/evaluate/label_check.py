"""Labels of an evaluation that its own answers contradict, as a table and as a page with pictures.

Each lab is judged by the column that agrees best with its labels, among those that had not seen them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.artifact import write_bytes
from napari_bloodcell.core.errors import BloodcellError
from napari_bloodcell.core.evaluate.cells import CellTable
from napari_bloodcell.core.evaluate.methods import Method
from napari_bloodcell.core.evaluate.protocols import Trial
from napari_bloodcell.core.evaluate.scores import TRAINED_ON, Score
from napari_bloodcell.core.evaluate.table import column_name
from napari_bloodcell.core.evaluate.trials import TrialAnswers
from napari_bloodcell.core.image import read_image
from napari_bloodcell.core.records import ByteArray
from napari_bloodcell.core.report.gallery import Doubtful, picture_of
from napari_bloodcell.core.report.page import cells_page
from napari_bloodcell.core.rows import csv_text
from napari_bloodcell.core.uncertainty.contradicted import contradicted

NAME = "labels_to_check"
MOST_PICTURED = 100
WHAT_THEY_ARE = (
    "A classifier contradicts these labels: it is as sure of another class as it is, on average, of the "
    "cells that carry that class. Either may be wrong. It had not seen the labels, but where (trained on) "
    "stands beside it: that is a bundle made with cells of the lab, and it finds less. Labels put right "
    "from this list alone flatter every figure: where label and model agree by mistake, nothing is listed."
)

Answers = Sequence[tuple[tuple[Method, Trial], TrialAnswers]]


@dataclass(frozen=True, kw_only=True)
class ToCheck:
    """One label. ``row`` is the cell's in the table."""

    row: int
    answer: str
    probability: float
    of_label: float  # probability of the label's class
    judge: str

    @property
    def gap(self) -> float:
        return self.probability - self.of_label


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One lab: who judged its labels, how many it could judge, and which it contradicts."""

    lab: str
    judge: str
    cells: int
    found: tuple[ToCheck, ...]


def labels_to_check(
    table: CellTable,
    work: Sequence[tuple[Method, Trial]],
    answers: Sequence[TrialAnswers],
    scores: Sequence[Score],
) -> tuple[Judged, ...]:
    """Of each lab that anything was tried on."""
    pairs = list(zip(work, answers, strict=True))
    judged = []
    for lab in table.labs:
        columns = [score for score in scores if score.target == lab and score.cells]
        if columns:
            best = max(columns, key=_merit)
            judged.append(_judge(table, _of_column(pairs, best), best))
    return tuple(judged)


def _merit(score: Score) -> tuple[bool, float]:
    """A bundle that learnt the labels says what they say."""
    return not _has_learnt_there(score), score.metrics["accuracy"].value


def _has_learnt_there(score: Score) -> bool:
    return score.frozen and score.sees_target


def _of_column(answers: Answers, score: Score) -> list[TrialAnswers]:
    return [
        answer
        for (method, trial), answer in answers
        if method.name == score.method
        and (trial.source, trial.shots) == (score.source, score.shots)
        and score.target in {lab for lab, _ in trial.tests}
    ]


def _judge(table: CellTable, answers: Sequence[TrialAnswers], score: Score) -> Judged:
    rows, names, probabilities = _averaged(answers, table.rows_of(score.target))
    labels = table.labels[rows]
    judge = f"{score.method}, {column_name(score.key)}" + TRAINED_ON * _has_learnt_there(score)
    against = contradicted(probabilities, names, labels)
    found = [
        ToCheck(
            row=int(rows[at]),
            answer=names[int(probabilities[at].argmax())],
            probability=float(probabilities[at].max()),
            of_label=float(probabilities[at, names.index(str(labels[at]))]),
            judge=judge,
        )
        for at in np.flatnonzero(against)
    ]
    found.sort(key=lambda one: (-one.gap, one.row))
    return Judged(lab=score.target, judge=judge, cells=len(rows), found=tuple(found))


def _averaged(
    answers: Sequence[TrialAnswers], own: NDArray[np.int64]
) -> tuple[NDArray[np.int64], list[str], NDArray[np.float64]]:
    """The mean over all classifiers that a cell was tried by. Classes of one name (at the coarse level)
    count together."""
    names = sorted({name for answer in answers for name in answer.class_names})
    sums: dict[int, NDArray[np.float64]] = {}
    times: dict[int, int] = {}
    for answer in answers:
        places = [names.index(name) for name in answer.class_names]
        for at in np.flatnonzero(np.isin(answer.rows, own)):
            row = int(answer.rows[at])
            np.add.at(sums.setdefault(row, np.zeros(len(names))), places, answer.probabilities[at])
            times[row] = times.get(row, 0) + 1
    rows = sorted(sums)
    means = np.array([sums[row] / times[row] for row in rows]).reshape(len(rows), len(names))
    return np.asarray(rows, np.int64), names, means


def write_labels_to_check(folder: Path, table: CellTable, judged: Sequence[Judged]) -> None:
    """The table holds all of them, the most contradicted first; the page pictures the first hundred."""
    found = sorted((one for lab in judged for one in lab.found), key=lambda one: (-one.gap, one.row))
    write_bytes(folder / f"{NAME}.csv", csv_text(_lines(table, found)).encode())
    shown = found[:MOST_PICTURED]
    number = _numbers(table)
    cells = [_pictured(table, one, number[one.row]) for one in shown]
    more = f" All are in {NAME}.csv; the first {len(shown)} are shown." if len(found) > len(shown) else ""
    title = f"{len(found)} labels to look at again"
    write_bytes(folder / f"{NAME}.html", cells_page(title, WHAT_THEY_ARE + more, cells).encode())


def _lines(table: CellTable, found: Sequence[ToCheck]) -> Iterator[Sequence[object]]:
    yield ("lab", "image", "box", "group", "label", "answer", "probability", "probability_of_label", "judge")
    for one in found:
        cell, row = table.cells[one.row], one.row
        box = "" if cell.box_xyxy is None else " ".join(map(str, cell.box_xyxy))
        about = (table.lab[row], str(cell.path), box, table.group[row], table.labels[row])
        yield (*about, one.answer, f"{one.probability:.4f}", f"{one.of_label:.4f}", one.judge)


def _numbers(table: CellTable) -> list[int]:
    """Of each cell in its own picture, from 1."""
    seen: dict[Path, int] = {}
    numbers = []
    for cell in table.cells:
        seen[cell.path] = seen.get(cell.path, 0) + 1
        numbers.append(seen[cell.path])
    return numbers


def _pictured(table: CellTable, one: ToCheck, number: int) -> Doubtful:
    cell, label = table.cells[one.row], str(table.labels[one.row])
    shares = ((one.answer, one.probability), (label, one.of_label))
    return Doubtful(
        image=f"{table.lab[one.row]}: {cell.path.name}",
        cell_id=number,
        cell_type=label,
        guess=", ".join(f"{name.replace('_', ' ')} {share:.0%}" for name, share in shares),
        doubt=one.judge,
        pixels=_cut_out(cell.path, cell.box_xyxy),
    )


def _cut_out(path: Path, box: Sequence[int] | None) -> ByteArray | None:
    """A picture of one cell is shown whole."""
    try:
        pixels = read_image(path).pixels
    except BloodcellError:
        return None
    if box is not None:
        return picture_of(pixels, box)
    height, width = pixels.shape[:2]
    return picture_of(pixels, (0, 0, width, height), margin=0.0)


def counts_told(judged: Sequence[Judged]) -> dict[str, Mapping[str, object]]:
    """For ``evaluation.json``."""
    return {one.lab: {"judge": one.judge, "cells": one.cells, "to_check": len(one.found)} for one in judged}


def told(judged: Sequence[Judged]) -> list[str]:
    """A section of ``table.md``."""
    if not judged:
        return []
    lines = [
        "## Labels to look at again",
        "",
        f"{WHAT_THEY_ARE} Pictures are in {NAME}.html, all of them in {NAME}.csv.",
        "",
        "| lab | judged by | cells | to look at |",
        "|---|---|---|---|",
    ]
    return [*lines, *(f"| {one.lab} | {one.judge} | {one.cells} | {len(one.found)} |" for one in judged), ""]
