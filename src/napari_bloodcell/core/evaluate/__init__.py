"""Any methods x any labs x a protocol: the table of the papers, with honest intervals.

``evaluate(["labs/"], ["measurements/svm_linear"], out)``. Vectors and trials are kept on disk: a run that
broke off goes on where it stopped.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.artifact import check_writable
from napari_bloodcell.core.config.evaluate import EvaluateConfig
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.evaluate.cells import CellTable, check_labs, gather
from napari_bloodcell.core.evaluate.features import Features, features_of
from napari_bloodcell.core.evaluate.files import counts_of, tables_of, write_evaluation
from napari_bloodcell.core.evaluate.methods import Method, embedder_of, methods_of, standardised_per_lab
from napari_bloodcell.core.evaluate.protocols import trials_of
from napari_bloodcell.core.evaluate.scores import Score, scores_of
from napari_bloodcell.core.evaluate.trials import run_trials
from napari_bloodcell.core.folders import cache_folder
from napari_bloodcell.core.progress import Progress, silent

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
    check_writable(Path(out))
    table = gather(data, config, progress=progress)
    check_labs(table, config.protocol)
    features = _features(table, chosen, progress)
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
        scores=tuple(scores_of(table, work, answers, config)),
        counts=counts_of(table.labels.tolist(), table.lab.tolist()),
        level=table.level,
        embedders={name: one.embedder for name, one in features.items()},
        notes=(*notes, *_not_found(table, found), *table.notes),
    )
    write_evaluation(Path(out), evaluation)
    return evaluation


def _features(table: CellTable, methods: Sequence[Method], progress: Progress) -> dict[str, Features]:
    """By ``Method.described``; each embedding is computed once."""
    plain: dict[str, Features] = {}
    result: dict[str, Features] = {}
    for method in methods:
        if method.embedding not in plain:
            embedder = embedder_of(method.embedding)
            folder = cache_folder() / "features" / embedder.hash[:16]
            plain[method.embedding] = features_of(table, embedder, folder, progress=progress)
        one = plain[method.embedding]
        if method.per_lab and method.described not in result:
            values = standardised_per_lab(one.values, np.where(one.found, table.lab, "not found"))
            one = Features(values=values, found=one.found, names=one.names, embedder=one.embedder)
        result.setdefault(method.described, one)
    return result


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
