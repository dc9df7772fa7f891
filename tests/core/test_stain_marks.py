"""Scale bars and letters in a picture: left out, and told."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_bloodcell.core.config import SmearConfig
from napari_bloodcell.core.pipeline import analyse
from napari_bloodcell.core.records import SmearImage
from napari_bloodcell.core.robustness import match_cells
from napari_bloodcell.core.stain.lamp import evened
from napari_bloodcell.core.stain.marks import without_marks
from napari_bloodcell.core.synthetic import make_smear

CORNER = np.s_[455:463, 500:620]


@pytest.fixture(scope="module")
def field() -> np.ndarray:
    return np.array(make_smear(SmearConfig(width_px=640, height_px=480, white_cells=4, seed=8)).image.pixels)


def with_bar(
    field: np.ndarray, colour: tuple[int, int, int], where: tuple[slice, slice] = CORNER
) -> np.ndarray:
    barred = field.copy()
    barred[where] = colour
    return barred


@pytest.mark.parametrize("colour", [(0, 0, 0), (8, 4, 10), (255, 0, 0), (0, 0, 255), (255, 255, 0)])
def test_a_bar_is_painted_over_and_counted(field: np.ndarray, colour: tuple[int, int, int]) -> None:
    barred = with_bar(field, colour)
    before = barred.copy()
    clean, pixels = without_marks(barred)
    assert pixels == 8 * 120
    assert clean[CORNER].min() > 100
    far = np.s_[:440]
    assert (clean[far] == field[far]).all()
    assert (barred == before).all()
    assert not clean.flags.writeable


@pytest.mark.parametrize("seed", range(6))
def test_nothing_that_is_stained_is_a_mark(seed: int) -> None:
    made = make_smear(SmearConfig(width_px=320, height_px=240, white_cells=3, seed=seed)).image.pixels
    assert without_marks(made)[0] is made


@pytest.mark.parametrize("level", [0, 20, 120, 255])
def test_a_blank_picture_stays(level: int) -> None:
    blank = np.full((120, 160, 3), level, np.uint8)
    assert without_marks(blank)[0] is blank


def test_a_dark_picture_has_no_marks(field: np.ndarray) -> None:
    dim = (field * 0.3).astype(np.uint8)
    assert without_marks(dim)[0] is dim


def test_specks_without_number_take_no_time(field: np.ndarray) -> None:
    specks = field.copy()
    specks[np.random.default_rng(0).random(field.shape[:2]) < 0.1] = 0
    start = time.perf_counter()
    assert without_marks(specks)[0] is specks
    assert time.perf_counter() - start < 2


def test_a_few_black_pixels_are_no_mark(field: np.ndarray) -> None:
    dotted = with_bar(field, (0, 0, 0), np.s_[10:13, 10:13])
    assert without_marks(dotted)[0] is dotted


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 0, 0)])
def test_the_cells_are_those_of_the_picture_without_a_bar(
    field: np.ndarray, colour: tuple[int, int, int]
) -> None:
    plain, barred = analyse(field), analyse(with_bar(field, colour))
    partner, overlap = match_cells(plain.masks.labels, barred.masks.labels, plain.masks.cell_id)
    away = plain.masks.boxes_xyxy[:, 3] < 450  # the bar may lie on a cell
    assert overlap[away].min() > 0.9
    names = dict(zip(barred.masks.cell_id.tolist(), barred.predictions.top(0)[0].tolist(), strict=True))
    expected = plain.predictions.top(0)[0][away].tolist()
    assert [names[cell] for cell, is_away in zip(partner, away, strict=True) if is_away] == expected
    assert "marks drawn into the picture (960 pixels" in " ".join(barred.masks.about_image)
    assert not [note for note in plain.masks.notes if "marks" in note]


def test_marks_are_left_out_with_evening_off_too(field: np.ndarray) -> None:
    image = SmearImage(pixels=with_bar(field, (0, 0, 0)), even_light=False)
    assert evened(image)[CORNER].min() > 100
    assert evened(replace(image, pixels=field)) is not image.pixels


@pytest.mark.realdata
def test_no_real_cell_is_taken_for_a_mark(real_data: Path) -> None:
    from napari_bloodcell.core.datasets import load_dataset
    from napari_bloodcell.core.image import read_image

    for lab in ("jtsc", "cellavision", "bccd"):
        for cell in load_dataset(real_data / lab).cells[::4]:
            assert without_marks(read_image(cell.path).pixels)[1] == 0
