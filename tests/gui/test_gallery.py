"""The panel "Gallery" in the real napari: shown, chosen, dragged, sorted, taken back."""

import threading
import time

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_bloodcell.gui import classes, layers
from napari_bloodcell.gui.gallery_order import order_of
from napari_bloodcell.gui.napari_ways import camera_of
from napari_bloodcell.gui.selection import MARKS, marked
from napari_bloodcell.gui.shelf import Shelf, shelf_of, square

pytestmark = pytest.mark.gui
LEFT, PLAIN = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
CTRL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier


@pytest.fixture
def panel(open_panel, counted, wait, qtbot):
    panel = open_panel("Gallery")
    panel.reader.setText("ada")
    panel.view.setMinimumHeight(420)
    qtbot.waitUntil(lambda: bool(panel.view._tiles), timeout=60_000)
    wait(panel)
    return panel


def kinds(layer):
    return dict(zip(classes.ids(layer).tolist(), classes.kinds(layer), strict=True))


def click_on(panel, key, modifier=PLAIN):
    QTest.mouseClick(panel.view.viewport(), LEFT, modifier, panel.view.box_of(key).center())


def keys(panel):
    return [tile.key for tile in panel.view._tiles]


def test_an_empty_viewer_stays_empty_and_says_what_to_do(viewer, open_panel):
    panel = open_panel("Gallery")
    assert len(viewer.layers) == 0
    assert panel.empty.isVisible()
    assert not panel.task.run_button.isEnabled()


def test_every_cell_is_shown_once_under_its_class_and_unidentified_first(panel, counted):
    assert sorted(cell for _, cell in keys(panel)) == sorted(classes.ids(counted).tolist())
    assert panel.view._groups[0].name == "unidentified"
    assert panel.view._groups[0].title.endswith("none left")
    for group in panel.view._groups:
        assert {kinds(counted)[tile.key[1]] for tile in group.tiles} <= {group.name}
    assert all(panel._cut(key) is not None for key in keys(panel))


def test_a_click_centres_the_viewer_on_the_cell_and_tells_about_it(viewer, panel, counted):
    key = keys(panel)[0]
    click_on(panel, key)
    y, x = np.argwhere(counted.data == key[1]).min(axis=0)
    bottom, right = np.argwhere(counted.data == key[1]).max(axis=0) + 1
    wanted = counted.data_to_world(((y + bottom) / 2, (x + right) / 2))
    np.testing.assert_allclose(camera_of(viewer).center[-2:], wanted)
    assert panel.said.text().startswith(f"Cell {key[1]}: ")
    assert panel.typical.isVisible()
    assert panel.view.chosen == [key]
    assert "chosen cells" in [layer.name for layer in viewer.layers]


def test_a_key_reclassifies_all_that_are_chosen_in_one_step_back(panel, counted, click, qtbot):
    before = kinds(counted)
    one, two, three = keys(panel)[:3]
    click_on(panel, one)
    click_on(panel, three, CTRL)
    QTest.keyClick(panel.view, Qt.Key.Key_0)
    assert kinds(counted)[one[1]] == kinds(counted)[three[1]] == "unidentified"
    assert kinds(counted)[two[1]] == before[two[1]]
    qtbot.waitUntil(lambda: len(panel.view._groups[0].tiles) == 2)
    assert all(tile.seen for tile in panel.view._groups[0].tiles)
    click(panel.undo_button)
    assert kinds(counted) == before


def test_what_is_said_of_a_cell_follows_its_class(viewer, panel, counted, qtbot):
    key = keys(panel)[0]
    click_on(panel, key)
    QTest.keyClick(panel.view, Qt.Key.Key_5)
    qtbot.waitUntil(lambda: panel.said.text() == f"Cell {key[1]}: basophil, said by ada.")
    assert "basophil" in panel.typical._groups[0].title
    classes.give(viewer, {counted: [key[1]]}, "monocyte", "eve")
    qtbot.waitUntil(lambda: panel.said.text() == f"Cell {key[1]}: monocyte, said by eve.")
    QTest.keyClick(panel.view, Qt.Key.Key_A, CTRL)
    assert panel.said.text().startswith(f"{len(keys(panel))} cells are chosen.")


