"""A part of a field, seen as part of it: light, scale and level of the nuclei are those of the whole image,
and cells at the edge of the part are outlined whole."""

from dataclasses import replace

from napari_bloodcell.core.config import SegmentConfig
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import Masks, SmearImage
from napari_bloodcell.core.segment import Segmenter
from napari_bloodcell.core.segment.canvas import Canvas
from napari_bloodcell.core.segment.doubts import doubts_of
from napari_bloodcell.core.segment.stain_segmenter import look
from napari_bloodcell.core.segment.tiles import (
    HALO,
    NOTHING_TO_SEE,
    Span,
    Stopped,
    Tile,
    in_its_frame,
    put_cells,
)
from napari_bloodcell.core.stain.lamp import evened


def segment_view(
    segmenter: Segmenter,
    image: SmearImage,
    view: Span,
    config: SegmentConfig = SegmentConfig(),
    *,
    progress: Progress = silent,
) -> Masks:
    """The cells whose middle lies in ``view`` (rows, columns), in the pixels of the whole image. A cancel
    raises ``Stopped`` with those that were finished."""
    pixels, seen = evened(image), look(image, progress)
    shape = (pixels.shape[0], pixels.shape[1])
    canvas = Canvas(shape)
    if seen is None:
        return replace(canvas.masks(None, image.um_per_px, segmenter.kind), notes=(NOTHING_TO_SEE,))
    halo_px = round(HALO * config.max_cell_um / seen.assumed_um_per_px)
    rows, columns = (_with_halo(one, halo_px, seen.stride, n) for one, n in zip(view, shape, strict=True))
    found = segmenter.find(pixels[rows, columns], seen, config, progress=progress)
    put_cells(canvas, Tile(view, (rows, columns)), found, drop_border=config.border == "drop")
    masks = in_its_frame(canvas.masks(seen, image.um_per_px, segmenter.kind), image, config)
    if found.stopped is not None:
        raise Stopped(masks) from found.stopped
    return replace(masks, notes=(*doubts_of(image.pixels, pixels, seen), *masks.notes))


def _with_halo(span: slice, halo_px: int, step: int, size: int) -> slice:
    """On the working grid of the whole image, or the stain would be looked at through other pixels."""
    start = max(0, span.start - halo_px) // step * step
    return slice(start, min(size, -(-(span.stop + halo_px) // step) * step))
