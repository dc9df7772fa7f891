"""The panel "Segment cells": find and outline white cells, and put right what is wrong."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QHBoxLayout

from napari_bloodcell.core.config import AnalyseConfig
from napari_bloodcell.core.errors import BloodcellError
from napari_bloodcell.core.records import Masks, SmearImage
from napari_bloodcell.core.words import how_many
from napari_bloodcell.gui import layers
from napari_bloodcell.gui import segment_calls as calls
from napari_bloodcell.gui.choices import BundleChoice, Chooser
from napari_bloodcell.gui.correct import Correct
from napari_bloodcell.gui.followers import while_there
from napari_bloodcell.gui.form import Form, section
from napari_bloodcell.gui.help import HelpLink
from napari_bloodcell.gui.painting import painted_apart
from napari_bloodcell.gui.panel import ImagePanel
from napari_bloodcell.gui.places import hide_other_outlines
from napari_bloodcell.gui.task import Partial

if TYPE_CHECKING:
    from napari.viewer import Viewer

LATER_STEPS = ("crop", "classify", "count", "slide", "read.page", "read.max_megapixels")
WHOLE, VIEW, ALL = "whole", "view", "all"

HELP = """
### Segment cells

Finds the white cells of an image and outlines nucleus and cytoplasm. It adds two layers, named after the
image: *cells*, one number a cell, and *nuclei*. Segmenting again adds new layers.

**Scope**: the whole image, only what is in view (zoom in first), or all open images one after the other.

**Correct**: press **Pick** and click cells; Shift or Ctrl adds. Then **Delete**, **Merge** or **Split** them.
**Paint** gives you the brush. Every correction, each stroke of the brush too, can be undone and done again.

**Prompts**: **On the cell**, **Not the cell**, **Box** and **Line** draw on layers of their own. The green
outline follows each click; **Take outline** keeps it as a new cell, or as the picked one. The network *nano*
answers, or the stain, or a Segment Anything checkpoint of yours (…).

**Split along a line**: pick the cell, draw a **Line** across it, press **Split**.

**Pixel size** is taken from the layer where its units are lengths, or from Read, or else guessed from the
size of the cells.
"""


class SegmentCells(ImagePanel):
    """Images in, outlines out, corrected. ``segment`` is what it calls."""

    def __init__(self, napari_viewer: "Viewer") -> None:
        super().__init__(napari_viewer, "Segment cells", calls.prepare)
        self.task.run_button.setToolTip("Find and outline the white cells, without naming them.")
        self.segment = calls.segment_fields
        self.model = BundleChoice()
        self.choices.addRow("Model", self.model)
        self.scope = Chooser("How much to segment: the image, what is in view, or all open images.")
        self.scope.offer([("whole image", WHOLE), ("field of view", VIEW), ("all open images", ALL)])
        self.choices.addRow("Scope", self.scope)
        self.form = Form(AnalyseConfig(), without=LATER_STEPS)
        self.correct = Correct(napari_viewer, self.task)
        self.body.addWidget(self.task)
        self.body.addWidget(section("Correct", self.correct, unfolded=True))
        self.body.addWidget(section("Advanced", self.form))
        below = QHBoxLayout()
        below.addStretch(1)
        below.addWidget(HelpLink("Segment cells", HELP))
        self.body.addLayout(below)
        self.body.addStretch(1)
        self.task.pressed.connect(self._segment)
        self.prepared.connect(self.model.offer)

    def layers_changed(self) -> None:
        super().layers_changed()
        if hasattr(self, "correct"):  # the first call comes before it is made
            self.correct.layers_changed()

    def closing(self) -> None:
        super().closing()
        self.correct.closing()

    def _segment(self) -> None:
        try:
            config: Any = self.form.get()
            fields = self._fields()
        except BloodcellError as error:
            self.task.say(str(error), error=True)
            return
        call = partial(self.segment, fields, self.model.value, config)
        self.task.start(call, partial(self._segmented, config), may_drop=True, keeps_parts=True)

    def _fields(self) -> list[calls.Field]:
        chosen = layers.images(self.viewer) if self.scope.value == ALL else [self.image.value]
        pictures = [layers.picture_of(one, self.viewer) for one in chosen]
        view = calls.view_of(self.image.value, self.viewer) if self.scope.value == VIEW else None
        return [calls.Field(picture=one, view=view) for one in pictures]

    def _segmented(
        self, config: AnalyseConfig, result: "list[tuple[calls.Field, SmearImage, Masks]] | Partial"
    ) -> Iterator[None]:
        found = result.result if isinstance(result, Partial) else result
        said, cells = [], 0
        for field, image, masks in found:
            picture = field.picture
            if not picture.is_in(self.viewer):
                said.append(f"{picture.name} is gone from the viewer, so no outlines were added.")
                continue
            self.task.say("Adding the outlines …")
            steps = layers.add_masks(self.viewer, picture, image, masks, config)
            yield from painted_apart(self, while_there(self.viewer, picture, steps))
            if not picture.is_in(self.viewer):
                said.append(f"{picture.name} is gone from the viewer, and its outlines with it.")
                continue
            if not self._closed:
                self.correct.use(self.viewer.layers[-1])
            cells += len(masks)
            yield
        hide_other_outlines(self.viewer, [field.picture for field, _, _ in found])
        names = found[0][0].picture.name if len(found) == 1 else f"{len(found)} images"
        if len(said) < len(found):
            said.insert(0, f"Found {how_many(cells, 'white cell')} in {names}.")
        if isinstance(result, Partial):
            said.insert(0, "Cancelled; what was finished is kept.")
        for field, _, masks in found:
            where = f"{field.picture.name}: " if len(found) > 1 else ""
            if field.picture.is_in(self.viewer):
                said += [f"Note: {where}{note}." for note in masks.about_image]
        self.task.say(" ".join(said))
