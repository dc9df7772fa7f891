"""Corrections of the outlines of one Labels layer: on the layers, in the table, with the way back.

The brush counts too: each stroke is one correction. The layer of nuclei and the coloured rims follow. Our own
layers are heard from when a panel of ours first sees them until they go, whichever panel is open by then.
"""

import weakref
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from napari_bloodcell.core.errors import BloodcellError, SegmentError
from napari_bloodcell.core.segment import edit as editing
from napari_bloodcell.gui import autosave, by_hand, classes, layers
from napari_bloodcell.gui.corrected_rows import rows_after, without_match
from napari_bloodcell.gui.followers import go_with, make_copies_their_own
from napari_bloodcell.gui.napari_ways import unwrapped
from napari_bloodcell.gui.outlines import image_of, nuclei_of, outlines, picture_under, shown_plane
from napari_bloodcell.gui.prompt_layers import REDO, UNDO
from napari_bloodcell.gui.steps import at_once
from napari_bloodcell.gui.task import Latest

if TYPE_CHECKING:
    import pandas as pd
    from napari.layers import Labels
    from napari.viewer import Viewer


@dataclass(frozen=True)
class _Done:
    """An edit, and the rows of its cells before it."""

    edit: editing.Edit
    rows: Any


class Corrections(QObject):
    """``changed`` tells what was done, in words. One for each layer, made by ``corrections_of``; it holds
    neither the layer nor the viewer, and its history outlives it."""

    changed = Signal(str)

    def __init__(self, viewer: "Viewer", cells: "Labels") -> None:
        super().__init__()
        self._viewer_ref, self._layer = weakref.ref(viewer), weakref.ref(cells)
        self._history = _histories.setdefault(cells, editing.History())
        self._rows = _rows.setdefault(cells, {})
        self._writing = False
        self._rims = Latest(self)
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._collect)
        self._seen = self.labels.copy()
        self._is_unsure = True  # whether the table fits: somebody may have drawn while nobody heard
        self._soon.start()
        cells.events.paint.connect(self._painted)
        cells.events.data.connect(self._painted)
        viewer.layers.events.removed.connect(self._removed)
        cells.bind_key(UNDO, lambda _: self.undo(), overwrite=True)
        cells.bind_key(REDO, lambda _: self.redo(), overwrite=True)

    @property
    def _viewer(self) -> "Viewer":
        viewer = self._viewer_ref()
        if viewer is None:
            raise SegmentError("The viewer of these outlines is closed.")
        return viewer

    @property
    def layer(self) -> "Labels | None":
        return self._layer()

    @property
    def cells(self) -> "Labels":
        layer = self._layer()
        if layer is None or layer not in self._viewer.layers:
            raise SegmentError("The outlines are gone from the viewer. Segment the image again.")
        return layer

    @property
    def labels(self) -> Any:
        layer = self.cells
        if layer.multiscale or not isinstance(layer.data, np.ndarray):
            raise SegmentError(
                f"The outlines {layer.name} are read piece by piece and cannot be corrected here. "
                "Make a copy first: right-click the layer, Duplicate."
            )
        if layer.data.size != np.prod(layer.data.shape[-2:]):
            raise SegmentError(
                f"The outlines {layer.name} hold {layer.data.shape[0]} planes; one is corrected at a time. "
                "Split them first: right-click the layer, Split Stack."
            )
        return shown_plane(layer, self._viewer)

    @property
    def nucleus(self) -> Any:
        layer = nuclei_of(self.cells, self._viewer)
        labels = self.labels
        if layer is None or layer.data.shape != self.cells.data.shape:
            return np.zeros(labels.shape, bool)
        return shown_plane(layer, self._viewer) > 0

    def can(self) -> tuple[bool, bool]:
        return bool(self._history.done), bool(self._history.undone)

    def do(self, edit: editing.Edit) -> None:
        self._collect()
        self._add(edit)

    def _add(self, edit: editing.Edit) -> None:
        before = self._rows_of(edit)
        self._write(edit, edit.labels_after, edit.nucleus_after, None)
        self._history.add(edit)
        self._keep_by_hand()
        self._rows[id(edit)] = _Done(edit, before)
        self.changed.emit(_told(edit))

    def undo(self) -> None:
        self._collect()
        if not self._history.done:
            return
        edit = self._history.done[-1]
        after = self._rows_of(edit)
        self._write(edit, edit.labels_before, edit.nucleus_before, self._rows_known(edit))
        self._history.undo()
        self._keep_by_hand()
        self._rows[id(edit)] = _Done(edit, after)
        self.changed.emit(f"Undone: {_told(edit)}")

    def redo(self) -> None:
        self._collect()
        if not self._history.undone:
            return
        edit = self._history.undone[-1]
        before = self._rows_of(edit)
        self._write(edit, edit.labels_after, edit.nucleus_after, self._rows_known(edit))
        self._history.redo()
        self._keep_by_hand()
        self._rows[id(edit)] = _Done(edit, before)
        self.changed.emit(f"Done again: {_told(edit)}")

    def _keep_by_hand(self) -> None:
        by_hand.keep(self.cells, (cell for edit in self._history.done for cell in edit.cells))

    def stop(self) -> None:
        self._rims.stop()
        self._soon.stop()
        _heard.discard(self)
        if (viewer := self._viewer_ref()) is not None:
            viewer.layers.events.removed.disconnect(self._removed)
        layer = self._layer()
        if layer is not None:
            layer.events.paint.disconnect(self._painted)
            layer.events.data.disconnect(self._painted)
            for key in (UNDO, REDO):
                layer.bind_key(key, None, overwrite=True)
        self.deleteLater()  # here: Python's collector might do it in a thread, which Qt does not survive

    def _removed(self, event: Any) -> None:
        layer, viewer = self._layer(), self._viewer_ref()
        if layer is not None and event.value is layer:
            self.stop()
            if viewer is not None:
                go_with(viewer, layer)

    def _painted(self, _event: object = None) -> None:
        """A stroke of the person's brush: napari may tell before the pixels have changed."""
        if not self._writing:
            self._soon.start()

    def _collect(self) -> None:
        """What the brush has changed becomes a correction."""
        self._soon.stop()
        try:
            labels = self.labels
        except SegmentError:
            return
        if labels.shape != self._seen.shape:  # another picture
            self._seen, self._is_unsure = labels.copy(), True
            self._history.done.clear()
            self._history.undone.clear()
        if self._is_unsure:
            self._is_unsure = False
            self._make_table_fit()
        rows, columns = np.nonzero(labels != self._seen)
        if not len(rows):
            return
        stroke = editing.brush(rows, columns, self._seen[rows, columns], labels[rows, columns], self.nucleus)
        self._add(stroke)

    def _make_table_fit(self) -> None:
        layer = self.cells
        if not _is_ours(layer) or not (cells := without_match(layer.features, self._seen)):
            return
        layer.features = rows_after(layer.features, self._seen, cells, None)
        session, key = autosave.session_of(layer)
        if session is not None:
            session.save_now(key)

    def _write(self, edit: editing.Edit, values: Any, inside: Any, known: "pd.DataFrame | None") -> None:
        """Outlines, nuclei and table; where one of them fails, all stay as they were."""
        layer = self.cells
        nuclei = nuclei_of(layer, self._viewer)
        wanted = [(layer, values)]
        if nuclei is not None and nuclei.data.shape == layer.data.shape:
            wanted.append((nuclei, np.where(inside, values, 0)))
        table = layer.features
        before = [(one, one.data[_pixels(one, self._viewer, edit)]) for one, _ in wanted]
        self._writing = True
        try:
            for one, pixels in wanted:
                _set(one, self._viewer, edit, pixels)
            self._update_rows(edit, known)
        except Exception:
            for one, pixels in before:
                one.data[_pixels(one, self._viewer, edit)] = pixels
                one.refresh()
            if layer.features is not table:
                layer.features = table
            raise
        finally:
            self._writing = False
        self._seen[edit.rows, edit.columns] = values
        self._draw_rims()

    def _draw_rims(self) -> None:
        """The coloured rims of the classes, drawn anew in a thread."""
        layer = self.cells
        image = image_of(layer, self._viewer)
        if image is None or classes.classes_layer(self._viewer, layer) is None:
            return
        picture = picture_under(layer, image, self._viewer)
        self._rims.ask(partial(_rims_of, self.labels.copy()), partial(self._show_rims, picture))

    def _show_rims(self, picture: layers.Picture, rims: Any) -> None:
        try:
            at_once(classes.show_rims(self._viewer, self.cells, picture, rims))
        except BloodcellError:
            return  # the layer went while they were drawn

    def _rows_of(self, edit: editing.Edit) -> "pd.DataFrame":
        features: pd.DataFrame = self.cells.features
        if "index" not in features:
            return features[:0]
        rows: pd.DataFrame = features[features["index"].isin(edit.cells)].copy()
        return rows

    def _rows_known(self, edit: editing.Edit) -> "pd.DataFrame | None":
        done = self._rows.get(id(edit))
        return None if done is None else done.rows

    def _update_rows(self, edit: editing.Edit, known: "pd.DataFrame | None") -> None:
        layer = self.cells
        features = layer.features
        if "index" not in features:
            return
        table = rows_after(features, self.labels, edit.cells, known)
        layer.features = table


