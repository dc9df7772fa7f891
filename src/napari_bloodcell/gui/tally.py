"""A differential as a table: for every panel that shows one."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QFontMetrics, QIcon, QPainter, QPaintEvent, QPalette, QPen, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

if TYPE_CHECKING:
    from napari_bloodcell.core.report import CountRow, Differential

BARS = "Per cent of the white cells; the thin line spans the exact limits."
NAMES = 0.45  # of the width, at most, for the names beside the bars
LONG = 20  # letters of a name that may be cut: the tool tip has it whole

WIDEST_NAME_PX = 150  # of a slide, in its table


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

    def show_differential(self, differential: "Differential", colours: Mapping[str, str] = {}) -> None:
        """``colours``: where a person chose others than the usual ones."""
        rows = rows_of(differential)
        self.setHorizontalHeaderLabels(["Class", "n", "%", f"{100 * differential.confidence:g} % limits"])
        self.setRowCount(len(rows))
        for at, row in enumerate(rows):
            for column, text in enumerate(row):
                item = QTableWidgetItem(text)
                if column == 0:
                    item.setText(text.replace("_", " "))
                    item.setIcon(_swatch(colours.get(text) or _usual(text)))
                else:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.setItem(at, column, item)
        height = self.horizontalHeader().sizeHint().height() + 24 * len(rows) + 2 * self.frameWidth()
        self.setFixedHeight(height)


def rows_of(differential: "Differential") -> list[tuple[str, str, str, str]]:
    """The table's text. Without any cell there is neither per cent nor limit to show."""
    from napari_bloodcell.core.report.differential import NOT_KNOWN

    rows = []
    for row in differential.rows:
        percent, limits = f"{row.percent:.1f}", f"{row.low:.1f} to {row.high:.1f}"
        rows.append((row.class_name, str(row.n), *((percent, limits) if differential.counted else ("", ""))))
    rows += [(name, "", "", NOT_KNOWN) for name in differential.unknown]
    for name, n in differential.outside.items():
        rate = differential.per_hundred.get(name)
        note = "not counted" if rate is None else f"{rate:.1f} per 100"
        rows.append((name, str(n), "", note))
    return rows


def _usual(class_name: str) -> str:
    from napari_bloodcell.core.palette import colour_of

    return colour_of(class_name)


def _swatch(colour: str) -> QIcon:
    square = QPixmap(12, 12)
    square.fill(QColor(colour))
    return QIcon(square)


class SlidesTable(QTableWidget):
    """One row a slide: cells counted, and per cent of each class. ``what``: another word for a slide."""

    def __init__(self, what: str = "Slide", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._what = what
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setToolTip(f"Per cent of each class, {what.lower()} by {what.lower()}.")
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(24)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)

    def show_slides(
        self,
        slides: "Sequence[tuple[str, Differential]]",
        beside: tuple[str, Sequence[str]] | None = None,
        *,
        with_limits: bool = False,
    ) -> None:
        """``beside``: the head of a further column after ``n``, and its words."""
        names = list(dict.fromkeys(row.class_name for _, one in slides for row in one.rows))
        heads = [self._what, "n", *(name.replace("_", " ") for name in names)]
        words: Sequence[Sequence[str]] = [()] * len(slides)
        if beside is not None:
            heads.insert(2, beside[0])
            words = [(word,) for word in beside[1]]
        self.setColumnCount(len(heads))
        self.setHorizontalHeaderLabels(heads)
        self.setRowCount(len(slides))
        for at, (slide, one) in enumerate(slides):
            shares = [_share(one, name, with_limits=with_limits) for name in names]
            for column, text in enumerate((slide, str(one.counted), *words[at], *shares)):
                item = QTableWidgetItem(text)
                item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
                if not column:
                    item.setToolTip(text)
                if column:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.setItem(at, column, item)
        # File names are as long as a laboratory likes: the figures beside them must stay in view.
        self.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Interactive)
        self.setColumnWidth(0, min(self.sizeHintForColumn(0) + 8, WIDEST_NAME_PX))
        self.setFixedHeight(self.horizontalHeader().sizeHint().height() + 24 * min(len(slides), 8) + 18)


def _share(differential: "Differential", name: str, *, with_limits: bool) -> str:
    """Of a class, in per cent; empty where nothing was counted, or the model does not know the class."""
    if name in differential.unknown or not differential.counted:
        return ""
    row = next((row for row in differential.rows if row.class_name == name), None)
    limits = "" if row is None or not with_limits else f" ({row.low:.1f} to {row.high:.1f})"
    return f"{differential.percent(name):.1f}{limits}"


class Bars(QWidget):
    """Per cent of each class as a bar, with a line over its exact limits."""

    ROW_PX = 20

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: Sequence[CountRow] = ()
        self._colours: Mapping[str, str] = {}
        self._counted = 0
        self.setToolTip(BARS)
        self.setAccessibleName("Bars of the differential")

    def show_differential(self, differential: "Differential", colours: Mapping[str, str] = {}) -> None:
        self._rows, self._counted, self._colours = differential.rows, differential.counted, colours
        self.setFixedHeight(self.ROW_PX * len(self._rows) + self.ROW_PX)
        names = [row.class_name.replace("_", " ") for row in self._rows if len(row.class_name) > LONG]
        self.setToolTip(BARS + "".join(f"\n{name}" for name in names))
        self.update()

    def names_within(self, metrics: QFontMetrics) -> list[str]:
        """The names of the rows, those cut that would leave too little room for the bars."""
        widest = max(int(NAMES * self.width()) - 8, 1)
        names = (row.class_name.replace("_", " ") for row in self._rows)
        return [metrics.elidedText(name, Qt.TextElideMode.ElideRight, widest) for name in names]

    def colour_of(self, class_name: str) -> str:
        return self._colours.get(class_name) or _usual(class_name)

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text = self.palette().color(QPalette.ColorRole.WindowText)
        names = self.names_within(painter.fontMetrics())
        left = max((painter.fontMetrics().horizontalAdvance(name) for name in names), default=0) + 8
        wide = max(self.width() - left - 8, 10)
        for at, row in enumerate(self._rows):
            top = at * self.ROW_PX
            painter.setPen(text)
            painter.drawText(0, top, left - 8, self.ROW_PX, int(_LINE), names[at])
            bar = round(wide * row.percent / 100)
            painter.fillRect(left, top + 4, bar, self.ROW_PX - 8, QColor(self.colour_of(row.class_name)))
            if self._counted:
                low, high = (left + round(wide * limit / 100) for limit in (row.low, row.high))
                middle = top + self.ROW_PX // 2
                painter.setPen(QPen(text, 1))
                painter.drawLine(low, middle, high, middle)
                for end in (low, high):
                    painter.drawLine(end, middle - 3, end, middle + 3)
        bottom = self.ROW_PX * len(self._rows)
        painter.setPen(text)
        for percent in (0, 25, 50, 75, 100):
            place = left + round(wide * percent / 100)
            painter.drawLine(place, bottom, place, bottom + 3)
            box = (place - 20 if percent < 100 else place - 32, bottom + 4, 40, self.ROW_PX - 4)
            painter.drawText(*box, int(Qt.AlignmentFlag.AlignCenter), f"{percent}")
        painter.end()


_LINE = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight
