"""While a person reads cells blind: what tells answers of others is hidden, and comes back as it was."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from napari_bloodcell.gui import layers
from napari_bloodcell.gui.outlines import image_of
from napari_bloodcell.gui.panel import Panel
from napari_bloodcell.gui.places import covering
from napari_bloodcell.gui.selection import MARKS, Marks

if TYPE_CHECKING:
    from napari.layers import Labels, Layer
    from napari.viewer import Viewer

LOOK_MS = 250
ONE_COLOUR = "#1A1A1A"
OUTLINES = "cells, read blind"
LAYER_LIST = "layer list"  # its small pictures show the colours of classes
TELLING = "cell_type"  # a column that the bar below the image reads out under the mouse


class Veil(QObject):
    """Layers that hold classes, the list of layers, and our other panels. One that is shown or opened
    meanwhile is hidden again, and ``lifted`` tells so. The outlines of one field are shown in one colour,
    without a table."""

    lifted = Signal()

    def __init__(self, viewer: "Viewer", but: QWidget) -> None:
        super().__init__(but)
        self._viewer, self._but = viewer, but
        self._layers: dict[Layer, tuple[bool, bool]] = {}  # whether each was shown, and is
        self._docks: list[QDockWidget] = []
        self._heard: list[Layer] = []
        self._field: Labels | None = None
        self._active: Layer | None = None
        self.outlines = Marks(viewer, stays=True, role=OUTLINES, colour=ONE_COLOUR)
        self._look = QTimer(self)
        self._look.setInterval(LOOK_MS)
        self._look.timeout.connect(self._again)

    @property
    def field(self) -> "Labels | None":
        """Whose outlines are shown."""
        return self._field

    def draw(self) -> None:
        self._active = self._viewer.layers.selection.active
        self._hide()
        self._look.start()
        # After napari's own: its list of layers must have heard of the one choice before it hears of another.
        self._viewer.layers.selection.events.changed.connect(self._stay_off, position="last")
        self._viewer.layers.events.inserted.connect(self._again, position="last")

    def show_field(self, cells: "Labels", ids: Sequence[int]) -> None:
        """Its picture and its outlines, all in one colour; what lies over it is hidden."""
        image = image_of(cells, self._viewer)
        if image is not None:
            self._set(image, True)
            for one in covering(self._viewer, image):
                self._set(one, False)
        if cells is self._field:
            return
        if self._field is not None and self._field in self._viewer.layers:
            self.outlines.show(self._field, [])
        self._field = cells
        self.outlines.show(cells, ids)
        self._stay_off()

    def lift(self) -> None:
        """Everything as it was, but for what a person has changed since."""
        self._look.stop()
        self._viewer.layers.selection.events.changed.disconnect(self._stay_off)
        self._viewer.layers.events.inserted.disconnect(self._again)
        for layer in self._heard:
            layer.events.visible.disconnect(self._again)
        self._heard.clear()
        self.outlines.clear()
        self._field = None
        for layer, (was, now) in self._layers.items():
            if layer in self._viewer.layers and layer.visible == now:
                layer.visible = was
        for dock in self._docks:
            if isalive(dock) and dock.widget() is not None:
                dock.show()
        if self._active in self._viewer.layers:
            self._viewer.layers.selection.active = self._active
        self._active = None
        self._layers.clear()
        self._docks.clear()

    def _again(self, _event: object = None) -> None:
        if self._hide():
            self.lifted.emit()

    def _hide(self) -> bool:
        """Whether there was anything to hide."""
        telling = [one for one in self._viewer.layers if _tells(one)]
        for layer in telling:
            if layer not in self._heard:  # at once, and not only when it is looked for the next time
                layer.events.visible.connect(self._again)
                self._heard.append(layer)
        hidden = [one for one in telling if one.visible]
        for layer in hidden:
            self._set(layer, False)
        docks = self._open_docks()
        for dock in docks:
            dock.hide()
        self._docks += [dock for dock in docks if dock not in self._docks]
        self._stay_off()
        return bool(hidden or docks)

    def _stay_off(self, _event: object = None) -> None:
        """Of layers that are chosen napari reads out the table, also where they are hidden: below the image,
        at the mouse, and in its table of features."""
        selection = self._viewer.layers.selection
        if any(_tells(one) for one in selection):
            image = None if self._field is None else image_of(self._field, self._viewer)
            if image is None:
                selection.clear()
            else:
                selection.select_only(image)

    def _open_docks(self) -> list[QDockWidget]:
        window = self._but.window()
        if not isinstance(window, QMainWindow):
            return []
        return [
            dock
            for dock in window.findChildren(QDockWidget)
            if (isinstance(dock.widget(), Panel) or dock.objectName() == LAYER_LIST)
            and dock.widget() is not self._but
            and not dock.isHidden()
        ]

    def _set(self, layer: "Layer", shown: bool) -> None:
        if layer.visible != shown:
            was, _ = self._layers.get(layer, (layer.visible, shown))
            self._layers[layer] = was, shown
            layer.visible = shown


def _tells(layer: "Layer") -> bool:
    if layers.role_of(layer) in (MARKS, OUTLINES):
        return False
    is_ours = layers.role_of(layer) in (layers.CELLS, layers.CLASSES)
    return is_ours or TELLING in getattr(layer, "features", ())