def test_the_keyboard_chooses_several_and_goes_to_either_end(panel, counted):
    everyone = keys(panel)
    click_on(panel, everyone[0])
    QTest.keyClick(panel.view, Qt.Key.Key_Right, SHIFT)
    QTest.keyClick(panel.view, Qt.Key.Key_Right, SHIFT)
    assert set(panel.view.chosen) == set(everyone[:3])
    QTest.keyClick(panel.view, Qt.Key.Key_End)
    assert panel.view.chosen == everyone[-1:]
    QTest.keyClick(panel.view, Qt.Key.Key_Home)
    assert panel.view.chosen == everyone[:1]
    QTest.keyClick(panel.view, Qt.Key.Key_End, SHIFT)
    assert set(panel.view.chosen) == set(everyone)
    QTest.keyClick(panel.view, Qt.Key.Key_PageUp)
    QTest.keyClick(panel.view, Qt.Key.Key_PageUp)
    assert panel.view.chosen == everyone[:1]


def test_the_first_arrow_goes_to_the_first_cell_and_after_the_last_key_none_is_chosen(panel, counted, qtbot):
    panel.goes_on.setChecked(True)
    everyone = keys(panel)
    QTest.keyClick(panel.view, Qt.Key.Key_Right)
    assert panel.view.chosen == everyone[:1]
    QTest.keyClick(panel.view, Qt.Key.Key_End)
    last = panel.view.chosen[0][1]
    QTest.keyClick(panel.view, Qt.Key.Key_5)
    qtbot.waitUntil(lambda: panel.view.chosen == [])
    kinds = dict(zip(classes.ids(counted).tolist(), classes.kinds(counted), strict=True))
    QTest.keyClick(panel.view, Qt.Key.Key_1)
    qtbot.wait(50)
    assert dict(zip(classes.ids(counted).tolist(), classes.kinds(counted), strict=True)) == kinds
    assert kinds[last] == "basophil"


def test_a_key_and_an_arrow_offer_every_cell_once(viewer, panel, counted, qtbot):
    classes.give(viewer, {counted: classes.ids(counted).tolist()}, "neutrophil", "ada")
    qtbot.waitUntil(lambda: panel.view._groups[1].tiles == panel.view._tiles)
    wanted, offered = keys(panel)[:3], []
    click_on(panel, wanted[0])
    for n in range(3):
        offered += panel.view.chosen
        QTest.keyClick(panel.view, Qt.Key.Key_2)
        qtbot.waitUntil(lambda n=n: len(panel.view._groups[2].tiles) == n + 1)
        QTest.keyClick(panel.view, Qt.Key.Key_Right)
    assert offered == wanted


def test_a_cell_that_was_given_a_class_stays_chosen_and_a_filter_keeps_the_place(panel, counted, qtbot):
    first, second, third = keys(panel)[:3]
    click_on(panel, second)
    QTest.keyClick(panel.view, Qt.Key.Key_0)
    qtbot.waitUntil(lambda: keys(panel)[0] == second)
    assert panel.view.chosen == [second]
    QTest.keyClick(panel.view, Qt.Key.Key_Left)
    assert panel.view.chosen == [first]
    panel.show_only.setCurrentText("not seen yet")
    QTest.keyClick(panel.view, Qt.Key.Key_0)
    qtbot.waitUntil(lambda: first not in keys(panel))
    QTest.keyClick(panel.view, Qt.Key.Key_Right)
    assert panel.view.chosen == [third]


