"""The panel "Classify" in the real napari: a model's classes, a person's, the keys, the way back."""

import threading
import time

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_bloodcell.core.errors import DataError
from napari_bloodcell.gui import adapting, classes, layers, outlines
from napari_bloodcell.gui.classify_calls import read_classes, review_order, said_of
from napari_bloodcell.gui.napari_ways import camera_of
from napari_bloodcell.gui.outlines import image_of
from napari_bloodcell.gui.places import hidden_by

pytestmark = pytest.mark.gui
CTRL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier


@pytest.fixture
def panel(open_panel, counted):
    panel = open_panel("Classify")
    panel.reader.setText("ada")
    return panel


def kinds(layer):
    return dict(zip(classes.ids(layer).tolist(), classes.kinds(layer), strict=True))


def first(layer):
    return int(classes.ids(layer)[0])


def choose(panel, viewer, layer, cell):
    """As a click in the image does."""
    panel._picked(layer, cell, False)


def test_an_empty_viewer_stays_empty_and_says_what_to_do(viewer, open_panel):
    panel = open_panel("Classify")
    assert len(viewer.layers) == 0
    assert panel.empty.isVisible()
    assert not panel.task.run_button.isEnabled()
    assert not panel.table.isEnabled()


def test_an_image_alone_is_nothing_to_classify(viewer, open_panel, add_smear):
    panel = open_panel("Classify")
    add_smear()
    viewer.add_points([[1, 1]])
    assert panel.empty.isVisible()
    assert panel.chosen == []


def test_the_real_model_classifies_outlines_and_keeps_what_a_person_said(
    viewer, panel, counted, press_run, qtbot
):
    choose(panel, viewer, counted, first(counted))
    panel._pressed("3")
    said = kinds(counted)[first(counted)]
    outlines = counted.data.copy()
    press_run(panel)
    assert "Classified" in panel.task.message.text()
    assert "1 that a person decided kept their class" in panel.task.message.text()
    assert kinds(counted)[first(counted)] == said
    assert counted.features["cell_type_source"].iloc[0] == "person ada"
    assert counted.metadata["napari_bloodcell"]["bundle"]["name"] == "nano"
    np.testing.assert_array_equal(counted.data, outlines)
    assert [layer.name for layer in viewer.layers][:4] == [
        "smear",
        "smear nuclei",
        "smear classes",
        "smear cells",
    ]


def test_a_drawing_of_ones_own_gets_a_table_and_a_layer_of_classes(
    viewer, open_panel, add_smear, smear, press_run
):
    add_smear()
    drawn = viewer.add_labels(smear.masks.labels.copy(), name="drawn", scale=(0.1, 0.1), units=("um", "um"))
    panel = open_panel("Classify")
    press_run(panel)
    assert len(drawn.features) == len(smear.masks)
    assert classes.classes_layer(viewer, drawn).name == "smear classes"
    assert viewer.layers.selection.active is drawn  # the brush stays where it was


def test_keys_give_classes_to_the_chosen_cell_on_our_layers_only(viewer, panel, counted, qtbot):
    cell = first(counted)
    choose(panel, viewer, counted, cell)
    press = next(call for key, call in counted.keymap.items() if str(key) == "2")
    press(counted)
    wanted = panel.table._names[1]
    assert kinds(counted)[cell] == wanted
    assert not viewer.layers["smear"].keymap
    code = list(viewer.layers["smear classes"].features["cell_type"]).index(wanted) + 1
    rim = viewer.layers["smear classes"].data[
        (counted.data == cell) & (viewer.layers["smear classes"].data > 0)
    ]
    assert set(rim) == {code}
    panel.parentWidget().destroyOnClose()
    qtbot.wait(50)
    assert not [key for key in counted.keymap if str(key).isdigit()]


def test_a_key_pressed_in_the_canvas_gives_its_class(viewer, panel, counted, qtbot):
    cell = first(counted)
    choose(panel, viewer, counted, cell)
    viewer.layers.selection.active = counted
    QTest.keyClick(viewer.window._qt_viewer.canvas.native, Qt.Key.Key_2)
    qtbot.wait(20)
    assert kinds(counted)[cell] == panel.table._names[1]


