"""Points in the plane to look at and to choose from: click, lasso, wheel. It knows no cells and no layers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QPointF, QRectF, Qt, Signal
from qtpy.QtGui import (
    QColor,
    QImage,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
    QPolygonF,
    QResizeEvent,
    QWheelEvent,
)
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

MARGIN_PX = 14
NEAR_PX = 9.0  # a click this near to a point means it
LEAST_LASSO_PX = 6.0
MOST_ZOOM = 60.0
SELECTED = "#FF2D95"
TEXT_GAP_PX, TEXT_EDGE_PX = 8, 4  # from a point to its text, and from the text to the edge
FINE = 2  # so much finer than the screen points are drawn, then reduced: smooth edges
CROWD = 3000  # more points than this are drawn as fine as the screen


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
        self._image: QImage | None = None  # of all points, until something changes
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
        """N x 2, a colour each; ``names`` are shown under the mouse, ``texts`` where there is room."""
        same_places = np.array_equal(self._xy, xy)
        self._xy = np.asarray(xy, float).reshape(-1, 2)
        self._colours, self._names, self._texts = list(colours), names, tuple(texts)
        if not same_places:
            self._chosen = np.zeros(0, np.intp)
            self.show_all()
        self._changed()

    def select(self, rows: Any) -> None:
        """Mark rows, without telling anyone."""
        self._chosen = np.unique(np.asarray(rows, np.intp))
        self._changed()

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
        self._changed()

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
            rows = self._within(np.array([(point.x(), point.y()) for point in line]))
        self._chosen = np.union1d(self._chosen, rows) if self._adds else rows
        self._changed()
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
        self._changed()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802
        if event.type() in (QEvent.Type.PaletteChange, QEvent.Type.StyleChange):
            self._changed()
        super().changeEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        self._image = None
        super().resizeEvent(event)

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
        painter.drawImage(0, 0, self._points_image(places, ink))
        painter.setPen(ink)
        metrics = painter.fontMetrics()
        sizes = [(metrics.horizontalAdvance(text), metrics.height()) for text in self._texts]
        boxes = beside(places[: len(sizes)], sizes, (self.width(), self.height()))
        for box, text in zip(boxes, self._texts, strict=False):
            if box is not None:
                painter.drawText(QPointF(box[0], box[1] + metrics.ascent()), text)
        if len(self._lasso) > 1:
            painter.setPen(QPen(QColor(SELECTED), 1.5, Qt.PenStyle.DashLine))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawPolygon(QPolygonF(self._lasso))

    def _points_image(self, places: NDArray[np.float64], ink: QColor) -> QImage:
        """Stamped: Qt would need half a second for ten thousand round points."""
        if self._image is not None:
            return self._image
        size = 9.0 if len(places) < 400 else 6.0 if len(places) < 4000 else 4.0
        size *= min(self._zoom, 3.0) ** 0.4
        finer = FINE if len(places) < CROWD else 1
        pixels = np.zeros((finer * self.height(), finer * self.width()), np.uint32)
        if len(places) < 400:  # a thin edge: light points in a light theme
            _stamp(pixels, finer * places, finer * (size + 1.5), [ink.name()] * len(places))
        if len(self._chosen):  # a ring round each chosen point, below all points
            ring = [SELECTED] * len(self._chosen)
            _stamp(pixels, finer * places[self._chosen], finer * (size + 6), ring)
        _stamp(pixels, finer * places, finer * size, self._colours)
        kind = QImage.Format.Format_ARGB32_Premultiplied
        fine = QImage(pixels.tobytes(), pixels.shape[1], pixels.shape[0], kind)
        smooth = Qt.TransformationMode.SmoothTransformation
        self._image = fine.scaled(self.size(), Qt.AspectRatioMode.IgnoreAspectRatio, smooth)
        return self._image

    def _changed(self) -> None:
        self._image = None
        self.update()

    def _nearest(self, place: QPointF) -> int | None:
        if not len(self._xy):
            return None
        gaps = np.hypot(*(self.places() - (place.x(), place.y())).T)
        best = int(gaps.argmin())
        return best if gaps[best] <= NEAR_PX else None

    def _within(self, line: NDArray[np.float64]) -> NDArray[np.intp]:
        """Rows inside a closed line: a ray to the right crosses it an odd number of times."""
        x, y = self.places().T
        inside = np.zeros(len(x), bool)
        for (x0, y0), (x1, y1) in zip(line, np.roll(line, -1, axis=0), strict=True):
            if y0 != y1:
                crosses = (y0 > y) != (y1 > y)
                inside ^= crosses & (x < x0 + (y - y0) / (y1 - y0) * (x1 - x0))
        return np.flatnonzero(inside)

    def _centre(self) -> NDArray[np.float64]:
        return np.array([self.width() / 2, self.height() / 2])

    def _per_unit(self) -> NDArray[np.float64]:
        room = np.maximum(np.array([self.width(), self.height()]) - 2 * MARGIN_PX, 10)
        per_unit: NDArray[np.float64] = self._zoom * room / self._span
        return per_unit


def beside(
    points: NDArray[Any], sizes: Sequence[tuple[int, int]], room: tuple[int, int]
) -> list[tuple[float, float] | None]:
    """Upper left corners of texts of these sizes beside their points: to the right, the left, above or below,
    where no other text stands and nothing is cut. None where there is no such place: the text is shown under
    the mouse."""
    taken: list[tuple[float, float, float, float]] = []
    found: list[tuple[float, float] | None] = []
    for (x, y), (wide, high) in zip(points.tolist(), sizes, strict=True):
        held = min(max(x - wide / 2, TEXT_EDGE_PX), max(room[0] - wide - TEXT_EDGE_PX, TEXT_EDGE_PX))
        tries = (
            (x + TEXT_GAP_PX, y - high / 2),
            (x - TEXT_GAP_PX - wide, y - high / 2),
            (held, y - TEXT_GAP_PX - high),
            (held, y + TEXT_GAP_PX),
        )
        boxes = [(left, top, left + wide, top + high) for left, top in tries]
        free = [box for box in boxes if _is_inside(box, room) and not any(_meet(box, one) for one in taken)]
        taken += free[:1]
        found.append(free[0][:2] if free else None)
    return found


def _is_inside(box: tuple[float, float, float, float], room: tuple[int, int]) -> bool:
    return box[0] >= 0 and box[1] >= 0 and box[2] <= room[0] and box[3] <= room[1]


def _meet(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _stamp(
    pixels: NDArray[np.uint32], places: NDArray[np.float64], size: float, colours: Sequence[str]
) -> None:
    """A disc at each place, the later ones on top."""
    reach = round(size / 2)
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = rows**2 + columns**2 <= (size / 2) ** 2
    rows, columns = rows[disc], columns[disc]
    at = np.rint(places).astype(int)
    values = {one: 0xFF000000 | int(one[1:], 16) for one in set(colours)}
    colour = np.array([values[one] for one in colours], np.uint32)
    height, width = pixels.shape
    x, y = at[:, :1] + columns, at[:, 1:] + rows
    seen = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    pixels[y[seen], x[seen]] = np.broadcast_to(colour[:, None], seen.shape)[seen]
