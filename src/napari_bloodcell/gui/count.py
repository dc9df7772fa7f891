"""The panel "Count cells": one image to a counted differential, in one press."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QHBoxLayout, QPushButton

from napari_bloodcell.core.config import AnalyseConfig
from napari_bloodcell.core.errors import BloodcellError
from napari_bloodcell.core.records import AS_SET
from napari_bloodcell.core.words import how_many, once_each
from napari_bloodcell.gui import ask, classes, layers
from napari_bloodcell.gui import count_calls as calls
from napari_bloodcell.gui.choices import BundleChoice, Chooser
from napari_bloodcell.gui.differential_calls import POOLED
from napari_bloodcell.gui.followers import while_there
from napari_bloodcell.gui.form import Form, section
from napari_bloodcell.gui.help import HelpLink
from napari_bloodcell.gui.outlines import outlines
from napari_bloodcell.gui.painting import painted_apart
from napari_bloodcell.gui.panel import ImagePanel
from napari_bloodcell.gui.places import hidden_by, hide_other_outlines
from napari_bloodcell.gui.tally import DifferentialTable, SlidesTable
from napari_bloodcell.gui.task import Partial
from napari_bloodcell.gui.wrapped import Wrapped

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.viewer import Viewer

    from napari_bloodcell.core.pipeline import Analysis
    from napari_bloodcell.core.report import Differential
    from napari_bloodcell.core.report.pixel_sizes import Sizes

ONE, ALL = "one", "all"
CORRECTED = (
    "as the model said. The cells were corrected since: Differential shows and exports them as they are now."
)

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
Advanced > Read; or else guessed from the red cells. Where red cells contradict it, the panel says so. Guesses
that differ between images of one size are told: a press counts them again with one size for all.

**Scope: all open images** counts each by itself and all together, in one press; the table below gives each
image its line. **Cancel** keeps the images that were finished, and the outlines of one whose cells were
found: *Classify* names them.

**Several images** on one place: the outlines of the one counted last are shown, those of the others are
hidden (the eye in the list of layers shows them). All are counted in *Differential*.

**Export** writes the outlines, the tables, the picture and a record of what was done into a new folder.
"""


