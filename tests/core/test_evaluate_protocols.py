"""Who is trained on and who is tried."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold

from napari_bloodcell.core.config import EvaluateConfig
from napari_bloodcell.core.datasets import CellImage
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.evaluate.cells import CellTable, check_labs
from napari_bloodcell.core.evaluate.protocols import Trial, check, trials_of

LEAVE_ONE_OUT = EvaluateConfig(protocol="leave-one-lab-out")


def table_of(labs: dict[str, dict[str, int]], group: list[str] | None = None) -> CellTable:
    labels = [name for counts in labs.values() for name, n in counts.items() for _ in range(n)]
    lab = [one for one, counts in labs.items() for n in counts.values() for _ in range(n)]
    alone = [f"picture {i}" for i in range(len(labels))]
    return CellTable(
        cells=tuple(CellImage(Path(f"{i}.png"), labels[i], lab[i]) for i in range(len(labels))),
        labels=np.array(labels),
        lab=np.array(lab),
        group=np.array(group or alone),
        key=np.array(alone),
        level="coarse",
        notes=(),
    )


TWO_LABS = {"a": {"monocyte": 12, "neutrophil": 20}, "b": {"monocyte": 9, "neutrophil": 6}}


def test_cross_domain_folds_are_those_published() -> None:
    """StratifiedKFold, five folds, shuffled, seed 1234; the other lab is tried whole."""
    table = table_of(TWO_LABS)
    trials, notes = trials_of(table, EvaluateConfig())
    assert not notes
    assert len(trials) == 10
    own = np.arange(32)
    folds = StratifiedKFold(5, shuffle=True, random_state=1234).split(own, table.labels[own])
    for trial, (train, test) in zip(trials, folds, strict=False):
        np.testing.assert_array_equal(trial.train, train)
        tests = dict(trial.tests)
        np.testing.assert_array_equal(tests["a"], test)
        np.testing.assert_array_equal(tests["b"], np.arange(32, 47))


def test_leave_one_lab_out_never_trains_on_the_target() -> None:
    table = table_of(TWO_LABS)
    trials, _ = trials_of(table, LEAVE_ONE_OUT)
    assert [trial.tests[0][0] for trial in trials] == ["a", "b"]
    for trial in trials:
        target, rows = trial.tests[0]
        assert set(table.lab[trial.train]) == {"a", "b"} - {target}
        assert set(table.lab[rows]) == {target}


def test_few_shot_never_scores_a_corrected_cell_and_more_shots_keep_the_cells_of_fewer() -> None:
    table = table_of({"a": {"monocyte": 30, "neutrophil": 30}, "b": {"monocyte": 20, "neutrophil": 20}})
    config = EvaluateConfig(protocol="few-shot", shots=(0, 5, 10, 100), repeats=3)
    trials, notes = trials_of(table, config)
    assert any("a has 30 cells to correct: no figure for 100" in note for note in notes)
    assert {trial.shots for trial in trials} == {0, 5, 10}
    for target in ("a", "b"):
        for repeat in range(3):
            own = [t for t in trials if t.tests[0][0] == target and t.fold == repeat]
            five, ten = own[1].corrected, own[2].corrected
            assert set(five) < set(ten)
            np.testing.assert_array_equal(own[0].tests[0][1], own[2].tests[0][1])
            assert not set(ten) & set(own[0].tests[0][1])
            assert len(own[0].corrected) == 0
    assert set(trials[1].corrected) != set(trials[4].corrected)


def test_cells_of_a_patient_stay_on_one_side() -> None:
    group = [f"patient {i // 4}" for i in range(60)]
    table = table_of({"a": {"monocyte": 30, "neutrophil": 30}}, group)
    trials, _ = trials_of(table, EvaluateConfig())
    assert len(trials) == 5
    for trial in trials:
        (_, test), *_ = trial.tests
        assert not set(table.group[trial.train]) & set(table.group[test])
    assert sum(len(trial.tests[0][1]) for trial in trials) == 60


def test_a_group_on_both_sides_is_refused_by_name() -> None:
    leaking = Trial(
        source="a",
        fold=2,
        train=np.array([0, 1]),
        tests=(("a", np.array([2, 3])),),
        corrected=np.zeros(0, int),
    )
    with pytest.raises(DataError, match=r"1 groups are on both sides of fold 2 of a: .* 'slide 7'"):
        check(np.array(["slide 6", "slide 7", "slide 7", "slide 8"]), leaking)


def test_a_picture_in_two_labs_is_not_scored_where_it_was_trained() -> None:
    group = [f"picture {i}" for i in range(46)] + ["picture 0"]
    table = table_of(TWO_LABS, group)
    trials, notes = trials_of(table, LEAVE_ONE_OUT)
    assert 0 not in trials[0].tests[0][1]
    assert 46 not in trials[1].tests[0][1]
    assert any("1 pictures or patients are in a and in b" in note for note in notes)


def test_fewer_cells_than_folds_give_fewer_folds_and_say_so() -> None:
    table = table_of({"a": {"monocyte": 3, "neutrophil": 3}})
    trials, notes = trials_of(table, EvaluateConfig(folds=5))
    assert len(trials) == 3
    assert notes == ["a: 3 folds instead of 5, it has too few cells for more."]


def test_a_class_with_one_cell_is_not_trained_but_still_counts() -> None:
    table = table_of({"a": {"basophil": 1, "monocyte": 10, "neutrophil": 10}})
    trials, notes = trials_of(table, EvaluateConfig())
    assert all("basophil" not in table.labels[trial.train] for trial in trials)
    assert sum((table.labels[trial.tests[0][1]] == "basophil").sum() for trial in trials) == 1
    assert any(note.startswith("basophil: one cell in a training fold of a") for note in notes)
    assert any("fewer cells than folds of basophil" in note for note in notes)


def test_a_lab_of_one_class_is_refused_by_name() -> None:
    table = table_of({"a": {"monocyte": 5}, "b": {"monocyte": 5, "neutrophil": 5}})
    with pytest.raises(DataError, match="All 5 cells of a are monocyte: no classifier"):
        check_labs(table, "cross-domain")
    check_labs(table, "leave-one-lab-out")
    with pytest.raises(DataError, match="the labs without b has cells of fewer than two classes"):
        trials_of(table, LEAVE_ONE_OUT)


def test_one_lab_cannot_be_left_out_and_no_cells_are_nothing() -> None:
    with pytest.raises(DataError, match=r"leave-one-lab-out needs two labs at least; there is only 'a'"):
        check_labs(table_of({"a": {"monocyte": 5, "neutrophil": 5}}), "leave-one-lab-out")
    with pytest.raises(DataError, match="No labelled cell was found"):
        check_labs(table_of({}), "cross-domain")


def test_cells_that_were_not_found_are_tried_but_not_trained() -> None:
    table = table_of(TWO_LABS)
    found = np.ones(47, bool)
    found[[0, 40]] = False
    trials, _ = trials_of(table, EvaluateConfig(), found)
    assert not any(0 in trial.train or 40 in trial.train for trial in trials)
    tried = Counter(int(row) for trial in trials for _, rows in trial.tests for row in rows)
    assert tried[0] == tried[40] == 6  # once in its own lab, by five classifiers of the other
