"""The panel "Session": one folder that keeps images, cells and every correction, and gives them back."""

import weakref
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton

from napari_bloodcell.core.errors import BloodcellError
from napari_bloodcell.core.words import how_many
from napari_bloodcell.gui import ask, autosave, classes, layers, session_calls
from napari_bloodcell.gui.autosave import OpenSession
from napari_bloodcell.gui.help import HelpLink
from napari_bloodcell.gui.outlines import nuclei_of, outlined, outlines
from napari_bloodcell.gui.painting import painted_apart
from napari_bloodcell.gui.panel import Panel
from napari_bloodcell.gui.places import hide_other_outlines
from napari_bloodcell.gui.reader_name import ReaderName
from napari_bloodcell.gui.task import MARKED
from napari_bloodcell.gui.wrapped import Wrapped

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.viewer import Viewer

HELP = """
### Session

A session is a folder. **Open session** makes one of an empty folder, or opens one with everything that was in
it: images, outlines, nuclei, classes, tables.

While a session is open, all cells in the viewer are kept in it: one layer of outlines for each image. Every
correction is on disk within a second: who, when, which cell, from what to what. If the program or the machine
fails, open the folder again. Where the disk is full or gone, every panel says how many changes are not saved
yet; they are tried again every few seconds.

Images are remembered by their path and hash; those without a file are copied into the folder. Only one
program at a time may have a session open.

**Audit** writes the list of all changes as a table (CSV). On the command line: `napari-bloodcell session`.
"""


