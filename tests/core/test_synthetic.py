"""Synthetic smears: one seed one picture, masks that fit, kinds that differ as real ones do."""

import numpy as np
import pytest

from napari_bloodcell.core.config import SmearConfig
from napari_bloodcell.core.errors import Cancelled, ConfigError
from napari_bloodcell.core.synthetic import KINDS, LOOKS, MAIN_KINDS, make_cells, make_smear, random_look
from napari_bloodcell.core.synthetic.fields import noise, patch_around, strokes, wavy
from napari_bloodcell.core.taxonomy import FINE


def small(**changes: object) -> SmearConfig:
    values = {"width_px": 320, "height_px": 240, "um_per_px": 0.15, "white_cells": 3} | changes
    return SmearConfig.from_json(values)


@pytest.fixture(scope="module")
def smear():
    return make_smear(SmearConfig(seed=7, white_cells=5))


@pytest.fixture(scope="module")
def cells():
    return make_cells(24, seed=3, size_px=96)


def test_one_seed_gives_one_picture():
    one, two = make_smear(small(look="random", seed=5)), make_smear(small(look="random", seed=5))
    np.testing.assert_array_equal(one.image.pixels, two.image.pixels)
    np.testing.assert_array_equal(one.masks.labels, two.masks.labels)
    assert one.image.sha256 == two.image.sha256
    assert one.class_names == two.class_names


def test_another_seed_gives_another_picture():
    assert make_smear(small(seed=1)).image.sha256 != make_smear(small(seed=2)).image.sha256


def test_the_global_random_state_is_neither_used_nor_changed():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    make_smear(small())
    make_cells(1, seed=0, size_px=48)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_the_picture_says_its_scale_name_and_hash(smear):
    assert smear.image.pixels.shape == (480, 640, 3)
    assert smear.image.um_per_px == smear.masks.um_per_px == 0.08
    assert smear.image.name == "synthetic-giemsa_blue-7"
    assert len(smear.image.sha256) == 64
    assert smear.masks.scale_source == "given"


def test_masks_fit_their_boxes(smear):
    masks = smear.masks
    assert masks.cell_id.tolist() == [1, 2, 3, 4, 5]
    assert set(np.unique(masks.labels)) == {0, 1, 2, 3, 4, 5}
    assert not np.any(masks.nucleus & (masks.labels == 0))
    height, width = masks.labels.shape
    for cell, box, at_border in zip(masks.cell_id, masks.boxes_xyxy, masks.touches_border, strict=True):
        rows, columns = np.nonzero(masks.labels == cell)
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert at_border == (box[0] == 0 or box[1] == 0 or box[2] == width or box[3] == height)


def test_each_cell_has_a_class_of_the_taxonomy(smear):
    assert len(smear.class_names) == len(smear.masks)
    assert set(smear.class_names) <= set(FINE)
    assert set(KINDS) <= set(FINE)


@pytest.mark.parametrize("count", [0, 1, 6])
def test_as_many_white_cells_as_asked_for(count):
    smear = make_smear(small(white_cells=count, seed=count))
    assert len(smear.masks) == len(smear.class_names) == count
    assert smear.masks.boxes_xyxy.shape == (count, 4)


def test_more_cells_than_fit_are_refused_by_name():
    with pytest.raises(ConfigError, match=r"white_cells = 300 do not fit a field of 48 x 36 µm"):
        make_smear(small(white_cells=300))


def test_the_nucleus_is_darker_than_the_cytoplasm_and_that_than_the_ground(smear):
    green = smear.image.pixels[..., 1].astype(float)
    inside = smear.masks.labels > 0
    nucleus, cytoplasm = green[smear.masks.nucleus], green[inside & ~smear.masks.nucleus]
    assert nucleus.mean() + 20 < cytoplasm.mean() < np.percentile(green, 95) - 20


def test_red_cells_and_platelets_lie_in_the_picture(smear):
    for boxes in (smear.red_boxes_xyxy, smear.platelet_boxes_xyxy):
        assert boxes.dtype == np.int32
        assert np.all(boxes >= 0)
        assert np.all(boxes <= [640, 480, 640, 480])
    wide = (smear.red_boxes_xyxy[:, 2:] - smear.red_boxes_xyxy[:, :2]).max(axis=1) * 0.08
    assert 5.5 < np.median(wide) < 9
    assert len(smear.red_boxes_xyxy) > 10


def test_without_crowding_there_are_no_red_cells():
    assert len(make_smear(small(crowding=0)).red_boxes_xyxy) == 0
    few, many = (len(make_smear(small(crowding=c)).red_boxes_xyxy) for c in (0.2, 0.9))
    assert 0 < few < many


def test_looks_differ():
    grounds = {}
    for look in LOOKS:
        pixels = make_smear(small(look=look)).image.pixels.reshape(-1, 3)
        grounds[look] = np.percentile(pixels, 90, axis=0)
    names = list(grounds)
    for i, one in enumerate(names):
        for two in names[:i]:
            assert np.abs(grounds[one] - grounds[two]).max() > 8, (one, two)


def test_the_config_offers_every_look():
    for look in (*LOOKS, "random"):
        assert small(look=look).look == look
    assert SmearConfig().look == next(iter(LOOKS))


