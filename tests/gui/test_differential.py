"""The panel "Differential" in the real napari: what is shown is what is written, and it is always right."""

import csv
import json
import threading
import time

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import Qt

from napari_bloodcell.core.config import CountConfig, ReadConfig
from napari_bloodcell.core.report import count
from napari_bloodcell.core.session import Change
from napari_bloodcell.gui import autosave, classes, layers
from napari_bloodcell.gui.differential_calls import folder_names
from napari_bloodcell.gui.napari_ways import camera_of

pytestmark = pytest.mark.gui


@pytest.fixture
def panel(differential):
    return differential


@pytest.fixture
def sign(click):
    """The second press signs where nobody has looked at some cells."""

    def press(panel):
        click(panel.sign_button)
        if "press Sign off again" in panel.task.message.text():
            click(panel.sign_button)

    return press


def shown(panel):
    table = panel.table
    return [[table.item(row, column).text() for column in range(4)] for row in range(table.rowCount())]


def written(folder):
    with (folder / "differential.csv").open() as file:
        return [row for row in csv.DictReader(file) if row["class"] != "white cells"]


def test_slides_of_like_names_are_written_beside_each_other():
    assert folder_names(["a/b", "a_b", "A_B", "..", "c"]) == ["a_b", "a_b-2", "A_B-3", "slide", "c"]


def test_an_empty_viewer_stays_empty_and_says_what_to_do(viewer, open_panel):
    panel = open_panel("Differential")
    assert len(viewer.layers) == 0
    assert panel.empty.isVisible()
    assert not panel.table.isVisible()
    assert not panel.task.run_button.isEnabled()


def test_the_count_is_that_of_the_core(panel, counted):
    wanted = count(classes.kinds(counted), CountConfig())
    assert panel.shown.pooled == wanted
    assert [row[1] for row in shown(panel)][: len(wanted.rows)] == [str(row.n) for row in wanted.rows]
    assert panel.progress.format() == f"{wanted.counted} of 100 white cells"


def test_classes_have_the_colours_that_a_person_chose(viewer, panel, counted, qtbot):
    name = panel.shown.pooled.rows[0].class_name
    before = panel.bars.colour_of(name)
    classes.set_classes(viewer, counted, classes.class_list(counted).recoloured(name, "#12a4f0"))
    qtbot.waitUntil(lambda: panel.bars.colour_of(name) == "#12a4f0")
    assert before != "#12a4f0"
    icon = panel.table.item(0, 0).icon().pixmap(12, 12).toImage()
    assert icon.pixelColor(6, 6).name() == "#12a4f0"


def test_a_reader_is_named_once_for_all_panels(panel, open_panel, counted, qtbot, sign):
    panel.reader.setText("")
    classify, session = open_panel("Classify"), open_panel("Session")
    classify.reader.clear()
    qtbot.keyClicks(classify.reader, "grace")
    qtbot.keyClick(classify.reader, Qt.Key.Key_Return)
    assert [one.reader.name for one in (panel, classify, session)] == ["grace"] * 3
    assert open_panel("Gallery").reader.name == "grace"
    sign(panel)
    assert counted.metadata["napari_bloodcell"]["signed"]["who"] == "grace"


def test_a_class_the_model_cannot_name_is_no_zero_with_limits(viewer, panel, counted, qtbot):
    ours = counted.metadata[layers.KEY]
    names = [name for name in ours["bundle"]["classes"] if name != "basophil"]
    assert "basophil" in ours["bundle"]["classes"]
    counted.metadata = counted.metadata | {layers.KEY: ours | {"bundle": ours["bundle"] | {"classes": names}}}
    others = classes.ids(counted)[1:]
    classes.give(viewer, {counted: others}, "monocyte", "ada")
    qtbot.waitUntil(lambda: panel.shown.pooled.unknown == ("basophil",))
    assert ["basophil", "", "", "not known to this model"] in shown(panel)
    classes.give(viewer, {counted: others[:1]}, "basophil", "ada")
    qtbot.waitUntil(lambda: panel.shown.pooled.unknown == ())
    assert next(row for row in shown(panel) if row[0] == "basophil")[1] == "1"


@pytest.mark.parametrize("model", [None, "nano", {"name": "nano"}])
def test_cells_that_no_model_or_an_older_release_named_are_counted(viewer, panel, counted, qtbot, model):
    ours = counted.metadata[layers.KEY]
    counted.metadata = counted.metadata | {layers.KEY: ours | {"bundle": model}}
    classes.give(viewer, {counted: classes.ids(counted)}, "monocyte", "ada")
    qtbot.waitUntil(lambda: panel.shown.pooled.percent("monocyte") == 100)
    assert panel.shown.pooled.unknown == ()