class SessionPanel(Panel):
    """``open_folder``, ``ask_folder`` and ``ask_file`` are what it calls."""

    says_unsaved = False  # its state does

    def __init__(self, napari_viewer: "Viewer") -> None:
        super().__init__(napari_viewer, "Open session …")
        self.open_folder = session_calls.open_folder
        self.ask_folder = partial(ask.folder, self, "A session's folder, or an empty one")
        self.ask_file = partial(ask.file_to_write, self, "Audit", "audit.csv", "Tables (*.csv)")
        self.session: OpenSession | None = None
        self._tried: weakref.WeakSet[Labels] = weakref.WeakSet()
        self._empty: weakref.WeakSet[Labels] = weakref.WeakSet()  # nothing is drawn on them yet
        self._waiting: weakref.WeakKeyDictionary[Labels, str] = weakref.WeakKeyDictionary()
        self.reader = ReaderName("Your name or sign: it stands beside every change.")
        self.reader.editingFinished.connect(self._rename_person)
        row = QHBoxLayout()
        row.addWidget(QLabel("Reader"))
        row.addWidget(self.reader, 1)
        self.state = Wrapped()
        self.audit_button = QPushButton("Audit …")
        self.audit_button.setToolTip("Write the list of all changes as a table (CSV).")
        self.audit_button.clicked.connect(self._write_audit)
        self.close_button = QPushButton("Close session")
        self.close_button.setToolTip(
            "Everything is on disk already; the layers stay open, and are not kept on."
        )
        self.close_button.clicked.connect(self._close)
        buttons = QHBoxLayout()
        buttons.addWidget(self.audit_button)
        buttons.addWidget(self.close_button)
        below = QHBoxLayout()
        below.addStretch(1)
        below.addWidget(HelpLink("Session", HELP))
        self.task.run_button.setToolTip("Choose a session's folder, or an empty one for a new session.")
        self.body.addLayout(row)
        self.body.addWidget(self.task)
        self.body.addWidget(self.state)
        self.body.addLayout(buttons)
        self.body.addLayout(below)
        self.body.addStretch(1)
        self.task.pressed.connect(self._open)
        self.task.busy_changed.connect(self._was_busy)
        for one in autosave.opened()[:1]:  # a panel that was closed and opened again
            self._take(one)
        self._show_state()
        self.layers_changed()

    def layers_changed(self) -> None:
        """Cells that have come are kept too."""
        if self.session is not None and not self.task.busy:
            self._keep_new()

    def _was_busy(self, busy: bool) -> None:
        if not busy:
            self._show_state()
            self.reset_choices()

    # opening

    def _open(self) -> None:
        folder = self.ask_folder()
        if folder is None:
            return
        if self.session is not None:
            self.task.say("Close the open session first.", error=True)
            return
        who = self.reader.name
        self.task.start(partial(self.open_folder, folder, who), self._opened)

    def _opened(self, opened: session_calls.Opened) -> Iterator[None]:
        session = OpenSession(opened.session)
        self._take(session)
        before = layers.images(self.viewer)
        for kept in opened.kept:
            watch = partial(self._watch, session, kept.key)
            yield from painted_apart(self, session_calls.lay_out(self.viewer, kept, watch))
        came = [one for one in layers.images(self.viewer) if one not in before]
        hide_other_outlines(self.viewer, [layers.picture_of(one, self.viewer) for one in came])
        if self.session is not session:
            return
        n = len(opened.kept)
        said = [f"Opened with {n} image{'' if n == 1 else 's'}."]
        if opened.session.torn:
            said.append("The last line of its audit was cut short by a crash and has been set aside.")
        self.task.say(" ".join([*said, *opened.missing]), error=bool(opened.missing))
        self._show_state()

    def _watch(self, session: OpenSession, key: str, cells: "Labels", nuclei: "Labels") -> None:
        """Unless the person has closed it while its layers were still coming."""
        if self.session is session:
            session.watch(cells, nuclei, key, self.viewer.layers)

    def _take(self, session: OpenSession) -> None:
        self.session = session
        session.saved.connect(self._show_state)
        session.failed.connect(self._say_failed)
        session.mended.connect(self._say_mended)
        session.waited.connect(self._show_state)
        session.closed.connect(self._was_closed)
        self._stay_with_window()

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 (Qt's name)
        super().showEvent(event)
        self._stay_with_window()  # a panel that was opened again has its session before its window

    def _stay_with_window(self) -> None:
        window = self._window()
        if self.session is not None and window is not None:
            self.session.belongs_to(window)

    # keeping what comes

    def _keep_new(self) -> None:
        if self.session is None or self.task.busy:
            return
        for layer, key in list(self._waiting.items()):
            if not self._refused(key):  # what stood in its way is gone
                del self._waiting[layer]
                self._tried.discard(layer)
        fresh = [
            layer
            for layer in outlines(self.viewer)
            if autosave.session_of(layer)[0] is None and layer not in self._tried
        ]
        pictures, kept = [], []
        for layer in fresh:
            if self._is_empty(layer):
                continue
            try:
                classes.check_plane(layer)
                pictures.append(outlined(layer, self.viewer).picture)
            except BloodcellError:
                continue  # a drawing without its image, or a stack
            kept.append(layer)
        self._tried.update(kept)  # what is refused is said once
        if kept and self.session is not None:
            call = partial(session_calls.add_images, self.session.session, pictures)
            self.task.start(call, partial(self._kept, kept))

    def _kept(self, cells: "list[Labels]", keys: list[str]) -> None:
        if self.session is None:
            return
        came, told = 0, []
        for layer, key in zip(cells, keys, strict=True):
            if layer not in self.viewer.layers:
                continue
            if why := self._refused(key):
                told.append(f"{layer.name} is not kept: {why}")
                self._waiting[layer] = key
                continue
            if self.session.knows(key):  # the person has taken the old outlines out
                self.session.replace(key)
                told.append(
                    f"{layer.name} takes the place of earlier cells of this image, which stay in the "
                    "session's folder under another name (audit: set aside)."
                )
            self.session.watch(layer, nuclei_of(layer, self.viewer), key, self.viewer.layers)
            self.session.record(session_calls.said_before(layer.metadata[layers.KEY], key))
            came += 1
        n = self.session.kept
        kept = f"{how_many(n, 'layer')} of cells {'is' if n == 1 else 'are'} kept in the session."
        self.task.say(" ".join([kept] * bool(came) + told), error=bool(told))

    def _is_empty(self, layer: "Labels") -> bool:
        """A layer to draw on takes no outlines' place; it is kept from its first stroke on."""
        if not isinstance(layer.data, np.ndarray):  # reading through what is lazy would hold up the window
            return False
        if layer.data.any():
            return False
        if layer not in self._empty:
            self._empty.add(layer)
            for emitter in _strokes(layer):
                emitter.connect(self._drawn)
        return True

    def _drawn(self, event: Any) -> None:
        if np.any(event.source.data):
            for emitter in _strokes(event.source):
                emitter.disconnect(self._drawn)
            self._keep_new()

    def _refused(self, key: str) -> str:
        """An image has one set of outlines in a session: another must not take its place unasked."""
        assert self.session is not None
        held = self.session.held(key)
        if held is not None and self.session.shows(key):
            return f"the session keeps {held.name} for this image. Remove that layer to have this one kept."
        if not self.session.knows(key) and self.session.session.has_cells(key):
            return (
                "the session holds cells of this image already, which could not be laid out when it was "
                "opened. Close the session and open it again: the image's new place is noted."
            )
        return ""

    # the rest

    def _rename_person(self) -> None:
        if self.session is not None:
            self.session.session.who = self.reader.name

    def _show_state(self, _lines: int = 0) -> None:
        is_open = self.session is not None
        for widget in (self.audit_button, self.close_button):
            widget.setEnabled(is_open)
        self.task.run_button.setEnabled(not is_open and not self.task.busy)
        if self.session is None:
            self.state.setText("No session is open: corrections are lost when napari closes.")
            self.state.setStyleSheet("")
            return
        events = self.session.session.events
        saved = f", saved {_clock(events[-1].when)}" if events else ""
        told = self.session.behind or f"{len(events)} lines of audit{saved}."
        self.state.setText(f"{self.session.session.folder}\n{told}")
        self.state.setStyleSheet(MARKED if self.session.behind else "")

    def _say_failed(self, text: str) -> None:
        self.task.say(text, error=True)
        self._show_state()

    def _say_mended(self) -> None:
        self.task.say("Saved: what could not be written before is on disk now.")

    def _write_audit(self) -> None:
        path = self.ask_file()
        if path is None or self.session is None:
            return
        folder = self.session.session.folder
        self.task.start(
            lambda _progress: write_audit(folder, path), lambda _none: self.task.say(f"Written to {path}")
        )

    def _close(self) -> None:
        if self.session is not None:
            self.session.close()

    def _was_closed(self) -> None:
        """Here, or in another window that had it open too."""
        session = self.session
        if session is None or not session.is_closed:
            return
        self.session = None
        self._tried.clear()
        self._waiting.clear()
        lost = len(session.unsaved)
        images = "1 image" if lost == 1 else f"{lost} images"
        said = "Closed. Everything is on disk."
        if lost:
            said = (
                f"Closed, but the last changes of {images} could not be written. The layers are still open: "
                "free some space and save them, or keep them in another session."
            )
        self.task.say(said, error=bool(lost))
        self._show_state()


def _clock(when: str) -> str:
    """As the clock on this wall says it; the audit keeps UTC."""
    return datetime.fromisoformat(when).astimezone().strftime("%H:%M")


def _strokes(layer: "Labels") -> tuple[Any, ...]:
    """What tells that something was drawn: napari does not tell every change in the same way."""
    return layer.events.paint, layer.events.data, layer.events.labels_update


def write_audit(folder: Path, path: Path) -> Any:
    from napari_bloodcell.core.session import write_audit as write

    write(folder, path)
