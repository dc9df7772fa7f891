"""Two people's classes in the panel "Differential": each one's own, and the numbers of the report."""

import numpy as np
import pytest

from napari_bloodcell.core.config import ReadConfig
from napari_bloodcell.core.report.make import make_report
from napari_bloodcell.core.session import Session
from napari_bloodcell.gui import autosave, classes, drawn, layers

pytestmark = pytest.mark.gui


@pytest.fixture
def panel(differential):
    return differential


@pytest.fixture
def kept(viewer, counted, tmp_path, qtbot):
    """An open session in which bo named cells after ada, two of them otherwise."""
    session = keep(viewer, counted, tmp_path / "session")
    ids = classes.ids(counted)
    classes.give(viewer, {counted: ids[:3]}, "monocyte", "ada")
    classes.give(viewer, {counted: ids[1:3]}, "basophil", "bo")
    qtbot.waitUntil(lambda: sum(one.action == "classify" for one in session.session.events) == 5)
    yield session
    if not session.is_closed:
        session.close()


def keep(viewer, cells, folder):
    session = autosave.OpenSession(Session(folder, who="ada"))
    smear = layers.picture_of(viewer.layers["smear"], viewer).read(ReadConfig())
    session.watch(cells, None, session.session.add_image(smear))
    return session


def compare(panel, wait, folder):
    panel._compare(lambda: folder)
    wait(panel)
    return panel.agreement.text()


def test_each_reader_is_compared_by_what_that_one_said_as_in_the_report(panel, kept, wait, tmp_path):
    assert "ada and bo agree on 0 of 2 cells" in compare(panel, wait, tmp_path / "session")
    assert panel.disputed.count() == 2
    report = make_report([tmp_path / "session"], tmp_path / "report")
    assert report.agreement is not None
    assert report.agreement.text() == panel.shown.agreement
    assert "1 cell that ada has not named is not compared" in panel.agreement.text()


def test_a_third_reader_of_the_session_is_compared_with_both_as_in_the_report(  # noqa: PLR0917
    viewer, panel, kept, counted, wait, qtbot, tmp_path
):
    classes.give(viewer, {counted: classes.ids(counted)[:2]}, "eosinophil", "cy")
    qtbot.waitUntil(lambda: sum(one.action == "classify" for one in kept.session.events) == 7)
    panel.ask_person = lambda names: "bo"
    told = compare(panel, wait, tmp_path / "session")
    for pair in ("ada and bo agree on 0 of 2", "ada and cy agree on 0 of 2", "bo and cy agree on 0 of 1"):
        assert pair in told
    assert "All 3 readers: Krippendorff's alpha" in told
    assert panel.disputed.count() == 2  # ada's and bo's
    report = make_report([tmp_path / "session"], tmp_path / "report")
    assert report.agreement is not None
    assert sorted(report.agreement.texts()) == sorted(panel.shown.agreement.splitlines())


def test_a_table_by_the_person_at_the_screen_is_told_apart(panel, kept, counted, wait, tmp_path):
    ids = classes.ids(counted)
    rows = "".join(f"smear,{cell},monocyte,ada\n" for cell in ids[:3])
    (tmp_path / "before.csv").write_text("image,cell_id,cell_type,person\n" + rows)
    assert "ada and ada (of before.csv) agree on" in compare(panel, wait, tmp_path / "before.csv")


def test_who_has_named_nothing_is_not_compared(panel, kept, wait, tmp_path):
    panel.reader.setText("cy")
    panel.ask_person = lambda names: {"ada, bo": "bo"}[", ".join(names)]
    told = compare(panel, wait, tmp_path / "session")
    assert "cy has named none of these cells" in told
    assert "(ada, bo)" in told
    assert panel.task.message.text() == told
    assert panel.shown.agreement == ""
    assert not panel.disputed.isVisible()


def test_the_person_is_asked_for_and_another_name_at_the_screen_shows_at_once(panel, kept, wait, tmp_path):
    panel.reader.setText("cy")
    panel.ask_person = lambda _names: None
    compare(panel, wait, tmp_path / "session")
    assert not panel.agreement.isVisible()
    panel.ask_person = lambda _names: "bo"
    compare(panel, wait, tmp_path / "session")
    for name, told in (("ada", "ada and bo agree on 0 of 2"), ("bo", "bo would be compared with bo")):
        panel.reader.setText(name)
        panel.reader.editingFinished.emit()
        assert told in panel.agreement.text()


def test_a_word_that_is_taken_back_is_not_compared(viewer, panel, kept, counted, wait, qtbot):
    panel.reader.setText("bo")
    assert "bo and ada agree on 0 of 2 cells" in compare(panel, wait, kept.session.folder)
    classes.undo(viewer, [counted])
    qtbot.waitUntil(lambda: "bo has named none of these cells" in panel.agreement.text(), timeout=10_000)


def test_a_session_of_one_person_alone_is_refused(viewer, panel, counted, wait, tmp_path):
    session = keep(viewer, counted, tmp_path / "session")
    compare(panel, wait, tmp_path / "session")
    assert "Nobody has named a cell" in panel.task.message.text()
    classes.give(viewer, {counted: classes.ids(counted)[:1]}, "monocyte", "ada")
    session.close()
    compare(panel, wait, tmp_path / "session")
    assert "Only ada has named cells" in panel.task.message.text()
    assert not panel.agreement.isVisible()


def test_words_said_before_the_session_was_opened_count(viewer, panel, counted, wait, tmp_path):
    classes.give(viewer, {counted: classes.ids(counted)[:2]}, "monocyte", "ada")
    session = keep(viewer, counted, tmp_path / "session")
    classes.give(viewer, {counted: classes.ids(counted)[2:3]}, "monocyte", "bo")
    session.close()
    report = make_report([tmp_path / "session"], tmp_path / "report")
    assert report.agreement is None
    panel.reader.setText("bo")
    assert "bo and ada have named no cell in common" in compare(panel, wait, tmp_path / "session")


def test_cells_with_other_outlines_in_the_other_session_are_not_compared(
    viewer, panel, kept, counted, wait, qtbot
):
    kept.close()
    counted.data = np.roll(np.asarray(counted.data), 1, axis=1)  # the session has them where they were
    ours = counted.metadata[layers.KEY]
    counted.metadata = counted.metadata | {layers.KEY: {k: v for k, v in ours.items() if k != autosave.LINK}}
    qtbot.waitUntil(lambda: bool(panel._slides[0].drawn) and autosave.LINK not in panel._slides[0].made_from)
    compare(panel, wait, kept.session.folder)
    assert "are not those on the screen" in panel.task.message.text()
    counted.data = np.roll(np.asarray(counted.data), -1, axis=1)
    qtbot.waitUntil(lambda: drawn.mark(counted) is not None)
    panel.reader.setText("bo")
    panel.ask_person = lambda names: next(one for one in names if one == "ada")
    assert "bo and ada agree on 0 of 2" in compare(panel, wait, kept.session.folder)
