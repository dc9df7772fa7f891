"""Label images -> OME-TIFF."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.artifact import atomic_path
from napari_bloodcell.core.errors import ImageError

TILE_PX = 512
WHOLE_PX = 64_000_000  # larger images are written tile by tile: one copy more would not fit beside them


def write_labels_ome_tiff(
    path: str | Path,
    labels: NDArray[Any],
    um_per_px: float | None,
    *,
    within: NDArray[np.bool_] | None = None,
) -> None:
    """H x W int32 label image, compressed, with its pixel size. The file is there whole or not at all.
    ``within``: only the labels on these pixels."""
    import tifffile

    array = np.asarray(labels)
    if array.ndim != 2 or array.dtype.kind not in "ui" or array.size == 0:
        raise ImageError(
            f"Labels of shape {array.shape} and type {array.dtype} cannot be saved; give H x W integers."
        )
    if array.min() < -(2**31) or array.max() >= 2**31:
        raise ImageError(f"Labels up to {array.max()} cannot be saved; they must fit 32 bits.")
    if um_per_px is not None and not 0 < um_per_px < float("inf"):
        raise ImageError(f"A pixel size of {um_per_px} µm cannot be saved; give a positive number, or none.")
    metadata: dict[str, Any] = {"axes": "YX"}
    if um_per_px is not None:
        for axis in "XY":
            metadata |= {f"PhysicalSize{axis}": float(um_per_px), f"PhysicalSize{axis}Unit": "µm"}
    data: Any = _tiles(array, within)
    shape: dict[str, Any] = {"shape": array.shape, "dtype": np.int32, "tile": (TILE_PX, TILE_PX)}
    if array.size <= WHOLE_PX:
        data, shape = (array if within is None else array * within).astype(np.int32, copy=False), {}
    with atomic_path(Path(path)) as temporary:
        tifffile.imwrite(
            temporary,
            data,
            **shape,
            ome=True,
            photometric="minisblack",
            compression="zlib",
            metadata=metadata,
        )


def _tiles(array: NDArray[Any], within: NDArray[np.bool_] | None) -> Iterator[NDArray[np.int32]]:
    for top in range(0, array.shape[0], TILE_PX):
        for left in range(0, array.shape[1], TILE_PX):
            window = (slice(top, top + TILE_PX), slice(left, left + TILE_PX))
            tile = array[window] if within is None else array[window] * within[window]
            whole = np.zeros((TILE_PX, TILE_PX), np.int32)
            whole[: tile.shape[0], : tile.shape[1]] = tile
            yield whole