def test_a_change_of_class_shows_at_once(viewer, panel, counted, qtbot):
    classes.give(viewer, {counted: classes.ids(counted)}, "basophil", "ada")
    n = len(counted.features)
    qtbot.waitUntil(lambda: panel.shown.pooled.reviewed == n)
    assert next(row for row in shown(panel) if row[0] == "basophil")[1] == str(n)
    assert f"{n} reviewed by a person" in panel.state.text()


def test_the_export_is_what_is_on_the_screen_corrections_by_hand_included(  # noqa: PLR0917
    viewer, panel, counted, click, wait, tmp_path, sign
):
    classes.give(viewer, {counted: classes.ids(counted)[:2]}, "smudge_cell", "ada")
    panel.comment.setText("few cells")
    panel.comment.editingFinished.emit()
    panel.cells_changed()
    sign(panel)
    panel.ask_folder = lambda: tmp_path
    for name in ("differential", "differential-2"):
        click(panel.task.run_button)
        wait(panel)
        assert panel.task.message.text() == f"Written to {tmp_path / name}"
    rows = written(tmp_path / "differential")
    for on_screen, on_disk in zip(shown(panel), rows, strict=True):
        assert on_screen[0].replace(" ", "_") == on_disk["class"]
        assert on_screen[1] == on_disk["n"]
        if on_screen[2]:
            assert float(on_screen[2]) == pytest.approx(float(on_disk["percent"]), abs=0.051)
    with (tmp_path / "differential" / "cells.csv").open() as file:
        cells = list(csv.DictReader(file))
    assert [row["cell_type"] for row in cells] == classes.kinds(counted)
    assert cells[0]["cell_type_source"] == "person ada"
    said = json.loads((tmp_path / "differential" / "signed.json").read_text())
    assert said["comment"] == "few cells"
    assert said["signed"]["who"] == "ada"
    assert said["digest"] == said["signed"]["digest"]


def test_a_signature_is_void_after_a_change_and_good_again_after_undo(viewer, panel, counted, sign, qtbot):
    assert panel.signed.text() == "Not signed yet."
    sign(panel)
    assert panel.signed.text().startswith("Signed by ada, 20")
    classes.give(viewer, {counted: classes.ids(counted)[:1]}, "unidentified", "bo")
    qtbot.waitUntil(lambda: panel.signed.text().startswith("Changed since ada signed it"))
    assert panel.shown.signed == {}
    classes.undo(viewer, [counted])
    qtbot.waitUntil(lambda: panel.signed.text().startswith("Signed by ada"))


def test_bands_are_merged_on_request(viewer, panel, counted, click, qtbot):
    ids = classes.ids(counted)
    classes.give(viewer, {counted: ids[:1]}, "neutrophil_banded", "ada")
    classes.give(viewer, {counted: ids[1:]}, "neutrophil_segmented", "ada")
    panel.form.widget("level").value = "fine"
    qtbot.waitUntil(lambda: any(row[0] == "neutrophil banded" for row in shown(panel)))
    panel.merge.setChecked(True)
    names = [row[0] for row in shown(panel)]
    assert "neutrophil banded" not in names
    assert next(row for row in shown(panel) if row[0] == "neutrophil")[1] == str(len(ids))


def test_several_slides_are_shown_apart_and_together(panel, counted, add_counted, qtbot):
    add_counted("second smear", turned=True)
    panel.cells.value = "all"
    qtbot.waitUntil(panel.patients.by_slide.isVisible)
    rows = [panel.patients.by_slide.item(row, 0).text() for row in range(panel.patients.by_slide.rowCount())]
    assert rows == ["smear", "second smear", "All together"]
    assert panel.shown.pooled.counted == sum(one.counted for _, one in panel.shown.slides)


def test_a_picture_that_was_counted_or_opened_twice_counts_once(viewer, panel, counted, add_counted, qtbot):
    n = panel.shown.pooled.counted
    again = add_counted("again")
    assert panel.cells.count() == 2, "two sets of one picture are not offered together"
    assert panel.shown.pooled.counted == n
    add_counted("other", turned=True)
    panel.cells.value = "all"
    qtbot.waitUntil(lambda: len(panel.shown.slides) == 2)
    assert panel.cells.text == "All 2 layers"
    assert [name for name, _ in panel.shown.slides] == ["again", "other"]
    assert f"{counted.name}: the same cells as in another layer" in panel.state.text()
    classes.give(viewer, {counted: classes.ids(counted)}, "basophil", "ada")  # a person's work is what counts
    qtbot.waitUntil(lambda: [name for name, _ in panel.shown.slides] == ["smear", "other"])
    assert panel.shown.pooled.reviewed == n
    assert f"{again.name}: the same cells" in panel.state.text()


