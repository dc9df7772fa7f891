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

from napari_bloodcell.core.artifact import only_writer
from napari_bloodcell.core.cells import by_name
from napari_bloodcell.core.config.evaluate import EvaluateConfig
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.evaluate.adapted import adapted_answers, check_adaptable, told_of_updates
from napari_bloodcell.core.evaluate.cells import CellTable, check_cells, check_labs, gather
from napari_bloodcell.core.evaluate.features import Features, features_of
from napari_bloodcell.core.evaluate.files import counts_of, replaced, tables_of, write_evaluation
from napari_bloodcell.core.evaluate.frozen import (
    answers_of,
    classes_of,
    described_by_bundle,
    part_of,
)
from napari_bloodcell.core.evaluate.label_check import (
    Judged,
    labels_to_check,
    write_labels_to_check,
)
from napari_bloodcell.core.evaluate.learned import LEARNED, scope_of, train_embedder
from napari_bloodcell.core.evaluate.methods import (
    PER_LAB,
    Method,
    embedder_of,
    methods_of,
    standardised_per_lab,
)
from napari_bloodcell.core.evaluate.notes import labs_known, not_found, of_bundles, of_columns, shortened
from napari_bloodcell.core.evaluate.predictions import write_predictions
from napari_bloodcell.core.evaluate.protocols import Trial, trials_of
from napari_bloodcell.core.evaluate.scores import Score, scores_of
from napari_bloodcell.core.evaluate.trials import TrialAnswers, run_trials, tried_in
from napari_bloodcell.core.folders import cache_folder
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.segment.choose import find_segmenter
from napari_bloodcell.core.words import some_of

__all__ = ["Evaluation", "evaluate", "tables_of", "write_evaluation"]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    config: EvaluateConfig
    scores: tuple[Score, ...]
    counts: Mapping[str, Counter[str]]  # cells for each class of each lab
    level: str
    embedders: Mapping[str, str]  # name -> hash
    notes: tuple[str, ...]
    judged: tuple[Judged, ...] = ()  # labels that the answers contradict


def evaluate(
    data: str | Path | Sequence[str | Path],
    methods: str | Sequence[str],
    out: Path,
    config: EvaluateConfig = EvaluateConfig(),
    *,
    progress: Progress = silent,
) -> Evaluation:
    """Compare methods on labelled cells, and write tables, scores and figures into ``out``."""
    data = [data] if isinstance(data, str | Path) else data
    chosen = methods_of([methods] if isinstance(methods, str) else methods)
    check_adaptable(chosen, config)
    table = gather(data, config, classes_of(chosen), progress=progress)
    fits = not all(method.frozen for method in chosen)
    check_cells(table)
    if fits:
        check_labs(table, config.protocol)
    trials, _ = trials_of(table, config, fits=fits)
    work = [(method, trial) for method in chosen for trial in trials]
    wanted = {method.features(trial, config.protocol): (method, trial) for method, trial in work}
    with only_writer(Path(out)):
        return _evaluated(table, chosen, wanted, Path(out), config, progress)


def _evaluated(
    table: CellTable,
    chosen: Sequence[Method],
    wanted: Mapping[str, tuple[Method, Trial]],
    out: Path,
    config: EvaluateConfig,
    progress: Progress,
) -> Evaluation:
    features = _features(table, wanted, out, config, progress)
    table, features, unread = _readable(table, features)
    for name, one in features.items():
        _check_found(table, one.found, frozen=wanted[name][0].frozen)
    trained = [one.found for name, one in features.items() if not wanted[name][0].frozen]
    found = np.logical_and.reduce(trained) if trained else None
    trials, notes = trials_of(table, config, found, fits=bool(trained))
    work = [(method, trial) for method in chosen for trial in trials]
    answers = _answers(table, features, work, out / "trials", config, progress)
    scores = tuple(scores_of(table, work, answers, features, config))
    evaluation = Evaluation(
        config=config,
        scores=scores,
        counts=counts_of(table.labels.tolist(), table.lab.tolist()),
        level=table.level,
        embedders={name: one.embedder for name, one in features.items()},
        notes=(
            *notes,
            *replaced(out, chosen, config, table.labs),
            *(f"left out: {reason}" for reason in some_of(unread)),
            *of_columns(scores),
            *not_found(table, {name: method for name, (method, _) in wanted.items()}, features),
            *shortened(chosen, config),
            *labs_known(chosen, features, table),
            *of_bundles(chosen, table, config),
            *told_of_updates(work, answers),
            *table.notes,
        ),
        judged=labels_to_check(table, work, answers, scores),
    )
    write_labels_to_check(out, table, evaluation.judged)
    write_predictions(out, table, work, answers, scores, config)
    write_evaluation(out, evaluation)
    return evaluation


