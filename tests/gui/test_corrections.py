"""Corrections of cells that are counted: the table, the hidden nuclei and the classes given by a person follow."""

import re

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from scipy import ndimage as ndi

from napari_bloodcell.gui import classes, corrections, layers, prompt_layers
from napari_bloodcell.gui.correct import BY_STAIN
from napari_bloodcell.gui.napari_ways import camera_of

pytestmark = pytest.mark.gui


@pytest.fixture
def part(counted, viewer, open_panel):
    """The correction part of *Segment cells* on counted cells, of which the nuclei were never shown."""
    part = open_panel("Segment cells").correct
    part.use(counted)
    part.layer = counted
    part.nuclei = next(one for one in viewer.layers if layers.role_of(one) == layers.NUCLEI)
    assert not part.nuclei.visible
    return part


def pick(part, *cells):
    for number, cell in enumerate(cells):
        part._pick(part.layer, int(cell), number > 0)


def state(part):
    return part.layer.data.copy(), part.nuclei.data.copy(), part.layer.features.copy()


def is_as(part, before):
    np.testing.assert_array_equal(part.layer.data, before[0])
    np.testing.assert_array_equal(part.nuclei.data, before[1])
    assert part.layer.features.equals(before[2])


def test_cells_are_corrected_whose_nuclei_were_never_shown(part, click):
    before, heard = state(part), []
    part.nuclei.events.paint.connect(heard.append)
    pick(part, 1)
    click(part.delete_button)
    assert 1 not in part.layer.data
    assert 1 not in part.nuclei.data
    assert 1 not in set(part.layer.features["index"])
    assert heard
    part.nuclei.visible = True
    np.testing.assert_array_equal(part.nuclei._slice.image.raw, part.nuclei.data)
    part.nuclei.visible = False
    click(part.undo_button)
    is_as(part, before)


def test_outlines_that_were_hidden_are_corrected_and_shown_as_they_are(part, click):
    before = state(part)
    part.layer.visible = False
    pick(part, 1)
    click(part.delete_button)
    part.layer.visible = True
    assert 1 not in part.layer._slice.image.raw
    click(part.undo_button)
    is_as(part, before)
    assert 1 in part.layer._slice.image.raw


def test_a_stroke_over_nuclei_that_were_never_shown_is_a_correction(part, click, qtbot):
    before = state(part)
    place = tuple(np.argwhere(part.nuclei.data == 1).mean(axis=0).astype(int))
    part.layer.paint(place, 0)
    qtbot.waitUntil(part.undo_button.isEnabled)
    assert not part.nuclei.data[part.layer.data == 0].any()
    click(part.undo_button)
    is_as(part, before)


@pytest.mark.parametrize("way", ["do", "undo"])
def test_a_correction_that_fails_changes_nothing(part, click, monkeypatch, way):
    pick(part, 1)
    if way == "undo":
        click(part.delete_button)
    before, can = state(part), part.corrections.can()

    def fails(*_):
        raise RuntimeError("the table cannot be made")

    monkeypatch.setattr(corrections, "rows_after", fails)
    with pytest.raises(RuntimeError, match="cannot be made"):
        part._delete() if way == "do" else part._undo()
    monkeypatch.undo()
    is_as(part, before)
    assert part.corrections.can() == can
    pick(part, 2)
    click(part.delete_button)
    assert 2 not in part.layer.data


def row(part, cell):
    return classes.row_of(part.layer, cell)


def stroke(part, qtbot, cell):
    """Takes some pixels of a cell away, as the eraser does."""
    can = len(part.corrections._history.done)
    part.layer.paint(tuple(np.argwhere(part.layer.data == cell)[0]), 0)
    qtbot.waitUntil(lambda: len(part.corrections._history.done) > can)


def test_undoing_and_redoing_a_stroke_leaves_a_class_that_was_given_since(viewer, part, click, qtbot):
    stroke(part, qtbot, 3)
    classes.give(viewer, {part.layer: [3]}, "basophil", "ada")
    for button in (part.undo_button, part.redo_button):
        click(button)
        assert row(part, 3)["cell_type"] == "basophil"
        assert row(part, 3)["cell_type_source"] == "person ada"


