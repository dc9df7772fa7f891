"""The panel "Blind reading" in the real napari: nobody's answers are seen, each answer is kept at once."""

import threading

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_bloodcell.core.errors import ArtifactError
from napari_bloodcell.core.report.readers import read_table
from napari_bloodcell.gui import classes, layers
from napari_bloodcell.gui.napari_ways import camera_of
from napari_bloodcell.gui.veil import OUTLINES

pytestmark = pytest.mark.gui


@pytest.fixture
def panel(open_panel, counted, tmp_path):
    panel = open_panel("Blind reading")
    panel.reader.setText("bo")
    panel.ask_folder = lambda: tmp_path
    return panel


@pytest.fixture
def press(click, wait):
    """Press a button and wait for the end of what it begins."""

    def press_it(panel, button):
        click(button)
        wait(panel)

    return press_it


@pytest.fixture
def reading(panel, press):
    press(panel, panel.task.run_button)
    assert panel.is_reading, panel.task.message.text()
    return panel


def keys(panel):
    return [tile.key for tile in panel.view._tiles]


def click_on(panel, key):
    place = panel.view.box_of(key).center()
    left, plain = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    QTest.mouseClick(panel.view.viewport(), left, plain, place)


def answer(panel, key, digit):
    click_on(panel, key)
    QTest.keyClick(panel.view, digit)


def on_disk(folder, qtbot, n, name="bo"):
    """The answers in the table, once there are so many."""
    path = folder / f"{name} blind.csv"
    qtbot.waitUntil(lambda: path.exists() and len(read_table(path)[0].answers) == n, timeout=10_000)
    return read_table(path)[0].answers


def test_an_empty_viewer_stays_empty_and_says_what_to_do(viewer, open_panel):
    panel = open_panel("Blind reading")
    assert len(viewer.layers) == 0
    assert panel.empty.isVisible()
    assert not panel.task.run_button.isEnabled()


def test_nothing_that_is_seen_tells_an_answer(viewer, open_panel, counted, reading, qtbot):
    assert not [one for one in viewer.layers if one.visible and "cell_type" in getattr(one, "features", ())]
    assert not [one for one in viewer.layers if one.visible and layers.role_of(one) == layers.CLASSES]
    titles = [group.title.split("   ")[1] for group in reading.view._groups]
    assert titles == [str(len(counted.features)), *["0"] * (len(titles) - 1)]
    assert [tile.key[1] for tile in reading.view._tiles] == sorted(classes.ids(counted).tolist())
    assert not any(tile.seen or tile.doubted for tile in reading.view._tiles)
    assert reading.view._about(keys(reading)[0]) == ""
    click_on(reading, keys(reading)[0])
    (lines,) = [one for one in viewer.layers if layers.role_of(one) == OUTLINES]
    assert lines.visible
    np.testing.assert_array_equal(np.asarray(lines.data) > 0, np.asarray(counted.data) > 0)
    colours = {tuple(lines.colormap.map(int(value))) for value in np.unique(lines.data) if value}
    assert len(colours) == 1
    assert not len(lines.features.columns.intersection(["cell_type", "cell_type_prob"]))
    assert not viewer.window._qt_viewer.dockLayerList.isVisible()  # its pictures have the colours of classes
    active = viewer.layers.selection.active
    assert active is None or "cell_type" not in getattr(active, "features", ())


def test_what_is_shown_or_opened_meanwhile_is_hidden_again(viewer, open_panel, counted, reading, qtbot):
    counted.visible = True
    viewer.layers.selection.active = counted
    qtbot.waitUntil(lambda: not counted.visible, timeout=5_000)
    assert viewer.layers.selection.active != counted
    assert "stays hidden" in reading.task.message.text()
    dock = viewer.window.add_plugin_dock_widget("napari-bloodcell", "Classify")[0]
    qtbot.waitUntil(dock.isHidden, timeout=5_000)