@pytest.mark.parametrize("name", ["smear", "smear nuclei"])
def test_after_a_click_a_key_gives_its_class_whichever_layer_was_active(
    viewer, panel, counted, qtbot, name, click
):
    beside, canvas = viewer.layers[name], viewer.window._qt_viewer.canvas.native
    viewer.layers.selection.active = beside
    choose(panel, viewer, counted, first(counted))
    qtbot.waitUntil(lambda: viewer.layers.selection.active == counted)
    viewer.layers.selection.active = beside  # and a person who makes it active again gives classes still
    QTest.keyClick(canvas, Qt.Key.Key_2)
    qtbot.wait(20)
    assert kinds(counted)[first(counted)] == panel.table._names[1]
    assert beside.mode == "pan_zoom"
    click(panel.next_button)
    qtbot.waitUntil(lambda: viewer.layers.selection.active == counted)
    assert not beside.keymap


def test_the_keys_of_an_image_are_its_own_again_when_the_panel_closes(viewer, panel, counted, qtbot):
    image, canvas, pressed = viewer.layers["smear"], viewer.window._qt_viewer.canvas.native, []

    def mine(layer):
        pressed.append(layer.name)

    image.bind_key("3", mine)
    choose(panel, viewer, counted, first(counted))
    qtbot.waitUntil(lambda: viewer.layers.selection.active == counted)
    viewer.layers.selection.active = image
    QTest.keyClick(canvas, Qt.Key.Key_3)
    assert not pressed
    panel.parentWidget().destroyOnClose()
    qtbot.wait(50)
    QTest.keyClick(canvas, Qt.Key.Key_3)
    assert pressed == ["smear"]
    QTest.keyClick(canvas, Qt.Key.Key_2)
    assert image.mode == "transform"


def test_a_brush_in_use_stays_in_hand(viewer, panel, counted, qtbot):
    drawn = viewer.add_labels(np.zeros((320, 420), int), name="mine")
    drawn.mode = "paint"
    choose(panel, viewer, counted, first(counted))
    qtbot.wait(50)
    assert viewer.layers.selection.active == drawn
    assert not drawn.keymap


def test_a_real_click_in_the_canvas_gives_the_chosen_class(viewer, panel, counted, click, qtbot):
    cell = first(counted)
    y, x = np.argwhere(counted.data == cell).mean(axis=0)
    click(panel.brush_button)
    panel.table.choose("basophil")
    canvas = viewer.window._qt_viewer.canvas
    world = counted.data_to_world((y, x))
    place = canvas.view.scene.transform.map([world[1], world[0], 0, 1])[:2]
    canvas._scene_canvas.events.mouse_press(pos=place, button=1)
    canvas._scene_canvas.events.mouse_release(pos=place, button=1)
    assert panel.current == cell
    assert kinds(counted)[cell] == "basophil"


def test_undo_and_redo_go_back_and_forth(viewer, panel, counted, click, qtbot):
    cell, before = first(counted), kinds(counted)
    assert not panel.undo_button.isEnabled()
    choose(panel, viewer, counted, cell)
    panel._pressed("0")
    qtbot.waitUntil(panel.undo_button.isEnabled)
    click(panel.undo_button)
    assert kinds(counted) == before
    assert counted.features["cell_type_source"].iloc[0] == "bundle nano 000000000000"
    qtbot.waitUntil(panel.redo_button.isEnabled)
    click(panel.redo_button)
    assert kinds(counted)[cell] == "unidentified"


def test_ctrl_z_in_the_panel_takes_a_class_back_and_over_the_image_a_stroke(viewer, panel, counted, qtbot):
    cell, before = first(counted), kinds(counted)
    outlines, canvas = counted.data.copy(), viewer.window._qt_viewer.canvas.native
    choose(panel, viewer, counted, cell)
    panel._pressed("0")
    viewer.layers.selection.active = counted
    counted.data_setitem((np.array([0]), np.array([0])), 9)
    QTest.keyClick(canvas, Qt.Key.Key_Z, CTRL)
    np.testing.assert_array_equal(counted.data, outlines)
    assert kinds(counted)[cell] == "unidentified"
    QTest.keyClick(panel.next_button, Qt.Key.Key_Z, CTRL)
    assert kinds(counted) == before
    QTest.keyClick(panel.next_button, Qt.Key.Key_Z, CTRL | SHIFT)
    assert kinds(counted)[cell] == "unidentified"


def test_the_counts_follow_at_once(viewer, panel, counted, qtbot):
    choose(panel, viewer, counted, first(counted))
    panel._pressed("0")
    qtbot.wait(50)
    rows = panel.table.rowCount()
    last = [panel.table.item(rows - 1, column).text() for column in range(4)]
    assert last == ["0", "unidentified", "1", "1"]


