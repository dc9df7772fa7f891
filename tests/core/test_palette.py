from itertools import combinations

import pytest

from napari_bloodcell.core.palette import PALETTES, colour_of
from napari_bloodcell.core.records import UNIDENTIFIED
from napari_bloodcell.core.taxonomy import COARSE, DEFAULT


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def test_every_class_has_a_colour() -> None:
    assert len({colour_of(name) for name in (*DEFAULT.names, UNIDENTIFIED)}) >= len(DEFAULT.names) - 2


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize(("one", "other"), list(combinations((*COARSE, UNIDENTIFIED), 2)))
def test_coarse_classes_are_told_apart_without_red_against_green(
    one: str, other: str, palette: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a red-green blind reader is left with: brightness and blue against yellow."""
    monkeypatch.setenv("BLOODCELL_PALETTE", palette)

    def seen(name: str) -> tuple[float, float]:
        r, g, b = rgb(colour_of(name))
        return 0.299 * r + 0.587 * g + 0.114 * b, b - (r + g) / 2

    assert max(abs(a - b) for a, b in zip(seen(one), seen(other), strict=True)) > 25


def test_a_labs_own_class_keeps_its_colour() -> None:
    assert colour_of("hairy_cell") == colour_of("hairy_cell") != colour_of("plasma_cell")
