"""The panel "Train": LoRA adapter, BC-SAM, DoRL and SADA from folders and from outlines corrected here."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import (
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QMessageBox,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_bloodcell.core.config import Config
from napari_bloodcell.core.errors import BloodcellError
from napari_bloodcell.core.progress import Progress
from napari_bloodcell.gui import ask
from napari_bloodcell.gui import train_calls as calls
from napari_bloodcell.gui import train_methods as methods
from napari_bloodcell.gui.choices import Chooser
from napari_bloodcell.gui.curves import Curves
from napari_bloodcell.gui.form import Form, section
from napari_bloodcell.gui.help import HelpLink
from napari_bloodcell.gui.panel import Panel
from napari_bloodcell.gui.task import Partial
from napari_bloodcell.gui.train_data import DataList, PathRow
from napari_bloodcell.gui.train_result import TrainResult
from napari_bloodcell.gui.wrapped import Wrapped

if TYPE_CHECKING:
    from napari.viewer import Viewer

NANO = "nano"
PUBLISHED, LAPTOP = "published", "laptop"
TITLES = {
    "adapter": "Cells, views and LoRA",
    "bcsam": "BC-SAM",
    "dorl": "DoRL",
    "sada": "SADA",
    "backbone": "Network",
    methods.LOOP: "Epochs and learning rate",
}

HELP = """
### Train

**Outlines: LoRA adapter** teaches the segmenter your cells. Correct outlines with *Segment cells*: the layers
in which a person corrected some are ticked first, and say how many. Or add folders with `images/` and
`masks/` of the same names. Some pictures are held out and only scored.

**BC-SAM** and **DoRL** learn an embedding that several labs share; **SADA** learns an encoder with its
classifier. They take one folder with the cells of several labs. As published they want a graphics card.

**Check** reads the data and says what memory a training takes, before it starts. **Train** draws the loss and
the score on held-out cells, epoch by epoch. **Stop** keeps the best epoch. A training that was stopped goes
on when you press Train again, with the numbers it would have had; **Go on with …** opens the folder of an
earlier one.

**Keep** makes one file (.bloodcell) that *Segment cells*, *Count cells* and *Classify* offer; a trained
embedding is offered by *Embed*. **Discard** deletes what the training wrote, after a question, and nothing
else.
"""


class _Told(QObject):
    """From the training's thread to the window; it knows no panel."""

    epoch = Signal(object)
    text = Signal(str)


def _tell_all(train: Any, wanted: methods.Wanted, told: _Told, progress: Progress) -> Any:
    """It holds ``told`` until the training is over: the panel may have let go of it, or be gone."""
    return train(wanted, told.epoch.emit, told.text.emit, progress)


