import numpy as np
import pytest

from napari_bloodcell.core.errors import BloodcellError
from napari_bloodcell.core.records import Embeddings, Masks, Predictions, SmearImage


def test_a_record_does_not_freeze_or_share_edits_of_the_callers_dtype() -> None:
    values = np.zeros((2, 3), np.float32)
    record = Embeddings(cell_id=np.array([1, 2]), values=values, names=("a", "b", "c"), embedder="e")
    assert values.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        record.values[0, 0] = 1


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(BloodcellError, match=r"Embeddings.values has shape \(2, 3\); it takes 1 x 3"):
        Embeddings(cell_id=np.array([1]), values=np.zeros((2, 3)), names=("a", "b", "c"), embedder="e")


def test_zero_cells_are_a_valid_value() -> None:
    masks = Masks(
        cell_id=np.zeros(0),
        labels=np.zeros((5, 6)),
        nucleus=np.zeros((5, 6)),
        boxes_xyxy=np.zeros((0, 4)),
        touches_border=np.zeros(0),
    )
    assert len(masks) == 0
    assert masks.labels.dtype == np.int32


def test_an_image_is_always_rgb() -> None:
    with pytest.raises(BloodcellError, match="it takes any x any x 3"):
        SmearImage(pixels=np.zeros((4, 4)))


def test_top_ranks_the_guesses() -> None:
    predictions = Predictions(
        cell_id=np.array([4, 9]),
        class_names=("a", "b", "c"),
        probabilities=np.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]]),
        labels=np.array(["b", "a"]),
        doubt=("", ""),
        distance=np.zeros(2),
    )
    assert list(predictions.top(0)[0]) == ["b", "a"]
    assert list(predictions.top(1)[0]) == ["c", "c"]
    np.testing.assert_allclose(predictions.top(2)[1], [0.2, 0.1])


def test_each_cell_has_its_doubt() -> None:
    with pytest.raises(BloodcellError, match="1 entries for 2 cells"):
        Predictions(
            cell_id=np.array([1, 2]),
            class_names=("a",),
            probabilities=np.ones((2, 1)),
            labels=np.array(["a", "a"]),
            doubt=("",),
            distance=np.zeros(2),
        )
