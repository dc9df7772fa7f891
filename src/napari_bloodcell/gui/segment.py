"""The panel "Segment cells": find and outline white cells, nothing more."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QHBoxLayout

from napari_bloodcell.core.config import AnalyseConfig
from napari_bloodcell.core.progress import Progress
from napari_bloodcell.core.records import Masks, SmearImage
from napari_bloodcell.gui import layers
from napari_bloodcell.gui.form import Form
from napari_bloodcell.gui.help import HelpLink
from napari_bloodcell.gui.panel import ImagePanel

if TYPE_CHECKING:
    from napari.viewer import Viewer

LATER_STEPS = ("crop", "classify", "count", "read.page", "read.max_megapixels")

HELP = """
### Segment cells

Finds the white cells of an image and outlines nucleus and cytoplasm. It adds two layers: *cells*, one number
a cell, and *nuclei*. Correct them with napari's brush; the other panels take them from there.

**Pixel size** is taken from the layer where its units are lengths, or from Read, or else guessed from the
size of the cells.
"""


def prepare(progress: Progress) -> None:
    """Load what segmenting needs, while the person looks at the image."""
    from napari_bloodcell.core.image import from_array  # noqa: F401
    from napari_bloodcell.core.segment import StainSegmenter  # noqa: F401

    progress("Loading", 0, 0)
    layers.warm_up()


def segment_cells(
    picture: layers.Picture, config: AnalyseConfig, progress: Progress
) -> tuple[SmearImage, Masks]:
    """The core call, in the task."""
    from napari_bloodcell.core.segment import StainSegmenter

    progress("Reading the image", 0, 0)
    smear = picture.read(config.read)
    masks = StainSegmenter().segment(smear, config.segment, progress=progress)
    layers.warm_up()
    return smear, masks


class SegmentCells(ImagePanel):
    """Image in, outlines out. ``segment`` is what it calls."""

    def __init__(self, napari_viewer: "Viewer") -> None:
        super().__init__(napari_viewer, "Segment cells", prepare)
        self.segment = segment_cells
        self.form = Form(AnalyseConfig(), without=LATER_STEPS, unfolded=("segment",))
        below = QHBoxLayout()
        below.addStretch(1)
        below.addWidget(HelpLink("Segment cells", HELP))
        self.body.addWidget(self.task)
        self.body.addWidget(self.form)
        self.body.addLayout(below)
        self.body.addStretch(1)
        self.task.pressed.connect(self._segment)

    def _segment(self) -> None:
        self.start(self.form, self.segment, self._segmented)

    def _segmented(
        self, picture: layers.Picture, config: AnalyseConfig, result: tuple[SmearImage, Masks]
    ) -> Iterator[None]:
        smear, masks = result
        if picture.is_in(self.viewer):
            yield from layers.add_masks(self.viewer, picture, smear, masks, config)
            cells = "1 white cell" if len(masks) == 1 else f"{len(masks)} white cells"
            self.task.say(f"Found {cells} in {picture.name}.")
        else:
            self.task.say("The image is gone from the viewer, so no outlines were added.")
