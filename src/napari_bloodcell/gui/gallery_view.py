"""A wall of small pictures under headers, as fast for ten thousand as for ten: what is seen is painted."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from qtpy.QtCore import QPoint, QRect, Qt, Signal
from qtpy.QtGui import (
    QBrush,
    QColor,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
    QPixmap,
    QResizeEvent,
)
from qtpy.QtWidgets import QAbstractScrollArea, QApplication, QRubberBand, QToolTip, QWidget

from napari_bloodcell.gui.grid import Grid

SIDE_PX = 72
KEPT = 3_000  # pictures kept ready
BAR_PX = 5  # the stripe in the colour of the class
CHOSEN = "#FF2D95"

Key = tuple[int, int]  # number of the layer, id of the cell


@dataclass(frozen=True)
class Tile:
    """One picture. ``doubted`` and ``seen`` are small marks in its corners."""

    key: Key
    doubted: bool = False
    seen: bool = False


@dataclass(frozen=True)
class Group:
    name: str
    title: str
    colour: str
    tiles: Sequence[Tile]


class GalleryView(QAbstractScrollArea):
    """``picture(key)`` gives what is shown of a cell, or None while it is not there yet.

    ``looked_at`` brings the tile that was clicked on, ``chosen_changed`` all that are chosen, ``pressed`` a
    digit, ``dropped`` the name of the group that the chosen ones were dragged to.
    """

    looked_at = Signal(object)
    chosen_changed = Signal(object)
    pressed = Signal(str)
    dropped = Signal(str)

    def __init__(
        self,
        picture: Callable[[Key], QPixmap | None],
        about: Callable[[Key], str],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._picture, self._about = picture, about
        self._groups: Sequence[Group] = ()
        self._tiles: list[Tile] = []
        self._grid = Grid(counts=(), width=1, side=SIDE_PX)
        self._ready: OrderedDict[Key, QPixmap] = OrderedDict()
        self._chosen: set[Key] = set()
        self._current = 0
        self._between = True  # none is current, or it has gone: the arrows start just before ``_current``
        self._press: tuple[QPoint, int | None] | None = None
        self._over: int | None = None  # the group that is dragged over
        self._band = QRubberBand(QRubberBand.Shape.Rectangle, self.viewport())
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Gallery of cells")
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        self.viewport().setMouseTracking(True)

    # what is shown

    def show_groups(self, groups: Sequence[Group]) -> None:
        """What is chosen stays chosen, the view stays where it is, and the arrows go on from there."""
        before, group_before = self._tiles, _group_of(self._groups)
        self._groups = groups
        self._tiles = [tile for group in groups for tile in group.tiles]
        self._stay(before, group_before)
        known = {tile.key for tile in self._tiles}
        if not self._chosen <= known:
            self._choose(self._chosen & known)
        self._lay_out()

    def _stay(self, before: Sequence[Tile], group_before: Mapping[Key, str]) -> None:
        """A cell that was given another class has left: its place is now between its neighbours."""
        if not before:
            self._current, self._between = 0, True
            return
        group_now = _group_of(self._groups)
        place_now = {tile.key: place for place, tile in enumerate(self._tiles)}
        for tile in before[self._current :]:
            if tile.key in group_now and group_now[tile.key] == group_before[tile.key]:
                self._current = place_now[tile.key]
                return
            self._between = True
        self._current = len(self._tiles)

    def forget_pictures(self) -> None:
        self._ready.clear()
        self.viewport().update()

    @property
    def chosen(self) -> list[Key]:
        """In the order they are shown."""
        return [tile.key for tile in self._tiles if tile.key in self._chosen]

    def choose(self, keys: Sequence[Key]) -> None:
        self._choose(set(keys) & {tile.key for tile in self._tiles})

    def go_to(self, key: Key, *, adds: bool = False) -> None:
        """As if it were clicked on here: it comes into view, and the arrows go on from there."""
        place = next((i for i, tile in enumerate(self._tiles) if tile.key == key), None)
        if place is None:
            return
        self._current, self._between = place, False
        self._scroll_to(place)
        self._choose(self._chosen ^ {key} if adds else {key})

    def box_of(self, key: Key) -> QRect:
        """Where a picture is in the viewport now."""
        index = next(i for i, tile in enumerate(self._tiles) if tile.key == key)
        return QRect(*self._grid.box(index)).translated(0, -self._scrolled)

    def header_of(self, name: str) -> QRect:
        place = next(i for i, group in enumerate(self._groups) if group.name == name)
        return QRect(*self._grid.header_box(place)).translated(0, -self._scrolled)

    @property
    def _scrolled(self) -> int:
        return int(self.verticalScrollBar().value())

    def _lay_out(self) -> None:
        width = max(self.viewport().width(), 1)
        self._grid = Grid(counts=[len(group.tiles) for group in self._groups], width=width, side=SIDE_PX)
        bar = self.verticalScrollBar()
        bar.setRange(0, max(0, self._grid.height - self.viewport().height()))
        bar.setPageStep(self.viewport().height())
        bar.setSingleStep(SIDE_PX // 2)
        self.viewport().update()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        super().resizeEvent(event)
        self._lay_out()

    def scrollContentsBy(self, _x: int, _y: int) -> None:  # noqa: N802 (Qt's name)
        self.viewport().update()

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        painter = QPainter(self.viewport())
        top, height = self._scrolled, self.viewport().height()
        painter.fillRect(self.viewport().rect(), self.palette().color(QPalette.ColorRole.Base))
        painter.translate(0, -top)
        for place in self._grid.groups_in(top, height):
            self._paint_header(painter, place)
        for index in self._grid.indices_in((0, top, self._grid.width, height)):
            self._paint_tile(painter, index)
        painter.end()

    def _paint_header(self, painter: QPainter, place: int) -> None:
        group, box = self._groups[place], QRect(*self._grid.header_box(place))
        if place == self._over:
            painter.fillRect(box, self.palette().color(QPalette.ColorRole.Highlight))
        swatch = QRect(box.left() + 4, box.top() + 7, 12, 12)
        painter.fillRect(swatch, QColor(group.colour))
        painter.setPen(self.palette().color(QPalette.ColorRole.Text))
        painter.drawText(box.adjusted(22, 0, -4, 0), Qt.AlignmentFlag.AlignVCenter, group.title)

    def _paint_tile(self, painter: QPainter, index: int) -> None:
        tile, box = self._tiles[index], QRect(*self._grid.box(index))
        group = self._groups[self._grid.group_of(index)]
        pixmap = self._pixmap(tile.key)
        if pixmap is None:
            painter.fillRect(box, self.palette().color(QPalette.ColorRole.AlternateBase))
        else:
            painter.drawPixmap(box, pixmap)
        painter.fillRect(
            QRect(box.left(), box.bottom() - BAR_PX + 1, box.width(), BAR_PX), QColor(group.colour)
        )
        if tile.doubted:
            self._mark(painter, box.right() - 15, box.top() + 1, "?")
        if tile.seen:
            self._mark(painter, box.left() + 1, box.top() + 1, "✓")
        if tile.key in self._chosen:
            painter.setPen(QPen(QColor(CHOSEN), 3))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(box.adjusted(1, 1, -2, -2))
        if index == self._current and not self._between and self.hasFocus():
            painter.setPen(QPen(self.palette().color(QPalette.ColorRole.Text), 1, Qt.PenStyle.DotLine))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(box.adjusted(4, 4, -5, -5))

    def _mark(self, painter: QPainter, x: int, y: int, text: str) -> None:
        badge = QRect(x, y, 14, 14)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QBrush(QColor(255, 255, 255, 215)))
        painter.drawEllipse(badge)
        painter.setPen(QColor("#1A1A1A"))
        painter.drawText(badge, Qt.AlignmentFlag.AlignCenter, text)

    def _pixmap(self, key: Key) -> QPixmap | None:
        if key in self._ready:
            self._ready.move_to_end(key)
            return self._ready[key]
        pixmap = self._picture(key)
        if pixmap is not None:
            self._ready[key] = pixmap
            if len(self._ready) > KEPT:
                self._ready.popitem(last=False)
        return pixmap

    # choosing

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        if event.button() == Qt.MouseButton.LeftButton:
            place = event.position().toPoint()
            self._press = place, self._index_at(place)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        place = event.position().toPoint()
        if self._press is None:
            index = self._index_at(place)
            QToolTip.showText(
                event.globalPosition().toPoint(),
                "" if index is None else self._about(self._tiles[index].key),
                self,
            )
            return
        begin, index = self._press
        if (place - begin).manhattanLength() < QApplication.startDragDistance():
            return
        if index is None:
            self._band.setGeometry(QRect(begin, place).normalized())
            self._band.show()
            return
        if self._tiles[index].key not in self._chosen:
            self._choose({self._tiles[index].key})
        self.viewport().setCursor(Qt.CursorShape.DragCopyCursor)
        self._drag_over(self._grid.group_at(place.y() + self._scrolled))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        if self._press is None:
            return
        place = event.position().toPoint()
        begin, index = self._press
        moved = (place - begin).manhattanLength() >= QApplication.startDragDistance()
        self._press = None
        self._band.hide()
        self.viewport().unsetCursor()
        self._drag_over(None)
        if moved and index is None:
            box = QRect(begin, place).normalized().translated(0, self._scrolled)
            found = self._grid.indices_in((box.x(), box.y(), box.width(), box.height()))
            self._choose({self._tiles[i].key for i in found} | (self._chosen if _adds(event) else set()))
        elif moved:
            group = self._grid.group_at(place.y() + self._scrolled)
            if group is not None and self.viewport().rect().contains(place):
                self.dropped.emit(self._groups[group].name)
        else:
            self._clicked(index, event)

    def _clicked(self, index: int | None, event: QMouseEvent) -> None:
        if index is None:
            self._choose(set())
            return
        key = self._tiles[index].key
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            low, high = sorted((self._current, index))
            self._choose(self._chosen | {tile.key for tile in self._tiles[low : high + 1]})
        elif event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self._choose(self._chosen ^ {key})
        else:
            self._choose({key})
        self._current, self._between = index, False
        self.looked_at.emit(key)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 (Qt's name)
        text, columns = event.text(), self._grid.columns
        screen = columns * max(1, self.viewport().height() // self._grid.step)
        steps = {
            Qt.Key.Key_Left: -1,
            Qt.Key.Key_Right: 1,
            Qt.Key.Key_Up: -columns,
            Qt.Key.Key_Down: columns,
            Qt.Key.Key_PageUp: -screen,
            Qt.Key.Key_PageDown: screen,
            Qt.Key.Key_Home: -len(self._tiles),
            Qt.Key.Key_End: len(self._tiles),
        }
        if text and text in "0123456789":
            self.pressed.emit(text)
        elif event.key() in steps and self._tiles:
            kept = self._chosen if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else set()
            self._walk(steps[event.key()], kept)
        elif event.key() == Qt.Key.Key_A and event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self._choose({tile.key for tile in self._tiles})
        elif event.key() == Qt.Key.Key_Escape:
            self._choose(set())
        else:
            super().keyPressEvent(event)

    def go_on(self, named: AbstractSet[Key] = frozenset()) -> None:
        """To the cell after the one that was just answered, past those ``named``: their new class may have
        laid them ahead. Several that are chosen stay so. After the last none is chosen: a further key must
        not name that one again."""
        if not self._tiles or len(self._chosen) != 1:
            return
        ahead = range(self._current + 1 - self._between, len(self._tiles))
        following = next((at for at in ahead if self._tiles[at].key not in named), None)
        if following is None:
            self._choose(set())
        else:
            self._go_to(following)

    def _walk(self, step: int, kept: AbstractSet[Key] = frozenset()) -> None:
        self._go_to(self._current + step - (self._between and step > 0), kept)

    def _go_to(self, index: int, kept: AbstractSet[Key] = frozenset()) -> None:
        """``kept``: chosen still, with the one gone to and those on the way."""
        before = self._current
        self._current, self._between = min(max(index, 0), len(self._tiles) - 1), False
        self._scroll_to(self._current)
        key = self._tiles[self._current].key
        way = range(min(before, self._current), max(before, self._current) + 1) if kept else ()
        self._choose({key, *kept, *(self._tiles[at].key for at in way)})
        self.looked_at.emit(key)

    def _scroll_to(self, index: int) -> None:
        box, bar = QRect(*self._grid.box(index)), self.verticalScrollBar()
        if box.top() - self._grid.header < bar.value():
            bar.setValue(box.top() - self._grid.header)
        elif box.bottom() > bar.value() + self.viewport().height():
            bar.setValue(box.bottom() - self.viewport().height())

    def _choose(self, keys: set[Key]) -> None:
        if keys != self._chosen:
            self._chosen = keys
            self.chosen_changed.emit(self.chosen)
        self.viewport().update()

    def _drag_over(self, group: int | None) -> None:
        if group != self._over:
            self._over = group
            self.viewport().update()

    def _index_at(self, place: QPoint) -> int | None:
        return self._grid.index_at(place.x(), place.y() + self._scrolled)


def _group_of(groups: Sequence[Group]) -> dict[Key, str]:
    return {tile.key: group.name for group in groups for tile in group.tiles}


def _adds(event: QMouseEvent) -> bool:
    wanted = Qt.KeyboardModifier.ShiftModifier | Qt.KeyboardModifier.ControlModifier
    return bool(event.modifiers() & wanted)
