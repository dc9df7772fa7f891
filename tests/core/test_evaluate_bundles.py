"""A bundle scored as it is: it answers as it does everywhere else, and nobody takes it for a fitted method."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluate_parts import draw_labs

from napari_bloodcell.core.adapt.files import predict_tables
from napari_bloodcell.core.bundle import load_bundle, save_bundle
from napari_bloodcell.core.cells import central_cell
from napari_bloodcell.core.classify import fit
from napari_bloodcell.core.config import AnalyseConfig, ClassifyConfig, EvaluateConfig, ReadConfig
from napari_bloodcell.core.embed.collection import write
from napari_bloodcell.core.embed.sources import embed_paths
from napari_bloodcell.core.evaluate import Evaluation, evaluate, tables_of
from napari_bloodcell.core.evaluate.cells import gather
from napari_bloodcell.core.evaluate.features import vectors_of
from napari_bloodcell.core.evaluate.frozen import (
    answers_of,
    described_by_bundle,
    labs_of,
    labs_recognised,
    said_of,
)
from napari_bloodcell.core.evaluate.methods import method_of, methods_of
from napari_bloodcell.core.pipeline import analyse
from napari_bloodcell.core.taxonomy import Taxonomy

QUICK = EvaluateConfig(protocol="leave-one-lab-out", settings="published", bootstrap=100)
pytestmark = pytest.mark.usefixtures("no_figures", "own_cache")


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two labs of twelve drawn cells, without masks."""
    return draw_labs(tmp_path_factory.mktemp("two-labs"))


def scored(found: Evaluation, method: str) -> dict[str, float]:
    return {s.target: s.metrics["accuracy"].value for s in found.scores if s.method == method}


@pytest.mark.parametrize("bundle", ["stain", "nano"])
def test_it_answers_as_analyse_and_as_embed_cells_with_classify_predict(
    labs: Path, tmp_path: Path, bundle: str
) -> None:
    table = gather([labs / "north"], QUICK)
    method, model = method_of(bundle), load_bundle(bundle)
    answers = answers_of(table, method, described_by_bundle(table, method))
    told = [answers.probabilities.max(axis=1), answers.identified]

    read = AnalyseConfig(read=ReadConfig(um_per_px=table.cells[0].um_per_px))
    alone = [analyse(table.cells[row].path, bundle, read) for row in answers.rows]
    place = [central_cell(one.masks) for one in alone]
    by_analyse = [(one.predictions, at) for one, at in zip(alone, place, strict=True) if at is not None]
    assert len(by_analyse) == len(answers.rows) > 8
    np.testing.assert_allclose([p.top(0)[1][at] for p, at in by_analyse], told[0], atol=1e-6)
    np.testing.assert_array_equal([p.labels[at] != "unidentified" for p, at in by_analyse], told[1])

    vectors, named = tmp_path / "cells.parquet", tmp_path / "named.csv"
    write(vectors, embed_paths([labs / "north"], [model.embedder.kind], segmenter=bundle))
    predict_tables([vectors], named, bundle, ClassifyConfig())
    rows = {row["image"]: row for row in csv.DictReader(named.read_text().splitlines())}
    same = [rows[str(table.cells[row].path)] for row in answers.rows]
    np.testing.assert_allclose([float(row["cell_type_prob"]) for row in same], told[0], atol=1e-5)
    np.testing.assert_array_equal([row["cell_type"] != "unidentified" for row in same], told[1])


def test_its_row_is_frozen_says_how_often_it_doubts_and_counts_its_best_guess(
    labs: Path, tmp_path: Path
) -> None:
    found = evaluate([labs], ["stain", "measurements/logistic"], tmp_path / "out", QUICK)
    rows = {row.name: row.kind for row in tables_of(found)[0].rows}
    assert (rows["stain"], rows["measurements/logistic"]) == ("frozen bundle", "inductive")
    assert found.level == "coarse"  # the bundle tells bands, the labs do not
    stored = {
        (row["method"], row["target"]): row
        for row in csv.DictReader((tmp_path / "out" / "scores.csv").read_text().splitlines())
    }
    assert stored["stain", "north"]["protocol"] == "frozen bundle"
    model, table = load_bundle("stain"), gather([labs / "north"], QUICK)
    features = described_by_bundle(table, method_of("stain"))
    answers = answers_of(table, method_of("stain"), features)
    best = np.array(answers.class_names)[answers.probabilities.argmax(axis=1)]
    parents = np.array([model.taxonomy.get(name, name) for name in best])
    right = (parents == table.labels[answers.rows]).sum()
    assert scored(found, "stain")["north"] == pytest.approx(right / len(table))
    assert float(stored["stain", "north"]["unidentified"]) == pytest.approx(
        np.mean(~answers.identified), abs=1e-4
    )
    assert any(note.startswith("stain is a bundle as it is") for note in found.notes)


