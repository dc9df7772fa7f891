"""The panel "Differential": the count as it stands, live, to be compared, commented, signed and exported."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QInputDialog,
    QLabel,
    QLineEdit,
    QMenu,
    QProgressBar,
    QPushButton,
)

from napari_bloodcell.core.config import CountConfig
from napari_bloodcell.core.errors import BloodcellError
from napari_bloodcell.core.words import how_many
from napari_bloodcell.gui import (
    ask,
    autosave,
    classes,
    comments,
    differential_calls,
    drawn,
    said,
    second_reader,
    signatures,
)
from napari_bloodcell.gui.comparison import Comparison
from napari_bloodcell.gui.counted_once import counted_once, told_once
from napari_bloodcell.gui.differential_calls import PATIENT, Shown, Slide
from napari_bloodcell.gui.form import Form, section
from napari_bloodcell.gui.help import HelpLink
from napari_bloodcell.gui.outlines import outlines
from napari_bloodcell.gui.panel import ALL, CellsPanel
from napari_bloodcell.gui.patients import Patients
from napari_bloodcell.gui.places import Uncovered
from napari_bloodcell.gui.reader_name import ReaderName
from napari_bloodcell.gui.selection import Marks
from napari_bloodcell.gui.tally import Bars, DifferentialTable
from napari_bloodcell.gui.task import Run
from napari_bloodcell.gui.wrapped import Wrapped

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.viewer import Viewer

HELP = """
### Differential

**The table and the bars** follow every change of class at once, whichever panel makes it. The limits are
exact: with few cells they are wide. *Unidentified* cells stay in the hundred per cent; smudge cells and
artefacts do not.

**Several layers** are counted slide by slide and together. *Classes: fine* shows bands apart from segmented
ones; *Merge bands* counts them as neutrophils again.

**Patient**: click twice beside a slide to say whose it is, or read a table. A patient's slides are counted
together too, and chosen under *Cells* like a field.

**Second reader** compares what you, by the name in *Reader*, have said of the cells with another person's
table, or with a person of a session. Click a line to go to a cell the two of you see differently. In the
panel *Blind reading* a second person names the cells without seeing your answers or the model's.

