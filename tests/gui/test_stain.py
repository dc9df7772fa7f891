"""The panel "Stain preview" in the real napari, pressed like a person would, with the real stains."""

import itertools
import json
import re
import threading
import time

import numpy as np
import pytest
from pace import slowness

from napari_bloodcell.core.errors import BloodcellError
from napari_bloodcell.gui.stain import StainPreview
from napari_bloodcell.gui.stain_layers import changed_of
from napari_bloodcell.gui.task import under_way

pytestmark = pytest.mark.gui
LABS = 5


@pytest.fixture
def panel(open_panel):
    return open_panel("Stain preview")


@pytest.fixture
def ready(panel, add_smear, qtbot):
    """The panel with a smear, and the known labs listed."""
    image = add_smear()
    qtbot.waitUntil(lambda: panel.stains.count() == LABS + 1, timeout=60_000)
    panel.picture = image
    return panel


def names(viewer):
    return [layer.name for layer in viewer.layers]


def choose(panel, text):
    panel.stains.setCurrentIndex(panel.stains.findText(text))


def settle(panel, qtbot):
    qtbot.waitUntil(lambda: not panel.live.busy, timeout=30_000)


def test_an_empty_viewer_stays_empty_and_nothing_can_be_pressed(viewer, panel):
    assert names(viewer) == []
    assert panel.empty.isVisible()
    for button in (panel.task.run_button, panel.separate_button, panel.survival.try_button, panel.another):
        assert not button.isEnabled()


def test_opening_takes_well_under_a_second(viewer):
    begin = time.perf_counter()
    StainPreview(viewer).deleteLater()
    assert time.perf_counter() - begin < 0.7


def test_a_preview_is_a_layer_of_ours_and_the_image_stays(viewer, ready, press_run):
    before = ready.picture.data.copy()
    choose(ready, "Wright on cream (synthetic)")
    press_run(ready)
    assert names(viewer) == ["smear", "stain preview"]
    shown = viewer.layers["stain preview"]
    assert not np.array_equal(shown.data, before)
    np.testing.assert_array_equal(ready.picture.data, before)
    np.testing.assert_allclose(shown.scale, ready.picture.scale)
    assert ready.task.message.text() == "smear in the stain of Wright on cream (synthetic), 100 %."
    assert list(ready.image.choices) == [ready.picture]  # a preview is no smear to preview


def test_the_preview_is_what_the_core_gives(viewer, ready, press_run, smear):
    from napari_bloodcell.core.stain.preview import known_labs
    from napari_bloodcell.core.stain.transfer import transfer

    press_run(ready)
    wanted = transfer(smear.image.pixels, known_labs()[0])
    np.testing.assert_array_equal(viewer.layers["stain preview"].data, wanted)


def test_the_slider_moves_the_picture_at_once(viewer, ready, press_run, qtbot):
    press_run(ready)
    ready.strength.setValue(0)
    settle(ready, qtbot)
    shown = viewer.layers["stain preview"].data.astype(int)
    assert np.abs(shown - ready.picture.data).max() <= 1
    assert ready.task.message.text().endswith("0 %.")
    taken = []
    for value in (30, 60, 90):
        begin = time.process_time()  # other programs on the machine do not count
        ready.strength.setValue(value)
        settle(ready, qtbot)
        taken.append(time.process_time() - begin)
    assert min(taken) < 0.1 * slowness()


def test_a_slider_dragged_fast_ends_where_it_was_let_go(viewer, ready, press_run, qtbot):
    press_run(ready)
    full = viewer.layers["stain preview"].data.copy()
    for value in range(0, 101, 4):
        ready.strength.setValue(value)
    settle(ready, qtbot)
    np.testing.assert_array_equal(viewer.layers["stain preview"].data, full)


def test_other_stains_random_ones_and_images_follow_without_a_press(viewer, ready, press_run, qtbot, click):
    press_run(ready)
    seen = [viewer.layers["stain preview"].data.copy()]
    choose(ready, "Leishman on pink (synthetic)")
    settle(ready, qtbot)
    seen.append(viewer.layers["stain preview"].data.copy())
    for _ in range(2):
        click(ready.another)
        settle(ready, qtbot)
        seen.append(viewer.layers["stain preview"].data.copy())
    viewer.add_image(seen[1], name="other")
    choose(ready, "Image: other")
    settle(ready, qtbot)
    seen.append(viewer.layers["stain preview"].data.copy())
    for one, next_one in itertools.pairwise(seen):
        assert not np.array_equal(one, next_one)


