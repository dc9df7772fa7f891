"""A cell that was cut out of its picture is seen on empty ground, and is no cell at the border."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage as ndi

from napari_bloodcell.core.config import SegmentConfig, SmearConfig
from napari_bloodcell.core.pipeline import analyse
from napari_bloodcell.core.records import SmearImage
from napari_bloodcell.core.segment.choose import find_segmenter
from napari_bloodcell.core.stain.cutout import GLASS, cut_out_of, on_glass
from napari_bloodcell.core.stain.lamp import told_of
from napari_bloodcell.core.synthetic import make_smear

TOLD = "the cell was cut out of its picture: the flat colour round it is taken for empty ground"
Colour = tuple[int, int, int]
COLOURS: dict[str, Colour] = {"black": (0, 0, 0), "grey": (128, 128, 128), "green": (0, 255, 0)}


@pytest.fixture(scope="module")
def crop() -> tuple[np.ndarray, np.ndarray]:
    """A picture of one cell, and where the cell is."""
    made = make_smear(SmearConfig(width_px=640, height_px=480, white_cells=6, seed=4))
    labels = np.asarray(made.masks.labels)
    boxes = np.asarray(made.masks.boxes_xyxy)
    inner = (boxes[:, :2] > 12).all(axis=1) & (boxes[:, 2:] < (628, 468)).all(axis=1)
    row = int(np.flatnonzero(inner)[0])
    x0, y0, x1, y1 = boxes[row]
    window = slice(y0 - 10, y1 + 10), slice(x0 - 10, x1 + 10)
    return np.array(made.image.pixels[window]), labels[window] == made.masks.cell_id[row]


def cut(crop: tuple[np.ndarray, np.ndarray], colour: Colour) -> np.ndarray:
    pixels, cell = crop
    return np.where(cell[..., None], pixels, np.asarray(colour, np.uint8))


def plain(pixels: np.ndarray) -> np.ndarray:
    return pixels


def compressed(pixels: np.ndarray) -> np.ndarray:
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "JPEG", quality=85)
    return np.asarray(Image.open(held))


@pytest.mark.parametrize("name", COLOURS)
@pytest.mark.parametrize("through", [plain, compressed])
def test_the_flat_colour_round_a_cell_is_seen_and_painted(
    crop: tuple[np.ndarray, np.ndarray], name: str, through: Callable[[np.ndarray], np.ndarray]
) -> None:
    pixels = through(cut(crop, COLOURS[name]))
    outside = cut_out_of(pixels)
    assert outside is not None
    inner = ndi.binary_erosion(crop[1], iterations=2)
    assert not outside[inner].any()
    assert outside[~crop[1]].mean() > 0.9
    whole = on_glass(pixels, outside)
    assert whole[outside].min() >= GLASS
    np.testing.assert_array_equal(whole[~outside], pixels[~outside])


def test_ground_that_nothing_of_the_cell_is_brighter_than_stays(
    crop: tuple[np.ndarray, np.ndarray],
) -> None:
    pixels = cut(crop, (255, 255, 255))
    outside = cut_out_of(pixels)
    assert outside is not None
    assert on_glass(pixels, outside) is pixels
    assert not told_of(SmearImage(pixels=pixels))


@pytest.mark.parametrize("degrees", [10, 30, 45])
@pytest.mark.parametrize("expand", [True, False])
def test_a_turned_picture_is_no_cell_that_was_cut_out(
    crop: tuple[np.ndarray, np.ndarray], degrees: float, expand: bool
) -> None:
    turned = Image.fromarray(crop[0]).rotate(degrees, Image.Resampling.BILINEAR, expand=expand)
    assert cut_out_of(np.asarray(turned)) is None


def test_a_padded_or_whole_picture_is_no_cell_that_was_cut_out(crop: tuple[np.ndarray, np.ndarray]) -> None:
    assert cut_out_of(crop[0]) is None
    assert cut_out_of(np.pad(crop[0], ((20, 20), (20, 20), (0, 0)))) is None
    assert cut_out_of(np.zeros((60, 60, 3), np.uint8)) is None
    assert cut_out_of(np.zeros((8, 8, 3), np.uint8)) is None


def test_it_is_named_as_on_its_own_ground_told_and_counted(crop: tuple[np.ndarray, np.ndarray]) -> None:
    before = analyse(crop[0])
    for name, colour in COLOURS.items():
        image = SmearImage(pixels=cut(crop, colour), name=name)
        after = analyse(image)
        assert TOLD in told_of(image)
        assert TOLD in after.masks.notes
        assert len(after.masks) == 1
        assert not after.masks.touches_border.any()
        assert after.differential.counted == 1
        assert list(after.predictions.top(0)[0]) == list(before.predictions.top(0)[0])
        np.testing.assert_array_equal(image.pixels, cut(crop, colour))  # the caller's picture is not changed


@pytest.mark.realdata
@pytest.mark.parametrize("lab", ["jtsc", "cellavision", "bccd"])
def test_no_real_picture_is_taken_for_one(real_data: Path, lab: str) -> None:
    folder = real_data / lab / ("cells" if lab == "bccd" else "images")
    pictures = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".png", ".jpg", ".bmp"))
    assert pictures
    for path in pictures:
        image = SmearImage(pixels=np.array(Image.open(path).convert("RGB")))
        assert TOLD not in told_of(image), path.name


@pytest.mark.realdata
def test_outlines_of_real_cells_on_black_are_those_on_white(real_data: Path) -> None:
    folder = real_data / "cellavision"
    segmenter, alike = find_segmenter("nano"), []
    for path in sorted((folder / "masks").iterdir())[:8]:
        cell = np.array(Image.open(path).convert("L")) > 0
        (image,) = (folder / "images").glob(f"{path.stem}.*")
        pixels = np.array(Image.open(image).convert("RGB"))
        masks = []
        for level in (0, GLASS):
            alone = np.where(cell[..., None], pixels, np.uint8(level))
            found = segmenter.segment(SmearImage(pixels=alone), SegmentConfig())
            masks.append(np.asarray(found.labels) > 0)
        alike.append((masks[0] & masks[1]).sum() / max(1, (masks[0] | masks[1]).sum()))
    assert np.mean(alike) > 0.9
