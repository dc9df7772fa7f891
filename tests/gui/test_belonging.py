"""Which layers belong together: copies are their own, ours go where their image goes, and no cell counts twice."""

from dataclasses import replace

import numpy as np
import pytest
from napari.layers._layer_actions import _duplicate_layer
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton

from napari_bloodcell.core.batch import analyse_files
from napari_bloodcell.core.config import AnalyseConfig, EngineConfig, ReadConfig
from napari_bloodcell.core.progress import silent
from napari_bloodcell.core.segment import StainSegmenter
from napari_bloodcell.core.session import Session, read_session
from napari_bloodcell.gui import autosave, classes, layers
from napari_bloodcell.gui.counted_once import counted_once
from napari_bloodcell.gui.outlines import nuclei_of, outlined, outlines

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("no_session_stays_open")]


@pytest.fixture
def session(open_panel, tmp_path):
    panel = open_panel("Session")
    panel.ask_folder = lambda: tmp_path / "session"
    return panel


@pytest.fixture
def kept(session, counted, click, wait, qtbot):
    click(session.task.run_button)
    qtbot.waitUntil(lambda: autosave.session_of(counted)[0] is not None, timeout=60_000)
    wait(session)
    return session


def duplicate(viewer, layer):
    viewer.layers.selection.active = layer
    _duplicate_layer(viewer.layers)
    return viewer.layers[f"{layer.name} copy"]


def test_what_is_named_on_a_copy_is_not_written_as_the_first_ones(viewer, kept, counted, wait, qtbot):
    copy = duplicate(viewer, counted)
    qtbot.waitUntil(lambda: "is not kept" in kept.task.message.text(), timeout=30_000)
    wait(kept)
    assert "Remove that layer to have this one kept" in kept.task.message.text()
    assert autosave.session_of(copy) == (None, "")
    rims = np.array(viewer.layers["smear classes"].data)
    lines = len(kept.session.session.events)
    classes.give(viewer, {copy: [1]}, "basophil", "ada")
    classes.give(viewer, {counted: [2]}, "eosinophil", "ada")
    qtbot.waitUntil(lambda: len(kept.session.session.events) > lines, timeout=30_000)
    folder = kept.session.session.folder
    kept.session.close()
    named = [(e.cell_id, e.new) for e in read_session(folder).trail.events if e.action == "classify"]
    assert named == [(2, "eosinophil")]
    on_first = np.asarray(counted.data) == 1
    np.testing.assert_array_equal(viewer.layers["smear classes"].data[on_first], rims[on_first])


def test_nuclei_of_a_copy_are_not_those_of_the_first(viewer, open_panel, counted):
    open_panel("Segment cells")
    copy = duplicate(viewer, counted)
    assert nuclei_of(counted, viewer) is viewer.layers["smear nuclei"]
    assert nuclei_of(copy, viewer) is None


def test_layers_of_before_and_of_a_session_opened_beside_them_do_not_mix(viewer, kept, counted, click, wait):
    folder = kept.session.session.folder
    click(kept.close_button)
    kept.ask_folder = lambda: folder
    click(kept.task.run_button)
    wait(kept)
    (again,) = [one for one in outlines(viewer) if one is not counted]
    assert autosave.session_of(again)[0] is kept.session
    assert autosave.session_of(counted) == (None, "")
    assert nuclei_of(again, viewer) is not nuclei_of(counted, viewer)
    assert classes.classes_layer(viewer, again) is not classes.classes_layer(viewer, counted)


def test_an_image_that_is_open_already_is_called_by_its_own_name_in_the_session(
    viewer, kept, counted, click, wait
):
    folder = kept.session.session.folder
    click(kept.close_button)
    viewer.layers.remove(counted)
    kept.ask_folder = lambda: folder
    click(kept.task.run_button)
    wait(kept)
    (again,) = outlines(viewer)
    assert [layer.name for layer in layers.images(viewer)] == ["smear", "smear [1]"]
    assert classes.image_name(again) == "smear"  # as blind tables and second readers know it


def test_of_two_sets_of_one_picture_the_one_that_the_session_keeps_counts(viewer, kept, counted):
    viewer.open(str(kept.session.session.folder / "session.json"), plugin="napari-bloodcell")
    assert len(outlines(viewer)) == 2
    assert counted_once(outlines(viewer)) == [counted]


def test_cells_that_are_set_aside_are_told(viewer, kept, counted, add_counted, wait, qtbot):
    viewer.layers.remove(counted)
    again = add_counted("smear again")
    qtbot.waitUntil(lambda: autosave.session_of(again)[0] is not None, timeout=60_000)
    wait(kept)
    assert "1 layer of cells is kept" in kept.task.message.text()
    assert "takes the place of earlier cells of this image" in kept.task.message.text()


