"""The panel "Classify": a model's classes, a person's corrections, and what the model learns from them."""

import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_info
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QLineEdit, QPushButton

from napari_bloodcell.core.class_list import ClassList
from napari_bloodcell.core.config import AnalyseConfig
from napari_bloodcell.core.errors import BloodcellError
from napari_bloodcell.core.words import how_many
from napari_bloodcell.gui import adapting, ask, classes, classify_calls
from napari_bloodcell.gui.choices import BundleChoice
from napari_bloodcell.gui.class_keys import ClassKeys, hand_to
from napari_bloodcell.gui.class_table import ClassTable
from napari_bloodcell.gui.form import Form, section
from napari_bloodcell.gui.help import HelpLink
from napari_bloodcell.gui.next_field import next_field
from napari_bloodcell.gui.one_list import change_list, with_cells
from napari_bloodcell.gui.outlines import image_of, nuclei_of, outlined
from napari_bloodcell.gui.painting import painted_apart
from napari_bloodcell.gui.panel import CellsPanel
from napari_bloodcell.gui.places import Uncovered
from napari_bloodcell.gui.reader_name import ReaderName
from napari_bloodcell.gui.selection import CellPicker, Marks
from napari_bloodcell.gui.taken_back import told_step
from napari_bloodcell.gui.wrapped import Wrapped

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.viewer import Viewer

TABLES = "Tables (*.csv)"
EARLIER_STEPS = ("segment", "count", "slide", "read.page", "read.max_megapixels")

HELP = """
### Classify

1. Choose the outlines under **Cells** and press **Predict classes**. A cell the model is not sure of is
   *unidentified*. The rims take the colours of the classes; the outlines stay as they are.
2. **Correct**: click a cell in the image, then press the key of its class (0 is *unidentified*). Or choose a
   class in the list, press **Click gives class**, and click cell after cell. Saying what the model said
   confirms it. Undo and Redo take back and give again.
3. **Next cell** goes to the cell that is most worth a look. A key gives it its class and goes on to the next;
   after the last cell of a field it goes on in the next field, whose picture is shown.
4. **Adapt model** tries several updates from your corrections and keeps the best, if cells that were held out
   say its probabilities are better. Five corrected cells are the least, a few of each class are better.
5. **Classes**: any number; click twice on a name to rename it (a taken one merges), on its key to recolour.

A cell that a person has decided keeps its class when a model predicts again. The column *Seen* counts them.

Corrections are kept with the layer, and on disk where the layer belongs to a session (panel *Session*).
"""


