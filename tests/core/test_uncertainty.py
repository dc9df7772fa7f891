import numpy as np
import pytest

from napari_bloodcell.core.classify import fit
from napari_bloodcell.core.config import ClassifierConfig, ClassifyConfig
from napari_bloodcell.core.errors import ClassifyError
from napari_bloodcell.core.records import UNIDENTIFIED, Embeddings
from napari_bloodcell.core.uncertainty.calibration import (
    Calibration,
    best_temperature,
    calibrate,
    expected_calibration_error,
    offsets_for,
    softmax,
    threshold,
)
from napari_bloodcell.core.uncertainty.cloud import cloud_of
from napari_bloodcell.core.uncertainty.rule import decide

NAMES = ("basophil", "eosinophil", "monocyte")


def drawn(count: int, seed: int = 0, heat: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Scores whose softmax at ``heat`` is the very chance of each class, and classes drawn from it."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(0, 1.5, (count, 3))
    chance = softmax(honest).cumsum(axis=1)
    return honest * heat, np.minimum((rng.random((count, 1)) > chance).sum(axis=1), 2)


@pytest.mark.parametrize("heat", [0.5, 1.0, 4.0])
def test_the_temperature_undoes_the_heat(heat: float) -> None:
    scores, truths = drawn(4000, heat=heat)
    assert best_temperature(scores, truths) == pytest.approx(heat, rel=0.1)


def test_a_handful_of_cells_does_not_freeze_the_answers() -> None:
    scores, truths = np.array([[1.0, 0, 0], [0, 1, 0]]), np.array([0, 1])
    assert 0.4 < best_temperature(scores, truths) < 1


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_calibration_brings_sure_and_right_together(method: str) -> None:
    scores, truths = drawn(3000, heat=4.0)
    learned = calibrate(scores, truths, method, basis="made")
    other, told = drawn(3000, seed=1, heat=4.0)
    before = expected_calibration_error(softmax(other), told)
    after = expected_calibration_error(learned.probabilities(other), told)
    assert before > 0.1
    assert after < 0.04


def test_calibration_error_is_that_of_a_plain_loop() -> None:
    scores, truths = drawn(500, heat=3.0)
    likely = softmax(scores)
    order = np.argsort(likely.max(axis=1), kind="stable")
    expected = 0.0
    for part in range(10):
        rows = order[part * 50 : (part + 1) * 50]
        sure = sum(float(likely[r].max()) for r in rows) / 50
        right = sum(likely[r].argmax() == truths[r] for r in rows) / 50
        expected += abs(sure - right) / 10
    assert expected_calibration_error(likely, truths) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("count", "coverage", "rank"),
    [(99, 0.9, 90), (9, 0.9, 9), (8, 0.9, None), (19, 0.95, 19), (0, 0.5, None)],
)
def test_the_threshold_is_the_rank_of_split_conformal_prediction(count: int, coverage: float, rank) -> None:
    misfits = np.arange(1, count + 1) / 100
    expected = 1.0 if rank is None else rank / 100
    assert threshold(misfits[::-1], coverage) == pytest.approx(expected)


@pytest.mark.parametrize("level", [0.8, 0.9, 0.95])
def test_sets_hold_the_truth_as_often_as_asked_in_every_class(level: float) -> None:
    covered, sizes = [], []
    for seed in range(12):
        scores, truths = drawn(900, seed=2 * seed, heat=2.0)
        other, told = drawn(900, seed=2 * seed + 1, heat=2.0)
        learned = calibrate(scores, truths, basis="made")
        sets = learned.sets(learned.probabilities(other), level)
        covered.append([sets[told == c, c].mean() for c in range(3)])
        sizes.append(sets.sum(axis=1).mean())
    assert np.abs(np.mean(covered, axis=0) - level).max() < 0.03
    assert np.mean(sizes) < 2.8  # and they are not simply everything


def test_a_class_with_few_cells_borrows_the_threshold_of_all() -> None:
    misfits = np.concatenate([np.full(60, 0.2), np.full(3, 0.9)]).astype(np.float32)
    learned = Calibration(misfits=misfits, truths=np.repeat([0, 1], (60, 3)).astype(np.int32))
    likely = np.array([[0.7, 0.3], [0.85, 0.15]], np.float32)
    assert learned.sets(likely, 0.9).tolist() == [[False, False], [True, False]]
    assert len(learned.misfits_of(1)) == 63


def test_without_held_out_cells_there_are_no_sets() -> None:
    assert Calibration().sets(np.ones((2, 3), np.float32), 0.9) is None


def test_offsets_follow_a_mix_of_classes_that_moved() -> None:
    scores, truths = drawn(3000)
    moved = scores - [0, 2, 0]  # the scores say eosinophil too seldom
    temperature, offsets = offsets_for(moved, truths, np.ones(len(truths)))
    assert temperature == pytest.approx(1, rel=0.1)
    assert offsets[1] - offsets[[0, 2]].mean() == pytest.approx(2, abs=0.2)


def test_nan_scores_are_refused() -> None:
    with pytest.raises(ClassifyError, match="NaN"):
        calibrate(np.full((2, 2), np.nan), np.array([0, 1]), basis="made")


def test_long_vectors_keep_the_distance_of_the_outermost_at_one() -> None:
    rng = np.random.default_rng(0)
    ready, truths = rng.normal(0, 1, (600, 100)), np.arange(600) % 3
    cloud = cloud_of(ready, truths, 3)
    assert cloud.whitening.shape == (100, 64)
    assert 0 < np.mean(cloud.distance(ready.astype(np.float32)) > 1) < 0.03


def test_a_class_of_one_cell_has_the_reach_of_all() -> None:
    rng = np.random.default_rng(0)
    truths = np.array([0] * 50 + [1] * 50 + [2])
    cloud = cloud_of(rng.normal(0, 1, (101, 4)), truths, 3)
    assert cloud.reach[2] == pytest.approx(cloud.reach[:2].mean(), rel=0.3)


def test_doubt_names_the_other_possible_classes_and_can_leave_the_cell_unidentified() -> None:
    likely = np.array([[0.9, 0.05, 0.05], [0.55, 0.4, 0.05], [0.6, 0.3, 0.1]], np.float32)
    sets = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0]], bool)
    labels, doubt = decide(NAMES, likely, np.zeros(3), sets, ClassifyConfig())
    assert list(labels) == ["basophil"] * 3
    assert doubt == ("", "could be eosinophil too (sets of 90%)", "fits no class (sets of 90%)")
    labels, doubt = decide(NAMES, likely, np.zeros(3), sets, ClassifyConfig(max_set=1))
    assert list(labels) == ["basophil", UNIDENTIFIED, "basophil"]
    assert doubt[1].startswith("2 classes are possible; could be eosinophil")


def test_predictions_carry_the_top_two_the_set_and_what_calibration_rests_on() -> None:
    rng = np.random.default_rng(0)
    truths = np.arange(300) % 3
    values = rng.normal(0, 1, (300, 3)) + 2 * np.eye(3)[truths]
    cells = Embeddings(cell_id=np.arange(300), values=values, names=("a", "b", "c"), embedder="e")
    slides = [f"slide {row // 10}" for row in range(300)]
    classifier = fit(cells, [NAMES[t] for t in truths], ClassifierConfig(), groups=slides)
    predictions = classifier.predict(cells)
    assert predictions.sets.shape == (300, 3)
    assert predictions.possible()[0].split("|")[0] in NAMES
    assert (predictions.top(0)[1] >= predictions.top(1)[1]).all()
    assert (
        classifier.calibration.basis == "300 training cells of 30 slides, slide by slide, each held out once"
    )
