"""Sessions: nothing that a person did is lost, and nothing is changed without a line."""

import csv
import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from napari_bloodcell.core.errors import ArtifactError, SessionError
from napari_bloodcell.core.image import read_image
from napari_bloodcell.core.records import SmearImage
from napari_bloodcell.core.session import (
    Change,
    Session,
    SessionCells,
    audit_csv,
    describe,
    export_session,
    read_session,
    read_trail,
)


@pytest.fixture
def smear_file(tmp_path):
    rng = np.random.default_rng(3)
    path = tmp_path / "images" / "field.png"
    path.parent.mkdir()
    Image.fromarray(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def cells():
    labels = np.zeros((24, 32), np.int32)
    labels[2:8, 2:8], labels[10:20, 12:22] = 1, 5
    table = pd.DataFrame(
        {
            "label": [1, 5],
            "cell_type": pd.Categorical(["monocyte", "unidentified"]),
            "cell_type_source": ["bundle nano", "bundle nano"],
            "doubt": ["", "best guess monocyte at 41%"],
            "area_px": [36.0, 100.0],
            "touches_border": [False, True],
        }
    )
    return SessionCells(labels=labels, nucleus=labels == 5, table=table, made_from={"bundle": "nano"})


def classify(key, cell_id, old, new, action="classify"):
    return Change(action=action, image=key, cell_id=cell_id, old=old, new=new, note="person ada")


@pytest.fixture
def worked_on(tmp_path, smear_file, cells):
    """A folder in which one image was analysed and one cell corrected."""
    with Session(tmp_path / "s", who="ada") as session:
        key = session.add_image(read_image(smear_file))
        session.save_cells(key, cells)
        session.record([classify(key, 5, "unidentified", "lymphocyte")])
    return tmp_path / "s", key


def test_each_image_has_its_own_list_of_classes(worked_on):
    folder, key = worked_on
    mine, others, all_of_them = ([{"name": name, "colour": "#123456"}] for name in ("tiger", "lion", "zebra"))
    with Session(folder, who="ada") as session:
        assert list(read_session(folder).classes_of(key)) == []
        session.record([Change(action="classes", new=all_of_them)])  # as sessions of before wrote it
        assert list(read_session(folder).classes_of("another")) == all_of_them
        session.record([Change(action="classes", image=key, new=mine)])
        session.record([Change(action="classes", image="another", new=others)])
    content = read_session(folder)
    assert list(content.classes_of(key)) == mine
    assert list(content.classes_of("another")) == others


def test_corrections_come_back_when_a_session_is_opened_again(worked_on, cells):
    folder, key = worked_on
    content = read_session(folder)
    back = content.cells(key)
    assert back.table["cell_type"].tolist() == ["monocyte", "lymphocyte"]
    assert back.table["cell_type_source"].tolist() == ["bundle nano", "person ada"]
    np.testing.assert_array_equal(back.labels, cells.labels)
    np.testing.assert_array_equal(back.nucleus, cells.nucleus)
    assert back.table["touches_border"].dtype == bool
    assert back.table["doubt"].tolist() == cells.table["doubt"].tolist()
    assert content.image(key).name == "field.png"


def test_the_audit_says_who_when_which_cell_from_and_to(worked_on):
    folder, key = worked_on
    event = read_trail(folder).events[-1]
    assert (event.who, event.image, event.cell_id) == ("ada", key, 5)
    assert (event.action, event.old, event.new) == ("classify", "unidentified", "lymphocyte")
    assert event.when.startswith("20")
    rows = list(csv.DictReader(io.StringIO(audit_csv(folder))))
    assert rows[-1]["image"] == "field.png"
    assert rows[-1]["from"] == "unidentified"
    assert rows[-1]["to"] == "lymphocyte"
    assert [row["action"] for row in rows] == ["opened", "image", "cells", "classify"]


def test_a_later_undo_wins_and_an_earlier_change_is_not_applied_twice(worked_on):
    folder, key = worked_on
    with Session(folder, who="ada") as session:
        session.record([classify(key, 5, "lymphocyte", "unidentified", action="undo")])
        before = read_session(folder).cells(key)
        session.save_cells(key, before)
    again = read_session(folder).cells(key)
    assert again.table["cell_type"].tolist() == ["monocyte", "unidentified"]
    assert again.holds > before.holds - 1


def test_a_cell_that_was_deleted_stays_deleted_when_changes_are_applied(worked_on, cells):
    folder, key = worked_on
    with Session(folder) as session:
        gone = SessionCells(
            labels=np.where(cells.labels == 5, 0, cells.labels),
            nucleus=cells.nucleus & False,
            table=cells.table[:1],
            made_from={},
        )
        session.save_cells(key, gone, [Change(action="outline", image=key, cell_id=5, old=100, new=0)])
        session.record([classify(key, 5, "lymphocyte", "monocyte")])
    assert read_session(folder).cells(key).table["label"].tolist() == [1]


def test_a_killed_program_loses_nothing_that_was_recorded(tmp_path):
    """SIGKILL right after the last record; the lock does not outlive the process."""
    program = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from napari_bloodcell.core.session import Change, Session
        session = Session(Path(sys.argv[1]), who="ada")
        for cell in range(1, 21):
            session.record([Change(action="classify", image="k", cell_id=cell, old="a", new="b")])
        print("ready", flush=True)
        time.sleep(60)
    """)
    run = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "s")], stdout=subprocess.PIPE)
    assert run.stdout.readline() == b"ready\n"
    with pytest.raises(SessionError, match=rf"open already: ada on .*process {run.pid}"):
        Session(tmp_path / "s")
    run.send_signal(signal.SIGKILL)
    run.wait()
    run.stdout.close()
    with Session(tmp_path / "s", who="bo") as session:
        told = [event.cell_id for event in session.events if event.action == "classify"]
    assert told == list(range(1, 21))


def test_a_torn_last_line_is_mended_and_said(worked_on):
    folder, key = worked_on
    path = folder / "audit.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"n": 5, "when": "2026')
    assert read_session(folder).cells(key).table["cell_type"].tolist() == ["monocyte", "lymphocyte"]
    assert "cut short by a crash" in describe(folder)
    with Session(folder, who="ada") as session:
        assert session.torn == b'{"n": 5, "when": "2026'
        assert [e.action for e in session.events[-2:]] == ["repaired", "opened"]
        assert session.events[-2].old == '{"n": 5, "when": "2026'
    assert path.read_bytes().startswith(whole)
    assert read_trail(folder).torn == b""


def test_a_line_changed_afterwards_is_found(worked_on):
    folder, _ = worked_on
    path = folder / "audit.jsonl"
    path.write_text(path.read_text().replace('"ada"', '"eve"', 1))
    with pytest.raises(SessionError, match="line 1 or 2 was changed or damaged after it was written"):
        read_trail(folder)


def test_a_last_line_that_was_changed_or_taken_out_is_found(worked_on):
    """No later line names its hash: a signature is often the last."""
    folder, _ = worked_on
    path = folder / "audit.jsonl"
    whole = path.read_text()
    lines = whole.splitlines(keepends=True)
    path.write_text("".join([*lines[:-1], lines[-1].replace('"ada"', '"eve"')]))
    with pytest.raises(SessionError, match=f"line {len(lines)} was changed or damaged"):
        read_session(folder)
    path.write_text("".join(lines[:-2]))
    with pytest.raises(
        SessionError, match=rf"ends with line {len(lines) - 2}, but {len(lines)} were written"
    ):
        Session(folder)
    (folder / "audit-end.json").unlink()  # as the message says
    Session(folder).close()
    path.write_text(whole)
    with pytest.raises(SessionError):
        read_session(folder)


def test_a_crash_before_the_end_was_written_costs_nothing(worked_on):
    folder, _ = worked_on
    end = (folder / "audit-end.json").read_bytes()
    with Session(folder) as session:
        lines = len(session.events)
    (folder / "audit-end.json").write_bytes(end)  # one line behind
    assert len(read_session(folder).trail.events) == lines
    with Session(folder) as session:
        assert len(session.events) == lines + 1


def test_whose_an_image_is_stands_with_it(worked_on):
    folder, key = worked_on
    for patient, told in (("Mrs B.", ", patient Mrs B."), ("", "")):
        with Session(folder, who="ada") as session:
            session.record([Change(action="patient", image=key, new=patient)])
        assert f"2 cells, 1 named by a person{told}  " in describe(folder)


@pytest.mark.parametrize("new_folder", [False, True], ids=["gone", "another"])
def test_a_folder_that_is_renamed_while_open_takes_nothing_and_goes_on_when_it_is_back(
    worked_on, cells, new_folder
):
    folder, key = worked_on
    moved = folder.with_name("moved")
    with Session(folder, who="ada") as session:
        lines = len(session.events)
        folder.rename(moved)
        if new_folder:
            Session(folder, who="bo").close()
        before = sorted(folder.iterdir()) if new_folder else []
        for write in (
            lambda: session.record([classify(key, 1, "monocyte", "neutrophil")]),
            lambda: session.save_cells(key, cells),
            lambda: session.set_aside(key),
        ):
            with pytest.raises(SessionError, match="not there any more|another file"):
                write()
        assert not new_folder or sorted(folder.iterdir()) == before
        if new_folder:
            shutil.rmtree(folder)
        assert not folder.exists()  # nothing made it again
        moved.rename(folder)
        session.record([classify(key, 1, "monocyte", "neutrophil")])
        assert len(session.events) == lines + 1
    assert read_session(folder).cells(key).table["cell_type"][0] == "neutrophil"


def test_a_session_without_an_end_is_one_of_an_older_release(worked_on):
    folder, _ = worked_on
    (folder / "audit-end.json").unlink()
    read_session(folder)
    Session(folder).close()
    assert (folder / "audit-end.json").exists()


def test_cells_whose_file_is_gone_are_told_where_they_would_be_counted(worked_on, tmp_path):
    from napari_bloodcell.core.report.make import make_report

    folder, key = worked_on
    assert not read_session(folder).lost()
    (folder / f"cells-{key}.safetensors").unlink()
    (told,) = read_session(folder).lost()
    assert f"the file cells-{key}.safetensors is gone, with the 2 cells of" in told
    assert told in describe(folder)
    assert told in make_report([folder], tmp_path / "report").warnings


def test_a_second_opener_is_refused_and_told_who_has_it(tmp_path):
    with Session(tmp_path / "s", who="ada"):
        with pytest.raises(
            SessionError, match=rf"open already: ada on .*process {os.getpid()}.*Close it there"
        ):
            Session(tmp_path / "s", who="bo")
        assert read_session(tmp_path / "s").images == {}  # reading is free
    Session(tmp_path / "s", who="bo").close()


def test_a_session_opened_in_one_thread_is_closed_in_another(tmp_path):
    import threading

    opened = []
    thread = threading.Thread(target=lambda: opened.append(Session(tmp_path / "s")))
    thread.start()
    thread.join()
    opened[0].close()
    Session(tmp_path / "s").close()


def test_a_folder_of_other_things_is_not_taken(tmp_path):
    (tmp_path / "thesis.doc").write_text("mine")
    with pytest.raises(SessionError, match=r"holds other files \(thesis.doc\)"):
        Session(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.doc"]


def test_a_session_of_a_newer_release_is_refused(worked_on):
    folder, _ = worked_on
    told = json.loads((folder / "session.json").read_text())
    told["header"]["version"] = 99
    (folder / "session.json").write_text(json.dumps(told))
    with pytest.raises(ArtifactError, match="session version 99"):
        Session(folder)


def test_pixels_without_a_file_are_copied_into_the_folder(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 255, (19, 21, 3), dtype=np.uint8)
    with Session(tmp_path / "s") as session:
        key = session.add_image(read_image(pixels, name="made up"))
        assert session.add_image(read_image(pixels, name="made up")) == key
    back = read_session(tmp_path / "s").image(key)
    np.testing.assert_array_equal(back.pixels, pixels)
    assert back.name == "made up"


def test_an_image_that_changed_since_is_refused(worked_on, smear_file):
    folder, key = worked_on
    Image.new("RGB", (32, 24)).save(smear_file)
    with pytest.raises(SessionError, match="is not the image that was worked on"):
        read_session(folder).image(key)
    smear_file.unlink()
    with pytest.raises(SessionError, match="is gone from"):
        read_session(folder).image(key)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_folder_that_can_only_be_read_is_told_from_one_that_cannot_be_locked(
    worked_on, monkeypatch, number
):
    folder, _ = worked_on

    def refuse(_lock):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with pytest.raises(SessionError, match=r"can only be read.*session\.json with File > Open File.*copy"):
        Session(folder)
    monkeypatch.setattr("filelock.FileLock.acquire", lambda _lock: refuse_lock())
    with pytest.raises(SessionError, match="cannot be locked"):
        Session(folder)


def refuse_lock():
    raise OSError(errno.ENOLCK, "No locks available")


def test_a_full_disk_is_said_and_leaves_whole_lines_only(worked_on, monkeypatch):
    folder, key = worked_on
    with Session(folder) as session:
        n = len(session.events)

        def full(_descriptor):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(SessionError, match="No space left on device.*not saved"):
            session.record([classify(key, 1, "monocyte", "basophil")])
        monkeypatch.undo()
        assert len(session.events) == n
        session.record([classify(key, 1, "monocyte", "eosinophil")])
    assert read_session(folder).cells(key).table["cell_type"].tolist() == ["eosinophil", "lymphocyte"]


def test_what_a_full_disk_took_in_part_does_not_come_back(worked_on, monkeypatch):
    folder, key = worked_on
    with Session(folder) as session:
        whole = session._audit._file

        class Full:
            """Takes ten bytes, and then no more."""

            closed, left = False, 10

            def write(self, data):
                if not self.left:
                    raise OSError(28, "No space left on device")
                taken, self.left = whole.write(data[: self.left]), 0
                return taken

            def __getattr__(self, name):
                return getattr(whole, name)

        monkeypatch.setattr(session._audit, "_file", Full())
        with pytest.raises(SessionError, match="No space left on device"):
            session.record([classify(key, 1, "monocyte", "basophil")])
        monkeypatch.undo()
        session.record([classify(key, 1, "monocyte", "eosinophil")])
    content = read_session(folder)
    assert not content.trail.torn
    assert content.cells(key).table["cell_type"].tolist() == ["eosinophil", "lymphocyte"]


def test_a_closed_session_says_that_nothing_is_kept(worked_on):
    folder, key = worked_on
    session = Session(folder)
    session.close()
    with pytest.raises(SessionError, match="is closed, and the last change is not kept. Open it again"):
        session.record([classify(key, 1, "monocyte", "basophil")])


def test_outlines_on_a_full_disk_say_so(worked_on, cells, monkeypatch):
    import safetensors.numpy
    from safetensors import SafetensorError

    folder, key = worked_on

    def full(*_arguments, **_more):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors.numpy, "save_file", full)
    with Session(folder) as session, pytest.raises(ArtifactError, match="No space left on device.*Free some"):
        session.save_cells(key, cells)


def test_an_image_that_has_moved_is_found_by_what_it_shows(worked_on, smear_file, cells):
    folder, key = worked_on
    moved = smear_file.rename(smear_file.with_name("moved.png"))
    with Session(folder) as session:
        assert session.add_image(read_image(moved)) == key
        assert session.has_cells(key)
    content = read_session(folder)
    np.testing.assert_array_equal(content.image(key).pixels, read_image(moved).pixels)
    assert content.cells(key).table["cell_type"].tolist() == ["monocyte", "lymphocyte"]


def test_outlines_that_are_replaced_stay_in_the_folder(worked_on, cells):
    folder, key = worked_on
    with Session(folder) as session:
        session.set_aside(key)
        session.save_cells(key, cells)
    (old,) = folder.glob(f"cells-{key}-until-*.safetensors")
    assert read_session(folder).cells(key).table["cell_type"].tolist() == ["monocyte", "unidentified"]
    assert read_session(folder).trail.events[-2].new == old.name


def test_nothing_is_written_into_the_session_from_outside(worked_on, capsys):
    from napari_bloodcell.cli import main

    folder, _ = worked_on
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for arguments in (
        ["audit", str(folder), "--out", str(folder / "audit.jsonl")],
        ["export", str(folder), "--out", str(folder)],
    ):
        with pytest.raises(SystemExit) as left:
            main(["session", *arguments])
        assert left.value.code == 1
        assert "lies in the session itself" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_correction_is_on_disk_within_a_second(worked_on):
    folder, key = worked_on
    with Session(folder) as session:
        many = [classify(key, cell, "a", "b") for cell in range(5_000)]
        begin = time.perf_counter()
        session.record(many)
        assert time.perf_counter() - begin < 1
        assert len(read_trail(folder).events) == len(session.events)


def test_spreadsheets_run_no_text_of_the_audit(tmp_path):
    with Session(tmp_path / "s", who="=cmd()") as session:
        session.record([Change(action="comment", new="+1+1")])
    row = list(csv.DictReader(io.StringIO(audit_csv(tmp_path / "s"))))[-1]
    assert row["who"] == "'=cmd()"
    assert row["to"] == "'+1+1"


def test_export_writes_outlines_tables_and_audit(worked_on, tmp_path):
    folder, key = worked_on
    written = export_session(folder, tmp_path / "out")
    assert [path.name for path in written] == ["audit.csv", f"field-{key[:8]}"]
    table = pd.read_csv(written[1] / "cells.csv")
    assert table["cell_type"].tolist() == ["monocyte", "lymphocyte"]
    assert (written[1] / "labels.ome.tif").is_file()


def test_the_command_line_shows_exports_and_refuses(worked_on, tmp_path, capsys):
    from napari_bloodcell.cli import main

    folder, _ = worked_on
    for arguments in (["info", str(folder)], ["audit", str(folder)]):
        with pytest.raises(SystemExit) as left:
            main(["session", *arguments])
        assert left.value.code == 0
    told = capsys.readouterr().out
    assert "1 image, " in told
    assert "2 cells, 1 named by a person" in told
    assert "classify,unidentified,lymphocyte" in told
    with pytest.raises(SystemExit) as left:
        main(["session", "info", str(tmp_path)])
    assert left.value.code == 1
    assert "is no session" in capsys.readouterr().err


def test_a_session_that_cannot_be_opened_lets_go_of_its_files(tmp_path, monkeypatch):
    from napari_bloodcell.core.session import folder as module

    opened = []

    class Seen(module.AuditFile):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            opened.append(self)

    def full(*_):
        raise OSError("no room")

    monkeypatch.setattr(module, "AuditFile", Seen)
    monkeypatch.setattr(module, "_write_in_use", full)
    with pytest.raises(OSError, match="no room"):
        Session(tmp_path / "s")
    assert opened[0]._file.closed
    monkeypatch.undo()
    Session(tmp_path / "s").close()


def test_a_session_is_free_again_where_its_mark_cannot_be_taken_away(tmp_path, monkeypatch):
    def held(*_, **__):
        raise PermissionError("held by a scanner of viruses")

    session = Session(tmp_path / "s")
    monkeypatch.setattr(Path, "unlink", held)
    with pytest.raises(PermissionError):
        session.close()
    monkeypatch.undo()
    Session(tmp_path / "s").close()


def test_folders_of_an_export_have_names_that_every_system_takes(tmp_path):
    with Session(tmp_path / "s") as session:
        image = SmearImage(pixels=np.full((20, 20, 3), 200, np.uint8), name="a:b?*.png", sha256="ab" * 32)
        key = session.add_image(image)
        table = pd.DataFrame({"label": [1], "cell_type": ["=own"]})
        labels = np.zeros((20, 20), np.int32)
        labels[5:9, 5:9] = 1
        session.save_cells(key, SessionCells(labels=labels, nucleus=labels > 0, table=table, made_from={}))
    _, place = export_session(tmp_path / "s", tmp_path / "out")
    assert place.name == f"a_b__-{key[:8]}"
    assert "'=own" in (place / "cells.csv").read_text()
