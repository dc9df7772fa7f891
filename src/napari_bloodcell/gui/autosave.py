"""Sessions that are open in this window: what is changed on a layer is on disk a moment later.

A layer says in its metadata which session it belongs to (``"session": {"folder", "image"}``), so any panel
that changes it is recorded, and a panel that is closed loses nothing. Writing is done in a thread, in order.
"""

import atexit
import weakref
from collections.abc import Container, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QWidget

from napari_bloodcell.core.session import Change, Lines, Outlines, Pending, Session, SessionCells, SetAside
from napari_bloodcell.core.session.pending import Job
from napari_bloodcell.gui import layers
from napari_bloodcell.gui.in_order import InOrder
from napari_bloodcell.gui.napari_ways import unwrapped

if TYPE_CHECKING:
    import pandas as pd
    from napari.layers import Labels

SETTLE_MS = 300  # after the last stroke of the brush; the change is on disk within a second of it
AGAIN_MS = 5_000  # until what could not be written is tried again
LINK = "session"

_open: "dict[str, OpenSession]" = {}


class News(QObject):
    """``changed``: what ``behind`` gives is another text now. For every panel, whichever session it is."""

    changed = Signal()


news = News()


class OpenSession(QObject):
    """One session that this window holds. ``saved`` tells how long its audit is, ``failed`` that something
    could not be written, once until all of it is, ``mended`` that it is, ``waited`` that one more try did not
    help.

    What could not be written is tried again by itself. Both are told in napari's own notifications too: the
    person may have closed every panel of ours.
    """

    saved = Signal(int)
    failed = Signal(str)
    mended = Signal()
    waited = Signal()
    closed = Signal()
    _tried = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self._writer = InOrder()
        self._writer.failed.connect(self._tell)
        self._pending = Pending(session)
        self._is_behind = False
        self._again = QTimer(self)
        self._again.setSingleShot(True)
        self._again.setInterval(AGAIN_MS)
        self._again.timeout.connect(self._write)
        self._tried.connect(self._hear)
        self._watched: dict[str, _Watched] = {}
        self._windows: list[int] = []
        self.is_closed = False
        _open[str(session.folder)] = self

    @property
    def unsaved(self) -> set[str]:
        """Images of which something could not be written."""
        return self._pending.images if self._pending.why else set()

    @property
    def behind(self) -> str:
        """What is not written, for a person; empty where all is."""
        why, count = self._pending.why, self._pending.count
        if not why:
            return ""
        are = "1 change is" if count == 1 else f"{count} changes are"
        return f"{are} not saved yet: {why} It is tried again by itself every {AGAIN_MS // 1000} seconds."

    def record(self, changes: Sequence[Change]) -> None:
        if changes:
            self._hand_in(Lines(changes=changes, who=self.session.who))

    def watch(
        self, layer: "Labels", nuclei: "Labels | None", key: str, among: Container[Any] | None = None
    ) -> None:
        """From now on the outlines of this layer are kept in the session, at once and after each change.
        ``among``: the layers of the viewer it is in; there may be several viewers."""
        if key in self._watched:
            self._watched.pop(key).stop()
        ours = layer.metadata.get(layers.KEY, {})
        link = {"folder": str(self.session.folder), "image": key}
        layer.metadata = layer.metadata | {layers.KEY: {"role": layers.CELLS} | ours | {LINK: link}}
        self._watched[key] = _Watched(self, unwrapped(layer), nuclei, key, among)

    def replace(self, key: str) -> None:
        """Other outlines are coming for this image; those kept stay in the folder under another name."""
        self._watched.pop(key).stop()
        self._hand_in(SetAside(key=key))

    def save_now(self, key: str) -> None:
        """The table has changed as a whole: a model has predicted."""
        if key in self._watched:
            self._watched[key].save(anew=True)

    def held(self, key: str) -> "Labels | None":
        """The layer whose outlines are kept of an image; None where there is none, or it was let go."""
        return self._watched[key].layer if key in self._watched else None

    def shows(self, key: str) -> bool:
        """Whether that layer is in its viewer still."""
        return key in self._watched and self._watched[key].is_shown

    @property
    def kept(self) -> int:
        """How many layers are kept."""
        return len(self._watched)

    def belongs_to(self, window: QWidget) -> None:
        """With the last of its windows it is closed: a kernel may live on, and nobody could see it."""
        if id(window) not in self._windows:  # a window that is held here would not go
            self._windows.append(id(window))
            window.destroyed.connect(partial(self._window_went, id(window)))

    def _window_went(self, window: int, _gone: object = None) -> None:
        self._windows.remove(window)
        if not self._windows and not self.is_closed:
            self.close()

    def knows(self, key: str) -> bool:
        """Whether outlines of this image are or were laid out in this window."""
        return key in self._watched

    def save(self, outlines: Outlines) -> None:
        self._hand_in(outlines)

    def close(self) -> None:
        """Everything handed in is written first."""
        self._again.stop()
        for watched in self._watched.values():
            watched.stop()
        self._watched.clear()
        _open.pop(str(self.session.folder), None)
        self._write()
        self._writer.close()
        self.session.close()
        self.is_closed = True
        self.closed.emit()
        news.changed.emit()

    def _hand_in(self, job: Job) -> None:
        self._writer.submit(lambda: self._pending.add(job))
        self._write()

    def _write(self) -> None:
        self._writer.submit(self._write_all)

    def _write_all(self) -> None:
        """In the thread."""
        try:
            self._pending.write()
        finally:
            self._tried.emit()

    def _hear(self) -> None:
        """On the main thread, after each try."""
        was_behind, self._is_behind = self._is_behind, bool(self._pending.why)
        if self.is_closed:
            return
        if self._is_behind or was_behind:
            news.changed.emit()
        if not self._is_behind:
            self.saved.emit(len(self.session.events))
            if was_behind:
                show_info(f"Saved: all changes are in {self.session.folder} now.")
                self.mended.emit()
            return
        self._again.start()
        if was_behind:
            self.waited.emit()
        else:
            self._tell(self.behind)

    def _tell(self, text: str) -> None:
        show_error(text)
        self.failed.emit(text)