def test_outlines_of_other_parts_of_one_picture_all_count(viewer, panel, counted, add_counted, qtbot):
    n = panel.shown.pooled.counted
    other = add_counted("again")
    left = np.arange(counted.data.shape[1]) < counted.data.shape[1] // 2
    counted.data, other.data = np.where(left, counted.data, 0), np.where(left, 0, other.data)
    panel.reset_choices()
    panel.cells.value = "all"
    qtbot.waitUntil(lambda: panel.shown.pooled.counted >= n)


def test_a_second_reader_is_compared_and_the_disputed_cells_are_a_click_away(
    viewer, panel, counted, wait, tmp_path, qtbot
):
    classes.give(viewer, {counted: [cell for cell, *_ in classes.rows(counted)[:1]]}, "monocyte", "ada")
    rows = classes.rows(counted)
    other = [("basophil" if at == 0 else kind) for at, (_, kind, _) in enumerate(rows)]
    table = "image,cell_id,cell_type\n" + "".join(
        f"smear,{cell},{kind}\n" for (cell, _, _), kind in zip(rows, other, strict=True)
    )
    (tmp_path / "bo.csv").write_text(table)
    panel._compare(lambda: tmp_path / "bo.csv")
    wait(panel)
    n = len(rows)
    assert "ada and bo agree on 0 of 1 cells" in panel.agreement.text()
    assert f"{n - 1} cells that ada has not named are not compared" in panel.agreement.text()
    for cell, kind, _ in rows[1:]:
        classes.give(viewer, {counted: [cell]}, kind, "ada")
    qtbot.waitUntil(lambda: f"ada and bo agree on {n - 1} of {n} cells" in panel.agreement.text())
    assert "not compared" not in panel.agreement.text()
    assert panel.disputed.count() == 1
    above = viewer.add_image(np.zeros_like(viewer.layers["smear"].data), name="above", scale=counted.scale)
    before = np.array(camera_of(viewer).center)
    panel.disputed.itemClicked.emit(panel.disputed.item(0))
    assert not np.allclose(camera_of(viewer).center, before)
    assert not above.visible  # it lies over the picture of the cell
    np.testing.assert_array_equal(viewer.layers["chosen cells"].data > 0, counted.data == rows[0][0])
    classes.give(viewer, {counted: [rows[0][0]]}, "basophil", "ada")
    qtbot.waitUntil(lambda: panel.disputed.count() == 0)
    assert f"agree on {n} of {n} cells" in panel.agreement.text()
    panel.parentWidget().destroyOnClose()
    qtbot.waitUntil(lambda: above.visible and "chosen cells" not in viewer.layers)


def test_a_second_reader_may_use_a_class_added_here(viewer, panel, counted, wait, tmp_path):
    (cell, *_), *_ = classes.rows(counted)
    classes.set_classes(viewer, counted, classes.class_list(counted).with_class("hairy cell"))
    classes.give(viewer, {counted: [cell]}, "hairy_cell", "ada")
    (tmp_path / "bo.csv").write_text(f"image,cell_id,cell_type\nsmear,{cell},Hairy cell\n")
    panel._compare(lambda: tmp_path / "bo.csv")
    wait(panel)
    assert "ada and bo agree on 1 of 1 cells" in panel.agreement.text()
    (tmp_path / "bo.csv").write_text(f"image,cell_id,cell_type\nsame smear,{cell},Hairy cell\n")
    panel._compare(lambda: tmp_path / "bo.csv")
    wait(panel)
    assert "ada and bo (of same smear) agree on 1 of 1 cells" in panel.agreement.text()


def test_a_second_reader_that_cannot_be_read_is_said(panel, wait, tmp_path):
    (tmp_path / "bo.csv").write_text("nothing\n1\n")
    panel._compare(lambda: tmp_path / "bo.csv")
    wait(panel)
    assert "needs the columns image, cell_id, cell_type" in panel.task.message.text()
    panel._compare(lambda: tmp_path)
    wait(panel)
    assert "is no session" in panel.task.message.text()
    assert not panel.agreement.isVisible()


def test_cells_at_the_border_are_left_out_where_asked(panel, counted, qtbot):
    inside = int((~counted.features["touches_border"].astype(bool)).sum())
    panel.form.widget("count_border").value = False
    qtbot.waitUntil(lambda: panel.shown.pooled.counted + sum(panel.shown.pooled.outside.values()) == inside)


def test_a_layer_removed_leaves_an_empty_panel(viewer, panel, counted, qtbot):
    viewer.layers.remove(counted)
    qtbot.waitUntil(lambda: not panel.table.isVisible())
    assert panel.empty.isVisible()
    assert not panel.task.run_button.isEnabled()


