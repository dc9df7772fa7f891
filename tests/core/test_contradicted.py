"""Which labels held-out answers contradict, by numbers worked out by hand."""

import numpy as np

from napari_bloodcell.core.uncertainty.contradicted import LEAST_OF_CLASS, contradicted

NAMES = ("lymphocyte", "monocyte")


def answers(*of_monocyte: float) -> np.ndarray:
    return np.array([[1 - share, share] for share in of_monocyte])


def test_a_label_is_contradicted_by_an_answer_as_sure_as_usual_of_its_class() -> None:
    labels = np.array(["lymphocyte"] * 4 + ["monocyte"] * 3)
    # monocytes are called so at 0.9, 0.8 and 0.7: 0.8 on average
    found = contradicted(answers(0.1, 0.85, 0.75, 0.4, 0.9, 0.8, 0.7), NAMES, labels)
    assert np.flatnonzero(found).tolist() == [1]  # 0.75 is surer of monocyte than not, but less than usual
    assert np.isclose(found[1], 0.85 - 0.15)


def test_a_class_of_two_cells_contradicts_nothing() -> None:
    labels = np.array(["lymphocyte"] * 4 + ["monocyte"] * (LEAST_OF_CLASS - 1))
    assert not contradicted(answers(0.1, 0.99, 0.1, 0.1, 0.6, 0.6), NAMES, labels).any()


def test_a_label_that_the_classifier_does_not_know_is_not_contradicted() -> None:
    labels = np.array(["blast"] + ["lymphocyte"] * 3 + ["monocyte"] * 3)
    assert not contradicted(answers(0.9, 0.1, 0.1, 0.1, 0.6, 0.6, 0.6), NAMES, labels).any()


def test_nothing_is_found_among_no_cells() -> None:
    assert contradicted(np.zeros((0, 2)), NAMES, np.array([], np.str_)).shape == (0,)
    assert not contradicted(np.zeros((2, 0)), (), np.array(["a", "b"])).any()
