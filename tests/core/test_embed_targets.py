"""Reconstruction targets against the published recipe, cell by cell."""

import numpy as np
import pytest

from napari_bloodcell.core.config import TargetConfig
from napari_bloodcell.core.embed.targets import (
    boxes_of,
    largest_components,
    resize_cubic,
    targets_of,
    zoom_matrix,
)
from napari_bloodcell.core.records import Crops

RNG = np.random.default_rng(0)


def crops_of(parts: np.ndarray, pixels: np.ndarray | None = None, um: float | None = None) -> Crops:
    n, side = len(parts), parts.shape[1]
    if pixels is None:
        pixels = RNG.integers(0, 256, (n, side, side, 3), dtype=np.uint8)
    return Crops(
        cell_id=np.arange(1, n + 1), pixels=pixels, parts=parts, px_per_crop_px=np.ones(n),
        area_px=(parts > 0).sum((1, 2)), nucleus_area_px=(parts == 2).sum((1, 2)),
        ground_rgb=np.full(3, 230.0), um_per_px=um,
    )  # fmt: skip


def disc(side: int, x: float, y: float, radius: float) -> np.ndarray:
    yy, xx = np.mgrid[:side, :side]
    return ((xx - x) ** 2 + (yy - y) ** 2 <= radius**2).astype(np.uint8)


def published(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """One cell, plainly: largest component, grey surround, tight box, margin of 10, cubic zoom."""
    from scipy.ndimage import label, zoom

    marked, count = label(mask, np.ones((3, 3)))
    best = max(range(1, count + 1), key=lambda k: (marked == k).sum())
    cell = np.where((marked == best)[..., None], pixels, 128)
    ys, xs = np.where(marked == best)
    box = cell[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    framed = np.pad(box, ((10, 10), (10, 10), (0, 0)), constant_values=128).astype(float)
    h, w = framed.shape[:2]
    return np.clip(np.rint(zoom(framed, (128 / h, 128 / w, 1), order=3)), 0, 255)


@pytest.mark.parametrize(("h", "w"), [(40, 71), (128, 128), (200, 33), (2, 5), (1, 9)])
def test_the_fast_resize_equals_scipys_cubic_zoom(h: int, w: int) -> None:
    from scipy.ndimage import zoom

    picture = RNG.integers(0, 256, (h, w, 3), dtype=np.uint8)
    wanted = np.clip(np.rint(zoom(picture.astype(float), (128 / h, 128 / w, 1), order=3)), 0, 255)
    difference = np.abs(resize_cubic(picture, 128).astype(int) - wanted)
    if h == 1:  # scipy has nothing to interpolate between; we repeat the row
        assert (resize_cubic(picture, 128) == resize_cubic(picture, 128)[:1]).all()
        return
    assert difference.max() <= 1  # a half may round either way in fp32
    assert (difference > 0).mean() < 0.001


def test_targets_equal_the_published_recipe_at_its_own_size() -> None:
    parts = np.stack([disc(224, 100, 90, 50) | disc(224, 20, 20, 8), disc(224, 130, 120, 70)])
    parts[1, 115:125, 130:150] = 2
    crops = crops_of(parts)
    made = targets_of(crops)
    for i in range(2):
        difference = np.abs(made[i].astype(int) - published(crops.pixels[i], parts[i] > 0))
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.001


def test_the_last_row_and_column_of_a_cell_are_kept() -> None:
    mask = np.zeros((1, 9, 12), bool)
    mask[0, 3:9, 5:12] = True
    assert boxes_of(mask).tolist() == [[5, 3, 12, 9]]


def test_only_the_largest_piece_of_each_cell_stays_and_cells_do_not_join() -> None:
    masks = np.zeros((3, 8, 8), bool)
    masks[0, :3, :3] = masks[0, 6:, 6:] = True
    masks[1, :2, :2] = True  # in the same place as a piece of its neighbours
    masks[2, 5:, 5:] = True
    kept = largest_components(masks)
    assert kept[0].sum() == 9
    assert not kept[0, 6:, 6:].any()
    assert kept[1].sum() == 4
    assert kept[2].sum() == 9


def test_an_empty_mask_keeps_the_whole_picture() -> None:
    pixels = np.full((1, 32, 32, 3), 77, np.uint8)
    made = targets_of(crops_of(np.zeros((1, 32, 32), np.uint8), pixels))
    assert made[0, 64, 64].tolist() == [77, 77, 77]


def test_no_cells_give_no_targets() -> None:
    assert targets_of(crops_of(np.zeros((0, 32, 32), np.uint8))).shape == (0, 128, 128, 3)


def test_kept_aspect_makes_a_long_cell_long() -> None:
    parts = np.zeros((1, 100, 100), np.uint8)
    parts[0, 45:55, 10:90] = 1
    pixels = np.zeros((1, 100, 100, 3), np.uint8)
    dark = lambda picture: (picture.mean(axis=-1) < 40).mean()  # noqa: E731
    stretched = targets_of(crops_of(parts, pixels))[0]
    kept = targets_of(crops_of(parts, pixels), TargetConfig(keep_aspect=True))[0]
    assert dark(kept) < dark(stretched) / 3


def test_a_fixed_field_shows_size_where_the_scale_is_known() -> None:
    parts = np.stack([disc(96, 48, 48, 10), disc(96, 48, 48, 30)])
    pixels = np.zeros((2, 96, 96, 3), np.uint8)
    config = TargetConfig(field_um=25)
    small, large = targets_of(crops_of(parts, pixels, um=0.3), config).mean(axis=-1) < 40
    assert large.mean() == pytest.approx(9 * small.mean(), rel=0.1)
    small, large = targets_of(crops_of(parts, pixels), config).mean(axis=-1) < 40
    assert large.mean() < 2 * small.mean()  # no scale: fitted to the cell, as without a field


def test_a_zoom_matrix_is_made_once() -> None:
    assert zoom_matrix(57, 128) is zoom_matrix(57, 128)
