"""A drop-down whose options come and go and which keeps what was chosen."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QToolButton, QWidget

from napari_bloodcell.gui import ask

DEFAULT_BUNDLE = "nano"


class _Box(QComboBox):
    """It tells that it is about to open: what it offers may have changed meanwhile."""

    opening = Signal()

    def showPopup(self) -> None:  # noqa: N802 (Qt's name)
        self.opening.emit()
        super().showPopup()


def keep_narrow(box: QComboBox) -> None:
    """No wider than a panel: the names of pictures are as long as a laboratory likes."""
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(8)


class Chooser(_Box):
    """``changed`` comes only where the value is another one afterwards."""

    changed = Signal()

    def __init__(self, tooltip: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setToolTip(tooltip)
        keep_narrow(self)
        self._values: list[Any] = []
        self._is_held = False  # somebody has chosen
        self.currentIndexChanged.connect(self.changed)
        self.activated.connect(self._hold)

    def _hold(self, _index: int = 0) -> None:
        self._is_held = True

    def offer(
        self, options: Sequence[tuple[str, Any]], *, else_: Any = None, unless_chosen: Any = None
    ) -> None:
        """What was chosen stays, if it is still there; if not, it is ``else_``, or the first.
        ``unless_chosen``: taken until somebody has chosen."""
        before = self.value
        self._is_held &= any(before is value for _, value in options)
        self.blockSignals(True)
        self.clear()
        self._values = [value for _, value in options]
        for text, _ in options:
            self.addItem(text)
        wishes = (before if self._is_held else unless_chosen, before, else_)
        wanted = next((one for one in wishes if one is not None and one in self._values), None)
        self.setCurrentIndex(0 if wanted is None else self._values.index(wanted))
        self.blockSignals(False)
        if self.value != before:
            self.changed.emit()

    @property
    def value(self) -> Any:
        at = self.currentIndex()
        return self._values[at] if 0 <= at < len(self._values) else None

    @value.setter
    def value(self, wanted: Any) -> None:
        self._hold()
        self.setCurrentIndex(self._values.index(wanted))

    @property
    def text(self) -> str:
        return str(self.currentText())


class BundleChoice(QHBoxLayout):
    """The models that ship, those a person kept, and any other. ``box`` holds names and paths."""

    def __init__(self) -> None:
        super().__init__()
        self.box = _Box()
        self.box.opening.connect(self.offer_kept)
        self.box.setToolTip("The model: what finds, measures and classifies the cells.")
        self.box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.box.addItem(DEFAULT_BUNDLE, DEFAULT_BUNDLE)
        other = QToolButton()
        other.setText("…")
        other.setToolTip("Use another model: a .bloodcell file, or bundle.json of a folder.")
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

    def offer_kept(self) -> None:
        """Models adapted or trained on this machine, by any panel, today or earlier; those gone go."""
        from napari_bloodcell.core.bundle.kept import kept_bundles, kept_folder

        here = kept_bundles()
        for row in reversed(range(self.box.count())):
            path = Path(str(self.box.itemData(row)))
            if path.parent == kept_folder() and path not in here and row != self.box.currentIndex():
                self.box.removeItem(row)
        for path in here:
            if self.box.findData(str(path)) < 0:
                self.box.addItem(path.stem, str(path))

    def choose(self, path: Path) -> None:
        if self.box.findData(str(path)) < 0:
            self.box.addItem(path.stem if path.suffix == ".bloodcell" else path.name, str(path))
        self.box.setCurrentIndex(self.box.findData(str(path)))

    def _choose(self) -> None:
        """A file, or bundle.json of a folder: one dialog for both."""
        kinds = "Models (*.bloodcell bundle.json)"
        path = ask.file_to_read(self.box, "A model: its file, or bundle.json", kinds)
        if path is not None:
            self.choose(path.parent if path.name == "bundle.json" else path)