def test_a_session_is_closed_with_the_last_of_its_windows(kept, make_napari_viewer, qtbot):
    folder, session = kept.session.session.folder, kept.session
    other = make_napari_viewer(show=True)
    panel = other.window.add_plugin_dock_widget("napari-bloodcell", "Session")[1]
    qtbot.waitUntil(lambda: panel.session is session)
    other.close()
    qtbot.wait(50)
    assert not session.is_closed  # the first window has it still
    kept.viewer.close()
    qtbot.waitUntil(lambda: session.is_closed, timeout=10_000)
    Session(folder).close()  # anybody may open it now


def test_a_second_window_does_not_take_the_place_of_what_the_first_one_keeps(
    kept, counted, make_napari_viewer, made_up, qtbot, wait
):
    other = make_napari_viewer(show=True)
    panel = other.window.add_plugin_dock_widget("napari-bloodcell", "Session")[1]
    qtbot.waitUntil(lambda: panel.session is kept.session)
    count = other.window.add_plugin_dock_widget("napari-bloodcell", "Count cells")[1]
    count.analyse = made_up
    other.add_image(
        kept.viewer.layers["smear"].data.copy(), name="smear", scale=(0.1, 0.1), units=("um", "um")
    )
    count.task.run_button.click()
    wait(count)
    qtbot.waitUntil(lambda: "is not kept" in panel.task.message.text(), timeout=30_000)
    assert autosave.session_of(counted)[0] is kept.session
    assert "set aside" not in [event.action for event in kept.session.session.events]
    other.close()


def test_a_session_whose_folder_was_renamed_says_so_and_goes_on_when_it_is_back(viewer, kept, counted, qtbot):
    kept.session._again.setInterval(200)
    qtbot.waitUntil(lambda: len(kept.session.session.events) >= 3, timeout=30_000)  # the cells are written
    folder = kept.session.session.folder
    moved = folder.rename(folder.with_name("moved"))
    classes.give(viewer, {counted: [1]}, "basophil", "ada")
    qtbot.waitUntil(lambda: "not there any more" in kept.state.text(), timeout=30_000)
    assert not folder.exists()
    moved.rename(folder)
    qtbot.waitUntil(lambda: not kept.session.behind, timeout=30_000)
    named = [(e.cell_id, e.new) for e in read_session(folder).trail.events if e.action == "classify"]
    assert named == [(1, "basophil")]


def test_our_layers_go_where_their_image_goes_and_a_persons_own_stays(viewer, open_panel, counted):
    open_panel("Classify")._look_at(counted, 1)
    image = viewer.layers["smear"]
    mine = viewer.add_labels(np.array(counted.data), name="mine", scale=image.scale)
    mine.metadata = {layers.KEY: {k: v for k, v in counted.metadata[layers.KEY].items() if k != "follows"}}
    aside = viewer.layers["smear nuclei"]
    aside.translate = (3, 4)  # put elsewhere by a person
    image.scale = (0.2, 0.2)
    image.translate = (50, 60)
    image.rotate = 30
    for layer in (counted, viewer.layers["smear classes"], viewer.layers["chosen cells"]):
        np.testing.assert_allclose(layer.data_to_world((10, 20)), image.data_to_world((10, 20)))
    np.testing.assert_allclose(mine.scale, (0.1, 0.1))
    np.testing.assert_allclose(aside.translate, (3, 4))


def test_cells_of_a_plane_stay_on_their_plane_when_the_stack_is_moved(viewer, open_panel, counted_planes):
    open_panel("Classify")
    stack = viewer.layers["stack"]
    stack.scale = (5, 0.2, 0.2)
    stack.translate = (100, 7, 8)
    for plane, cells in enumerate(counted_planes):
        np.testing.assert_allclose(cells.data_to_world((0, 10, 20)), stack.data_to_world((plane, 10, 20)))


def test_a_picture_that_was_moved_between_two_counts_counts_once(
    viewer, open_panel, counted, made_up, press_run
):
    panel = open_panel("Count cells")
    panel.analyse = made_up
    viewer.layers["smear"].translate = (0, 50)
    press_run(panel)
    assert len(outlines(viewer)) == 2
    assert len(counted_once(outlines(viewer))) == 1


def test_a_session_opened_to_look_at_beside_its_cells_counts_once_and_has_its_own_rims(viewer, kept, counted):
    folder = kept.session.session.folder
    kept.session.close()
    viewer.open(str(folder / "session.json"), plugin="napari-bloodcell")
    (shown,) = [one for one in outlines(viewer) if one is not counted]
    assert counted_once([counted, shown]) == [shown]
    assert classes.classes_layer(viewer, shown) is not classes.classes_layer(viewer, counted)


