"""Keys that name the cells chosen in a wall of pictures: for the panels that have one."""

from collections.abc import Callable

from qtpy.QtWidgets import QCheckBox

from napari_bloodcell.core.class_list import ClassList
from napari_bloodcell.gui.gallery_view import GalleryView, Key


class KeyGoesOn(QCheckBox):
    """Gives the class of the key that is pressed; ticked, it goes on to the next cell. ``known``: the classes
    now, ``give`` names the chosen cells, ``say`` tells a person."""

    def __init__(
        self,
        view: GalleryView,
        known: Callable[[], ClassList],
        give: Callable[[str], None],
        say: Callable[[str], None],
    ) -> None:
        super().__init__("Key goes on")
        self._view, self._known, self._give, self._say = view, known, give, say
        self.setToolTip("A key that names one cell goes on to the next one.")
        self._named: set[Key] = set()  # one after the other, since a person chose a cell
        self._came_to: list[Key] = []
        view.pressed.connect(self._press)

    def _press(self, digit: str) -> None:
        name = self._known().of_digit(digit)
        if name is None:
            self._say(f"No class has key {digit}.")
            return
        if self._view.chosen != self._came_to:
            self._named.clear()
        self._named.update(self._view.chosen)
        self._give(name)
        if self.isChecked():
            self._view.go_on(self._named)
        self._came_to = list(self._view.chosen)
