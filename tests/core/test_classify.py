from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from napari_bloodcell.core.artifact import write_arrays
from napari_bloodcell.core.classify import Classifier, fit
from napari_bloodcell.core.classify.leaning import leaning
from napari_bloodcell.core.config import ClassifierConfig, ClassifyConfig
from napari_bloodcell.core.errors import ArtifactError, ClassifyError
from napari_bloodcell.core.records import UNIDENTIFIED, Embeddings

NAMES = ("basophil", "monocyte", "neutrophil")
ALWAYS = ClassifyConfig(min_probability=0, max_distance=1000)
PLAIN = ClassifierConfig(calibration="none", iterations=2000)


def embeddings(values: np.ndarray, embedder: str = "e" * 64) -> Embeddings:
    names = tuple(f"c{i}" for i in range(values.shape[1]))
    return Embeddings(cell_id=np.arange(len(values)), values=values, names=names, embedder=embedder)


@pytest.fixture(scope="module")
def clouds() -> tuple[Embeddings, list[str]]:
    rng = np.random.default_rng(0)
    labels = np.repeat(NAMES, (30, 60, 120))
    centres = dict(zip(NAMES, ([0, 3, 0], [3, 0, 0], [0, 0, 3]), strict=True))
    values = np.array([centres[n] for n in labels]) + rng.normal(0, 0.7, (len(labels), 3))
    return embeddings(values * [1, 10, 100]), list(labels)


def test_probabilities_are_those_of_scikit_learn(clouds) -> None:
    cells, labels = clouds
    ours = fit(cells, labels, PLAIN).predict(cells, ALWAYS)
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=2000))
    model.fit(cells.values, labels)
    np.testing.assert_allclose(ours.probabilities, model.predict_proba(cells.values), atol=1e-4)
    assert ours.class_names == tuple(model.classes_)


@pytest.mark.parametrize("calibration", ["none", "temperature", "isotonic"])
def test_answers_lean_to_healthy_blood_and_the_file_says_so(
    tmp_path: Path, clouds: tuple[Embeddings, list[str]], calibration: str
) -> None:
    cells, labels = clouds
    config = ClassifierConfig(calibration=calibration, folds=3)  # type: ignore[arg-type]
    even, leaning = fit(cells, labels, config), fit(cells, labels, replace(config, lean=0.5))
    halfway = embeddings(np.mean([cells.values[:30].mean(0), cells.values[-30:].mean(0)], axis=0)[None])
    basophil = [one.predict(halfway, ALWAYS).probabilities[0, 0] for one in (even, leaning)]
    assert basophil[1] < 0.6 * basophil[0]
    leaning.write(tmp_path / "c.safetensors")
    again = Classifier.read(tmp_path / "c.safetensors")
    np.testing.assert_array_equal(again.predict(cells).probabilities, leaning.predict(cells).probabilities)
    np.testing.assert_array_equal(again.calibration.offsets, leaning.calibration.offsets)


def test_leaning_is_the_logarithm_of_shares_and_has_no_opinion_of_other_classes() -> None:
    fine = leaning(("basophil", "myeloblast", "neutrophil_banded", "neutrophil"), 0.5)
    np.testing.assert_allclose(fine[[0, 2, 3]], 0.5 * np.log([0.01, 0.6, 0.6]), rtol=1e-5)
    assert fine[1] == pytest.approx(fine[[0, 2, 3]].mean())
    assert len(leaning(("basophil", "neutrophil"), 0)) == 0
    assert len(leaning(("myeloblast", "burr"), 0.5)) == 0


def test_two_classes_give_scikit_learns_probabilities_too(clouds) -> None:
    cells, labels = clouds
    two = embeddings(cells.values[:90])
    ours = fit(two, labels[:90], PLAIN).predict(two, ALWAYS)
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=2000))
    np.testing.assert_allclose(
        ours.probabilities, model.fit(two.values, labels[:90]).predict_proba(two.values), atol=1e-4
    )