def test_a_result_opened_beside_the_cells_of_its_file_counts_once(
    viewer, open_panel, smear, made_up, tmp_path
):
    path = tmp_path / "field.png"
    Image.fromarray(smear.image.pixels).save(path)
    analyse_files([path], tmp_path / "out", bundle="stain", engine=EngineConfig(pictures=False))
    (image,) = viewer.open(str(path), plugin="napari")
    panel = open_panel("Count cells")
    taken = layers.picture_of(image, viewer)
    analysis, table = made_up(taken, "nano", AnalyseConfig(), silent)
    list(layers.add_analysis(viewer, taken, analysis, table, layers.rims_of(analysis.masks.labels)))
    viewer.open(str(tmp_path / "out" / "field" / "run.json"), plugin="napari-bloodcell")
    panel.reset_choices()
    assert len(outlines(viewer)) == 2
    assert len(counted_once(outlines(viewer))) == 1


def test_two_planes_of_one_file_are_two_pictures_where_they_lie_as_images(viewer, add_counted):
    one, two = add_counted("plane 0"), add_counted("plane 1", turned=True)
    two.data = one.data.copy()  # cells of a stack lie above each other
    for layer in (one, two):
        ours = layer.metadata[layers.KEY]
        layer.metadata = {layers.KEY: ours | {"image": ours["image"] | {"source": "/data/stack.tif"}}}
    assert counted_once([one, two]) == [one, two]


def test_cells_keep_the_pixel_size_that_was_guessed_when_they_were_found(viewer, add_counted, smear):
    image = viewer.add_image(smear.image.pixels.copy(), name="plain")
    taken = layers.picture_of(image, viewer)
    read = taken.read(ReadConfig())
    assert read.um_per_px is None
    masks = replace(StainSegmenter().segment(read), um_per_px=0.12, scale_source="red cells")
    list(layers.add_masks(viewer, taken, read, masks, AnalyseConfig()))
    again = outlined(viewer.layers["plain cells"], viewer).read()[1]
    assert (again.um_per_px, again.scale_source) == (0.12, "red cells")
    image.scale = (0.2, 0.2)
    image.units = ("um", "um")
    said = outlined(viewer.layers["plain cells"], viewer).read()[1]
    assert (said.um_per_px, said.scale_source) == (0.2, "given")


@pytest.mark.parametrize("name", ["Differential", "Gallery"])
def test_a_panel_opened_before_the_images_takes_all_of_them_until_one_is_chosen(
    open_panel, add_counted, name
):
    panel = open_panel(name)
    first = add_counted("one")
    assert panel.chosen == [first]
    second = add_counted("two", turned=True)
    assert panel.chosen == [first, second]
    panel.cells.value = second
    add_counted("three")
    assert panel.chosen == [second]


def test_a_class_added_on_one_field_has_the_same_key_on_all(viewer, open_panel, add_counted, click, qtbot):
    first, second = add_counted("one"), add_counted("two", turned=True)
    panel = open_panel("Classify")
    panel.cells.value = first
    panel.name.setText("blast")
    click(panel.add_button)
    assert classes.class_list(first).names == classes.class_list(second).names
    assert classes.class_list(first).digit("blast") == classes.class_list(second).digit("blast") != ""
    classes.give(viewer, {second: [1]}, "blast", "ada")
    qtbot.waitUntil(lambda: panel.table.choose("blast") or panel.table.current == "blast")
    click(panel.remove_button)
    assert "blast has cells in two cells: give them another class first" in panel.task.message.text()
    assert "blast" in classes.class_list(first).names


def test_the_name_of_a_blind_reader_stays_in_that_panel(open_panel, counted, qtbot):
    session, blind = open_panel("Session"), open_panel("Blind reading")
    session.reader.setFocus()
    session.reader.clear()
    qtbot.keyClicks(session.reader, "anna")
    qtbot.keyClick(session.reader, Qt.Key.Key_Return)
    assert blind.reader.name == "anna"
    blind.reader.setFocus()
    blind.reader.clear()
    qtbot.keyClicks(blind.reader, "bela")
    qtbot.keyClick(blind.reader, Qt.Key.Key_Return)
    assert blind.reader.name == "bela"
    assert session.reader.name == "anna"
    assert open_panel("Classify").reader.name == "anna"


def test_a_class_can_be_taken_back_after_a_model_has_named_the_cells_anew(viewer, counted):
    classes.give(viewer, {counted: [1]}, "basophil", "ada")
    table = counted.features.drop(columns="index").rename(columns={"label": "cell_id"})
    table["cell_type"], table["cell_type_source"] = "monocyte", "bundle other"
    assert classes.set_predictions(counted, table, {}, ("monocyte",)) == 1
    assert classes.rows(counted)[0] == (1, "basophil", "person ada")
    assert classes.can_undo([counted]) == (True, False)
    classes.undo(viewer, [counted])
    assert classes.rows(counted)[0] == (1, "monocyte", "bundle other")


def test_the_tab_key_passes_settings_that_are_folded_away(open_panel, counted):
    panel = open_panel("Count cells")
    border = panel.form.widget("segment.border").native
    for part in ("Advanced", "Segment"):
        assert not border.isEnabled()
        (fold,) = [one for one in panel.findChildren(QPushButton) if one.text() == f"▸  {part}"]
        fold.click()
    assert border.isEnabled()
