import numpy as np
import pytest
from skimage import measure as measure_oracle

from napari_bloodcell.core.embed.measurements import (
    DETAILED,
    SCALE_FREE,
    DetailEmbedder,
    MeasurementEmbedder,
    measure,
)
from napari_bloodcell.core.records import Crops

SIZE = 96
Y, X = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2


def disc(radius: float, x: float = 0, y: float = 0) -> np.ndarray:
    return (X - x) ** 2 + (Y - y) ** 2 <= radius**2


def crops_of(
    nuclei: list[np.ndarray], *, cytoplasm=(210, 170, 210), um: float | None = None, scale: float = 1.0
) -> Crops:
    pixels = np.full((len(nuclei), SIZE, SIZE, 3), 240, np.uint8)
    parts = np.zeros((len(nuclei), SIZE, SIZE), np.uint8)
    for i, nucleus in enumerate(nuclei):
        parts[i][disc(42)] = 1
        parts[i][nucleus] = 2
        pixels[i][parts[i] == 1] = cytoplasm
        pixels[i][parts[i] == 2] = (90, 50, 150)
    return Crops(
        cell_id=np.arange(1, len(nuclei) + 1),
        pixels=pixels,
        parts=parts,
        px_per_crop_px=np.full(len(nuclei), scale),
        area_px=np.count_nonzero(parts, axis=(1, 2)) * scale**2,
        nucleus_area_px=np.count_nonzero(parts == 2, axis=(1, 2)) * scale**2,
        ground_rgb=np.array([240, 240, 240]),
        um_per_px=um,
    )


def table(crops: Crops) -> dict[str, np.ndarray]:
    measured = measure(crops)
    return dict(zip(measured.names, measured.values.T, strict=True))


def test_round_nucleus_is_round_and_three_lobes_are_three() -> None:
    lobes = disc(13, -18, 8) | disc(13, 18, 8) | disc(13, 0, -20) | ((abs(X) < 18) & (abs(Y - 8) < 3))
    lobes |= (abs(X + Y * 0.4) < 3) & (Y < 8) & (Y > -20)
    row = table(crops_of([disc(25), lobes]))
    np.testing.assert_array_equal(row["lobes"], [1, 3])
    assert row["nucleus_solidity"][0] > 0.95
    assert row["nucleus_solidity"][1] < 0.85
    assert row["nucleus_circularity"][0] == pytest.approx(1, abs=0.06)
    assert row["nucleus_thickness"][0] == pytest.approx(1, abs=0.05)
    assert row["nucleus_thickness"][1] < 0.7
    np.testing.assert_array_equal(row["nucleus_pieces"], [1, 1])


def test_separate_lobes_are_pieces_and_specks_are_not() -> None:
    row = table(crops_of([disc(14, -20) | disc(14, 20) | disc(1.5, 0, 30)]))
    assert row["nucleus_pieces"][0] == 2


def test_nc_ratio_is_the_share_of_the_nucleus() -> None:
    row = table(crops_of([disc(21), disc(42)]))
    assert row["nc_ratio"][0] == pytest.approx(0.25, abs=0.01)
    assert row["nc_ratio"][1] == pytest.approx(1.0)


def test_sizes_are_in_um_where_known_and_nan_where_not() -> None:
    known = table(crops_of([disc(21)], um=0.1, scale=2.0))
    assert known["diameter_um"][0] == pytest.approx(84 * 2 * 0.1, rel=0.01)
    assert known["nucleus_area_um2"][0] == pytest.approx(np.pi * (21 * 0.2) ** 2, rel=0.02)
    unknown = table(crops_of([disc(21)]))
    assert np.isnan(unknown["diameter_um"][0])
    assert unknown["area_px"][0] == pytest.approx(np.pi * 42**2, rel=0.01)


def test_lengths_are_those_of_the_ellipse_that_was_drawn() -> None:
    """A cell of 30 x 18 crop pixels (half axes), 0.2 µm each in the crop."""
    crops = crops_of([disc(10)], um=0.1, scale=2.0)
    parts = (((X / 30) ** 2 + (Y / 18) ** 2 <= 1).astype(np.uint8))[None]
    area = np.count_nonzero(parts, axis=(1, 2)) * 4
    row = table(Crops(**{**vars(crops), "parts": parts, "area_px": area}))
    assert row["cell_length_um"][0] == pytest.approx(60 * 0.2, rel=0.02)
    assert row["cell_width_um"][0] == pytest.approx(36 * 0.2, rel=0.02)
    around = np.pi * (3 * 48 - np.sqrt((3 * 30 + 18) * (30 + 3 * 18)))  # Ramanujan
    assert row["cell_perimeter_um"][0] == pytest.approx(around * 0.2, rel=0.03)


