"""The panel "Embed" in the real napari: cells as a map, joined both ways with the viewer."""

import threading
import time

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import QPointF, Qt

from napari_bloodcell.core.errors import BloodcellError
from napari_bloodcell.gui import layers
from napari_bloodcell.gui.embed import EmbedCells
from napari_bloodcell.gui.legend import Legend
from napari_bloodcell.gui.selection import MARKS
from napari_bloodcell.gui.steps import at_once
from napari_bloodcell.gui.task import under_way

pytestmark = pytest.mark.gui
CLASSES = ("neutrophil", "lymphocyte", "monocyte", "eosinophil")


@pytest.fixture
def panel(open_panel):
    return open_panel("Embed")


@pytest.fixture
def add_field(viewer, smear):
    """An image with outlines, as Count cells leaves them."""

    def add(name="field", shift=0.0):
        pixels = np.clip(smear.image.pixels.astype(float) + shift, 0, 255).astype(np.uint8)
        image = viewer.add_image(
            pixels, name=name, scale=(0.1, 0.1), translate=(0, shift), units=("um", "um")
        )
        picture = layers.picture_of(image, viewer)
        ids = smear.masks.cell_id
        kinds = [CLASSES[i % len(CLASSES)] for i in ids]
        table = pd.DataFrame({"cell_id": ids, "cell_type": kinds, "area_um2": ids * 1.5})
        meta = layers._made_from(picture, smear.image, ReadConfigLike(), None)
        nuclei, features = smear.masks.labels * smear.masks.nucleus, layers.features_of(table)
        at_once(layers.add_plain(viewer, picture, layers.NUCLEI, nuclei, meta))
        return at_once(layers.add_outlines(viewer, picture, smear.masks.labels, features, meta))

    return add


class ReadConfigLike:
    def to_json(self):
        return {}


@pytest.fixture
def shown(viewer, panel, add_field, press_run):
    """The map of one field."""
    panel.field = add_field()
    press_run(panel)
    assert panel.rows is not None, panel.task.message.text()
    return panel


def names(viewer):
    return [layer.name for layer in viewer.layers]


def lasso(scatter, qtbot, rows):
    """A square round these points, drawn with the mouse."""
    places = scatter.places()[rows]
    low, high = places.min(axis=0) - 7, places.max(axis=0) + 7
    corners = [low, (high[0], low[1]), high, (low[0], high[1])]
    corners = [QPointF(*corner).toPoint() for corner in corners]
    qtbot.mousePress(scatter, Qt.MouseButton.LeftButton, pos=corners[0])
    for corner in corners[1:]:
        qtbot.mouseMove(scatter, corner)
    qtbot.mouseRelease(scatter, Qt.MouseButton.LeftButton, pos=corners[-1])


def test_an_empty_viewer_stays_empty_and_the_panel_says_what_to_do(viewer, panel):
    assert names(viewer) == []
    assert panel.empty.isVisible()
    assert not panel.task.run_button.isEnabled()
    assert not panel.maps.isVisible()


def test_opening_takes_well_under_a_second(viewer):
    begin = time.perf_counter()
    EmbedCells(viewer).deleteLater()
    assert time.perf_counter() - begin < 0.7


def test_every_cell_is_a_point_in_the_colour_of_its_class(shown, smear):
    from napari_bloodcell.core.palette import colour_of

    scatter = shown.maps.maps[0]
    assert len(scatter.places()) == len(smear.masks)
    assert scatter._colours == [colour_of(CLASSES[i % len(CLASSES)]) for i in smear.masks.cell_id]
    assert shown.task.message.text() == f"{len(smear.masks)} cells of 1 image on the map."
    legend = shown.maps.legend
    named = {text.rpartition(" ")[0]: colour for colour, text in legend.entries}
    assert named == {name: colour_of(name) for name in CLASSES if name in shown.rows.classes()}
    assert sum(int(text.rpartition(" ")[2]) for _, text in legend.entries) == len(smear.masks)
    picture = legend.grab().toImage()
    seen = {
        picture.pixelColor(x, y).name().upper()
        for x in range(picture.width())
        for y in range(picture.height())
    }
    assert set(named.values()) <= seen
    assert shown.maps.maps[0]._names[0].startswith("field, cell 1:")