def test_side_by_side_and_back(viewer, ready, press_run):
    press_run(ready)
    shown = viewer.layers["stain preview"]
    ready.beside.setChecked(True)
    assert shown.extent.world[0][1] > ready.picture.extent.world[1][1]
    ready.over.setChecked(True)
    np.testing.assert_allclose(shown.extent.world, ready.picture.extent.world, atol=1e-6)


def test_a_large_image_is_shown_smaller_in_its_place(viewer, panel, smear, qtbot, press_run):
    big = np.tile(smear.image.pixels, (4, 4, 1))
    image = viewer.add_image(big, name="big", scale=(0.1, 0.1), translate=(5, 7))
    qtbot.waitUntil(lambda: panel.stains.count() == LABS + 1, timeout=60_000)
    press_run(panel)
    shown = viewer.layers["stain preview"]
    assert shown.data.shape[0] * 2 == big.shape[0]
    np.testing.assert_allclose(shown.extent.world[0], image.extent.world[0], atol=0.11)
    assert "Shown at 1/2 of its resolution" in panel.task.message.text()


@pytest.mark.parametrize("kind", ["dask", "multiscale", "stack"])
def test_other_kinds_of_images(viewer, panel, smear, qtbot, press_run, kind):
    import dask.array as da

    pixels = smear.image.pixels
    data = {"dask": da.from_array(pixels), "multiscale": [pixels, pixels[::2, ::2]], "stack": pixels[None]}[
        kind
    ]
    viewer.add_image(data, rgb=True, name="odd", translate=(3, 4) if kind != "stack" else (0, 3, 4))
    qtbot.waitUntil(lambda: panel.stains.count() == LABS + 1, timeout=60_000)
    press_run(panel)
    shown = viewer.layers["stain preview"]
    assert shown.data.shape[-3:] == pixels.shape
    np.testing.assert_allclose(shown.translate[-2:], (3, 4))


def test_the_stains_come_apart_each_in_its_layer(viewer, ready, click, wait):
    click(ready.separate_button)
    wait(ready)
    assert names(viewer) == ["smear", "cytoplasmic stain", "nuclear stain"]
    nuclear = viewer.layers["nuclear stain"].data
    assert nuclear.shape == ready.picture.data.shape[:2]
    assert (nuclear >= 0).all()
    assert nuclear.max() > 0
    assert list(ready.image.choices) == [ready.picture]


def test_a_profile_goes_to_a_file_and_comes_back_as_a_stain(viewer, ready, click, wait, tmp_path):
    target = tmp_path / "mine.json"
    ready.ask_save = lambda: target
    click(ready.save_button)
    wait(ready)
    assert "no picture" in ready.task.message.text()
    assert json.loads(target.read_text())["name"] == "smear"
    ready.ask_open = lambda: target
    ready._load_profile()
    wait(ready)
    assert ready.stains.text == "smear"


def test_a_file_that_is_no_profile_is_refused_in_the_panel(viewer, ready, tmp_path, wait):
    odd = tmp_path / "odd.json"
    odd.write_text("{}")
    ready.ask_open = lambda: odd
    ready._load_profile()
    wait(ready)
    assert "odd.json" in ready.task.message.text()
    assert ready.stains.count() == LABS + 1


def test_the_map_shows_images_and_labs_and_says_what_is_near(viewer, ready, click, wait):
    ready.map_section.expand(animate=False)
    ready.map.measure_button.click()
    wait(ready)
    assert len(ready.map.points.places()) == 1 + LABS
    assert ready.map.nearest.text().startswith("smear is nearest to ")


def test_what_survives_is_said_and_what_changes_is_marked(viewer, ready, click, wait, qtbot):
    click(ready.survival.try_button)
    wait(ready)
    assert ready.survival.verdict.isVisible()
    assert re.search(
        r"\d of 4 cells keeps? outline and class under all 5 stains\.", ready.survival.verdict.text()
    )
    assert ready.task.message.text() == "Tried smear under 5 stains."
    if "changed cells" in names(viewer):
        marked = viewer.layers["changed cells"]
        assert set(np.unique(marked.data)) - {0} == set(marked.features["label"])
        assert list(ready.image.choices) == [ready.picture]


def test_no_ticked_stain_is_refused_before_anything_runs(ready, click):
    from qtpy.QtCore import Qt

    for row in range(ready.survival.ticks.count()):
        ready.survival.ticks.item(row).setCheckState(Qt.CheckState.Unchecked)
    click(ready.survival.try_button)
    assert not ready.task.busy
    assert "No stain is ticked" in ready.task.message.text()


