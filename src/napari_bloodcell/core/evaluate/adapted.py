"""A bundle adapted to the lab it is tried on, as the product adapts it: ``suggest`` says which cells of one
half are corrected, anew after each step, and ``adapt`` learns from them; the other half is scored.

``adapt`` also learns from cells that nobody named (the second opinion of a forest does). As a person who
adapts a model to a batch of cells, it has all of the lab at hand (transductive); ``@inductive`` keeps the
scored half from it, as if those cells came later.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.adapt import adapt, suggest
from napari_bloodcell.core.adapt.adapting import LEAST_CLASSES, LEAST_CORRECTED, NO_UPDATE
from napari_bloodcell.core.artifact import hash_of, read_kept, write_arrays
from napari_bloodcell.core.bundle import load_bundle
from napari_bloodcell.core.config import AdaptConfig, EvaluateConfig, SuggestConfig
from napari_bloodcell.core.errors import ConfigError
from napari_bloodcell.core.evaluate.cells import CellTable
from napari_bloodcell.core.evaluate.features import Features, vectors_of
from napari_bloodcell.core.evaluate.frozen import said_of
from napari_bloodcell.core.evaluate.learned import INDUCTIVE
from napari_bloodcell.core.evaluate.methods import Method
from napari_bloodcell.core.evaluate.protocols import Rows, Trial
from napari_bloodcell.core.evaluate.side_by_side import run_missing
from napari_bloodcell.core.evaluate.trials import TrialAnswers
from napari_bloodcell.core.progress import Progress, silent

VERSION = 1  # raise it when a draw would answer otherwise
REFUSED = "too few cells or classes to learn from"


@dataclass(frozen=True, kw_only=True, eq=False)
class Draw:
    """One bundle and one halving of a lab. ``trials``: the fewest corrected cells first."""

    method: Method
    trials: tuple[Trial, ...]
    seed: int
    path: Path


@dataclass(frozen=True, kw_only=True, eq=False)
class Shared:
    """What every draw needs: sent once to each process."""

    table: CellTable
    features: dict[Method, Features]


def check_adaptable(methods: Sequence[Method], config: EvaluateConfig) -> None:
    """Where nothing is adapted, there is nothing to keep cells from."""
    for method in methods:
        if method.frozen and method.how and config.protocol != "few-shot":
            raise ConfigError(
                f"{method.name}: @{method.how} after a bundle says how it is adapted, which only --protocol "
                f"few-shot does. Take {method.embedding}."
            )


def adapted_answers(
    table: CellTable,
    features: dict[Method, Features],
    work: Sequence[tuple[Method, Trial]],
    folder: Path,
    config: EvaluateConfig,
    *,
    progress: Progress = silent,
) -> list[TrialAnswers]:
    """Of each bundle and trial, in order. What ``folder`` holds already is not adapted again."""
    shared = Shared(table=table, features=features)
    draws = _draws(shared, work, folder, config)
    answers = run_missing(
        _run, shared, draws, _kept, workers=config.workers, stage="Adapting bundles", progress=progress
    )
    found = {
        (draw.method, id(trial)): answer
        for draw, own in zip(draws, answers, strict=True)
        for trial, answer in zip(draw.trials, own, strict=True)
    }
    return [found[method, id(trial)] for method, trial in work]


def told_of_updates(work: Sequence[tuple[Method, Trial]], answers: Sequence[TrialAnswers]) -> list[str]:
    """How often what was kept, in sentences."""
    kept: dict[str, Counter[str]] = {}
    for (method, trial), answer in zip(work, answers, strict=True):
        if method.frozen and trial.shots:
            kept.setdefault(method.name, Counter())[answer.update] += 1
    return [
        f"{name}: adapted {of.total()} times; kept was "
        + ", ".join(f"{_in_words(update)} ({count})" for update, count in of.most_common())
        + "."
        for name, of in kept.items()
    ]


def _in_words(update: str) -> str:
    if update == REFUSED:
        return f"the model as it was, with {REFUSED}"
    return "the model as it was, no update being better" if update == NO_UPDATE else f'"{update}"'


def _draws(
    shared: Shared, work: Sequence[tuple[Method, Trial]], folder: Path, config: EvaluateConfig
) -> list[Draw]:
    together: dict[tuple[Method, str, int], list[Trial]] = {}
    for method, trial in work:
        together.setdefault((method, trial.tests[0][0], trial.fold), []).append(trial)
    draws = []
    for (method, _, fold), trials in together.items():
        ordered = tuple(sorted(trials, key=lambda trial: trial.shots))
        draw = Draw(method=method, trials=ordered, seed=config.seed + fold, path=folder)
        draws.append(replace(draw, path=folder / f"{_name_of(shared, draw)}"))
    return draws


def _run(shared: Shared, draw: Draw) -> list[TrialAnswers]:
    bundle, features = load_bundle(draw.method.embedding), shared.features[draw.method]
    before = bundle.classifier
    lab, scored = draw.trials[0].tests[0]
    pool, tried = (rows[features.found[rows]] for rows in (draw.trials[0].pool, scored))
    shown = pool if draw.method.how == INDUCTIVE else np.sort(np.concatenate([pool, tried]))
    names = {int(row): _as_named(shared.table, int(row), before.class_names) for row in pool}
    model, update, chosen = before, "", np.zeros(0, np.int64)
    answers = []
    for trial in draw.trials:
        wanted = min(trial.shots, len(pool)) - len(chosen)
        if wanted > 0:
            seen = np.isin(pool, chosen)
            asked = SuggestConfig(cells=wanted, seed=draw.seed)
            more = suggest(model, vectors_of(features, pool), seen.tolist(), asked)
            chosen = np.concatenate([chosen, pool[more - 1]])
            looked_at = set(chosen.tolist())
            named = [names[row] if row in looked_at else "" for row in shown.tolist()]
            update = REFUSED
            if len(chosen) >= LEAST_CORRECTED and len({*named} - {""}) >= LEAST_CLASSES:
                found = adapt(
                    before, vectors_of(features, shown), named, AdaptConfig(seed=draw.seed), lab=lab
                )
                model, update = found.classifier, found.kept
        said = said_of(shared.table, bundle, model, features, tried)
        answers.append(replace(said, update=update))
    _keep(draw, tried, scored, answers)
    return answers


def _as_named(table: CellTable, row: int, known: Sequence[str]) -> str:
    """As the lab calls the cell, where the model tells as much; else at the level that is compared."""
    own = table.cells[row].class_name
    return own if own in known else str(table.labels[row])


def _keep(draw: Draw, tried: Rows, scored: Rows, answers: Sequence[TrialAnswers]) -> None:
    arrays: dict[str, NDArray[np.generic]] = {"place": np.flatnonzero(np.isin(scored, tried))}
    for number, answer in enumerate(answers):
        arrays[f"probabilities {number}"] = answer.probabilities
        arrays[f"identified {number}"] = answer.identified.astype(np.uint8)
    told = [{"class_names": list(answer.class_names), "update": answer.update} for answer in answers]
    write_arrays(draw.path, "trial", arrays, config={"method": draw.method.name, "answers": told})


def _kept(draw: Draw) -> list[TrialAnswers] | None:
    kept = read_kept(draw.path, "trial")
    if kept is None:
        return None
    header, arrays = kept
    return [
        TrialAnswers(
            rows=draw.trials[0].tests[0][1][arrays["place"]],
            probabilities=arrays[f"probabilities {number}"],
            class_names=tuple(told["class_names"]),
            identified=arrays[f"identified {number}"].astype(bool),
            update=told["update"],
        )
        for number, told in enumerate(header.config["answers"])
    ]


def _name_of(shared: Shared, draw: Draw) -> str:
    """Everything the answers depend on; cells by their content, in their order: it decides what is drawn."""
    table = shared.table
    scored = draw.trials[0].tests[0][1]

    def cells(rows: Rows) -> str:
        return hash_of([f"{table.key[row][:16]} {table.cells[row].class_name}" for row in rows])

    made_from = {
        "bundle": load_bundle(draw.method.embedding).hash,
        "how": draw.method.how,
        "lab": draw.trials[0].tests[0][0],
        "pool": cells(draw.trials[0].pool),
        "scored": cells(scored),
        "shots": [trial.shots for trial in draw.trials],
        "level": table.level,
        "seed": draw.seed,
        "version": VERSION,
    }
    return f"{hash_of(made_from)}.safetensors"
