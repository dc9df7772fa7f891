"""The part of the train panel that says what to train on: folders, and outlines drawn or corrected here."""

import weakref
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_bloodcell.gui import ask, by_hand, outlines
from napari_bloodcell.gui.layers import role_of
from napari_bloodcell.gui.wrapped import Wrapped

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.viewer import Viewer

LIST_PX = 92
VALUE = Qt.ItemDataRole.UserRole
WITH_LAYERS = "Add a folder, or open an image and outline its cells."
UNCORRECTED = (
    "Nobody has corrected an outline of some layers that are ticked: where they are wrong, the adapter "
    "learns just that. Go through them in Segment cells first, or untick them."
)
FOLDERS_ONLY = "Add a folder with the cells of several labs, a folder for each class."


class DataList(QWidget):
    """Ticked: folders, and for the adapter outlines too."""

    changed = Signal()

    def __init__(self, viewer: "Viewer") -> None:
        super().__init__()
        self.viewer = viewer
        self._by_person: weakref.WeakSet[Labels] = weakref.WeakSet()  # whose tick a person has set
        self._worth_before: weakref.WeakSet[Labels] = weakref.WeakSet()
        self._heard: list[Labels] = []
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self.layers_changed)
        self.ask_folder = partial(ask.folder, self, "Folder of cells")
        self._takes_layers = True
        self.list = QListWidget()
        self.list.setToolTip("What to train on: folders of cells, and outlines you drew or corrected here.")
        self.list.setFixedHeight(LIST_PX)
        self.list.itemChanged.connect(self._ticked)
        self.add_button = QPushButton("Add folder …")
        self.add_button.setToolTip("A folder of pictures with masks, or a data set of labelled cells.")
        self.add_button.clicked.connect(lambda *_: self._add())
        self.remove_button = QPushButton("Remove")
        self.remove_button.setToolTip("Takes the chosen folder off the list; nothing is deleted.")
        self.remove_button.clicked.connect(lambda *_: self._remove())
        self.nothing, self.uncorrected = Wrapped(WITH_LAYERS), Wrapped(UNCORRECTED)
        row = QHBoxLayout()
        row.addWidget(self.add_button, 1)
        row.addWidget(self.remove_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for one in (self.list, self.nothing, self.uncorrected):
            layout.addWidget(one)
        layout.addLayout(row)
        self.layers_changed()

    def take_layers(self, takes: bool) -> None:
        self._takes_layers = takes
        self.nothing.setText(WITH_LAYERS if takes else FOLDERS_ONLY)
        self.layers_changed()

    def layers_changed(self) -> None:
        """Folders stay, layers follow the viewer. Until a person ticks, those outlines are ticked that
        somebody corrected; where nobody has corrected any, all that were made here."""
        ticks = {id(value): ticked for value, ticked in self._items() if not isinstance(value, Path)}
        folders = [(value, ticked) for value, ticked in self._items() if isinstance(value, Path)]
        found = outlines.outlines(self.viewer) if self._takes_layers else []
        self._hear(found)
        worth = self._worth(found)
        self.list.blockSignals(True)
        self.list.clear()
        for layer in found:
            told = outlines.told(layer, self.viewer)
            told += f": {by_hand.told(layer)}" if role_of(layer) else ""
            is_as_before = layer in self._by_person or (layer in worth) == (layer in self._worth_before)
            stays = id(layer) in ticks and is_as_before
            self._put(told, layer, ticks[id(layer)] if stays else layer in worth and not folders, layer.name)
        self._worth_before = weakref.WeakSet(worth)
        for folder, ticked in folders:
            self._put(folder.name or str(folder), folder, ticked, str(folder))
        self.list.blockSignals(False)
        self.nothing.setVisible(self.list.count() == 0)
        self._say_uncorrected()
        self.changed.emit()

    def _worth(self, found: "Sequence[Labels]") -> "list[Labels]":
        made = [one for one in found if role_of(one) and outlines.image_of(one, self.viewer) is not None]
        return [one for one in made if by_hand.by_hand(one)] or made

    def _hear(self, found: "list[Labels]") -> None:
        """What is corrected meanwhile is told here."""
        for layer in self._heard:
            layer.events.features.disconnect(self._corrected)
        for layer in found:
            layer.events.features.connect(self._corrected)
        self._heard = found

    def stop_hearing(self) -> None:
        self._soon.stop()
        self._hear([])

    def _corrected(self, _event: object = None) -> None:
        self._soon.start()

    def _ticked(self, item: QListWidgetItem) -> None:
        value = item.data(VALUE)
        if not isinstance(value, Path):
            self._by_person.add(value)
        self._say_uncorrected()
        self.changed.emit()

    def _say_uncorrected(self) -> None:
        ticked = [one for one in self.ticked() if not isinstance(one, Path) and role_of(one)]
        self.uncorrected.setVisible(any(not by_hand.by_hand(one) for one in ticked))

    def set_folders(self, folders: Sequence[Path]) -> None:
        """These folders, ticked; outlines are unticked where there are folders."""
        self.list.blockSignals(True)
        for row in reversed(range(self.list.count())):
            if isinstance(self._value(row), Path):
                self.list.takeItem(row)
        for row in range(self.list.count()) if folders else ():
            item = self.list.item(row)
            if item is not None:
                item.setCheckState(Qt.CheckState.Unchecked)
        for folder in folders:
            self._put(folder.name or str(folder), folder, True, str(folder))
        self.list.blockSignals(False)
        self.layers_changed()

    def add_folder(self, folder: Path) -> None:
        known = [value for value, _ in self._items() if isinstance(value, Path)]
        if folder not in known:
            self._put(folder.name or str(folder), folder, True, str(folder))
        self.nothing.setVisible(False)
        self.changed.emit()

    def ticked(self) -> list[Any]:
        """Folders and layers."""
        return [value for value, ticked in self._items() if ticked]

    def taken(self) -> tuple[Any, ...]:
        """The same, safe to hand to a thread. A layer without its image raises."""
        return tuple(
            one if isinstance(one, Path) else outlines.outlined(one, self.viewer) for one in self.ticked()
        )

    def _items(self) -> list[tuple[Any, bool]]:
        items = [item for row in range(self.list.count()) if (item := self.list.item(row)) is not None]
        return [(one.data(VALUE), one.checkState() == Qt.CheckState.Checked) for one in items]

    def _value(self, row: int) -> Any:
        item = self.list.item(row)
        return None if item is None else item.data(VALUE)

    def _put(self, text: str, value: Any, ticked: bool, tooltip: str) -> None:
        item = QListWidgetItem(text)
        item.setData(VALUE, value)
        item.setToolTip(tooltip)
        item.setCheckState(Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked)
        self.list.addItem(item)

    def _add(self) -> None:
        folder = self.ask_folder()
        if folder is not None:
            self.add_folder(folder)

    def _remove(self) -> None:
        row = self.list.currentRow()
        if row >= 0 and isinstance(self._value(row), Path):
            self.list.takeItem(row)
            self.layers_changed()


class PathRow(QWidget):
    """A folder to type or to choose; empty is allowed."""

    def __init__(self, tooltip: str, *, placeholder: str = "") -> None:
        super().__init__()
        self.ask = partial(ask.folder, self, "Choose a folder")
        self.line = QLineEdit()
        self.line.setToolTip(tooltip)
        self.line.setPlaceholderText(placeholder)
        other = QToolButton()
        other.setText("…")
        other.setToolTip(tooltip)
        other.clicked.connect(lambda *_: self._choose())
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.line, 1)
        layout.addWidget(other)

    @property
    def value(self) -> Path | None:
        text = self.line.text().strip()
        return Path(text).expanduser() if text else None

    @value.setter
    def value(self, path: Path | None) -> None:
        self.line.setText("" if path is None else str(path))
        self.line.setCursorPosition(len(self.line.text()))  # the end of a path tells most

    def _choose(self) -> None:
        chosen = self.ask()
        if chosen is not None:
            self.value = chosen
