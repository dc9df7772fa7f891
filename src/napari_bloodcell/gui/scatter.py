"""Points in the plane to look at and to choose from: click, lasso, wheel. It knows no cells and no layers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPalette, QPen, QPolygonF, QWheelEvent
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

MARGIN_PX = 14
NEAR_PX = 9.0  # a click this near to a point means it
LEAST_LASSO_PX = 6.0
MOST_ZOOM = 60.0
SELECTED = "#FF2D95"


class Scatter(QWidget):
    """``selected`` brings the rows a person chose, ascending; an empty array where the choice was dropped."""

    selected = Signal(object)

    def __init__(self, empty_text: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMinimumHeight(240)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMouseTracking(True)
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.setToolTipDuration(10_000)
        self.empty_text = empty_text
        self._xy = np.zeros((0, 2))
        self._colours: list[str] = []
        self._names: Sequence[str] = ()
        self._texts: tuple[str, ...] = ()  # written beside the points
        self._chosen = np.zeros(0, np.intp)
        self._lasso: list[QPointF] = []
        self._adds = False
        self._middle, self._zoom = np.zeros(2), 1.0
        self._span = np.ones(2)

    def show_points(
        self,
        xy: NDArray[Any],
        colours: Sequence[str],
        names: Sequence[str] = (),
        texts: Sequence[str] = (),
    ) -> None:
        """N x 2, a colour each; ``names`` are shown under the mouse, ``texts`` always."""
        same_places = np.array_equal(self._xy, xy)
        self._xy = np.asarray(xy, float).reshape(-1, 2)
        self._colours, self._names, self._texts = list(colours), names, tuple(texts)
        if not same_places:
            self._chosen = np.zeros(0, np.intp)
            self.show_all()
        self.update()

    def select(self, rows: Any) -> None:
        """Mark rows, without telling anyone."""
        self._chosen = np.unique(np.asarray(rows, np.intp))
        self.update()

    @property
    def chosen(self) -> NDArray[np.intp]:
        return self._chosen

    def show_all(self) -> None:
        if len(self._xy):
            low, high = self._xy.min(axis=0), self._xy.max(axis=0)
            self._middle = (low + high) / 2
            self._span = np.maximum(high - low, 1e-6)
            self._span = np.maximum(self._span, self._span.max() / 20)
        self._zoom = 1.0
        self.update()

    def places(self) -> NDArray[np.float64]:
        """Where the points are in the widget: N x 2 pixels."""
        return (self._xy - self._middle) * self._per_unit() * (1, -1) + self._centre()

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        if event.button() == Qt.MouseButton.LeftButton:
            self._adds = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
            self._lasso = [event.position()]

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        if self._lasso:
            self._lasso.append(event.position())
            self.update()
            return
        near = self._nearest(event.position())
        name = self._names[near] if near is not None and near < len(self._names) else ""
        QToolTip.showText(event.globalPosition().toPoint(), name, self)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        if event.button() != Qt.MouseButton.LeftButton or not self._lasso:
            return
        line, self._lasso = self._lasso, []
        box = QPolygonF(line).boundingRect()
        if max(box.width(), box.height()) < LEAST_LASSO_PX:
            near = self._nearest(event.position())
            rows = np.zeros(0, np.intp) if near is None else np.array([near], np.intp)
        else:
            rows = self._within(QPolygonF(line))
        self._chosen = np.union1d(self._chosen, rows) if self._adds else rows
        self.update()
        self.selected.emit(self._chosen)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # noqa: ARG002, N802
        self.show_all()

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        if not len(self._xy):
            return
        place = np.array([event.position().x(), event.position().y()])
        held = (place - self._centre()) / self._per_unit() * (1, -1) + self._middle
        self._zoom = float(np.clip(self._zoom * 1.2 ** (event.angleDelta().y() / 120), 1.0, MOST_ZOOM))
        self._middle = held - (place - self._centre()) / self._per_unit() * (1, -1)
        if self._zoom == 1.0:
            self.show_all()
        event.accept()
        self.update()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802
        if event.type() in (QEvent.Type.PaletteChange, QEvent.Type.StyleChange):
            self.update()
        super().changeEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: ARG002, N802
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        faint = QColor(ink)
        faint.setAlpha(28)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(faint)
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)
        if not len(self._xy):
            painter.setPen(ink)
            inner = self.rect().adjusted(MARGIN_PX, MARGIN_PX, -MARGIN_PX, -MARGIN_PX)
            flags = int(Qt.AlignmentFlag.AlignCenter) | int(Qt.TextFlag.TextWordWrap)
            painter.drawText(inner, flags, self.empty_text)
            return
        places = self.places()
        self._draw_points(painter, places, ink)
        painter.setPen(ink)
        for place, text in zip(places, self._texts, strict=False):
            right = place[0] + 8 + painter.fontMetrics().horizontalAdvance(text) > self.width()
            step = -8 - painter.fontMetrics().horizontalAdvance(text) if right else 8
            painter.drawText(QPointF(place[0] + step, place[1] + 4), text)
        if len(self._lasso) > 1:
            painter.setPen(QPen(QColor(SELECTED), 1.5, Qt.PenStyle.DashLine))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawPolygon(QPolygonF(self._lasso))

    def _draw_points(self, painter: QPainter, places: NDArray[np.float64], ink: QColor) -> None:
        size = 9.0 if len(places) < 400 else 6.0 if len(places) < 4000 else 4.0
        size *= min(self._zoom, 3.0) ** 0.4
        if len(self._chosen):  # a ring round each chosen point, below all points
            _dots(painter, places[self._chosen], QColor(SELECTED), size + 6)
        elif len(places) < 400:
            _dots(painter, places, ink, size + 1.5)
        groups: dict[str, list[int]] = {}
        for row, colour in enumerate(self._colours):
            groups.setdefault(colour, []).append(row)
        for colour, rows in groups.items():
            _dots(painter, places[rows], QColor(colour), size)

    def _nearest(self, place: QPointF) -> int | None:
        if not len(self._xy):
            return None
        gaps = np.hypot(*(self.places() - (place.x(), place.y())).T)
        best = int(gaps.argmin())
        return best if gaps[best] <= NEAR_PX else None

    def _within(self, line: QPolygonF) -> NDArray[np.intp]:
        rule = Qt.FillRule.OddEvenFill
        inside = [line.containsPoint(QPointF(x, y), rule) for x, y in self.places()]
        return np.flatnonzero(inside)

    def _centre(self) -> NDArray[np.float64]:
        return np.array([self.width() / 2, self.height() / 2])

    def _per_unit(self) -> NDArray[np.float64]:
        room = np.maximum(np.array([self.width(), self.height()]) - 2 * MARGIN_PX, 10)
        per_unit: NDArray[np.float64] = self._zoom * room / self._span
        return per_unit


def _dots(painter: QPainter, places: NDArray[np.float64], colour: QColor, size: float) -> None:
    painter.setPen(QPen(colour, size, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
    painter.drawPoints(QPolygonF([QPointF(x, y) for x, y in places]))
