"""How a training goes, epoch by epoch: the loss above, the score on held-out cells below."""

import math
from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

HEIGHT_PX = 210
LEFT_PX, RIGHT_PX, GAP_PX, BELOW_PX, TITLE_PX = 46, 10, 8, 18, 17
LOSS, SCORE = "#56B4E9", "#E69F00"  # Okabe and Ito's: told apart by colour-blind people, in both themes
DOTS_UP_TO = 60  # epochs; more would be a row of beads


class Curves(QWidget):
    """``add`` takes an epoch as the core tells it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFixedHeight(HEIGHT_PX)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)
        self.setAccessibleName("Loss and score by epoch")
        self._epochs: list[Any] = []
        self._last = 1

    @property
    def epochs(self) -> list[Any]:
        return list(self._epochs)

    def begin(self, epochs: int) -> None:
        """Empty, with room for so many epochs."""
        self._epochs, self._last = [], max(1, epochs)
        self.update()

    def add(self, epoch: Any) -> None:
        self._epochs = [one for one in self._epochs if one.number < epoch.number] + [epoch]
        self.update()

    @property
    def best(self) -> Any:
        """The epoch with the best score so far; None before the first."""
        scored = [one for one in self._epochs if math.isfinite(one.figures.get("score", math.nan))]
        return max(scored, key=lambda one: one.figures["score"], default=None)

    def losses(self) -> list[tuple[int, float]]:
        return _finite((one.number, one.losses.get("total", math.nan)) for one in self._epochs)

    def scores(self) -> list[tuple[int, float]]:
        return _finite((one.number, one.figures.get("score", math.nan)) for one in self._epochs)

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802 (Qt's name)
        if event is None or not self._epochs:
            return
        band = self._bands()[0]
        near = min(self._epochs, key=lambda one: abs(self._x(one.number, band) - event.position().x()))
        told = [
            f"Epoch {near.number}, {near.seconds:.1f} s",
            f"loss {near.losses.get('total', math.nan):.4g}",
        ]
        told += [f"{name.replace('_', ' ')} {value:.4g}" for name, value in near.figures.items()]
        QToolTip.showText(event.globalPosition().toPoint(), "\n".join(told), self)

    def paintEvent(self, _event: QPaintEvent | None) -> None:  # noqa: N802 (Qt's name)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        above, below = self._bands()
        best = self.best
        if best is not None:
            painter.setPen(QPen(_faint(ink, 110), 1, Qt.PenStyle.DashLine))
            x = self._x(best.number, above)
            painter.drawLine(QPointF(x, above.top()), QPointF(x, below.bottom()))
        self._draw(painter, above, self.losses(), LOSS, "Loss, training cells", ink)
        title = "Score, held-out cells" + ("" if best is None else f": best in epoch {best.number}")
        self._draw(painter, below, self.scores(), SCORE, title, ink)
        painter.setPen(_faint(ink, 190))
        ends = QRectF(below.left(), below.bottom() + 2, below.width(), BELOW_PX)
        painter.drawText(ends, int(Qt.AlignmentFlag.AlignLeft), "1")
        painter.drawText(ends, int(Qt.AlignmentFlag.AlignRight), f"{self._last} epochs")

    def _draw(
        self,
        painter: QPainter,
        band: QRectF,
        values: Sequence[tuple[int, float]],
        colour: str,
        title: str,
        ink: QColor,
    ) -> None:
        painter.setPen(ink)
        painter.drawText(QPointF(band.left(), band.top() - 4), title)
        painter.setPen(QPen(_faint(ink, 70), 1))
        painter.drawLine(band.bottomLeft(), band.bottomRight())
        painter.drawLine(band.topLeft(), band.bottomLeft())
        if not values:
            return
        low, high = _range([value for _, value in values])
        painter.setPen(_faint(ink, 190))
        for value, top in ((high, band.top() - 2), (low, band.bottom() - 14)):
            place = QRectF(0, top, LEFT_PX - 4, 16)
            painter.drawText(place, int(Qt.AlignmentFlag.AlignRight), f"{value:.3g}")
        points = [
            QPointF(self._x(number, band), band.bottom() - (value - low) / (high - low) * band.height())
            for number, value in values
        ]
        painter.setPen(QPen(QColor(colour), 2))
        painter.drawPolyline(QPolygonF(points))
        if len(points) <= DOTS_UP_TO:
            painter.setBrush(QColor(colour))
            for point in points:
                painter.drawEllipse(point, 2.5, 2.5)
            painter.setBrush(Qt.BrushStyle.NoBrush)

    def _bands(self) -> tuple[QRectF, QRectF]:
        wide = max(self.width() - LEFT_PX - RIGHT_PX, 20)
        high = (self.height() - 2 * TITLE_PX - GAP_PX - BELOW_PX) / 2
        above = QRectF(LEFT_PX, TITLE_PX, wide, high)
        return above, QRectF(LEFT_PX, above.bottom() + GAP_PX + TITLE_PX, wide, high)

    def _x(self, number: int, band: QRectF) -> float:
        share = 0.5 if self._last == 1 else (number - 1) / (self._last - 1)
        return float(band.left() + min(share, 1.0) * band.width())


def _finite(values: Any) -> list[tuple[int, float]]:
    return [(number, value) for number, value in values if math.isfinite(value)]


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    spare = 0.08 * (high - low) or 0.05 * max(abs(high), 1e-6)
    return low - spare, high + spare


def _faint(ink: QColor, alpha: int) -> QColor:
    colour = QColor(ink)
    colour.setAlpha(alpha)
    return colour
