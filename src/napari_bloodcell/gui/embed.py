"""The panel "Embed": cells of one or more images as a map, joined both ways with the viewer."""

from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
)

from napari_bloodcell.core.errors import BloodcellError, DataError
from napari_bloodcell.core.words import how_many
from napari_bloodcell.gui import ask, outlines
from napari_bloodcell.gui import embed_calls as calls
from napari_bloodcell.gui.choices import Chooser
from napari_bloodcell.gui.embed_map import CLASS, Maps, Rows
from napari_bloodcell.gui.help import HelpLink
from napari_bloodcell.gui.panel import Panel
from napari_bloodcell.gui.selection import CellPicker, Marks
from napari_bloodcell.gui.task import Latest, Run
from napari_bloodcell.gui.wrapped import Wrapped

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.viewer import Viewer

NOTHING_YET = "Outline cells first: Segment cells or Count cells, or open a Labels layer on its image."
HIGHEST_LIST_PX = 84

HELP = """
### Embed

Each cell becomes a point of a map: near points are cells that look alike. Tick the outlines to take, of one
image or of several, and press **Embed**.

**Look**: colour the points by class, by image, or by any number of the table. Hold the mouse over a point to
read what it is; the wheel zooms, a double click shows all.

**Both ways**: draw a loop round points and their cells are marked in the image; click a cell in the image and
its point is marked. Shift adds.

**Raw against invariant**: choose something under **Compare with**. *Stains made alike* brings all images to
one stain first. A good description keeps classes apart and images together: the words below the map say how
well it does.

**Figures**: how many cells are given to their own image by the vectors alone (each image counts as a lab, and
fewer is better), and how often the nearest cells are of the same class (more is better).
"""