def test_a_bundle_alone_needs_no_second_lab_and_trains_nothing(labs: Path, tmp_path: Path) -> None:
    both = evaluate([labs], ["stain", "measurements/ann"], tmp_path / "both", QUICK)
    for config in (QUICK, replace(QUICK, protocol="cross-domain")):
        out = tmp_path / config.protocol
        alone = evaluate([labs / "north"], ["stain"], out, config)
        assert scored(alone, "stain")["north"] == scored(both, "stain")["north"]
        assert not (out / "trials").exists()
        assert "Nothing was trained" in (out / "table.md").read_text()


def test_masks_of_a_set_are_not_used(labs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = gather([labs / "north"], QUICK)
    masked = replace(table, cells=tuple(replace(c, mask_path=c.path) for c in table.cells))
    plain = described_by_bundle(table, method_of("stain"))
    monkeypatch.setenv("BLOODCELL_CACHE", str(tmp_path / "fresh"))
    np.testing.assert_array_equal(described_by_bundle(masked, method_of("stain")).values, plain.values)


def test_cells_it_was_trained_on_are_told_beside_the_figure(labs: Path, tmp_path: Path) -> None:
    made = tmp_path / "mine"
    stain = load_bundle("stain")
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
    found = evaluate([labs], [str(made)], tmp_path / "out", QUICK)
    (row,) = [row for row in tables_of(found)[0].rows if row.kind == "frozen bundle"]
    assert row.cells[0].endswith("(trained on)")
    assert "trained on" not in row.cells[1]
    assert any(f"{made} was trained on cells of north" in note for note in found.notes)
    judges = {one.lab: one.judge for one in found.judged}
    assert judges == {"north": f"{made}, north (trained on)", "south": f"{made}, south"}
    assert labs_of(load_bundle("nano")) >= {"jtsc", "cellavision", "bccd"}


def test_cells_it_was_trained_on_are_known_again_under_another_name(labs: Path, tmp_path: Path) -> None:
    stain, table = load_bundle("stain"), gather([labs / "north", labs / "south"], QUICK)
    features = described_by_bundle(table, method_of("stain"))
    north = np.flatnonzero(features.found & (table.lab == "north"))
    classifier = fit(
        vectors_of(features, north), table.labels[north].tolist(), labs=["elsewhere"] * len(north)
    )
    assert labs_recognised(classifier, table, features) == {"north"}
    assert labs_recognised(replace(classifier, known=None), table, features) == frozenset()
    assert labs_recognised(stain.classifier, table, features) == frozenset()


def test_a_class_of_the_labs_own_counts_as_its_parent(labs: Path) -> None:
    stain, table = load_bundle("stain"), gather([labs / "north"], QUICK)
    features = described_by_bundle(table, method_of("stain"))
    rows = np.flatnonzero(features.found)
    own = ["immature_granulocytes" if "neutrophil" in str(label) else "blast" for label in table.labels[rows]]
    classifier = fit(vectors_of(features, rows), own)
    taxonomy = Taxonomy.of_lab({"immature granulocytes": "neutrophil", "blast": None})
    coarse = replace(table, level="coarse", taxonomy=taxonomy)
    assert set(said_of(coarse, stain, classifier, features, rows).class_names) == {"neutrophil", "blast"}


def test_a_bundle_with_a_classifier_is_told_to_be_no_measure_of_it(labs: Path, tmp_path: Path) -> None:
    found = evaluate([labs], ["stain/logistic"], tmp_path / "out", QUICK)
    assert tables_of(found)[0].rows[0].kind == "inductive"
    (note,) = [note for note in found.notes if note.startswith("stain/logistic: the vectors of that bundle")]
    assert "--methods stain scores that as it is" in note


def test_fine_labels_asked_for_say_what_a_coarse_bundle_cannot_tell(labs: Path, tmp_path: Path) -> None:
    fine = tmp_path / "fine"
    for path in (labs / "north" / "neutrophil").iterdir():
        place = fine / "neutrophil_segmented" / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    assert gather([fine], QUICK, load_bundle("nano").classifier.class_names).level == "coarse"
    found = evaluate([fine], ["nano"], tmp_path / "out", replace(QUICK, level="fine"))
    assert any("names neutrophil as a whole and is wrong wherever labels are finer" in n for n in found.notes)


def test_a_bundle_is_frozen_or_a_source_of_vectors_by_what_follows() -> None:
    assert method_of("nano").frozen
    assert not method_of("nano/random_forest").frozen
    assert {m.classifier for m in methods_of(["nano/all"])} >= {"logistic", "ann"}
