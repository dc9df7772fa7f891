"""Each classifier's own arrays against the library that fitted them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from napari_bloodcell.core.artifact import read_arrays, write_arrays
from napari_bloodcell.core.classify import CLASSIFIERS, Classifier, fit, published, select
from napari_bloodcell.core.classify.fitting import fit_head
from napari_bloodcell.core.classify.folds import deal
from napari_bloodcell.core.config import ClassifierConfig, ClassifyConfig
from napari_bloodcell.core.errors import ArtifactError, ClassifyError, DeviceError
from napari_bloodcell.core.records import Embeddings

KINDS = ("logistic", "svm_linear", "svm_poly", "svm_rbf", "random_forest", "ann", "xgboost")
CLASSES = ("basophil", "eosinophil", "lymphocyte", "monocyte")
QUICK = {"trees": 20, "rounds": 10, "iterations": 200, "calibration": "none", "keep_cells": 0}


def cells(n: int = 200, classes: int = 4, seed: int = 0) -> tuple[Embeddings, list[str]]:
    rng = np.random.default_rng(seed)
    truths = np.arange(n) % classes
    values = rng.normal(0, 1, (n, 6)) + 1.5 * np.eye(6)[truths]
    vectors = Embeddings(
        cell_id=np.arange(n),
        values=values * [1, 10, 0.1, 1, 1, 1] + 3,
        names=tuple("abcdef"),
        embedder="e" * 64,
    )
    return vectors, [CLASSES[t] for t in truths]


def ready_of(vectors: Embeddings) -> np.ndarray:
    return StandardScaler().fit_transform(vectors.values).astype(np.float32)


def head_of(kind: str, ready: np.ndarray, truths: np.ndarray, **changes: object):
    return fit_head(ready, truths, np.ones(len(truths)), ClassifierConfig(kind=kind, **(QUICK | changes)))


@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize("kernel", ["linear", "poly", "rbf"])
def test_svm_distances_are_those_of_libsvm(kernel: str, classes: int) -> None:
    vectors, labels = cells(classes=classes)
    ready, truths = ready_of(vectors), np.unique(labels, return_inverse=True)[1]
    head = head_of(f"svm_{kernel}", ready, truths)
    theirs = SVC(kernel=kernel, class_weight="balanced", decision_function_shape="ovo").fit(ready, truths)
    expected = theirs.decision_function(ready)
    ours = -head.distances(ready)[:, 0] if classes == 2 else head.distances(ready)
    np.testing.assert_allclose(ours, expected, atol=2e-3)
    theirs.set_params(decision_function_shape="ovr")
    wins = theirs.decision_function(ready)
    clear = np.ones(len(ready), bool) if classes == 2 else wins.max(axis=1) > classes - 1.5
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(head.scores(ready).argmax(axis=1)[clear], theirs.predict(ready)[clear])


def test_forest_gives_scikit_learns_probabilities() -> None:
    vectors, labels = cells()
    ready, truths = ready_of(vectors), np.unique(labels, return_inverse=True)[1]
    head = head_of("random_forest", ready, truths, class_weights="none")
    theirs = RandomForestClassifier(20, max_depth=16, random_state=0).fit(ready, truths, np.ones(200))
    other = np.random.default_rng(1).normal(0, 2, (500, 6)).astype(np.float32)
    for rows in (ready, other):
        np.testing.assert_allclose(np.exp(head.scores(rows)), theirs.predict_proba(rows), atol=1e-5)


def test_forest_decides_on_the_border_as_scikit_learn_does() -> None:
    ready = np.repeat(np.arange(8, dtype=np.float32)[:, None], 4, axis=0)
    truths = np.repeat(np.arange(8) % 2, 4)
    head = head_of("random_forest", ready, truths, class_weights="none")
    theirs = RandomForestClassifier(20, max_depth=16, random_state=0).fit(ready, truths, np.ones(32))
    border = np.arange(0, 8, 0.5, dtype=np.float32)[:, None]
    around = np.concatenate(
        [border, np.nextafter(border, np.float32(9)), np.nextafter(border, np.float32(-9))]
    )
    np.testing.assert_allclose(np.exp(head.scores(around)), theirs.predict_proba(around), atol=1e-5)


@pytest.mark.parametrize("classes", [2, 4])
def test_network_gives_scikit_learns_probabilities(classes: int) -> None:
    vectors, labels = cells(1000, classes=classes)
    ready, truths = ready_of(vectors), np.unique(labels, return_inverse=True)[1]
    head = head_of("ann", ready, truths, class_weights="none")
    theirs = MLPClassifier((100,), max_iter=200, early_stopping=True, random_state=0)
    theirs.fit(ready, truths, sample_weight=np.ones(1000))
    scores = head.scores(ready)
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    ours = raised / raised.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ours, theirs.predict_proba(ready), atol=1e-4)


@pytest.mark.parametrize("classes", [2, 4])
def test_boosted_trees_give_xgboosts_margins(classes: int) -> None:
    import xgboost

    vectors, labels = cells(classes=classes)
    ready, truths = ready_of(vectors), np.unique(labels, return_inverse=True)[1]
    head = head_of("xgboost", ready, truths, class_weights="none")
    settings = {"objective": "multi:softprob", "num_class": classes, "tree_method": "hist", "seed": 0}
    theirs = xgboost.train(settings, xgboost.DMatrix(ready, label=truths), num_boost_round=10)
    other = np.random.default_rng(1).normal(0, 2, (300, 6)).astype(np.float32)
    for rows in (ready, other):
        expected = theirs.predict(xgboost.DMatrix(rows), output_margin=True)
        np.testing.assert_allclose(head.scores(rows), expected, atol=1e-4)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_learns_saves_and_answers_the_same(kind: str, classes: int, tmp_path: Path) -> None:
    vectors, labels = cells(classes=classes)
    classifier = fit(vectors, labels, ClassifierConfig(kind=kind, **QUICK))
    before = classifier.predict(vectors, ClassifyConfig(min_probability=0, max_distance=1000))
    assert np.mean(before.top(0)[0] == np.asarray(labels)) > 0.7
    np.testing.assert_allclose(before.probabilities.sum(axis=1), 1, atol=1e-5)
    assert classifier.save(tmp_path) == ["classifier.safetensors"]
    again = CLASSIFIERS[kind].load(tmp_path)
    assert again.hash == classifier.hash
    after = again.predict(vectors)
    np.testing.assert_array_equal(before.probabilities, after.probabilities)
    nothing = Embeddings(cell_id=[], values=np.zeros((0, 6)), names=vectors.names, embedder="e" * 64)
    assert again.predict(nothing).probabilities.shape == (0, classes)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_whose_arrays_do_not_fit_is_refused(kind: str, tmp_path: Path) -> None:
    """As a forger would write it: with a hash that is right."""
    vectors, labels = cells()
    path = tmp_path / "c.safetensors"
    fit(vectors, labels, ClassifierConfig(kind=kind, **QUICK)).write(path)
    header, arrays = read_arrays(path, "classifier")
    own = {"random_forest": "children", "xgboost": "children", "ann": "bias_in"}
    name = own.get(kind, "coefficients" if kind == "logistic" else "pair_weights")
    forged = arrays[name] + 10**6 if name == "children" else arrays[name][:-3]
    write_arrays(
        path,
        "classifier",
        arrays | {name: np.ascontiguousarray(forged)},
        config=header.config,
        parents=header.parents,
    )
    with pytest.raises(ArtifactError, match="no complete classifier"):
        Classifier.read(path)


def test_rare_classes_weigh_as_much_as_common_ones() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0, 1, (300, 2)), rng.normal(1.2, 1, (12, 2))])
    vectors = Embeddings(cell_id=np.arange(312), values=values, names=("a", "b"), embedder="e")
    labels = ["lymphocyte"] * 300 + ["basophil"] * 12
    found = {
        weights: fit(vectors, labels, ClassifierConfig(class_weights=weights, calibration="none"))
        .predict(vectors)
        .top(0)[0]
        for weights in ("balanced", "none")
    }
    rare = np.asarray(labels) == "basophil"
    assert np.mean(found["balanced"][rare] == "basophil") > 0.5 > np.mean(found["none"][rare] == "basophil")


def test_published_settings_are_those_of_the_papers() -> None:
    forest, logistic = published("random_forest"), published("logistic")
    assert (forest.trees, forest.depth, logistic.iterations, published("ann").hidden) == (200, 16, 500, 100)
    assert (forest.class_weights, forest.seed) == ("none", 1234)


def test_cells_of_one_slide_stay_together_and_classes_are_spread() -> None:
    truths = np.repeat(["a", "b"], (90, 10))
    groups = np.concatenate([np.arange(90) // 5, np.arange(10) + 100])
    part = deal(truths, groups, 5, np.random.default_rng(0))
    assert all(len(set(part[groups == g])) == 1 for g in np.unique(groups))
    assert [int(np.sum(part[truths == "b"] == p)) for p in range(5)] == [2] * 5
    assert max(np.bincount(part)) - min(np.bincount(part)) <= 5


def test_fewer_slides_than_folds_means_fewer_folds_and_says_so() -> None:
    vectors, labels = cells(40)
    classifier = fit(vectors, labels, groups=[str(i // 4 % 3) for i in range(40)])
    assert classifier.notes == ("3 folds instead of 10: there are 3 slides",)
    assert "of 3 slides, slide by slide" in classifier.calibration.basis
    with pytest.raises(ClassifyError, match="All 40 cells are of one group"):
        fit(vectors, labels, groups=["one"] * 40)
    with pytest.raises(ClassifyError, match="3 groups for 40 cells"):
        fit(vectors, labels, groups=["a", "b", "c"])


def test_selection_takes_the_better_one_and_scores_it_on_cells_without_part_in_the_choice() -> None:
    rng = np.random.default_rng(0)
    truths = np.arange(160) % 2
    radius = np.where(truths, 2.5, 0.8)
    angle = rng.uniform(0, 2 * np.pi, 160)
    values = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1) + rng.normal(0, 0.2, (160, 2))
    rings = Embeddings(cell_id=np.arange(160), values=values, names=("a", "b"), embedder="e")
    kinds = [ClassifierConfig(kind=kind, **(QUICK | {"folds": 3})) for kind in ("logistic", "svm_rbf")]
    chosen = select(rings, [CLASSES[t] for t in truths], kinds, groups=[str(i // 2) for i in range(160)])
    assert chosen.chosen.kind == "svm_rbf" == chosen.classifier.kind
    assert chosen.inner[0] < 0.7
    assert min(chosen.inner[1], chosen.outer) > 0.95
    with pytest.raises(ClassifyError, match="nothing to select from"):
        select(rings, [CLASSES[t] for t in truths], [])


@pytest.mark.parametrize(
    ("name", "forged"),
    [
        ("calibration_truths", np.full(200, 9, np.int32)),
        ("calibration_misfits", np.zeros(3, np.float32)),
        ("calibration_offsets", np.zeros(7, np.float32)),
        ("known_labs", np.full(200, 5, np.int32)),
        ("known_values", np.zeros((3, 6), np.float16)),
        ("scale", np.zeros(6, np.float32)),
        ("centres", np.zeros((2, 6), np.float32)),
    ],
)
def test_calibration_and_training_vectors_that_do_not_fit_are_refused(
    name: str, forged: np.ndarray, tmp_path: Path
) -> None:
    vectors, labels = cells()
    path = tmp_path / "c.safetensors"
    fit(vectors, labels, ClassifierConfig(iterations=30, folds=2)).write(path)
    header, arrays = read_arrays(path, "classifier")
    write_arrays(path, "classifier", arrays | {name: forged}, config=header.config, parents=header.parents)
    with pytest.raises(ArtifactError, match="no complete classifier"):
        Classifier.read(path)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("kind", ["logistic", "ann"])
def test_onnx_gives_the_same_probabilities(kind: str, classes: int, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from napari_bloodcell.core.classify.onnx_file import export_onnx

    vectors, labels = cells(classes=classes)
    config = ClassifierConfig(kind=kind, **(QUICK | {"calibration": "temperature", "folds": 2}))
    classifier = fit(vectors, labels, config)
    export_onnx(classifier, tmp_path / "c.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "c.onnx", providers=["CPUExecutionProvider"])
    (theirs,) = session.run(None, {"vectors": vectors.values})
    np.testing.assert_allclose(theirs, classifier.predict(vectors).probabilities, atol=1e-5)
    assert session.get_modelmeta().custom_metadata_map["classes"] == ",".join(classifier.class_names)


def test_what_onnx_cannot_hold_is_refused(tmp_path: Path) -> None:
    from napari_bloodcell.core.classify.onnx_file import export_onnx

    vectors, labels = cells(60)
    forest = fit(vectors, labels, ClassifierConfig(kind="random_forest", **(QUICK | {"trees": 3})))
    with pytest.raises(ClassifyError, match="It takes logistic or ann"):
        export_onnx(forest, tmp_path / "c.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("calibration", ["temperature", "none"])
def test_xgboost_reads_our_export_and_gives_the_same_probabilities(
    classes: int, calibration: str, tmp_path: Path
) -> None:
    """Of plain vectors, those at the thresholds too: standardising and calibration are in the file."""
    import xgboost

    from napari_bloodcell.core.classify.ubj_file import export_ubj

    vectors, labels = cells(classes=classes)
    config = ClassifierConfig(kind="xgboost", **(QUICK | {"calibration": calibration, "folds": 2}))
    classifier = fit(vectors, labels, config)
    export_ubj(classifier, tmp_path / "c.ubj")
    theirs = xgboost.Booster(model_file=str(tmp_path / "c.ubj"))
    rng = np.random.default_rng(0)
    far = rng.normal(0, 30, vectors.values.shape).astype(np.float32)
    feature, below = classifier.head.arrays["feature"], classifier.head.arrays["below"]
    at_thresholds = np.tile(vectors.values[:1], (len(feature), 1))
    at = (below * classifier.scale[feature] + classifier.mean[feature]).astype(np.float32)
    at_thresholds[np.arange(len(feature)), feature] = at
    for values in (vectors.values, far, at_thresholds):
        rows = replace(vectors, cell_id=np.arange(len(values)), values=values)
        ours = classifier.predict(rows).probabilities
        np.testing.assert_allclose(theirs.predict(xgboost.DMatrix(values)), ours, atol=2e-6)
    assert theirs.attr("classes") == ",".join(classifier.class_names)
    assert theirs.attr("embedder") == classifier.embedder


def test_what_ubjson_cannot_hold_is_refused(tmp_path: Path) -> None:
    from napari_bloodcell.core.classify.ubj_file import export_ubj

    vectors, labels = cells(60)
    plain = fit(vectors, labels, ClassifierConfig(kind="logistic", **QUICK))
    with pytest.raises(ClassifyError, match="It takes xgboost"):
        export_ubj(plain, tmp_path / "c.ubj")
    assert not list(tmp_path.iterdir())


def test_a_gpu_that_is_not_there_is_refused_and_auto_does_without() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    vectors, labels = cells(60)
    config = ClassifierConfig(kind="xgboost", **QUICK)
    with pytest.raises(DeviceError, match="'cuda:0' was asked for"):
        fit(vectors, labels, replace(config, device="cuda"))
    found = fit(vectors, labels, replace(config, device="auto"))
    assert found.hash == fit(vectors, labels, config).hash
    assert found.config.device == "cpu"