def test_a_key_that_goes_on_chooses_the_next_cell_and_leaves_several_chosen(panel, counted, qtbot):
    one, two, three = keys(panel)[:3]
    panel.goes_on.setChecked(True)
    click_on(panel, one)
    QTest.keyClick(panel.view, Qt.Key.Key_0)
    assert panel.view.chosen == [two]
    QTest.keyClick(panel.view, Qt.Key.Key_0)  # at once: before the gallery is laid out anew
    assert panel.view.chosen == [three]
    qtbot.waitUntil(lambda: len(panel.view._groups[0].tiles) == 2)
    assert kinds(counted)[one[1]] == kinds(counted)[two[1]] == "unidentified"
    assert panel.view.chosen == [three]
    QTest.keyClick(panel.view, Qt.Key.Key_A, CTRL)
    QTest.keyClick(panel.view, Qt.Key.Key_0)
    assert panel.view.chosen == keys(panel)


def test_a_key_that_goes_on_shows_no_cell_twice_that_its_new_class_has_laid_ahead(panel, counted, qtbot):
    panel.goes_on.setChecked(True)
    todo = keys(panel)
    click_on(panel, todo[0])
    seen = []
    for _ in todo:
        seen += panel.view.chosen
        QTest.keyClick(panel.view, Qt.Key.Key_5)
        assert kinds(counted)[seen[-1][1]] == "basophil"
        qtbot.wait(150)  # laid out anew: it lies behind the others now
    assert sorted(seen) == sorted(todo)
    assert panel.view.chosen == []


def test_ctrl_z_takes_classes_back_and_ctrl_shift_z_gives_them_again(panel, counted, qtbot):
    before = kinds(counted)
    click_on(panel, keys(panel)[0])
    QTest.keyClick(panel.view, Qt.Key.Key_0)
    given = kinds(counted)
    QTest.keyClick(panel.view, Qt.Key.Key_Z, CTRL)
    assert kinds(counted) == before != given
    QTest.keyClick(panel.undo_button, Qt.Key.Key_Z, CTRL | SHIFT)
    assert kinds(counted) == given


def test_shift_ctrl_a_and_escape_choose_as_everywhere(panel):
    all_keys = keys(panel)
    click_on(panel, all_keys[0])
    click_on(panel, all_keys[2], SHIFT)
    assert panel.view.chosen == all_keys[:3]
    QTest.keyClick(panel.view, Qt.Key.Key_A, CTRL)
    assert panel.view.chosen == all_keys
    QTest.keyClick(panel.view, Qt.Key.Key_Escape)
    assert panel.view.chosen == []
    QTest.keyClick(panel.view, Qt.Key.Key_Right)
    assert len(panel.view.chosen) == 1


def test_dragging_onto_a_header_moves_cells_into_that_class(panel, counted, qtbot):
    key = keys(panel)[0]
    begin = panel.view.box_of(key).center()
    end = panel.view.header_of("unidentified").center()
    port = panel.view.viewport()
    QTest.mousePress(port, LEFT, PLAIN, begin)
    QTest.mouseMove(port, begin + QPoint(0, 15))
    QTest.mouseMove(port, end)
    QTest.mouseRelease(port, LEFT, PLAIN, end)
    assert kinds(counted)[key[1]] == "unidentified"
    assert counted.features.set_index("label").loc[key[1], "cell_type_source"] == "person ada"


def test_a_frame_drawn_with_the_mouse_chooses_what_it_touches(panel):
    port, first = panel.view.viewport(), panel.view.box_of(keys(panel)[0])
    QTest.mousePress(port, LEFT, PLAIN, QPoint(port.width() - 3, first.bottom()))
    QTest.mouseMove(port, QPoint(40, first.center().y()))
    QTest.mouseRelease(port, LEFT, PLAIN, QPoint(2, first.top() + 1))
    assert keys(panel)[0] in panel.view.chosen


def test_filters_leave_out_the_others(viewer, panel, counted):
    cell = keys(panel)[0][1]
    classes.give(viewer, {counted: [cell]}, "basophil", "ada")
    panel.show_only.setCurrentText("seen")
    assert [key[1] for key in keys(panel)] == [cell]
    panel.show_only.setCurrentText("not seen yet")
    assert cell not in [key[1] for key in keys(panel)]
    features = counted.features.copy()
    features["doubt"] = ["why"] + [""] * (len(features) - 1)
    counted.features = features
    panel.show_only.setCurrentText("in doubt")
    assert len(keys(panel)) <= 1


