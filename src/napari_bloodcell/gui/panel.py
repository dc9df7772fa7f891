"""What all panels share: they scroll, run a task and close safely. Image panels also choose an image, offer a
sample and hand image and settings to the core call.
"""

import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, Qt, QTimer, Signal
from qtpy.QtGui import QKeyEvent, QKeySequence, QShowEvent
from qtpy.QtWidgets import (
    QDockWidget,
    QFormLayout,
    QFrame,
    QMainWindow,
    QPushButton,
    QScrollArea,
    QTabBar,
    QVBoxLayout,
    QWidget,
)

from napari_bloodcell.gui import autosave, layers, preferences, samples
from napari_bloodcell.gui.choices import Chooser, keep_narrow
from napari_bloodcell.gui.corrections import hear_all
from napari_bloodcell.gui.counted_once import counted_once
from napari_bloodcell.gui.followers import while_there
from napari_bloodcell.gui.outlines import outlines
from napari_bloodcell.gui.task import MARKED, Call, Run, Task, is_taken_out
from napari_bloodcell.gui.with_image import follow_images
from napari_bloodcell.gui.wrapped import Wrapped

if TYPE_CHECKING:
    from napari.layers import Image, Labels
    from napari.viewer import Viewer

PLUGIN = " (napari-bloodcell)"  # which napari adds to the title of a dock
NARROWEST_PX = 300
ALL = "all"
LOWEST_PX = 220  # two panels that were dragged above each other still show what they do on a small screen