def test_cancel_and_close_while_writing_are_quiet(viewer, panel, click, wait, qtbot, tmp_path):
    started = threading.Event()

    def export(folder, shown, slides, progress):
        started.set()
        for done in range(100_000):
            progress("pretending", done, 100_000)
            time.sleep(0.005)

    panel.export = export
    panel.ask_folder = lambda: tmp_path
    click(panel.task.run_button)
    qtbot.waitUntil(started.is_set)
    click(panel.task.cancel_button)
    wait(panel)
    assert panel.task.message.text().startswith("Cancelled")
    click(panel.task.run_button)
    panel.parentWidget().destroyOnClose()
    qtbot.wait(50)
    viewer.layers.clear()


def test_a_folder_that_cannot_be_written_is_said(panel, click, wait, tmp_path):
    (tmp_path / "file").write_text("")
    panel.ask_folder = lambda: tmp_path / "file"
    click(panel.task.run_button)
    wait(panel)
    assert "could not be written" in panel.task.message.text()


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_bars_and_table_can_be_read_in_both_themes(viewer, panel, theme, qtbot):
    viewer.theme = theme
    qtbot.wait(100)
    assert panel.widget().width() <= panel.viewport().width()
    for widget in (panel.bars, panel.table):
        image = widget.grab().toImage()
        lights = [
            image.pixelColor(x, y).lightnessF()
            for x in range(0, image.width(), 2)
            for y in range(image.height())
        ]
        assert max(lights) - min(lights) > 0.5


def test_a_report_of_the_session_has_the_numbers_and_the_signature_of_the_panel(
    viewer, panel, counted, sign, tmp_path, qtbot
):
    from napari_bloodcell.core.config.report import ReportConfig
    from napari_bloodcell.core.report.make import make_report
    from napari_bloodcell.core.session import Session
    from napari_bloodcell.gui.autosave import OpenSession

    session = OpenSession(Session(tmp_path / "session", who="ada"))
    try:
        smear = layers.picture_of(viewer.layers["smear"], viewer).read(ReadConfig())
        session.watch(counted, None, session.session.add_image(smear))
        ids = classes.ids(counted)
        classes.give(viewer, {counted: ids[:3]}, "neutrophil_banded", "ada")
        classes.give(viewer, {counted: ids[1:3]}, "basophil", "bo")
        panel.form.widget("level").value = "fine"
        panel.form.widget("count_border").value = False
        panel.merge.setChecked(True)
        panel.cells_changed()
        sign(panel)
    finally:
        session.close()  # everything handed in is written first
    config = ReportConfig(count=CountConfig(level="fine", count_border=False), merge_bands=True)
    report = make_report([tmp_path / "session"], tmp_path / "report", config)
    assert report.pooled.differential == panel.shown.pooled
    assert [(slide.name, slide.differential) for slide in report.slides] == list(panel.shown.slides)
    assert report.sign_off[0].startswith("Signed by ada")
    assert make_report([tmp_path / "session"], tmp_path / "other").sign_off == report.sign_off
    assert report.agreement is not None
    assert [(set(pair.readers), pair.cells) for pair in report.agreement.pairs] == [({"ada", "bo"}, 2)]


def test_a_signature_and_a_comment_are_there_when_the_session_is_opened_again(  # noqa: PLR0917
    viewer, open_panel, counted, tmp_path, click, wait, qtbot, sign
):
    panel, session = open_panel("Differential"), open_panel("Session")
    session.reader.setText("ada")
    session.ask_folder = lambda: tmp_path / "session"
    click(session.task.run_button)
    qtbot.waitUntil(lambda: autosave.session_of(counted)[0] is not None, timeout=60_000)
    wait(session)
    qtbot.waitUntil(panel.sign_button.isVisible, timeout=60_000)
    panel.reader.setText("ada")
    panel.comment.setText("few platelets")
    panel.comment.editingFinished.emit()
    sign(panel)
    told = panel.signed.text()
    assert told.startswith("Signed by ada")
    kept, key = autosave.session_of(counted)
    kept.record([Change(action="comment on all", image=key, new="stained twice")])
    click(session.close_button)
    viewer.layers.clear()
    click(session.task.run_button)
    qtbot.waitUntil(lambda: "smear cells" in [layer.name for layer in viewer.layers], timeout=60_000)
    wait(session)
    again = viewer.layers["smear cells"]
    qtbot.waitUntil(lambda: panel.signed.text() == told, timeout=10_000)
    assert panel.comment.text() == "few platelets"
    assert panel.comments.text() == "All together: stained twice"
    classes.give(viewer, {again: [int(classes.ids(again)[0])]}, "basophil", "bo")
    qtbot.waitUntil(lambda: panel.signed.text().startswith("Changed since ada signed it"), timeout=10_000)
    for one in autosave.opened():
        one.close()


