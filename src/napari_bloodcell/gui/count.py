"""The panel "Count cells": one image to a counted differential, in one press."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QHBoxLayout, QPushButton

from napari_bloodcell.core.config import AnalyseConfig
from napari_bloodcell.core.progress import Progress
from napari_bloodcell.core.records import AS_SET
from napari_bloodcell.gui import ask, classes, layers
from napari_bloodcell.gui.choices import BundleChoice
from napari_bloodcell.gui.followers import while_there
from napari_bloodcell.gui.form import Form, section
from napari_bloodcell.gui.help import HelpLink
from napari_bloodcell.gui.outlines import outlines
from napari_bloodcell.gui.painting import painted_apart
from napari_bloodcell.gui.panel import ImagePanel
from napari_bloodcell.gui.places import hidden_by, hide_other_outlines
from napari_bloodcell.gui.tally import DifferentialTable
from napari_bloodcell.gui.wrapped import Wrapped

if TYPE_CHECKING:
    import pandas as pd
    from napari.layers import Labels
    from napari.viewer import Viewer

    from napari_bloodcell.core.pipeline import Analysis
    from napari_bloodcell.core.report import Differential

# Settings of files, which a layer has behind it.
OF_FILES = ("slide", "read.page", "read.max_megapixels")

HELP = """
### Count cells

1. Open a smear: a colour picture of a stained film, taken with an oil lens or a scanner.
2. Choose it under **Image** and press **Count cells**.
3. Look at the outlines. Hold the mouse over a cell to read its class, probability and doubt below the image.

**The table** gives each class in per cent of the white cells counted, with exact limits: with few cells the
limits are wide. A cell the model is not sure of is *unidentified* and stays in the hundred per cent.

**The layers**: *cells* are the outlines and hold the table of cells, *classes* the colours, *nuclei* the
nuclei. Your own layers stay as they are, and counting again adds new layers.

**Pixel size** is taken from the layer where its units are lengths, else from the file it came from; or from
Advanced > Read; or else guessed from the red cells. Where red cells contradict it, the panel says so.

**Several images** on one place: the outlines of the one counted last are shown, those of the others are
hidden (the eye in the list of layers shows them). All are counted in *Differential*.

