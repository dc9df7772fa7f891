"""A bundle in few-shot is adapted as the product adapts it, and says how much of the lab it saw."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluate_parts import draw_labs

from napari_bloodcell.core.adapt import adapt, suggest
from napari_bloodcell.core.bundle import load_bundle, save_bundle
from napari_bloodcell.core.config import AdaptConfig, EvaluateConfig, SuggestConfig
from napari_bloodcell.core.errors import ConfigError
from napari_bloodcell.core.evaluate import Evaluation, evaluate, tables_of
from napari_bloodcell.core.evaluate import adapted as module
from napari_bloodcell.core.evaluate.cells import gather
from napari_bloodcell.core.evaluate.features import vectors_of
from napari_bloodcell.core.evaluate.frozen import described_by_bundle
from napari_bloodcell.core.evaluate.methods import method_of
from napari_bloodcell.core.evaluate.protocols import trials_of

CONFIG = EvaluateConfig(
    protocol="few-shot", shots=(0, 5, 8), repeats=2, bootstrap=100, level="coarse", settings="published"
)
pytestmark = pytest.mark.usefixtures("no_figures", "own_cache")


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_labs(tmp_path_factory.mktemp("two-labs"), cells=24)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[np.ndarray, list[str]]]:
    """The cells that each adaptation had at hand, and what was said of them."""
    calls: list[tuple[np.ndarray, list[str]]] = []

    def spied(before: Any, cells: Any, labels: Sequence[str], *rest: Any, **named: Any) -> Any:
        calls.append((cells.values, list(labels)))
        return adapt(before, cells, labels, *rest, **named)

    monkeypatch.setattr(module, "adapt", spied)
    return calls


def curve(found: Evaluation, method: str, lab: str) -> list[float]:
    own = sorted((s for s in found.scores if (s.method, s.target) == (method, lab)), key=lambda s: s.shots)
    return [score.metrics["accuracy"].value for score in own]


def kinds(found: Evaluation) -> dict[tuple[str, str], str]:
    """Of the rows of the tables of accuracy."""
    tables = [table for table in tables_of(found) if table.title.startswith("Accuracy")]
    return {
        (row.name, table.title.split()[-4].rstrip(",")): row.kind for table in tables for row in table.rows
    }


def test_it_is_suggested_to_and_adapted_step_by_step_as_by_hand(labs: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, repeats=1)
    found = evaluate([labs / "north"], ["stain"], tmp_path / "out", config)
    bundle = load_bundle("stain")
    table = gather([labs / "north"], config)
    features = described_by_bundle(table, method_of("stain"))
    trial = trials_of(table, config, fits=False)[0][0]
    scored = trial.tests[0][1]
    pool, tried = (rows[features.found[rows]] for rows in (trial.pool, scored))
    assert not set(pool) & set(scored)
    cells = vectors_of(features, np.arange(len(table)))
    there = np.sort(np.concatenate([pool, tried]))
    cells = replace(cells, cell_id=cells.cell_id[there], values=cells.values[there])
    known, model, chosen, right = bundle.classifier.class_names, bundle.classifier, [], []
    for shots in config.shots:
        if shots:
            asked = SuggestConfig(cells=shots - len(chosen), seed=config.seed)
            ids = suggest(model, vectors_of(features, pool), np.isin(pool, chosen).tolist(), asked)
            chosen += pool[ids - 1].tolist()
            said = [table.cells[row].class_name if row in chosen else "" for row in there]
            said = [name if name in known or not name else str(table.labels[row])
                    for name, row in zip(said, there, strict=True)]  # fmt: skip
            model = adapt(
                bundle.classifier, cells, said, AdaptConfig(seed=config.seed), lab="north"
            ).classifier
        guesses = model.predict(vectors_of(features, tried)).top(0)[0].tolist()
        coarse = [bundle.taxonomy.get(name, name) for name in guesses]
        right.append(float(np.sum(np.array(coarse) == table.labels[tried]) / len(scored)))
    assert curve(found, "stain", "north") == pytest.approx(right)


def test_inductive_keeps_the_scored_half_from_it_and_the_rows_say_so(
    labs: Path, tmp_path: Path, seen: list[tuple[np.ndarray, list[str]]]
) -> None:
    config = replace(CONFIG, shots=(0, 8), repeats=1)
    found = evaluate([labs / "north"], ["stain", "stain@inductive"], tmp_path / "out", config)
    (whole, said), (half, told) = seen
    assert len(half) < len(whole)
    assert sum(map(bool, said)) == sum(map(bool, told)) == 8
    table = gather([labs / "north"], config)
    features = described_by_bundle(table, method_of("stain"))
    scored = trials_of(table, config, fits=False)[0][0].tests[0][1]
    hidden = {row.tobytes() for row in features.values[scored[features.found[scored]]]}
    assert not hidden & {row.tobytes() for row in half}
    assert hidden <= {row.tobytes() for row in whole}
    assert set(kinds(found).values()) == {"adapted bundle, transductive", "adapted bundle, inductive"}
    stored = csv.DictReader((tmp_path / "out" / "scores.csv").read_text().splitlines())
    assert {(row["method"], row["corrected"]): row["protocol"] for row in stored} == {
        ("stain", "0"): "frozen bundle",
        ("stain", "8"): "adapted bundle, transductive",
        ("stain@inductive", "0"): "frozen bundle",
        ("stain@inductive", "8"): "adapted bundle, inductive",
    }
    told_of = (tmp_path / "out" / "table.md").read_text()
    assert "A bundle is adapted as `classify adapt` does it" in told_of
    assert "Nothing was trained" not in told_of
    assert "drawn at random" not in told_of  # of fitted methods, of which there is none
    assert any(note.startswith("stain: adapted 1 times; kept was") for note in found.notes)


def test_it_stands_beside_fitted_methods_on_the_same_cells(labs: Path, tmp_path: Path) -> None:
    found = evaluate([labs], ["measurements/logistic", "stain"], tmp_path / "out", CONFIG)
    assert kinds(found)["stain", "north"] == "adapted bundle, transductive"
    assert kinds(found)["measurements/logistic", "south"] == "inductive"
    rows: dict[tuple[str, ...], set[str]] = {}
    for row in csv.DictReader((tmp_path / "out" / "predictions.csv").read_text().splitlines()):
        place = tuple(row[name] for name in ("method", "lab", "corrected", "fold"))
        rows.setdefault(place, set()).add(row["image"])
    assert all(
        cells == rows["stain", *place[1:]]
        for place, cells in rows.items()
        if place[0] == "measurements/logistic"
    )
    alone = evaluate([labs], ["stain"], tmp_path / "alone", CONFIG)
    assert curve(alone, "stain", "south") == curve(found, "stain", "south")
    assert all(score.differences for score in found.scores if score.method == "stain")


def test_a_lab_it_was_trained_on_is_told_beside_the_kind(labs: Path, tmp_path: Path) -> None:
    made, stain = tmp_path / "mine", load_bundle("stain")
    save_bundle(
        made,
        title="mine",
        segmenter=stain.segmenter,
        embedder=stain.embedder,
        classifier=stain.classifier,
        scores={},
        card="mine",
        provenance={"data": {"north": {"cells": 12}}},
    )
    found = evaluate([labs], [str(made)], tmp_path / "out", replace(CONFIG, repeats=1))
    assert kinds(found)[str(made), "north"] == "adapted bundle, transductive (trained on)"
    assert kinds(found)[str(made), "south"] == "adapted bundle, transductive"


def test_a_second_run_adapts_nothing_and_two_processes_answer_as_one(
    labs: Path, tmp_path: Path, seen: list[tuple[np.ndarray, list[str]]]
) -> None:
    one = evaluate([labs / "north"], ["stain"], tmp_path / "one", CONFIG)
    times = len(seen)
    assert times > 1
    assert evaluate([labs / "north"], ["stain"], tmp_path / "one", CONFIG).scores == one.scores
    assert len(seen) == times
    two = evaluate([labs / "north"], ["stain"], tmp_path / "two", replace(CONFIG, workers=2))
    assert two.scores == one.scores


def test_too_few_cells_to_learn_from_leave_it_as_it_is_and_are_told(
    labs: Path, tmp_path: Path, seen: list[tuple[np.ndarray, list[str]]]
) -> None:
    found = evaluate([labs / "north"], ["stain"], tmp_path / "out", replace(CONFIG, shots=(0, 3)))
    assert not seen
    before, after = curve(found, "stain", "north")
    assert before == after
    assert any(
        note == "stain: adapted 2 times; kept was the model as it was, with too few cells or classes to "
        "learn from (2)."
        for note in found.notes
    )


def test_inductive_means_nothing_where_no_bundle_is_adapted(labs: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="which only --protocol few-shot does. Take stain"):
        evaluate([labs], ["stain@inductive"], tmp_path / "out", replace(CONFIG, protocol="cross-domain"))