def test_classes_are_added_renamed_recoloured_and_removed(viewer, panel, counted, click, qtbot):
    panel.name.setText("Hairy cell")
    click(panel.add_button)
    qtbot.wait(50)
    assert "hairy_cell" in panel.table._names
    panel.table.choose("hairy_cell")
    click(panel.remove_button)
    qtbot.wait(50)
    assert "hairy_cell" not in panel.table._names
    used = kinds(counted)[first(counted)]
    panel.table.item(panel.table._names.index(used), 1).setText("Odd one")
    qtbot.wait(50)
    assert kinds(counted)[first(counted)] == "odd_one"
    panel.table.pick_colour = lambda _colour: "#123456"
    panel.table.cellDoubleClicked.emit(panel.table._names.index("odd_one"), 0)
    qtbot.wait(50)
    rims = viewer.layers["smear classes"]
    code = list(rims.features["cell_type"]).index("odd_one") + 1
    np.testing.assert_allclose(rims.colormap.map(code)[:3], np.array([0x12, 0x34, 0x56]) / 255, atol=1e-3)


def test_undo_of_a_rename_gives_the_list_back_and_redo_the_name(viewer, panel, counted):
    used = kinds(counted)[first(counted)]
    before = classes.class_list(counted)
    panel._rename(used, "odd one")
    after = classes.class_list(counted)
    assert list(after.names).index("odd_one") == list(before.names).index(used)
    classes.undo(viewer, [counted])
    assert classes.class_list(counted) == before
    assert kinds(counted)[first(counted)] == used
    classes.redo(viewer, [counted])
    assert classes.class_list(counted) == after
    assert kinds(counted)[first(counted)] == "odd_one"


def test_a_class_with_cells_is_not_removed_and_unidentified_is_no_name(viewer, panel, counted, click, qtbot):
    used = kinds(counted)[first(counted)]
    panel.table.choose(used)
    click(panel.remove_button)
    assert "has cells" in panel.task.message.text()
    panel._rename(used, "Unidentified")
    assert "already" in panel.task.message.text()
    assert kinds(counted)[first(counted)] == used


def test_a_name_that_is_taken_merges_two_classes_and_undo_parts_them(viewer, panel, counted, qtbot):
    before, cells = classes.class_list(counted), kinds(counted)
    used, sources = cells[first(counted)], classes.rows(counted)
    other = next(name for name in before.names if name not in (used, "unidentified"))
    n = list(cells.values()).count(used)
    panel.table.item(panel.table._names.index(used), 1).setText(other)
    qtbot.wait(50)
    assert f"{n} cell" in panel.task.message.text()
    assert "Undo" in panel.task.message.text()
    merged = {cell: other if kind == used else kind for cell, kind in cells.items()}
    assert kinds(counted) == merged
    assert [row[2] for row in classes.rows(counted)] == [row[2] for row in sources]
    assert used not in classes.class_list(counted).names
    assert list(viewer.layers["smear classes"].features["cell_type"]) == list(before.without(used).names)
    classes.undo(viewer, [counted])
    assert kinds(counted) == cells
    assert classes.class_list(counted) == before
    classes.redo(viewer, [counted])
    assert kinds(counted) == merged
    assert used not in classes.class_list(counted).names
    classes.set_classes(viewer, counted, classes.class_list(counted).with_class("odd one"))
    classes.undo(viewer, [counted])
    assert kinds(counted) == cells
    assert {used, "odd_one"} <= set(classes.class_list(counted).names)


def test_a_merge_without_cells_is_a_step_of_its_own(viewer, panel, counted, click, qtbot):
    cell = first(counted)
    classes.give(viewer, {counted: [cell]}, "basophil", "ada")
    classes.set_classes(viewer, counted, classes.class_list(counted).with_class("zebra"))
    panel._rename("zebra", "Neutrophil")
    qtbot.wait(50)
    assert "0 cells of zebra joined neutrophil" in panel.task.message.text()
    click(panel.undo_button)
    assert "zebra" in classes.class_list(counted).names
    assert kinds(counted)[cell] == "basophil"
    assert panel.task.message.text() == "Taken back: the list of classes."
    qtbot.wait(50)
    click(panel.redo_button)
    qtbot.wait(50)
    assert "zebra" not in classes.class_list(counted).names
    click(panel.undo_button)
    panel._rename("zebra", "lion")
    qtbot.wait(50)
    click(panel.undo_button)
    assert "zebra" in classes.class_list(counted).names
    assert "lion" not in classes.class_list(counted).names
    assert kinds(counted)[cell] == "basophil"


