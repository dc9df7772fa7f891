"""The panel "Gallery": every cell as a small picture, sorted into its class by eye, key and dragging."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QPushButton

from napari_bloodcell.core.class_list import ClassList
from napari_bloodcell.core.errors import BloodcellError
from napari_bloodcell.core.progress import Progress
from napari_bloodcell.core.records import UNIDENTIFIED
from napari_bloodcell.gui import classes, layers
from napari_bloodcell.gui.class_table import shown
from napari_bloodcell.gui.classify_calls import said_of
from napari_bloodcell.gui.gallery_order import labs_of, order_of, typical
from napari_bloodcell.gui.gallery_view import SIDE_PX, GalleryView, Group, Key, Tile
from napari_bloodcell.gui.help import HelpLink
from napari_bloodcell.gui.key_goes_on import KeyGoesOn
from napari_bloodcell.gui.panel import CellsPanel
from napari_bloodcell.gui.places import Uncovered, centre_on, hidden_by, lie_on_their_own
from napari_bloodcell.gui.reader_name import ReaderName
from napari_bloodcell.gui.selection import Marks
from napari_bloodcell.gui.shelf import Shelf, read_shelves, taken_of
from napari_bloodcell.gui.taken_back import told_step
from napari_bloodcell.gui.task import Run
from napari_bloodcell.gui.wrapped import Wrapped

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.viewer import Viewer

SORTS = ("doubt", "distance", "size", "number", "disputed")
SHOWS = ("all cells", "in doubt", "not seen yet", "seen")
MOST_SHOWN = 20_000  # of one layer: more than anybody looks through
LOWEST_VIEW_PX = 260

HELP = """
### Gallery

Every cell as a small picture under the name of its class; *unidentified* comes first, to be emptied.

- **Click** a picture: the viewer moves to that cell. With Ctrl or Shift, or a frame drawn around them,
  choose several; Ctrl+A chooses all, Escape none. Where fields lie on each other the viewer marks the cells
  of the one you see.
- **Drag** the chosen ones onto another class, or press its **key**: they are that class now, and marked as
  seen (✓). A question mark stands on a cell the model is in doubt about.
- **Arrow keys** go from cell to cell: after a key, → leads to the next one. With **Key goes on** ticked the
  key itself goes there, where one cell is chosen.
- **Sort** puts those first that deserve a look; **Show** leaves out the others. Undo and Redo as everywhere.
  *Disputed* finds slips: cells a person named otherwise than the model, the ones it is surest of first.
- Below stand typical cells of the class of the picture you clicked: those a person has confirmed, or those
  the model is surest of.