def test_the_places_are_those_of_the_core(shown, smear):
    from napari_bloodcell.core.cellmap import vectors_of
    from napari_bloodcell.core.embed.measurements import MeasurementEmbedder
    from napari_bloodcell.core.embed.plane import to_plane

    picture = shown.rows.embedded.fields[0].picture
    from napari_bloodcell.core.config import ReadConfig

    image = picture.read(ReadConfig())
    wanted = to_plane(vectors_of([(image, _with_scale(smear.masks))], MeasurementEmbedder()).values)
    np.testing.assert_allclose(shown.rows.embedded.maps[0].plane.xy, wanted.xy, atol=1e-4)


def _with_scale(masks):
    from dataclasses import replace

    return replace(masks, um_per_px=pytest.approx(0.1).expected)


def test_a_loop_on_the_map_marks_the_cells_in_the_viewer(viewer, shown, qtbot):
    lasso(shown.maps.maps[0], qtbot, [0])
    chosen = shown.maps.maps[0].chosen
    assert 0 in chosen
    marked = set(np.unique(viewer.layers[MARKS].data)) - {0}
    assert marked == set(shown.rows.cells(chosen, 0))
    assert shown.chosen_text.text().startswith(f"{len(chosen)} chosen: ")
    np.testing.assert_allclose(viewer.layers[MARKS].translate, shown.field.translate)


def test_a_click_on_nothing_drops_the_choice_and_the_marks(viewer, shown, qtbot):
    scatter = shown.maps.maps[0]
    lasso(scatter, qtbot, [0])
    qtbot.mouseClick(scatter, Qt.MouseButton.LeftButton, pos=QPointF(2, 2).toPoint())
    assert len(scatter.chosen) == 0
    assert MARKS not in names(viewer)
    assert shown.chosen_text.text() == "No cell is chosen."


def test_a_click_on_a_cell_marks_its_point_and_shift_adds(viewer, shown, smear):
    ids = smear.masks.cell_id.tolist()
    shown._picked(shown.field, ids[0], False)
    assert shown.maps.maps[0].chosen.tolist() == [0]
    shown._picked(shown.field, ids[1], True)
    assert shown.maps.maps[0].chosen.tolist() == [0, 1]
    shown._picked(shown.field, ids[0], True)
    assert shown.maps.maps[0].chosen.tolist() == [1]


def test_the_viewer_tells_which_cell_is_clicked_on(viewer, shown, smear, qtbot):
    canvas = viewer.window._qt_viewer.canvas
    x0, y0, x1, y1 = smear.masks.boxes_xyxy[0]
    rows, columns = np.nonzero(smear.masks.labels[y0:y1, x0:x1] == smear.masks.cell_id[0])
    middle = len(rows) // 2
    world = shown.field.data_to_world((y0 + rows[middle], x0 + columns[middle]))
    place = canvas._scene_canvas  # the real event path: press and release on the canvas
    position = canvas.view.scene.transform.map([world[1], world[0], 0, 1])[:2]
    place.events.mouse_press(pos=position, button=1)
    place.events.mouse_release(pos=position, button=1)
    assert shown.maps.maps[0].chosen.tolist() == [0]
    assert MARKS in names(viewer)


def test_several_images_share_one_map(viewer, panel, add_field, press_run, smear, qtbot):
    add_field("one")
    second = add_field("two", shift=12.0)
    press_run(panel)
    assert len(panel.rows) == 2 * len(smear.masks)
    panel.colour.value = "image"
    assert "one" in panel.maps.legend.text()
    assert "two" in panel.maps.legend.text()
    rows = panel.rows.rows_of(second, int(smear.masks.cell_id[0]))
    assert panel.rows.embedded.field[rows].tolist() == [1]
    qtbot.waitUntil(lambda: "are given to their lab" in panel.figures.text(), timeout=30_000)


def test_raw_against_invariant_are_two_maps_with_one_choice(viewer, panel, add_field, press_run, qtbot):
    import torch  # noqa: F401 (on a busy machine its import alone outlasts the wait)

    add_field("one")
    add_field("two", shift=12.0)
    panel.other.setCurrentIndex(1)
    press_run(panel)
    first, second = panel.maps.maps
    assert second.isVisible()
    assert len(first.places()) == len(second.places())
    assert "stains made alike" in panel.maps.titles[1].text()
    lasso(second, qtbot, [0])
    np.testing.assert_array_equal(first.chosen, second.chosen)
    qtbot.waitUntil(lambda: panel.figures.text().count("given to their lab") == 2, timeout=30_000)


