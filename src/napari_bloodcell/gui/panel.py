"""What all panels share: they scroll, choose an image, offer a sample, run a task, and close safely."""

from typing import TYPE_CHECKING

from magicgui.widgets import ComboBox
from qtpy.QtCore import QEvent, Qt, Signal
from qtpy.QtWidgets import QFormLayout, QFrame, QLabel, QPushButton, QScrollArea, QVBoxLayout, QWidget

from napari_bloodcell.gui import layers, samples
from napari_bloodcell.gui.task import Call, Run, Task, is_taken_out

if TYPE_CHECKING:
    from napari.viewer import Viewer

NARROWEST_PX = 300
LOWEST_PX = 220  # two panels above each other still show what they do on a small screen


class ImagePanel(QScrollArea):
    """A panel that works on one image layer.

    ``prepare`` loads what the work needs, in a thread, as soon as there is an image; ``prepared`` brings what
    it returns. Not before: napari's units load lazily, and two threads that load them at once break them.
    """

    prepared = Signal(object)

    def __init__(self, viewer: "Viewer", run_text: str, prepare: Call) -> None:
        super().__init__()
        self.viewer = viewer
        self._prepare = prepare
        self._preparing: Run | None = None
        self.draw_sample = samples.draw
        self._closed = False
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumSize(NARROWEST_PX, LOWEST_PX)
        self._body = QWidget()
        self.body = QVBoxLayout(self._body)
        self.body.setContentsMargins(8, 8, 8, 8)
        self.setWidget(self._body)

        self.image = ComboBox(choices=self._images, tooltip="The smear to work on.")
        self.choices = QFormLayout()
        self.choices.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.choices.addRow("Image", self.image.native)
        self.body.addLayout(self.choices)
        self.empty = QLabel("Open an image first: File > Open, or drop the file on the window.")
        self.empty.setWordWrap(True)
        self.sample_button = QPushButton("Open sample")
        self.sample_button.setToolTip("Draws a synthetic smear; nothing is downloaded.")
        self.sample_button.clicked.connect(self._open_sample)
        self.body.addWidget(self.empty)
        self.body.addWidget(self.sample_button)
        self.task = Task(run_text)
        self.task.busy_changed.connect(self.sample_button.setDisabled)
        self.reset_choices()

    def reset_choices(self, event: object = None) -> None:  # noqa: ARG002 (napari calls it with an event)
        """The image layers have changed. napari calls this for every docked widget."""
        if self._closed:
            return
        self.image.reset_choices()
        is_empty = self.image.value is None
        self.empty.setVisible(is_empty)
        self.sample_button.setVisible(is_empty)
        self.task.set_ready(not is_empty)
        if not is_empty and self._preparing is None:
            self._preparing = Run(self._prepare)
            self._preparing.ended.connect(self._tell_prepared)
            self._preparing.start()

    def event(self, event: QEvent) -> bool:
        handled: bool = super().event(event)
        if is_taken_out(self, event) and not self._closed:
            # Nobody will dock this widget again: the menu makes a new one. Left to Python's collector, it
            # could be taken down in the thread of a task, which Qt does not survive.
            self._closed = True
            self.task.cancel()
            if self._preparing is not None:
                self._preparing.cancel()
            self.deleteLater()
        return handled

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
