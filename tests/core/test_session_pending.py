"""What a full disk refused is written later: once, in order, as of when it was done."""

import numpy as np
import pandas as pd
import pytest

from napari_bloodcell.core.errors import SessionError
from napari_bloodcell.core.image import read_image
from napari_bloodcell.core.session import (
    Change,
    Lines,
    Outlines,
    Pending,
    Session,
    SessionCells,
    SetAside,
    folder,
    read_session,
)


@pytest.fixture
def session(tmp_path):
    with Session(tmp_path / "session", who="ada") as opened:
        yield opened


@pytest.fixture
def key(session):
    return session.add_image(read_image(np.full((40, 50, 3), 200, np.uint8), name="field"))


@pytest.fixture
def pending(session):
    return Pending(session)


def cells(kind="monocyte", width=10):
    labels = np.zeros((40, 50), np.int32)
    labels[5:15, 5 : 5 + width] = 4
    table = pd.DataFrame({"label": [4], "cell_type": [kind], "cell_type_source": ["bundle nano"]})
    return SessionCells(labels=labels, nucleus=labels > 0, table=table, made_from={})


def named(key, old, new):
    return Change(action="classify", image=key, cell_id=4, old=old, new=new, note="person ada")


def outlines(key, source="layer", **options):
    drawn = Change(action="outline", image=key, cell_id=4, old=1, new=2)
    return Outlines(
        key=key,
        source=source,
        taken=lambda _anew: (cells(**options), [drawn]),
        told=lambda: None,
    )


def full(*_arguments, **_options):
    raise SessionError("No space left on device.")


def actions(session):
    return [event.action for event in session.events]


def test_lines_keep_their_order_their_time_and_their_author(session, key, pending, monkeypatch):
    before = len(session.events)
    first = Lines(changes=[named(key, "monocyte", "basophil")], who="ada")
    with monkeypatch.context() as patch:
        patch.setattr(session, "record", full)
        pending.add(first)
        pending.write()
        session.who = "bo"
        pending.add(Lines(changes=[named(key, "basophil", "eosinophil")] * 2, who="bo"))
        pending.write()
    assert (pending.count, pending.images, pending.why) == (3, {key}, "No space left on device.")
    assert len(session.events) == before
    pending.write()
    assert (pending.count, pending.images, pending.why) == (0, set(), "")
    written = session.events[before:]
    assert [(one.new, one.who) for one in written] == [("basophil", "ada")] + [("eosinophil", "bo")] * 2
    assert written[0].when == first.when


def test_outlines_that_were_refused_do_not_hold_up_lines_and_do_not_undo_them(
    session, key, pending, monkeypatch
):
    """There is room for a line, and none for a picture."""
    with monkeypatch.context() as patch:
        patch.setattr(folder, "write_cells", full)
        pending.add(outlines(key))
        pending.write()
        pending.add(Lines(changes=[named(key, "monocyte", "basophil")], who="ada"))
        pending.write()
    assert actions(session)[-2:] == ["outline", "classify"]
    assert (pending.count, pending.images) == (1, {key})
    pending.write()
    assert actions(session)[-3:] == ["outline", "classify", "cells"]  # no line twice
    assert read_session(session.folder).cells(key).table["cell_type"].tolist() == ["basophil"]


def test_of_outlines_that_wait_the_newest_are_written(session, key, pending, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(folder, "write_cells", full)
        pending.add(outlines(key, width=10))
        pending.write()
        newer = outlines(key, width=20)
        pending.add(newer)
        pending.write()
    assert newer.anew  # whether it differs from what the audit knows or not: no file holds it
    assert pending.count == 1
    pending.write()
    assert (read_session(session.folder).cells(key).labels == cells(width=20).labels).all()


def test_outlines_are_not_set_aside_before_they_are_written(session, key, pending, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(folder, "write_cells", full)
        pending.add(outlines(key, source="old", width=10))
        pending.add(SetAside(key=key))
        pending.add(outlines(key, source="new", width=20))
        pending.write()
    pending.write()
    assert actions(session)[-4:] == ["cells", "set aside", "outline", "cells"]
    assert (read_session(session.folder).cells(key).labels == cells(width=20).labels).all()


def test_setting_aside_that_is_refused_leaves_all_as_it_was(session, key, monkeypatch):
    session.save_cells(key, cells())
    with monkeypatch.context() as patch:
        patch.setattr(session, "record", full)
        with pytest.raises(SessionError):
            session.set_aside(key)
    assert session.has_cells(key)
    session.set_aside(key)
    assert actions(session)[-1] == "set aside"


def test_a_fault_of_ours_is_raised_and_holds_nothing_up(session, key, pending):
    pending.add(Lines(changes=[Change(action="classify", image=key, new=object())], who="ada"))
    pending.add(Lines(changes=[named(key, "monocyte", "basophil")], who="ada"))
    with pytest.raises(TypeError):
        pending.write()
    pending.write()
    assert pending.count == 0
    assert actions(session)[-1] == "classify"
