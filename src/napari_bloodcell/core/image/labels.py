"""Label images -> OME-TIFF."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.artifact import atomic_path
from napari_bloodcell.core.errors import ImageError


def write_labels_ome_tiff(path: str | Path, labels: NDArray[Any], um_per_px: float | None) -> None:
    """H x W int32 label image, compressed, with its pixel size. The file is there whole or not at all."""
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
    with atomic_path(Path(path)) as temporary:
        tifffile.imwrite(
            temporary,
            array.astype(np.int32, copy=False),
            ome=True,
            photometric="minisblack",
            compression="zlib",
            metadata=metadata,
        )
