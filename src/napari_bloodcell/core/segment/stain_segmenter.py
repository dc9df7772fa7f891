"""White cells found and outlined without weights: by the stain of their nuclei and a watershed."""

from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from scipy import ndimage as ndi

from napari_bloodcell.core.artifact import hash_of
from napari_bloodcell.core.config import SegmentConfig
from napari_bloodcell.core.errors import SegmentError
from napari_bloodcell.core.image.lazy import LazyImage
from napari_bloodcell.core.image.pixels import LEAST_CONTRAST
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import ByteArray, Masks, SmearImage
from napari_bloodcell.core.segment.locate import locate
from napari_bloodcell.core.segment.outline import outline
from napari_bloodcell.core.segment.survey import Pixels, Survey, survey, windows_of
from napari_bloodcell.core.segment.tiles import Found, segment_field
from napari_bloodcell.core.stain.lamp import evened

VERSION = 2  # raise it whenever an outline changes


class StainSegmenter:
    """White cells by the stain of their nuclei.

    Where the scale is unknown, a typical nucleus of the image is taken for 8.5 µm wide, and the settings
    in µm are measured against that.
    """

    kind: ClassVar[str] = "stain-watershed"

    @property
    def hash(self) -> str:
        return hash_of({"segmenter": self.kind, "version": VERSION})

    def save(self, folder: Path) -> list[str]:  # noqa: ARG002 (nothing to keep: it is all code)
        return []

    @classmethod
    def load(cls, folder: Path) -> Self:  # noqa: ARG003
        return cls()

    def segment(
        self,
        image: SmearImage | LazyImage,
        config: SegmentConfig = SegmentConfig(),
        *,
        progress: Progress = silent,
    ) -> Masks:
        """A cancel raises ``Stopped`` with the cells of the tiles finished before."""

        def find(pixels: ByteArray, seen: Survey, report: Progress) -> Found:
            return self.find(pixels, seen, config, progress=report)

        return segment_field(image, look(image, progress), find, config, kind=self.kind, progress=progress)

    def find(
        self, pixels: ByteArray, seen: Survey, config: SegmentConfig, *, progress: Progress = silent
    ) -> Found:
        """The cells of one piece of an image that was looked at before."""
        return find_by_stain(pixels, seen, config, progress=progress)


def look(image: SmearImage | LazyImage, progress: Progress = silent) -> Survey | None:
    """What the whole image has in common; None where there is nothing to see. Gray images are refused."""
    progress("look at the stain", 0, 1)
    pixels: Pixels = evened(image) if isinstance(image, SmearImage) else image
    if _is_colourless(pixels):
        raise SegmentError(
            f"{image.name} is colourless: red, green and blue are equal in every pixel. White cells are "
            "located by the colour of their stain. Open the colour original, or place the cells by hand."
        )
    seen = survey(pixels, image.um_per_px)
    progress("look at the stain", 1, 1)
    return seen


def find_by_stain(
    pixels: ByteArray, seen: Survey, config: SegmentConfig, *, progress: Progress = silent
) -> Found:
    """The cells of one tile."""
    located = locate(pixels, seen, config, progress=progress)
    labels, nucleus = outline(pixels, seen, located, progress=progress)
    anchors = {
        number: tuple(located.stride * (s.start + s.stop) / 2 for s in box)
        for number, box in enumerate(ndi.find_objects(located.labels), 1)
        if box is not None
    }
    return Found(labels=labels, nucleus=nucleus, anchors=anchors)


def _is_colourless(pixels: Pixels) -> bool:
    low, high = 255, 0
    for window in windows_of(pixels):
        red, green, blue = (window[..., channel] for channel in range(3))
        if not (np.array_equal(red, green) and np.array_equal(green, blue)):
            return False
        if window.size:
            low, high = min(low, int(window.min())), max(high, int(window.max()))
    return high - low > LEAST_CONTRAST