def test_a_signature_under_a_stack_is_under_the_outlines_of_all_its_planes(viewer, open_panel, qtbot, sign):
    planes = np.zeros((2, 40, 40), np.int32)
    planes[0, 5:15, 5:15], planes[1, 20:30, 20:30] = 1, 2
    features = pd.DataFrame({"index": [1, 2], "cell_type": ["monocyte", "basophil"]})
    stack = viewer.add_labels(planes, features=features)
    panel = open_panel("Differential")
    panel.reader.setText("ada")
    qtbot.waitUntil(lambda: panel.shown is not None, timeout=60_000)
    sign(panel)
    qtbot.waitUntil(lambda: panel.signed.text().startswith("Signed by ada"))
    viewer.dims.set_point(0, 1)
    stack.brush_size = 3
    stack.paint((1, 35, 35), 2)
    qtbot.waitUntil(lambda: panel.signed.text().startswith("Changed since ada signed it"))


def test_a_signature_is_void_where_two_cells_change_places_or_an_outline_is_painted(
    viewer, panel, counted, sign, qtbot
):
    first, second = (int(cell) for cell in classes.ids(counted)[:2])
    classes.give(viewer, {counted: [first]}, "monocyte", "ada")
    classes.give(viewer, {counted: [second]}, "basophil", "ada")
    qtbot.waitUntil(lambda: panel.shown.pooled.reviewed == 2)
    sign(panel)
    assert panel.signed.text().startswith("Signed by ada")
    figures = panel.shown.digest
    classes.give(viewer, {counted: [first]}, "basophil", "ada")
    classes.give(viewer, {counted: [second]}, "monocyte", "ada")
    qtbot.waitUntil(lambda: panel.signed.text().startswith("Changed since ada signed it"))
    assert panel.shown.digest == figures
    classes.undo(viewer, [counted])
    classes.undo(viewer, [counted])
    qtbot.waitUntil(lambda: panel.signed.text().startswith("Signed by ada"))
    assert panel.shown.signed["who"] == "ada"
    counted.brush_size = 6
    counted.paint(tuple(np.argwhere(np.asarray(counted.data) == first)[0]), 0)
    qtbot.waitUntil(lambda: panel.signed.text().startswith("Changed since ada signed it"))
    assert panel.shown.signed == {}


def test_an_older_signature_is_judged_by_the_figures_alone(viewer, panel, counted, sign, qtbot):
    first, second = (int(cell) for cell in classes.ids(counted)[:2])
    classes.give(viewer, {counted: [first]}, "monocyte", "ada")
    classes.give(viewer, {counted: [second]}, "basophil", "ada")
    qtbot.waitUntil(lambda: panel.shown.pooled.reviewed == 2)
    sign(panel)
    ours = counted.metadata[layers.KEY]
    older = {name: ours["signed"][name] for name in ("who", "when", "digest")}
    counted.metadata = counted.metadata | {layers.KEY: ours | {"signed": older}}
    classes.give(viewer, {counted: [first]}, "basophil", "ada")
    qtbot.waitUntil(lambda: panel.signed.text().startswith("Changed since ada signed it"))
    classes.give(viewer, {counted: [second]}, "monocyte", "ada")
    qtbot.waitUntil(lambda: panel.signed.text().startswith("Signed by ada"))
    assert panel.shown.signed == older


def test_cells_that_nobody_has_looked_at_are_told_before_the_count_is_signed(
    viewer, panel, counted, click, qtbot
):
    n = len(counted.features)
    ids = [int(cell) for cell in classes.ids(counted)]
    classes.give(viewer, {counted: ids[:-2]}, "monocyte", "ada")
    classes.give_each(viewer, counted, {ids[-1]: ("unidentified", "bundle nano")})
    qtbot.waitUntil(lambda: panel.shown.pooled.reviewed == n - 2)
    click(panel.sign_button)
    unseen = f"2 of {n} cells were looked at by nobody, 1 of them doubtful"
    assert panel.task.message.text().startswith(f"{unseen}: look at them in Gallery, or press Sign off again")
    assert panel.signed.text() == "Not signed yet."
    classes.give(viewer, {counted: ids[:1]}, "basophil", "ada")
    qtbot.waitUntil(lambda: panel.shown.pooled.percent("basophil") > 0)
    click(panel.sign_button)
    assert panel.signed.text() == "Not signed yet.", "it is another count now"
    click(panel.sign_button)
    assert panel.signed.text().startswith("Signed by ada")
    assert panel.signed.text().endswith(f"UTC; {unseen}.")
    classes.give(viewer, {counted: ids}, "monocyte", "ada")
    qtbot.waitUntil(lambda: panel.shown.pooled.reviewed == n)
    click(panel.sign_button)
    assert panel.signed.text().endswith("UTC.")