def test_undoing_a_stroke_still_brings_back_what_was_measured(part, click, qtbot):
    before = row(part, 3)
    stroke(part, qtbot, 3)
    assert np.isnan(row(part, 3)["area_um2"])
    click(part.undo_button)
    assert row(part, 3) == before


def test_a_deleted_cell_comes_back_with_its_class_though_no_other_has_it_now(viewer, part, click):
    before = row(part, 3)
    pick(part, 3)
    click(part.delete_button)
    classes.give(viewer, {part.layer: classes.ids(part.layer).tolist()}, "monocyte", "ada")
    click(part.undo_button)
    assert before["cell_type"] != "monocyte"
    assert row(part, 3) == before


def test_a_correction_is_undone_after_a_model_has_given_the_table_more_columns(part, click):
    pick(part, 3)
    click(part.delete_button)
    features = part.layer.features
    part.layer.features = features.assign(nearness=1.0)
    click(part.undo_button)
    assert np.isnan(row(part, 3)["nearness"])
    assert row(part, 3)["x0"] >= 0


def click_on(viewer, layer, cell, modifier):
    """A real click on the picture, in the middle of a cell."""
    canvas = viewer.window._qt_viewer.canvas.native
    camera = camera_of(viewer)
    depth = ndi.distance_transform_edt(np.pad(layer.data == cell, 1))[1:-1, 1:-1]
    place = layer.data_to_world(np.unravel_index(depth.argmax(), depth.shape))
    size = np.array([canvas.height(), canvas.width()])
    y, x = (np.asarray(place) - camera.center[-2:]) * camera.zoom + size / 2
    QTest.mouseMove(canvas, QPoint(int(x), int(y)))
    QTest.mouseClick(canvas, Qt.MouseButton.LeftButton, modifier, QPoint(int(x), int(y)))


@pytest.mark.parametrize("modifier", ["ShiftModifier", "ControlModifier"])
def test_cells_are_picked_and_merged_by_the_mouse_alone(viewer, part, click, qtbot, modifier):
    viewer.reset_view()
    click(part.pick_button)
    click_on(viewer, part.layer, 1, Qt.KeyboardModifier.NoModifier)
    qtbot.waitUntil(lambda: part.picked == [1])
    click_on(viewer, part.layer, 2, getattr(Qt.KeyboardModifier, modifier))
    qtbot.waitUntil(lambda: part.picked == [1, 2])
    click(part.merge_button)
    assert 2 not in part.layer.data
    click_on(viewer, part.layer, 1, Qt.KeyboardModifier.NoModifier)
    click_on(viewer, part.layer, 3, Qt.KeyboardModifier.NoModifier)
    qtbot.waitUntil(lambda: part.picked == [3])


def test_cells_are_counted_where_no_ground_is_left(part, qtbot):
    part.layer.fill(tuple(middle(part.layer.data == 0)), NEW)
    qtbot.waitUntil(lambda: part.task.message.text().startswith("Painted"))
    assert 0 not in part.layer.data
    assert f"{len(drawn(part.layer))} cells now" in part.task.message.text()


def test_drop_has_nothing_to_do_before_a_prompt_is_taken_up(viewer, part, click, qtbot):
    assert not part.drop_button.isEnabled()
    part.answers.value = BY_STAIN
    click(part.tools["on"])
    viewer.layers[prompt_layers.ON].add(np.argwhere(part.layer.data == 1).mean(axis=0))
    qtbot.waitUntil(lambda: part._answer is not None, timeout=60_000)
    click(part.drop_button)
    assert not part.drop_button.isEnabled()
    assert prompt_layers.ON not in [layer.name for layer in viewer.layers]


def test_painting_names_buttons_that_are_there_and_no_key_that_gives_a_class(viewer, part, click, qtbot):
    pick(part, 1)
    click(part.redraw_button)
    said = part.task.message.text()
    assert said.startswith("Paint cell 1;")
    assert "key" not in said.lower()
    assert set(re.findall(r"\d+", said)) == {"1"}
    controls = viewer.window._qt_viewer.controls.widgets[part.layer]
    camera, eraser = controls.panzoom_button, controls.erase_button
    assert "move camera" in camera.toolTip().lower()
    assert "eraser" in eraser.toolTip().lower()
    qtbot.mouseClick(camera, Qt.MouseButton.LeftButton)
    assert part.layer.mode == "pan_zoom"


