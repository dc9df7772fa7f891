"""The list of classes: key, colour, name, how many cells. Names and colours are changed in place."""

from collections.abc import Mapping

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QColorDialog,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from napari_bloodcell.core.class_list import ClassList
from napari_bloodcell.core.records import UNIDENTIFIED
from napari_bloodcell.core.taxonomy import normalise

KEY, NAME, CELLS, SEEN = range(4)
ROW_PX = 24
SWATCH_PX = 14
MOST_ROWS = 12  # more of them scroll


class ClassTable(QTableWidget):
    """``chosen`` brings the class that is clicked on; the others what a person asks for."""

    chosen = Signal(str)
    renamed = Signal(str, str)
    recoloured = Signal(str, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, 4, parent)
        self.setHorizontalHeaderLabels(["Key", "Class", "Cells", "Seen"])
        tips = (
            "Press this key over the image to give the chosen cell this class.",
            "Click to choose the class, twice to rename it. Click twice on the key to change its colour.",
            "How many cells have this class.",
            "How many of them a person has confirmed or corrected.",
        )
        for column, tip in enumerate(tips):
            self.horizontalHeaderItem(column).setToolTip(tip)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(
            QAbstractItemView.EditTrigger.DoubleClicked | QAbstractItemView.EditTrigger.EditKeyPressed
        )
        self.setShowGrid(False)
        self.setAccessibleName("Classes")
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(ROW_PX)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        header.setSectionsClickable(False)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._names: list[str] = []
        self._now_called = ""
        self._colours: list[str] = []
        self._filling = False
        self.pick_colour = self._pick_colour
        self.itemChanged.connect(self._edited)
        self.currentCellChanged.connect(self._moved)
        self.cellDoubleClicked.connect(self._double_clicked)

    @property
    def current(self) -> str:
        """The class that is chosen; empty where none is."""
        row = self.currentRow()
        return self._names[row] if 0 <= row < len(self._names) else ""

    def choose(self, name: str) -> None:
        if name in self._names:
            self.setCurrentCell(self._names.index(name), NAME)

    def follow(self, old: str, new: str) -> None:
        """The next time classes are shown, one that was chosen is found under its new name."""
        if self.current == old:
            self._now_called = normalise(new)

    def show_classes(self, classes: ClassList, cells: Mapping[str, int], seen: Mapping[str, int]) -> None:
        before, self._now_called = self._now_called or self.current, ""
        self._filling = True
        self._names, self._colours = list(classes.names), list(classes.colours.values())
        self.setRowCount(len(self._names))
        for row, name in enumerate(self._names):
            texts = (classes.digit(name), shown(name), str(cells.get(name, 0)), str(seen.get(name, 0)))
            for column, text in enumerate(texts):
                self.setItem(row, column, self._item(column, text, name))
        row = self._names.index(before) if before in self._names else -1
        self.setCurrentCell(row, NAME if row >= 0 else -1)
        self._filling = False
        rows = min(len(self._names), MOST_ROWS)
        self.setFixedHeight(
            self.horizontalHeader().sizeHint().height() + ROW_PX * rows + 2 * self.frameWidth()
        )

    def _item(self, column: int, text: str, name: str) -> QTableWidgetItem:
        item = QTableWidgetItem(text)
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        if column == KEY:
            item.setIcon(swatch(self._colours[self._names.index(name)]))
            item.setToolTip("Click twice to choose another colour.")
        elif column == NAME:
            if name != UNIDENTIFIED:
                flags |= Qt.ItemFlag.ItemIsEditable
        else:
            item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        item.setFlags(flags)
        return item

    def _edited(self, item: QTableWidgetItem) -> None:
        if self._filling or item.column() != NAME:
            return
        old = self._names[item.row()]
        if item.text().strip() != shown(old):
            self.renamed.emit(old, item.text())

    def _moved(self, row: int, *_: int) -> None:
        if not self._filling and 0 <= row < len(self._names):
            self.chosen.emit(self._names[row])

    def _double_clicked(self, row: int, column: int) -> None:
        if column == KEY:
            colour = self.pick_colour(self._colours[row])
            if colour:
                self.recoloured.emit(self._names[row], colour)

    def _pick_colour(self, colour: str) -> str:
        picked = QColorDialog.getColor(QColor(colour), self, "Colour of the class")
        return str(picked.name().upper()) if picked.isValid() else ""


def shown(name: str) -> str:
    return name.replace("_", " ")


def swatch(colour: str) -> QIcon:
    square = QPixmap(SWATCH_PX, SWATCH_PX)
    square.fill(QColor(colour))
    return QIcon(square)