def test_a_signature_under_several_fields_holds_for_each_of_them(
    viewer, panel, counted, add_counted, sign, qtbot
):
    other = add_counted("second smear", turned=True)
    panel.cells.value = "all"
    qtbot.waitUntil(lambda: len(panel.shown.slides) == 2)
    sign(panel)
    assert panel.signed.text().startswith("Signed by ada, 20")
    panel.cells.value = counted
    qtbot.waitUntil(lambda: "together with 1 other field" in panel.signed.text())
    assert panel.signed.text().startswith("Signed by ada")
    assert panel.shown.signed == {}, "not under this figure alone"
    third = add_counted("third")
    viewer.layers["third"].data = np.ascontiguousarray(viewer.layers["third"].data[:, ::-1])
    third.data = np.ascontiguousarray(third.data[:, ::-1])
    ours = third.metadata[layers.KEY]
    sha = {"image": ours["image"] | {"sha256": "c" * 64}}
    third.metadata = third.metadata | {layers.KEY: ours | sha}
    panel.reset_choices()
    panel.cells.value = "all"
    qtbot.waitUntil(lambda: "2 of 3 fields are signed by ada" in panel.signed.text())
    assert panel.signed.text().endswith("third is new. Sign again.")
    classes.give(viewer, {other: classes.ids(other)[:1]}, "megakaryocyte", "bo")
    panel.cells.value = counted
    qtbot.waitUntil(lambda: "Changed since ada signed it together with" in panel.signed.text())
    viewer.layers.remove(other)
    qtbot.waitUntil(lambda: "second smear is not open" in panel.signed.text())


def test_a_field_without_a_cell_was_looked_at_and_counts_as_one_with_none(  # noqa: PLR0917
    panel, counted, add_counted, sign, wait, click, tmp_path, qtbot
):
    empty = add_counted("empty", turned=True)
    empty.data = np.zeros_like(empty.data)
    empty.features = empty.features[:0]
    panel.cells.value = empty
    qtbot.waitUntil(lambda: "empty: looked at, no white cell was found" in panel.state.text())
    assert panel.shown.pooled.counted == 0
    sign(panel)
    assert panel.signed.text().startswith("Signed by ada")
    panel.cells.value = "all"
    qtbot.waitUntil(panel.patients.by_slide.isVisible)
    rows = [[panel.patients.by_slide.item(row, at).text() for at in (0, 1)] for row in range(3)]
    n = str(panel.shown.pooled.counted)
    assert rows == [["smear", n], ["empty", "0"], ["All together", n]]
    sign(panel)
    panel.ask_folder = lambda: tmp_path
    click(panel.task.run_button)
    wait(panel)
    assert (tmp_path / "differential" / "empty" / "differential.csv").is_file()


def test_a_field_without_a_cell_is_in_the_report_of_its_session(viewer, panel, counted, sign, tmp_path):
    from napari_bloodcell.core.report.make import make_report
    from napari_bloodcell.core.session import Session

    session = autosave.OpenSession(Session(tmp_path / "session", who="ada"))
    try:
        counted.data = np.zeros_like(counted.data)
        counted.features = counted.features[:0]
        smear = layers.picture_of(viewer.layers["smear"], viewer).read(ReadConfig())
        session.watch(counted, None, session.session.add_image(smear))
        panel.cells_changed()
        sign(panel)
    finally:
        session.close()
    report = make_report([tmp_path / "session"], tmp_path / "report")
    assert [(slide.name, slide.differential.counted) for slide in report.slides] == [("smear", 0)]
    assert report.sign_off[0].startswith("Signed by ada")


def test_long_names_of_classes_leave_room_for_the_bars(panel, qtbot):
    name = "_".join(["hypersegmented"] * 8)
    panel.bars.show_differential(count([name, "basophil"], CountConfig(level="fine")))
    panel.bars.resize(300, panel.bars.height())
    shown = panel.bars.names_within(panel.bars.fontMetrics())
    assert max(panel.bars.fontMetrics().horizontalAdvance(one) for one in shown) <= 0.45 * 300
    assert "…" in "".join(shown)
    assert "basophil" in shown
    picture = panel.bars.grab().toImage()
    colour = panel.bars.colour_of("basophil")
    at = [one.class_name for one in panel.bars._rows].index("basophil")
    y = at * panel.bars.ROW_PX + panel.bars.ROW_PX // 4 + 1
    row = [picture.pixelColor(x, y).name() for x in range(picture.width())]
    assert row.count(colour.lower()) > 50
    assert name.replace("_", " ") in panel.bars.toolTip()