def test_the_chosen_class_follows_its_name_and_no_other_takes_its_place(viewer, panel, counted, qtbot):
    classes.set_classes(viewer, counted, classes.class_list(counted).with_class("zebra").with_class("lion"))
    qtbot.wait(50)
    panel.table.choose("zebra")
    panel._rename("zebra", "Tiger")
    qtbot.wait(50)
    assert panel.table.current == "tiger"
    panel._rename("tiger", "lion")
    qtbot.wait(50)
    assert panel.table.current == "lion"
    classes.set_classes(viewer, counted, classes.class_list(counted).without("lion"))
    qtbot.wait(50)
    assert panel.table.current == ""


def test_the_same_name_in_other_letters_is_no_step(viewer, panel, counted):
    before = classes.can_undo([counted])
    used = kinds(counted)[first(counted)]
    panel._rename(used, used.upper().replace("_", " - "))
    assert classes.can_undo([counted]) == before


def test_a_class_that_comes_back_takes_a_free_colour(viewer, panel, counted):
    classes.set_classes(viewer, counted, classes.class_list(counted).with_class("zebra"))
    classes.merge(viewer, counted, "zebra", "neutrophil")
    classes.set_classes(viewer, counted, classes.class_list(counted).with_class("tiger"))
    classes.undo(viewer, [counted])
    colours = classes.class_list(counted).colours
    assert {"zebra", "tiger"} <= set(colours)
    assert len(set(colours.values())) == len(colours)


def test_the_next_cell_is_the_least_sure_and_a_key_goes_on(viewer, panel, counted, click, qtbot):
    features = counted.features.copy()
    features["cell_type_prob"] = np.linspace(0.9, 0.3, len(features))
    counted.features = features
    click(panel.next_button)
    last = int(classes.ids(counted)[-1])
    assert panel.current == last
    assert panel.about.text().startswith(f"Cell {last}: ")
    centre = camera_of(viewer).center[-2:]
    panel._pressed("1")
    assert panel.current == int(classes.ids(counted)[-2])
    assert not np.allclose(camera_of(viewer).center[-2:], centre)


def test_the_next_cell_is_seen_where_another_picture_covers_its_own(viewer, panel, counted, click, smear):
    click(panel.next_button)
    assert "hidden" not in panel.task.message.text()
    other = viewer.add_image(smear.image.pixels.copy(), name="other", scale=(0.1, 0.1), units=("um", "um"))
    click(panel.next_button)
    assert panel.task.message.text().endswith("is hidden while this panel is open.")
    assert not other.visible


def test_the_cells_on_top_are_chosen_first(viewer, open_panel, counted, add_counted):
    on_top = add_counted("second")
    assert open_panel("Classify").chosen == [on_top]


def test_when_all_are_seen_it_is_said(viewer, panel, counted, click):
    classes.give(viewer, {counted: classes.ids(counted)}, "monocyte", "ada")
    click(panel.next_button)
    assert panel.task.message.text() == "A person has seen every cell."


def test_classes_are_saved_and_loaded(viewer, panel, counted, click, wait, tmp_path):
    classes.give(viewer, {counted: [first(counted)]}, "basophil", "ada")
    before = kinds(counted)
    panel.ask_save = panel.ask_open = lambda: tmp_path / "classes.csv"
    click(panel.save_button)
    wait(panel)
    assert "Written to" in panel.task.message.text()
    classes.give(viewer, {counted: classes.ids(counted)}, "monocyte", "ada")
    click(panel.load_button)
    assert kinds(counted) == before
    sources = counted.features["cell_type_source"].astype(str).tolist()
    assert sources[0] == "person ada"  # whoever loads it
    changed = [
        source
        for source, kind in zip(sources[1:], list(before.values())[1:], strict=True)
        if kind != "monocyte"
    ]
    assert set(changed) == {"table classes.csv"}  # what a model said is nobody's answer
    told = panel.task.message.text()
    click(panel.load_button)
    assert panel.task.message.text() != told
    assert panel.task.message.text().startswith("0 ")
    (tmp_path / "classes.csv").write_text("cell_id,cell_type\n1,eosinophil\n")
    click(panel.load_button)
    assert classes.is_by_person(counted).sum() == sources.count("person ada") + (sources[0] != "person ada")
    assert counted.features["cell_type_source"].astype(str).tolist()[0] == "person ada"