class CountCells(ImagePanel):
    """Image in, differential out. ``analyse``, ``export`` and ``ask_folder`` are what it calls."""

    def __init__(self, napari_viewer: "Viewer") -> None:
        super().__init__(napari_viewer, "Count cells", calls.prepare)
        self.task.run_button.setToolTip(
            "Find, outline and name the white cells of the image, and count them."
        )
        self._finished = calls.Finished()
        self.analyse: calls.Analyse = partial(calls.count_cells, self._finished.outlined)
        self.export = calls.export
        self.ask_folder = partial(ask.folder, self, "Folder for the result")
        self.counted: calls.Counted | None = None
        self._then_count = False
        self._asked: Sequence[layers.Picture] = ()  # what was to be counted
        self._followed: list[tuple[Labels, Analysis]] = []  # the cells that this panel counted last

        self.scope = Chooser(
            "How much to count: the image chosen above, or all open ones, each and together."
        )
        self.choices.addRow("Scope", self.scope)
        self.model = BundleChoice()
        self.bundle = self.model.box
        self.choices.addRow("Model", self.model)

        self.form = Form(AnalyseConfig(), without=OF_FILES)
        self.table, self.by_slide = DifferentialTable(), SlidesTable()
        self.state = Wrapped()
        self.export_button = QPushButton("Export …")
        self.export_button.setToolTip("Write outlines, tables, picture and run record into a new folder.")
        self.export_button.clicked.connect(self._export)
        self.sizes, self.size_button = Wrapped(), QPushButton()
        self.size_button.setToolTip("Sets it under Advanced > Read, for these and later images.")
        self.size_button.clicked.connect(self._count_in_one_size)
        self._sizes: Sizes | None = None
        self.results = [
            *(self.table, self.by_slide, self.state, self.sizes, self.size_button, self.export_button)
        ]
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
        self.task.busy_changed.connect(self.size_button.setDisabled)
        self.task.busy_changed.connect(self.first_button.setDisabled)
        self.task.busy_changed.connect(self._count_the_sample)
        self.layers_changed()
        self._say_research_use()
        self.prepared.connect(self.model.offer)

    @property
    def analysis(self) -> "Analysis | None":
        """Of the image counted last."""
        return None if self.counted is None else self.counted.fields[-1].analysis

    def layers_changed(self) -> None:
        super().layers_changed()
        if hasattr(self, "first_button"):  # the first call comes before it is made
            self.first_button.setVisible(self.image.value is None)
            n = len(layers.images(self.viewer))
            several = [(f"all {n} open images", ALL)] if n > 1 else []
            self.scope.offer([("this image", ONE), *several])
            for widget in (self.scope, self.choices.labelForField(self.scope)):
                widget.setVisible(bool(several))

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
        try:
            config: Any = self.form.get()
            chosen = layers.images(self.viewer) if self.scope.value == ALL else [self.image.value]
            pictures = [layers.picture_of(one, self.viewer) for one in chosen]
        except BloodcellError as error:
            self.task.say(str(error), error=True)
            return
        # The call must not hold the panel.
        self._asked = pictures
        finished = self._finished
        finished.begin()
        bundle = self.bundle.currentData()
        call = partial(calls.count_fields, pictures, self.analyse, bundle, config, finished)
        self.task.start(call, self._counted, may_drop=True, keeps_parts=finished.is_any)
        self._forget()

    def _count_in_one_size(self) -> None:
        if self._sizes is not None and self._sizes.for_all is not None:
            self.form.widget("read.um_per_px").value = f"{self._sizes.for_all:g}"
            self._count()

    def _forget(self) -> None:
        """A new count has begun: what is shown must not be taken for its result."""
        self.counted = None
        self._unfollow()
        self.state.setText("")
        for widget in self.results:
            widget.hide()

    def _counted(self, result: calls.Counted | Partial) -> Iterator[None]:
        counted: calls.Counted = result.result if isinstance(result, Partial) else result
        told = ["Cancelled; what was finished is kept."] if isinstance(result, Partial) else []
        if counted.fields:
            self.counted = counted
            self._show(counted)
        yield
        self.task.say("Adding the outlines …")
        for field in counted.fields:
            yield from self._add(field)
        if counted.outlined is not None:
            yield from self._add_outlines(counted.outlined)
            told.append(_told_outlined(counted.outlined))
        hide_other_outlines(self.viewer, self._asked)  # what was not reached may lie over what was
        pictures = _kept(counted)
        if counted.fields:
            told += _told_all([(one.analysis, one.picture.is_in(self.viewer)) for one in counted.fields])
        if not self._closed:
            if len(pictures) == 1:
                told.append(self._told_hidden(pictures[0]))
            between = " " if len(pictures) == 1 else "\n"
            self.task.say(between.join(filter(None, (*told, *counted.refused))))

    def _told_hidden(self, picture: layers.Picture) -> str:
        made = self._made_on(picture) if picture.is_in(self.viewer) else []
        why = hidden_by(self.viewer, made[-1]) if made else ""
        return f"{why} Its outlines are hidden too." if why and not made[-1].visible else why

    def _add_outlines(self, one: calls.OnlyOutlined) -> Iterator[None]:
        if one.picture.is_in(self.viewer):
            steps = layers.add_masks(self.viewer, one.picture, one.image, one.masks, one.config)
            yield from painted_apart(self, while_there(self.viewer, one.picture, steps))

    def _add(self, field: calls.Field) -> Iterator[None]:
        if not field.picture.is_in(self.viewer):
            return
        steps = layers.add_analysis(self.viewer, field.picture, field.analysis, field.table, field.rims)
        yield from painted_apart(self, while_there(self.viewer, field.picture, steps))
        if field.picture.is_in(self.viewer) and not self._closed:
            self._follow(field)

    def _show(self, counted: calls.Counted) -> None:
        assert counted.pooled is not None
        each = [(one.picture.name, one.analysis.differential) for one in counted.fields]
        self.table.show_differential(counted.pooled)
        self.by_slide.show_slides([*each, (POOLED, counted.pooled)])
        self._say_state()
        for widget in self.results:
            widget.show()
        self.by_slide.setVisible(len(each) > 1)
        self._show_sizes(calls.sizes_of(counted.fields))

    def _show_sizes(self, sizes: "Sizes | None") -> None:
        """Guesses that differ are told, and how all images get one size."""
        self._sizes, for_all = sizes, None if sizes is None else sizes.for_all
        self.sizes.setText("" if sizes is None else sizes.text)
        self.sizes.setVisible(sizes is not None)
        self.size_button.setText(f"Count again with {for_all:g} µm for all" if for_all else "")
        self.size_button.setVisible(for_all is not None)

    def _say_state(self, instead: str = "") -> None:
        if self.counted is not None and self.counted.pooled is not None:
            n = len(self.counted.fields)
            name = self.counted.fields[0].analysis.image.name if n == 1 else f"{n} images together"
            self.state.setText(f"{name}: {instead or _state(self.counted.pooled)}")

    def _follow(self, field: calls.Field) -> None:
        """What a person corrects is in Differential; here stays what the model said, and says so."""
        made = self._made_on(field.picture)
        if made:
            self._followed.append((made[-1], field.analysis))
            made[-1].events.features.connect(self._corrected)

    def _made_on(self, picture: layers.Picture) -> "list[Labels]":
        """The last ones at the end."""
        return [one for one in outlines(self.viewer) if _lies_on(one, picture)]

    def _unfollow(self) -> None:
        for cells, _ in self._followed:
            cells.events.features.disconnect(self._corrected)
        self._followed = []

    def _corrected(self, _event: object = None) -> None:
        is_other = any(_is_other(cells, analysis) for cells, analysis in self._followed)
        self._say_state(CORRECTED if is_other else "")

    def closing(self) -> None:
        super().closing()
        self._unfollow()

    def _export(self) -> None:
        folder = self.ask_folder()
        if folder is not None and self.counted is not None:
            self.task.start(partial(self.export, folder, self.counted), self._exported)

    def _exported(self, folder: Path) -> None:
        self.task.say(f"Written to {folder}")

    def _say_research_use(self) -> None:
        from napari_bloodcell.core.report import RESEARCH_USE

        self.research_use.setText(RESEARCH_USE)


