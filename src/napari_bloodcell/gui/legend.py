"""What the colours of points stand for: a dot and a name each, as many in a line as fit; or a ramp."""

from collections.abc import Sequence

from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QLinearGradient, QPainter, QPaintEvent, QPalette, QPen, QResizeEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

DOT_PX = 10
GAP_PX = 5  # between a dot and its name
APART_PX = 14  # between a name and the next dot
RAMP_PX = 90

Entry = tuple[str, str]  # colour and text


class Legend(QWidget):
    """Painted, as the points are: a dot never stands at the end of a line with its name on the next."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: Sequence[Entry] = ()
        self.ramp: Sequence[str] = ()  # colours from the least to the most
        self._title = ""
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_entries(self, entries: Sequence[Entry]) -> None:
        self.entries, self.ramp = list(entries), ()
        self._changed()

    def show_ramp(self, title: str, low: str, high: str, colours: Sequence[str]) -> None:
        self.entries, self.ramp, self._title = [("", low), ("", high)], list(colours), title
        self._changed()

    def text(self) -> str:
        """The same in words, for a screen reader too."""
        texts = [text for _, text in self.entries]
        if self.ramp:
            return f"{self._title}: {' to '.join(texts)}"
        return ", ".join(texts)

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        return QSize(200, self._height(max(self.width(), 1)))

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        return QSize(1, self._height(max(self.width(), 1)))

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        if event.oldSize().width() != event.size().width():
            self.updateGeometry()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange, QEvent.Type.PaletteChange):
            self._changed()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: ARG002, N802
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        if self.ramp:
            self._paint_ramp(painter, ink)
            return
        line = self._line()
        for (colour, text), (x, y) in zip(self.entries, self._places(self.width()), strict=True):
            painter.setPen(QPen(ink, 1))  # a thin edge, as on the map: light colours in a light theme
            painter.setBrush(QColor(colour))
            top = y + (line - DOT_PX) / 2
            painter.drawEllipse(QRectF(x + 0.5, top, DOT_PX, DOT_PX))
            painter.setPen(ink)
            room = max(self.width() - x - DOT_PX - GAP_PX, 1)
            shown = self.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, room)
            left = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
            painter.drawText(QRectF(x + DOT_PX + GAP_PX, y, room, line), int(left), shown)

    def _paint_ramp(self, painter: QPainter, ink: QColor) -> None:
        line, metrics = self._line(), self.fontMetrics()
        (_, low), (_, high) = self.entries
        before = f"{self._title}: {low}"
        x = metrics.horizontalAdvance(before) + GAP_PX
        painter.setPen(ink)
        painter.drawText(QPointF(0, metrics.ascent() + 2), before)
        shades = QLinearGradient(x, 0, x + RAMP_PX, 0)
        for at, colour in enumerate(self.ramp):
            shades.setColorAt(at / max(len(self.ramp) - 1, 1), QColor(colour))
        painter.fillRect(QRectF(x, 3, RAMP_PX, line - 6), shades)
        painter.drawText(QPointF(x + RAMP_PX + GAP_PX, metrics.ascent() + 2), high)

    def _line(self) -> int:
        return max(int(self.fontMetrics().height()), DOT_PX) + 4

    def _places(self, width: int) -> list[tuple[int, int]]:
        places, x, y = [], 0, 0
        for _, text in self.entries:
            wide = DOT_PX + GAP_PX + self.fontMetrics().horizontalAdvance(text)
            if x and x + wide > width:
                x, y = 0, y + self._line()
            places.append((x, y))
            x += wide + APART_PX
        return places

    def _height(self, width: int) -> int:
        if not self.entries:
            return 0
        return self._line() + (0 if self.ramp else self._places(width)[-1][1])

    def _changed(self) -> None:
        self.setAccessibleName(self.text())
        self.setToolTip(self.text())
        self.updateGeometry()
        self.update()
