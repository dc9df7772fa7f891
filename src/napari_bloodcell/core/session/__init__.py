"""One folder that remembers a person's work: which images, which cells, and every change by hand.

``audit.jsonl`` is the truth: one line a change, appended and forced to disk, never rewritten. What is too
large for a line (outlines and the table of cells) lies beside it in ``cells-KEY.safetensors``, with the
number of the last change it holds; later ones are applied when it is read. ``folder.py`` lists the files.
"""

from napari_bloodcell.core.session.audit import ACTIONS_ON_CLASSES, Change, Event, Trail, read_trail, to_csv
from napari_bloodcell.core.session.cells import SessionCells
from napari_bloodcell.core.session.export import audit_csv, export_session, write_audit
from napari_bloodcell.core.session.folder import Session, describe, is_session, person, read_session
from napari_bloodcell.core.session.pending import Lines, Outlines, Pending, SetAside

__all__ = [
    "ACTIONS_ON_CLASSES",
    "Change",
    "Event",
    "Lines",
    "Outlines",
    "Pending",
    "Session",
    "SessionCells",
    "SetAside",
    "Trail",
    "audit_csv",
    "describe",
    "export_session",
    "is_session",
    "person",
    "read_session",
    "read_trail",
    "to_csv",
    "write_audit",
]