def _kept(counted: calls.Counted) -> list[layers.Picture]:
    outlined = [] if counted.outlined is None else [counted.outlined.picture]
    return [*(one.picture for one in counted.fields), *outlined]


def _told_outlined(one: calls.OnlyOutlined) -> str:
    if not len(one.masks):
        return f"In {one.picture.name} no white cell was found."
    found = how_many(len(one.masks), "cell")
    return f"The outlines of {found} in {one.picture.name} are kept, without classes: Classify names them."


def _lies_on(cells: "Labels", picture: layers.Picture) -> bool:
    made_from = cells.metadata.get(layers.KEY, {}).get("image", {})
    return bool(made_from.get("layer_id") == picture.layer_id)


def _is_other(cells: "Labels", analysis: "Analysis") -> bool:
    """Whether a person has said something else since."""
    said = zip(analysis.masks.cell_id.tolist(), analysis.predictions.labels, strict=True)
    now = zip(classes.ids(cells).tolist(), classes.kinds(cells), strict=True)
    return sorted(said) != sorted(now)


def _told_all(counted: "Sequence[tuple[Analysis, bool]]") -> list[str]:
    """What a person should know beside the count, and whether the image is still there; of many images those
    alone are named of which there is something to say."""
    from napari_bloodcell.core.report.provenance import named

    told = [(one.image.name, _told(one, is_there=is_there)) for one, is_there in counted]
    if len(told) == 1:
        return [" ".join([f"Counted {name}.", *said]) for name, said in told]
    each = once_each((name, one) for name, said in told for one in said)
    return [f"Counted {len(told)} images.", *(f"{named(names)}{said}" for names, said in each)]


def _told(analysis: "Analysis", *, is_there: bool) -> list[str]:
    """As the command line tells it."""
    if not is_there:
        return ["The image is gone from the viewer, so no outlines were added."]
    told = [] if len(analysis.masks) else ["No white cell was found."]
    notes = (*analysis.masks.about_image, *analysis.image.notes)
    return told + [f"Note: {note}." for note in notes if not note.endswith(AS_SET)]


def _state(differential: "Differential") -> str:
    from napari_bloodcell.core.report import state_of

    return state_of(differential)