class _Watched:
    """Outlines of one layer: compared with what was saved last, when the brush has come to rest."""

    def __init__(
        self,
        session: OpenSession,
        layer: "Labels",
        nuclei: "Labels | None",
        key: str,
        among: Container[Any] | None,
    ) -> None:
        self._session, self._key = session, key
        self._among = (lambda: None) if among is None else weakref.ref(unwrapped(among))
        self._layer = weakref.ref(layer)
        self._nuclei = (lambda: None) if nuclei is None else weakref.ref(nuclei)
        self._told: Any = None  # the outlines that the audit knows of
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(SETTLE_MS)
        self._timer.timeout.connect(self.save)
        self._events = [layer.events.paint, layer.events.data, layer.events.labels_update]
        if nuclei is not None:
            self._events += [nuclei.events.paint, nuclei.events.data]
        for emitter in self._events:
            emitter.connect(self._changed)
        self.save(anew=True)

    @property
    def layer(self) -> "Labels | None":
        return self._layer()

    @property
    def is_shown(self) -> bool:
        among = self._among()
        return among is not None and self._layer() in among

    def stop(self) -> None:
        self._timer.stop()
        self.save()
        for emitter in self._events:
            emitter.disconnect(self._changed)

    def save(self, *, anew: bool = False) -> None:
        layer = self._layer()
        if layer is None:
            return
        labels, nucleus, table = _taken(layer, self._nuclei())
        made_from = {k: v for k, v in layer.metadata.get(layers.KEY, {}).items() if k != LINK}

        def taken(anew: bool) -> tuple[SessionCells, list[Change]] | None:
            changes = changed_outlines(self._told, labels, self._key)
            if not changes and not anew:
                return None  # napari tells of every redraw
            present = np.unique(labels)
            kept = table[table["label"].isin(present)]
            return SessionCells(labels=labels, nucleus=nucleus, table=kept, made_from=made_from), changes

        def told() -> None:
            self._told = labels

        self._session.save(Outlines(key=self._key, source=self, taken=taken, told=told, anew=anew))

    def _changed(self, _event: object = None) -> None:
        self._timer.start()


def opened() -> list[OpenSession]:
    return list(_open.values())


def behind() -> str:
    """What is not written of the sessions that are open; empty where all is."""
    return " ".join(one.behind for one in opened() if one.behind)


def session_of(layer: "Labels") -> tuple[OpenSession | None, str]:
    """The open session a layer belongs to, and the key of its image in it. A copy of the layer has its link
    too, and is not kept."""
    link = layer.metadata.get(layers.KEY, {}).get(LINK)
    one = _open.get(link["folder"]) if link else None
    if link is None or one is None or one.held(link["image"]) is not unwrapped(layer):
        return None, ""
    return one, link["image"]


def changed_outlines(before: Any, after: Any, key: str) -> list[Change]:
    """A line for each cell whose pixels differ. Nothing was saved before: nothing was changed by hand."""
    if before is None or before.shape != after.shape:
        return []
    differ = before != after
    touched = np.union1d(np.unique(before[differ]), np.unique(after[differ]))
    length = int(max(before.max(initial=0), after.max(initial=0))) + 1
    old, new = (np.bincount(labels.ravel(), minlength=length) for labels in (before, after))
    return [
        Change(
            action="outline",
            image=key,
            cell_id=int(cell),
            old=int(old[cell]),
            new=int(new[cell]),
            note="area in px",
        )
        for cell in touched
        if cell > 0
    ]


def _taken(layer: "Labels", nuclei: "Labels | None") -> "tuple[Any, Any, pd.DataFrame]":
    """Copies, taken on the main thread: the person may paint on."""
    labels = np.asarray(layer.data).reshape(layer.data.shape[-2:]).astype(np.int32, copy=True)
    nucleus = np.zeros(labels.shape, bool)
    if nuclei is not None and nuclei.data.shape[-2:] == labels.shape:
        nucleus = (np.asarray(nuclei.data).reshape(labels.shape) > 0) & (labels > 0)
    table = layer.features.copy()
    if "label" not in table:
        table["label"] = table["index"] if "index" in table else np.zeros(len(table), int)
    return labels, nucleus, table.drop(columns="index", errors="ignore")


@atexit.register
def _close_all() -> None:
    for one in opened():
        one.close()
