"""One block of a slide: its cells found, classified, and kept in one file, whole or not there."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi

from napari_bloodcell.core.artifact import atomic_path
from napari_bloodcell.core.bundle import Bundle
from napari_bloodcell.core.config import AnalyseConfig
from napari_bloodcell.core.crop import join
from napari_bloodcell.core.image.lazy import LazyImage
from napari_bloodcell.core.pipeline import cut_cells, describe, segmenter_of, table_of, wanted_crops
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import BoolArray, Crops, IntArray, Masks, SmearImage
from napari_bloodcell.core.segment.canvas import Canvas
from napari_bloodcell.core.segment.survey import Survey
from napari_bloodcell.core.segment.tiles import HALO, Span, Tile, own_cells
from napari_bloodcell.core.slide.plan import Plan

if TYPE_CHECKING:
    import pandas as pd

LARGEST_PX = 2048  # side of what is held in memory at a time, without its halo
AT_ONCE = 2000  # cells described at a time: their pictures are what a full block needs most memory for
MASKS = ("cell_mask", "nucleus_mask")  # columns: the bits of a cell in its box, row by row
NOTE = "note"  # column: what is odd about an outline
OWN = (*MASKS, NOTE)  # columns that the slide's table does not have
VERSION = 1  # raise it whenever what a block holds changes: blocks of before are then made anew
PLAN_KEY = b"napari-bloodcell-plan"

Packed = tuple[list[int], bytes, bytes]  # box, and the bits of cell and nucleus


@dataclass(frozen=True)
class Block:
    """``units``: the part of the plan's maps it covers."""

    row: int
    column: int
    units: Span

    @property
    def name(self) -> str:
        return f"{self.row:04d}-{self.column:04d}.parquet"


@dataclass(frozen=True)
class Window:
    """A tile, and which of the units in its core are looked at."""

    tile: Tile
    own: BoolArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Work:
    """What all blocks of a slide need."""

    image: LazyImage
    plan: Plan
    seen: Survey
    bundle: Bundle
    config: AnalyseConfig

    @property
    def halo_px(self) -> int:
        """So that the cells of a window, and the squares that are cut around them, lie in it."""
        segment, crops = (
            self.config.segment,
            [self.config.crop, wanted_crops(self.bundle) or self.config.crop],
        )
        reach = [HALO * segment.max_cell_um]
        for one in crops:
            reach += [segment.max_cell_um * (1 + one.pad), segment.max_cell_um + (one.field_um or 0) / 2]
        steps = max(reach) / self.seen.assumed_um_per_px / self.seen.stride
        return int(np.ceil(steps)) * self.seen.stride


@dataclass(frozen=True, kw_only=True, eq=False)
class _Cells:
    """The cells of a block, in pixels of the slide."""

    cell_id: IntArray
    boxes_xyxy: IntArray
    touches_border: BoolArray
    um_per_px: float | None
    scale_source: str


def blocks_of(plan: Plan, block_px: int) -> list[Block]:
    """Those that hold something to look at, row by row."""
    side = max(1, round(block_px / plan.unit_px))
    rows, columns = plan.wanted.shape
    found = []
    for i, top in enumerate(range(0, rows, side)):
        for j, left in enumerate(range(0, columns, side)):
            units = (slice(top, min(top + side, rows)), slice(left, min(left + side, columns)))
            if plan.wanted[units].any():
                found.append(Block(i, j, units))
    return found


