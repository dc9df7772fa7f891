"""A differential as a table: for every panel that shows one."""

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

if TYPE_CHECKING:
    from napari_bloodcell.core.report import Differential


class DifferentialTable(QTableWidget):
    """One row a class: colour, n, per cent, exact limits. It is as high as its rows: the panel scrolls."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, 4, parent)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setShowGrid(False)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(24)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setSectionsClickable(False)

    def show_differential(self, differential: "Differential") -> None:
        rows = rows_of(differential)
        self.setHorizontalHeaderLabels(["Class", "n", "%", f"{100 * differential.confidence:g} % limits"])
        self.setRowCount(len(rows))
        for at, row in enumerate(rows):
            for column, text in enumerate(row):
                item = QTableWidgetItem(text)
                if column == 0:
                    item.setText(text.replace("_", " "))
                    item.setIcon(_swatch(text))
                else:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.setItem(at, column, item)
        height = self.horizontalHeader().sizeHint().height() + 24 * len(rows) + 2 * self.frameWidth()
        self.setFixedHeight(height)


def rows_of(differential: "Differential") -> list[tuple[str, str, str, str]]:
    """The table's text. Without any cell there is neither per cent nor limit to show."""
    rows = []
    for row in differential.rows:
        percent, limits = f"{row.percent:.1f}", f"{row.low:.1f} to {row.high:.1f}"
        rows.append((row.class_name, str(row.n), *((percent, limits) if differential.counted else ("", ""))))
    for name, n in differential.outside.items():
        rate = differential.per_hundred.get(name)
        note = "not counted" if rate is None else f"{rate:.1f} per 100"
        rows.append((name, str(n), "", note))
    return rows


def _swatch(class_name: str) -> QIcon:
    from napari_bloodcell.core.palette import colour_of

    square = QPixmap(12, 12)
    square.fill(QColor(colour_of(class_name)))
    return QIcon(square)
