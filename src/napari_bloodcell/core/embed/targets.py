"""The pictures both autoencoders learn to draw: the cell alone on grey, in a tight box, 128 x 128.

The published systems resize each cell with a cubic zoom of scipy (12 ms a cell). A cubic zoom is linear in
the pixels and works along rows and columns apart, so each length has one matrix: two products give the same
numbers, and the matrix is made once.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.config import TargetConfig
from napari_bloodcell.core.records import BoolArray, ByteArray, Crops, IntArray

GREY = 128
TARGET_PX = 128
PUBLISHED_CROP_PX = 224  # the published grey margin is counted at this size
AT_ONCE = 256  # cells whose components are looked for together


def targets_of(crops: Crops, config: TargetConfig = TargetConfig()) -> ByteArray:
    """N x 128 x 128 x 3: largest component of the cell, grey elsewhere, tight box, grey margin.

    A cell without a mask keeps its whole picture: nothing is known to be ground.
    """
    side = crops.pixels.shape[1]
    margin = round(config.margin_px * side / PUBLISHED_CROP_PX)
    out = np.empty((len(crops), TARGET_PX, TARGET_PX, 3), np.uint8)
    for start in range(0, len(crops), AT_ONCE):
        piece = slice(start, start + AT_ONCE)
        cell = largest_components(crops.parts[piece] > 0)
        cell[~cell.any(axis=(1, 2))] = True
        boxes = boxes_of(cell)
        alone = np.where(cell[..., None], crops.pixels[piece], np.uint8(GREY))
        for i, box in enumerate(boxes):
            picture = _padded(alone[i], box, margin, config, _px_per_um(crops, start + i))
            out[start + i] = resize_cubic(picture, TARGET_PX)
    return out


def largest_components(masks: BoolArray) -> BoolArray:
    """Of each mask in N x H x W the largest piece (pixels that touch at a side or a corner)."""
    from scipy.ndimage import label

    touching = np.zeros((3, 3, 3), np.bool_)
    touching[1] = True  # pieces of different cells never join
    marked, count = label(masks, touching)
    marked = np.asarray(marked)
    areas = np.bincount(marked.ravel(), minlength=count + 1)
    areas[0] = 0
    best = areas[marked].reshape(len(masks), -1).argmax(axis=1)
    chosen = marked.reshape(len(masks), -1)[np.arange(len(masks)), best]
    return np.asarray((marked == chosen[:, None, None]) & masks, np.bool_)


def boxes_of(masks: BoolArray) -> IntArray:
    """N x 4 (x0, y0, x1, y1), right and lower edge exclusive. No mask may be empty."""
    columns, rows = np.asarray(masks.any(axis=1)), np.asarray(masks.any(axis=2))
    w, h = columns.shape[1], rows.shape[1]
    x1, y1 = w - columns[:, ::-1].argmax(axis=1), h - rows[:, ::-1].argmax(axis=1)
    return np.stack([columns.argmax(axis=1), rows.argmax(axis=1), x1, y1], axis=1).astype(np.int32)


def resize_cubic(picture: ByteArray, size_px: int) -> ByteArray:
    """H x W x 3 -> size x size x 3: the numbers of ``scipy.ndimage.zoom(order=3)``, rounded and held in
    0..255 where the spline overshoots."""
    rows, columns = zoom_matrix(picture.shape[0], size_px), zoom_matrix(picture.shape[1], size_px)
    wide = rows @ picture.reshape(len(picture), -1).astype(np.float32)
    wide = wide.reshape(size_px, picture.shape[1], 3).transpose(0, 2, 1) @ columns.T
    return np.clip(np.rint(wide.transpose(0, 2, 1)), 0, 255).astype(np.uint8)


@lru_cache(maxsize=2048)
def zoom_matrix(length: int, size: int) -> NDArray[np.float32]:
    """size x length: what a cubic zoom does along one axis."""
    from scipy.ndimage import zoom

    if length == 1:
        return np.ones((size, 1), np.float32)
    matrix = np.asarray(zoom(np.eye(length), (size / length, 1), order=3), np.float32)
    matrix.flags.writeable = False
    return matrix


def _px_per_um(crops: Crops, i: int) -> float | None:
    """Crop pixels a µm, where the scale is known."""
    um_per_px = float(np.asarray(crops.um_per_px)[i])
    return None if np.isnan(um_per_px) else 1 / (um_per_px * float(crops.px_per_crop_px[i]))


def _padded(
    picture: ByteArray, box: IntArray, margin: int, config: TargetConfig, px_per_um: float | None
) -> ByteArray:
    """The box with its grey margin; with ``keep_aspect`` a square, with ``field_um`` one of that side."""
    x0, y0, x1, y1 = (int(v) for v in box)
    width, height = x1 - x0 + 2 * margin, y1 - y0 + 2 * margin
    if config.field_um is not None and px_per_um is not None:
        width = height = max(2, round(config.field_um * px_per_um))
    elif config.keep_aspect:
        width = height = max(width, height)
    left, top = (x0 + x1 - width) // 2, (y0 + y1 - height) // 2
    frame = np.full((height, width, 3), GREY, np.uint8)
    rows = slice(max(y0, top), min(y1, top + height))
    columns = slice(max(x0, left), min(x1, left + width))
    frame[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = picture[
        rows, columns
    ]
    return frame
