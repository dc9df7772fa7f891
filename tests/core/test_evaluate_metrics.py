"""Each figure against a slow oracle, and each interval by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from napari_bloodcell.core.evaluate import metrics
from napari_bloodcell.core.evaluate.intervals import bootstrap, differences, resampled
from napari_bloodcell.core.evaluate.metrics import Answers
from napari_bloodcell.core.evaluate.scores import Score, Value
from napari_bloodcell.core.evaluate.table import few_shot_tables, wide_table


def answers_of(truth, predicted, *, classes=3, fold=None, group=None) -> Answers:
    n = len(truth)
    return Answers(
        class_names=tuple("abcdef"[:classes]),
        truth=np.asarray(truth, int),
        predicted=np.asarray(predicted, int),
        fold=np.zeros(n, int) if fold is None else np.asarray(fold, int),
        group=np.arange(n) if group is None else np.asarray(group),
        confidence=np.full(n, 0.9),
        identified=np.ones(n, bool),
    )


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60))
def test_scores_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = (np.array(side) for side in zip(*pairs, strict=True))
    got = metrics.scores_of(answers_of(truth, predicted, classes=4).tables()[0])
    recalls = [np.mean(predicted[truth == c] == c) for c in np.unique(truth)]
    assert got["accuracy"] == pytest.approx(oracle.f1_score(truth, predicted, average="micro"))
    assert got["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert got["macro_f1"] == pytest.approx(oracle.f1_score(truth, predicted, average="macro"))
    if len({*truth.tolist(), *predicted.tolist()}) > 1:
        assert got["kappa"] == pytest.approx(oracle.cohen_kappa_score(truth, predicted))


def test_a_cell_without_an_answer_is_wrong_and_belongs_to_no_class() -> None:
    got = metrics.scores_of(answers_of([0, 0, 1, 1], [0, -1, 1, 1], classes=2).tables()[0])
    assert got["accuracy"] == pytest.approx(0.75)
    assert got["balanced_accuracy"] == pytest.approx(0.75)
    assert got["macro_f1"] == pytest.approx((2 / 3 + 1) / 2)


def test_folds_are_averaged_and_empty_ones_do_not_count() -> None:
    tables = answers_of([0, 0, 1], [0, 1, 1], classes=2, fold=[0, 0, 2]).tables()
    assert tables.shape == (3, 2, 3)
    assert metrics.mean_scores(tables)["accuracy"] == pytest.approx((0.5 + 1) / 2)


def test_calibration_error_is_the_weighted_gap() -> None:
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.2, 1, 500)
    right = rng.random(500) < 0.6
    gap = 0.0
    for low in np.arange(15) / 15:
        inside = (sure > low) & (sure <= low + 1 / 15 + 1e-12)
        if inside.any():
            gap += inside.mean() * abs(sure[inside].mean() - right[inside].mean())
    assert metrics.reliability(sure, right).error == pytest.approx(gap)
    assert metrics.reliability(np.zeros(0), np.zeros(0, bool)).error == 0


def test_risk_falls_with_coverage_where_sureness_means_something() -> None:
    sure = np.array([0.9, 0.8, 0.8, 0.5])
    right = np.array([True, True, False, False])
    coverage, risk = metrics.risk_coverage(sure, right)
    np.testing.assert_allclose(coverage, [0.25, 0.75, 1])  # equally sure cells come together
    np.testing.assert_allclose(risk, [0, 1 / 3, 0.5])
    assert metrics.accuracy_of_surest(sure, right) == 1.0
    assert len(metrics.risk_coverage(np.zeros(0), np.zeros(0, bool))[0]) == 0


def test_ceiling_is_the_share_of_cells_whose_class_was_trained() -> None:
    truth = np.array(["a", "a", "b", "c"])
    assert metrics.ceiling(truth, {"a", "b", "d"}) == 0.75
    assert metrics.majority(np.array([0, 0, 1, 2])) == 0.5


def test_interval_is_that_of_a_plain_bootstrap_loop() -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 3, 90)
    predicted = np.where(rng.random(90) < 0.7, truth, rng.integers(0, 3, 90))
    group = rng.integers(0, 30, 90)
    got = bootstrap(answers_of(truth, predicted, group=group), samples=4000, confidence=0.9, seed=0)
    members = [np.flatnonzero(group == g) for g in np.unique(group)]
    drawn = []
    for _ in range(4000):
        rows = np.concatenate([members[g] for g in rng.integers(0, len(members), len(members))])
        drawn.append(np.mean(truth[rows] == predicted[rows]))
    value, (low, high) = got["accuracy"]
    assert value == pytest.approx(np.mean(truth == predicted))
    assert (low, high) == pytest.approx(tuple(np.quantile(drawn, (0.05, 0.95))), abs=0.015)


def test_groups_widen_the_interval_and_classifiers_do_not_narrow_it() -> None:
    """20 slides, all cells of one right or wrong together: 200 cells are worth 20."""
    rng = np.random.default_rng(1)
    right = np.repeat(rng.random(20) < 0.7, 10)
    truth, predicted = np.zeros(200, int), np.where(right, 0, 1)
    slides = np.repeat(np.arange(20), 10)

    def width(answers: Answers) -> float:
        low, high = bootstrap(answers, samples=500, confidence=0.95, seed=0)["accuracy"][1]
        return high - low

    by_cell = width(answers_of(truth, predicted))
    by_slide = width(answers_of(truth, predicted, group=slides))
    assert by_slide > 2.5 * by_cell
    five = [np.tile(a, 5) for a in (truth, predicted, np.arange(200))]
    again = width(answers_of(five[0], five[1], fold=np.repeat(np.arange(5), 200), group=five[2]))
    assert again == pytest.approx(by_cell, rel=0.1)


def test_the_interval_of_a_mean_over_classes_lies_around_it_where_a_class_is_rarer_than_the_folds() -> None:
    """A fold that tests one cell of a class loses the class in every third draw of all cells."""
    rng = np.random.default_rng(2)
    truth = np.repeat([0, 1], [100, 4])
    predicted = np.where(rng.random(104) < 0.8, truth, 1 - truth)
    predicted[100:] = 0
    fold = np.concatenate([np.arange(100) % 5, np.arange(4)])
    answers = answers_of(truth, predicted, fold=fold)
    for name in ("balanced_accuracy", "macro_f1"):
        value, (low, high) = bootstrap(answers, samples=1000, confidence=0.95, seed=0)[name]
        assert low < value < high
        assert value == pytest.approx((low + high) / 2, abs=0.02)


def test_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    inside = []
    for seed in range(200):
        predicted = np.where(rng.random(150) < 0.8, 0, 1)
        low, high = bootstrap(answers_of(np.zeros(150), predicted), samples=200, confidence=0.95, seed=seed)[
            "accuracy"
        ][1]
        inside.append(low <= 0.8 <= high)
    assert 0.89 <= np.mean(inside) <= 0.99


def test_a_class_of_one_cell_does_not_lift_the_interval_of_a_mean_over_classes() -> None:
    """One basophil, wrong: a plain draw leaves it out every third time, and the mean jumps by a fifth."""
    truth = np.array([0] * 60 + [1] * 40 + [2])
    predicted = np.where(np.arange(101) % 5 == 0, (truth + 1) % 2, truth)
    predicted[-1] = 0
    found = bootstrap(answers_of(truth, predicted), samples=1000, confidence=0.95, seed=0)
    value, (low, high) = found["balanced_accuracy"]
    assert value == pytest.approx((0.8 + 0.8 + 0) / 3)
    assert high < 0.62
    assert value - low == pytest.approx(high - value, abs=0.02)


def test_nothing_tested_says_nothing() -> None:
    assert bootstrap(answers_of([], []), samples=100, confidence=0.95, seed=0)["accuracy"] == (0, (0, 1))


def test_where_no_cell_was_scored_there_is_no_figure() -> None:
    def score(source: str, target: str, cells: int, accuracy: float, shots: int = 0) -> Score:
        value = Value(value=accuracy, low=0.0, high=1.0, spread=0.0)
        return Score(
            method="m", sees_target=False, source=source, target=target, shots=shots, cells=cells, not_found=0,
            classifiers=1, metrics={"accuracy": value}, majority=0.5, ceiling=1.0, calibration_error=0.0,
            surest_half=0.0, recalls=(), class_names=("a", "b"), confusion=(), reliability=(), risk_coverage=(),
        )  # fmt: skip

    table = wide_table(
        [score("a", "a", 4, 1.0), score("a", "b", 0, 0.0), score("b", "a", 4, 0.5)],
        "accuracy",
        "cross-domain",
    )
    row = table.rows[0]
    assert row.cells[:3] == ("100.0 [0.0, 100.0]", "-", "50.0 [0.0, 100.0]")
    assert row.cells[3:] == ("100.0", "50.0", "75.0")
    assert table.rows[1].cells[1] == "-"
    (few,) = few_shot_tables([score("", "a", 4, 0.5), score("", "a", 0, 0.0, shots=5)], "accuracy")
    assert few.rows[0].cells == ("50.0 [0.0, 100.0]", "-")


def test_what_is_possible_is_told_for_each_bundle_that_knows_other_classes() -> None:
    def score(method: str, ceiling: float) -> Score:
        value = Value(value=0.5, low=0.0, high=1.0, spread=0.0)
        return Score(
            method=method, sees_target=False, source="", target="a", shots=0, cells=4, not_found=0,
            classifiers=1, metrics={"accuracy": value}, majority=0.5, ceiling=ceiling, calibration_error=0.0,
            surest_half=0.0, recalls=(), class_names=("a", "b"), confusion=(), reliability=(), risk_coverage=(),
        )  # fmt: skip

    for names in (("nano", "own", "forest"), ("own", "forest", "nano")):
        scores = [score(name, 0.75 if name == "nano" else 1.0) for name in names]
        possible = {
            row.name: row.cells[0] for row in wide_table(scores, "accuracy", "leave-one-lab-out").rows[4:]
        }
        assert possible == {"most possible for nano": "75.0", "most possible for own, forest": "100.0"}
    (row,) = wide_table([score("x", 1.0), score("y", 1.0)], "accuracy", "leave-one-lab-out").rows[3:]
    assert row.name == "most possible"


def test_a_paired_difference_is_that_of_a_plain_loop_and_narrower_than_of_two_samples() -> None:
    rng = np.random.default_rng(8)
    truth, slides = rng.integers(0, 3, 120), rng.integers(0, 25, 120)
    first = np.where(rng.random(120) < 0.7, truth, 3)  # what it gets wrong it calls another class
    second = np.where(rng.random(120) < 0.1, truth, first)  # a little better, on the same cells
    one, other = (answers_of(truth, said, classes=4, group=slides) for said in (second, first))
    drawn = [resampled(answers, samples=4000, seed=2) for answers in (one, other)]
    value, (low, high) = differences(one, drawn[0], other, drawn[1], 0.9)["accuracy"]
    members = [np.flatnonzero(slides == s) for s in np.unique(slides)]
    apart = (second == truth).astype(float) - (first == truth)
    loop = []
    for _ in range(4000):
        rows = np.concatenate([members[s] for s in rng.integers(0, len(members), len(members))])
        loop.append(apart[rows].mean())
    assert value == pytest.approx(apart.mean())
    assert (low, high) == pytest.approx(tuple(np.quantile(loop, (0.05, 0.95))), abs=0.01)
    alone = bootstrap(one, samples=1000, confidence=0.9, seed=2)["accuracy"][1]
    assert high - low < 0.7 * (alone[1] - alone[0])