def test_labs_are_offered_where_layers_name_them(panel, counted, qtbot):
    assert not panel.lab.isVisible()
    features = counted.features.copy()
    features["lab"] = ["north"] + ["south"] * (len(features) - 1)
    counted.features = features
    qtbot.waitUntil(panel.lab.isVisible)
    panel.lab.setCurrentText("north")
    assert [key[1] for key in keys(panel)] == [int(classes.ids(counted)[0])]


def test_two_layers_are_one_gallery_and_one_step_back(panel, counted, add_counted, click, qtbot):
    add_counted("second", turned=True)
    panel.cells.value = "all"
    qtbot.waitUntil(lambda: len(keys(panel)) == 2 * len(counted.features))
    QTest.keyClick(panel.view, Qt.Key.Key_A, CTRL)
    QTest.keyClick(panel.view, Qt.Key.Key_0)
    assert {kind for layer in panel.chosen for kind in classes.kinds(layer)} == {"unidentified"}
    qtbot.wait(50)
    click(panel.undo_button)
    assert "unidentified" not in {kind for layer in panel.chosen for kind in classes.kinds(layer)}


def test_a_picture_under_another_is_shown_and_goes_back_where_asked_for(
    viewer, panel, counted, add_counted, qtbot
):
    add_counted("second", turned=True)
    first, second = viewer.layers["smear"], viewer.layers["second"]
    panel.cells.value = "all"
    qtbot.waitUntil(lambda: len(keys(panel)) == 2 * len(counted.features))
    below, above = (next(key for key in keys(panel) if panel._layers[key[0]] is one) for one in panel.chosen)
    order = list(viewer.layers)
    assert not panel.uncovers.isVisible()
    click_on(panel, below)
    assert (first.visible, second.visible) == (True, False)
    assert "covered" not in panel.said.text()
    panel.view.choose([])
    panel._look_at(above)
    assert second.visible
    panel.uncovers.click()
    assert (first.visible, second.visible) == (True, True)
    panel._look_at(below)
    assert "Its picture smear is covered by second: hide that layer" in panel.said.text()
    assert [one for one in viewer.layers if one in order] == order
    assert (first.visible, second.visible) == (True, True)
    second.opacity = 0.3
    panel._look_at(below)
    assert "covered" not in panel.said.text()
    first.visible = False
    panel._look_at(below)
    assert "Its picture smear is hidden" in panel.said.text()


def test_marks_go_from_field_to_field_on_one_layer(viewer, panel, counted, add_counted, qtbot):
    """napari takes half a second to add a layer, at each first cell of a field."""
    add_counted("second", turned=True)
    panel.cells.value = "all"
    qtbot.waitUntil(lambda: len(keys(panel)) == 2 * len(counted.features))
    for number in (0, 1, 0):
        key = next(key for key in keys(panel) if key[0] == number)
        click_on(panel, key)
        marks = [one for one in viewer.layers if one.name == "chosen cells"]
        assert len(marks) == 1
        cells = panel._layers[number]
        np.testing.assert_array_equal(marks[0].data > 0, cells.data == key[1])
        np.testing.assert_allclose(marks[0].scale, cells.scale)


def marked_cells(viewer):
    """Of each field, the pixels that are marked on it."""
    return {
        str(one.metadata[layers.KEY]["of"]): np.asarray(one.data) > 0
        for one in viewer.layers
        if layers.role_of(one) == MARKS and np.asarray(one.data).any()
    }


