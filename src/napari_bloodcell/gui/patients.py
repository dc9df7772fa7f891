"""Whose the fields are: named in the list of slides or in the line of one field, and counted by patient."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_bloodcell.gui.differential_calls import POOLED, Shown, Slide
from napari_bloodcell.gui.tally import SlidesTable
from napari_bloodcell.gui.wrapped import Wrapped

if TYPE_CHECKING:
    from napari_bloodcell.core.report import Differential

HEAD, COLUMN = "Patient", 2
NAMING = "Whose it is: a number or sign. It is kept with the cells, in the session and in the export."
HOW = "Slides of one patient? Click twice under Patient to name whose a slide is, or read a table."
FROM_TABLE = "Patients from a table …"
Trigger = QAbstractItemView.EditTrigger


class Fields(SlidesTable):
    """The slides, with whose they are: click twice to name a patient. ``named`` brings row and patient."""

    named = Signal(int, str)

    def __init__(self) -> None:
        super().__init__()
        self.setEditTriggers(Trigger.DoubleClicked | Trigger.EditKeyPressed | Trigger.AnyKeyPressed)
        self._is_filling = False
        self.itemChanged.connect(self._changed)

    @property
    def is_typed_in(self) -> bool:
        return bool(self.state() == QAbstractItemView.State.EditingState)

    def show_fields(self, slides: "Sequence[tuple[str, Differential]]", whose: Sequence[str]) -> None:
        """``whose``: of each slide but the last ones, which are several together."""
        self._is_filling = True
        self.show_slides(slides, (HEAD, [*whose, *[""] * (len(slides) - len(whose))]))
        for row in range(len(whose)):
            item = self.item(row, COLUMN)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEditable)
            item.setTextAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
            item.setToolTip(f"Click twice to type. {NAMING}")
        self.horizontalHeaderItem(COLUMN).setToolTip(f"Click twice below to type. {NAMING}")
        self._is_filling = False

    def _changed(self, item: QTableWidgetItem) -> None:
        if not self._is_filling and item.column() == COLUMN:
            self.named.emit(item.row(), item.text().strip())


class Patients(QWidget):
    """``named`` brings images with their patients, "" for nobody's; ``asked`` that a table is to be read."""

    named = Signal(dict)
    asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._images: list[str] = []
        self._waiting: Callable[[], None] | None = None  # what came while a name was being typed
        self.by_slide = Fields()
        self.by_slide.named.connect(lambda row, patient: self.named.emit({self._images[row]: patient}))
        self.by_slide.itemDelegate().closeEditor.connect(self._show_what_waits)
        self.by_patient = SlidesTable(HEAD)
        self.by_patient.setToolTip("All slides of a patient together: per cent of each class, exact limits.")
        self.told = Wrapped()
        self.label, self.patient = QLabel(HEAD), QLineEdit()
        self.patient.setPlaceholderText("not named")
        self.patient.setToolTip(NAMING)
        self.patient.editingFinished.connect(self._name_one)
        self.table_button = QPushButton(FROM_TABLE)
        self.table_button.setToolTip(
            "A table (CSV) with the columns slide and patient, or a list of images with a column patient."
        )
        self.table_button.clicked.connect(self.asked)
        row = QHBoxLayout()
        row.addWidget(self.label)
        row.addWidget(self.patient, 1)
        row.addWidget(self.table_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.by_slide)
        layout.addLayout(row)
        layout.addWidget(self.by_patient)
        layout.addWidget(self.told)

    def show_count(self, shown: Shown, slides: Sequence[Slide]) -> None:
        """A name that is being typed is not lost: what came meanwhile is shown after it."""
        if self.by_slide.is_typed_in:
            self._waiting = lambda: self.show_count(shown, slides)
            return
        self._waiting = None
        whose = {slide.name: slide.patient for slide in slides}
        self._images = [name for name, _ in shown.slides]
        is_one = len(self._images) == 1
        for widget in (self.label, self.patient):
            widget.setVisible(is_one)
        self.table_button.setText("Table …" if is_one else FROM_TABLE)
        if not self.patient.hasFocus():
            self.patient.setText(whose[self._images[0]] if is_one else "")
        self.by_slide.setVisible(not is_one)
        if not is_one:
            self.by_slide.show_fields(
                [*shown.slides, (POOLED, shown.pooled)], [whose[name] for name in self._images]
            )
        self._show_patients(shown)

    def _show_patients(self, shown: Shown) -> None:
        is_more = len(shown.slides) > 1 and bool(shown.patients)  # of one slide it is what stands above
        self.by_patient.setVisible(is_more)
        counts = [(one.name, one.differential) for one in shown.patients]
        self.by_patient.show_slides(
            counts, ("Slides", [str(len(one.slides)) for one in shown.patients]), with_limits=True
        )
        spread = [f"{one.name}: {text}" for one in shown.patients if (text := one.spread_text())]
        told = [*spread, *shown.of_nobody] if shown.patients else [HOW]
        self.told.setText("\n".join(told))
        self.told.setVisible(len(shown.slides) > 1 and bool(told))

    def _show_what_waits(self, *_: object) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting()

    def _name_one(self) -> None:
        if self._images and self.patient.isModified():
            self.patient.setModified(False)
            self.named.emit({self._images[0]: self.patient.text().strip()})
