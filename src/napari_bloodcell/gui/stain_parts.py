"""Parts of the stain panel that fold away: the map of stains, and the stains a result is tried under."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QPushButton, QVBoxLayout, QWidget

from napari_bloodcell.gui import stain_calls as calls
from napari_bloodcell.gui.scatter import Scatter
from napari_bloodcell.gui.wrapped import Wrapped

if TYPE_CHECKING:
    from napari_bloodcell.core.stain.profile import StainProfile

MAP_EMPTY = "Press Measure: each open image and each known lab becomes a point. Near points are alike."
HIGHEST_LIST_PX = 118


class StainMap(QWidget):
    """Images and labs as points, each in the colour of its ground."""

    pressed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.points = Scatter(MAP_EMPTY)
        self.points.setToolTip("Each point is an image or a lab, in the colour of its ground.")
        self.measure_button = QPushButton("Measure")
        self.measure_button.setToolTip("Measures the stain of all open images.")
        self.measure_button.clicked.connect(self.pressed)
        self.nearest = Wrapped()
        _column(self, self.measure_button, self.points, self.nearest)

    def show_profiles(self, profiles: "Sequence[StainProfile]", places: Any, images: int) -> None:
        """The first ``images`` of the profiles are images, the others labs."""
        self.points.show_points(
            places,
            [calls.ground_colour(one) for one in profiles],
            [calls.named(one, number < images) for number, one in enumerate(profiles)],
            [one.name.removesuffix(" (synthetic)") for one in profiles],
        )
        self.nearest.setText(calls.nearest_text(profiles, images))


class Survival(QWidget):
    """Which stains to try a result under, and what came of it."""

    pressed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.ticks = QListWidget()
        self.ticks.setToolTip("Stains the field is analysed under.")
        self.ticks.setMaximumHeight(HIGHEST_LIST_PX)
        self.try_button = QPushButton("Try")
        self.try_button.setToolTip(
            "Analyses the field as it is and under each ticked stain, and marks the cells that change."
        )
        self.try_button.clicked.connect(self.pressed)
        self.verdict = Wrapped()
        self.verdict.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.verdict.hide()
        _column(self, self.ticks, self.try_button, self.verdict)

    def offer(self, options: Sequence[tuple[str, Any]]) -> None:
        """What was not ticked before stays so."""
        unticked = {text for text, _, ticked in self._rows() if not ticked}
        self.ticks.clear()
        for text, value in options:
            item = QListWidgetItem(text)
            item.setData(Qt.ItemDataRole.UserRole, value)
            item.setCheckState(Qt.CheckState.Unchecked if text in unticked else Qt.CheckState.Checked)
            self.ticks.addItem(item)

    def ticked(self) -> list[Any]:
        return [value for _, value, is_ticked in self._rows() if is_ticked]

    def say(self, text: str) -> None:
        self.verdict.setText(text)
        self.verdict.setVisible(bool(text))

    def _rows(self) -> list[tuple[str, Any, bool]]:
        items = [item for row in range(self.ticks.count()) if (item := self.ticks.item(row)) is not None]
        return [
            (one.text(), one.data(Qt.ItemDataRole.UserRole), one.checkState() == Qt.CheckState.Checked)
            for one in items
        ]


def _column(box: QWidget, *widgets: QWidget) -> None:
    layout = QVBoxLayout(box)
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget)
