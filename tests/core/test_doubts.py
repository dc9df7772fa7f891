"""What is hard to believe of a picture is told, and what is as it should be is not."""

from pathlib import Path

import numpy as np
import pytest

from napari_bloodcell.core.config import SmearConfig
from napari_bloodcell.core.image import read_image
from napari_bloodcell.core.records import SmearImage
from napari_bloodcell.core.segment import StainSegmenter
from napari_bloodcell.core.segment.doubts import doubts_of
from napari_bloodcell.core.segment.survey import survey
from napari_bloodcell.core.synthetic import make_smear

LOOKS = ("giemsa_blue", "rapid_yellow", "wright_cream", "may_gruenwald_white", "leishman_pink")


def told(pixels: np.ndarray, um_per_px: float | None = None) -> str:
    pixels = np.ascontiguousarray(pixels)
    seen = survey(pixels, um_per_px)
    assert seen is not None
    return " ".join(doubts_of(pixels, pixels, seen))


@pytest.mark.parametrize("look", LOOKS)
def test_a_smear_as_it_should_be_raises_no_doubt(look: str) -> None:
    for seed in range(3):
        smear = make_smear(SmearConfig(look=look, seed=seed))
        assert told(smear.image.pixels, smear.image.um_per_px) == ""


@pytest.mark.parametrize("look", LOOKS)
def test_an_inverted_picture_is_told(look: str) -> None:
    pixels = make_smear(SmearConfig(look=look, seed=1)).image.pixels
    assert "looks inverted" in told(255 - pixels)


def test_red_and_blue_that_were_exchanged_are_told() -> None:
    pixels = make_smear(SmearConfig(look="giemsa_blue", seed=1)).image.pixels
    assert "red and blue look exchanged" in told(pixels[..., ::-1])


@pytest.mark.parametrize("factor", [0.1, 0.4, 2.5, 12])
def test_a_pixel_size_that_red_cells_contradict_is_told_with_one_that_fits(factor: float) -> None:
    true = 0.1
    smear = make_smear(SmearConfig(um_per_px=true, width_px=900, height_px=700, crowding=0.3, seed=0))
    assert told(smear.image.pixels, true) == ""
    said = told(smear.image.pixels, true * factor)
    assert f"pixels of {true * factor:.3g} µm" in said
    fits = float(said.partition("wrong, so are cells and classes. ")[2].partition(" ")[0])
    assert 0.8 < fits / true < 1.25


@pytest.mark.parametrize("look", LOOKS)
def test_an_overexposed_picture_is_told(look: str) -> None:
    pixels = make_smear(SmearConfig(look=look, seed=1)).image.pixels
    assert "of the picture is pure white" in told(np.clip(pixels * 1.6, 0, 255).astype(np.uint8))


def test_a_dark_picture_is_told() -> None:
    pixels = make_smear(SmearConfig(look="giemsa_blue", seed=1)).image.pixels
    assert "the picture is dark" in told((pixels * 0.25).astype(np.uint8))
    assert told((pixels * 0.6).astype(np.uint8)) == ""


def test_the_doubt_is_a_note_of_the_cells() -> None:
    smear = make_smear(SmearConfig(seed=1)).image
    masks = StainSegmenter().segment(SmearImage(pixels=255 - smear.pixels))
    assert any("looks inverted" in note for note in masks.about_image)


@pytest.mark.realdata
def test_real_pictures_raise_no_doubt_and_inverted_ones_do(real_data: Path) -> None:
    fields = sorted((real_data / "bccd" / "fields").iterdir())[::12]
    assert len(fields) > 15
    pixels = [read_image(path).pixels for path in fields]
    assert [told(one) for one in pixels] == [""] * len(fields)
    assert sum("looks inverted" in told(255 - one) for one in pixels) > 0.8 * len(fields)
