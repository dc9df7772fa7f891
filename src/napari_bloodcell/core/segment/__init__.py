"""Finding white cells and outlining nucleus and cytoplasm. Each way is one file; ``SEGMENTERS`` lists them.

``survey`` looks at the whole field once, ``locate`` finds the cells, ``outline`` draws them by stain,
``sam_segmenter`` by a network, ``tiles`` does this for fields of any size.
"""

from pathlib import Path
from typing import Protocol, Self

from napari_bloodcell.core.config import SegmentConfig
from napari_bloodcell.core.image.lazy import LazyImage
from napari_bloodcell.core.parts import Registry
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import ByteArray, Masks, SmearImage
from napari_bloodcell.core.segment.stain_segmenter import StainSegmenter
from napari_bloodcell.core.segment.survey import Survey
from napari_bloodcell.core.segment.tiles import Found

__all__ = ["SEGMENTERS", "Segmenter", "StainSegmenter"]


class Segmenter(Protocol):
    """Finds and outlines white cells. ``hash`` changes whenever the outlines would."""

    @property
    def kind(self) -> str: ...

    @property
    def hash(self) -> str: ...

    def save(self, folder: Path) -> list[str]: ...

    @classmethod
    def load(cls, folder: Path) -> Self: ...

    def segment(
        self, image: SmearImage | LazyImage, config: SegmentConfig = ..., *, progress: Progress = silent
    ) -> Masks: ...

    def find(
        self, pixels: ByteArray, seen: Survey, config: SegmentConfig, *, progress: Progress = silent
    ) -> Found: ...


SEGMENTERS = Registry(
    "segmenter",
    {
        StainSegmenter.kind: "napari_bloodcell.core.segment.stain_segmenter:StainSegmenter",
        "sam": "napari_bloodcell.core.segment.sam_segmenter:SamSegmenter",
    },
)
