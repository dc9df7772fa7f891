"""The part of the train panel that shows what came of a training: words, the picture, Keep and Discard."""

from pathlib import Path

from qtpy.QtCore import Qt, QUrl, Signal
from qtpy.QtGui import QDesktopServices, QMouseEvent, QPixmap, QResizeEvent
from qtpy.QtWidgets import QDialog, QHBoxLayout, QLabel, QPushButton, QScrollArea, QVBoxLayout, QWidget

from napari_bloodcell.gui.wrapped import Wrapped

LARGE_PX = (1100, 700)


class Report(QLabel):
    """A picture as wide as the panel; a click shows it in full."""

    def __init__(self) -> None:
        super().__init__()
        self.setToolTip("Held-out cells before and after. Click to see it in full.")
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setMinimumWidth(1)
        self.full: QPixmap | None = None
        self.window_: QDialog | None = None

    def show_file(self, path: Path | None) -> None:
        picture = QPixmap() if path is None else QPixmap(str(path))
        self.full = None if picture.isNull() else picture
        self.setVisible(self.full is not None)
        self._fit()

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802 (Qt's name)
        super().resizeEvent(event)
        self._fit()

    def mouseReleaseEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802 (Qt's name)
        if event is not None and event.button() == Qt.MouseButton.LeftButton:
            self.show_full()

    def show_full(self) -> None:
        if self.full is None:
            return
        self.window_ = QDialog(self.window(), Qt.WindowType.Tool)
        self.window_.setWindowTitle("Before and after")
        self.window_.resize(*LARGE_PX)
        inside = QLabel()
        inside.setPixmap(self.full)
        area = QScrollArea()
        area.setWidget(inside)
        QVBoxLayout(self.window_).addWidget(area)
        self.window_.show()

    def _fit(self) -> None:
        if self.full is None or self.width() < 2:
            return
        wide = self.full.scaledToWidth(self.width(), Qt.TransformationMode.SmoothTransformation)
        self.setFixedHeight(wide.height())
        self.setPixmap(wide)


class TrainResult(QWidget):
    """``keep`` and ``discard`` are asked for; the panel does them."""

    keep = Signal()
    discard = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.words = Wrapped()
        self.words.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.report = Report()
        self.keep_button = QPushButton("Keep")
        self.keep_button.setToolTip("Makes one file of it, which the other panels then offer as a model.")
        self.keep_button.clicked.connect(self.keep)
        self.discard_button = QPushButton("Discard …")
        self.discard_button.setToolTip("Deletes what this training wrote, and nothing else. Asks first.")
        self.discard_button.clicked.connect(self.discard)
        self.open_button = QPushButton("Folder")
        self.open_button.setToolTip("Opens the folder of the training.")
        self.open_button.clicked.connect(lambda *_: self._open())
        self._folder: Path | None = None
        row = QHBoxLayout()
        row.addWidget(self.keep_button, 1)
        row.addWidget(self.discard_button, 1)
        row.addWidget(self.open_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.words)
        layout.addLayout(row)
        layout.addWidget(self.report)
        self.hide()

    def show_result(self, lines: tuple[str, ...], picture: Path | None, folder: Path) -> None:
        self._folder = folder
        self.words.setText("\n".join(lines))
        self.show()
        self.report.show_file(picture)
        self.set_free(True)

    def set_free(self, free: bool) -> None:
        for button in (self.keep_button, self.discard_button):
            button.setEnabled(free)

    def _open(self) -> None:
        if self._folder is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._folder)))