def test_of_a_table_of_several_images_the_rows_of_this_one_are_taken(viewer, panel, counted, click, tmp_path):
    cell, kind, _ = classes.rows(counted)[0]
    other = "monocyte" if kind != "monocyte" else "basophil"
    panel.ask_open = lambda: tmp_path / "many.csv"
    rows = f"/lab/A/smear.png,{cell},{kind},bo\n/lab/B/other.png,{cell},{other},bo\n"
    (tmp_path / "many.csv").write_text("image,cell_id,cell_type,person\n" + rows)
    click(panel.load_button)
    assert kinds(counted)[cell] == kind
    assert classes.rows(counted)[0][2] == "person bo"
    (tmp_path / "many.csv").write_text("image,cell_id,cell_type\na.png,1.0,monocyte\nb.png,1.0,monocyte\n")
    click(panel.load_button)
    assert "has cells of a.png, b.png, none of smear" in panel.task.message.text()


def test_a_table_that_repeats_what_is_there_changes_nothing(viewer, panel, counted, click, wait, tmp_path):
    classes.give(viewer, {counted: [first(counted)]}, "unidentified", "ada")
    before = classes.rows(counted)
    panel.ask_save = panel.ask_open = lambda: tmp_path / "classes.csv"
    click(panel.save_button)
    wait(panel)
    click(panel.load_button)
    assert classes.rows(counted) == before, "the model's classes are still the model's"
    classes.give(viewer, {counted: [first(counted)]}, "monocyte", "bo")
    click(panel.load_button)
    assert classes.rows(counted) == before, "unidentified is an answer where a person gave it"


def test_a_table_of_ones_own_keeps_its_columns_and_its_background_is_no_cell(
    viewer, open_panel, add_smear, smear, press_run
):
    from napari_bloodcell.gui.differential_calls import slide_of

    add_smear()
    drawn = viewer.add_labels(smear.masks.labels.copy(), name="drawn", scale=(0.1, 0.1), units=("um", "um"))
    ids = [0, *smear.masks.cell_id.tolist()]
    drawn.features = pd.DataFrame({"index": ids, "note": [f"note {i}" for i in ids]})
    assert len(slide_of(drawn).kinds) == len(ids) - 1
    press_run(open_panel("Classify"))
    assert drawn.features["index"].tolist() == ids[1:]
    assert drawn.features["note"].tolist() == [f"note {i}" for i in ids[1:]]
    assert len(slide_of(drawn).kinds) == len(ids) - 1


def test_cells_corrected_while_the_model_works_are_not_brought_back(viewer, panel, counted, wait):
    gone, *rest = classes.ids(counted).tolist()
    new = max(rest) + 1
    predict = panel.predict

    def slowly(outlined, bundle, config, progress):
        result = predict(outlined, bundle, config, progress)
        worked.set()
        go_on.wait(60)
        return result

    worked, go_on = threading.Event(), threading.Event()
    panel.predict = slowly
    panel._predict()
    assert worked.wait(60)
    data = np.where(counted.data == gone, 0, counted.data)
    data[:6, :6] = new
    counted.data = data
    features = counted.features[counted.features["index"] != gone]
    added = features.iloc[:1].assign(index=new, label=new, cell_type="unidentified")
    counted.features = pd.concat([features, added], ignore_index=True)
    go_on.set()
    wait(panel)
    assert sorted(classes.ids(counted).tolist()) == [*rest, new]


def test_a_table_without_the_columns_is_refused(viewer, panel, counted, click, tmp_path):
    (tmp_path / "wrong.csv").write_text("a,b\n1,2\n")
    panel.ask_open = lambda: tmp_path / "wrong.csv"
    click(panel.load_button)
    assert "it needs cell_id and cell_type" in panel.task.message.text()
    (tmp_path / "wrong.csv").write_text("cell_id,cell_type\nx,monocyte\n")
    with pytest.raises(DataError, match="no whole number"):
        read_classes(tmp_path / "wrong.csv")


@pytest.fixture
def endless(panel):
    started = threading.Event()

    def predict(outlined, bundle, config, progress):
        started.set()
        for done in range(100_000):
            progress("pretending", done, 100_000)
            time.sleep(0.005)

    panel.predict, panel.started = predict, started
    return panel


def test_cancel_leaves_the_classes_as_they_were(viewer, endless, counted, click, wait, qtbot):
    before = kinds(counted)
    click(endless.task.run_button)
    qtbot.waitUntil(endless.started.is_set)
    click(endless.task.cancel_button)
    wait(endless)
    assert kinds(counted) == before
    assert endless.task.message.text().startswith("Cancelled")


def test_closing_while_running_ends_quietly(viewer, endless, click, qtbot):
    click(endless.task.run_button)
    qtbot.waitUntil(endless.started.is_set)
    endless.parentWidget().destroyOnClose()
    qtbot.wait(50)
    viewer.layers.clear()