class TrainPanel(Panel):
    """``train``, ``check``, ``keep`` and ``discard`` are what it calls."""

    def __init__(self, napari_viewer: "Viewer") -> None:
        super().__init__(napari_viewer, "Train")
        self.train, self.check = calls.train, calls.check
        self.keep, self.discard = calls.keep, calls.discard
        self.ask_sure = self._ask_sure
        self.ask_folder = partial(ask.folder, self, "Folder of a training")
        self.ask_checkpoint = partial(
            ask.file_to_read, self, "A checkpoint of Segment Anything", ask.CHECKPOINTS
        )
        self.trained: calls.Trained | None = None
        self._before: calls.Trained | None = None  # while another press is tried
        self._forms: dict[str, dict[str, Form]] = {}
        self._told: _Told | None = None
        self._ready: bool | None = None
        self._own_folder: Path | None = None  # made up by us for the last training
        self.task.cancel_button.setText("Stop")
        self.task.cancel_button.setToolTip("Ends after this step; the best epoch so far is kept.")
        self.task.run_button.setToolTip("Begins, or goes on where the folder holds a stopped training.")
        self._add_choices()
        self._add_rest()
        self.task.pressed.connect(self._train)
        self.task.busy_changed.connect(self._show_state)
        self._take_method()

    def closing(self) -> None:
        super().closing()
        self.data.stop_hearing()

    @property
    def method(self) -> methods.Method:
        return methods.METHODS[self.method_box.value]

    def form(self, name: str) -> Form:
        """A form of the chosen method: "adapter", "training" ..."""
        return self._forms[self.method.key][name]

    def layers_changed(self) -> None:
        if hasattr(self, "data"):  # the first call may come before it is made
            self.data.layers_changed()

    # What to do

    def _take_method(self) -> None:
        """Forms are made when they are first wanted: a panel opens quickly."""
        method = self.method
        if method.key not in self._forms:
            self._forms[method.key] = {name: Form(config) for name, config in method.configs.items()}
            self._lay_out_forms(method)
        for key, holder in self._holders.items():
            holder.setVisible(key == method.key)
        self.says.setText(method.help)
        self.told.setText("")  # of another method
        if self.out.value == self._own_folder:
            self.out.value = None  # nobody chose it
        self.data.take_layers(method.key == methods.ADAPTER)
        for row, shown in (
            (self.sam_row, method.takes_sam),
            (self.adapter, method.takes_adapter),
            (self.leave_out, not method.takes_sam),
            (self.preset, method.laptop is not None),
        ):
            row.setVisible(shown)
            self.choices.labelForField(row).setVisible(shown)
        self._show_state()

    def _take_preset(self) -> None:
        method = self.method
        chosen = method.laptop if self.preset.value == LAPTOP and method.laptop else method.configs
        for name, form in self._forms[method.key].items():
            form.set(chosen[name])

    def _wanted(self) -> methods.Wanted:
        method = self.method
        configs: dict[str, Config] = {name: form.get() for name, form in self._forms[method.key].items()}
        return methods.Wanted(
            method=method,
            data=self.data.taken(),
            out=self.out.value or calls.new_folder(method),
            configs=configs,
            sam=str(self.sam.value or NANO) if method.takes_sam else "",
            adapter=self.adapter.value if method.takes_adapter else None,
            leave_out=self.leave_out.text().strip() if not method.takes_sam else "",
        )

    def _refused(self) -> methods.Wanted | None:
        """What is wanted; None, and said, where it is refused."""
        try:
            wanted = self._wanted()
            if wanted.method.key != methods.ADAPTER:
                wanted.folder()
        except BloodcellError as error:
            self.task.say(str(error), error=True)
            return None
        return wanted

    def _check(self) -> None:
        wanted = self._refused()
        if wanted is not None:
            self.task.start(partial(self.check, wanted), self.told.setText, may_drop=True)

    def _train(self) -> None:
        wanted = self._refused()
        if wanted is None:
            return
        if self.out.value is None:
            self.out.value = self._own_folder = wanted.out
        self.result.hide()
        self._before, self.trained = self.trained, None
        told = _Told()
        told.epoch.connect(self.curves.add)
        told.text.connect(self.told.setText)
        self._told = told
        self.curves.begin(wanted.loop.epochs)
        self.curves.show()
        # Before its first step a stopped training has nothing to keep, and takes back what it wrote.
        call = partial(_tell_all, self.train, wanted, told)
        self.task.start(call, self._done, may_drop=True, keeps_parts=True)

    def _done(self, result: "calls.Trained | Partial") -> None:
        self.trained, self._before = (result.result if isinstance(result, Partial) else result), None
        self._show_trained()
        stopped = isinstance(result, Partial)
        self.task.say("Stopped. Keep it, discard it, or train on." if stopped else "Keep it or discard it?")
        self.told.setText("")  # the result says it
        QTimer.singleShot(0, self._show_result_whole)

    def _hear_no_more(self) -> None:
        """One that was dropped goes on telling until it looks up."""
        if self._told is not None:
            self._told.epoch.disconnect()
            self._told.text.disconnect()
            self._told = None

    def _show_trained(self) -> None:
        assert self.trained is not None
        for epoch in self.trained.run.history:
            self.curves.add(epoch)
        self.result.show_result(self.trained.lines, self.trained.picture, self.trained.wanted.out)

    def _show_result_whole(self) -> None:
        """Once it is laid out: the words with Keep and Discard, and the curves as far as there is room."""
        if not self._closed:
            self.ensureWidgetVisible(self.result.words)
            self.ensureWidgetVisible(self.result.discard_button)

    # What becomes of it

    def _keep(self) -> None:
        if self.trained is not None:
            self.result.set_free(False)
            self.task.start(partial(self.keep, self.trained), self._kept, saying="Keeping it …")

    def _kept(self, file: Path) -> None:
        offered = "Embed offers" if file.is_dir() else "Segment cells, Count cells and Classify offer"
        self.task.say(f"Kept: {file}. {offered} it now.")
        self.out.value = None  # the next training is another one

    def _discard(self) -> None:
        trained = self.trained
        if trained is None or not self.ask_sure(trained.wanted.out):
            return
        wanted, discard = trained.wanted, self.discard
        self.task.start(lambda _progress: discard(wanted), self._discarded, saying="Removing …")

    def _discarded(self, files: int) -> None:
        self.trained = None
        self.result.hide()
        self.curves.hide()
        self.out.value = None
        self.told.setText("")
        self.task.say(f"Discarded: {files} files of the training were deleted.")

    def _go_on(self) -> None:
        folder = self.ask_folder()
        if folder is not None:
            self.task.start(
                partial(calls.wanted_again, folder), self._take_up, saying="Reading …", may_drop=True
            )

    def _take_up(self, found: "tuple[methods.Wanted, int]") -> None:
        """An earlier training as it was asked for: Train goes on with it."""
        wanted, epochs = found
        self.method_box.value = wanted.method.key
        self._take_method()
        for name, form in self._forms[wanted.method.key].items():
            form.set(wanted.configs[name])
        self.data.set_folders([one for one in wanted.data if isinstance(one, Path)])
        if wanted.sam:
            self._offer_sam(wanted.sam)
        self.adapter.value = wanted.adapter
        self.leave_out.setText(wanted.leave_out)
        self.out.value = wanted.out
        layers = "" if wanted.data else " It was begun on outlines of the viewer: tick the same ones."
        self.task.say(f"{epochs} of {wanted.loop.epochs} epochs are done. Train goes on.{layers}")

    # The parts of the panel

    def _add_choices(self) -> None:
        self.method_box = Chooser("What to train.")
        self.method_box.offer([(one.text, one.key) for one in methods.METHODS.values()])
        self.method_box.changed.connect(self._take_method)
        self.says = Wrapped()
        self.data = DataList(self.viewer)
        self.data.changed.connect(self._show_state)
        self.sam = Chooser("The Segment Anything model it starts from.")
        self.sam.offer([(NANO, NANO)])
        other = QPushButton("…")
        other.setMaximumWidth(32)
        other.setToolTip("Another checkpoint of Segment Anything, from a file.")
        other.clicked.connect(lambda *_: self._choose_sam())
        self.sam_row = QWidget()
        row = QHBoxLayout(self.sam_row)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.sam, 1)
        row.addWidget(other)
        self.adapter = PathRow("Folder of an adapter trained for that model.", placeholder="none")
        self.leave_out = QLineEdit()
        self.leave_out.setPlaceholderText("none")
        self.leave_out.setToolTip("A lab to learn nothing from; the result is scored on it.")
        self.preset = Chooser("Settings as published, or smaller ones for a machine without a graphics card.")
        self.preset.offer([("as published", PUBLISHED), ("for a laptop", LAPTOP)])
        self.preset.changed.connect(self._take_preset)
        self.out = PathRow(
            "Folder of the training. Empty: a new one. A stopped training goes on in its folder.",
            placeholder="a new folder",
        )
        self.choices = QFormLayout()
        self.choices.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.choices.addRow("Method", self.method_box)
        self.choices.addRow(self.says)
        self.choices.addRow(self.data)
        self.choices.addRow("Model", self.sam_row)
        self.choices.addRow("Adapter", self.adapter)
        self.choices.addRow("Leave out", self.leave_out)
        self.choices.addRow("Settings", self.preset)
        self.choices.addRow("Into", self.out)
        self.body.addLayout(self.choices)

    def _add_rest(self) -> None:
        self.check_button = QPushButton("Check")
        self.check_button.setToolTip("Reads the data and measures the memory; trains nothing.")
        self.check_button.clicked.connect(lambda *_: self._check())
        self.go_on_button = QPushButton("Go on with …")
        self.go_on_button.setToolTip("The folder of a training that was stopped or cut off.")
        self.go_on_button.clicked.connect(lambda *_: self._go_on())
        row = QHBoxLayout()
        row.addWidget(self.check_button, 1)
        row.addWidget(self.go_on_button, 1)
        self.told = Wrapped()
        self.curves = Curves()
        self.curves.hide()
        self.result = TrainResult()
        self.result.keep.connect(self._keep)
        self.result.discard.connect(self._discard)
        self._holders: dict[str, QWidget] = {}
        self._settings = QVBoxLayout()
        self.body.addLayout(self._settings)
        self.body.addLayout(row)
        self.body.addWidget(self.task)
        for one in (self.told, self.curves, self.result):
            self.body.addWidget(one)
        below = QHBoxLayout()
        below.addStretch(1)
        below.addWidget(HelpLink("Train", HELP))
        self.body.addLayout(below)
        self.body.addStretch(1)

    def _lay_out_forms(self, method: methods.Method) -> None:
        holder = QWidget()
        layout = QVBoxLayout(holder)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        for name, form in self._forms[method.key].items():
            layout.addWidget(section(TITLES.get(name, name), form))
        self._holders[method.key] = holder
        self._settings.addWidget(holder)

    def _show_state(self, *_: object) -> None:
        busy, ticked = self.task.busy, bool(self.data.ticked())
        if not busy:
            self._hear_no_more()
        if ticked != self._ready:
            self._ready = ticked
            self.task.set_ready(ticked)
        self.check_button.setEnabled(ticked and not busy)
        self.go_on_button.setEnabled(not busy)
        self.method_box.setEnabled(not busy)
        if self._before is not None and not busy:  # refused or cancelled: what was there is there still
            self.trained, self._before = self._before, None
            self.curves.begin(self.trained.wanted.loop.epochs)
            self._show_trained()
        self.result.set_free(not busy and self.trained is not None)

    def _choose_sam(self) -> None:
        chosen = self.ask_checkpoint()
        if chosen is not None:
            self._offer_sam(str(chosen))

    def _offer_sam(self, name_or_path: str) -> None:
        others = [] if name_or_path == NANO else [(Path(name_or_path).name, name_or_path)]
        self.sam.offer([(NANO, NANO), *others])
        self.sam.value = name_or_path

    def _ask_sure(self, folder: Path) -> bool:
        yes, no = QMessageBox.StandardButton.Discard, QMessageBox.StandardButton.Cancel
        text = f"Delete what this training wrote into {folder}? Other files there stay."
        return bool(QMessageBox.question(self, "Discard the training", text, yes | no, no) == yes)