def test_changed_cells_are_told_by_what_they_lose():
    from types import SimpleNamespace

    result = SimpleNamespace(
        kept_outline=np.array([[True, True], [True, False], [True, True]]),
        same_class=np.array([[True, True], [True, False], [False, True]]),
        analysis=SimpleNamespace(
            masks=SimpleNamespace(cell_id=np.array([3, 5, 9])),
            predictions=SimpleNamespace(labels=np.array(["a", "b", "c"])),
        ),
        stability=lambda: np.array([1.0, 0.4, 0.5]),
    )
    table = changed_of(result)
    assert table["label"].tolist() == [5, 9]
    assert table["changes"].tolist() == ["outline", "class"]


def test_an_error_of_the_core_shows_and_adds_nothing(viewer, ready, press_run):
    def refuse(*_):
        raise BloodcellError("No stain here. Choose another image.")

    ready.preview_call = refuse
    press_run(ready)
    assert ready.task.message.text() == "No stain here. Choose another image."
    assert names(viewer) == ["smear"]


def test_cancel_leaves_everything_as_it_was(viewer, ready, click, wait, qtbot):
    started = threading.Event()

    def endless(picture, sources, how, progress):
        started.set()
        for done in range(100_000):
            progress("pretending", done, 100_000)
            time.sleep(0.005)

    ready.try_call = endless
    click(ready.survival.try_button)
    qtbot.waitUntil(started.is_set)
    click(ready.task.cancel_button)
    wait(ready)
    assert ready.task.message.text().startswith("Cancelled")
    assert names(viewer) == ["smear"]


def test_a_cancelled_preview_leaves_the_panel_free_at_once(viewer, ready, click, deaf, qtbot, press_run):
    real, ready.preview_call = ready.preview_call, deaf.call
    click(ready.task.run_button)
    qtbot.waitUntil(deaf.begun.is_set)
    click(ready.task.cancel_button)
    assert ready.task.run_button.isEnabled()
    assert ready.separate_button.isEnabled()
    deaf.end()
    assert names(viewer) == ["smear"]
    assert ready.task.message.text() == "Cancelled."
    ready.preview_call = real
    press_run(ready)
    assert len(names(viewer)) == 2


def test_a_cancelled_trial_of_stains_leaves_the_panel_free_at_once(viewer, ready, click, deaf, qtbot):
    ready.try_call = deaf.call
    click(ready.survival.try_button)
    qtbot.waitUntil(deaf.begun.is_set)
    click(ready.task.cancel_button)
    assert ready.survival.try_button.isEnabled()
    deaf.end()
    assert names(viewer) == ["smear"]


def test_an_image_removed_in_the_middle_gets_no_preview(viewer, ready, click, wait):
    click(ready.task.run_button)
    viewer.layers.clear()
    wait(ready)
    assert names(viewer) == []
    assert "gone from the viewer" in ready.task.message.text()


def test_a_preview_deleted_by_the_person_does_not_come_back_by_itself(viewer, ready, press_run, qtbot):
    press_run(ready)
    viewer.layers.remove("stain preview")
    ready.strength.setValue(20)
    settle(ready, qtbot)
    assert names(viewer) == ["smear"]
    press_run(ready)
    assert names(viewer) == ["smear", "stain preview"]


def test_layers_renamed_and_moved_while_the_slider_moves(viewer, ready, press_run, qtbot):
    press_run(ready)
    viewer.layers["stain preview"].name = "mine"
    viewer.layers.move(1, 0)
    ready.strength.setValue(10)
    settle(ready, qtbot)
    assert names(viewer) == ["mine", "smear"]
    assert ready.task.message.text().endswith("10 %.")


def test_a_panel_closed_while_running_ends_quietly(viewer, ready, click, qtbot):
    click(ready.survival.try_button)
    ready.parentWidget().destroyOnClose()
    qtbot.waitUntil(lambda: under_way() == 0, timeout=60_000)
    qtbot.wait(50)
    assert "changed cells" not in names(viewer)


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_panel_fits_a_small_screen_in_both_themes(viewer, ready, theme, press_run):
    viewer.theme = theme
    press_run(ready)
    assert viewer.window._qt_window.height() <= 768
    assert ready.widget().width() <= ready.viewport().width()


def test_everything_to_press_says_what_it_does(panel):
    from qtpy.QtWidgets import QAbstractButton, QComboBox, QSlider

    silent = [
        one
        for kind in (QAbstractButton, QComboBox, QSlider)
        for one in panel.findChildren(kind)
        if not one.toolTip() and one.parent() is not panel.task and not one.objectName().startswith("qt_")
    ]
    texts = [one.text() for one in silent if hasattr(one, "text")]
    assert [text for text in texts if text and text[0] not in "▾▸" and text != "Help"] == []