def test_outlines_renamed_and_moved_in_the_middle_are_found_again(viewer, panel, counted, click, wait):
    click(panel.task.run_button)
    counted.name = "mine"
    viewer.layers.move(viewer.layers.index(counted), 0)
    wait(panel)
    assert "Classified" in panel.task.message.text()
    assert counted.features["cell_type_source"].iloc[0].startswith("bundle nano")


def test_outlines_removed_in_the_middle_are_missed_without_harm(viewer, panel, counted, click, wait):
    click(panel.task.run_button)
    viewer.layers.remove(counted)
    wait(panel)
    assert "gone from the viewer" in panel.task.message.text()


def test_an_image_of_another_size_is_refused(viewer, open_panel, press_run):
    viewer.add_image(np.zeros((40, 50, 3), np.uint8), name="small")
    viewer.add_labels(np.eye(64, dtype=int), name="large")
    panel = open_panel("Classify")
    panel._predict()
    assert "No open image is as large as the outlines large" in panel.task.message.text()


def test_a_stack_of_labels_is_refused_with_advice(viewer, open_panel):
    viewer.add_image(np.zeros((3, 40, 50, 3), np.uint8))
    viewer.add_labels(np.ones((3, 40, 50), int), name="deep")
    panel = open_panel("Classify")
    panel._predict()
    assert "deep is a stack or a pyramid (3 x 40 x 50)" in panel.task.message.text()


def test_adapting_with_too_few_corrections_says_so(panel, counted, click, wait, monkeypatch, tmp_path):
    monkeypatch.setenv("BLOODCELL_CACHE", str(tmp_path))
    before = kinds(counted)
    click(panel.adapt_button)
    wait(panel)
    assert "correct" in panel.task.message.text().lower()
    assert kinds(counted) == before


def test_adapting_learns_from_every_open_field(  # noqa: PLR0917
    viewer, panel, counted, add_counted, click, wait, monkeypatch, tmp_path
):
    """Fields hold few cells: what was corrected on one alone would never be enough."""
    monkeypatch.setenv("BLOODCELL_CACHE", str(tmp_path))
    other = add_counted("another field", turned=True)
    asked = []

    def told(looked, bundle, config, progress):
        asked.extend(looked)
        return adapting.adapt(looked, bundle, config, progress)

    panel.adapt = told
    given = {
        layer: {c: kind for c, kind in kinds(layer).items() if kind != "unidentified"}
        for layer in (counted, other)
    }
    for layer, kind_of in given.items():
        for cell, kind in kind_of.items():
            classes.give(viewer, {layer: [cell]}, kind, "ada")
    first_cell = next(iter(given[other]))
    classes.give(viewer, {other: [first_cell]}, "monocyte", "ada")
    given[other][first_cell] = "monocyte"
    n = sum(map(len, given.values()))
    viewer.add_labels(np.ones(counted.data.shape, np.uint8), name="no cells of a smear")
    shown = {layer: layer.visible for layer in viewer.layers}
    panel.cells.setCurrentText(counted.name)
    click(panel.adapt_button)
    wait(panel)
    assert [one.outlined.cells() for one in asked] == [
        panel.layer,
        other if panel.layer is counted else counted,
    ]
    assert {one.outlined.cells(): one.corrected for one in asked} == given
    assert f"{n} corrected cells of 2 open fields, each held out in turn" in panel.task.message.text()
    assert "second opinion" in panel.task.message.text()
    assert "The cells on 2 fields are named anew" in panel.task.message.text()
    for layer in (counted, other):
        assert layer.metadata["napari_bloodcell"]["bundle"]["name"].startswith("nano-adapted")
        assert {cell: kinds(layer)[cell] for cell in given[layer]} == given[layer]
    nuclei = {layer for layer in shown if layer.name.endswith("nuclei")}  # their tint hides the classes
    assert {layer: layer.visible for layer in viewer.layers} == shown | dict.fromkeys(nuclei, False)


def test_cells_that_were_counted_twice_are_learnt_from_once(viewer, counted, add_counted):
    """A cell in two layers would be judged by itself; the layer that a person worked on stays."""
    classes.give(viewer, {counted: classes.ids(counted)[:2]}, "monocyte", "ada")
    picture = layers.picture_of(viewer.layers["smear"], viewer)
    again = viewer.add_labels(counted.data.copy(), name="again", features=counted.features.copy())
    again.metadata.update(counted.metadata)
    again.features = again.features.assign(cell_type_source="bundle nano")
    other = add_counted("another field", turned=True)
    for chosen in (counted, again):
        looked = adapting.looked_at(chosen, viewer)
        assert [one.outlined.cells() for one in looked] == [counted, other]
    assert looked[0].outlined.picture.name == picture.name