def test_any_number_of_the_table_colours_the_points(shown):
    shown.colour.value = "area_um2"
    assert "area um2: " in shown.maps.legend.text()
    assert len(set(shown.maps.legend.ramp)) > 10
    assert len(set(shown.maps.maps[0]._colours)) > 1


def test_a_class_given_elsewhere_shows_at_once(viewer, shown, qtbot):
    features = shown.field.features.copy()
    features["cell_type"] = "basophil"
    shown.field.features = features
    basophil = shown.rows.class_colours()["basophil"]
    assert set(shown.maps.maps[0]._colours) == {basophil}
    assert shown.maps.legend.entries == [(basophil, f"basophil {len(shown.rows)}")]


def test_a_legend_breaks_its_lines_between_entries_and_is_as_high_as_they_need(qtbot):
    legend = Legend()
    qtbot.addWidget(legend)
    legend.show_entries([("#0072B2", f"neutrophil segmented {n}") for n in range(5)])
    legend.resize(2000, 20)
    one_line = legend.minimumSizeHint().height()
    legend.resize(300, 20)
    assert legend.minimumSizeHint().height() == 5 * one_line
    assert {x for x, _ in legend._places(300)} == {0}


def test_a_persons_own_labels_are_embedded_too(viewer, panel, smear, press_run):
    viewer.add_image(smear.image.pixels, name="field")
    viewer.add_labels(smear.masks.labels * 7, name="mine")
    press_run(panel)
    assert len(panel.rows) == len(smear.masks)
    assert set(panel.rows.classes()) == {"unidentified"}


def test_vectors_go_to_a_table(shown, click, wait, tmp_path, smear):
    shown.ask_save = lambda: tmp_path / "cells.csv"
    click(shown.save_button)
    wait(shown)
    table = pd.read_csv(tmp_path / "cells.csv")
    assert list(table.columns[:5]) == ["image", "cell_type", "cell_id", "map1_1", "map1_2"]
    assert len(table) == len(smear.masks)
    assert str(tmp_path) in shown.task.message.text()


def test_labels_without_an_image_are_refused_in_the_panel(viewer, panel, click):
    viewer.add_labels(np.eye(20, dtype=int), name="alone")
    panel.cells.item(0).setCheckState(Qt.CheckState.Checked)
    click(panel.task.run_button)
    assert not panel.task.busy
    assert "No open image is as large as the outlines alone (20 x 20 px)" in panel.task.message.text()


def test_nothing_ticked_is_refused(viewer, panel, add_field, click):
    add_field()
    panel.cells.item(0).setCheckState(Qt.CheckState.Unchecked)
    click(panel.task.run_button)
    assert "No outlines are ticked" in panel.task.message.text()


def test_other_layers_are_no_outlines(viewer, panel):
    viewer.add_points([[1, 1]])
    viewer.add_image(np.zeros((9, 9, 3), np.uint8))
    assert panel.cells.count() == 0
    assert not panel.task.run_button.isEnabled()


def test_cancel_and_errors_leave_everything_as_it_was(viewer, panel, add_field, click, wait, qtbot):
    add_field()
    before, started = names(viewer), threading.Event()

    def endless(fields, ways, how, progress):
        started.set()
        for done in range(100_000):
            progress("pretending", done, 100_000)
            time.sleep(0.005)

    panel.embed = endless
    click(panel.task.run_button)
    qtbot.waitUntil(started.is_set)
    click(panel.task.cancel_button)
    wait(panel)
    assert panel.task.message.text().startswith("Cancelled")

    def refuse(*_):
        raise BloodcellError("Not like this. Do that.")

    panel.embed = refuse
    click(panel.task.run_button)
    wait(panel)
    assert panel.task.message.text() == "Not like this. Do that."
    assert names(viewer) == before
    assert not panel.maps.isVisible()


