"""Every answer of an evaluation, one row each, for metrics and tests of one's own: ``predictions.csv``."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from napari_bloodcell.core.artifact import atomic_path
from napari_bloodcell.core.config import EvaluateConfig
from napari_bloodcell.core.evaluate.cells import CellTable
from napari_bloodcell.core.evaluate.methods import Method
from napari_bloodcell.core.evaluate.protocols import Rows, Trial
from napari_bloodcell.core.evaluate.scores import Score
from napari_bloodcell.core.evaluate.trials import TrialAnswers
from napari_bloodcell.core.records import UNIDENTIFIED
from napari_bloodcell.core.rows import harmless

NAME = "predictions.csv"
NOT_FOUND = "not found"
ABOUT_TRIAL = ("method", "protocol", "source", "lab", "corrected", "fold", "seed")
ABOUT_CELL = ("image", "box", "group", "truth", "answer", "best_guess", "probability")


def write_predictions(
    folder: Path,
    table: CellTable,
    work: Sequence[tuple[Method, Trial]],
    answers: Sequence[TrialAnswers],
    scores: Sequence[Score],
    config: EvaluateConfig,
) -> None:
    """A cell that several classifiers were tried on has a row of each; ``fold`` tells them apart (in few-shot
    it is the draw of the corrected cells)."""
    kinds = {(score.method, score.key): score.kind for score in scores}
    with atomic_path(folder / NAME) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*ABOUT_TRIAL, *ABOUT_CELL])
        for (method, trial), answer in zip(work, answers, strict=True):
            for lab, rows in trial.tests:
                kind = kinds[method.name, (trial.source, lab, trial.shots)]
                source = trial.source or ("" if method.frozen else "all other labs")
                told = (method.name, kind, source, lab, trial.shots, trial.fold, config.seed)
                lines = ([*told, *cell] for cell in _cells(table, rows, answer))
                writer.writerows([harmless(value) for value in line] for line in lines)


def _cells(table: CellTable, rows: Rows, answer: TrialAnswers) -> Iterator[Sequence[object]]:
    place = {int(row): at for at, row in enumerate(answer.rows)}
    best = answer.probabilities.argmax(axis=1) if len(answer.rows) else np.zeros(0, int)
    for row in rows.tolist():
        cell, at = table.cells[row], place.get(row)
        box = "" if cell.box_xyxy is None else " ".join(map(str, cell.box_xyxy))
        about = (str(cell.path), box, table.group[row], table.labels[row])
        if at is None:
            yield (*about, NOT_FOUND, "", "")
            continue
        guess = answer.class_names[best[at]]
        said = guess if answer.identified[at] else UNIDENTIFIED
        yield (*about, said, guess, f"{answer.probabilities[at, best[at]]:.4f}")
