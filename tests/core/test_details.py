import numpy as np
import pytest

from napari_bloodcell.core.embed.details import CORES, DETAILS, NUCLEAR, details_of

SIZE = 96
Y, X = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
CHROMATIN, GREYISH, PINKISH = (0.9, 1.1, 0.5), (0.15, 0.2, 0.1), (0.1, 0.35, 0.25)


def disc(radius: float, x: float = 0, y: float = 0) -> np.ndarray:
    return (X - x) ** 2 + (Y - y) ** 2 <= radius**2


CELL, WHOLE = disc(42), disc(29)
LOBES = disc(10, -16, -8) | disc(10, 16, -8) | disc(10, 0, 16)


def cell(stained: np.ndarray, *, plasm=GREYISH, outline: np.ndarray = WHOLE, strength: float = 1.0):
    """Details of a cell whose chromatin is where it is ``stained``, inside the outline of its nucleus."""
    density = np.zeros((SIZE, SIZE, 3), np.float32)
    density[CELL] = plasm
    density[stained] = CHROMATIN
    return details_of(density * strength, CELL, outline, SIZE / 96)


def test_lobes_are_seen_inside_an_outline_drawn_around_all_of_them() -> None:
    one, three = cell(WHOLE), cell(LOBES)
    assert one["core_solidity"] > 0.95
    assert three["core_solidity"] < 0.85
    assert three["core_thickness"] < 0.8 * one["core_thickness"]
    assert (one["fine_core_pieces"], three["fine_core_pieces"]) == (1, 3)
    assert one["chromatin_range"] > 0.9
    assert three["chromatin_range"] < 0.4


def test_specks_and_what_lies_beyond_the_cell_are_no_core() -> None:
    assert cell(WHOLE | disc(3, 36))["fine_core_pieces"] == 1
    density = np.zeros((SIZE, SIZE, 3), np.float32)
    density[CELL], density[WHOLE], density[:6] = GREYISH, CHROMATIN, CHROMATIN
    assert details_of(density, CELL, WHOLE, 1.0)["core_solidity"] > 0.95


def test_pink_cytoplasm_is_told_from_grey_by_the_cells_own_nucleus() -> None:
    grey, pink = cell(WHOLE), cell(WHOLE, plasm=PINKISH)
    for name in ("eosin_contrast", "cytoplasm_eosin", "cytoplasm_hue_mid"):
        assert pink[name] > grey[name] + 0.1, name


def test_the_halo_of_a_generous_outline_does_not_dilute_the_cytoplasm() -> None:
    density = np.zeros((SIZE, SIZE, 3), np.float32)
    density[disc(34)], density[WHOLE] = PINKISH, CHROMATIN
    close = details_of(density, disc(34), WHOLE, 1.0)
    wide = details_of(density, CELL, WHOLE, 1.0)
    assert wide["cytoplasm_firm_share"] < close["cytoplasm_firm_share"] == 1
    assert wide["eosin_contrast"] == pytest.approx(close["eosin_contrast"], abs=0.02)


def test_shapes_and_evenness_do_not_hang_on_the_strength_of_the_stain() -> None:
    pale, strong = cell(LOBES, strength=0.7), cell(LOBES, strength=1.4)
    for name in CORES + NUCLEAR:
        assert strong[name] == pytest.approx(pale[name], abs=1e-5), name


@pytest.mark.parametrize("nucleus", [np.zeros((SIZE, SIZE), bool), CELL, disc(1)], ids=["none", "all", "dot"])
def test_cells_without_nucleus_or_cytoplasm_have_finite_details(nucleus: np.ndarray) -> None:
    for density in (np.zeros((SIZE, SIZE, 3), np.float32), np.ones((SIZE, SIZE, 3), np.float32)):
        found = details_of(density, CELL, nucleus, 1.0)
        assert tuple(found) == DETAILS
        assert np.isfinite(list(found.values())).all()
