"""The panel "Session" in the real napari: kept while one works, given back after a kill."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from napari_bloodcell.core.config import ReadConfig
from napari_bloodcell.core.report.sessions import read_work
from napari_bloodcell.core.session import Change, Session, SessionCells, read_session
from napari_bloodcell.gui import autosave, classes, layers
from napari_bloodcell.gui.autosave import changed_outlines

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("no_session_stays_open")]


@pytest.fixture
def panel(open_panel, tmp_path):
    panel = open_panel("Session")
    panel.reader.setText("ada")
    panel.ask_folder = lambda: tmp_path / "session"
    return panel


@pytest.fixture
def kept(panel, counted, click, wait, qtbot):
    """An open session that holds the counted cells."""
    click(panel.task.run_button)
    qtbot.waitUntil(lambda: autosave.session_of(counted)[0] is not None, timeout=60_000)
    wait(panel)
    return panel


def actions(folder):
    return [event.action for event in read_session(folder).trail.events]


def settled(panel, qtbot, n):
    qtbot.waitUntil(lambda: len(panel.session.session.events) >= n, timeout=30_000)


def test_an_empty_viewer_stays_empty_and_says_what_is_lost(viewer, panel):
    assert len(viewer.layers) == 0
    assert "corrections are lost" in panel.state.text()
    assert panel.task.run_button.isEnabled()
    assert not panel.audit_button.isEnabled()


def test_cells_in_the_viewer_are_kept_with_their_image(kept, counted, tmp_path, qtbot):
    folder = tmp_path / "session"
    qtbot.waitUntil(lambda: "cells" in actions(folder), timeout=30_000)
    content = read_session(folder)
    (key,) = content.images
    np.testing.assert_array_equal(content.cells(key).labels, counted.data)
    assert content.cells(key).table["cell_type"].tolist() == classes.kinds(counted)
    assert content.cells(key).nucleus.any()
    assert content.image(key).pixels.shape == (320, 420, 3)


def test_a_correction_is_on_disk_within_a_second(viewer, kept, counted, tmp_path, qtbot):
    qtbot.waitUntil(lambda: "cells" in actions(tmp_path / "session"), timeout=30_000)
    cell, begin = int(classes.ids(counted)[0]), time.perf_counter()
    classes.give(viewer, {counted: [cell]}, "basophil", "ada")
    qtbot.waitUntil(lambda: actions(tmp_path / "session")[-1] == "classify", timeout=5_000)
    assert time.perf_counter() - begin < 1
    event = read_session(tmp_path / "session").trail.events[-1]
    assert (event.who, event.cell_id, event.new) == ("ada", cell, "basophil")


def test_strokes_of_the_brush_are_kept_cell_by_cell(viewer, kept, counted, tmp_path, qtbot):
    folder = tmp_path / "session"
    qtbot.waitUntil(lambda: "cells" in actions(folder), timeout=30_000)
    cell = int(classes.ids(counted)[0])
    y, x = np.argwhere(counted.data == cell)[-1]  # its lower rim: the upper one may lie at the image's edge
    counted.brush_size = 9
    counted.paint((y, x), cell)
    qtbot.waitUntil(lambda: actions(folder)[-2:] == ["outline", "cells"], timeout=10_000)
    content = read_session(folder)
    event = [e for e in content.trail.events if e.action == "outline"][-1]
    assert event.cell_id == cell
    assert event.new > event.old
    np.testing.assert_array_equal(content.cells(event.image).labels, counted.data)


def test_a_session_opens_with_everything_that_was_in_it(viewer, kept, counted, tmp_path, click, qtbot):
    cell = int(classes.ids(counted)[1])
    classes.give(viewer, {counted: [cell]}, "basophil", "ada")
    outlines, kinds = counted.data.copy(), classes.kinds(counted)
    click(kept.close_button)
    assert kept.session is None
    viewer.layers.clear()
    click(kept.task.run_button)
    qtbot.waitUntil(lambda: "smear cells" in [layer.name for layer in viewer.layers], timeout=60_000)
    qtbot.waitUntil(lambda: not kept.task.busy)
    assert [layer.name for layer in viewer.layers] == [
        "smear",
        "smear nuclei",
        "smear classes",
        "smear cells",
    ]
    again = viewer.layers["smear cells"]
    np.testing.assert_array_equal(again.data, outlines)
    assert classes.kinds(again) == kinds
    assert classes.is_by_person(again).sum() == 1
    np.testing.assert_allclose(again.scale, (0.1, 0.1))
    assert classes.classes_layer(viewer, again) is viewer.layers["smear classes"]
    classes.give(viewer, {again: [cell]}, "monocyte", "bo")  # and it goes on
    qtbot.waitUntil(lambda: actions(tmp_path / "session")[-1] == "classify", timeout=10_000)


def test_a_session_closed_while_its_layers_come_is_closed_and_the_layers_stay(
    viewer, kept, counted, tmp_path, click, qtbot
):
    click(kept.close_button)
    viewer.layers.clear()
    click(kept.task.run_button)
    qtbot.waitUntil(lambda: "smear nuclei" in [layer.name for layer in viewer.layers], timeout=60_000)
    assert kept.task.busy
    kept._close()  # the button can be pressed once the first of several images is kept
    told = actions(tmp_path / "session")
    qtbot.waitUntil(lambda: not kept.task.busy, timeout=30_000)
    assert kept.session is None
    assert kept.task.message.text() == "Closed. Everything is on disk."
    assert "smear cells" in [layer.name for layer in viewer.layers]
    classes.give(viewer, {viewer.layers["smear cells"]: [1]}, "monocyte", "bo")  # nobody keeps it now
    qtbot.wait(100)
    assert actions(tmp_path / "session") == told


def test_what_a_killed_program_kept_is_there(viewer, panel, tmp_path, click, wait, qtbot):
    program = textwrap.dedent("""
        import sys, time
        import numpy as np, pandas as pd
        from napari_bloodcell.core.image import read_image
        from napari_bloodcell.core.session import Change, Session, SessionCells
        session = Session(sys.argv[1], who="eve")
        labels = np.zeros((40, 50), np.int32); labels[5:15, 5:15] = 4
        key = session.add_image(read_image(np.full((40, 50, 3), 200, np.uint8), name="field"))
        table = pd.DataFrame({"label": [4], "cell_type": ["monocyte"], "cell_type_source": ["bundle nano"]})
        session.save_cells(key, SessionCells(labels=labels, nucleus=labels > 0, table=table, made_from={}))
        session.record([Change(action="classify", image=key, cell_id=4, old="monocyte", new="basophil",
                               note="person eve")])
        print("ready", flush=True); time.sleep(60)
    """)
    run = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "session")], stdout=subprocess.PIPE, cwd=tmp_path
    )
    assert run.stdout.readline() == b"ready\n"
    click(panel.task.run_button)
    wait(panel)
    assert "open already: eve on" in panel.task.message.text()
    run.send_signal(signal.SIGKILL)
    run.wait()
    run.stdout.close()
    with (tmp_path / "session" / "audit.jsonl").open("ab") as audit:
        audit.write(b'{"torn')
    click(panel.task.run_button)
    qtbot.waitUntil(lambda: "field cells" in [layer.name for layer in viewer.layers], timeout=60_000)
    wait(panel)
    assert classes.kinds(viewer.layers["field cells"]) == ["basophil"]
    assert "cut short by a crash" in panel.task.message.text()


def test_an_image_that_is_gone_is_named_and_the_rest_opens(viewer, panel, tmp_path, click, wait, smear):
    from PIL import Image

    from napari_bloodcell.core.image import read_image

    file = tmp_path / "field.png"
    Image.fromarray(smear.image.pixels).save(file)
    with Session(tmp_path / "session") as session:
        session.add_image(read_image(file))
        session.add_image(read_image(np.full((40, 50, 3), 200, np.uint8), name="other"))
    file.unlink()
    click(panel.task.run_button)
    wait(panel)
    assert [layer.name for layer in viewer.layers] == ["other"]
    assert "field.png of this session is gone" in panel.task.message.text()


def test_other_outlines_do_not_take_the_place_of_those_kept(viewer, kept, counted, tmp_path, qtbot):
    folder = tmp_path / "session"
    qtbot.waitUntil(lambda: "cells" in actions(folder), timeout=30_000)
    (key,) = read_session(folder).images
    scratch = viewer.add_labels(np.zeros_like(counted.data), name="scratch", scale=counted.scale)
    qtbot.wait(200)
    assert not kept.task.busy
    assert "scratch" not in kept.task.message.text()
    scratch.paint((40, 40), 1)  # something is drawn: now it would be kept
    qtbot.waitUntil(lambda: "scratch is not kept" in kept.task.message.text(), timeout=30_000)
    assert "the session keeps smear cells for this image" in kept.task.message.text()
    np.testing.assert_array_equal(read_session(folder).cells(key).labels, counted.data)
    drawn = scratch.data.copy()
    viewer.layers.remove(counted)
    qtbot.waitUntil(lambda: autosave.session_of(scratch)[0] is not None, timeout=30_000)
    qtbot.waitUntil(lambda: actions(folder)[-2:] == ["set aside", "cells"], timeout=30_000)
    np.testing.assert_array_equal(read_session(folder).cells(key).labels, drawn)
    assert len(list(folder.glob(f"cells-{key}-until-*.safetensors"))) == 1


def test_of_fields_that_lie_on_each_other_the_upper_one_shows_its_outlines_alone(
    viewer, panel, tmp_path, click, wait, smear
):
    """As after counting them: outlines of another field would be taken for its own."""
    import pandas as pd

    from napari_bloodcell.core.image import read_image

    masks = smear.masks
    table = pd.DataFrame({"label": masks.cell_id, "cell_type": ["monocyte"] * len(masks)})
    cells = SessionCells(labels=masks.labels, nucleus=masks.nucleus, table=table, made_from={})
    with Session(tmp_path / "session") as session:
        for name, pixels in (("below", smear.image.pixels), ("above", smear.image.pixels[::-1])):
            session.save_cells(session.add_image(read_image(pixels.copy(), name=name)), cells)
    panel.ask_folder = lambda: tmp_path / "session"
    click(panel.task.run_button)
    wait(panel)
    shown = {one.name for one in viewer.layers if one.visible}
    assert shown == {"below", "above", "above cells", "above classes"}
    click(panel.close_button)


def test_cells_without_a_class_open_again(viewer, panel, tmp_path, click, qtbot, smear):
    import pandas as pd
    from PIL import Image

    from napari_bloodcell.core.image import read_image

    Image.fromarray(smear.image.pixels).save(tmp_path / "field.png")
    labels = np.zeros(smear.image.pixels.shape[:2], np.int32)
    labels[10:30, 10:30], labels[50:70, 50:70] = 1, 2
    table = pd.DataFrame({"label": [1, 2]})
    with Session(tmp_path / "session") as session:
        key = session.add_image(read_image(tmp_path / "field.png"))
        session.save_cells(key, SessionCells(labels=labels, nucleus=labels > 0, table=table, made_from={}))
        session.record(
            [Change(action="classify", image=key, cell_id=2, old="", new="basophil", note="person ada")]
        )
    click(panel.task.run_button)
    qtbot.waitUntil(lambda: "field cells" in [layer.name for layer in viewer.layers], timeout=60_000)
    qtbot.waitUntil(lambda: not panel.task.busy)
    assert classes.kinds(viewer.layers["field cells"]) == ["unidentified", "basophil"]


def test_cells_that_could_not_be_laid_out_are_not_written_over(viewer, panel, tmp_path, click, qtbot, smear):
    import pandas as pd
    from PIL import Image

    file, labels = tmp_path / "field.png", np.zeros(smear.image.pixels.shape[:2], np.int32)
    Image.fromarray(smear.image.pixels).save(file)
    labels[10:30, 10:30] = 1
    table = pd.DataFrame({"label": [1], "cell_type": ["basophil"], "cell_type_source": ["person ada"]})
    (layer,) = viewer.open(str(file), plugin="napari")
    with Session(tmp_path / "session") as session:
        key = session.add_image(layers.picture_of(layer, viewer).read(ReadConfig()))
        session.save_cells(key, SessionCells(labels=labels, nucleus=labels > 0, table=table, made_from={}))
    viewer.layers.clear()
    moved = file.rename(tmp_path / "moved.png")
    click(panel.task.run_button)
    qtbot.waitUntil(lambda: "is gone from" in panel.task.message.text(), timeout=60_000)
    viewer.open(str(moved), plugin="napari")
    viewer.add_labels(np.roll(labels, 40, axis=0), name="again", scale=viewer.layers[-1].scale)
    qtbot.waitUntil(lambda: "again is not kept" in panel.task.message.text(), timeout=60_000)
    click(panel.close_button)
    content = read_session(tmp_path / "session")
    np.testing.assert_array_equal(content.cells(key).labels, labels)
    assert content.images[key].file == str(moved)


def test_what_could_not_be_written_is_tried_again_on_closing(
    kept, counted, tmp_path, click, qtbot, monkeypatch
):
    folder = tmp_path / "session"
    qtbot.waitUntil(lambda: "cells" in actions(folder), timeout=30_000)
    session, real = kept.session, kept.session.session.save_cells

    def full(*_arguments, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(session.session, "save_cells", full)
    counted.paint((5, 5), 900)
    qtbot.waitUntil(lambda: bool(session.unsaved), timeout=10_000)
    monkeypatch.setattr(session.session, "save_cells", real)
    click(kept.close_button)
    assert kept.task.message.text() == "Closed. Everything is on disk."
    (key,) = read_session(folder).images
    np.testing.assert_array_equal(read_session(folder).cells(key).labels, counted.data)


def test_a_session_closed_with_the_disk_still_full_says_so(
    kept, counted, tmp_path, click, qtbot, monkeypatch
):
    qtbot.waitUntil(lambda: "cells" in actions(tmp_path / "session"), timeout=30_000)

    def full(*_arguments, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept.session.session, "save_cells", full)
    counted.paint((5, 5), 900)
    click(kept.close_button)
    assert "the last changes of 1 image could not be written" in kept.task.message.text()


def test_a_session_closed_elsewhere_is_closed_here(viewer, kept):
    kept.session.close()
    assert kept.session is None
    assert kept.task.run_button.isEnabled()


def test_a_folder_of_other_things_is_refused(viewer, panel, tmp_path, click, wait):
    (tmp_path / "thesis.doc").write_text("mine")
    panel.ask_folder = lambda: tmp_path
    click(panel.task.run_button)
    wait(panel)
    assert "holds other files" in panel.task.message.text()
    assert panel.session is None


def test_a_write_that_fails_is_said_in_the_panel(viewer, kept, counted, monkeypatch, qtbot):
    qtbot.waitUntil(lambda: len(kept.session.session.events) >= 3, timeout=30_000)

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    classes.give(viewer, {counted: classes.ids(counted)[:1]}, "basophil", "ada")
    qtbot.waitUntil(lambda: "No space left on device" in kept.task.message.text(), timeout=10_000)
    monkeypatch.undo()
    folder = kept.session.session.folder
    kept._close()  # there is room again
    assert kept.task.message.text() == "Closed. Everything is on disk."
    content = read_session(folder)
    (key,) = content.images
    assert content.cells(key).table["cell_type"].tolist() == classes.kinds(counted)


def test_a_full_disk_is_told_with_the_session_panel_closed_and_what_it_refused_is_written_later(
    viewer, kept, counted, open_panel, monkeypatch, qtbot
):
    from napari.utils.notifications import notification_manager

    session, folder = kept.session, kept.session.session.folder
    settled(kept, qtbot, 3)
    before = len(actions(folder))
    kept.parentWidget().destroyOnClose()
    gallery = open_panel("Gallery")
    told = []
    notification_manager.notification_ready.connect(lambda note: told.append(note.message))
    monkeypatch.setattr(autosave, "AGAIN_MS", 200)
    session._again.setInterval(200)

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    cell, other = classes.ids(counted)[:2].tolist()
    classes.give(viewer, {counted: [cell]}, "basophil", "ada")
    classes.give(viewer, {counted: [cell]}, "monocyte", "ada")
    classes.give(viewer, {counted: [other]}, "eosinophil", "ada")
    qtbot.waitUntil(lambda: "3 changes are not saved yet" in gallery.unsaved.text(), timeout=10_000)
    qtbot.wait(700)  # it is tried again and again, and told once
    assert len([one for one in told if "No space left on device" in one]) == 1
    assert gallery.unsaved.isVisibleTo(gallery)
    again = open_panel("Session")
    assert "3 changes are not saved yet" in again.state.text()
    assert "No space left on device" in again.state.text()

    monkeypatch.undo()  # there is room again, and nobody does anything
    qtbot.waitUntil(lambda: not session.unsaved, timeout=10_000)
    qtbot.waitUntil(lambda: "saved " in again.state.text(), timeout=10_000)
    qtbot.waitUntil(lambda: not gallery.unsaved.isVisibleTo(gallery), timeout=10_000)
    assert [one for one in told if one.startswith("Saved: ")]
    lines = read_session(folder).trail.events[before:]
    assert [(e.action, e.cell_id, e.new, e.who) for e in lines] == [
        ("classify", cell, "basophil", "ada"),
        ("classify", cell, "monocyte", "ada"),
        ("classify", other, "eosinophil", "ada"),
    ]


def test_the_audit_is_written_as_a_table(kept, click, wait, tmp_path):
    kept.ask_file = lambda: tmp_path / "audit.csv"
    click(kept.audit_button)
    wait(kept)
    assert (tmp_path / "audit.csv").read_text().startswith("n,when,who,image,cell_id,action,from,to,note\n")


def test_a_closed_panel_leaves_the_session_open_and_a_new_one_finds_it(viewer, kept, open_panel, qtbot):
    session = kept.session
    kept.parentWidget().destroyOnClose()
    qtbot.wait(50)
    assert autosave.opened() == [session]
    assert open_panel("Session").session is session


def test_which_outlines_changed():
    before = np.zeros((6, 6), int)
    before[:2, :2], before[4:, 4:] = 1, 2
    after = before.copy()
    after[:2, :2], after[0, 5] = 0, 3
    lines = changed_outlines(before, after, "k")
    assert [(line.cell_id, line.old, line.new) for line in lines] == [(1, 4, 0), (3, 0, 1)]
    assert changed_outlines(None, after, "k") == []
    assert all(isinstance(line, Change) for line in lines)


def test_cells_drawn_and_erased_by_napari_alone_are_in_the_table_that_is_kept(kept, counted, qtbot):
    folder = kept.session.session.folder
    counted.brush_size = 400
    counted.paint(tuple(np.argwhere(counted.data == 1).mean(axis=0).astype(int)), 0)
    counted.brush_size = 10
    counted.paint(tuple(np.argwhere(counted.data == 0)[0]), 77)

    def on_disk():
        cells = read_session(folder).cells(autosave.session_of(counted)[1])
        return cells.table["label"].tolist(), sorted(set(np.unique(cells.labels).tolist()) - {0})

    qtbot.waitUntil(lambda: 77 in on_disk()[1], timeout=20_000)
    rows, drawn = on_disk()
    assert rows == drawn
    assert 1 not in rows


def test_planes_of_a_stack_are_kept_each_with_its_own_picture(
    panel, counted_planes, smear, tmp_path, click, qtbot
):
    """Whichever plane is looked at while the session opens."""
    click(panel.task.run_button)
    qtbot.waitUntil(
        lambda: all(autosave.session_of(one)[0] is not None for one in counted_planes), timeout=60_000
    )
    qtbot.waitUntil(lambda: actions(tmp_path / "session").count("cells") == 2, timeout=30_000)
    content = read_session(tmp_path / "session")
    for layer, shown in zip(counted_planes, (smear.image.pixels, smear.image.pixels[::-1]), strict=True):
        key = autosave.session_of(layer)[1]
        np.testing.assert_array_equal(content.image(key).pixels, shown)
        np.testing.assert_array_equal(content.cells(key).labels, layer.data[0])


def test_what_was_signed_and_written_before_is_in_the_audit_too(
    panel, differential, counted, tmp_path, click, qtbot
):
    differential.comment.setText("clumped platelets")
    differential.comment.editingFinished.emit()
    qtbot.waitUntil(lambda: differential.shown.comment == "clumped platelets")
    for _ in range(2):  # nobody has looked at the cells: the second press signs
        click(differential.sign_button)
    qtbot.waitUntil(lambda: differential.signed.text().startswith("Signed by ada"))
    click(panel.task.run_button)
    qtbot.waitUntil(lambda: autosave.session_of(counted)[0] is not None, timeout=60_000)
    wanted = {"cells", "sign-off", "comment"}
    qtbot.waitUntil(lambda: wanted <= set(actions(tmp_path / "session")), timeout=30_000)
    work = read_work(tmp_path / "session")
    assert work.comments == ("clumped platelets",)
    assert [one.valid for one in work.signatures] == [True]
    assert "white cell" in work.signatures[0].text()