def test_a_comment_on_all_fields_leaves_the_comment_of_each(panel, counted, add_counted, qtbot):
    other = add_counted("second smear", turned=True)

    def say(chosen, text):
        panel.cells.value = chosen
        slides = 2 if chosen == "all" else 1
        qtbot.waitUntil(lambda: panel.shown is not None and len(panel.shown.slides) == slides)
        qtbot.waitUntil(lambda: chosen == "all" or panel.shown.slides[0][0] == classes.image_name(chosen))
        panel.comment.setText(text)
        panel.comment.editingFinished.emit()

    say(counted, "few platelets")
    say(other, "thick")
    panel.cells.value = "all"
    qtbot.waitUntil(lambda: panel.comment.placeholderText() == "differs by field")
    assert panel.comment.text() == ""
    assert panel.comments.text() == "smear: few platelets\nsecond smear: thick"
    panel.comment.editingFinished.emit()
    assert [one.metadata[layers.KEY]["comment"] for one in (counted, other)] == ["few platelets", "thick"]
    say("all", "stained twice")
    assert (panel.shown.comment, panel.shown.comments["smear"]) == ("stained twice", "few platelets")
    panel.cells.value = other
    qtbot.waitUntil(lambda: panel.comment.text() == "thick")
    assert panel.comments.text() == "All together: stained twice"


def test_fields_that_two_people_signed_are_told_apart(viewer, panel, counted, add_counted, sign, qtbot):
    other = add_counted("second smear", turned=True)
    own = viewer.add_labels(np.pad(np.ones((9, 9), int), 5), name="drawn by hand")
    classes.make_rows(own, [1])
    for layer, who in ((counted, "ada"), (other, "bo")):
        panel.cells.value = layer
        qtbot.waitUntil(lambda layer=layer: panel.shown.slides[0][0] == classes.image_name(layer))
        panel.reader.setText(who)
        sign(panel)
    panel.cells.value = "all"
    qtbot.waitUntil(lambda: panel.signed.text().startswith("Signed apart: 1 field by ada, 20"))
    assert "; 1 field by bo, 20" in panel.signed.text()
    assert panel.signed.text().endswith("drawn by hand is new.")
    assert panel.shown.signed == {}


@pytest.fixture
def two_fields(panel, counted, add_counted, qtbot):
    """Of unlike classes, both chosen."""
    add_counted("second smear", turned=True)
    panel.cells.value = "all"
    qtbot.waitUntil(panel.patients.by_slide.isVisible)
    return [counted, panel.viewer.layers["second smear cells"]]


def type_patient(qtbot, panel, row, name):
    """As a person does: click twice on the place beside the slide, type, Return."""
    table = panel.patients.by_slide
    place = table.visualItemRect(table.item(row, 2)).center()
    for press in (qtbot.mouseClick, qtbot.mouseDClick):
        press(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    editor = editor_in(table)
    editor.clear()
    qtbot.keyClicks(editor, name)
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: panel._slides[row].patient == name)


def editor_in(table):
    return next(one for one in table.viewport().children() if one.inherits("QLineEdit") and one.isVisible())


def test_slides_of_a_patient_are_counted_as_the_command_counts_them(panel, two_fields, qtbot):
    from collections import Counter as Cells

    from napari_bloodcell.core.results import Slide as OnDisk
    from napari_bloodcell.core.results import by_patient

    for row in range(2):
        type_patient(qtbot, panel, row, "P 7")
    known = frozenset(two_fields[0].metadata[layers.KEY]["bundle"]["classes"])
    on_disk = [
        OnDisk(
            name=name,
            images=1,
            cells=Cells(classes.kinds(layer)),
            differential=count(classes.kinds(layer), known=known),
            known=known,
            patient="P 7",
        )
        for name, layer in zip(("smear", "second smear"), two_fields, strict=True)
    ]
    (wanted,) = by_patient(on_disk)
    assert list(panel.shown.patients) == [wanted]
    table = panel.patients.by_patient
    qtbot.waitUntil(table.isVisible)
    assert [table.item(0, at).text() for at in range(3)] == ["P 7", str(wanted.differential.counted), "2"]
    first = wanted.differential.rows[0]
    limits = f"{first.percent:.1f} ({first.low:.1f} to {first.high:.1f})"
    assert table.item(0, 3).text() == limits
    assert panel.patients.told.text() == f"P 7: {wanted.spread_text()}"


