"""What lies round a picture is no ground and no nucleus: left out, and told."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from napari_bloodcell.core.config import SegmentConfig, SmearConfig
from napari_bloodcell.core.pipeline import analyse
from napari_bloodcell.core.records import SmearImage
from napari_bloodcell.core.segment.choose import find_segmenter
from napari_bloodcell.core.stain import ground_light
from napari_bloodcell.core.stain.lamp import evened, told_of
from napari_bloodcell.core.stain.surround import painted, surround_of
from napari_bloodcell.core.synthetic import make_smear

HEIGHT, WIDTH = 480, 640
Frame = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="module")
def field() -> np.ndarray:
    made = make_smear(SmearConfig(width_px=WIDTH, height_px=HEIGHT, white_cells=10, seed=39))
    return np.array(made.image.pixels)


def distance(shape: tuple[int, ...]) -> np.ndarray:
    """From the middle, in radii of a circle that just leaves the corners out."""
    y, x = np.ogrid[-1 : 1 : 1j * shape[0], -1 : 1 : 1j * shape[1]]
    return np.hypot(y, x * shape[1] / shape[0]) / 1.15


def eyepiece(level: float, *, grain: float = 0, soft: float = 1e-6) -> Frame:
    def frame(pixels: np.ndarray) -> np.ndarray:
        inside = np.clip((1 - distance(pixels.shape)) / soft, 0, 1)[..., None]
        noise = np.random.default_rng(0).normal(0, grain, pixels.shape) if grain else 0
        return np.clip(np.rint(pixels * inside + (level + noise) * (1 - inside)), 0, 255).astype(np.uint8)

    return frame


def page(level: int) -> Frame:
    return lambda pixels: np.pad(pixels, ((80, 80), (120, 120), (0, 0)), constant_values=level)


def turned(level: int) -> Frame:
    def frame(pixels: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(pixels).rotate(17, expand=True, fillcolor=(level,) * 3))

    return frame


def compressed(pixels: np.ndarray) -> np.ndarray:
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "JPEG", quality=85)
    return np.asarray(Image.open(held))


FRAMES: dict[str, Frame] = {
    "black eyepiece": eyepiece(0),
    "grainy black eyepiece": eyepiece(8, grain=4),
    "soft black eyepiece": eyepiece(10, grain=3, soft=0.12),
    "white round": eyepiece(255),
    "white page": page(255),
    "black page": page(0),
    "turned on white": turned(255),
    "turned on black": turned(0),
}


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("through", [np.asarray, compressed])
def test_what_lies_round_is_seen(field: np.ndarray, name: str, through: Frame) -> None:
    framed = through(FRAMES[name](field))
    outside = surround_of(framed)
    assert outside is not None
    marked = FRAMES[name](np.full_like(field, 1)) != FRAMES[name](np.full_like(field, 2))
    kept = marked.any(axis=2)  # what of the frame still shows the field
    assert outside[~kept].mean() > 0.97
    assert outside[kept].mean() < 0.2
    assert evened(SmearImage(pixels=framed))[outside].std(axis=0).max() == 0
    assert "round it: left out" in told_of(SmearImage(pixels=framed))[0]


@pytest.mark.parametrize("name", ["grainy black eyepiece", "white round", "soft black eyepiece"])
def test_the_cells_are_those_of_the_whole_picture(field: np.ndarray, name: str) -> None:
    plain, framed = analyse(field), analyse(FRAMES[name](field))
    away = distance(field.shape)
    names = dict(zip(framed.masks.cell_id.tolist(), framed.predictions.top(0)[0].tolist(), strict=True))
    seen = 0
    for cell, expected in zip(plain.masks.cell_id, plain.predictions.top(0)[0], strict=True):
        where = plain.masks.labels == cell
        if away[where].max() > 0.88:
            continue
        found, counts = np.unique(framed.masks.labels[where], return_counts=True)
        again = int(found[counts.argmax()])
        both = ((framed.masks.labels == again) & where).sum()
        assert both / ((framed.masks.labels == again) | where).sum() > 0.8
        assert names[again] == expected
        seen += 1
    assert seen >= 2
    assert len(framed.masks) <= len(plain.masks)


def test_a_page_leaves_cells_where_they_are(field: np.ndarray) -> None:
    plain, framed = analyse(field), analyse(page(255)(field))
    assert len(framed.masks) == len(plain.masks)
    shifted = framed.masks.labels[80:-80, 120:-120]
    assert ((shifted > 0) & (plain.masks.labels > 0)).sum() > 0.9 * (plain.masks.labels > 0).sum()


@pytest.mark.parametrize("border", ["keep", "drop"])
def test_a_cell_that_the_frame_cuts_is_one_at_the_border(
    field: np.ndarray, border: Literal["keep", "drop"]
) -> None:
    framed, segmenter = FRAMES["white round"](field), find_segmenter("stain")
    masks = segmenter.segment(SmearImage(pixels=framed), SegmentConfig(border=border))
    reach = np.array([distance(field.shape)[masks.labels == cell].max() for cell in masks.cell_id])
    at_edge = np.any(np.c_[masks.boxes_xyxy[:, :2] <= 0, masks.boxes_xyxy[:, 2:] >= [WIDTH, HEIGHT]], axis=1)
    assert (reach > 0.98).any() == (border == "keep")
    assert masks.touches_border[(reach > 0.98) | at_edge].all()
    assert not masks.touches_border[(reach < 0.95) & ~at_edge].any()
    assert set(np.unique(masks.labels)) == {0, *masks.cell_id.tolist()}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("gain", [1.0, 1.2, 1.5])
def test_ground_that_is_white_or_overexposed_is_ground(seed: int, gain: float) -> None:
    made = make_smear(SmearConfig(width_px=320, height_px=240, white_cells=3, seed=seed)).image.pixels
    assert surround_of(np.clip(made * gain, 0, 255).astype(np.uint8)) is None


def test_a_cell_on_white_is_no_picture_on_a_page() -> None:
    y, x = np.ogrid[-1:1:120j, -1:1:120j]
    away = np.hypot(y, x)[..., None]
    soft = np.clip((0.6 - away) * 12, 0, 1)
    cell = 255 - soft * (70 + 80 * np.clip((0.35 - away) * 12, 0, 1)) * np.array([1, 1.2, 0.6])
    assert surround_of(cell.astype(np.uint8)) is None


@pytest.mark.parametrize("level", [0, 20, 128, 255])
@pytest.mark.parametrize("shape", [(8, 8), (40, 60), (300, 200)])
def test_a_blank_picture_has_nothing_round_it(level: int, shape: tuple[int, int]) -> None:
    assert surround_of(np.full((*shape, 3), level, np.uint8)) is None


def test_the_pixels_that_were_given_stay(field: np.ndarray) -> None:
    framed = page(255)(field)
    before = framed.copy()
    outside = surround_of(framed)
    assert outside is not None
    whole = painted(framed, outside)
    assert (framed == before).all()
    assert not whole.flags.writeable
    assert np.abs(whole[0, 0].astype(float) - ground_light(field)).max() < 6


@pytest.mark.realdata
def test_real_pictures_fill_their_frames(real_data: Path) -> None:
    from napari_bloodcell.core.datasets import load_dataset
    from napari_bloodcell.core.image import read_image

    for lab in ("jtsc", "cellavision", "bccd"):
        for cell in load_dataset(real_data / lab).cells[::4]:
            pixels = read_image(cell.path).pixels
            assert surround_of(pixels) is None
            assert surround_of(np.clip(pixels * 1.2, 0, 255).astype(np.uint8)) is None
