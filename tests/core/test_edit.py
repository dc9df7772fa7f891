"""Corrections of outlines: what changes, what must not, and the way back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_bloodcell.core.errors import SegmentError
from napari_bloodcell.core.segment import edit


@pytest.fixture
def field():
    """Two discs side by side under one id (a dumbbell, 7), and one alone (3)."""
    y, x = np.ogrid[:80, :160]
    left, right = (y - 40) ** 2 + (x - 40) ** 2 < 400, (y - 40) ** 2 + (x - 76) ** 2 < 400
    alone = (y - 40) ** 2 + (x - 130) ** 2 < 225
    labels = (7 * (left | right) + 3 * alone).astype(np.int32)
    nucleus = ((y - 40) ** 2 + (x - 40) ** 2 < 100) | ((y - 40) ** 2 + (x - 76) ** 2 < 100)
    nucleus = nucleus | ((y - 40) ** 2 + (x - 130) ** 2 < 60)
    return labels, np.asarray(nucleus)


def put(one, labels, nucleus):
    labels, nuclei = labels.copy(), (labels * nucleus).astype(np.int32)
    one.put_on(labels, nuclei)
    return labels, nuclei


def areas(labels):
    return {int(i): int((labels == i).sum()) for i in np.unique(labels) if i}


def test_deleted_cells_are_gone_with_their_nuclei_and_others_stay(field):
    labels, nuclei = put(edit.delete(*field, [7]), *field)
    assert set(np.unique(labels)) == {0, 3}
    assert set(np.unique(nuclei)) == {0, 3}
    np.testing.assert_array_equal(labels == 3, field[0] == 3)


def test_many_are_deleted_at_once(field):
    labels, nuclei = put(edit.delete(*field, [3, 7]), *field)
    assert not labels.any()
    assert not nuclei.any()


def test_a_dumbbell_is_split_at_its_waist(field):
    one = edit.split(*field, 7)
    labels, nuclei = put(one, *field)
    assert set(areas(labels)) == {3, 7, 8}
    assert abs(areas(labels)[7] - areas(labels)[8]) < 0.1 * areas(labels)[7]
    assert set(np.unique(nuclei)) == {0, 3, 7, 8}
    np.testing.assert_array_equal(labels > 0, field[0] > 0)
    assert one.cells == (7, 8)


def test_a_line_splits_where_it_is_drawn_and_need_not_reach_the_edge(field):
    labels, _ = put(edit.split(*field, 3, np.array([[126.0, 36.0], [126.0, 44.0]])), *field)
    new = np.argwhere(labels == 8)
    assert new[:, 1].max() <= 127
    np.testing.assert_array_equal((labels == 3) | (labels == 8), field[0] == 3)


def test_a_round_cell_without_a_line_is_not_split_and_says_what_to_do(field):
    with pytest.raises(SegmentError, match="has no waist. Draw a line across it"):
        edit.split(*field, 3)


def test_a_line_beside_the_cell_does_not_split_it(field):
    with pytest.raises(SegmentError, match="leaves nothing of it on one side"):
        edit.split(*field, 3, np.array([[5.0, 5.0], [9.0, 5.0]]))


def test_split_parts_merge_back_to_the_same_outline(field):
    labels, nuclei = put(edit.split(*field, 7), *field)
    again, _ = put(edit.merge(labels, nuclei > 0, [8, 7]), labels, nuclei > 0)
    np.testing.assert_array_equal(again, field[0])


def test_a_narrow_gap_between_merged_cells_is_closed_and_a_third_cell_keeps_its_pixels():
    labels = np.zeros((30, 60), np.int32)
    labels[5:25, 5:25] = 1
    labels[5:25, 29:50] = 2
    labels[14:16, 26:28] = 9
    merged, _ = put(edit.merge(labels, labels > 90, [1, 2]), labels, labels > 90)
    assert merged[10, 27] == 1
    assert (merged == 9).sum() == 4
    assert 2 not in merged


@pytest.mark.parametrize(("cells", "says"), [([7], "two cells at least"), ([7, 5], "no cell 5 any more")])
def test_merging_needs_two_cells_that_are_there(field, cells, says):
    with pytest.raises(SegmentError, match=says):
        edit.merge(*field, cells)


def test_a_new_outline_replaces_the_old_and_takes_nothing_from_others(field):
    mask = np.zeros(field[0].shape, bool)
    mask[30:60, 100:140] = True
    labels, nuclei = put(edit.draw(*field, 7, mask, mask), *field)
    np.testing.assert_array_equal(labels == 3, field[0] == 3)
    assert ((labels == 7) == (mask & (field[0] != 3))).all()
    assert ((nuclei == 7) == (labels == 7)).all()


def test_a_speck_is_no_cell(field):
    mask = np.zeros(field[0].shape, bool)
    mask[0, :5] = True
    with pytest.raises(SegmentError, match="covers 5 free pixels; a cell has 12"):
        edit.draw(*field, 99, mask)


def test_a_brush_stroke_over_a_nucleus_takes_it_away(field):
    labels, nucleus = field
    rows, columns = np.nonzero(labels == 3)
    stroke = edit.brush(rows, columns, labels[rows, columns], np.zeros(len(rows)), nucleus)
    after, nuclei = put(stroke, labels, nucleus)
    assert 3 not in after
    assert 3 not in nuclei


def some_edit(kind, labels, nucleus, number):
    ids = [int(i) for i in np.unique(labels) if i] or [1]
    pick = ids[number % len(ids)]
    if kind == "d":
        return edit.delete(labels, nucleus, [pick])
    if kind == "s":
        return edit.split(labels, nucleus, pick)
    if kind == "m":
        return edit.merge(labels, nucleus, ids[:2])
    return edit.draw(labels, nucleus, 50 + number, labels == 0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("dmsubr"), st.integers(0, 9)), max_size=14))
def test_any_walk_through_edits_and_undo_comes_back_exactly(steps):
    dice = np.random.default_rng(3)
    labels = np.kron(dice.integers(0, 4, (4, 6)), np.ones((9, 9))).astype(np.int32)
    nuclei = labels * (dice.random(labels.shape) < 0.3)
    start, history, states = (labels.copy(), nuclei.copy()), edit.History(), []
    for kind, number in steps:
        try:
            if kind == "u":
                one = history.undo()
                if one is not None:
                    one.take_off(labels, nuclei)
                    was = states[len(history.done)]
                    np.testing.assert_array_equal(labels, was[0])
                    np.testing.assert_array_equal(nuclei, was[1])
                continue
            if kind == "r":
                one = history.redo()
                if one is not None:
                    one.put_on(labels, nuclei)
                continue
            one = some_edit(kind, labels, nuclei > 0, number)
        except SegmentError:
            continue
        del states[len(history.done) :]
        states.append((labels.copy(), nuclei.copy()))
        history.add(one)
        one.put_on(labels, nuclei)
        np.testing.assert_array_equal(nuclei[nuclei > 0], labels[nuclei > 0])
    while (one := history.undo()) is not None:
        one.take_off(labels, nuclei)
    np.testing.assert_array_equal(labels, start[0])
    np.testing.assert_array_equal(nuclei, start[1])


def test_a_new_edit_forgets_what_was_undone(field):
    history = edit.History()
    history.add(edit.delete(*field, [3]))
    history.undo()
    history.add(edit.delete(*field, [7]))
    assert history.redo() is None


def test_labels_of_any_origin_become_masks_with_their_own_ids(field):
    sparse = np.where(field[0] == 7, 4000, field[0]).astype(np.uint16)
    masks = edit.masks_of(sparse, field[1], um_per_px=0.1)
    assert masks.cell_id.tolist() == [3, 4000]
    x0, y0, x1, y1 = masks.boxes_xyxy[0]
    assert (sparse[y0:y1, x0:x1] == 3).sum() == (sparse == 3).sum()
    assert masks.scale_source == "given"
    assert not masks.touches_border.any()


def test_no_cells_are_masks_too():
    masks = edit.masks_of(np.zeros((5, 6), np.uint8))
    assert len(masks) == 0
    assert masks.boxes_xyxy.shape == (0, 4)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.zeros((2, 3, 4), int), "one plane is"),
        (np.array([[-1, 2]]), "from -1 to 2"),
        (np.array([[2**40]]), "to 10995"),
        (np.array([[0.0, 1.5]]), "fractions or NaN"),
        (np.array([[0.0, np.nan]]), "fractions or NaN"),
    ],
)
def test_labels_that_cannot_be_cells_are_refused(labels, says):
    with pytest.raises(SegmentError, match=says):
        edit.masks_of(labels)


def test_nuclei_of_outlines_drawn_by_hand_are_found_by_stain():
    from napari_bloodcell.core.config import SmearConfig
    from napari_bloodcell.core.synthetic import make_smear

    smear = make_smear(SmearConfig(width_px=420, height_px=320, um_per_px=0.1, white_cells=4, seed=3))
    sparse = smear.masks.labels * 100
    nucleus = edit.nuclei_by_stain(smear.image.pixels, sparse, 0.1)
    truth = smear.masks.nucleus
    assert (nucleus & truth).sum() / (nucleus | truth).sum() > 0.7
    assert not nucleus[sparse == 0].any()
    assert not edit.nuclei_by_stain(smear.image.pixels, np.zeros_like(sparse), 0.1).any()