class Panel(QScrollArea):
    """A docked widget of ours. ``body`` takes what it shows; napari calls ``reset_choices``."""

    says_unsaved = True  # that changes could not be written into the open session, above all else

    def __init__(self, viewer: "Viewer", run_text: str) -> None:
        super().__init__()
        preferences.apply()
        self.viewer = viewer
        self._closed = self._docked = False
        self._window: Callable[[], QWidget | None] = lambda: None  # in which it was docked
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumSize(NARROWEST_PX, LOWEST_PX)
        self._body = QWidget()
        self.unsaved = Wrapped()
        self.unsaved.setStyleSheet(MARKED)
        self.unsaved.hide()
        self.body = QVBoxLayout(self._body)
        self.body.setContentsMargins(8, 8, 8, 8)
        self.body.addWidget(self.unsaved)
        self.setWidget(self._body)
        self._body.installEventFilter(self)
        self.task = Task(run_text)
        autosave.news.changed.connect(self._show_unsaved)
        self._show_unsaved()

    def _show_unsaved(self) -> None:
        text = autosave.behind() if self.says_unsaved else ""
        self.unsaved.setText(text)
        self.unsaved.setVisible(bool(text))

    def eventFilter(self, watched: Any, event: QEvent) -> bool:  # noqa: N802 (Qt's name)
        """Wide enough for what is in it, the scroll bar beside it included: nothing is cut at the side."""
        if watched is self._body and event.type() == QEvent.Type.LayoutRequest:
            beside = self.verticalScrollBar().sizeHint().width()
            self.setMinimumWidth(max(NARROWEST_PX, self._body.minimumSizeHint().width() + beside))
        handled: bool = super().eventFilter(watched, event)
        return handled

    def reset_choices(self, event: object = None) -> None:  # noqa: ARG002 (napari calls it with an event)
        """The layers have changed. napari calls this for every docked widget."""
        if not self._closed:
            hear_all(self.viewer)
            follow_images(self.viewer)
            self.layers_changed()

    def layers_changed(self) -> None:
        """For the panel to override: layers came, went, moved or got another name."""

    def closing(self) -> None:
        """For the panel to override: let go of layers and calls under way."""
        self.task.cancel()

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 (Qt's name)
        super().showEvent(event)
        dock = self.parentWidget()
        if not self._docked and isinstance(dock, QDockWidget):
            self._docked = True
            self._window = weakref.ref(dock.parentWidget())
            dock.setWindowTitle(dock.windowTitle().removesuffix(PLUGIN))  # of the tab: it is narrow
            QTimer.singleShot(0, self._join)

    def _join(self) -> None:
        """A tab beside our other panels: above each other they would be taller than the window. Only once,
        and only with ours: where a person moves it afterwards it stays."""
        dock = self.parentWidget()
        window = dock.parentWidget() if isinstance(dock, QDockWidget) else None
        if not isinstance(window, QMainWindow) or dock.isFloating() or self._closed:
            return
        side = window.dockWidgetArea(dock)
        beside = [
            one
            for one in window.findChildren(QDockWidget)
            if isinstance(one.widget(), Panel)
            and one is not dock
            and not (one.isFloating() or one.isHidden())
            and window.dockWidgetArea(one) == side
        ]
        if beside:
            window.tabifyDockWidget(beside[-1], dock)
            dock.raise_()
            _keep_names_whole(window, dock.windowTitle())

    def _go(self, _of: object = None) -> None:
        self.task.stop_showing()
        self.deleteLater()

    def event(self, event: QEvent) -> bool:
        handled: bool = super().event(event)
        if is_taken_out(self, event) and not self._closed:
            # Nobody will dock this widget again: the menu makes a new one. Left to Python's collector, it
            # could be taken down in the thread of a task, which Qt does not survive.
            self._closed = True
            self.closing()
            window = self._window()
            if self.task.is_showing and window is not None and isalive(window):
                # What was computed is shown to its end.
                self.task.busy_changed.connect(self._go)
                window.destroyed.connect(self._go)
            else:
                self.deleteLater()
        return handled


def _keep_names_whole(window: QMainWindow, title: str) -> None:
    """Of the tabs among which this one is: nine do not fit side by side, and can be scrolled instead."""
    for bar in window.findChildren(QTabBar):
        if any(bar.tabText(at) == title for at in range(bar.count())):
            bar.setElideMode(Qt.TextElideMode.ElideNone)
            bar.setUsesScrollButtons(True)


def on_top(viewer: "Viewer", of: "Sequence[Any]") -> Any:
    """Of some layers the active one, else the highest that is shown."""
    active = viewer.layers.selection.active
    return active if active in of else next((one for one in reversed(of) if one.visible), of[-1])


class ImagePanel(Panel):
    """A panel that works on one image layer.

    ``prepare`` loads what the work needs, in a thread, as soon as there is an image; ``prepared`` brings what
    it returns. Not before: napari's units load lazily, and two threads that load them at once break them.
    """

    prepared = Signal(object)

    def __init__(self, viewer: "Viewer", run_text: str, prepare: Call) -> None:
        super().__init__(viewer, run_text)
        self._prepare = prepare
        self._preparing: Run | None = None
        self.draw_sample = samples.draw
        self.image = ComboBox(choices=self._images, tooltip="The smear to work on.")
        keep_narrow(self.image.native)
        self.image.native.activated.connect(self.hold_image)
        self._held = False
        self._offered: list[Image] = []
        self.choices = QFormLayout()
        self.choices.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.choices.addRow("Image", self.image.native)
        self.body.addLayout(self.choices)
        self.empty = Wrapped("Open an image first: File > Open, or drop the file on the window.")
        self.sample_button = QPushButton("Open sample")
        self.sample_button.setToolTip("Draws a synthetic smear; nothing is downloaded.")
        self.sample_button.clicked.connect(self._open_sample)
        self.body.addWidget(self.empty)
        self.body.addWidget(self.sample_button)
        self.task.busy_changed.connect(self.sample_button.setDisabled)
        self.reset_choices()

    def hold_image(self, _index: object = None) -> None:
        """A person has chosen: images that are opened later do not take its place."""
        self._held = True

    def _offer_images(self) -> None:
        """The one that is active, or on top, until a person chooses; an image that is opened is on top."""
        before, chosen = self._offered, self.image.value
        self.image.reset_choices()
        self._offered = found = layers.images(self.viewer)
        self._held = self._held and chosen in found
        came = [one for one in found if one not in before]
        if found and not self._held and (came or chosen not in found):
            self.image.value = found[-1] if before and came else on_top(self.viewer, found)

    def layers_changed(self) -> None:
        self._offer_images()
        is_empty = self.image.value is None
        self.empty.setVisible(is_empty)
        self.sample_button.setVisible(is_empty)
        self.task.set_ready(not is_empty)
        if not is_empty and self._preparing is None:
            self._preparing = Run(self._prepare)
            self._preparing.ended.connect(self._tell_prepared)
            self._preparing.start()

    def closing(self) -> None:
        super().closing()
        if self._preparing is not None:
            self._preparing.cancel()

    def _tell_prepared(self) -> None:
        # What failed here fails again, and is shown, when Run is pressed.
        if self._preparing is not None and self._preparing.error is None:
            self.prepared.emit(self._preparing.result)

    def _images(self, _widget: object) -> list[object]:
        return list(layers.images(self.viewer))

    def _open_sample(self) -> None:
        draw = self.draw_sample  # the call must not hold the panel
        self.task.start(
            lambda progress: draw(progress=progress), self._add_sample, saying="Drawing a synthetic smear …"
        )

    def _add_sample(self, sample: samples.LayerData) -> None:
        layers.add_sample(self.viewer, sample)


class CellsPanel(Panel):
    """A panel that works on cells that are there already, in Labels layers. ``chosen`` are the layers.

    ``cells_changed`` comes, at most once a turn of the event loop, when another layer is chosen or when
    anything about its cells has changed, whoever changed it.
    """

    def __init__(self, viewer: "Viewer", run_text: str, *, several: bool = False) -> None:
        super().__init__(viewer, run_text)
        self._several = several
        self._heard: list[Labels] = []
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._tell)
        self.draw_sample = samples.draw_cells
        self.cells = Chooser("The outlines of the cells to work on: a Labels layer.")
        self.cells.changed.connect(self._listen)
        self.choices = QFormLayout()
        self.choices.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.choices.addRow("Cells", self.cells)
        self.body.addLayout(self.choices)
        self.empty = Wrapped(
            "There are no outlines of cells yet. Make them with Count cells or Segment cells, "
            "or open a sample."
        )
        self.sample_button = QPushButton("Open sample")
        self.sample_button.setToolTip("Draws a synthetic smear and counts it; nothing is downloaded.")
        self.sample_button.clicked.connect(self._open_sample)
        self.body.addWidget(self.empty)
        self.body.addWidget(self.sample_button)
        self.task.busy_changed.connect(self.sample_button.setDisabled)

    @property
    def chosen(self) -> "list[Labels]":
        """The layers chosen; one, or all of them."""
        value = self.cells.value
        if value is None:
            return []
        return counted_once(outlines(self.viewer)) if value == ALL else [value]

    def cells_changed(self) -> None:
        """For the panel to override."""

    def options_of(self, together: "Sequence[Labels]") -> list[tuple[str, Any]]:  # noqa: ARG002 (none here)
        """For the panel to override: what else can be chosen of several layers; ``chosen`` must know it."""
        return []

    def step(self, *, back: bool) -> bool:  # noqa: ARG002 (no changes here)
        """For the panel to override: take its last change back, or make it again. False: it makes none."""
        return False

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 (Qt's name)
        """What no field in the panel takes. Over the image Ctrl+Z stays napari's: it takes strokes back."""
        ways = {QKeySequence.StandardKey.Undo: True, QKeySequence.StandardKey.Redo: False}
        wanted = [back for key, back in ways.items() if event.matches(key)]
        if not wanted or not self.step(back=wanted[0]):
            super().keyPressEvent(event)

    def layers_changed(self) -> None:
        found = outlines(self.viewer)
        options: list[tuple[str, Any]] = [(layer.name, layer) for layer in found]
        together = counted_once(found) if self._several else []
        if len(together) > 1:
            options = [(f"All {len(together)} layers", ALL), *self.options_of(together), *options]
        every = ALL if len(together) > 1 else None  # also where the first one was there alone before
        self.cells.offer(options, else_=self._begun_with(found, together), unless_chosen=every)
        self.empty.setVisible(not found)
        self.sample_button.setVisible(not found)
        self.task.set_ready(bool(found))
        self._listen()

    def _begun_with(self, found: "list[Labels]", together: "list[Labels]") -> Any:
        if len(together) > 1 or not found:
            return None  # all of them, as the first choice is
        return on_top(self.viewer, together or found)

    def closing(self) -> None:
        super().closing()
        self._soon.stop()
        self._hear([])

    def _listen(self) -> None:
        # Of sets of one picture the one that a person works on counts: a set that is left out is heard too.
        followed = outlines(self.viewer) if self.cells.value == ALL else self.chosen
        if self._heard != followed:
            self._hear(followed)
            self._soon.start()

    def _hear(self, chosen: "list[Labels]") -> None:
        for layer in self._heard:
            layer.events.features.disconnect(self._cells_changed)
        for layer in chosen:
            layer.events.features.connect(self._cells_changed)
        self._heard = chosen

    def _cells_changed(self, _event: object = None) -> None:
        self._soon.start()

    def _tell(self) -> None:
        if not self._closed:
            hear_all(self.viewer)  # a drawing may have got a table
            self.cells_changed()

    def _open_sample(self) -> None:
        draw = self.draw_sample  # the call must not hold the panel
        self.task.start(
            lambda progress: draw(progress=progress), self._add_sample, saying="Drawing a synthetic smear …"
        )

    def _add_sample(self, sample: samples.Counted) -> "Iterator[None]":
        image = layers.add_sample(self.viewer, sample.image)
        yield
        picture = layers.picture_of(image, self.viewer)
        steps = layers.add_analysis(self.viewer, picture, sample.analysis, sample.table, sample.rims)
        yield from while_there(self.viewer, picture, steps)