def _answers(
    table: CellTable,
    features: Mapping[str, Features],
    work: Sequence[tuple[Method, Trial]],
    folder: Path,
    config: EvaluateConfig,
    progress: Progress,
) -> list[TrialAnswers]:
    """Of each method and trial, in order."""
    fitted = [(method, trial) for method, trial in work if not method.frozen]
    ran = iter(run_trials(table, features, fitted, folder, config=config, progress=progress))
    finished = [(method, trial) for method, trial in work if method.frozen]
    own = {method: features[method.brought] for method, _ in finished}
    if config.protocol == "few-shot":
        adapted = adapted_answers(table, own, finished, folder, config, progress=progress)
    else:  # a bundle as it is answers every trial the same
        bundles = {method: answers_of(table, method, own[method]) for method in own}
        adapted = [part_of(bundles[method], tried_in(trial)) for method, trial in finished]
    said = iter(adapted)
    return [next(said) if method.frozen else next(ran) for method, _ in work]


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
        source = name if method.learned or method.frozen else method.embedding
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
    if method.frozen:
        return described_by_bundle(table, method, progress=progress)
    if method.learned:
        scope = scope_of(LEARNED[method.embedding], method.how, trial, config.protocol)
        place = out / "embedders"
        embedder = train_embedder(method.embedding, scope, table, place, config, progress=progress)
    else:
        embedder = embedder_of(method.embedding)
    folder = cache_folder() / "features" / embedder.hash[:16]
    return features_of(table, embedder, folder, find_segmenter(config.segmenter), progress=progress)


def _readable(
    table: CellTable, features: Mapping[str, Features]
) -> tuple[CellTable, dict[str, Features], list[str]]:
    """Without the cells whose pictures cannot be used: nobody could have named those. And what they are."""
    lost: dict[int, str] = {}
    for one in features.values():
        lost = {**one.unread, **lost}
    rows = np.setdiff1d(np.arange(len(table)), list(lost))
    left = table.kept(rows)
    for lab in set(table.labs) - set(left.labs):
        first = min(row for row in lost if table.lab[row] == lab)
        raise DataError(
            f"None of the {len(table.rows_of(lab))} pictures of {lab} can be used. The first: "
            f"{by_name(table.cells[first].path.name, lost[first])} Mend them, or leave this lab out."
        )
    told = [by_name(table.cells[row].path.name, reason) for row, reason in sorted(lost.items())]
    return left, {name: one.kept(rows) for name, one in features.items()}, told


def _check_found(table: CellTable, found: NDArray[np.bool_], *, frozen: bool) -> None:
    advice = "correct the pixel size" if frozen else "add masks, or correct the pixel size"
    for lab in table.labs:
        rows = table.rows_of(lab)
        if not found[rows].any():
            scale = table.cells[rows[0]].um_per_px
            taken = "unknown" if scale is None else f"taken as {scale:g} µm"
            raise DataError(
                f"None of the {len(rows)} cells of {lab} was found in its picture (pixel size {taken}); the "
                f"first is {table.cells[rows[0]].path}. Look at it, or {advice}."
            )
