"""The part of the segment panel that corrects outlines: pick, delete, merge, split, redraw, prompt, undo."""

import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_bloodcell.core.errors import BloodcellError, SegmentError
from napari_bloodcell.core.sam.question import Prompt
from napari_bloodcell.core.segment import edit as editing
from napari_bloodcell.core.words import how_many
from napari_bloodcell.gui import ask, outlines
from napari_bloodcell.gui import prompt_layers as prompts
from napari_bloodcell.gui import segment_calls as calls
from napari_bloodcell.gui.choices import Chooser
from napari_bloodcell.gui.corrections import Corrections, corrections_of, let_go
from napari_bloodcell.gui.selection import CellPicker, Marks
from napari_bloodcell.gui.task import Latest, Task
from napari_bloodcell.gui.wrapped import Wrapped

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.viewer import Viewer

BY_STAIN, BY_NANO = "", "nano"
ANSWERERS = (("nano, the network that ships", BY_NANO), ("the stain", BY_STAIN))
BRUSH_PX = 12
PATIENCE_S = 0.06  # an answer that takes less is waited for


class Correct(QWidget):
    """``task`` is the panel's: what takes long runs there, and what there is to say is said there."""

    _wanted = Signal()

    def __init__(self, viewer: "Viewer", task: Task) -> None:
        super().__init__()
        self.viewer, self.task = viewer, task
        self.corrections: Corrections | None = None
        self._why_not = ""
        self.picked: list[int] = []
        self.prompter: tuple[Any, Any, Any] | None = None  # of which image, who answers, who finds nuclei
        self._answer: tuple[Any, Any] | None = None
        self.ask_checkpoint = partial(
            ask.file_to_read, self, "A checkpoint of Segment Anything", ask.CHECKPOINTS
        )
        self.prompter_for = calls.prompter_for
        self.marks = Marks(viewer)
        self.picker = CellPicker(viewer, self._layers, self._pick)
        self.prompts = prompts.PromptLayers(viewer, self._prompted, self._undo, self._redo)
        self.live = Latest(self, patience_s=PATIENCE_S)
        self.live.failed.connect(lambda error: self.task.say(str(error), error=True))
        self.asking = False
        # Not while napari handles the stroke, and before it draws it: a timer would come after that.
        self._wanted.connect(self._ask, Qt.ConnectionType.QueuedConnection)
        self._add_widgets()
        self.task.busy_changed.connect(self.show_state)
        self.layers_changed()

    # Which outlines

    def layers_changed(self) -> None:
        found = outlines.outlines(self.viewer)
        self.cells.offer([(layer.name, layer) for layer in reversed(found)])
        self._take_layer()

    def use(self, layer: "Labels") -> None:
        self.layers_changed()
        self.cells.value = layer

    def closing(self) -> None:
        self.live.stop()
        self.picker.stop()
        self.marks.clear()
        self.prompts.clear(keep_tool=False)
        self._let_go()

    def _layers(self) -> "list[Labels]":
        return [] if self.cells.value is None else [self.cells.value]

    def _take_layer(self) -> None:
        layer = self.cells.value
        held = None if self.corrections is None else self.corrections.layer
        if layer is not None and layer is held:
            self.show_state()
            return
        self._let_go()
        self._drop_picks()
        if layer is not None:
            try:
                self.corrections = corrections_of(self.viewer, layer)
                self.corrections.changed.connect(self._tell)
            except SegmentError as error:
                self.corrections = None
                self._why_not = str(error)  # said when a button is pressed
        self.show_state()

    def _let_go(self) -> None:
        if self.corrections is not None:
            self.corrections.changed.disconnect(self._tell)
            let_go(self.corrections)
            self.corrections = None

    # Picking

    def _pick(self, layer: "Labels", cell: int, adds: bool) -> None:  # noqa: ARG002 (one layer only)
        if not cell:
            self.picked = self.picked if adds else []
        elif adds:
            self.picked = (
                [one for one in self.picked if one != cell] if cell in self.picked else [*self.picked, cell]
            )
        else:
            self.picked = [cell]
        self._show_picks()

    def _drop_picks(self) -> None:
        self.picked = []
        self._show_picks()

    def _show_picks(self) -> None:
        layer = self.cells.value
        if layer is None:
            self.marks.clear()
        else:
            self.marks.show(layer, self.picked)
        self.show_state()

    def _toggle_picking(self, is_on: bool) -> None:
        if not is_on:
            self.picker.stop()
            self._drop_picks()
            return
        layer = self.cells.value
        if layer is not None and self.corrections is None:
            self.pick_button.setChecked(False)
            self.task.say(self._why_not, error=True)
            return
        if layer is not None:
            layer.mode = "pan_zoom"
            self.viewer.layers.selection.active = layer
        self.picker.start()
        self.task.say("Click a cell to pick it; Shift or Ctrl adds another.")

    # Corrections

    def _change(self, make: Any) -> None:
        """``make(labels, nucleus)`` gives the edit; what it refuses is said."""
        try:
            if self.corrections is None:
                raise SegmentError("There are no outlines to correct. Segment an image first.")
            labels = self.corrections.labels
            edit = make(labels.astype(np.int32, copy=False), self.corrections.nucleus)
            self._drop_picks()
            self.corrections.do(edit)
        except BloodcellError as error:
            self.task.say(str(error), error=True)

    def _delete(self) -> None:
        cells = tuple(self.picked)
        self._change(lambda labels, nucleus: editing.delete(labels, nucleus, cells))

    def _merge(self) -> None:
        cells = tuple(self.picked)
        self._change(lambda labels, nucleus: editing.merge(labels, nucleus, cells))

    def _split(self) -> None:
        if len(self.picked) != 1:
            self.task.say("Pick the one cell to split.", error=True)
            return
        (cell,), (_, lines) = self.picked, self.prompts.drawn()
        line = lines[-1] if lines else None
        self._change(lambda labels, nucleus: editing.split(labels, nucleus, cell, line))
        if line is not None:
            self._drop_prompt()

    def _redraw(self) -> None:
        layer = self.cells.value
        if layer is None or self.corrections is None:
            self.task.say("There are no outlines to correct. Segment an image first.", error=True)
            return
        cell = self.picked[0] if self.picked else editing.next_id(self.corrections.labels)
        self.pick_button.setChecked(False)
        self.viewer.layers.selection.active = layer
        layer.selected_label, layer.brush_size, layer.mode = cell, BRUSH_PX, "paint"
        # No keys are named: they differ between versions of napari, and digits may give classes.
        self.task.say(
            f"Paint cell {cell}; each stroke can be undone. In the layer controls, the eraser takes pixels "
            "away, and Move camera (four arrows) puts the brush down."
        )

    def _undo(self) -> None:
        self._way(back=True)

    def _redo(self) -> None:
        self._way(back=False)

    def _way(self, *, back: bool) -> None:
        if self.corrections is None:
            return
        self._drop_picks()
        try:
            self.corrections.undo() if back else self.corrections.redo()
        except BloodcellError as error:
            self.task.say(str(error), error=True)

    def _tell(self, text: str) -> None:
        if self.corrections is not None:
            count = int(np.count_nonzero(np.unique(self.corrections.labels)))
            self.task.say(f"{text} {how_many(count, 'cell')} now.")
        self.show_state()

    # Prompts

    def _take_tool(self, tool: str) -> None:
        layer = self.cells.value
        if layer is None:
            self.task.say("There are no outlines to correct. Segment an image first.", error=True)
            return
        self.picker.stop()
        self.prompts.take_up(tool, layer)
        said = f"cell {self.picked[0]} is corrected" if len(self.picked) == 1 else "a new cell is drawn"
        self.task.say(f"Draw on the image: {said}. The outline follows; Take keeps it.")
        self.show_state()

    def _prompted(self) -> None:
        if not self.asking:
            self.asking = True
            self._wanted.emit()

    def _ask(self) -> None:
        self.asking = False
        layer, prompt = self.cells.value, self._prompt()
        if layer is None or prompt is None or self.task.busy:
            self._answer = None
            self.show_state()
            return
        image = outlines.image_of(layer, self.viewer)
        if image is None:
            self.task.say(
                f"No open image is as large as the outlines {layer.name}. Open it first.", error=True
            )
            return
        checkpoint = BY_STAIN if self.answers.value is None else self.answers.value
        picture = outlines.picture_under(layer, image, self.viewer)
        key = (weakref.ref(image), picture.name, checkpoint)
        if self.prompter is None or self.prompter[0] != key:
            self.task.start(partial(self.prompter_for, picture, checkpoint), partial(self._can_answer, key))
            return
        self.live.ask(partial(calls.answer, self.prompter[1], self.prompter[2], prompt), self._answered)

    def _can_answer(self, key: Any, result: Any) -> None:
        self.prompter = (key, *result)
        self._prompted()

    def _prompt(self) -> Prompt | None:
        if self.corrections is None:
            return None
        try:
            labels = self.corrections.labels
        except SegmentError:
            return None
        return self.prompts.asked(labels, self.picked[0] if len(self.picked) == 1 else None)

    def _answered(self, answer: tuple[Any, Any]) -> None:
        layer = self.cells.value
        if layer is None or self._prompt() is None:
            return
        self._answer = answer
        self.prompts.show_live(answer[0], layer)
        self.show_state()

    def _take(self) -> None:
        if self._answer is None:
            return
        mask, nucleus = self._answer
        cell = self.picked[0] if len(self.picked) == 1 else None
        self._answer = None

        def drawn(labels: Any, inside: Any) -> editing.Edit:
            number = editing.next_id(labels) if cell is None else cell
            return editing.draw(labels, inside, number, mask, nucleus)

        self._change(drawn)
        self.prompts.clear(keep_tool=True)

    def _drop_prompt(self) -> None:
        self.live.stop()
        self._answer = None
        self.prompts.clear(keep_tool=False)
        if self.pick_button.isChecked():
            self.picker.start()
        self.show_state()

    def _choose_checkpoint(self) -> None:
        chosen = self.ask_checkpoint()
        if chosen is not None:
            self.answers.offer([*ANSWERERS, (chosen.name, str(chosen))])
            self.answers.value = str(chosen)
            self._prompted()

    # The widgets

    def show_state(self, *_: object) -> None:
        here, free = self.cells.value is not None, not self.task.busy
        picked = len(self.picked)
        undo, redo = (False, False) if self.corrections is None else self.corrections.can()
        states = (
            (self.pick_button, here),
            (self.delete_button, picked > 0),
            (self.merge_button, picked > 1),
            (self.split_button, picked == 1),
            (self.redraw_button, here),
            (self.undo_button, undo),
            (self.redo_button, redo),
            (self.take_button, self._answer is not None),
            (self.drop_button, self.prompts.is_out),
            *((button, here) for button in self.tools.values()),
        )
        for button, can in states:
            button.setEnabled(can and free)
        listed = ", ".join(map(str, self.picked[:8])) + (" …" if picked > 8 else "")
        self.picked_text.setText(f"Picked: {listed}" if picked else "No cell is picked.")

    def _add_widgets(self) -> None:
        self.cells = Chooser("The outlines to correct: a Labels layer.")
        self.cells.changed.connect(self._take_layer)
        self.picked_text = Wrapped()
        self.pick_button = _button("Pick", "Click cells in the image to pick them; Shift or Ctrl adds.", None)
        self.pick_button.setCheckable(True)
        self.pick_button.toggled.connect(self._toggle_picking)
        self.delete_button = _button("Delete", "Removes the picked cells.", self._delete)
        self.merge_button = _button("Merge", "Makes one cell of the picked ones.", self._merge)
        self.split_button = _button(
            "Split", "Cuts the picked cell at its waist, or along a line drawn with Line.", self._split
        )
        self.redraw_button = _button("Paint", "The brush on the picked cell, or on a new one.", self._redraw)
        self.undo_button = _button("Undo", "Takes the last correction back (Ctrl+Z).", self._undo)
        self.redo_button = _button("Redo", "Does it again (Ctrl+Shift+Z).", self._redo)
        self._add_tools()
        self.take_button = _button("Take outline", "Keeps the green outline as a cell.", self._take)
        self.drop_button = _button("Drop", "Removes what was drawn, and the tool.", self._drop_prompt)
        self.answers = Chooser("Who answers: the network nano, the stain, or a checkpoint of your own.")
        self.answers.offer(ANSWERERS)
        self.answers.changed.connect(self._prompted)
        other = _button("…", "A checkpoint of Segment Anything from a file.", self._choose_checkpoint)
        other.setMaximumWidth(32)
        self._lay_out(other)

    def _add_tools(self) -> None:
        said = {
            "on": ("On the cell", "Click places that belong to the cell."),
            "off": ("Not the cell", "Click places that do not belong to it."),
            "box": ("Box", "Drag a box round the cell."),
            "line": (
                "Line",
                "Along the cell, or across it to split it: press and drag, or click at start and end.",
            ),
        }
        self.tools = {
            tool: _button(text, tooltip, partial(self._take_tool, tool))
            for tool, (text, tooltip) in said.items()
        }

    def _lay_out(self, other: QPushButton) -> None:
        edits, tools = (self.pick_button, self.delete_button, self.merge_button), tuple(self.tools.values())
        ways = (self.split_button, self.redraw_button), (self.undo_button, self.redo_button)
        asks = (Wrapped("Prompt for a new cell, or for the one that is picked:"),)
        grid = QGridLayout()  # four buttons side by side would make all panels as wide
        for row, widgets in enumerate((edits, *ways, asks, tools[:2], tools[2:])):
            for column, widget in enumerate(widgets):
                span = 6 // len(widgets)
                grid.addWidget(widget, row, column * span, 1, span)
        who = QHBoxLayout()
        who.addWidget(QLabel("Answered by"))
        who.addWidget(self.answers, 1)
        who.addWidget(other)
        last = QHBoxLayout()
        last.addWidget(self.take_button, 1)
        last.addWidget(self.drop_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.cells)
        layout.addWidget(self.picked_text)
        layout.addLayout(grid)
        layout.addLayout(who)
        layout.addLayout(last)


def _button(text: str, tooltip: str, pressed: Any) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tooltip)
    if pressed is not None:
        button.clicked.connect(lambda *_: pressed())
    return button
