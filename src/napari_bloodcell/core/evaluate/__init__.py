"""Any methods x any labs x a protocol: the table of the papers, with honest intervals.

``evaluate(["labs/"], ["measurements/svm_linear"], out)``. Vectors and trials are kept on disk: a run that
broke off goes on where it stopped.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.artifact import check_writable
from napari_bloodcell.core.config.evaluate import EvaluateConfig
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.evaluate.cells import CellTable, check_labs, gather
from napari_bloodcell.core.evaluate.features import Features, features_of
from napari_bloodcell.core.evaluate.files import counts_of, tables_of, write_evaluation
from napari_bloodcell.core.evaluate.learned import LEARNED, scope_of, train_embedder
from napari_bloodcell.core.evaluate.methods import (
    PER_LAB,
    Method,
    embedder_of,
    methods_of,
    standardised_per_lab,
)
from napari_bloodcell.core.evaluate.protocols import Trial, trials_of
from napari_bloodcell.core.evaluate.scores import Score, scores_of
from napari_bloodcell.core.evaluate.trials import run_trials
from napari_bloodcell.core.folders import cache_folder
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.segment.choose import find_segmenter

__all__ = ["Evaluation", "evaluate", "tables_of", "write_evaluation"]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    config: EvaluateConfig
    scores: tuple[Score, ...]
    counts: Mapping[str, Counter[str]]  # cells for each class of each lab
    level: str
    embedders: Mapping[str, str]  # name -> hash
    notes: tuple[str, ...]


def evaluate(
    data: Sequence[str | Path],
    methods: Sequence[str],
    out: Path,
    config: EvaluateConfig = EvaluateConfig(),
    *,
    progress: Progress = silent,
) -> Evaluation:
    """Compare methods on labelled cells, and write tables, scores and figures into ``out``."""
    chosen = methods_of(methods)
    table = gather(data, config, progress=progress)
    check_labs(table, config.protocol)
    trials, notes = trials_of(table, config)
    work = [(method, trial) for method in chosen for trial in trials]
    wanted = {method.features(trial, config.protocol): (method, trial) for method, trial in work}
    check_writable(Path(out))
    features = _features(table, wanted, Path(out), config, progress)
    found = np.logical_and.reduce([one.found for one in features.values()])
    _check_found(table, found)
    trials, notes = trials_of(table, config, found)
    work = [(method, trial) for method in chosen for trial in trials]
    answers = run_trials(
        table,
        features,
        work,
        Path(out) / "trials",
        config=config,
        progress=progress,
    )
    evaluation = Evaluation(
        config=config,
        scores=tuple(scores_of(table, work, answers, features, config)),
        counts=counts_of(table.labels.tolist(), table.lab.tolist()),
        level=table.level,
        embedders={name: one.embedder for name, one in features.items()},
        notes=(
            *notes,
            *_not_found(table, found),
            *_shortened(chosen, config),
            *_seen(chosen, features, table),
            *table.notes,
        ),
    )
    write_evaluation(Path(out), evaluation)
    return evaluation


def _features(
    table: CellTable,
    wanted: Mapping[str, tuple[Method, Trial]],
    out: Path,
    config: EvaluateConfig,
    progress: Progress,
) -> dict[str, Features]:
    """By ``Method.features``; each embedding is computed, and where it has to be, trained, once."""
    plain: dict[str, Features] = {}
    result: dict[str, Features] = {}
    for name, (method, trial) in wanted.items():
        source = name if method.learned else method.embedding
        if source not in plain:
            plain[source] = _described(table, method, trial, out, config, progress)
        one = plain[source]
        if method.how == PER_LAB:
            labs = np.where(one.found, table.lab, "not found")
            one = replace(one, values=standardised_per_lab(one.values, labs))
        result[name] = one
    return result


def _described(
    table: CellTable, method: Method, trial: Trial, out: Path, config: EvaluateConfig, progress: Progress
) -> Features:
    if method.learned:
        scope = scope_of(LEARNED[method.embedding], method.how, trial, config.protocol)
        place = out / "embedders"
        embedder = train_embedder(method.embedding, scope, table, place, config, progress=progress)
    else:
        embedder = embedder_of(method.embedding)
    folder = cache_folder() / "features" / embedder.hash[:16]
    return features_of(table, embedder, folder, find_segmenter(config.segmenter), progress=progress)


def _check_found(table: CellTable, found: NDArray[np.bool_]) -> None:
    for lab in table.labs:
        rows = table.rows_of(lab)
        if not found[rows].any():
            scale = table.cells[rows[0]].um_per_px
            taken = "unknown" if scale is None else f"taken as {scale:g} µm"
            raise DataError(
                f"None of the {len(rows)} cells of {lab} was found in its picture (pixel size {taken}); the "
                f"first is {table.cells[rows[0]].path}. Look at it, add masks, or correct the pixel size."
            )


def _not_found(table: CellTable, found: NDArray[np.bool_]) -> list[str]:
    counts = Counter(table.lab[~found].tolist())
    return [f"{count} cells of {lab} were not found in their pictures." for lab, count in counts.items()]


def _shortened(methods: Sequence[Method], config: EvaluateConfig) -> list[str]:
    """Embeddings that were trained for less than they were published with."""
    return [
        f"{name} was trained for {config.epochs} of the {LEARNED[name].epochs} epochs it was published with: "
        "its figures are no measure of the method."
        for name in dict.fromkeys(method.embedding for method in methods if method.learned)
        if config.epochs is not None and config.epochs < LEARNED[name].epochs
    ]


def _seen(methods: Sequence[Method], features: Mapping[str, Features], table: CellTable) -> list[str]:
    """Embedders brought from elsewhere that know labs of the comparison."""
    notes = []
    for name in dict.fromkeys(method.described for method in methods if not method.learned):
        labs = sorted(features[name].labs_seen & set(table.labs))
        if labs:
            notes.append(
                f"{name} was trained on cells of {', '.join(labs)}: no figure there is of a new lab."
            )
    return notes