**Export** writes the outlines, the tables, the picture and a record of what was done into a new folder.
"""


def count_cells(
    picture: layers.Picture, bundle: str, config: AnalyseConfig, progress: Progress
) -> "tuple[Analysis, pd.DataFrame]":
    """The core call, in the task."""
    from napari_bloodcell.core.pipeline import analyse

    progress("Reading the image", 0, 0)
    analysis = analyse(picture.read(config.read), bundle, config, progress=progress)
    table = analysis.table()
    layers.warm_up()
    return analysis, table


def prepare(progress: Progress) -> list[str]:
    """Load what counting needs, while the person looks at the image; gives the models that ship."""
    from napari_bloodcell.core.bundle import shipped
    from napari_bloodcell.core.pipeline import analyse  # noqa: F401

    progress("Loading", 0, 0)
    layers.warm_up()
    return shipped()


def export(folder: Path, analysis: "Analysis", progress: Progress) -> Path:
    """Into a new folder named after the image: nothing is overwritten."""
    from napari_bloodcell.core.store import write_analysis

    progress("Writing", 0, 0)
    target = new_folder(folder, Path(analysis.image.name).stem)
    write_analysis(target, analysis)
    return target


def new_folder(parent: Path, name: str) -> Path:
    from napari_bloodcell.core.artifact import check_writable

    plain = "".join(c if c.isalnum() or c in "-_. " else "_" for c in name).strip(" .") or "image"
    number, target = 1, parent / f"{plain}-count"
    while target.exists():
        number += 1
        target = parent / f"{plain}-count-{number}"
    check_writable(target)
    return target


class CountCells(ImagePanel):
    """Image in, differential out. ``analyse``, ``export`` and ``ask_folder`` are what it calls."""

    def __init__(self, napari_viewer: "Viewer") -> None:
        super().__init__(napari_viewer, "Count cells", prepare)
        self.task.run_button.setToolTip(
            "Find, outline and name the white cells of the image, and count them."
        )
        self.analyse = count_cells
        self.export = export
        self.ask_folder = partial(ask.folder, self, "Folder for the result")
        self.analysis: Analysis | None = None
        self._then_count = False
        self._followed: Labels | None = None  # the cells that this panel counted last

        self.model = BundleChoice()
        self.bundle = self.model.box
        self.choices.addRow("Model", self.model)

        self.form = Form(AnalyseConfig(), without=OF_FILES)
        self.table = DifferentialTable()
        self.state = Wrapped()
        self.export_button = QPushButton("Export …")
        self.export_button.setToolTip("Write outlines, tables, picture and run record into a new folder.")
        self.export_button.clicked.connect(self._export)
        self.results = [self.table, self.state, self.export_button]
        self.research_use = Wrapped()
        below = QHBoxLayout()
        below.addWidget(self.research_use, 1)
        below.addWidget(HelpLink("Count cells", HELP))

        self.first_button = QPushButton("Show me: sample to differential")
        self.first_button.setToolTip("Draws a synthetic smear, counts its cells and shows the differential.")
        self.first_button.clicked.connect(self._first_run)
        self.body.addWidget(self.first_button)
        self.body.addWidget(self.task)
        for widget in self.results:
            widget.hide()
            self.body.addWidget(widget)
        self.body.addLayout(below)
        self.body.addWidget(section("Advanced", self.form))
        self.body.addStretch(1)
        self.task.pressed.connect(self._count)
        self.task.busy_changed.connect(self.export_button.setDisabled)
        self.task.busy_changed.connect(self.first_button.setDisabled)
        self.task.busy_changed.connect(self._count_the_sample)
        self.layers_changed()
        self._say_research_use()
        self.prepared.connect(self.model.offer)

    def layers_changed(self) -> None:
        super().layers_changed()
        if hasattr(self, "first_button"):  # the first call comes before it is made
            self.first_button.setVisible(self.image.value is None)

    def _first_run(self) -> None:
        """The guided first run: one press from nothing to a differential."""
        self._then_count = True
        self._open_sample()

    def _count_the_sample(self, busy: bool) -> None:
        if busy or not self._then_count:
            return
        self._then_count = False
        if self.image.value is not None:  # not where drawing it was cancelled
            QTimer.singleShot(0, self._count)

    def _count(self) -> None:
        analyse, bundle = self.analyse, self.bundle.currentData()  # the call must not hold the panel

        def call(picture: layers.Picture, config: AnalyseConfig, progress: Progress) -> object:
            analysis, table = analyse(picture, bundle, config, progress)
            return analysis, table, layers.rims_of(analysis.masks.labels)

        if self.start(self.form, call, self._counted):
            self._forget()

    def _forget(self) -> None:
        """A new count has begun: what is shown must not be taken for its result."""
        self.analysis = None
        self._unfollow()
        self.state.setText("")
        for widget in self.results:
            widget.hide()

    def _counted(
        self, picture: layers.Picture, _config: AnalyseConfig, result: "tuple[Analysis, pd.DataFrame, Any]"
    ) -> Iterator[None]:
        self.analysis, table, rims = result
        self.table.show_differential(self.analysis.differential)
        self.state.setText(f"{self.analysis.image.name}: {_state(self.analysis.differential)}")
        for widget in self.results:
            widget.show()
        yield
        if picture.is_in(self.viewer):
            self.task.say("Adding the outlines …")
            steps = layers.add_analysis(self.viewer, picture, self.analysis, table, rims)
            yield from painted_apart(self, while_there(self.viewer, picture, steps))
        if not picture.is_in(self.viewer):
            self.task.say(
                f"Counted {picture.name}. The image is gone from the viewer, so no outlines were added."
            )
            return
        hide_other_outlines(self.viewer, [picture])
        if not self._closed:
            self._follow(picture)
            hidden = "" if self._followed is None else hidden_by(self.viewer, self._followed)
            self.task.say(" ".join(filter(None, [_told(self.analysis), hidden])))

    def _follow(self, picture: layers.Picture) -> None:
        """What a person corrects is in Differential; here stays what the model said, and says so."""
        made = [one for one in outlines(self.viewer) if _lies_on(one, picture)]
        self._unfollow()
        self._followed = made[-1] if made else None
        if self._followed is not None:
            self._followed.events.features.connect(self._corrected)

    def _unfollow(self) -> None:
        if self._followed is not None:
            self._followed.events.features.disconnect(self._corrected)
        self._followed = None

    def _corrected(self, _event: object = None) -> None:
        if self.analysis is None or self._followed is None:
            return
        said = zip(self.analysis.masks.cell_id.tolist(), self.analysis.predictions.labels, strict=True)
        now = zip(classes.ids(self._followed).tolist(), classes.kinds(self._followed), strict=True)
        text = _state(self.analysis.differential)
        if sorted(said) != sorted(now):
            text = (
                "as the model said. The cells were corrected since: Differential shows and exports them as "
                "they are now."
            )
        self.state.setText(f"{self.analysis.image.name}: {text}")

    def closing(self) -> None:
        super().closing()
        self._unfollow()

    def _export(self) -> None:
        folder = self.ask_folder()
        if folder is not None and self.analysis is not None:
            self.task.start(partial(self.export, folder, self.analysis), self._exported)

    def _exported(self, folder: Path) -> None:
        self.task.say(f"Written to {folder}")

    def _say_research_use(self) -> None:
        from napari_bloodcell.core.report import RESEARCH_USE

        self.research_use.setText(RESEARCH_USE)


def _lies_on(cells: "Labels", picture: layers.Picture) -> bool:
    made_from = cells.metadata.get(layers.KEY, {}).get("image", {})
    return bool(made_from.get("layer_id") == picture.layer_id)


def _told(analysis: "Analysis") -> str:
    """What a person should know of a picture beside the count, as the command line tells it."""
    told = [f"Counted {analysis.image.name}."]
    if not len(analysis.masks):
        told.append("No white cell was found.")
    notes = (*analysis.masks.about_image, *analysis.image.notes)
    told += [f"Note: {note}." for note in notes if not note.endswith(AS_SET)]
    return " ".join(told)


def _state(differential: "Differential") -> str:
    from napari_bloodcell.core.report import state_of

    return state_of(differential)