_histories: "weakref.WeakKeyDictionary[Labels, editing.History]" = weakref.WeakKeyDictionary()
_rows: "weakref.WeakKeyDictionary[Labels, dict[int, _Done]]" = weakref.WeakKeyDictionary()
_heard: set[Corrections] = set()


def corrections_of(viewer: "Viewer", cells: "Labels") -> Corrections:
    """Whoever asks for those of a layer gets the same ones."""
    layer = unwrapped(cells)
    for one in _heard:
        if one.layer is layer:
            return one
    made = Corrections(unwrapped(viewer), layer)
    _heard.add(made)
    return made


def hear_all(viewer: "Viewer") -> None:
    """From now on what is drawn on layers whose table is ours is in the table, whichever panel is open."""
    make_copies_their_own(outlines(viewer), [one.layer for one in _heard])
    for layer in outlines(viewer):
        if _is_ours(layer):
            with suppress(SegmentError):  # stacks, and slides read piece by piece, are not corrected
                corrections_of(viewer, layer)


def let_go(corrections: Corrections) -> None:
    """By a panel: a person's own drawing is then theirs again."""
    layer = corrections.layer
    if layer is None or not _is_ours(layer):
        corrections.stop()


def _is_ours(layer: "Labels") -> bool:
    """A table of cells that a panel made, on a layer of ours or on a person's drawing."""
    columns = set(layer.features)
    is_table = "cell_type_source" in columns or columns == {"index", "label"}
    return "index" in columns and (is_table or layers.role_of(layer) == layers.CELLS)