def test_a_patient_is_chosen_above_like_a_field_and_written(  # noqa: PLR0917
    panel, two_fields, qtbot, click, wait, tmp_path, add_counted
):
    from napari_bloodcell.core.report.patients import write_patients

    type_patient(qtbot, panel, 1, "P 8")
    assert panel.patients.told.text() == "1 slide of no known patient: smear."
    assert [panel.cells.itemText(at) for at in range(2)] == ["All 2 layers", "Patient P 8: 1 layer"]
    panel.ask_folder = lambda: tmp_path
    click(panel.task.run_button)
    wait(panel)
    write_patients(tmp_path, panel.shown.patients)
    written_now = (tmp_path / "differential" / "patients.csv").read_bytes()
    assert written_now == (tmp_path / "patients.csv").read_bytes()
    cells = pd.read_csv(tmp_path / "differential" / "cells.csv", keep_default_na=False)
    assert set(cells.loc[cells["image"] == "second smear", "patient"]) == {"P 8"}
    assert set(cells.loc[cells["image"] == "smear", "patient"]) == {""}
    panel.cells.value = ("patient", "P 8")
    qtbot.waitUntil(lambda: [name for name, _ in panel.shown.slides] == ["second smear"])
    assert panel.shown.pooled == panel.shown.patients[0].differential
    assert panel.patients.patient.text() == "P 8"
    panel.patients.patient.clear()
    qtbot.keyClicks(panel.patients.patient, "P 9")
    qtbot.keyClick(panel.patients.patient, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: "Patient P 9: 1 layer" in [panel.cells.itemText(at) for at in range(4)])
    assert panel.cells.text == "All 2 layers", "the patient that was chosen is called otherwise"


def test_a_table_of_patients_may_be_a_list_of_images_and_must_name_one_that_is_open(
    panel, two_fields, wait, tmp_path, click
):
    table = tmp_path / "list.csv"
    table.write_text("image,slide,patient\nfields/smear.png,S1,P 1\nfields/other.png,S2,P 2\n")
    panel.ask_patients = lambda: table
    click(panel.patients.table_button)
    wait(panel)
    assert panel.task.message.text() == "Patients of 1 slide read."
    assert [slide.patient for slide in panel._slides] == ["P 1", ""]
    table.write_text("slide;patient\nsecond smear;P 2\nsmear;P 2\n")
    click(panel.patients.table_button)
    wait(panel)
    assert [slide.patient for slide in panel._slides] == ["P 2", "P 2"]
    table.write_text("slide,patient\nnone,P 3\n")
    click(panel.patients.table_button)
    wait(panel)
    assert "names a patient of none of these: smear, second smear" in panel.task.message.text()
    assert [slide.patient for slide in panel._slides] == ["P 2", "P 2"]


def test_a_name_that_is_being_typed_is_not_lost_when_a_class_changes(viewer, panel, two_fields, qtbot):
    table = panel.patients.by_slide
    table.editItem(table.item(0, 2))
    editor = editor_in(table)
    qtbot.keyClicks(editor, "P 1")
    classes.give(viewer, {two_fields[1]: classes.ids(two_fields[1])}, "basophil", "ada")
    qtbot.waitUntil(lambda: panel.shown.slides[1][1].percent("basophil") == 100)
    assert table.is_typed_in
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: panel._slides[0].patient == "P 1")
    heads = [table.horizontalHeaderItem(at).text() for at in range(table.columnCount())]
    qtbot.waitUntil(lambda: table.item(1, heads.index("basophil")).text() == "100.0")


def test_a_patient_is_there_when_the_session_is_opened_again_and_in_its_report(  # noqa: PLR0917
    viewer, panel, two_fields, open_panel, qtbot, click, wait, tmp_path
):
    from napari_bloodcell.core.report.make import make_report

    type_patient(qtbot, panel, 0, "before")
    session = open_panel("Session")
    session.ask_folder = lambda: tmp_path / "session"
    click(session.task.run_button)
    qtbot.waitUntil(lambda: autosave.session_of(two_fields[1])[0] is not None, timeout=60_000)
    wait(session)
    panel.parentWidget().raise_()
    qtbot.waitUntil(panel.patients.by_slide.isVisible)
    type_patient(qtbot, panel, 1, "after")
    type_patient(qtbot, panel, 0, "mended")
    wanted = list(panel.shown.patients)
    click(session.close_button)
    report = make_report([tmp_path / "session"], tmp_path / "report")
    assert list(report.patients) == wanted
    assert [one.name for one in wanted] == ["mended", "after"]
    viewer.layers.clear()
    click(session.task.run_button)
    qtbot.waitUntil(lambda: len(session.viewer.layers) == 8 and not session.task.busy, timeout=60_000)
    panel.cells.value = "all"
    qtbot.waitUntil(lambda: panel.shown is not None and list(panel.shown.patients) == wanted)
    for one in autosave.opened():
        one.close()


def test_an_empty_reader_says_whose_name_is_written(panel, monkeypatch):
    from napari_bloodcell.gui import preferences
    from napari_bloodcell.gui.reader_name import ReaderName

    panel.reader.clear()
    assert panel.reader.placeholderText() == f"{panel.reader.name} (the name of this account)"
    monkeypatch.setattr(preferences, "preference", lambda name: "grace" if name == "reader" else "")
    assert ReaderName("Your name.").placeholderText() == "grace (as set in Preferences)"
