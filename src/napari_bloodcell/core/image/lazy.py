"""An image that is read piece by piece: too large for the memory, or still to be computed.

``LazyImage`` stands where a ``SmearImage`` does, for whoever can work tile by tile.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_bloodcell.core.config import ReadConfig
from napari_bloodcell.core.errors import ImageError
from napari_bloodcell.core.image import hash_file
from napari_bloodcell.core.image.omezarr import is_zarr_folder, open_zarr
from napari_bloodcell.core.image.pixels import DECODER_ERRORS, array_axes
from napari_bloodcell.core.image.plate import name_of
from napari_bloodcell.core.image.scanners import is_scan, open_scan
from napari_bloodcell.core.image.tiff import is_tiff, open_tiff
from napari_bloodcell.core.records import ByteArray


@dataclass(frozen=True, kw_only=True, eq=False)
class LazyImage:
    """``image[rows, columns]`` reads that piece as H x W x 3 uint8 RGB and nothing else.

    ``array`` is numpy, dask, zarr or anything else with ``shape``, ``dtype`` and slices: bytes of
    H x W x 3 or 3 x H x W. ``coarser``: the same picture at lower resolutions, finest first, where the file
    has them.
    """

    array: Any
    coarser: tuple[Any, ...] = ()
    name: str = "image"
    source: str | None = None
    um_per_px: float | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f"The lazy image '{self.name}'"
        axes = array_axes(tuple(self.array.shape), where)
        if (
            "S" not in axes
            or self.array.shape[axes.index("S")] != 3
            or np.dtype(self.array.dtype) != np.uint8
        ):
            shape = " x ".join(map(str, self.array.shape))
            raise ImageError(
                f"{where} is {shape} of {self.array.dtype}; read piece by piece it must be uint8 of "
                "H x W x 3 (or 3 x H x W). Convert it lazily first, such as (array >> 8).astype('uint8')."
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, 3, however the array has it."""
        shape: Sequence[int] = self.array.shape
        height, width = shape[1:] if self._channels_first else shape[:2]
        return int(height), int(width), 3

    @property
    def levels(self) -> "tuple[LazyImage, ...]":
        """This image and the coarser ones, each with the size of its own pixels."""
        return self, *(
            replace(
                self, array=array, coarser=(), um_per_px=self.um_per_px and self.um_per_px * self.step(array)
            )
            for array in self.coarser
        )

    def step(self, array: Any) -> float:
        """Pixels of this image that one pixel of a coarser one spans."""
        shape = array.shape[1:] if self._channels_first else array.shape[:2]
        return float(np.mean([mine / other for mine, other in zip(self.shape, shape, strict=False)]))

    @property
    def _channels_first(self) -> bool:
        return array_axes(tuple(self.array.shape), self.name) == "SYX"

    def __getitem__(self, window: tuple[slice, slice]) -> ByteArray:
        rows, columns = window
        try:
            if self._channels_first:
                piece = np.asarray(self.array[:, rows, columns]).transpose(1, 2, 0)
            else:
                piece = np.asarray(self.array[rows, columns])
        except DECODER_ERRORS as error:
            raise ImageError(
                f"Rows {rows.start} to {rows.stop}, columns {columns.start} to {columns.stop} of "
                f"'{self.name}' cannot be read: {error or type(error).__name__}. The file is damaged or gone."
            ) from error
        return np.ascontiguousarray(piece, np.uint8)


def open_lazily(path: Path, config: ReadConfig = ReadConfig()) -> LazyImage | None:
    """An OME-Zarr folder, tiled TIFF or slide of a scanner without reading it; None for what can only be
    read whole. ``max_megapixels`` is a limit of what is read whole: it does not hold here."""
    path = Path(path)
    if is_zarr_folder(path):
        arrays, um_per_px, notes = open_zarr(path, config)
    elif is_scan(path):
        arrays, um_per_px, notes = open_scan(path)
    elif is_tiff(path):
        arrays, um_per_px, notes = open_tiff(path, config)
    else:
        return None
    if not arrays:
        return None
    return LazyImage(
        array=arrays[0],
        coarser=tuple(arrays[1:]),
        name=name_of(path),
        source=str(path.absolute()),
        um_per_px=um_per_px if config.um_per_px is None else config.um_per_px,
        notes=notes,
    )


def hash_of_source(path: Path) -> str:
    """SHA-256 of a file, or of all files of an OME-Zarr folder with their names."""
    if path.is_file():
        return hash_file(path)
    digest = hashlib.sha256()
    for one in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(f"{one.relative_to(path).as_posix()} {hash_file(one)}\n".encode())
    return digest.hexdigest()
