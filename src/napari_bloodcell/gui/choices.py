"""A drop-down whose options come and go and which keeps what was chosen."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QToolButton, QWidget

DEFAULT_BUNDLE = "nano"


class Chooser(QComboBox):
    """``changed`` comes only where the value is another one afterwards."""

    changed = Signal()

    def __init__(self, tooltip: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setToolTip(tooltip)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(8)
        self._values: list[Any] = []
        self.currentIndexChanged.connect(self.changed)

    def offer(self, options: Sequence[tuple[str, Any]]) -> None:
        before = self.value
        self.blockSignals(True)
        self.clear()
        self._values = [value for _, value in options]
        for text, _ in options:
            self.addItem(text)
        self.setCurrentIndex(self._values.index(before) if before in self._values else 0)
        self.blockSignals(False)
        if self.value != before:
            self.changed.emit()

    @property
    def value(self) -> Any:
        at = self.currentIndex()
        return self._values[at] if 0 <= at < len(self._values) else None

    @value.setter
    def value(self, wanted: Any) -> None:
        self.setCurrentIndex(self._values.index(wanted))

    @property
    def text(self) -> str:
        return str(self.currentText())


class BundleChoice(QHBoxLayout):
    """The models that ship, and any other folder. ``box`` holds names and paths."""

    def __init__(self) -> None:
        super().__init__()
        self.box = QComboBox()
        self.box.setToolTip("The model: what finds, measures and classifies the cells.")
        self.box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.box.addItem(DEFAULT_BUNDLE, DEFAULT_BUNDLE)
        other = QToolButton()
        other.setText("…")
        other.setToolTip("Use a model from another folder")
        other.clicked.connect(self._choose)
        self.addWidget(self.box, 1)
        self.addWidget(other)

    @property
    def value(self) -> str:
        return str(self.box.currentData())

    def offer(self, names: Sequence[str]) -> None:
        for name in names:
            if self.box.findData(name) < 0:
                self.box.addItem(name, name)

    def choose(self, path: Path) -> None:
        self.box.addItem(path.name, str(path))
        self.box.setCurrentIndex(self.box.count() - 1)

    def _choose(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self.box, "Folder of a model")
        if chosen:
            self.choose(Path(chosen))