def _pixels(layer: "Labels", viewer: "Viewer", edit: editing.Edit) -> tuple[Any, ...]:
    """Where the edit lies in the layer's array, axes before the picture's own included."""
    lead = layer.ndim - 2
    point = layer.world_to_data(viewer.dims.point)[:lead]
    at = [
        np.full(len(edit.rows), min(max(round(float(p)), 0), n - 1))
        for p, n in zip(point, layer.data.shape, strict=False)
    ]
    return (*at, edit.rows, edit.columns)


def _set(layer: "Labels", viewer: "Viewer", edit: editing.Edit, values: Any) -> None:
    where, pixels = _pixels(layer, viewer, edit), np.asarray(values).astype(layer.data.dtype)
    if layer.visible and layer.loaded:
        layer.data_setitem(where, pixels)  # as napari paints: it draws what changed, and tells who listens
        return
    # What is hidden was maybe never drawn, and then napari's own way paints past the end of the drawing.
    before = layer.data[where]
    layer.data[where] = pixels
    layer.refresh()
    layer.events.paint(value=[(where, before, pixels)])


def _rims_of(labels: Any, progress: Any) -> Any:  # noqa: ARG001 (a call of a task)
    return layers.rims_of(labels)


def _told(edit: editing.Edit) -> str:
    cells = ", ".join(map(str, edit.cells[:6])) + (" …" if len(edit.cells) > 6 else "")
    verb = {"delete": "Deleted", "merge": "Merged", "split": "Split", "draw": "Drawn", "brush": "Painted"}
    name = (
        "Erased" if edit.name == "brush" and not edit.labels_after.any() else verb.get(edit.name, edit.name)
    )
    return f"{name}: {'cell' if len(edit.cells) == 1 else 'cells'} {cells}."