def test_a_cell_that_its_crop_shows_only_in_part_has_no_length() -> None:
    crops = crops_of([disc(10)], um=0.1)
    row = table(Crops(**{**vars(crops), "area_px": np.asarray(crops.area_px) * 2}))
    assert np.isnan(row["cell_length_um"][0])
    assert np.isfinite(row["diameter_um"][0])


def test_parts_add_up() -> None:
    row = table(crops_of([disc(21)], um=0.1, scale=2.0))
    assert row["nucleus_diameter_um"][0] == pytest.approx(42 * 0.2, rel=0.02)
    whole = row["nucleus_area_um2"][0] + row["cytoplasm_area_um2"][0]
    assert whole == pytest.approx(row["area_um2"][0], rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_shapes_agree_with_scikit_image(seed: int) -> None:
    """Uneven nuclei: the same solidity, elongation, pieces and circularity as its region properties."""
    rng = np.random.default_rng(seed)
    nucleus = disc(15) & ~disc(9, 10, 10)
    for _ in range(4):
        nucleus |= disc(rng.uniform(5, 10), rng.uniform(-18, 18), rng.uniform(-18, 18))
    row = table(crops_of([nucleus]))
    oracle = measure_oracle.regionprops(nucleus.astype(np.uint8))[0]
    assert row["nucleus_solidity"][0] == pytest.approx(oracle.solidity, abs=0.03)
    elongation = 1 - oracle.axis_minor_length / oracle.axis_major_length
    assert row["nucleus_elongation"][0] == pytest.approx(elongation, abs=0.01)
    perimeter = measure_oracle.perimeter_crofton(nucleus, 4)
    assert row["nucleus_circularity"][0] == pytest.approx(4 * np.pi * oracle.area / perimeter**2, rel=0.12)
    parts = measure_oracle.regionprops(measure_oracle.label(nucleus, connectivity=1))
    assert row["nucleus_pieces"][0] == sum(p.area > 0.05 * nucleus.sum() for p in parts)


def test_stain_densities_are_the_mean_optical_density_of_each_part() -> None:
    row = table(crops_of([disc(20)]))
    for channel, nucleus, plasm in zip(("red", "green", "blue"), (90, 50, 150), (210, 170, 210), strict=True):
        assert row[f"nucleus_density_{channel}"][0] == pytest.approx(np.log10(240 / nucleus), abs=1e-4)
        assert row[f"cytoplasm_density_{channel}"][0] == pytest.approx(np.log10(240 / plasm), abs=1e-4)


def test_vectors_know_neither_magnification_nor_pixel_size() -> None:
    for embedder, names in ((MeasurementEmbedder(), SCALE_FREE), (DetailEmbedder(), DETAILED)):
        one = embedder.embed(crops_of([disc(20, 5)]))
        other = embedder.embed(crops_of([disc(20, 5)], um=0.2, scale=3.0))
        np.testing.assert_array_equal(one.values, other.values)
        assert one.names == names


def test_eosin_in_the_cytoplasm_shows_as_its_hue() -> None:
    grey = table(crops_of([disc(20)], cytoplasm=(190, 190, 190)))["cytoplasm_hue"][0]
    orange = table(crops_of([disc(20)], cytoplasm=(235, 170, 140)))["cytoplasm_hue"][0]
    blue = table(crops_of([disc(20)], cytoplasm=(140, 170, 235)))["cytoplasm_hue"][0]
    assert blue < grey < orange


def test_granules_show_as_granularity() -> None:
    smooth, grained = crops_of([disc(20)]), crops_of([disc(20)])
    pixels = np.array(grained.pixels)
    dots = (X.astype(int) % 6 < 3) & (Y.astype(int) % 6 < 3) & (grained.parts[0] == 1)
    pixels[0][dots] = (120, 60, 130)
    grained = Crops(**{**vars(grained), "pixels": pixels})
    assert table(grained)["granularity_fine"][0] > 5 * table(smooth)["granularity_fine"][0]


@pytest.mark.parametrize("nucleus", [np.zeros((SIZE, SIZE), bool), disc(0.6), np.ones((SIZE, SIZE), bool)])
def test_missing_tiny_and_overfull_nuclei_give_finite_vectors(nucleus: np.ndarray) -> None:
    assert np.isfinite(MeasurementEmbedder().embed(crops_of([nucleus])).values).all()


def test_no_cells_give_an_empty_table() -> None:
    measured = measure(crops_of([]))
    assert measured.values.shape == (0, len(measured.names))
