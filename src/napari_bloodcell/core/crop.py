"""Masks -> Crops: each cell alone in a square of its own, with nucleus and cytoplasm marked."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.config import CropConfig
from napari_bloodcell.core.errors import SegmentError
from napari_bloodcell.core.image.square import cut_square
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import Crops, FloatArray, Masks, SmearImage
from napari_bloodcell.core.stain import ground_light
from napari_bloodcell.core.stain.lamp import evened

REPORT_EVERY = 64


def crop(
    image: SmearImage,
    masks: Masks,
    config: CropConfig = CropConfig(),
    *,
    light: FloatArray | None = None,
    progress: Progress = silent,
) -> Crops:
    """Cut a square around every cell and resample it to ``config.size_px``. Beyond the image edge the
    border pixels go on, so that no black frame tells where the cell was cut. ``light``: of the ground, where
    the image is a piece of a larger one."""
    if image.pixels.shape[:2] != masks.labels.shape:
        raise SegmentError(
            f"The masks are {masks.labels.shape[1]} x {masks.labels.shape[0]} px, the image {image.name} is "
            f"{image.pixels.shape[1]} x {image.pixels.shape[0]} px. Use masks made from this image."
        )
    seen = evened(image)
    size, n = config.size_px, len(masks)
    pixels = np.zeros((n, size, size, 3), np.uint8)
    parts = np.zeros((n, size, size), np.uint8)
    scales = np.ones(n, np.float32)
    for i in range(n):
        if i % REPORT_EVERY == 0:
            progress("Cropping cells", i, n)
        corner, side = _square(masks.boxes_xyxy[i], config, masks.um_per_px)
        scales[i] = side / size
        pixels[i] = cut_square(seen, corner, side, size, smooth=True)
        parts[i] = _parts(masks, int(masks.cell_id[i]), corner, side, size)
    return Crops(
        cell_id=masks.cell_id,
        pixels=pixels,
        parts=parts,
        px_per_crop_px=scales,
        area_px=_areas(masks.labels, masks),
        nucleus_area_px=_areas(masks.labels[masks.nucleus], masks),
        ground_rgb=ground_light(seen) if light is None else light,
        um_per_px=masks.um_per_px,
    )


def join(parts: Sequence[Crops]) -> Crops:
    """The cells of several images as one record, numbered anew from 1 in the order given."""
    count = sum(len(part) for part in parts)

    def all_of(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(part, name) for part in parts])

    return Crops(
        cell_id=np.arange(1, count + 1, dtype=np.int32),
        **{name: all_of(name) for name in Crops.__dataclass_fields__ if name != "cell_id"},
    )


def _areas(labels: NDArray[np.int32], masks: Masks) -> NDArray[np.int32]:
    """Pixels of each cell among these labels."""
    longest = int(masks.cell_id.max(initial=0)) + 1
    return np.bincount(labels.ravel(), minlength=longest)[masks.cell_id].astype(np.int32)


def _square(
    box: NDArray[np.int32], config: CropConfig, um_per_px: float | None
) -> tuple[tuple[float, float], float]:
    """Upper left corner (x, y) and side of the square around a box, in image pixels."""
    x0, y0, x1, y1 = (float(v) for v in box)
    if config.field_um is not None and um_per_px is not None:
        side = config.field_um / um_per_px
    else:
        side = max(x1 - x0, y1 - y0) * (1 + 2 * config.pad)
    return ((x0 + x1 - side) / 2, (y0 + y1 - side) / 2), side


def _parts(masks: Masks, cell: int, corner: tuple[float, float], side: float, size: int) -> NDArray[np.uint8]:
    labels = cut_square(masks.labels, corner, side, size, smooth=False, beyond_edge=False)
    nucleus = cut_square(masks.nucleus, corner, side, size, smooth=False, beyond_edge=False)
    inside = labels == cell
    return np.where(inside & (nucleus > 0), 2, inside).astype(np.uint8)
