"""The panel "Blind reading": a second person names the same cells, sees nobody's answers, and is compared."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import QHBoxLayout, QPushButton

from napari_bloodcell.core.class_list import ClassList
from napari_bloodcell.core.errors import BloodcellError, DataError
from napari_bloodcell.core.progress import Progress
from napari_bloodcell.core.records import UNIDENTIFIED
from napari_bloodcell.core.words import how_many
from napari_bloodcell.gui import ask, classes, second_reader
from napari_bloodcell.gui.class_history import PERSON
from napari_bloodcell.gui.class_table import shown
from napari_bloodcell.gui.differential_calls import Slide, slide_of
from napari_bloodcell.gui.gallery_view import SIDE_PX, GalleryView, Group, Key, Tile
from napari_bloodcell.gui.help import HelpLink
from napari_bloodcell.gui.in_order import InOrder
from napari_bloodcell.gui.key_goes_on import KeyGoesOn
from napari_bloodcell.gui.panel import CellsPanel
from napari_bloodcell.gui.places import centre_on, lie_on_their_own
from napari_bloodcell.gui.reader_name import ReaderName
from napari_bloodcell.gui.selection import CellPicker, Marks
from napari_bloodcell.gui.shelf import Shelf, read_shelves, taken_of
from napari_bloodcell.gui.veil import Veil
from napari_bloodcell.gui.wrapped import Wrapped

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.viewer import Viewer

    from napari_bloodcell.core.report.readers import Cell

LOWEST_VIEW_PX = 260
AGAIN_MS = 5_000  # until answers that could not be written are tried again
NOT_YET, NOT_YET_COLOUR = "", "#808080"
ON_SCREEN = "The classes on the screen"

HELP = """
### Blind reading

A second person names the same cells and sees neither the first reader's answers nor the model's.

1. The second reader types a name into **Reader**, presses **Begin** and chooses a folder. Answers are kept in
   the file *NAME blind.csv* there, at once, each as it is given; the same name and folder go on with it.
2. Click a cell, here or in the field, press the **key** of its class (0: it cannot be told), or drag cells
   onto a class. A wrong
   answer is mended by another key, or dragged back to *not answered*.
3. **End and compare** gives agreement and Cohen's kappa with each person who has named these cells, and with
   the classes on the screen.

Until then layers with classes, the list of layers and the other panels are hidden, and hidden again where
one is opened.
Outlines have one colour and say nothing under the mouse. The classes of your layers are not changed:
*Differential > Second reader > A table* lists the cells that were seen differently.
"""


Begun = tuple[Path, "dict[Cell, str]", list[Shelf]]


def begin(folder: Path, name: str, taken: "Sequence[tuple[Any, Any]]", progress: Progress) -> Begun:
    """In the task: where the answers are kept, those there are, and what the pictures are cut from."""
    from napari_bloodcell.core.report.blind import begin_blind, blind_table

    progress("Reading", 0, 0)
    path = blind_table(folder, name)
    return path, begin_blind(path, name), read_shelves(taken, progress)


def write(path: Path, name: str, answers: "Mapping[Cell, str]") -> None:
    """In the writer's thread, after each answer."""
    from napari_bloodcell.core.report.blind import write_blind

    write_blind(path, name, answers)


def end(
    path: Path, name: str, answers: "Mapping[Cell, str]", slides: Sequence[Slide], progress: Progress
) -> str:
    """In the task: all answers written, and what there is to say of them."""
    from napari_bloodcell.core.report.blind import compared, write_blind
    from napari_bloodcell.core.report.readers import Reader

    progress("Comparing", 0, 0)
    write_blind(path, name, answers)
    there = {
        (slide.name, int(cell)): kind
        for slide in slides
        for cell, kind in zip(slide.table["index"], slide.kinds, strict=True)
    }
    others = [*second_reader.people_of(slides), Reader(name=ON_SCREEN, answers=there)]
    told = compared(Reader(name=path.stem, answers=answers), others)
    return "\n".join([*told, f"{how_many(len(answers), 'answer')} in {path}."])


