"""The panel "Train" in the real napari: real data, real trainings of a few steps."""

from dataclasses import replace
from threading import Event
from types import SimpleNamespace

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_bloodcell.core.bundle.kept import kept_bundles
from napari_bloodcell.gui.outlines import outlined
from napari_bloodcell.gui.task import under_way

pytestmark = pytest.mark.gui


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("BLOODCELL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def panel(open_panel):
    return open_panel("Train")


@pytest.fixture
def quick(panel):
    """The smallest training of an adapter that the form allows."""
    panel.form("adapter").widget("masks.size_px").value = 32
    panel.form("adapter").widget("masks.batch").value = 2
    panel.form("adapter").widget("masks.steps_per_epoch").value = 1
    panel.form("adapter").widget("masks.held_out").value = 0.5
    panel.form("training").widget("device").value = "cpu"

    def epochs(number):
        panel.form("training").widget("epochs").value = number

    epochs(2)
    return epochs


@pytest.fixture
def do(qtbot, click, wait, press_run):
    """The hands: click, wait for a panel's task, run a panel, wait until something is so."""
    return SimpleNamespace(
        click=click, wait=wait, run=press_run, until=lambda so: qtbot.waitUntil(so, timeout=60_000)
    )


@pytest.fixture
def out(panel, tmp_path):
    panel.out.value = tmp_path / "out"
    return tmp_path / "out"


def test_opened_on_nothing_it_adds_nothing_and_says_what_to_do(viewer, panel):
    assert len(viewer.layers) == 0
    assert not panel.task.run_button.isEnabled()
    assert not panel.check_button.isEnabled()
    assert "Add a folder" in panel.data.nothing.text()
    assert panel.data.nothing.isVisible()


def test_each_method_shows_the_settings_of_its_config_and_no_others(panel, do):
    shown = {}
    for key in ("adapter", "bcsam", "dorl", "sada"):
        panel.method_box.value = key
        shown[key] = list(panel._forms[key])
        assert panel._holders[key].isVisible()
        assert sum(holder.isVisible() for holder in panel._holders.values()) == 1
    assert shown["sada"] == ["sada", "backbone", "training"]
    assert not panel.sam_row.isVisible()
    assert panel.leave_out.isVisible()
    panel.preset.value = "laptop"
    assert panel.form("backbone").get().backbone == "small"
    panel.preset.value = "published"
    assert panel.form("backbone").get().backbone == "resnet50"


def test_the_settings_are_those_of_the_command_line(panel):
    from napari_bloodcell import cli_train

    for key, names in (("adapter", ("adapter",)), ("bcsam", ("bcsam",)), ("dorl", ("dorl",))):
        panel.method_box.value = key
        assert panel.form("training").get() == getattr(cli_train, f"{key.upper()}_TRAINING")
        assert [type(panel.form(name).get())() for name in names] == [
            panel.form(name).get() for name in names
        ]


def test_memory_is_told_before_anything_is_trained(panel, quick, counted, do, out):
    do.click(panel.check_button)
    do.wait(panel)
    assert "cells to train on" in panel.told.text()
    assert "Needs " in panel.told.text()
    assert "GiB are free" in panel.told.text()
    assert not out.exists()


def test_corrected_outlines_train_an_adapter_that_other_panels_then_offer(  # noqa: PLR0917
    viewer, panel, quick, counted, tmp_path, open_panel, do
):
    panel.out.value = tmp_path / "mine"
    do.run(panel)
    assert panel.trained is not None, panel.task.message.text()
    assert len(panel.curves.losses()) == len(panel.curves.scores()) == 2
    assert panel.result.isVisible()
    assert "cell IoU" in panel.result.words.text()
    assert panel.result.report.full is not None
    assert (tmp_path / "mine" / "adapter.json").is_file()
    do.click(panel.result.keep_button)
    do.wait(panel)
    (file,) = kept_bundles()
    assert file.name == "mine.bloodcell"
    for name in ("Count cells", "Segment cells"):
        other = open_panel(name)
        other.model.box.opening.emit()
        assert other.model.box.findData(str(file)) >= 0
    segment = other
    segment.image.value = viewer.layers["smear"]
    segment.model.choose(file)
    do.until(lambda: segment.task.run_button.isEnabled())
    before = len(viewer.layers)
    do.run(segment)
    assert len(viewer.layers) == before + 2, segment.task.message.text()


def test_stop_keeps_the_best_and_train_goes_on(panel, quick, counted, do, out):
    quick(200)
    do.click(panel.task.run_button)
    do.until(lambda: len(panel.curves.epochs) >= 2)
    do.click(panel.task.cancel_button)
    do.wait(panel)
    assert panel.task.message.text().startswith("Stopped.")
    assert "Stopped by you" in panel.result.words.text()
    done = len(panel.trained.run.history)
    assert 2 <= done < 200
    do.click(panel.task.run_button)
    do.until(lambda: len(panel.curves.epochs) > done)
    do.click(panel.task.cancel_button)
    do.wait(panel)
    history = panel.trained.run.history
    assert [one.number for one in history] == list(range(1, len(history) + 1))
    assert len(history) > done


def test_a_refused_press_leaves_the_result_that_is_there(panel, quick, counted, do, out):
    quick(2)
    do.click(panel.task.run_button)
    do.wait(panel)
    trained = panel.trained
    quick(3)
    do.click(panel.task.run_button)
    do.wait(panel)
    assert "other settings" in panel.task.message.text()
    assert panel.trained is trained
    assert panel.result.isVisible()
    assert panel.result.keep_button.isEnabled()
    assert len(panel.curves.epochs) == 2


def test_discard_asks_and_removes_only_what_the_training_made(panel, quick, counted, tmp_path, do):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    (out / "README.md").write_text("mine too")
    panel.out.value = out
    do.run(panel)
    panel.ask_sure = lambda _folder: False
    do.click(panel.result.discard_button)
    assert (out / "adapter.json").is_file()
    panel.ask_sure = lambda _folder: True
    do.click(panel.result.discard_button)
    do.wait(panel)
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "notes.txt"]
    assert not panel.result.isVisible()


