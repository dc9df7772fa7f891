"""The questions for files and folders that all panels share."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from qtpy.QtWidgets import QFileDialog, QMessageBox

from napari_bloodcell.gui import ask

GUI = Path(ask.__file__).parent


@pytest.fixture
def person(monkeypatch):
    """Answers each dialog with the next of ``chosen``; ``began`` is where the dialogs did."""

    one = SimpleNamespace(chosen=[], began=[], replaces=False)

    def answered(_parent, _title, begin="", kinds=""):
        one.began.append(begin)
        return one.chosen.pop(0)

    monkeypatch.setattr(ask._Last, "folder", "")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", answered)
    for name in ("getOpenFileName", "getSaveFileName"):
        monkeypatch.setattr(QFileDialog, name, lambda *given: (answered(*given), ""))
    yes, no = QMessageBox.StandardButton.Yes, QMessageBox.StandardButton.No
    monkeypatch.setattr(QMessageBox, "question", lambda *_: yes if one.replaces else no)
    return one


def test_a_dialog_that_is_closed_gives_nothing(person):
    person.chosen = ["", "", ""]
    assert ask.file_to_read(None, "Read", "Tables (*.csv)") is None
    assert ask.file_to_write(None, "Write", "cells.csv", "Tables (*.csv)") is None
    assert ask.folder(None, "Folder") is None
    assert ask._Last.folder == ""


def test_a_dialog_begins_in_the_folder_where_the_last_one_ended(person, tmp_path):
    (tmp_path / "results").mkdir()
    person.chosen = [str(tmp_path / "model.bloodcell"), str(tmp_path / "results"), ""]
    assert ask.file_to_read(None, "Read") == tmp_path / "model.bloodcell"
    assert ask.folder(None, "Folder") == tmp_path / "results"
    ask.file_to_write(None, "Write", "cells.csv", "")
    assert person.began == ["", str(tmp_path), str(tmp_path / "results" / "cells.csv")]


def test_a_folder_that_is_gone_meanwhile_is_not_begun_in(person, tmp_path):
    person.chosen = [str(tmp_path / "gone"), "", ""]
    ask.folder(None, "Folder")
    ask.folder(None, "Folder")
    ask.file_to_write(None, "Write", "cells.csv", "")
    assert person.began == ["", "", "cells.csv"]


def test_a_file_to_write_gets_its_ending_and_loses_nothing_of_its_name(person, tmp_path):
    person.chosen = [str(tmp_path / name) for name in ("a", "b.v2", "c.CSV", "d.csv")]
    written = [ask.file_to_write(None, "Write", "cells.csv", "").name for _ in range(4)]
    assert written == ["a.csv", "b.v2.csv", "c.CSV", "d.csv"]


def test_a_file_that_only_the_ending_meets_is_replaced_only_where_a_person_agrees(person, tmp_path):
    """Qt asked for the name as it was typed, which is no file."""
    (tmp_path / "a.csv").write_text("kept")
    person.chosen = [str(tmp_path / "a")] * 2
    assert ask.file_to_write(None, "Write", "cells.csv", "") is None
    person.replaces = True
    assert ask.file_to_write(None, "Write", "cells.csv", "") == tmp_path / "a.csv"


def test_no_panel_opens_a_file_dialog_of_its_own():
    assert [path.name for path in sorted(GUI.glob("*.py")) if "QFileDialog" in path.read_text()] == ["ask.py"]


@pytest.mark.parametrize(
    ("name", "question"),
    [
        ("Count cells", "ask_folder"),
        ("Stain preview", "ask_save"),
        ("Stain preview", "ask_open"),
        ("Embed", "ask_save"),
        ("Embed", "ask_model"),
        ("Train", "ask_folder"),
        ("Train", "ask_checkpoint"),
        ("Session", "ask_folder"),
        ("Session", "ask_file"),
    ],
)
def test_the_questions_of_panels_are_these(open_panel, person, tmp_path, name, question):
    panel = open_panel(name)
    person.chosen = [str(tmp_path / "new.csv")]
    chosen = getattr(panel, question)()
    assert chosen.is_relative_to(tmp_path)
    assert len(person.began) == 1