class EmbedCells(Panel):
    """``embed``, ``ask_save`` and ``ask_model`` are what it calls."""

    def __init__(self, napari_viewer: "Viewer") -> None:
        super().__init__(napari_viewer, "Embed")
        self.task.run_button.setToolTip("Describe the ticked cells and draw each as a point of a map.")
        self.embed = calls.embed_fields
        self.ask_save = partial(ask.file_to_write, self, "Save the vectors", "cells.csv", "Table (*.csv)")
        self.ask_model = partial(ask.folder, self, "Folder of a model")
        self.rows: Rows | None = None
        self._ways = [calls.Way("Measurements")]
        self._listening: list[Labels] = []
        self._preparing: Run | None = None
        self.judging = Latest(self)
        self.marks = Marks(napari_viewer)
        self.picker = CellPicker(napari_viewer, self._layers, self._picked)
        self._add_choices()
        self.body.addWidget(self.task)
        self._add_results()
        self.task.pressed.connect(self._start)
        self.task.busy_changed.connect(self._show_ready)
        self.reset_choices()

    # What is chosen

    def layers_changed(self) -> None:
        known = outlines.outlines(self.viewer)
        unticked = {id(layer) for layer, ticked in self._listed() if not ticked}
        self.cells.clear()
        for layer in known:
            image = outlines.image_of(layer, self.viewer)
            item = QListWidgetItem(outlines.told(layer, self.viewer))
            item.setData(Qt.ItemDataRole.UserRole, layer)
            keep = image is not None and id(layer) not in unticked
            item.setCheckState(Qt.CheckState.Checked if keep else Qt.CheckState.Unchecked)
            self.cells.addItem(item)
        self.empty.setVisible(not known)
        self.task.set_ready(bool(known))
        if known and self._preparing is None:
            self._preparing = Run(calls.prepare)
            self._preparing.ended.connect(self._take_models)
            self._preparing.start()
        if self.rows is not None and not self.rows.layers():
            self._forget()

    def _take_models(self) -> None:
        names = None if self._preparing is None else self._preparing.result
        self._ways += [calls.Way(f"Model {name}", name) for name in names or ()]
        self._list_ways()

    def closing(self) -> None:
        super().closing()
        self.judging.stop()
        self.picker.stop()
        self._listen([])
        self.marks.clear()
        if self._preparing is not None:
            self._preparing.cancel()

    def _listed(self) -> "list[tuple[Labels, bool]]":
        items = [item for row in range(self.cells.count()) if (item := self.cells.item(row)) is not None]
        ticked = Qt.CheckState.Checked
        return [(one.data(Qt.ItemDataRole.UserRole), one.checkState() == ticked) for one in items]

    def _layers(self) -> "Sequence[Labels]":
        return [] if self.rows is None else self.rows.layers()

    # Embed

    def _start(self) -> None:
        try:
            chosen = [layer for layer, ticked in self._listed() if ticked]
            if not chosen:
                raise DataError("No outlines are ticked. Tick those of at least one image.")
            fields = [outlines.outlined(layer, self.viewer) for layer in chosen]
        except BloodcellError as error:
            self.task.say(str(error), error=True)
            return
        ways = [self.way.value]
        if self.other.value is not None:
            ways.append(self.other.value)
        self.task.start(partial(self.embed, fields, ways, self.how.value), self._embedded, may_drop=True)

    def _embedded(self, result: calls.Embedded) -> None:
        self._forget()
        self.rows = Rows(result, self.viewer)
        if not self.rows.layers():
            self.rows = None
            self.task.say("The outlines are gone from the viewer, so there is nothing to show.")
            return
        self.colour.offer([(name.replace("_", " "), name) for name in self.rows.columns()])
        self._recolour()
        self._listen(self.rows.layers())
        self.picker.start()
        for one in self.results:
            one.show()
        fields = len(result.fields)
        images = "1 image" if fields == 1 else f"{fields} images"
        self.task.say(f"{len(self.rows)} cells of {images} on the map.")
        self._show_ready()

    def _forget(self) -> None:
        self._listen([])
        self.picker.stop()
        self.marks.clear()
        self.judging.stop()
        self.rows = None
        for one in self.results:
            one.hide()
        self._show_ready()

    def _recolour(self) -> None:
        if self.rows is None or self.colour.value is None:
            return
        self.maps.show_rows(self.rows, self.colour.value)
        found, classes, images = self.rows.embedded.maps, self.rows.classes(), self.rows.images
        self.judging.ask(partial(calls.judge, found, classes, images), self.figures.setText)

    def _listen(self, to: "list[Labels]") -> None:
        """Classes given elsewhere show at once."""
        for layer in self._listening:
            layer.events.features.disconnect(self._features_changed)
        self._listening = list(to)
        for layer in self._listening:
            layer.events.features.connect(self._features_changed)

    def _features_changed(self, event: object = None) -> None:  # noqa: ARG002 (napari's event)
        self._recolour()
        self._show_ready()
        gone = 0 if self.rows is None else self.rows.gone()
        if gone:
            self.task.say(f"{how_many(gone, 'cell')} of the map deleted since: press Embed again.")

    # Both ways

    def _chosen(self, rows: Any) -> None:
        """On the map: marked in the viewer."""
        if self.rows is None:
            return
        for field in range(len(self.rows.embedded.fields)):
            layer = self.rows.layer(field)
            if layer is not None:
                self.marks.show(layer, self.rows.cells(rows, field))
        self._tell_chosen(rows)

    def _picked(self, layer: "Labels", cell: int, adds: bool) -> None:
        """In the viewer: marked on the map."""
        if self.rows is None:
            return
        rows = self.rows.rows_of(layer, cell) if cell else np.zeros(0, int)
        before = self.maps.maps[0].chosen
        if adds:
            rows = np.setxor1d(before, rows)
        self.maps.select(rows)
        self._chosen(rows)

    def _tell_chosen(self, rows: Any) -> None:
        if self.rows is None or not len(rows):
            self.chosen_text.setText("No cell is chosen.")
            return
        kinds = [self.rows.classes()[int(row)].replace("_", " ") for row in rows]
        counts = sorted({kind: kinds.count(kind) for kind in kinds}.items(), key=lambda one: -one[1])
        listed = ", ".join(f"{n} {kind}" for kind, n in counts)
        self.chosen_text.setText(f"{len(rows)} chosen: {listed}.")

    # Models and files

    def _choose_model(self) -> None:
        chosen = self.ask_model()
        if chosen is None:
            return
        way = calls.Way(f"Model {chosen.stem}", str(chosen))
        if way not in self._ways:
            self._ways.append(way)
        self._list_ways()
        self.way.value = way

    def _list_kept(self) -> None:
        """Trained or adapted since, by any panel."""
        new = [one for one in calls.kept_ways() if one not in self._ways]
        if new:
            self._ways += new
            self._list_ways()

    def _list_ways(self) -> None:
        self.way.offer([(one.text, one) for one in self._ways])
        alike = [
            calls.Way(f"{one.text}, stains made alike", one.bundle, one_stain=True) for one in self._ways
        ]
        self.other.offer([("nothing", None), *((one.text, one) for one in (*alike, *self._ways))])

    def _save(self) -> None:
        path = None if self.rows is None else self.ask_save()
        if path is None or self.rows is None:
            return
        columns = {"image": self.rows.images, "cell_type": self.rows.classes()}
        call = partial(calls.write_vectors, path, self.rows.embedded, columns)
        self.task.start(call, lambda done: self.task.say(f"Written to {done}"))

    def _show_ready(self, *_: object) -> None:
        is_true = self.rows is not None and not self.rows.gone()
        self.save_button.setEnabled(is_true and not self.task.busy)

    # The parts of the panel

    def _add_choices(self) -> None:
        self.cells = QListWidget()
        self.cells.setToolTip("Outlines to take, each with its image.")
        self.cells.setMaximumHeight(HIGHEST_LIST_PX)
        self.empty = Wrapped(NOTHING_YET)
        self.way = Chooser("How cells are described: what a map is made of.")
        self.other = Chooser("A second map of the same cells: are images together, classes apart?")
        self._list_ways()
        self.way.opening.connect(self._list_kept)
        self.other.opening.connect(self._list_kept)
        model = QPushButton("…")
        model.setMaximumWidth(32)
        model.setToolTip("Describe cells with another model: a folder that holds bundle.json.")
        model.clicked.connect(self._choose_model)
        row = QHBoxLayout()
        row.addWidget(self.way, 1)
        row.addWidget(model)
        self.how = Chooser("PCA is quick and honest about distance; UMAP shows groups more clearly.")
        self.how.offer([("PCA", "pca"), *([("UMAP", "umap")] if find_spec("umap") else [])])
        choices = QFormLayout()
        choices.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        choices.addRow("Cells", self.cells)
        choices.addRow("Described by", row)
        choices.addRow("Compare with", self.other)
        choices.addRow("Map", self.how)
        self.body.addLayout(choices)
        self.body.addWidget(self.empty)

    def _add_results(self) -> None:
        self.maps = Maps()
        self.maps.selected.connect(self._chosen)
        self.colour = Chooser("What colours the points.")
        self.colour.offer([(CLASS, CLASS)])
        self.colour.changed.connect(self._recolour)
        self.colour_label = QLabel("Colour by")
        row = QHBoxLayout()
        row.addWidget(self.colour_label)
        row.addWidget(self.colour, 1)
        self.chosen_text = Wrapped("No cell is chosen.")
        self.figures = Wrapped()
        self.figures.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.save_button = QPushButton("Save vectors …")
        self.save_button.setToolTip("Writes a table (.csv): image, cell, class, place on the map, vector.")
        self.save_button.clicked.connect(self._save)
        self.results = [
            self.colour_label,
            self.colour,
            self.maps,
            self.chosen_text,
            self.figures,
            self.save_button,
        ]
        self.body.addLayout(row)
        for one in self.results[2:]:
            self.body.addWidget(one)
        for one in self.results:
            one.hide()
        below = QHBoxLayout()
        below.addStretch(1)
        below.addWidget(HelpLink("Embed", HELP))
        self.body.addLayout(below)
        self.body.addStretch(1)