NEW = 77


def draw_one_and_erase_one(layer):
    """With napari's own brush and eraser."""
    layer.paint(tuple(middle(layer.data == 0)), NEW)
    layer.brush_size = 400
    layer.paint(tuple(middle(layer.data == 1)), 0)
    assert 1 not in layer.data
    assert NEW in layer.data


def drawn(layer):
    return sorted(set(np.unique(layer.data).tolist()) - {0})


def middle(mask):
    depth = ndi.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    return [int(place) for place in np.unravel_index(depth.argmax(), depth.shape)]


def close(panel):
    while not hasattr(panel, "destroyOnClose"):
        panel = panel.parentWidget()
    panel.destroyOnClose()


def fits(layer):
    return classes.ids(layer).tolist() == drawn(layer)


@pytest.mark.parametrize("panel", ["Differential", "Gallery", "Classify"])
def test_strokes_are_in_the_table_whichever_panel_is_open(counted, open_panel, qtbot, panel):
    open_panel(panel)
    qtbot.wait(50)
    draw_one_and_erase_one(counted)
    qtbot.waitUntil(lambda: fits(counted))
    assert classes.row_of(counted, NEW)["cell_type"] == "unidentified"


def test_strokes_are_in_the_table_after_the_panel_is_closed(viewer, counted, open_panel, qtbot):
    panel = open_panel("Segment cells")
    close(panel)
    qtbot.wait(50)
    draw_one_and_erase_one(counted)
    qtbot.waitUntil(lambda: fits(counted))


def test_strokes_before_any_panel_was_open_are_in_the_table_and_in_the_count(counted, open_panel, qtbot):
    draw_one_and_erase_one(counted)
    assert not fits(counted)
    panel = open_panel("Differential")
    qtbot.waitUntil(lambda: fits(counted))
    qtbot.waitUntil(lambda: panel.shown is not None and panel.shown.pooled.counted == len(drawn(counted)))


def test_a_drawn_cell_gets_a_class_and_the_way_back(viewer, counted, open_panel, qtbot):
    open_panel("Classify")
    qtbot.wait(50)
    draw_one_and_erase_one(counted)
    qtbot.waitUntil(lambda: fits(counted))
    assert classes.give(viewer, {counted: [NEW]}, "basophil", "ada") == 1
    classes.undo(viewer, [counted])
    assert classes.row_of(counted, NEW)["cell_type"] == "unidentified"
    assert classes.row_of(counted, NEW)["cell_type_source"] == ""


def test_other_pixels_given_to_the_layer_are_in_the_table(counted, open_panel, qtbot):
    open_panel("Differential")
    qtbot.wait(50)
    counted.data = np.where(counted.data == 2, 0, counted.data)
    qtbot.waitUntil(lambda: fits(counted))
    counted.data = counted.data[:-5]
    qtbot.wait(50)
    assert fits(counted)


def test_a_drawing_of_the_person_is_theirs_again_when_the_panel_closes(viewer, open_panel, add_smear, qtbot):
    image = add_smear()
    mine = viewer.add_labels(np.zeros(image.data.shape[:2], int), features={"index": [1], "notes": ["mine"]})
    before = mine.features.copy()
    keys = dict(mine.keymap)
    panel = open_panel("Segment cells")
    assert dict(mine.keymap) != keys
    close(panel)
    qtbot.wait(50)
    mine.paint((20, 20), 5)
    qtbot.wait(50)
    assert mine.features.equals(before)


def test_a_layer_that_is_removed_is_not_heard_any_more(viewer, counted, open_panel, qtbot):
    open_panel("Differential")
    qtbot.wait(50)
    before = counted.features.copy()
    viewer.layers.remove(counted)
    draw_one_and_erase_one(counted)
    qtbot.wait(50)
    assert counted.features.equals(before)
    viewer.add_layer(counted)
    qtbot.waitUntil(lambda: fits(counted))