def test_cancelling_while_fields_are_named_anew_leaves_no_model(
    viewer, counted, add_counted, monkeypatch, tmp_path
):
    from napari_bloodcell.core.config import AnalyseConfig
    from napari_bloodcell.core.errors import Cancelled
    from napari_bloodcell.core.progress import silent

    monkeypatch.setenv("BLOODCELL_CACHE", str(tmp_path))
    for layer in (counted, add_counted("another field", turned=True)):
        for cell, kind in kinds(layer).items():
            if kind != "unidentified":
                classes.give(viewer, {layer: [cell]}, kind, "ada")
    looked, real, saved = adapting.looked_at(counted, viewer), adapting.predict, []

    def cancelled(outlined, bundle, *rest):
        if bundle != "nano":
            saved.append(bundle)
            raise Cancelled
        return real(outlined, bundle, *rest)

    monkeypatch.setattr(adapting, "predict", cancelled)
    with pytest.raises(Cancelled):
        adapting.adapt(looked, "nano", AnalyseConfig(), silent)
    assert saved
    assert not list((tmp_path / "bundles").iterdir())


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_panel_fits_and_can_be_read_in_both_themes(viewer, panel, theme, qtbot):
    viewer.theme = theme
    qtbot.wait(100)
    assert panel.widget().width() <= panel.viewport().width()
    shown = panel.about.grab().toImage() if panel.about.isVisible() else panel.table.grab().toImage()
    lights = [
        shown.pixelColor(x, y).lightnessF() for x in range(shown.width()) for y in range(0, shown.height(), 3)
    ]
    assert max(lights) - min(lights) > 0.5


def test_the_order_of_review_skips_what_was_seen_and_begins_with_suggestions():
    features = pd.DataFrame({"cell_type_prob": [0.9, 0.2, 0.5, 0.4], "doubt": ["", "low", "", "low"]})
    ids, seen = np.array([1, 2, 3, 4]), np.array([False, False, False, True])
    assert review_order(features, ids, seen) == [2, 3, 1]
    assert review_order(features, ids, seen, suggested=[1, 4]) == [1, 2, 3]


def test_what_is_said_of_a_cell():
    row = {
        "index": 8,
        "cell_type": "unidentified",
        "best": "monocyte",
        "cell_type_prob": 0.41,
        "second": "basophil",
        "second_prob": 0.2,
        "doubt": "best guess monocyte at 41%; unlike the training cells (3.2 times)",
    }
    assert said_of(row) == (
        "Cell 8: unidentified, monocyte 41%, then basophil 20%; unlike the training cells (3.2 times)."
    )
    assert said_of({"index": 8, "cell_type": "monocyte", "cell_type_source": "person ada"}) == (
        "Cell 8: monocyte, said by ada."
    )


def test_what_adapting_did_is_told_line_by_line():
    from napari_bloodcell.core.adapt.adapting import Adaptation, Judged
    from napari_bloodcell.gui.adapting import said_of_adaptation

    judged = tuple(
        Judged(name=name, loss=loss, accuracy=right, balanced=right)
        for name, loss, right in (("none", 0.442, 0.833), ("refit", 0.7, 0.75))
    )
    nothing: object = None
    told = said_of_adaptation(
        Adaptation(lab="field", corrected=12, kept="none", judged=judged, before=nothing, classifier=nothing)
    )
    assert told.splitlines() == [
        "12 corrected cells of field, each held out in turn:",
        "none: 83% right, loss 0.442, kept",
        "refit: 75% right, loss 0.700",
        "No update was better: the model stays as it is. Correct more cells and try again.",
    ]


def test_cells_of_one_field_are_not_named_on_another_of_the_same_size(viewer, panel, counted, click, wait):
    before = classes.kinds(counted)
    viewer.layers.remove("smear")
    viewer.add_image(np.full((*counted.data.shape[-2:], 3), 200, np.uint8), name="another field")
    click(panel.task.run_button)
    wait(panel)
    assert classes.kinds(counted) == before
    assert "were made on the image smear, which is not open" in panel.task.message.text()
    viewer.layers["another field"].name = "smear"  # the picture that was opened again
    assert outlines.image_of(counted, viewer) is viewer.layers["smear"]


