"""What the cells of one lab say beside the forest, once some of them are corrected."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_bloodcell.core.adapt.second_opinion import FULL_VOICE, second_opinion
from napari_bloodcell.core.adapt.updates import FOR_FORESTS, UPDATES, Lab
from napari_bloodcell.core.artifact import read_arrays, write_arrays
from napari_bloodcell.core.classify import Classifier, fit
from napari_bloodcell.core.classify.heads.linear import LinearHead
from napari_bloodcell.core.config import ClassifierConfig
from napari_bloodcell.core.errors import ArtifactError, ClassifyError
from napari_bloodcell.core.records import Embeddings

NAMES = np.array(["eosinophil", "lymphocyte", "monocyte"])
WIDTH = 6
UPDATE = FOR_FORESTS["refit, second opinion"]


def made(count: int, seed: int, shift: float = 0.0) -> tuple[Embeddings, np.ndarray]:
    """Three classes; a lab moves them towards each other's places."""
    rng = np.random.default_rng(seed)
    truths = np.arange(count) % 3
    centres = np.random.default_rng(3).normal(0, 1.6, (3, WIDTH))
    values = centres[truths] + rng.normal(0, 1, (count, WIDTH)) + shift * (centres[1] - centres[2])
    names = tuple(f"v{i}" for i in range(WIDTH))
    cells = Embeddings(cell_id=np.arange(count), values=values, names=names, embedder="0" * 64)
    return cells, NAMES[truths]


@pytest.fixture(scope="module")
def forest() -> Classifier:
    return trained("random_forest")


def trained(kind: str) -> Classifier:
    cells, labels = made(240, 0)
    config = ClassifierConfig(kind=kind, trees=30, rounds=10, depth=6, calibration="none")
    return fit(cells, list(labels), config, labs=["home"] * len(labels))


def lab_of(cells: Embeddings, labels: np.ndarray, rows: np.ndarray) -> Lab:
    return Lab(name="away", values=cells.values, rows=rows, labels=labels[rows])


def right(classifier: Classifier, cells: Embeddings, labels: np.ndarray) -> float:
    return float(np.mean(classifier.predict(cells).top(0)[0] == labels))


def test_a_forest_with_a_second_opinion_is_more_often_right_on_a_moved_lab(forest: Classifier) -> None:
    cells, labels = made(240, 5, shift=0.6)
    lab = lab_of(cells, labels, np.arange(18))
    alone, together = UPDATES["refit"](forest, lab), UPDATE(forest, lab)
    new, truths = made(300, 6, shift=0.6)
    assert right(together, new, truths) > right(alone, new, truths) > right(forest, new, truths)
    assert alone.second is None
    assert forest.second is None, "the classifier it started from is never changed"


def test_a_class_that_nobody_corrected_is_not_ruled_out(forest: Classifier) -> None:
    cells, labels = made(240, 7)
    rows = np.flatnonzero(labels != "monocyte")[:12]
    model = UPDATE(forest, lab_of(cells, labels, rows))
    monocytes = labels == "monocyte"
    assert np.mean(model.predict(cells).top(0)[0][monocytes] == "monocyte") > 0.9


def test_a_class_the_forest_never_saw_is_learned(forest: Classifier) -> None:
    cells, labels = made(120, 8)
    labels = np.where(labels == "monocyte", "blast", labels)
    cells = replace(cells, values=cells.values + 2.5 * (labels == "blast")[:, None])
    model = UPDATE(forest, lab_of(cells, labels, np.arange(30)))
    assert model.class_names == ("blast", *NAMES)
    assert model.second.arrays["coefficients"].shape == (WIDTH, 4)
    assert np.mean(model.predict(cells).top(0)[0][labels == "blast"] == "blast") > 0.8


def test_few_cells_of_a_lab_have_less_of_a_voice(forest: Classifier) -> None:
    cells, labels = made(FULL_VOICE, 9)
    ten = second_opinion(forest, cells.values[:10], np.arange(10), labels[:10])
    twice = second_opinion(forest, np.tile(cells.values[:10], (6, 1)), np.arange(10), labels[:10])
    assert np.abs(ten.arrays["coefficients"]).max() < 0.5 * np.abs(twice.arrays["coefficients"]).max()


def test_a_person_counts_for_more_than_a_thousand_guesses(forest: Classifier) -> None:
    """Cells the forest calls lymphocytes, and that 25 corrections call monocytes."""
    spread = np.random.default_rng(0).normal(0, 0.1, (3_000, WIDTH))
    values = (made(3, 0)[0].values[1] + spread).astype(np.float32)
    corrected = np.arange(0, 3_000, 120)
    opinion = second_opinion(forest, values, corrected, np.repeat("monocyte", 25))
    scores = opinion.scores(forest.standardise(values)).mean(axis=0)
    assert forest.head.scores(forest.standardise(values)).mean(axis=0).argmax() == 1
    assert scores[2] > scores[1]


def test_one_cell_far_out_gets_no_boundless_score(forest: Classifier) -> None:
    cells, labels = made(240, 5, shift=0.6)
    model = UPDATE(forest, lab_of(cells, labels, np.arange(18)))
    far = np.full((1, WIDTH), 1e6, np.float32)
    further = 100 * far
    np.testing.assert_allclose(model.scores(model.standardise(far)), model.scores(model.standardise(further)))


def test_the_file_keeps_it_and_a_damaged_one_is_refused(forest: Classifier, tmp_path: Path) -> None:
    cells, labels = made(240, 5, shift=0.6)
    model = UPDATE(forest, lab_of(cells, labels, np.arange(18)))
    model.save(tmp_path)
    file = tmp_path / "classifier.safetensors"
    again = Classifier.read(file)
    assert again.hash == model.hash != replace(model, second=None).hash
    np.testing.assert_array_equal(again.predict(cells).probabilities, model.predict(cells).probabilities)
    header, arrays = read_arrays(file, "classifier")
    broken = arrays | {"second_coefficients": arrays["second_coefficients"][:-1]}
    write_arrays(file, "classifier", broken, config=header.config, parents=header.parents)
    with pytest.raises(ArtifactError, match="no complete classifier"):
        Classifier.read(file)


def test_ubjson_has_no_place_for_it(tmp_path: Path) -> None:
    from napari_bloodcell.core.classify.ubj_file import export_ubj

    cells, labels = made(120, 5, shift=0.6)
    model = UPDATE(trained("xgboost"), lab_of(cells, labels, np.arange(18)))
    assert model.second is not None
    with pytest.raises(ClassifyError, match="second opinion"):
        export_ubj(model, tmp_path / "c.ubj")
    assert not list(tmp_path.iterdir())


def test_shares_of_classes_teach_what_whole_cells_would() -> None:
    """A cell that is a quarter lymphocyte weighs like one lymphocyte among four such cells."""
    cells, labels = made(60, 2)
    truths = np.searchsorted(NAMES, labels)
    ready = cells.values.astype(np.float32)
    whole = np.concatenate([np.eye(3)[truths], np.eye(3)[np.zeros(60, int)]])
    weights = np.repeat([0.75, 0.25], 60)
    apart = LinearHead.fit_shares(np.concatenate([ready, ready]), whole, weights, 1.0)
    shares = 0.75 * np.eye(3)[truths] + 0.25 * np.eye(3)[np.zeros(60, int)]
    joined = LinearHead.fit_shares(ready, shares, np.ones(60), 1.0)
    np.testing.assert_allclose(joined.scores(ready), apart.scores(ready), atol=0.02)