def windows_of(block: Block, plan: Plan, halo_px: int) -> list[Window]:
    """The wanted units, each once: a window for each group of them, or tiles where that is less to read."""
    groups, _ = ndi.label(plan.wanted[block.units], np.ones((3, 3)))
    boxes = ndi.find_objects(groups)
    islands = [(box, groups[box] == n + 1) for n, box in enumerate(boxes)]
    side = max(1, LARGEST_PX // plan.unit_px)
    tiles = []
    for top in range(0, groups.shape[0], side):
        for left in range(0, groups.shape[1], side):
            box = (
                slice(top, min(top + side, groups.shape[0])),
                slice(left, min(left + side, groups.shape[1])),
            )
            if groups[box].any():
                tiles.append((box, groups[box] > 0))
    alone, tiled = (
        [_window(box, own, block, plan, halo_px) for box, own in some] for some in (islands, tiles)
    )
    too_large = any(s.stop - s.start > side for box in boxes for s in box)
    return tiled if too_large or _pixels(alone) > _pixels(tiled) else alone


def _pixels(windows: list[Window]) -> int:
    return sum(int(np.prod([s.stop - s.start for s in one.tile.outer])) for one in windows)


def _window(box: Span, own: BoolArray, block: Block, plan: Plan, halo_px: int) -> Window:
    unit = plan.unit_px
    core = tuple(
        slice((b.start + u.start) * unit, min((b.stop + u.start) * unit, n))
        for b, u, n in zip(box, block.units, plan.shape, strict=True)
    )
    outer = tuple(
        slice(max(0, s.start - halo_px), min(n, s.stop + halo_px))
        for s, n in zip(core, plan.shape, strict=True)
    )
    return Window(Tile(core, outer), own)  # type: ignore[arg-type]


def analyse_block(block: Block, work: Work, *, progress: Progress = silent) -> "pd.DataFrame":
    """One row a cell, with its outline in the columns ``MASKS``; cells are sorted by where they are."""
    import pandas as pd

    tables: list[pd.DataFrame] = []
    held = _Held([], [], [], [])
    windows = windows_of(block, work.plan, work.halo_px)
    for number, window in enumerate(windows):
        progress("windows", number, len(windows))
        smear = SmearImage(
            pixels=work.image[window.tile.outer], um_per_px=work.image.um_per_px, even_light=False
        )
        masks, notes = _find(smear, window, work, progress)
        if len(masks):
            top, left = (s.start for s in window.tile.outer)
            held.crops.append(
                cut_cells(smear, masks, work.bundle, work.config, light=work.seen.light, progress=progress)
            )
            held.boxes.append(masks.boxes_xyxy + np.array([left, top, left, top], np.int32))
            held.bits.extend(_bits(masks, row) for row in range(len(masks)))
            held.notes.extend(notes)
        if len(held.bits) >= AT_ONCE:
            tables.append(_described(held, work, progress))
            held = _Held([], [], [], [])
    if held.bits:
        tables.append(_described(held, work, progress))
    if not tables:
        return pd.DataFrame()
    table = pd.concat(tables, ignore_index=True)
    if work.config.segment.border == "drop":
        table = table[~table["touches_border"]]
    return table.sort_values(["y0", "x0", "y1", "x1"], kind="stable", ignore_index=True)


@dataclass(frozen=True)
class _Held:
    """Cells that were found and are not described yet."""

    crops: list[tuple[Crops, Crops]]
    boxes: list[IntArray]
    bits: list[tuple[bytes, bytes]]
    notes: list[str]


def _described(held: _Held, work: Work, progress: Progress) -> "pd.DataFrame":
    cells = _cells(np.concatenate(held.boxes), work)
    crops, own = (join([one[place] for one in held.crops]) for place in (0, 1))
    measurements, _, predictions = describe(crops, own, work.bundle, work.config, progress=progress)
    table = table_of(work.image, cells, work.bundle, measurements, predictions)
    for column, name in enumerate(MASKS):
        table[name] = [one[column] for one in held.bits]
    table[NOTE] = held.notes
    return table


def _find(smear: SmearImage, window: Window, work: Work, progress: Progress) -> tuple[Masks, list[str]]:
    """The cells whose anchors lie in units that this window owns, and the note of each."""
    tile, unit = window.tile, work.plan.unit_px
    segmenter = segmenter_of(work.bundle, work.config)
    found = segmenter.find(smear.pixels, work.seen, work.config.segment, progress=progress)
    if found.stopped is not None:
        raise found.stopped
    canvas = Canvas((smear.pixels.shape[0], smear.pixels.shape[1]))
    notes: list[str] = []
    for number, box in own_cells(tile, found):
        place = tuple(
            int(at + outer.start - core.start) // unit
            for at, outer, core in zip(found.anchors[number], tile.outer, tile.core, strict=True)
        )
        if window.own[place]:
            corner = (box[0].start, box[1].start)
            if canvas.put(found.labels[box] == number, np.asarray(found.nucleus[box]), corner):
                notes.append(found.notes.get(number, ""))
    return canvas.masks(work.seen, work.image.um_per_px, segmenter.kind), notes


def _bits(masks: Masks, row: int) -> tuple[bytes, bytes]:
    x0, y0, x1, y1 = masks.boxes_xyxy[row]
    own = masks.labels[y0:y1, x0:x1] == masks.cell_id[row]
    return np.packbits(own).tobytes(), np.packbits(own & masks.nucleus[y0:y1, x0:x1]).tobytes()


def _cells(boxes: IntArray, work: Work) -> _Cells:
    height, width = work.plan.shape
    left, top, right, bottom = boxes.T
    return _Cells(
        cell_id=np.arange(1, len(boxes) + 1, dtype=np.int32),
        boxes_xyxy=boxes,
        touches_border=(left <= 0) | (top <= 0) | (right >= width) | (bottom >= height),
        um_per_px=work.seen.um_per_px,
        scale_source=work.seen.scale_source,
    )


def unpack(bits: bytes, box: Any) -> BoolArray:
    x0, y0, x1, y1 = (int(v) for v in box)
    size = (y1 - y0) * (x1 - x0)
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=size).reshape(y1 - y0, x1 - x0).astype(np.bool_)


def write_block(path: Path, table: "pd.DataFrame", plan_hash: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = pa.Table.from_pandas(table, preserve_index=False)
    content = content.replace_schema_metadata({PLAN_KEY: plan_hash.encode()})
    with atomic_path(path) as temporary:
        pq.write_table(content, temporary, compression="zstd")


def is_block_done(path: Path, plan_hash: str) -> bool:
    """Whether the file is whole and of this plan."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return bool((pq.read_schema(path).metadata or {}).get(PLAN_KEY) == plan_hash.encode())
    except (OSError, pa.ArrowInvalid):
        return False


def read_outlines(path: Path) -> list[Packed]:
    """Box, cell and nucleus of each row. Packed: unpacked they are eight times as large."""
    import pyarrow.parquet as pq

    if not pq.read_metadata(path).num_rows:
        return []
    content = pq.read_table(path, columns=["x0", "y0", "x1", "y1", *MASKS]).to_pydict()
    return [(box, cell, nucleus) for *box, cell, nucleus in zip(*content.values(), strict=True)]


def unpacked(packed: Packed) -> tuple[Any, BoolArray, BoolArray]:
    box, cell, nucleus = packed
    return box, unpack(cell, box), unpack(nucleus, box)