"""


class Gallery(CellsPanel):
    """Cells of one layer or of all. ``read`` is what it calls in its task."""

    def __init__(self, napari_viewer: "Viewer") -> None:
        super().__init__(napari_viewer, "Read again", several=True)
        self.task.run_button.setToolTip(
            "Cut the pictures of the cells anew, after outlines or images changed."
        )
        self.read = read_shelves
        self._shelves: list[Shelf] = []
        self._layers: list[Labels] = []  # of the shelves, in their order
        self._asked: list[Any] = []
        self._left_out = 0
        self._warming: Run | None = None
        self._looked_at: Key | None = None
        self._covered = ""  # what hides the picture of that cell
        self._on_view: set[int] = set()  # numbers of the layers whose chosen cells are marked
        self._uncovered = Uncovered(napari_viewer)
        self._marks = Marks(napari_viewer, stays=True)
        self.reader = ReaderName("Your name or sign: it stands beside every class you give.")
        self.choices.addRow("Reader", self.reader)
        self.sort = self._box(
            SORTS,
            "Which cells come first: the least sure, the furthest from the known, the largest; disputed: "
            "those a person named otherwise than the model, by how sure it is.",
        )
        self.show_only = self._box(SHOWS, "Which cells are shown.")
        self.lab = self._box(("all labs",), "Cells of one lab only, where layers say where they come from.")
        self.choices.addRow("Sort by", self.sort)
        self.choices.addRow("Show", self.show_only)
        self._build()
        self.task.pressed.connect(self._read)
        self.task.busy_changed.connect(self._was_busy)
        self.reset_choices()

    def _build(self) -> None:
        self.view = GalleryView(self._cut, self._about)
        self.view.setMinimumHeight(LOWEST_VIEW_PX)
        self.view.looked_at.connect(self._look_at)
        self.view.chosen_changed.connect(self._choose)
        self.view.dropped.connect(self._give)
        self.said = Wrapped()
        self.undo_button = QPushButton("Undo")
        self.undo_button.setToolTip("Take back the last change of class (Ctrl+Z in this panel).")
        self.undo_button.clicked.connect(lambda: self.step(back=True))
        self.redo_button = QPushButton("Redo")
        self.redo_button.setToolTip("Give again what was taken back (Ctrl+Shift+Z in this panel).")
        self.redo_button.clicked.connect(lambda: self.step(back=False))
        self.uncovers = QCheckBox("Show the picture of each cell")
        self.uncovers.setToolTip("Hides the images that lie over it; untick to have them back as they were.")
        self.uncovers.setChecked(True)  # a ring on another field's picture would be taken for this cell
        self.uncovers.hide()
        self.uncovers.toggled.connect(self._uncover)
        self.goes_on = KeyGoesOn(self.view, self._known, self._give, self.task.say)
        buttons = QHBoxLayout()
        for button in (self.undo_button, self.redo_button):
            buttons.addWidget(button, 1)
        buttons.addWidget(HelpLink("Gallery", HELP))
        self.typical = GalleryView(self._cut, self._about)
        self.typical.setFixedHeight(SIDE_PX + 36)
        self.typical.hide()
        self.typical.looked_at.connect(lambda key: self.task.say(self._centre(key)))
        self.body.addWidget(self.lab)
        self.body.addWidget(self.view, 1)
        self.body.addWidget(self.said)
        self.body.addWidget(self.uncovers)
        self.body.addWidget(self.goes_on)
        self.body.addLayout(buttons)
        self.body.addWidget(self.typical)
        self.body.addWidget(self.task)

    def _box(self, options: Sequence[str], tip: str) -> QComboBox:
        box = QComboBox()
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        box.setMinimumContentsLength(6)
        box.addItems(list(options))
        box.setToolTip(tip)
        box.currentIndexChanged.connect(self._show)
        return box

    # reading

    def cells_changed(self) -> None:
        wanted = [(layer, hash(classes.ids(layer).tobytes())) for layer in self.chosen]
        if wanted != self._asked and not self.task.busy:
            self._asked = wanted  # what failed or was cancelled is not tried again by itself
            self._read()
        self._show()

    def _was_busy(self, busy: bool) -> None:
        if not busy and not self._closed:
            self._soon.start()  # other layers may have been chosen meanwhile

    def _read(self) -> None:
        taken: list[Any] = []
        read_layers = []
        for layer in self.chosen:
            try:
                taken.append(taken_of(layer, self.viewer))
            except BloodcellError as error:
                if len(self.chosen) == 1:
                    self.task.say(str(error), error=True)
                continue  # a drawing without its image is left out
            read_layers.append(layer)
        if taken:
            self.task.start(partial(self.read, taken), partial(self._was_read, read_layers))

    def _was_read(self, of: "list[Labels]", shelves: list[Shelf]) -> None:
        if of != self._layers:
            self._looked_at = None  # its number may be another cell's now
        self._layers, self._shelves = of, shelves
        for layer, shelf in zip(of, shelves, strict=True):
            if layer in self.viewer.layers and not len(layer.features):
                classes.make_rows(layer, sorted(shelf.boxes))
        if self._warming is None:
            self._warming = Run(_warm_up)
            self._warming.start()
        self.view.forget_pictures()
        self.typical.forget_pictures()
        self._show()
        n = sum(len(shelf.boxes) for shelf in shelves)
        self.task.say(f"{n} cells." if n != 1 else "1 cell.")

    # showing

    def _show(self, _index: object = None) -> None:
        there = [(n, layer) for n, layer in enumerate(self._layers) if layer in self.viewer.layers]
        self._offer_labs([layer for _, layer in there])
        known = self._classes([layer for _, layer in there])
        tiles: dict[str, list[tuple[float, Tile]]] = {name: [] for name in (UNIDENTIFIED, *known.names)}
        self._left_out = 0
        for number, layer in there:
            for kind, order, tile in self._tiles_of(number, layer):
                tiles.setdefault(kind, []).append((order, tile))
        self.view.show_groups([self._group(name, found, known) for name, found in tiles.items()])
        can_undo, can_redo = classes.can_undo([layer for _, layer in there])
        self.undo_button.setEnabled(can_undo)
        self.redo_button.setEnabled(can_redo)
        self._tell_looked_at()

    def _tiles_of(self, number: int, layer: "Labels") -> "list[tuple[str, float, Tile]]":
        shelf, features = self._shelves[number], layer.features
        ids, seen = classes.ids(layer), classes.is_by_person(layer)
        doubted = np.array([bool(d) and d == d for d in features.get("doubt", [""] * len(ids))], bool)  # noqa: PLR0124
        kept = self._kept(layer, seen, doubted)
        orders = order_of(self.sort.currentText(), ids, features, shelf)
        some = np.flatnonzero(kept)
        if len(some) > MOST_SHOWN:
            some = np.sort(some[np.argsort(orders[some], kind="stable")[:MOST_SHOWN]])
            self._left_out += int(kept.sum()) - MOST_SHOWN
        kinds = classes.kinds(layer)
        return [
            (
                kinds[row],
                float(orders[row]),
                Tile(
                    key=(number, int(ids[row])), doubted=bool(doubted[row] & ~seen[row]), seen=bool(seen[row])
                ),
            )
            for row in some.tolist()
            if int(ids[row]) in shelf.boxes
        ]

    def _kept(self, layer: "Labels", seen: Any, doubted: Any) -> Any:
        kept = {"in doubt": doubted & ~seen, "not seen yet": ~seen, "seen": seen}.get(
            self.show_only.currentText(), np.ones(len(seen), bool)
        )
        wanted = self.lab.currentText()
        if self.lab.currentIndex() <= 0:
            return kept
        return kept & (np.array(labs_of(layer), dtype=object) == wanted)

    def _group(self, name: str, found: list[tuple[float, Tile]], known: ClassList) -> Group:
        found.sort(key=lambda one: (one[0], one[1].key))
        digit = known.digit(name) if name in known.names else ""
        title = f"{shown(name)}   {len(found)}" + (f"   key {digit}" if digit else "")
        if name == UNIDENTIFIED:
            title += "   to do" if found else "   none left"
        return Group(name=name, title=title, colour=known.colours[name], tiles=[tile for _, tile in found])

    def _classes(self, there: "Sequence[Labels]") -> ClassList:
        known = classes.class_list(there[0]) if there else ClassList.of()
        for layer in there[1:]:
            for name, colour in classes.class_list(layer).colours.items():
                known = known.with_class(name, colour)
        return known

    def _offer_labs(self, there: "Sequence[Labels]") -> None:
        labs = sorted({lab for layer in there for lab in labs_of(layer) if lab})
        wanted = ["all labs", *labs]
        if [self.lab.itemText(i) for i in range(self.lab.count())] != wanted:
            before = self.lab.currentText()
            self.lab.blockSignals(True)
            self.lab.clear()
            self.lab.addItems(wanted)
            self.lab.setCurrentIndex(max(self.lab.findText(before), 0))
            self.lab.blockSignals(False)
        self.lab.setVisible(len(labs) > 1)

    def _cut(self, key: Key) -> QPixmap | None:
        number, cell = key
        return self._shelves[number].cut(cell, SIDE_PX) if number < len(self._shelves) else None

    def _about(self, key: Key) -> str:
        row = classes.row_of(self._layers[key[0]], key[1])
        where = f"\n{classes.image_name(self._layers[key[0]])}" if len(self._layers) > 1 else ""
        return "" if row is None else said_of(row) + where

    # choosing and sorting

    def _look_at(self, key: Key) -> None:
        self._covered = self._centre(key)
        self._looked_at = key
        self._mark(self.view.chosen)
        self._tell_looked_at()

    def _tell_looked_at(self) -> None:
        """As it is now: it may have been given another class since, here or elsewhere."""
        chosen, key = self.view.chosen, self._looked_at
        if key is not None and self._layers[key[0]] not in self.viewer.layers:
            key = self._looked_at = None
        said = []
        if len(chosen) > 1:
            said.append(self._told_chosen(chosen))
        if key is not None and (len(chosen) < 2 or key in chosen):
            said += [one for one in (self._about(key), self._covered) if one]
        if self._left_out:
            said.append(
                f"Only the first {MOST_SHOWN:,} of a layer are shown, as sorted; {self._left_out:,} are not."
            )
        self.said.setText("\n".join(said))
        if key is None:
            self.typical.hide()  # its cells may be gone too
            return
        row = classes.row_of(self._layers[key[0]], key[1])
        if row is not None:
            kind = str(row.get("cell_type") or UNIDENTIFIED)
            self._show_typical(str(row.get("best") or kind) if kind == UNIDENTIFIED else kind)

    def _centre(self, key: Key) -> str:
        layer, covered = self._layers[key[0]], ""
        if layer in self.viewer.layers:
            covered = centre_on(self.viewer, layer, key[1], self._shelves[key[0]].boxes.get(key[1]))
            if covered and self.uncovers.isChecked():
                self._uncovered.show(layer)
                covered = hidden_by(self.viewer, layer)
        self.uncovers.setVisible(bool(covered) or self._uncovered.hides)
        return covered

    def _uncover(self, wanted: bool) -> None:
        if not wanted:
            self._uncovered.put_back()
            self._mark(self.view.chosen)
        if self._looked_at is not None:
            self._look_at(self._looked_at)

    def _choose(self, keys: Sequence[Key]) -> None:
        self._mark(keys)
        if len(keys) != 1:  # one is looked at next
            self._tell_looked_at()

    def _mark(self, keys: Sequence[Key]) -> None:
        """In the viewer, those on their own picture: on another field's they would ring its cells."""
        there = [n for n, layer in enumerate(self._layers) if layer in self.viewer.layers]
        own = lie_on_their_own(self.viewer, [self._layers[n] for n in there])
        self._on_view = {n for n, is_own in zip(there, own, strict=True) if is_own}
        chosen = {number: [c for n, c in keys if n == number and n in self._on_view] for number in there}
        for number, cells in sorted(chosen.items(), key=lambda one: bool(one[1])):  # marks that go come first
            self._marks.show(self._layers[number], cells)

    def _told_chosen(self, chosen: Sequence[Key]) -> str:
        told = f"{len(chosen)} cells are chosen."
        marked = sum(number in self._on_view for number, _ in chosen)
        if marked < len(chosen):
            told += f" {marked} of them are marked in the viewer: the pictures of the others are covered."
        return told

    def _show_typical(self, name: str) -> None:
        """Beside the cell in question: cells of its class that are beyond doubt."""
        there = [(n, layer) for n, layer in enumerate(self._layers) if layer in self.viewer.layers]
        tiles, colours = typical(there, name), self._classes([layer for _, layer in there]).colours
        colour = colours.get(name, colours[UNIDENTIFIED])
        title = f"Typical: {shown(name)}" if tiles else f"No other {shown(name)} yet"
        self.typical.show()
        self.typical.show_groups([Group(name=name, title=title, colour=colour, tiles=tiles)])

    def _known(self) -> ClassList:
        return self._classes([layer for layer in self._layers if layer in self.viewer.layers])

    def _give(self, name: str) -> None:
        keys = self.view.chosen
        if not keys:
            self.task.say("Choose cells first.")
            return
        chosen = {
            layer: [cell for at, cell in keys if at == number]
            for number, layer in enumerate(self._layers)
            if layer in self.viewer.layers
        }
        n = classes.give(self.viewer, chosen, name, self.reader.name)
        self.task.say(f"{n} cell{'' if n == 1 else 's'}: {shown(name)}.")

    def step(self, *, back: bool) -> bool:
        there = [layer for layer in self._layers if layer in self.viewer.layers]
        if said := told_step(self.viewer, there, back=back):
            self.task.say(said)
        return True

    def closing(self) -> None:
        super().closing()
        self._marks.clear()
        self._uncovered.put_back()
        if self._warming is not None:
            self._warming.cancel()
        self._shelves, self._layers, self._asked, self._looked_at = [], [], [], None
        self.view.show_groups([])
        self.typical.show_groups([])


def _warm_up(_progress: Progress) -> None:
    """The first mark on a cell is drawn without a stand-still, and the pictures need not wait for it."""
    layers.warm_up()
