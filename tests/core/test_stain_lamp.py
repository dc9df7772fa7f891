"""A field under an uneven lamp: read as under an even one, where the ground shows how."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_bloodcell.core.config import AnalyseConfig, ReadConfig, SmearConfig
from napari_bloodcell.core.image import from_array
from napari_bloodcell.core.pipeline import analyse
from napari_bloodcell.core.records import SmearImage
from napari_bloodcell.core.robustness import match_cells
from napari_bloodcell.core.segment.choose import find_segmenter
from napari_bloodcell.core.stain import ground_light, lamp
from napari_bloodcell.core.stain.lamp import even_light, evened, light_fall
from napari_bloodcell.core.synthetic import make_smear

HEIGHT, WIDTH = 600, 800


@pytest.fixture(scope="module")
def field() -> np.ndarray:
    made = make_smear(SmearConfig(width_px=WIDTH, height_px=HEIGHT, white_cells=8, seed=3)).image.pixels
    return np.array(even_light(made)[0])


def to_the_corners(pixels: np.ndarray, fall: float) -> np.ndarray:
    y, x = np.ogrid[-1 : 1 : 1j * pixels.shape[0], -1 : 1 : 1j * pixels.shape[1]]
    return np.rint(pixels * (1 - fall * (x**2 + y**2) / 2)[..., None]).astype(np.uint8)


def to_one_side(pixels: np.ndarray, fall: float) -> np.ndarray:
    return np.rint(pixels * np.linspace(1, 1 - fall, pixels.shape[1])[None, :, None]).astype(np.uint8)


@pytest.mark.parametrize("darken", [to_the_corners, to_one_side])
@pytest.mark.parametrize("fall", [0.15, 0.3, 0.45])
def test_what_the_lamp_took_is_given_back(field: np.ndarray, darken, fall: float) -> None:
    spoilt = darken(field, fall)
    even, found = even_light(spoilt)
    assert found == pytest.approx(fall, abs=0.06)
    # Up to one factor: nobody knows how bright the lamp was.
    seen, truth = even / ground_light(even), field / ground_light(field)
    assert np.abs(seen - truth).mean() < 0.02
    assert np.abs(spoilt / ground_light(spoilt) - truth).mean() > 3 * np.abs(seen - truth).mean()


def test_a_field_that_is_even_is_not_copied(field: np.ndarray) -> None:
    image = SmearImage(pixels=field)
    assert evened(image) is image.pixels
    assert light_fall(image) == 0


def test_the_pixels_that_were_read_stay(field: np.ndarray) -> None:
    spoilt = to_one_side(field, 0.3)
    before = spoilt.copy()
    image = from_array(spoilt)
    assert light_fall(image) > 0.2
    assert (image.pixels == before).all()
    assert (spoilt == before).all()
    assert not evened(image).flags.writeable


def test_it_can_be_switched_off(field: np.ndarray) -> None:
    image = from_array(to_one_side(field, 0.3), ReadConfig(even_light=False))
    assert evened(image) is image.pixels


@pytest.mark.parametrize("covered", [0.5, 0.8, 1.0])
def test_a_sheet_of_red_cells_is_no_darker_lamp(covered: float) -> None:
    """An even lamp, and red cells so dense that no ground is seen between them over part of the field."""
    pixels = np.full((HEIGHT, WIDTH, 3), (240, 238, 240))
    pixels[:, : int(covered * WIDTH)] = (215, 150, 140)
    pixels += np.random.default_rng(0).integers(-4, 5, pixels.shape)
    assert light_fall(SmearImage(pixels=pixels.astype(np.uint8))) == 0


def test_gray_smudges_are_no_darker_lamp(field: np.ndarray) -> None:
    smudged = field.astype(np.float32)
    y, x = np.ogrid[:HEIGHT, :WIDTH]
    for at in ((150, 200), (420, 600)):
        smudged[(y - at[0]) ** 2 + (x - at[1]) ** 2 < 60**2] *= 0.75
    assert light_fall(SmearImage(pixels=smudged.astype(np.uint8))) < 0.06


def test_a_shadow_over_half_a_field_is_no_lamp(field: np.ndarray) -> None:
    spoilt = to_one_side(field, 0.9)
    assert light_fall(SmearImage(pixels=spoilt)) == 0


@pytest.mark.parametrize("shape", [(8, 8), (449, 900)])
def test_a_small_picture_is_left_alone(field: np.ndarray, shape: tuple[int, int]) -> None:
    spoilt = to_one_side(np.resize(field, (*shape, 3)), 0.3)
    assert light_fall(SmearImage(pixels=spoilt)) == 0


def test_a_picture_larger_than_any_cameras_field_is_left_alone(
    field: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lamp, "LARGEST_PX", HEIGHT * WIDTH - 1)
    assert light_fall(SmearImage(pixels=to_one_side(field, 0.3))) == 0


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (120, 120, 120)])
def test_a_blank_picture_is_left_alone(colour: tuple[int, int, int]) -> None:
    assert light_fall(SmearImage(pixels=np.full((HEIGHT, WIDTH, 3), colour, np.uint8))) == 0


def test_an_uneven_field_gives_the_cells_of_the_even_one(field: np.ndarray) -> None:
    even, spoilt = analyse(field), analyse(to_the_corners(field, 0.45))
    assert len(spoilt.masks) == len(even.masks)
    _, overlap = match_cells(even.masks.labels, spoilt.masks.labels, even.masks.cell_id)
    assert overlap.min() > 0.85
    order = np.argsort(match_cells(even.masks.labels, spoilt.masks.labels, even.masks.cell_id)[0])
    assert spoilt.predictions.top(0)[0][np.argsort(order)].tolist() == even.predictions.top(0)[0].tolist()
    assert "the light was uneven" in spoilt.masks.notes[0]
    assert not any("light" in note for note in even.masks.notes)
    as_it_is = analyse(to_the_corners(field, 0.45), config=AnalyseConfig(read=ReadConfig(even_light=False)))
    _, worse = match_cells(even.masks.labels, as_it_is.masks.labels, even.masks.cell_id)
    assert worse.mean() < overlap.mean()


def test_outlines_of_tiles_are_those_of_the_whole_uneven_field(field: np.ndarray) -> None:
    image = SmearImage(pixels=to_one_side(field, 0.3))
    segmenter = find_segmenter("stain")
    whole = segmenter.segment(image)
    tiled = segmenter.segment(image, replace(AnalyseConfig().segment, tile_px=300))
    assert (whole.labels > 0).sum() == (tiled.labels > 0).sum()


@pytest.mark.realdata
def test_real_fields_keep_their_outlines_under_an_uneven_lamp(real_data: Path) -> None:
    from napari_bloodcell.core.image import read_image

    segmenter = find_segmenter("nano")
    with_it, without = [], []
    for path in sorted((real_data / "bccd" / "fields").iterdir())[:12]:
        field = read_image(path)
        spoilt = to_the_corners(np.array(evened(field)), 0.45)
        truth = segmenter.segment(replace(field, pixels=evened(field), even_light=False))
        for found, on in ((with_it, True), (without, False)):
            again = segmenter.segment(SmearImage(pixels=spoilt, even_light=on))
            _, overlap = match_cells(truth.labels, again.labels, truth.cell_id)
            found.extend(overlap.tolist())
    assert np.mean(with_it) > 0.93
    assert np.mean(with_it) > np.mean(without)