def test_saved_classifier_gives_the_same_answers(tmp_path: Path, clouds) -> None:
    cells, labels = clouds
    classifier = fit(cells, labels, PLAIN)
    sha256 = classifier.write(tmp_path / "c.safetensors")
    again = Classifier.read(tmp_path / "c.safetensors")
    assert again.hash == sha256 == classifier.hash
    np.testing.assert_array_equal(classifier.predict(cells).probabilities, again.predict(cells).probabilities)


def test_vectors_of_another_embedder_are_refused(clouds) -> None:
    cells, labels = clouds
    with pytest.raises(
        ClassifyError, match=r"trained on vectors of embedder eeeeeeeeeeee; these come from ffffff"
    ):
        fit(cells, labels, PLAIN).predict(embeddings(cells.values, "f" * 64))


def test_a_cell_unlike_all_training_cells_is_unidentified(clouds) -> None:
    cells, labels = clouds
    far = embeddings(np.array([[0.0, 0, 3000], [0, 0, 300]]))
    predictions = fit(cells, labels, PLAIN).predict(far)
    assert list(predictions.labels) == [UNIDENTIFIED, "neutrophil"]
    assert "unlike the training cells" in predictions.doubt[0]
    assert predictions.doubt[1] == ""
    assert predictions.top(0)[0][0] == "neutrophil"


def test_an_undecided_cell_is_unidentified_and_says_why(clouds) -> None:
    cells, labels = clouds
    between = embeddings(np.array([[1.5, 15, 0], [1.4, 14, 120]]))
    predictions = fit(cells, labels, PLAIN).predict(between, ClassifyConfig(min_probability=0.95))
    assert list(predictions.labels) == [UNIDENTIFIED] * 2
    assert predictions.doubt[0].startswith("best guess ")
    kept = fit(cells, labels, PLAIN).predict(between, ALWAYS)
    assert UNIDENTIFIED not in kept.labels


def test_about_one_training_cell_in_a_hundred_lies_beyond_distance_one(clouds) -> None:
    cells, labels = clouds
    distance = fit(cells, labels, PLAIN).predict(cells).distance
    assert 0 < np.mean(distance > 1) < 0.03


def test_no_cells_give_no_predictions(clouds) -> None:
    cells, labels = clouds
    predictions = fit(cells, labels, PLAIN).predict(embeddings(np.zeros((0, 3))))
    assert len(predictions) == 0
    assert predictions.probabilities.shape == (0, 3)
    assert [len(part) for part in predictions.top(1)] == [0, 0]


@pytest.mark.parametrize(
    ("values", "labels", "message"),
    [
        (np.zeros((3, 2)), ["monocyte"] * 3, "there is only 'monocyte'"),
        (np.zeros((0, 2)), [], "there is none"),
        (np.zeros((3, 2)), ["monocyte", "monocyte", "basophil"], "single cell: basophil"),
        (np.zeros((3, 2)), ["monocyte"], "1 labels for 3 cells"),
        (np.full((4, 2), np.nan), ["a", "a", "b", "b"], "4 of 4 vectors hold NaN"),
    ],
)
def test_cells_that_cannot_train_are_refused(values: np.ndarray, labels: list[str], message: str) -> None:
    with pytest.raises(ClassifyError, match=message):
        fit(embeddings(values), labels)


def test_nan_vectors_are_named_at_prediction(clouds) -> None:
    cells, labels = clouds
    bad = np.array(cells.values[:3])
    bad[1, 0] = np.nan
    with pytest.raises(ClassifyError, match=r"1 of 3 vectors hold NaN or infinite numbers \(cells 1\)"):
        fit(cells, labels, PLAIN).predict(embeddings(bad))


@pytest.mark.parametrize("lost", ["reach", "coefficients", "mean"])
def test_a_file_without_all_arrays_is_refused(tmp_path: Path, clouds, lost: str) -> None:
    classifier = fit(*clouds, PLAIN)
    arrays = {k: v for k, v in classifier._arrays().items() if k != lost}
    write_arrays(
        tmp_path / "c.safetensors",
        "classifier",
        arrays,
        config=classifier._settings(),
        parents={"embedder": "e"},
    )
    with pytest.raises(ArtifactError, match=f"no complete classifier: .*{lost}"):
        Classifier.read(tmp_path / "c.safetensors")