def test_stopped_while_it_loads_the_panel_is_free_at_once_and_keeps_what_it_had(
    panel, quick, counted, do, out
):
    do.run(panel)
    trained, gate = panel.trained, Event()

    def loads(_wanted, watch, tell, progress):
        progress("Loading", 0, 0)
        gate.wait(60)
        watch(replace(trained.run.history[0], number=9))
        tell("nobody should read this")

    panel.train = loads
    do.click(panel.task.run_button)
    do.until(lambda: panel.task.message.text() == "Loading …")
    do.click(panel.task.cancel_button)
    assert panel.task.run_button.isEnabled()
    assert panel.trained is trained
    assert panel.result.keep_button.isEnabled()
    told = panel.told.text()
    gate.set()
    do.until(lambda: under_way() == 0)
    do.until(lambda: panel.task.message.text() == "Cancelled.")
    assert panel.told.text() == told
    assert len(panel.curves.epochs) == 2


def test_a_check_that_is_cancelled_leaves_the_panel_free_at_once(panel, quick, counted, do, out, deaf):
    panel.check = deaf.call
    do.click(panel.check_button)
    do.until(deaf.begun.is_set)
    do.click(panel.task.cancel_button)
    assert panel.check_button.isEnabled()
    deaf.end()
    assert panel.told.text() == ""


def test_stopped_before_the_first_epoch_nothing_stays(panel, counted, do, out):
    panel.form("adapter").widget("masks.size_px").value = 64
    panel.form("adapter").widget("masks.held_out").value = 0.5
    panel.form("adapter").widget("masks.steps_per_epoch").value = 5000
    do.click(panel.task.run_button)
    do.until(lambda: "Epoch 1" in panel.task.message.text())
    do.click(panel.task.cancel_button)
    do.wait(panel)
    assert panel.trained is None
    assert not out.exists()


def test_outlines_that_a_person_corrected_are_told_and_ticked_first(viewer, panel, counted, add_counted, do):
    from napari_bloodcell.gui.corrections import corrections_of

    other = add_counted("other", turned=True)

    def rows():
        return [panel.data.list.item(row).text() for row in range(panel.data.list.count())]

    do.until(lambda: rows() == ["smear cells: not corrected", "other cells: not corrected"])
    assert panel.data.ticked() == [counted, other]
    assert panel.data.uncorrected.isVisible()
    other.brush_size = 3
    other.paint((3, 3), 500)
    do.until(lambda: rows()[1] == "other cells: 1 outline by hand")
    assert panel.data.ticked() == [other]
    assert not panel.data.uncorrected.isVisible()
    panel.data.list.item(0).setCheckState(Qt.CheckState.Checked)  # a person wants it all the same
    assert panel.data.uncorrected.isVisible()
    corrections_of(viewer, other).undo()
    do.until(lambda: rows()[1] == "other cells: not corrected")
    corrections_of(viewer, other).redo()
    do.until(lambda: rows()[1] == "other cells: 1 outline by hand")
    assert panel.data.ticked() == [counted, other]


