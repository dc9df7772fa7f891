import numpy as np
import pytest

from napari_bloodcell.core.config import CropConfig
from napari_bloodcell.core.crop import crop
from napari_bloodcell.core.errors import Cancelled, SegmentError
from napari_bloodcell.core.records import Masks, SmearImage


def field(
    boxes: list[tuple[int, int, int, int]], size: int = 100, um: float | None = None
) -> tuple[SmearImage, Masks]:
    """Rectangular cells with a nucleus in their middle third, on white."""
    pixels = np.full((size, size, 3), 250, np.uint8)
    labels = np.zeros((size, size), np.int32)
    nucleus = np.zeros((size, size), bool)
    for cell, (x0, y0, x1, y1) in enumerate(boxes, 1):
        labels[y0:y1, x0:x1] = cell
        third_x, third_y = (x1 - x0) // 3, (y1 - y0) // 3
        nucleus[y0 + third_y : y1 - third_y, x0 + third_x : x1 - third_x] = True
    pixels[labels > 0] = (200, 150, 200)
    pixels[nucleus] = (80, 40, 140)
    masks = Masks(
        cell_id=np.arange(1, len(boxes) + 1),
        labels=labels,
        nucleus=nucleus,
        boxes_xyxy=np.reshape(boxes, (-1, 4)),
        touches_border=np.zeros(len(boxes), bool),
        um_per_px=um,
    )
    return SmearImage(pixels=pixels, um_per_px=um), masks


def test_a_crop_shows_its_cell_in_the_middle_with_its_parts() -> None:
    crops = crop(*field([(10, 20, 40, 50), (60, 60, 90, 90)]), CropConfig(size_px=60, pad=0))
    assert crops.pixels.shape == (2, 60, 60, 3)
    for pixels, parts in zip(crops.pixels, crops.parts, strict=True):
        assert tuple(pixels[30, 30]) == (80, 40, 140)
        assert parts[30, 30] == 2
        assert parts[5, 30] == 1
        assert (parts == 2).mean() == pytest.approx(1 / 9, abs=0.02)
    np.testing.assert_allclose(crops.px_per_crop_px, 0.5)


def test_a_neighbour_is_outside() -> None:
    crops = crop(*field([(10, 10, 40, 40), (40, 10, 70, 40)]), CropConfig(size_px=80, pad=0.5))
    assert (crops.parts[0] > 0).mean() == pytest.approx(0.25, abs=0.02)


def test_a_cell_at_the_border_has_no_black_frame() -> None:
    crops = crop(*field([(0, 0, 30, 30)]), CropConfig(size_px=64, pad=0.5))
    assert crops.pixels.min() >= 40
    assert (crops.parts[0] > 0).mean() == pytest.approx(0.25, abs=0.02)


def test_fixed_field_shows_so_many_um() -> None:
    crops = crop(*field([(40, 40, 60, 60)], um=0.5), CropConfig(size_px=50, field_um=25))
    assert crops.px_per_crop_px[0] == pytest.approx(1.0)
    assert (crops.parts[0] > 0).sum() == 400


def test_without_a_pixel_size_the_field_fits_the_cell() -> None:
    with_field = crop(*field([(40, 40, 60, 60)]), CropConfig(field_um=25))
    without = crop(*field([(40, 40, 60, 60)]), CropConfig())
    np.testing.assert_array_equal(with_field.pixels, without.pixels)


def test_no_cells_give_no_crops() -> None:
    crops = crop(*field([]), CropConfig(size_px=32))
    assert len(crops) == 0
    assert crops.pixels.shape == (0, 32, 32, 3)


def test_masks_of_another_image_are_refused() -> None:
    image, _ = field([])
    _, masks = field([], size=64)
    with pytest.raises(SegmentError, match=r"The masks are 64 x 64 px, the image image is 100 x 100 px"):
        crop(image, masks)


def test_cancel_stops_cropping() -> None:
    def stop(stage: str, done: int, total: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        crop(*field([(10, 10, 30, 30)]), progress=stop)