def test_a_cancelled_map_leaves_the_panel_free_at_once(panel, add_field, click, deaf, qtbot, press_run):
    add_field()
    real, panel.embed = panel.embed, deaf.call
    click(panel.task.run_button)
    qtbot.waitUntil(deaf.begun.is_set)
    click(panel.task.cancel_button)
    assert panel.task.run_button.isEnabled()
    deaf.end()
    assert panel.rows is None
    assert panel.task.message.text() == "Cancelled."
    panel.embed = real
    press_run(panel)
    assert panel.rows is not None


def test_outlines_removed_in_the_middle_are_no_trouble(viewer, panel, add_field, click, wait):
    add_field()
    click(panel.task.run_button)
    viewer.layers.clear()
    wait(panel)
    assert names(viewer) == []
    assert "gone from the viewer" in panel.task.message.text()


def test_outlines_removed_afterwards_take_the_map_with_them(viewer, shown):
    viewer.layers.remove(shown.field)
    assert shown.rows is None
    assert not shown.maps.isVisible()


def test_layers_renamed_and_moved_keep_their_points(viewer, shown, qtbot):
    shown.field.name = "renamed"
    viewer.layers.move(len(viewer.layers) - 1, 0)
    lasso(shown.maps.maps[0], qtbot, [0])
    assert MARKS in names(viewer)


def test_a_panel_closed_leaves_no_marks_and_no_callback(viewer, shown, qtbot):
    lasso(shown.maps.maps[0], qtbot, [0])
    shown.parentWidget().destroyOnClose()
    qtbot.waitUntil(lambda: under_way() == 0, timeout=30_000)
    qtbot.wait(50)
    assert MARKS not in names(viewer)
    assert not [one for one in viewer.mouse_drag_callbacks if "CellPicker" in repr(one)]


def test_ten_thousand_points_are_drawn_and_searched_quickly(qtbot):
    from napari_bloodcell.gui.scatter import Scatter

    scatter = Scatter("")
    qtbot.addWidget(scatter)
    scatter.resize(400, 400)
    dice = np.random.default_rng(0)
    scatter.show_points(dice.normal(size=(10_000, 2)), ["#112233", "#445566"] * 5_000)
    best = {"draw": 9.0, "lasso": 9.0}
    turns = np.linspace(0, 2 * np.pi, 100)
    loop = 200 + 100 * np.column_stack([np.cos(turns), np.sin(turns)])
    for _ in range(3):
        scatter._changed()
        begin = time.process_time()
        scatter.grab()
        drawn = time.process_time()
        rows = scatter._within(loop)
        best = {
            "draw": min(best["draw"], drawn - begin),
            "lasso": min(best["lasso"], time.process_time() - drawn),
        }
    far = np.hypot(*(scatter.places() - 200).T)
    assert set(np.flatnonzero(far < 99)) <= set(rows) <= set(np.flatnonzero(far < 100))
    assert max(best.values()) < 0.1, best


def test_texts_on_a_map_do_not_cover_each_other_and_are_not_cut():
    from napari_bloodcell.gui.scatter import beside

    dice = np.random.default_rng(1)
    points = dice.uniform(0, 300, (40, 2))
    sizes = [(60, 14)] * 40
    boxes = [one for one in beside(points, sizes, (300, 300)) if one is not None]
    assert len(boxes) > 15
    for at, (left, top) in enumerate(boxes):
        assert 0 <= left <= 240
        assert 0 <= top <= 286
        assert not [1 for x, y in boxes[:at] if abs(x - left) < 60 and abs(y - top) < 14]
    assert beside(np.array([[10.0, 50.0]]), [(60, 14)], (300, 300)) == [(18.0, 43.0)]


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_panel_fits_a_small_screen_in_both_themes(viewer, shown, theme):
    viewer.theme = theme
    assert viewer.window._qt_window.height() <= 768
    assert shown.widget().width() <= shown.viewport().width()


def test_cells_deleted_since_are_told_and_not_saved(viewer, panel, shown):
    cells = panel.rows.layers()[0]
    assert panel.save_button.isEnabled()
    cells.features = cells.features.iloc[1:].reset_index(drop=True)
    assert panel.task.message.text() == "1 cell of the map deleted since: press Embed again."
    assert not panel.save_button.isEnabled()