def test_classes_of_another_image_are_refused(viewer, panel, counted, tmp_path):
    before = classes.kinds(counted)
    (tmp_path / "other.csv").write_text("image,cell_id,cell_type\nother,1,basophil\n")
    panel.ask_open = lambda: tmp_path / "other.csv"
    panel._load()
    assert "has cells of other, none of smear" in panel.task.message.text()
    assert classes.kinds(counted) == before
    cell = int(classes.ids(counted)[0])
    (tmp_path / "plain.csv").write_text(f"cell_id,cell_type\n{cell},basophil\n")
    panel.ask_open = lambda: tmp_path / "plain.csv"
    panel._load()
    assert classes.kinds(counted)[0] == "basophil"


def test_undo_of_a_class_waits_for_the_outline_of_its_cell(viewer, panel, counted):
    from napari_bloodcell.core.segment import edit as editing
    from napari_bloodcell.gui.corrections import corrections_of

    cell = int(classes.ids(counted)[0])
    before = classes.kinds(counted)[0]
    classes.give(viewer, {counted: [cell]}, "monocyte" if before != "monocyte" else "basophil", "ada")
    given = classes.kinds(counted)[0]
    edits = corrections_of(viewer, counted)
    edits.do(editing.delete(edits.labels, edits.nucleus, [cell]))
    panel.step(back=True)
    assert panel.task.message.text().startswith("The cells of that step are not there")
    assert classes.can_undo([counted])[0]  # the step is not used up
    edits.undo()
    assert dict(zip(classes.ids(counted), classes.kinds(counted), strict=True))[cell] == given
    panel.step(back=True)
    assert dict(zip(classes.ids(counted), classes.kinds(counted), strict=True))[cell] == before


def test_next_cell_goes_on_in_the_next_field_and_shows_its_picture(
    viewer, panel, counted, add_counted, click, qtbot
):
    other = add_counted("second", turned=True)
    said = kinds(other)
    panel.cells.value = other
    qtbot.waitUntil(lambda: panel.layer is other)
    classes.give(viewer, {other: list(classes.ids(other))}, "monocyte", "ada")
    click(panel.next_button)
    assert panel.layer is counted
    n = len(counted.features)
    assert panel.task.message.text() == (
        f"Every cell of second cells is seen; {n} cells in 1 field are left. Now smear cells."
    )
    assert panel.current in classes.ids(counted)
    assert not viewer.layers["second"].visible
    qtbot.waitUntil(panel.undo_button.isEnabled)  # the last answer there may have been a slip
    panel.step(back=True)
    assert kinds(other) == said
    panel.step(back=False)
    assert set(kinds(other).values()) == {"monocyte"}
    classes.give(viewer, {counted: list(classes.ids(counted))}, "monocyte", "ada")
    click(panel.next_button)
    assert panel.task.message.text() == "A person has seen every cell of all 2 fields."
    panel.parentWidget().destroyOnClose()
    qtbot.waitUntil(lambda: viewer.layers["second"].visible)


def test_two_panels_that_show_a_cell_give_back_what_both_hid(
    viewer, panel, counted, add_counted, open_panel, qtbot
):
    images = [viewer.layers["smear"]]
    for name in ("second", "third"):
        add_counted(name, turned=name == "second")
        images.append(viewer.layers[name])
    gallery = open_panel("Gallery")
    gallery.cells.value = "all"
    qtbot.waitUntil(lambda: len(gallery._layers) > 1, timeout=60_000)
    second = gallery._layers.index(viewer.layers["second cells"])
    gallery._look_at(next(tile.key for tile in gallery.view._tiles if tile.key[0] == second))
    assert [one.visible for one in images] == [True, True, False]
    panel.cells.value = counted
    panel.next_button.click()
    assert [one.visible for one in images] == [True, False, False]
    gallery.parentWidget().destroyOnClose()
    qtbot.wait(50)
    assert [one.visible for one in images] == [True, False, False]  # Classify still shows its cell
    panel.parentWidget().destroyOnClose()
    qtbot.waitUntil(lambda: all(one.visible for one in images))


def test_cells_of_a_second_file_of_one_name_do_not_take_the_first_ones_picture(viewer, counted, add_counted):
    """napari calls it "smear [1]", as we call the second plane of a stack."""
    other = add_counted("smear [1]", turned=True)
    assert image_of(other, viewer) is viewer.layers["smear [1]"]
    viewer.layers.remove("smear [1]")
    assert image_of(other, viewer) is None
    assert "Its picture smear [1] is not open" in hidden_by(viewer, other)
