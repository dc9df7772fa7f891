"""A field of any size, tile by tile, with the same cells however it is cut.

What concerns the whole image (light, scale, colour of red cells, level of nuclei) is looked at once. Each
tile is read with a halo wider than a cell, so that its cells are seen whole; the tile in which a cell's
anchor lies counts it, and no other.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import ndimage as ndi

from napari_bloodcell.core.config import SegmentConfig
from napari_bloodcell.core.errors import Cancelled
from napari_bloodcell.core.image.lazy import LazyImage
from napari_bloodcell.core.progress import Progress, silent, within
from napari_bloodcell.core.records import BoolArray, ByteArray, IntArray, Masks, SmearImage
from napari_bloodcell.core.segment.canvas import Canvas
from napari_bloodcell.core.segment.doubts import doubts_of
from napari_bloodcell.core.segment.survey import Pixels, Survey
from napari_bloodcell.core.stain.lamp import cut_off, evened, told_of

HALO = 1.3  # width of the halo, in largest cells

Span = tuple[slice, slice]

NOTHING_TO_SEE = "the picture is too small, too dark or without any contrast: no cell was looked for"


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """The cells of one tile, in its own pixels."""

    labels: IntArray
    nucleus: BoolArray
    anchors: Mapping[int, tuple[float, float]]  # row, column: the same from whichever tile the cell is seen
    notes: Mapping[int, str] = field(default_factory=dict)
    stopped: Cancelled | None = None  # a person stopped it half-way: these are the cells done before


class Stopped(Cancelled):
    """Cancelled in the middle of a field. ``masks`` holds the cells that were finished."""

    def __init__(self, masks: Masks) -> None:
        cells = "1 cell" if len(masks) == 1 else f"{len(masks)} cells"
        super().__init__(f"Cancelled in the middle of a field. The {cells} finished before are kept.")
        self.masks = masks


Find = Callable[[ByteArray, Survey, Progress], Found]


@dataclass(frozen=True)
class Tile:
    core: Span  # the part whose cells it counts
    outer: Span  # the part it sees


def tiles_of(shape: tuple[int, int], tile_px: int, halo_px: int, step: int) -> Iterator[Tile]:
    """Tiles that cover the image. All edges are multiples of ``step``: the working grid goes on unbroken."""
    tile_px, halo_px = (step * max(1, round(n / step)) for n in (tile_px, halo_px))
    rows, columns = (_spans(n, tile_px, halo_px) for n in shape)
    for row, outer_row in rows:
        for column, outer_column in columns:
            yield Tile((row, column), (outer_row, outer_column))


def _spans(length: int, tile_px: int, halo_px: int) -> list[tuple[slice, slice]]:
    count = max(1, -(-length // tile_px))
    if count > 1 and length - (count - 1) * tile_px < halo_px:
        count -= 1  # no last sliver of a tile
    ends = [*((i + 1) * tile_px for i in range(count - 1)), length]
    starts = [0, *ends[:-1]]
    return [
        (slice(a, b), slice(max(0, a - halo_px), min(length, b + halo_px)))
        for a, b in zip(starts, ends, strict=True)
    ]


def segment_field(
    image: SmearImage | LazyImage,
    seen: Survey | None,
    find: Find,
    config: SegmentConfig,
    *,
    kind: str,
    progress: Progress = silent,
) -> Masks:
    """Every tile through ``find``. A cancel raises ``Stopped``, which holds what was finished."""
    pixels: Pixels = evened(image) if isinstance(image, SmearImage) else image
    shape = (int(pixels.shape[0]), int(pixels.shape[1]))
    canvas = Canvas(shape)
    if seen is None:
        return replace(canvas.masks(None, image.um_per_px, kind), notes=(NOTHING_TO_SEE,))
    halo_px = round(HALO * config.max_cell_um / seen.assumed_um_per_px)
    tiles = list(tiles_of(shape, config.tile_px, halo_px, seen.stride))
    cancelled: Cancelled | None = None
    for number, tile in enumerate(tiles):
        inner = progress
        if len(tiles) > 1:
            inner = within(progress, f"tile {number + 1} of {len(tiles)}")
        try:
            if len(tiles) > 1:
                progress("tiles", number, len(tiles))
            found = find(pixels[tile.outer], seen, inner)
        except Cancelled as error:
            cancelled = error
        else:
            put_cells(canvas, tile, found, drop_border=config.border == "drop")
            canvas.release()
            cancelled = found.stopped
        if cancelled is not None:
            raise Stopped(
                in_its_frame(canvas.masks(seen, image.um_per_px, kind), image, config)
            ) from cancelled
    masks = in_its_frame(canvas.masks(seen, image.um_per_px, kind), image, config)
    as_it_came: Pixels = image.pixels if isinstance(image, SmearImage) else image
    return replace(masks, notes=(*doubts_of(as_it_came, pixels, seen), *masks.notes))


def in_its_frame(masks: Masks, image: SmearImage | LazyImage, config: SegmentConfig) -> Masks:
    """With notes of what was done to the image. A cell cut by what lies round it is one at its border."""
    if not isinstance(image, SmearImage):
        return masks
    masks = replace(masks, notes=(*told_of(image), *masks.notes))
    cut = np.isin(masks.cell_id, cut_off(image, masks.labels))
    if not cut.any():
        return masks
    if config.border == "keep":
        return replace(masks, touches_border=masks.touches_border | cut)
    kept = np.isin(masks.labels, masks.cell_id[~cut])
    return replace(
        masks,
        labels=np.where(kept, masks.labels, 0),
        nucleus=masks.nucleus & kept,
        cell_id=masks.cell_id[~cut],
        boxes_xyxy=masks.boxes_xyxy[~cut],
        touches_border=masks.touches_border[~cut],
    )


def put_cells(canvas: Canvas, tile: Tile, found: Found, *, drop_border: bool) -> None:
    """The cells whose anchor lies in the core of the tile."""
    top, left = tile.outer[0].start, tile.outer[1].start
    for number, box in own_cells(tile, found):
        corner = (box[0].start + top, box[1].start + left)
        is_cut = 0 in corner or box[0].stop + top == canvas.shape[0] or box[1].stop + left == canvas.shape[1]
        if not (drop_border and is_cut):
            cell = found.labels[box] == number
            canvas.put(cell, np.asarray(found.nucleus[box]), corner, found.notes.get(number, ""))


def own_cells(tile: Tile, found: Found) -> Iterator[tuple[int, Span]]:
    """Number and box, in pixels of the tile, of each cell whose anchor lies in the core: the others are
    counted by the tiles beside."""
    edges = [s.start for s in tile.outer]
    for number, box in enumerate(ndi.find_objects(found.labels), 1):
        if box is not None and all(
            s.start <= at + edge < s.stop
            for s, at, edge in zip(tile.core, found.anchors[number], edges, strict=True)
        ):
            yield number, box