def test_all_cells_are_chosen_and_those_on_the_picture_that_is_seen_are_marked(
    viewer, panel, counted, add_counted, qtbot
):
    """Fields of one place: rings of the one below lay on the picture above."""
    second = add_counted("second", turned=True)
    panel.cells.value = "all"
    qtbot.waitUntil(lambda: len(keys(panel)) == 2 * len(counted.features))
    n = len(counted.features)
    qtbot.keyClick(panel.view, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    assert len(panel.view.chosen) == 2 * n
    ringed = marked_cells(viewer)
    assert list(ringed) == [str(second.unique_id)]
    np.testing.assert_array_equal(ringed[str(second.unique_id)], np.asarray(second.data) > 0)
    said = f"{2 * n} cells are chosen. {n} of them are marked in the viewer"
    assert panel.said.text().startswith(said)
    below = next(key for key in keys(panel) if panel._layers[key[0]] is counted)
    panel._look_at(below)  # its picture comes to light, and the marks with it
    ringed = marked_cells(viewer)
    assert list(ringed) == [str(counted.unique_id)]
    panel.uncovers.click()  # back as it was
    assert list(marked_cells(viewer)) == [str(second.unique_id)]


def test_all_cells_of_fields_beside_each_other_are_marked(viewer, panel, counted, add_counted, qtbot):
    second = add_counted("second", turned=True)
    for layer in viewer.layers:
        if layer.name.startswith("second"):
            layer.translate = (0, 1.1 * viewer.layers["smear"].extent.world[1][1])
    panel.cells.value = "all"
    qtbot.waitUntil(lambda: len(keys(panel)) == 2 * len(counted.features))
    qtbot.keyClick(panel.view, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    assert set(marked_cells(viewer)) == {str(counted.unique_id), str(second.unique_id)}
    assert "marked" not in panel.said.text()


def test_a_panel_closes_after_a_cell_was_looked_at(panel, qtbot):
    click_on(panel, keys(panel)[0])
    panel.parentWidget().destroyOnClose()
    qtbot.wait(50)  # an error in a slot would fail this test
    assert panel._layers == []


def test_a_cell_of_a_stack_is_gone_to_on_its_plane_and_cut_from_it(
    viewer, open_panel, counted_planes, smear, qtbot
):
    panel = open_panel("Gallery")
    panel.cells.value = "all"
    qtbot.waitUntil(lambda: len(panel._layers) == 2 and bool(keys(panel)), timeout=60_000)
    for layer in range(2):
        panel._look_at(next(key for key in keys(panel) if key[0] == layer))
        assert viewer.dims.point[0] == layer
    for shelf, cells in zip(panel._shelves, counted_planes, strict=True):
        np.testing.assert_array_equal(shelf.pixels, viewer.layers["stack"].data[int(cells.translate[0])])


def test_a_layer_that_goes_away_takes_its_pictures_along(viewer, panel, counted, qtbot):
    click_on(panel, keys(panel)[0])
    assert panel.typical.isVisible()
    viewer.layers.remove(counted)
    qtbot.waitUntil(lambda: keys(panel) == [])
    assert panel.empty.isVisible()
    assert not panel.typical.isVisible()


def test_the_name_of_a_layer_may_change_while_it_is_read(viewer, panel, counted, click, wait):
    click(panel.task.run_button)
    counted.name = "mine"
    wait(panel)
    assert len(keys(panel)) == len(counted.features)


def test_cancel_and_close_while_reading_are_quiet(viewer, panel, click, wait, qtbot):
    started = threading.Event()

    def read(taken, progress):
        started.set()
        for done in range(100_000):
            progress("pretending", done, 100_000)
            time.sleep(0.005)

    panel.read = read
    click(panel.task.run_button)
    qtbot.waitUntil(started.is_set)
    click(panel.task.cancel_button)
    wait(panel)
    assert panel.task.message.text().startswith("Cancelled")
    click(panel.task.run_button)
    panel.parentWidget().destroyOnClose()
    qtbot.wait(50)
    viewer.layers.clear()


def test_a_drawing_without_its_image_is_refused_in_the_panel(viewer, open_panel, qtbot):
    panel = open_panel("Gallery")
    viewer.add_labels(np.eye(40, dtype=int), name="lonely")
    qtbot.waitUntil(lambda: "No open image is as large" in panel.task.message.text())


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_nothing_is_cut_at_the_side_in_either_theme(viewer, panel, theme, qtbot):
    viewer.theme = theme
    qtbot.wait(100)
    assert panel.widget().width() <= panel.viewport().width()
    shown = panel.view.viewport().grab().toImage()
    lights = [shown.pixelColor(x, 10).lightnessF() for x in range(24, shown.width())]
    assert max(lights) - min(lights) > 0.4


def test_marks_come_and_go_without_layers_that_are_added_and_removed(viewer, panel, qtbot):
    click_on(panel, keys(panel)[0])
    marks = viewer.layers["chosen cells"]
    assert marks.data.dtype == np.uint8  # larger numbers are looked up by napari one by one, at each choice
    assert marks.data.any()
    QTest.keyClick(panel.view, Qt.Key.Key_Escape)
    assert viewer.layers["chosen cells"] is marks
    assert not marks.data.any()
    panel.parentWidget().destroyOnClose()
    qtbot.waitUntil(lambda: "chosen cells" not in viewer.layers)


@pytest.mark.parametrize("gap", [1, 1_000, 30_000_000])
def test_chosen_cells_keep_an_outline_each_however_large_their_numbers(gap):
    labels = np.arange(6).reshape(2, 3) * gap
    got = marked(labels, [gap, 3 * gap, 9 * gap])
    assert got.dtype == np.uint8
    assert np.array_equal(got > 0, np.isin(labels, [gap, 3 * gap]))
    assert len(np.unique(got)) == 3
    assert not marked(labels, []).any()


def test_pictures_are_squares_inside_the_image():
    assert square((10, 20, 30, 30), (100, 100)) == (7, 12, 33, 38)
    assert square((0, 0, 10, 10), (100, 100)) == (0, 0, 13, 13)
    assert square((92, 0, 100, 20), (100, 100)) == (74, 0, 100, 26)
    left, top, right, bottom = square((0, 0, 50, 50), (40, 50))
    assert (left, top, right, bottom) == (0, 0, 50, 40)


def test_orders():
    features = pd.DataFrame({"cell_type_prob": [0.9, 0.2], "distance": [0.1, 4.0]})
    shelf = Shelf(pixels=None, boxes={}, areas={1: 50, 2: 900})
    ids = np.array([1, 2])
    assert np.argsort(order_of("doubt", ids, features, shelf)).tolist() == [1, 0]
    assert np.argsort(order_of("distance", ids, features, shelf)).tolist() == [1, 0]
    assert np.argsort(order_of("size", ids, features, shelf)).tolist() == [1, 0]
    assert np.argsort(order_of("number", ids, features, shelf)).tolist() == [0, 1]
    assert np.argsort(order_of("disputed", ids, features, shelf), kind="stable").tolist() == [0, 1]


def test_cells_named_against_the_model_come_first_the_surest_of_it_before_the_others():
    rows = [  # the model's guess and how sure it is, what the cell is now, and who said so
        ("neutrophil", 0.6, "neutrophil", "person ada"),
        ("neutrophil", 0.7, "monocyte", "person ada"),
        ("lymphocyte", 0.9, "monocyte", "person ada"),
        ("lymphocyte", 0.99, "unidentified", "person ada"),
        ("lymphocyte", 0.98, "monocyte", "model nano"),
        (np.nan, np.nan, "monocyte", "person ada"),
        ("neutrophil", 0.97, "neutrophil_banded", "person ada"),  # no contradiction: it is told more finely
    ]
    features = pd.DataFrame(rows, columns=["best", "cell_type_prob", "cell_type", "cell_type_source"])
    features = features.astype({"best": "category", "cell_type": "category"})
    order = order_of("disputed", np.arange(7), features, Shelf(pixels=None, boxes={}, areas={}))
    assert np.argsort(order, kind="stable").tolist() == [2, 1, 0, 3, 4, 5, 6]


def test_boxes_and_areas_of_cells():
    labels = np.zeros((9, 9), np.int32)
    labels[1:4, 2:7] = 3
    shelf = shelf_of(np.zeros((9, 9, 3), np.uint8), labels)
    assert shelf.boxes == {3: (2, 1, 7, 4)}
    assert shelf.areas == {3: 15}