def test_random_looks_spread_widely_and_stay_pictures():
    rng = np.random.default_rng(0)
    looks = [random_look(rng) for _ in range(200)]
    light = np.array([look.light for look in looks])
    assert np.all(light.std(axis=0) > 0.04)
    assert np.all((light > 0.4) & (light < 1.15))
    assert all(look.absorbance[1, 1] > 0.5 for look in looks)  # chromatin always takes green light


def test_blood_is_mostly_neutrophils():
    names = make_smear(
        SmearConfig(width_px=640, height_px=640, um_per_px=0.4, white_cells=60, mix="blood", crowding=0)
    ).class_names
    assert sum("neutrophil" in n for n in names) > 24
    assert sum("basophil" in n for n in names) < 6


def test_progress_is_called_once_a_cell_and_can_cancel():
    calls: list[tuple[int, int]] = []
    make_smear(small(), progress=lambda _stage, done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]

    def cancel(_stage: str, done: int, total: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        make_cells(2, seed=0, size_px=48, progress=cancel)


def test_cells_do_not_depend_on_how_many_are_drawn(cells):
    fewer = make_cells(5, seed=3, size_px=96)
    np.testing.assert_array_equal(fewer.pixels, cells.pixels[:5])
    np.testing.assert_array_equal(fewer.parts, cells.parts[:5])
    np.testing.assert_array_equal(fewer.um_per_px, cells.um_per_px[:5])


def test_cells_are_centred_whole_and_of_the_announced_size(cells):
    for parts in cells.parts:
        rows, columns = np.nonzero(parts)
        extent = max(np.ptp(rows), np.ptp(columns)) + 1
        assert 0.33 * 96 <= extent <= 0.92 * 96
        middle = np.array([rows.min() + rows.max(), columns.min() + columns.max()]) / 2
        assert np.abs(middle - 47.5).max() < 4
        assert set(np.unique(parts)) == {0, 1, 2}


def test_classes_take_turns(cells):
    assert cells.class_names[: len(MAIN_KINDS)] == MAIN_KINDS
    chosen = make_cells(3, seed=0, size_px=48, classes=["basophil", "monocyte"])
    assert chosen.class_names == ("basophil", "monocyte", "basophil")


def test_no_cells_are_valid():
    none = make_cells(0, seed=0)
    assert len(none) == 0
    assert none.pixels.shape == (0, 128, 128, 3)


def test_an_unknown_class_or_look_is_named():
    with pytest.raises(ConfigError, match=r"Cannot draw \['blob'\]"):
        make_cells(1, seed=0, classes=["blob"])
    with pytest.raises(ConfigError, match="There is no look 'sepia'"):
        make_cells(1, seed=0, look="sepia")


def shares(name: str) -> tuple[float, float]:
    """Mean share of the nucleus in the cell, and mean diameter in µm."""
    drawn = make_cells(10, seed=1, size_px=64, classes=[name], look="wright_cream")
    nucleus = (drawn.parts == 2).sum(axis=(1, 2)) / (drawn.parts > 0).sum(axis=(1, 2))
    diameter = 2 * np.sqrt((drawn.parts > 0).sum(axis=(1, 2)) / np.pi) * drawn.um_per_px
    return float(nucleus.mean()), float(diameter.mean())


def test_lymphocytes_are_small_and_all_nucleus_monocytes_are_not():
    (lymphocyte, small_um), (monocyte, large_um) = shares("lymphocyte_typical"), shares("monocyte")
    assert lymphocyte > monocyte + 0.1
    assert small_um < 12
    assert large_um > 14
    assert 0.2 < shares("neutrophil_segmented")[0] < 0.45


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_kind_can_be_drawn(name):
    drawn = make_cells(2, seed=4, size_px=64, classes=[name])
    assert np.all((drawn.parts == 2).sum(axis=(1, 2)) > 60)


def test_granules_of_eosinophils_are_redder_than_those_of_basophils():
    colours = {}
    for name in ("eosinophil", "basophil"):
        drawn = make_cells(4, seed=2, size_px=64, classes=[name], look="wright_cream")
        colours[name] = drawn.pixels[drawn.parts == 1].mean(axis=0)
    assert (
        colours["eosinophil"][0] - colours["eosinophil"][2]
        > colours["basophil"][0] - colours["basophil"][2] + 15
    )


@pytest.mark.parametrize("sigma", [0.2, 0.5, 2.0, 6.0])
def test_noise_has_unit_variance(sigma):
    rng = np.random.default_rng(0)
    assert 0.85 < np.mean([noise(rng, (120, 90), sigma).std() for _ in range(8)]) < 1.1


def test_depth_is_positive_inside_and_measured_in_um():
    patch = patch_around((5.0, 5.0), 5.0, (100, 100), 0.1)
    depth = strokes(patch, np.zeros((1, 2)), np.array([2.0]))
    assert depth.max() == pytest.approx(2.0, abs=0.1)
    assert (depth > 0).sum() * 0.01 == pytest.approx(np.pi * 4, rel=0.03)
    disc = wavy(np.random.default_rng(0), 3.0, 0.0, 0.0)
    assert (disc.depth(patch) > 0).sum() * 0.01 == pytest.approx(np.pi * 9, rel=0.03)
