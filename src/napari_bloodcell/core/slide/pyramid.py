"""Labels of a whole slide as OME-Zarr (NGFF 0.5, zarr 3): several resolutions, written tile by tile.

``labels.ome.zarr/labels/cells`` and ``.../nuclei``, int32, the cell's number on each of its pixels. Parts
without cells take no room.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from napari_bloodcell.core.artifact import cannot_write
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import BoolArray, IntArray

FOLDER = "labels.ome.zarr"
KINDS = ("cells", "nuclei")
NGFF = "0.5"
CHUNK_PX = 1024
TILE_PX = 4096  # painted at a time
SMALLEST_PX = 512  # the coarsest level is about so wide

Outline = tuple[Any, BoolArray, BoolArray]  # box, cell, nucleus
Painted = dict[str, IntArray]
Row = TypeVar("Row")


def write_labels(
    folder: Path,
    shape: tuple[int, int],
    boxes: IntArray,
    outlines: Callable[[int], Outline],
    *,
    um_per_px: float | None = None,
    progress: Progress = silent,
) -> Path:
    """``outlines(row)`` gives the outline of one of the ``boxes``; rows are asked for in tiles, so that those
    near each other come one after another. Cell ``row`` has the number row + 1."""
    target, temporary = folder / FOLDER, folder / f".{FOLDER}"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        levels = _create(temporary, shape, um_per_px)
        tiles = list(_tiles(shape))
        for number, (corner, size) in enumerate(tiles):
            progress("writing labels", number, len(tiles))
            rows = _inside(boxes, corner, size)
            if len(rows):
                _store(levels, corner, _paint(corner, size, [(row + 1, outlines(int(row))) for row in rows]))
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    progress("writing labels", len(tiles), len(tiles))
    return target


def level_count(shape: tuple[int, int]) -> int:
    count = 1
    while max(shape) >> count >= SMALLEST_PX and CHUNK_PX << count <= TILE_PX * CHUNK_PX:
        count += 1
    return count


def _create(folder: Path, shape: tuple[int, int], um_per_px: float | None) -> dict[str, list[Any]]:
    import zarr

    root = zarr.open_group(folder, mode="w", zarr_format=3)
    root.attrs["ome"] = {"version": NGFF}
    labels = root.create_group("labels")
    labels.attrs["ome"] = {"version": NGFF, "labels": list(KINDS)}
    found: dict[str, list[Any]] = {}
    for kind in KINDS:
        group = labels.create_group(kind)
        group.attrs["ome"] = _told(kind, level_count(shape), um_per_px)
        found[kind] = [
            group.create_array(
                str(level),
                shape=tuple(-(-n // 2**level) for n in shape),
                chunks=(CHUNK_PX, CHUNK_PX),
                dtype="int32",
                fill_value=0,
                dimension_names=("y", "x"),
            )
            for level in range(level_count(shape))
        ]
    return found


def _told(kind: str, levels: int, um_per_px: float | None) -> dict[str, Any]:
    axes: list[dict[str, str]] = [{"name": name, "type": "space"} for name in "yx"]
    if um_per_px is not None:
        for axis in axes:
            axis["unit"] = "micrometer"
    scales = [[(um_per_px or 1.0) * 2**level] * 2 for level in range(levels)]
    datasets = [
        {"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        for level, scale in enumerate(scales)
    ]
    return {
        "version": NGFF,
        "multiscales": [{"name": kind, "axes": axes, "datasets": datasets}],
        "image-label": {},
    }


def _tiles(shape: tuple[int, int]) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    for top in range(0, shape[0], TILE_PX):
        for left in range(0, shape[1], TILE_PX):
            yield (top, left), (min(TILE_PX, shape[0] - top), min(TILE_PX, shape[1] - left))


def _inside(boxes: IntArray, corner: tuple[int, int], size: tuple[int, int]) -> IntArray:
    left, top, right, bottom = boxes.T
    meets = (bottom > corner[0]) & (top < corner[0] + size[0])
    meets &= (right > corner[1]) & (left < corner[1] + size[1])
    return np.flatnonzero(meets).astype(np.int32)


def _paint(corner: tuple[int, int], size: tuple[int, int], cells: Iterable[tuple[int, Outline]]) -> Painted:
    """Where two cells meet, the pixel stays the first one's."""
    painted = {kind: np.zeros(size, np.int32) for kind in KINDS}
    for number, (box, cell, nucleus) in cells:
        x0, y0, x1, y1 = (int(v) for v in box)
        rows, own_rows = _overlap(y0, y1, corner[0], size[0])
        columns, own_columns = _overlap(x0, x1, corner[1], size[1])
        labels = painted["cells"][rows, columns]
        free = cell[own_rows, own_columns] & (labels == 0)
        labels[free] = number
        painted["nuclei"][rows, columns][free & nucleus[own_rows, own_columns]] = number
    return painted


def _overlap(start: int, stop: int, origin: int, size: int) -> tuple[slice, slice]:
    """Of a tile, and of the cell."""
    first, last = max(start, origin), min(stop, origin + size)
    return slice(first - origin, last - origin), slice(first - start, last - start)


def _store(levels: dict[str, list[Any]], corner: tuple[int, int], painted: Painted) -> None:
    for kind, arrays in levels.items():
        for level, array in enumerate(arrays):
            part = painted[kind][:: 2**level, :: 2**level]
            top, left = (at >> level for at in corner)
            array[top : top + part.shape[0], left : left + part.shape[1]] = part


def cached(read: Callable[[int], list[Row]], starts: IntArray, kept: int = 64) -> Callable[[int], Row]:
    """Rows one by one, out of files that hold those from each of ``starts`` on."""
    rows_of = lru_cache(maxsize=kept)(read)

    def row_at(row: int) -> Row:
        file = int(np.searchsorted(starts, row, side="right")) - 1
        return rows_of(file)[row - int(starts[file])]

    return row_at