**Sign off** puts your name and the time under the count, the class and the outline of each cell; any later
change shows. Where nobody has looked at some cells it says so first: press again to sign all the same.
**Export** writes exactly what is on the screen, with the cells it was counted from.
"""


class DifferentialPanel(CellsPanel):
    """Cells with classes in, a signed count out. ``export`` and ``compare`` are what it calls."""

    def __init__(self, napari_viewer: "Viewer") -> None:
        super().__init__(napari_viewer, "Export …", several=True)
        self.export = differential_calls.export
        self.compare = second_reader.second_readers
        self.read_patients = differential_calls.read_patients
        self.ask_folder = partial(ask.folder, self, "Folder for the differential")
        self.ask_reader = partial(ask.file_to_read, self, "Table of the second reader", "Tables (*.csv)")
        self.ask_patients = partial(ask.file_to_read, self, "Whose the slides are", "Tables (*.csv)")
        self.ask_session = partial(ask.folder, self, "Session of the second reader")
        self.ask_person: Callable[[Sequence[str]], str | None] = self._ask_person
        self.shown: Shown | None = None
        self._marks, self._uncovered = Marks(napari_viewer, stays=True), Uncovered(napari_viewer)
        self._slides: list[Slide] = []
        self._followed: set[autosave.OpenSession] = set()
        self._loading: Run | None = None
        self._reading: Run | None = None
        self._loaded = False
        self._commented: comments.Comments | None = None
        self._warned: Any = None  # of which count it was said that nobody has looked at some cells
        self.reader = ReaderName("Your name or sign, for the sign-off and for the comparison of two readers.")
        self.reader.editingFinished.connect(self._show_agreement)
        self.choices.addRow("Reader", self.reader)
        self.form = Form(CountConfig())
        self.form.changed.connect(self.cells_changed)
        self.merge = QCheckBox("Merge bands")
        self.merge.setToolTip("Count banded and segmented neutrophils together.")
        self.merge.toggled.connect(self.cells_changed)
        self._build()
        self.task.pressed.connect(self._export)
        self.reset_choices()
        self.cells_changed()

    def _build(self) -> None:
        self.progress = QProgressBar()
        self.progress.setToolTip("White cells counted so far, of the target.")
        self.state = Wrapped()
        self.table, self.bars, self.patients = DifferentialTable(), Bars(), Patients()
        self.patients.named.connect(self._name_patients)
        self.patients.asked.connect(self._read_patients)
        self.comment = QLineEdit()
        self.comment.setPlaceholderText("Comment")
        self.comment.setToolTip("Kept with the cells, written with the export.")
        self.comment.editingFinished.connect(self._keep_comment)
        self.comments = Wrapped()
        self.comments.setToolTip("What else was said: choose a field above to change its own comment.")
        self.second_button = QPushButton("Second reader …")
        self.second_button.setToolTip("Compare with another person's table or session.")
        menu = QMenu(self.second_button)
        menu.addAction("A table (CSV) …", lambda: self._compare(self.ask_reader))
        menu.addAction("A session …", lambda: self._compare(self.ask_session))
        self.second_button.setMenu(menu)
        self.comparison = Comparison()
        self.comparison.went.connect(self._go_to)
        self.agreement, self.disputed = self.comparison.agreement, self.comparison.disputed
        self.sign_button = QPushButton("Sign off")
        self.sign_button.setToolTip("Put your name and the time under this count.")
        self.sign_button.clicked.connect(self._sign)
        self.signed = Wrapped()
        self.task.run_button.setToolTip("Write what is on the screen, and the cells it was counted from.")
        row = QHBoxLayout()
        row.addWidget(self.second_button)
        row.addWidget(self.sign_button)
        below = QHBoxLayout()
        self.research_use = QLabel("Research use only. Not for diagnosis.")
        below.addWidget(self.research_use, 1)
        below.addWidget(HelpLink("Differential", HELP))
        self.counts = [self.progress, self.table, self.bars, self.state, self.comment]
        for widget in (*self.counts, self.comments, self.patients):
            self.body.addWidget(widget)
        self.body.addLayout(row)
        for widget in (self.comparison, self.signed, self.task):
            self.body.addWidget(widget)
        self.body.addLayout(below)
        self.body.addWidget(self.merge)
        self.body.addWidget(section("Counting", self.form))
        self.body.addStretch(1)

    # counting

    @property
    def chosen(self) -> "list[Labels]":
        """The layers chosen; one, all of them, or those of a patient."""
        patient = _patient(self.cells.value)
        if not patient:
            return super().chosen
        found = counted_once(outlines(self.viewer))
        return [layer for layer in found if differential_calls.patient_of(layer) == patient]

    def options_of(self, together: "Sequence[Labels]") -> list[tuple[str, Any]]:
        whose = Counter(filter(None, map(differential_calls.patient_of, together)))
        return [(f"Patient {name}: {how_many(n, 'layer')}", (PATIENT, name)) for name, n in whose.items()]

    def layers_changed(self) -> None:
        super().layers_changed()
        self._soon.start()  # a signature may be under layers that came or went

    def cells_changed(self, _value: object = None) -> None:
        there = self._counted()
        if there and not self._loaded:
            self._load()
            return
        self._slides = [differential_calls.slide_of(layer) for layer in there]
        self._show(there)

    def _counted(self) -> "list[Labels]":
        """Fields without a cell among them: they were looked at, and none was found."""
        return [
            layer
            for layer in self.chosen
            if layer in self.viewer.layers and (len(layer.features) or "image" in said.said_of(layer))
        ]

    def _load(self) -> None:
        """Counting loads a library: not on this thread."""
        if self._loading is None:
            self._loading = Run(differential_calls.prepare)
            self._loading.ended.connect(self._ready)
            self._loading.start()

    def _ready(self) -> None:
        self._loaded = True
        if not self._closed:
            self.cells_changed()

    def _show(self, there: "list[Labels]") -> None:
        for widget in (*self.counts, self.second_button, self.sign_button, self.signed):
            widget.setVisible(bool(there))
        self.task.set_ready(bool(there))
        if not there:
            self.shown = None
            for widget in (self.patients, self.comparison, self.comments):
                widget.hide()
            return
        try:
            config: Any = self.form.get()
        except BloodcellError as error:
            self.task.say(str(error), error=True)
            return
        shown = differential_calls.counted(self._slides, config, merge_bands=self.merge.isChecked())
        self.shown = shown
        colours = {name: one for layer in there for name, one in classes.class_list(layer).colours.items()}
        self.table.show_differential(shown.pooled, colours)
        self.bars.show_differential(shown.pooled, colours)
        self.patients.show()
        self.patients.show_count(shown, self._slides)
        self.progress.setRange(0, shown.pooled.target)
        self.progress.setValue(min(shown.pooled.counted, shown.pooled.target))
        self.progress.setFormat(f"{shown.pooled.counted} of {shown.pooled.target} white cells")
        self._show_state(there)
        self._show_agreement()

    def _show_state(self, there: "list[Labels]") -> None:
        from napari_bloodcell.core.report import state_of

        assert self.shown is not None
        left_out = told_once(outlines(self.viewer)) if self.cells.value == ALL else ""
        none = [slide.name for slide in self._slides if not slide.kinds]
        looked = f"{', '.join(none)}: looked at, no white cell was found." if none else ""
        self.state.setText(" ".join(filter(None, (looked, state_of(self.shown.pooled), left_out))))
        found = comments.comments_of(there)
        if not self.comment.hasFocus():
            self._commented = found
            self.comment.setText(found.text)
        self.comment.setPlaceholderText(found.placeholder)
        self.comments.setText(found.told())
        self.comments.setVisible(bool(found.listed))
        self.shown = replace(self.shown, comment=self.comment.text(), comments=found.listed)
        self._show_signature(there)

    def _show_signature(self, there: "list[Labels]") -> None:
        assert self.shown is not None
        is_signed = any(said.said_of(layer).get("signed") for layer in there)
        if self._read_outlines() and is_signed:
            return  # what was said stands for the moment
        judged = signatures.judge(there, counted_once(outlines(self.viewer)), self.shown)
        self.signed.setText(judged.text)
        self.shown = replace(self.shown, signed=judged.signed)

    def _read_outlines(self) -> bool:
        """Hash what a signature is under, not on this thread. True until that is done."""
        todo = drawn.unknown(outlines(self.viewer))
        if todo and self._reading is None:
            self._reading = Run(partial(drawn.hashed, todo))
            self._reading.ended.connect(self._outlines_read)
            self._reading.start()
        return bool(todo)

    def _outlines_read(self) -> None:
        if self._reading is not None and self._reading.error is None:
            drawn.keep(self._reading.result)
        self._reading = None
        if not self._closed:
            self.cells_changed()

    # second reader

    def _compare(self, ask: Callable[[], Path | None]) -> None:
        path = ask()
        self.cells_changed()  # a session may have been opened since
        if path is not None and self._slides:
            known = [name for layer in self.chosen for name in classes.class_list(layer).names]
            call = partial(self.compare, path, self._slides, known, self.reader.name)
            self.task.start(call, self._compared)

    def _compared(self, found: Sequence[second_reader.Second]) -> None:
        names = [one.name for one in found]
        name = names[0] if len(names) == 1 else self.ask_person(names)
        if name is None:
            return
        self.comparison.second = found[names.index(name)]
        self._follow_sessions()
        self._show_agreement()
        refused = self.comparison.refused(self._slides, self.reader.name)
        self.task.say(refused or f"Compared with {name}.", error=bool(refused))

    def _follow_sessions(self) -> None:
        """Who had said what is known once it is written down: a little after the layer has changed."""
        for session in set(autosave.opened()) - self._followed:
            session.saved.connect(self._show_agreement)
        self._followed = set(autosave.opened())

    def _show_agreement(self, _saved: object = None) -> None:
        if self.shown is not None:
            agreement = self.comparison.show_agreement(self._slides, self.reader.name)
            self.shown = replace(self.shown, agreement=agreement)

    def _go_to(self, image: str, cell: int) -> None:
        for layer in self.chosen:
            if layer in self.viewer.layers and classes.image_name(layer) == image:
                for other in sorted(self.chosen, key=lambda one: one is layer):  # marks that go come first
                    self._marks.show(other, [cell] if other is layer else [])
                self.task.say(self._uncovered.go_to(layer, cell))
                return

    def closing(self) -> None:
        super().closing()
        self._marks.clear()
        self._uncovered.put_back()

    # patients

    def _name_patients(self, whose: Mapping[str, str]) -> None:
        for layer in self._counted():
            patient = whose.get(classes.image_name(layer))
            if patient is not None and patient != differential_calls.patient_of(layer):
                said.say(layer, PATIENT, patient, action=PATIENT)
        self.reset_choices()  # patients can be chosen above
        self.cells_changed()

    def _read_patients(self) -> None:
        path = self.ask_patients()
        if path is not None and self._slides:
            call = partial(self.read_patients, path, [slide.name for slide in self._slides])
            self.task.start(call, self._patients_read)

    def _patients_read(self, whose: Mapping[str, str]) -> None:
        self._name_patients(whose)
        self.task.say(f"Patients of {how_many(len(whose), 'slide')} read.")

    # words and signature

    def _keep_comment(self) -> None:
        text, before = self.comment.text(), self._commented
        if before is None or text == before.text:
            return
        self._commented = replace(before, text=text)
        for layer in self._counted():
            said.say(layer, before.key, text, action=comments.ACTIONS[before.key])
        self.cells_changed()

    def _sign(self) -> None:
        if self.shown is None:
            return
        there = self._counted()
        drawn.work_out(there)
        self.cells_changed()
        cells, looked = signatures.cells_of(self._slides), signatures.looked(self._slides, self.shown.config)
        if looked.unseen and self._warned != (self.shown.digest, cells):
            self._warned = (self.shown.digest, cells)
            self.task.say(
                f"{looked.text()}: look at them in Gallery, or press Sign off again to sign all the same.",
                error=True,
            )
            return
        self._warned = None
        signed = {
            "who": self.reader.name,
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "digest": self.shown.digest,
            "cells": cells,
            "images": [slide.name for slide in self._slides],
            "looked": asdict(looked),
            "count": self.shown.config.to_json(),
            "merge_bands": self.shown.merge_bands,
            "counted": how_many(self.shown.pooled.counted, "white cell"),
        }
        for layer in there:
            said.say(layer, "signed", signed, action="sign-off", note=str(signed["counted"]))
        self.task.say("")
        self.cells_changed()

    # export

    def _export(self) -> None:
        folder = self.ask_folder()
        if folder is not None and self.shown is not None:
            call = partial(self.export, folder, self.shown, self._slides)
            self.task.start(call, lambda written: self.task.say(f"Written to {written}"))

    def _ask_person(self, names: Sequence[str]) -> str | None:
        text = "Several people have named cells in this session. Compare with:"
        chosen, is_chosen = QInputDialog.getItem(self, "Second reader", text, names, 0, False)
        return chosen if is_chosen else None


def _patient(chosen: Any) -> str:
    """Whose fields are chosen together; empty where it is one layer, or all."""
    return str(chosen[1]) if isinstance(chosen, tuple) else ""