class ClassifyCells(CellsPanel):
    """Cells in, classes out. ``predict``, ``adapt`` and ``ask_...`` are what it calls."""

    def __init__(self, napari_viewer: "Viewer") -> None:
        super().__init__(napari_viewer, "Predict classes")
        self.task.run_button.setToolTip("Let the model name every cell that no person has named.")
        self.predict = classify_calls.predict
        self.adapt = adapting.adapt
        self.ask_open = partial(ask.file_to_read, self, "Table of classes", TABLES)
        self.ask_save = partial(ask.file_to_write, self, "Table of classes", "classes.csv", TABLES)
        self.current = 0  # the cell that is looked at
        self._reviewing = False
        self._suggested: weakref.WeakKeyDictionary[Labels, Sequence[int]] = weakref.WeakKeyDictionary()
        self._keys = ClassKeys(napari_viewer, self._pressed)
        self._hand = QTimer(self)  # not while napari handles the click
        self._hand.setSingleShot(True)
        self._hand.timeout.connect(self._take_hand)
        self._picker = CellPicker(napari_viewer, lambda: self.chosen, self._picked)
        self._marks, self._uncovered = Marks(napari_viewer, stays=True), Uncovered(napari_viewer)
        self._before: Labels | None = None  # the field that Next cell came from
        self.model = BundleChoice()
        self.choices.addRow("Model", self.model)
        self.reader = ReaderName("Your name or sign: it stands beside every class you give.")
        self.choices.addRow("Reader", self.reader)
        self.form = Form(AnalyseConfig(), without=EARLIER_STEPS)
        self._build()
        self.task.pressed.connect(self._predict)
        self._picker.start()
        self.reset_choices()
        self.cells_changed()

    def _build(self) -> None:
        self.table = ClassTable()
        self.table.renamed.connect(self._rename)
        self.table.recoloured.connect(self._recolour)
        self.name = QLineEdit()
        self.name.setPlaceholderText("New class")
        self.name.setToolTip("Name of a class to add, then Enter.")
        self.name.returnPressed.connect(self._add_class)
        self.add_button = self._button("Add", "Add a class; it gets a colour of its own.")
        self.add_button.clicked.connect(self._add_class)
        self.remove_button = self._button("Remove", "Remove the chosen class, if it has no cells.")
        self.remove_button.clicked.connect(self._remove_class)
        naming = QHBoxLayout()
        for widget, stretch in ((self.name, 1), (self.add_button, 0), (self.remove_button, 0)):
            naming.addWidget(widget, stretch)
        self.brush_button = self._button("Click gives class", "A click on a cell gives it the chosen class.")
        self.brush_button.setCheckable(True)
        self.next_button = self._button("Next cell", "Go to the cell that is most worth a look.")
        self.undo_button = self._button("Undo", "Take back the last change of class (Ctrl+Z here).")
        self.redo_button = self._button("Redo", "Give again what was taken back (Ctrl+Shift+Z here).")
        self.adapt_button = self._button(
            "Adapt model",
            "Update the model from your corrections on all open fields, judged on cells held out.",
        )
        self.adapt_button.clicked.connect(self._adapt)
        self.load_button = self._button("Load …", "Give the cells the classes of a table (CSV).")
        self.save_button = self._button("Save …", "Write the classes of the cells as a table (CSV).")
        buttons = QGridLayout()
        shown = [self.next_button, self.brush_button, self.undo_button, self.redo_button]
        for place, button in enumerate([*shown, self.load_button, self.save_button, self.adapt_button]):
            buttons.addWidget(button, *divmod(place, 2))
        self.next_button.clicked.connect(self._next)
        self.undo_button.clicked.connect(lambda: self.step(back=True))
        self.redo_button.clicked.connect(lambda: self.step(back=False))
        self.load_button.clicked.connect(self._load)
        self.save_button.clicked.connect(self._save)
        self.about = Wrapped()
        self.about.setToolTip("The cell that is looked at: what it is, how sure, and why not.")
        below = QHBoxLayout()
        below.addWidget(HelpLink("Classify", HELP), 1, Qt.AlignmentFlag.AlignRight)
        self.body.addWidget(self.task)
        self.body.addWidget(self.about)
        self.body.addLayout(buttons)
        self.body.addWidget(self.table)
        self.body.addLayout(naming)
        self.body.addLayout(below)
        self.body.addWidget(section("Advanced", self.form))
        self.body.addStretch(1)

    @staticmethod
    def _button(text: str, tip: str) -> QPushButton:
        button = QPushButton(text)
        button.setToolTip(tip)
        return button

    @property
    def layer(self) -> "Labels | None":
        return self.chosen[0] if self.chosen else None

    def cells_changed(self) -> None:
        layer = self.layer
        for widget in (self.table, self.name, self.add_button, self.remove_button, self.next_button):
            widget.setEnabled(layer is not None)
        for widget in (self.brush_button, self.load_button, self.save_button, self.adapt_button):
            widget.setEnabled(layer is not None)
        can_undo, can_redo = classes.can_undo(self._undoable())
        self.undo_button.setEnabled(can_undo)
        self.redo_button.setEnabled(can_redo)
        self._bind_keys()
        if layer is None:
            self.table.show_classes(ClassList.of(), {}, {})
            self.about.hide()
            return
        kinds = classes.kinds(layer)
        mine = classes.is_by_person(layer)
        seen = Counter(kind for kind, by in zip(kinds, mine, strict=True) if by)
        self.table.show_classes(classes.class_list(layer), Counter(kinds), seen)
        self._say_current()

    def closing(self) -> None:
        super().closing()
        self._picker.stop()
        self._hand.stop()
        self._keys.stop()
        self._marks.clear()
        self._uncovered.put_back()

    # a model's classes

    def _predict(self) -> None:
        try:
            classes.check_plane(self.layer)
            taken = outlined(self.layer, self.viewer)
            config: Any = self.form.get()
        except BloodcellError as error:
            self.task.say(str(error), error=True)
            return
        call = partial(self.predict, taken, self.model.value, config)
        self.task.start(call, self._predicted, may_drop=True)

    def _predicted(self, result: classify_calls.Predicted) -> Iterator[None]:
        cells = result.outlined.layer_in(self.viewer)
        if cells is None:
            self.task.say("The outlines are gone from the viewer, so no classes were given.")
            return
        kept = classes.set_predictions(
            cells, result.table, result.made_from(), result.analysis.predictions.class_names
        )
        self._suggested[cells] = result.order
        yield
        if cells is self.layer or classes.classes_layer(self.viewer, cells) is not None:
            steps = classes.show_rims(self.viewer, cells, result.outlined.picture, result.rims)
            yield from painted_apart(self, steps)
        nuclei = nuclei_of(cells, self.viewer)
        if nuclei is not None:
            nuclei.visible = False  # their tint hides what a class is told by
        n = len(result.table)
        said = f"Classified {n} cells of {cells.name}."
        self.task.say(said + (f" {kept} that a person decided kept their class." if kept else ""))

    def _adapt(self) -> None:
        layer = self.layer
        if layer is None:
            return
        try:
            looked = adapting.looked_at(layer, self.viewer)
            config: Any = self.form.get()
        except BloodcellError as error:
            self.task.say(str(error), error=True)
            return
        self.task.start(partial(self.adapt, looked, self.model.value, config), self._adapted)

    def _adapted(self, result: adapting.Adapted) -> Iterator[None]:
        if result.folder is not None:
            self.model.choose(result.folder)
            for one in result.predicted:
                yield from self._predicted(one)
            fields = f" on {len(result.predicted)} fields" if len(result.predicted) > 1 else ""
            said = f"The cells{fields} are named anew, all but those that a person named."
            where = f"The adapted model is in {result.folder}; the one before is unchanged."
            self.task.say(f"{result.text}\n{said} {where}")
        else:
            self.task.say(result.text)

    # a person's classes

    def _picked(self, layer: "Labels", cell: int, _adds: bool) -> None:
        self._reviewing = False
        self._look_at(layer, cell)
        if cell and self.brush_button.isChecked():
            self._give([cell], self.table.current)

    def _pressed(self, digit: str) -> None:
        layer = self.layer
        name = None if layer is None else classes.class_list(layer).of_digit(digit)
        if name is None or not self.current:
            self.task.say(
                "Click a cell first, then press the key of its class."
                if name
                else f"No class has key {digit}."
            )
            return
        if classes.row_of(layer, self.current) is None:
            self.task.say(f"Cell {self.current} is gone. Click another.")
            self._look_at(layer, 0)
            return
        self._give([self.current], name)
        if not self.isVisible():  # behind another panel: a person who meant that one must see it
            show_info(f"Cell {self.current}: {name.replace('_', ' ')}. Ctrl+Z in Classify takes it back.")
        if self._reviewing:
            self._next()

    def _give(self, cells: Sequence[int], name: str) -> None:
        if self.layer is None:
            return
        if not name:
            self.task.say("Choose a class in the list first.")
            return
        self.task.say("")  # what was asked for was done
        classes.give(self.viewer, {self.layer: cells}, name, self.reader.name)

    def step(self, *, back: bool) -> bool:
        self.task.say(told_step(self.viewer, self._undoable(), back=back))
        return True

    def _undoable(self) -> "list[Labels]":
        """The last cell of the field before may have been a slip, after which the next one was shown."""
        known = [one for one in [self._before] if one in self.viewer.layers and one not in self.chosen]
        return self.chosen + known

    def _next(self) -> None:
        layer = self.layer
        if layer is None:
            return
        order = classify_calls.review_order(
            layer.features, classes.ids(layer), classes.is_by_person(layer), self._suggested.get(layer, ())
        )
        order = [cell for cell in order if cell != self.current] or order
        if not order:
            self._next_field(layer)
            return
        self._reviewing = True
        self._look_at(layer, order[0])
        told = self._uncovered.go_to(layer, order[0])
        self.task.say(f"{how_many(len(order), 'cell')} nobody has looked at yet. {told}".strip())

    def _next_field(self, done: "Labels") -> None:
        self._reviewing = False
        field, said = next_field(self.viewer, done)
        if field is not None:
            self._marks.show(done, [])
            self.current, self.cells.value, self._before = 0, field, done
            self._next()
        self.task.say(said)

    def _look_at(self, layer: "Labels", cell: int) -> None:
        self.current = cell
        self._marks.show(layer, [cell] if cell else [])
        self._bind_keys()
        if cell:
            self._hand.start()
        self._say_current()

    def _take_hand(self) -> None:
        """So that the keys of classes are those of the layer that is active."""
        if self.layer is not None:
            hand_to(self.viewer, self.layer)

    def _bind_keys(self) -> None:
        layer = self.layer
        if layer is None:
            self._keys.use(())
            return
        rims = classes.classes_layer(self.viewer, layer)
        beside = (image_of(layer, self.viewer), nuclei_of(layer, self.viewer)) if self.current else ()
        self._keys.use((layer, rims), beside)

    def _say_current(self) -> None:
        row = None if self.layer is None else classes.row_of(self.layer, self.current)
        self.about.setVisible(row is not None)
        if row is not None:
            self.about.setText(classify_calls.said_of(row))

    # the list of classes

    def _add_class(self) -> None:
        name = self.name.text()
        if not name.strip():
            self.task.say("Type the name of the new class first.")
        elif self._with_classes(lambda known: known.with_class(name)):
            self.task.say("")
            self.name.clear()

    def _remove_class(self) -> None:
        layer, name = self.layer, self.table.current
        if layer is None or not name:
            return
        if there := with_cells(self.viewer, layer, name):
            said = f"{name.replace('_', ' ')} has cells in {there}: give them another class first."
            self.task.say(said, error=True)
            return
        self._with_classes(lambda known: known.without(name))

    def _recolour(self, name: str, colour: str) -> None:
        self._with_classes(lambda known: known.recoloured(name, colour))

    def _rename(self, old: str, new: str) -> None:
        try:
            if self.layer is not None:
                self.task.say(classes.rename_or_merge(self.viewer, self.layer, old, new))
                self.table.follow(old, new)
        except BloodcellError as error:
            self.task.say(str(error), error=True)
        self.cells_changed()

    def _with_classes(self, change: Callable[[ClassList], ClassList]) -> bool:
        layer = self.layer
        if layer is None:
            return False
        try:
            change_list(self.viewer, layer, change)
        except BloodcellError as error:
            self.task.say(str(error), error=True)
            return False
        return True

    # tables

    def _load(self) -> None:
        path, layer = self.ask_open(), self.layer
        if path is None or layer is None:
            return
        try:
            self.task.say(classify_calls.load_classes(self.viewer, layer, path, self.reader.name))
        except BloodcellError as error:
            self.task.say(str(error), error=True)

    def _save(self) -> None:
        path, layer = self.ask_save(), self.layer
        if path is None or layer is None:
            return
        image = classes.image_name(layer)
        rows = classes.rows(layer)
        self.task.start(
            lambda _progress: classify_calls.write_classes(path, image, rows),
            lambda _result: self.task.say(f"Written to {path}"),
        )