class BlindReading(CellsPanel):
    """``begin``, ``write``, ``end`` and ``ask_folder`` are what it calls."""

    def __init__(self, napari_viewer: "Viewer") -> None:
        super().__init__(napari_viewer, "Begin", several=True)
        self.task.run_button.setToolTip("Hides all answers, and shows the cells to be named.")
        self.begin, self.write, self.end = begin, write, end
        self.ask_folder = partial(ask.folder, self, "Folder for the answers")
        self.path: Path | None = None  # of the answers, while a reading is under way
        self.answers: dict[Cell, str] = {}
        self._name = self._unsaved = self._warned = ""  # _warned: of whom it was said that answers are there
        self._layers: list[Labels] = []
        self._images: list[str] = []
        self._shelves: list[Shelf] = []
        self._is_picking = False
        self._known = ClassList.of()
        self._writer: InOrder | None = None
        self._again = QTimer(self)
        self._again.setSingleShot(True)
        self._again.setInterval(AGAIN_MS)
        self._again.timeout.connect(self._save)
        self._veil = Veil(napari_viewer, self)
        self._veil.lifted.connect(self._say_hidden)
        self._marks = Marks(napari_viewer, stays=True)
        self._picker = CellPicker(napari_viewer, self._on_view, self._picked, also_hidden=True)
        self.reader = ReaderName("Your name or sign: the answers are kept under it.", is_guest=True)
        self.choices.addRow("Reader", self.reader)
        self._build()
        self.task.pressed.connect(self._begin)
        self.task.busy_changed.connect(self._show_state)
        self.reset_choices()

    def _build(self) -> None:
        self.view = GalleryView(self._cut, lambda _key: "")
        self.view.setMinimumHeight(LOWEST_VIEW_PX)
        self.view.looked_at.connect(self._look_at)
        self.view.chosen_changed.connect(self._mark)
        self.view.dropped.connect(self._give)
        self.state = Wrapped()
        self.goes_on = KeyGoesOn(self.view, lambda: self._known, self._give, self.task.say)
        self.goes_on.setChecked(True)
        self.end_button = QPushButton("End and compare")
        self.end_button.setToolTip("Shows everything again, and how far the answers agree.")
        self.end_button.clicked.connect(self._end)
        row = QHBoxLayout()
        row.addWidget(self.goes_on)
        row.addStretch(1)
        row.addWidget(self.end_button)
        below = QHBoxLayout()
        below.addStretch(1)
        below.addWidget(HelpLink("Blind reading", HELP))
        self.body.addWidget(self.view, 1)
        self.body.addWidget(self.state)
        self.body.addLayout(row)
        self.body.addWidget(self.task)
        self.body.addLayout(below)
        self.body.addStretch(0)
        self._show_state()

    @property
    def is_reading(self) -> bool:
        return self.path is not None

    def layers_changed(self) -> None:
        super().layers_changed()
        if hasattr(self, "end_button"):  # the first call comes before it is made
            self._show_state()

    def _show_state(self, *_: object) -> None:
        for widget in (self.view, self.state, self.goes_on, self.end_button):
            widget.setVisible(self.is_reading)
        for widget in (self.cells, self.reader):
            widget.setEnabled(not self.is_reading and not self.task.busy)
        self.end_button.setEnabled(not self.task.busy)
        ready = bool(self.chosen) and not self.is_reading
        if self.task.run_button.isEnabled() != (ready and not self.task.busy):  # telling calls this again
            self.task.set_ready(ready)

    # beginning and ending

    def _begin(self) -> None:
        fields, name = self.chosen, self.reader.name
        try:
            images = [classes.image_name(layer) for layer in fields]
            if len(set(images)) < len(images):
                raise DataError(
                    "Two of the fields have one name, so their cells could not be told apart in the table. "
                    "Rename a file, or choose one field above."
                )
            taken = [taken_of(layer, self.viewer) for layer in fields]
        except BloodcellError as error:
            self.task.say(str(error), error=True)
            return
        if self._warns(name, fields):
            return
        folder = self.ask_folder()
        if folder is None:
            return
        call = partial(self.begin, folder, name, taken)
        self.task.start(call, partial(self._begun, name, fields, images), may_drop=True)

    def _warns(self, name: str, fields: "Sequence[Labels]") -> bool:
        """Once, of a name that is the first reader's: it may have been left standing."""
        source = f"{PERSON}{name}"
        has_named = any(who == source for layer in fields for _, _, who in classes.rows(layer))
        if not has_named or self._warned == name:
            self._warned = ""
            return False
        self._warned = name
        self.task.say(
            f"{name} has named cells here. Type the second reader's name above; or press Begin again where "
            f"{name} is to read them a second time.",
            error=True,
        )
        return True

    def _begun(self, name: str, fields: "list[Labels]", images: list[str], found: Begun) -> None:
        self.path, self.answers, self._shelves = found
        self._name, self._layers, self._images = name, fields, images
        self._known = _classes_of(fields, self.answers.values())
        self._start_writing()
        self._veil.draw()
        self._picker.start()
        self.view.forget_pictures()
        self._show()
        self._show_state()
        self.task.say("All answers of others are hidden. Click a cell, then press the key of its class.")
        self.view.setFocus()

    def _end(self) -> None:
        if self.path is None or self._writer is None:
            return
        self._stop_writing()
        there = [layer for layer in self._layers if layer in self.viewer.layers]
        slides = [slide_of(layer) for layer in there]
        call = partial(self.end, self.path, self._name, dict(self.answers), slides)
        self.task.start(call, self._ended)

    def _ended(self, told: str) -> None:
        self._lift()
        self.task.say(told)

    def _lift(self) -> None:
        self.path = None
        self._picker.stop()
        self._marks.clear()
        self._veil.lift()
        self._layers, self._shelves, self.answers = [], [], {}
        self.view.show_groups([])
        self._show_state()

    def closing(self) -> None:
        super().closing()
        if self.is_reading:
            self._save()
            self._stop_writing()
            self._lift()

    # answers

    def _give(self, name: str) -> None:
        """To the cells that are chosen; ``NOT_YET`` takes their answers back."""
        keys = self.view.chosen
        if not keys:
            self.task.say("Choose cells first.")
            return
        for number, cell in keys:
            place = self._images[number], cell
            if name == NOT_YET:
                self.answers.pop(place, None)
            else:
                self.answers[place] = name
        self._save()
        self._show()
        self.task.say(f"{how_many(len(keys), 'cell')}: {shown(name) or 'not answered'}.")

    def _save(self) -> None:
        if self._writer is None:  # the end was refused
            self._start_writing()
        if self.path is not None and self._writer is not None:
            self._writer.submit(partial(self.write, self.path, self._name, dict(self.answers)))

    def _start_writing(self) -> None:
        self._writer = InOrder()
        self._writer.failed.connect(self._could_not_write)
        self._writer.done.connect(self._say_saved)

    def _say_saved(self) -> None:
        if self._unsaved:
            self._unsaved = ""
            self._show_count()

    def _could_not_write(self, why: str) -> None:
        self._unsaved = f"Not saved yet: {why} It is tried again by itself."
        self._show_count()
        self._again.start()

    def _stop_writing(self) -> None:
        self._again.stop()
        if self._writer is not None:
            self._writer.close()
        self._writer = None

    # showing

    def _show(self) -> None:
        known = self._known
        tiles: dict[str, list[Tile]] = {name: [] for name in (NOT_YET, *known.names)}
        for number, shelf in enumerate(self._shelves):
            for cell in sorted(shelf.boxes):
                said = self.answers.get((self._images[number], cell), NOT_YET)
                tiles[said].append(Tile(key=(number, cell)))
        self.view.show_groups([_group(name, found, known) for name, found in tiles.items()])
        self._show_count()

    def _show_count(self) -> None:
        cells = [(image, c) for image, s in zip(self._images, self._shelves, strict=False) for c in s.boxes]
        done = sum(cell in self.answers for cell in cells)
        where = self._unsaved or (f"Kept in {self.path}." if self.path else "")
        ready = " Press End and compare." if cells and done == len(cells) else ""
        counted = f"{done} of {how_many(len(cells), 'cell')} answered by {self._name}.{ready}"
        self.state.setText(f"{counted} {where}")

    def _cut(self, key: Key) -> QPixmap | None:
        number, cell = key
        return self._shelves[number].cut(cell, SIDE_PX) if number < len(self._shelves) else None

    def _look_at(self, key: Key) -> None:
        number, cell = key
        layer = self._layers[number]
        if layer in self.viewer.layers:
            centre_on(self.viewer, layer, cell, self._shelves[number].boxes.get(cell))
            self._veil.show_field(layer, list(self._shelves[number].boxes))

    def _on_view(self) -> "list[Labels]":
        """Whose cells can be clicked on: the field that is shown, then those that lie beside it."""
        there = [layer for layer in self._layers if layer in self.viewer.layers]
        own = lie_on_their_own(self.viewer, there)
        seen = [layer for layer, is_own in zip(there, own, strict=True) if is_own]
        return sorted(seen, key=lambda layer: layer is not self._veil.field)

    def _picked(self, layer: "Labels", cell: int, adds: bool) -> None:
        """In the field: it is in view there, and its picture comes into view here. The next key is its."""
        number = self._layers.index(layer)
        if cell in self._shelves[number].boxes:
            self._veil.show_field(layer, list(self._shelves[number].boxes))
            with self._picking():
                self.view.go_to((number, cell), adds=adds)
        elif not adds:
            self.view.choose([])
        self.view.setFocus()

    @contextmanager
    def _picking(self) -> Iterator[None]:
        """The view stays where it is: the cell is under the mouse."""
        self._is_picking = True
        try:
            yield
        finally:
            self._is_picking = False

    def _mark(self, keys: Sequence[Key]) -> None:
        """Of one field, which is shown: others may lie under it."""
        if keys and not self._is_picking:
            self._look_at(keys[-1])
        last = keys[-1][0] if keys else -1
        chosen = {n: [c for at, c in keys if at == n == last] for n in range(len(self._layers))}
        for number, cells in sorted(chosen.items(), key=lambda one: bool(one[1])):  # marks that go come first
            if self._layers[number] in self.viewer.layers:
                self._marks.show(self._layers[number], cells)

    def _say_hidden(self) -> None:
        self.task.say("That tells answers: it stays hidden until you press End and compare.")


def _classes_of(fields: "Sequence[Labels]", said: Any) -> ClassList:
    """The usual ones and those of the lab; which of them others have given is not told."""
    known = classes.class_list(fields[0])
    for layer in fields[1:]:
        for name, colour in classes.class_list(layer).colours.items():
            known = known.with_class(name, colour)
    for name in said:
        known = known.with_class(name)
    return known


def _group(name: str, found: Sequence[Tile], known: ClassList) -> Group:
    if name == NOT_YET:
        title = f"not answered   {len(found)}"
        return Group(name=name, title=title, colour=NOT_YET_COLOUR, tiles=found)
    digit = known.digit(name)
    title = f"{shown(name)}   {len(found)}" + (f"   key {digit}" if digit else "")
    if name == UNIDENTIFIED:
        title += "   cannot be told"
    return Group(name=name, title=title, colour=known.colours[name], tiles=found)
