"""Running trials: each is fitted and tried once, its answers are kept on disk, in one process or many."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.artifact import hash_of, read_kept, write_arrays
from napari_bloodcell.core.config.evaluate import EvaluateConfig
from napari_bloodcell.core.evaluate.cells import CellTable
from napari_bloodcell.core.evaluate.features import Features, vectors_of
from napari_bloodcell.core.evaluate.methods import Method, fit
from napari_bloodcell.core.evaluate.protocols import Rows, Trial
from napari_bloodcell.core.evaluate.side_by_side import run_missing
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import UNIDENTIFIED

VERSION = 3  # raise it when a trial would answer otherwise
NEW_SHARE = 0.5  # weight of the corrected cells together, against all others
MOST_COPIES = 100


@dataclass(frozen=True, kw_only=True, eq=False)
class TrialAnswers:
    """What one classifier said of the rows it was tried on. Rows that were not found have no answer."""

    rows: Rows
    probabilities: NDArray[np.float32]  # rows x class_names
    class_names: tuple[str, ...]
    identified: NDArray[np.bool_]  # of the rows: False where it doubted the answer too much to give it
    update: str = ""  # that an adapted bundle kept


@dataclass(frozen=True, kw_only=True, eq=False)
class Shared:
    """What every trial needs: sent once to each process."""

    labels: NDArray[np.str_]
    group: NDArray[np.str_]
    key: NDArray[np.str_]
    features: Mapping[str, Features]  # by Method.features


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    method: Method
    trial: Trial
    config: EvaluateConfig
    path: Path


def run_trials(
    table: CellTable,
    features: Mapping[str, Features],
    work: Sequence[tuple[Method, Trial]],
    folder: Path,
    *,
    config: EvaluateConfig,
    progress: Progress = silent,
) -> list[TrialAnswers]:
    """The answers of each method and trial, in order. What ``folder`` holds already is not run again."""
    shared = Shared(labels=table.labels, group=table.group, key=table.key, features=features)
    tasks = [
        Task(
            method=method,
            trial=trial,
            config=config,
            path=folder / f"{_name_of(shared, method, trial, config)}",
        )
        for method, trial in work
    ]
    return run_missing(
        _run, shared, tasks, _kept, workers=config.workers, stage="Trying classifiers", progress=progress
    )


def _run(shared: Shared, task: Task) -> TrialAnswers:
    trial = task.trial
    features = shared.features[task.method.features(trial, task.config.protocol)]
    learned = np.concatenate([trial.train, np.repeat(trial.corrected, _copies(trial))])
    classifier = fit(
        task.method,
        vectors_of(features, learned),
        shared.labels[learned].tolist(),
        _shared_groups(shared.group[learned]),
        task.config,
    )
    tried = tried_in(trial)
    place = np.flatnonzero(features.found[tried])
    predictions = classifier.predict(vectors_of(features, tried[place]))
    probabilities, names = np.asarray(predictions.probabilities), predictions.class_names
    identified = np.asarray(predictions.labels) != UNIDENTIFIED
    write_arrays(
        task.path,
        "trial",
        {"place": place, "probabilities": probabilities, "identified": identified.astype(np.uint8)},
        config={"method": task.method.name, "class_names": list(names)},
    )
    return TrialAnswers(
        rows=tried[place], probabilities=probabilities, class_names=names, identified=identified
    )


def tried_in(trial: Trial) -> Rows:
    return np.concatenate([rows for _, rows in trial.tests])


def _shared_groups(group: NDArray[np.str_]) -> list[str] | None:
    """None where every cell stands alone."""
    return group.tolist() if len(set(group.tolist())) < len(group) else None


def _copies(trial: Trial) -> int:
    """How often a corrected cell counts."""
    if not len(trial.corrected):
        return 1
    wanted = NEW_SHARE / (1 - NEW_SHARE) * len(trial.train) / len(trial.corrected)
    return int(np.clip(round(wanted), 1, MOST_COPIES))


def _name_of(shared: Shared, method: Method, trial: Trial, config: EvaluateConfig) -> str:
    """Everything the answers depend on; cells by their content, so that moved folders change nothing."""

    def cells(rows: Rows) -> list[str]:
        return [f"{shared.key[row][:16]} {shared.labels[row]} {shared.group[row][:16]}" for row in rows]

    made_from = {
        "method": method.name,
        "embedder": shared.features[method.features(trial, config.protocol)].embedder,
        "train": hash_of(cells(trial.train)),
        "corrected": hash_of(cells(trial.corrected)),
        "tests": [[lab, hash_of(cells(rows))] for lab, rows in trial.tests],
        "seen": hash_of(shared.key.tolist()) if method.sees_target else "",
        "seed": config.seed,
        "settings": config.settings,
        "segmenter": config.segmenter,
        "version": VERSION,
    }
    return f"{hash_of(made_from)}.safetensors"


def _kept(task: Task) -> TrialAnswers | None:
    kept = read_kept(task.path, "trial")
    if kept is None:
        return None
    header, arrays = kept
    return TrialAnswers(
        rows=tried_in(task.trial)[arrays["place"]],
        probabilities=arrays["probabilities"],
        class_names=tuple(header.config["class_names"]),
        identified=arrays["identified"].astype(bool),
    )