def test_each_answer_is_on_disk_at_once_and_the_layer_is_not_changed(counted, reading, tmp_path, qtbot):
    before, said = counted.features.copy(), classes.class_list(counted)
    first, second, third = keys(reading)[:3]
    answer(reading, first, "3")
    assert on_disk(tmp_path, qtbot, 1) == {("smear", first[1]): said.of_digit("3")}
    assert reading.view.chosen == [second]  # the key goes on
    QTest.keyClick(reading.view, "0")
    answers = on_disk(tmp_path, qtbot, 2)
    assert answers["smear", second[1]] == "unidentified"
    assert reading.state.text().startswith(f"2 of {len(before)} cells answered by bo.")
    reading.view.choose([first, third])
    reading.view.dropped.emit("")  # back to those not answered
    assert set(on_disk(tmp_path, qtbot, 1)) == {("smear", second[1])}
    assert counted.features.equals(before)


def test_the_same_name_and_folder_go_on_and_another_name_does_not_see_it(
    counted, reading, tmp_path, qtbot, press
):
    answer(reading, keys(reading)[0], "3")
    on_disk(tmp_path, qtbot, 1)
    press(reading, reading.end_button)
    press(reading, reading.task.run_button)
    assert len(reading.answers) == 1
    press(reading, reading.end_button)
    reading.reader.setText("cy")
    press(reading, reading.task.run_button)
    assert reading.answers == {}
    assert reading.path.name == "cy blind.csv"


def test_at_the_end_all_is_back_and_each_reader_is_compared(viewer, open_panel, counted, panel, press, qtbot):
    ids = classes.ids(counted)
    classes.give(viewer, {counted: ids[:2]}, "monocyte", "ada")
    gallery = open_panel("Gallery")
    qtbot.waitUntil(lambda: bool(gallery.view._tiles), timeout=60_000)
    was = {one: one.visible for one in viewer.layers}
    press(panel, panel.task.run_button)
    assert gallery.parentWidget().isHidden()
    digit = classes.class_list(counted).digit("monocyte")
    for cell in sorted(ids[:2].tolist()):
        answer(panel, (0, cell), digit)
    press(panel, panel.end_button)
    assert "ada and bo blind agree on 2 of 2 cells" in panel.task.message.text()
    assert "The classes on the screen and bo blind agree" in panel.task.message.text()
    assert {one: one.visible for one in viewer.layers} == was
    assert viewer.window._qt_viewer.dockLayerList.isVisible()
    assert not gallery.parentWidget().isHidden()
    assert not panel.view.isVisible()


def test_the_table_is_a_second_reader_in_the_differential(  # noqa: PLR0917
    viewer, counted, reading, tmp_path, qtbot, press, open_panel, wait
):
    cell = keys(reading)[0][1]
    answer(reading, keys(reading)[0], "3")
    on_disk(tmp_path, qtbot, 1)
    press(reading, reading.end_button)
    classes.give(viewer, {counted: [cell]}, "basophil", "ada")
    differential = open_panel("Differential")
    differential.reader.setText("ada")
    qtbot.waitUntil(lambda: differential.shown is not None, timeout=60_000)
    differential._compare(lambda: tmp_path / "bo blind.csv")
    wait(differential)
    assert "ada and bo blind agree on 0 of 1 cells" in differential.agreement.text()


def test_answers_that_cannot_be_written_are_told_and_tried_again(counted, reading, tmp_path, qtbot):
    real, full = reading.write, threading.Event()

    def write(path, name, answers):
        if full.is_set():
            raise ArtifactError("The disk is full.")
        real(path, name, answers)

    reading.write = write
    reading._again.setInterval(50)
    full.set()
    answer(reading, keys(reading)[0], "3")
    qtbot.waitUntil(lambda: "Not saved yet: The disk is full." in reading.state.text())
    full.clear()
    assert len(on_disk(tmp_path, qtbot, 1)) == 1
    qtbot.waitUntil(lambda: "Kept in" in reading.state.text(), timeout=10_000)


def test_an_end_that_cannot_be_written_ends_nothing(counted, reading, tmp_path, qtbot, press):
    real, first = reading.end, keys(reading)[0]

    def end(*_):
        raise ArtifactError("The disk is full.")

    reading.end = end
    press(reading, reading.end_button)
    assert "The disk is full." in reading.task.message.text()
    assert reading.is_reading
    assert not counted.visible
    answer(reading, first, "3")
    assert len(on_disk(tmp_path, qtbot, 1)) == 1
    reading.end = real
    press(reading, reading.end_button)
    assert not reading.is_reading


