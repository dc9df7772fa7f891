"""Two readers side by side in the panel "Differential": how far they agree, and the cells they do not."""

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from napari_bloodcell.gui import second_reader
from napari_bloodcell.gui.class_table import shown as plain
from napari_bloodcell.gui.differential_calls import Slide
from napari_bloodcell.gui.wrapped import Wrapped

HIGHEST_LIST_PX = 110


class Comparison(QWidget):
    """``second`` is whom the person at the screen is compared with; ``went`` brings image and cell."""

    went = Signal(str, int)

    def __init__(self) -> None:
        super().__init__()
        self.second: second_reader.Second | None = None
        self.agreement = Wrapped()
        self.disputed = QListWidget()
        self.disputed.setToolTip("Cells the two readers see differently. Click to go there.")
        self.disputed.setMaximumHeight(HIGHEST_LIST_PX)
        self.disputed.itemClicked.connect(lambda item: self.went.emit(*item.data(Qt.ItemDataRole.UserRole)))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.agreement)
        layout.addWidget(self.disputed)
        self.hide()

    def refused(self, slides: Sequence[Slide], reader: str) -> str:
        """Why there is nothing to compare; empty where there is."""
        if self.second is None:
            return ""
        return second_reader.why_nothing(slides, second_reader.reader_of(slides, reader), self.second)

    def show_agreement(self, slides: Sequence[Slide], reader: str) -> str:
        """Gives what is to be written of it."""
        self.setVisible(self.second is not None)
        self.disputed.clear()
        if self.second is None:
            return ""
        mine, refused = second_reader.reader_of(slides, reader), self.refused(slides, reader)
        found = None if refused else second_reader.agreements_with(slides, mine, self.second)
        if found is None:
            self.disputed.hide()
            self.agreement.setText(refused)
            return ""
        left_out = second_reader.left_out_text(slides, mine) + self.second.left_out_text()
        self.agreement.setText(found.text() + left_out)
        for (image, cell), said, other in found.pairs[0].disputed:
            item = QListWidgetItem(f"{image}, cell {cell}: {plain(said)}, {self.second.name}: {plain(other)}")
            item.setData(Qt.ItemDataRole.UserRole, (image, cell))
            self.disputed.addItem(item)
        self.disputed.setVisible(bool(found.pairs[0].disputed))
        return found.text()