def test_what_was_corrected_is_known_after_the_session_is_opened_again(
    viewer, panel, counted, open_panel, do, tmp_path
):
    from napari_bloodcell.core.session import read_session
    from napari_bloodcell.gui import autosave, by_hand

    session = open_panel("Session")
    session.ask_folder = lambda: tmp_path / "session"
    do.click(session.task.run_button)
    do.until(lambda: autosave.session_of(counted)[0] is not None and not session.task.busy)
    counted.brush_size = 3
    counted.paint((3, 3), 500)
    do.until(lambda: 500 in by_hand.by_hand(counted))
    corrected = by_hand.by_hand(counted)
    do.click(session.close_button)
    viewer.layers.clear()
    do.click(session.task.run_button)
    do.until(lambda: "smear cells" in viewer.layers and not session.task.busy)
    assert by_hand.by_hand(viewer.layers["smear cells"]) == corrected
    (found,) = by_hand.said_in(read_session(tmp_path / "session").trail.events).values()
    assert found == {"by_hand": corrected}  # as older sessions, which do not keep it, say it
    for one in autosave.opened():
        one.close()


def test_the_layer_may_go_in_the_middle(viewer, panel, quick, counted, do, out):
    do.click(panel.task.run_button)
    viewer.layers.clear()
    do.wait(panel)
    assert panel.trained is not None, panel.task.message.text()
    assert not panel.task.run_button.isEnabled()  # nothing is ticked any more


def test_a_closed_panel_stops_its_training(viewer, panel, quick, counted, do, out):
    from napari_bloodcell.core.training import read_history
    from napari_bloodcell.gui.task import under_way

    quick(5000)
    do.click(panel.task.run_button)
    do.until(lambda: len(panel.curves.epochs) >= 1)
    viewer.window.remove_dock_widget(panel.parentWidget())
    do.until(lambda: under_way() == 0)
    assert 1 <= len(read_history(out / "run")) < 5000
    assert (out / "adapter.json").is_file()


def test_labels_without_their_image_are_refused_by_name(viewer, panel, tmp_path, do):
    viewer.add_labels(np.eye(40, dtype=np.int32), name="lonely")
    assert panel.data.ticked() == []
    viewer.add_points(np.zeros((1, 2)))
    assert panel.data.list.count() == 1  # points hold no outlines
    panel.data.list.item(0).setCheckState(Qt.CheckState.Checked)
    do.click(panel.task.run_button)
    assert "No open image is as large as the outlines lonely" in panel.task.message.text()
    assert not panel.task.busy


def test_a_folder_without_cells_is_told_and_leaves_nothing(panel, tmp_path, do, out):
    (tmp_path / "empty").mkdir()
    panel.data.add_folder(tmp_path / "empty")
    do.run(panel)
    assert panel.task.message.text().strip()
    assert "should not happen" not in panel.task.message.text()
    assert not out.exists()


def test_a_method_of_several_labs_takes_one_folder(panel, tmp_path, do):
    for name in "ab":
        (tmp_path / name).mkdir()
        panel.data.add_folder(tmp_path / name)
    panel.method_box.value = "sada"
    do.click(panel.task.run_button)
    assert "takes one folder" in panel.task.message.text()
    assert "Ticked: 2" in panel.task.message.text()


def test_another_panel_takes_up_a_training_that_was_begun(panel, quick, counted, tmp_path, do, out):
    do.run(panel)
    panel.form("adapter").widget("masks.size_px").value = 64
    panel.out.value = None
    panel.ask_folder = lambda: out
    do.click(panel.go_on_button)
    do.wait(panel)
    assert panel.out.value == out
    assert panel.form("adapter").widget("masks.size_px").value == 32
    assert panel.task.message.text().startswith("2 of 2 epochs are done.")
    panel.ask_folder = lambda: tmp_path
    do.click(panel.go_on_button)
    do.wait(panel)
    assert "holds no training begun here" in panel.task.message.text()


def test_the_panel_trains_to_the_same_adapter_as_a_script(viewer, panel, quick, counted, tmp_path, do):
    from napari_bloodcell.core.finetune import from_labels, train_adapter

    cells = outlined(counted, viewer)
    panel.out.value = tmp_path / "panel"
    do.run(panel)
    image, masks = cells.read()
    picture = from_labels(image.pixels, masks.labels, masks.nucleus.astype("uint8"), name=cells.picture.name)
    config, loop = panel.form("adapter").get(), panel.form("training").get()
    done = train_adapter([picture], "nano", tmp_path / "script", config, loop)
    assert done.training.figures == panel.trained.run.figures


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_both_themes(viewer, panel, theme):
    viewer.theme = theme
    assert panel.says.text()
    assert panel.minimumWidth() < 500


def test_the_panel_opens_without_torch(viewer):
    import subprocess
    import sys

    code = "import sys; import napari_bloodcell.gui.train; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split()[-1] == "False"