def test_a_panel_that_is_closed_shows_everything_again_and_has_kept_the_answers(
    viewer, counted, panel, press, tmp_path, qtbot
):
    was = {one: one.visible for one in viewer.layers}
    press(panel, panel.task.run_button)
    answer(panel, keys(panel)[0], "3")
    panel.parentWidget().destroyOnClose()
    assert len(on_disk(tmp_path, qtbot, 1)) == 1
    assert {one: one.visible for one in viewer.layers} == was


def test_a_reader_who_has_named_cells_is_warned_and_may_read_them_again(viewer, counted, panel, press, click):
    classes.give(viewer, {counted: classes.ids(counted)[:1]}, "monocyte", "bo")
    click(panel.task.run_button)
    assert "bo has named cells here" in panel.task.message.text()
    assert not panel.is_reading
    press(panel, panel.task.run_button)
    assert panel.is_reading


def test_fields_of_one_name_are_refused(viewer, panel, add_counted, click):
    add_counted("smear", turned=True)
    for layer in [one for one in viewer.layers if layers.role_of(one) == layers.CELLS]:
        ours = layer.metadata[layers.KEY]
        one_name = ours | {"image": ours["image"] | {"layer": "smear"}}
        layer.metadata = layer.metadata | {layers.KEY: one_name}
    panel.cells.value = "all"
    assert [classes.image_name(one) for one in panel.chosen] == ["smear", "smear"]
    click(panel.task.run_button)
    assert "Two of the fields have one name" in panel.task.message.text()
    assert not panel.is_reading


def test_a_covered_field_comes_to_light_without_its_classes(viewer, panel, counted, add_counted, press):
    second = add_counted("second", turned=True)
    panel.cells.value = "all"
    press(panel, panel.task.run_button)
    below = next(key for key in keys(panel) if panel._layers[key[0]] is counted)
    click_on(panel, below)
    assert viewer.layers["smear"].visible
    assert not viewer.layers["second"].visible
    assert not counted.visible
    assert not second.visible
    (lines,) = [
        one for one in viewer.layers if layers.role_of(one) == OUTLINES and np.asarray(one.data).any()
    ]
    np.testing.assert_array_equal(np.asarray(lines.data) > 0, np.asarray(counted.data) > 0)


def in_field(viewer, cells, cell):
    """Press and release on a cell, as napari hears it from the canvas."""
    rows, columns = np.nonzero(np.asarray(cells.data) == cell)
    middle = len(rows) // 2
    canvas = viewer.window._qt_viewer.canvas
    world = cells.data_to_world((rows[middle], columns[middle]))
    place = canvas.view.scene.transform.map([world[1], world[0], 0, 1])[:2]
    canvas._scene_canvas.events.mouse_press(pos=place, button=1)
    canvas._scene_canvas.events.mouse_release(pos=place, button=1)


def test_a_click_in_the_field_chooses_the_cell_and_the_next_key_names_it(
    viewer, counted, reading, tmp_path, qtbot
):
    centre = camera_of(viewer).center
    first, last = keys(reading)[0], keys(reading)[-1]
    in_field(viewer, counted, last[1])
    assert reading.view.chosen == [last]
    assert camera_of(viewer).center == centre
    (lines,) = [one for one in viewer.layers if layers.role_of(one) == OUTLINES]
    assert np.any(lines.data)
    assert viewer.window._qt_window.focusWidget() is reading.view
    QTest.keyClick(reading.view, "3")
    assert list(on_disk(tmp_path, qtbot, 1)) == [("smear", last[1])]
    in_field(viewer, counted, first[1])
    assert reading.view.chosen == [first]


def test_a_layer_with_answers_cannot_be_chosen_for_a_moment(viewer, counted, reading):
    """napari reads the table of what is chosen out at once: below the image, at the mouse, in its own table."""
    table = viewer.window.add_plugin_dock_widget("napari", "Features table widget")[1]
    coloured = next(one for one in viewer.layers if layers.role_of(one) == layers.CLASSES)
    viewer.layers.selection.active = counted
    assert viewer.layers.selection.active != counted
    viewer.layers.selection = {counted, coloured}
    assert not viewer.layers.selection & {counted, coloured}
    heads = [
        table.table.model().headerData(at, Qt.Orientation.Horizontal)
        for at in range(table.table.model().columnCount())
    ]
    assert "cell_type" not in heads
    counted.visible = True
    assert not counted.visible
    assert "stays hidden" in reading.task.message.text()
