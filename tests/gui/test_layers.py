"""Image layers to pictures, results to layers; what the person has stays as it is."""

import json

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_bloodcell.core.config import AnalyseConfig, ReadConfig
from napari_bloodcell.core.errors import ImageError
from napari_bloodcell.core.palette import colour_of
from napari_bloodcell.core.progress import silent
from napari_bloodcell.gui import layers
from napari_bloodcell.gui.outlines import outlined
from napari_bloodcell.gui.steps import added, at_once

pytestmark = pytest.mark.gui


@pytest.fixture
def viewer():
    """The model of a viewer: these tests need no window."""
    return ViewerModel()


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)


def picture(viewer, *args, **kwargs):
    return layers.picture_of(viewer.add_image(*args, **kwargs), viewer)


def test_an_rgb_layer_is_read_as_it_is(viewer, rgb):
    smear = picture(viewer, rgb, name="mine").read(ReadConfig())
    np.testing.assert_array_equal(smear.pixels, rgb)
    assert smear.name == "mine"
    assert smear.um_per_px is None


def test_a_pyramid_is_read_at_its_finest_level(viewer, rgb):
    smear = picture(viewer, [rgb, rgb[::2, ::2], rgb[::4, ::4]], multiscale=True).read(ReadConfig())
    np.testing.assert_array_equal(smear.pixels, rgb)


def test_a_lazy_layer_is_not_computed_before_the_task(viewer, rgb):
    computed = []

    def block(part):
        computed.append(part.shape)
        return part

    lazy = da.from_array(rgb, chunks=(20, 20, 3)).map_blocks(block, dtype=np.uint8, meta=np.empty((0, 0, 0)))
    layer = viewer.add_image(lazy, rgb=True)
    computed.clear()
    taken = layers.picture_of(layer, viewer)
    assert computed == []
    np.testing.assert_array_equal(taken.read(ReadConfig()).pixels, rgb)
    assert computed


def test_channels_in_front_are_put_in_order_by_the_core(viewer, rgb):
    smear = picture(viewer, np.moveaxis(rgb, -1, 0), rgb=False).read(ReadConfig())
    np.testing.assert_array_equal(smear.pixels, rgb)


def test_of_a_stack_the_shown_plane_is_read_and_covered(viewer, rgb):
    stack = np.stack([rgb, rgb[::-1], rgb[:, ::-1]])
    layer = viewer.add_image(stack, rgb=True, name="stack", scale=(5, 2, 2), translate=(100, 0, 0))
    viewer.dims.set_point(0, 110)
    taken = layers.picture_of(layer, viewer)
    np.testing.assert_array_equal(taken.read(ReadConfig()).pixels, stack[2])
    assert taken.name == "stack [2]"
    assert taken.lead == 1
    np.testing.assert_allclose(taken.placement["translate"], (110, 0, 0))


def test_a_gray_layer_is_passed_on_and_the_core_decides(viewer):
    taken = picture(viewer, np.zeros((40, 60), np.uint8))
    assert taken.pixels.shape == (40, 60)


@pytest.mark.parametrize(
    ("scale", "units", "expected"),
    [
        ((0.1, 0.1), ("um", "um"), 0.1),
        ((100, 100), ("nm", "nm"), 0.1),
        ((0.0001, 0.0001), ("mm", "mm"), 0.1),
        ((0.1, 0.1), None, None),
        ((1, 1), ("pixel", "pixel"), None),
        ((0.1, 0.2), ("um", "um"), None),
    ],
)
def test_the_pixel_size_is_taken_only_where_units_are_lengths(viewer, rgb, scale, units, expected):
    taken = picture(viewer, rgb, scale=scale, units=units)
    assert taken.um_per_px == (None if expected is None else pytest.approx(expected))
    assert taken.read(ReadConfig()).um_per_px == taken.um_per_px


def test_a_pixel_size_that_was_set_wins(viewer, rgb):
    taken = picture(viewer, rgb, scale=(0.1, 0.1), units=("um", "um"))
    assert taken.read(ReadConfig(um_per_px=0.3)).um_per_px == 0.3


def test_what_is_no_image_layer_is_refused(viewer):
    labels = viewer.add_labels(np.zeros((4, 4), int))
    for wrong in (labels, None):
        with pytest.raises(ImageError, match="No image is chosen"):
            layers.picture_of(wrong, viewer)
    assert layers.images(viewer) == []


def add(viewer, taken, made_up):
    analysis, table = made_up(taken, "nano", AnalyseConfig(), silent)
    list(layers.add_analysis(viewer, taken, analysis, table, layers.rims_of(analysis.masks.labels)))


@pytest.fixture
def counted(viewer, add_smear, made_up):
    image = add_smear()
    taken = layers.picture_of(image, viewer)
    analysis, table = made_up(taken, "nano", AnalyseConfig(), silent)
    list(layers.add_analysis(viewer, taken, analysis, table, layers.rims_of(analysis.masks.labels)))
    return analysis


def test_a_count_becomes_three_layers_placed_as_the_image(viewer, counted):
    assert [layer.name for layer in viewer.layers] == [
        "smear",
        "smear nuclei",
        "smear classes",
        "smear cells",
    ]
    image, *added = viewer.layers
    for layer in added:
        np.testing.assert_allclose(layer.scale, image.scale)
        np.testing.assert_allclose(layer.translate, image.translate)
        assert layer.units == image.units
    cells = viewer.layers["smear cells"]
    np.testing.assert_array_equal(cells.data, counted.masks.labels)
    np.testing.assert_array_equal(viewer.layers["smear nuclei"].data > 0, counted.masks.nucleus)
    assert cells.contour == layers.OUTLINE_PX


def test_each_cell_has_its_row_found_by_index(viewer, counted):
    features = viewer.layers["smear cells"].features
    assert list(features.columns[:5]) == ["index", "label", "cell_type", "cell_type_prob", "doubt"]
    assert features["index"].tolist() == features["label"].tolist() == counted.masks.cell_id.tolist()
    assert features["cell_type"].dtype == "category"
    assert features["cell_type"].tolist() == counted.predictions.labels.tolist()
    assert features["cell_type_source"].iloc[0] == "bundle nano 000000000000"
    assert {"area_px", "nc_ratio", "lobes", "touches_border"} <= set(features)
    assert "image" not in features


def test_hovering_tells_the_right_row(viewer, counted):
    cells = viewer.layers["smear cells"]
    last = int(counted.masks.cell_id[-1])
    at = np.argwhere(counted.masks.labels == last)[20]
    told = cells.get_status(cells.data_to_world(at), world=True)["coordinates"]
    assert f"label: {last}, cell_type: {counted.predictions.labels[-1]}" in told


def test_the_rim_of_each_cell_has_the_colour_of_its_class(viewer, counted):
    from napari.utils.colormaps.standardize_color import transform_color

    classes, labels = viewer.layers["smear classes"], counted.masks.labels
    for label, name in zip(counted.masks.cell_id, counted.predictions.labels, strict=True):
        (code,) = set(np.unique(classes.data[labels == label])) - {0}
        np.testing.assert_allclose(
            classes.colormap.map(int(code)), transform_color(colour_of(name))[0], atol=1e-6
        )
        at = np.argwhere((labels == label) & (classes.data > 0))[0]
        told = classes.get_status(classes.data_to_world(at), world=True)["coordinates"]
        assert f"cell_type: {name}" in told
    assert not classes.data[labels == 0].any()


def test_layers_say_what_they_were_made_from(viewer, counted):
    for name in ("smear cells", "smear classes", "smear nuclei"):
        told = viewer.layers[name].metadata["napari_bloodcell"]
        assert told["schema"] == 1
        assert told["role"] == name.removeprefix("smear ")
        names = list(counted.predictions.class_names)
        assert told["bundle"] == {"name": "nano", "sha256": "0" * 64, "classes": names}
        assert told["made"] == viewer.layers["smear cells"].metadata["napari_bloodcell"]["made"]
        assert told["image"] == {
            "sha256": counted.image.sha256,
            "um_per_px": 0.1,
            "layer": "smear",
            "source": None,
            "layer_id": str(viewer.layers["smear"].unique_id),
        }
        assert AnalyseConfig.from_json(json.loads(json.dumps(told["config"]))) == AnalyseConfig()


def test_layers_can_be_painted_and_do_not_share_their_pixels(viewer, counted):
    cells, classes = viewer.layers["smear cells"], viewer.layers["smear classes"]
    before, own = classes.data[5, 5], counted.masks.labels[5, 5]
    cells.paint((5, 5), 77)
    assert cells.data[5, 5] == 77
    assert classes.data[5, 5] == before
    assert counted.masks.labels[5, 5] == own


def test_masks_alone_become_two_layers(viewer, add_smear, smear):
    from napari_bloodcell.core.segment import StainSegmenter

    taken = layers.picture_of(add_smear(), viewer)
    image = taken.read(ReadConfig())
    masks = StainSegmenter().segment(image)
    list(layers.add_masks(viewer, taken, image, masks, AnalyseConfig()))
    assert [layer.name for layer in viewer.layers] == ["smear", "smear nuclei", "smear cells"]
    told = viewer.layers["smear cells"].metadata["napari_bloodcell"]
    assert told["bundle"] is None
    assert told["segmenter"] == "stain-watershed"
    assert list(viewer.layers["smear cells"].features) == [
        *("index", "label", "touches_border", "um_per_px", "scale_source")
    ]


def test_results_lie_on_the_shown_plane_of_a_stack_only(viewer, smear, made_up):
    pixels = smear.image.pixels
    layer = viewer.add_image(np.stack([pixels, pixels[::-1]]), rgb=True, scale=(3, 1, 1))
    viewer.dims.set_point(0, 3)
    taken = layers.picture_of(layer, viewer)
    add(viewer, taken, made_up)
    cells = viewer.layers[-1]
    assert cells.name == "Image [1] cells"
    assert cells.data.shape == (1, *pixels.shape[:2])
    np.testing.assert_allclose(cells.translate, (3, 0, 0))
    assert cells.extent.world[0, 0] == 3
    viewer.dims.set_point(0, 0)  # looked at is another plane; the cells' own is read
    assert outlined(cells, viewer).picture.name == "Image [1]"


def test_an_image_without_cells_gives_empty_layers(viewer, made_up):
    layer = viewer.add_image(np.full((80, 90, 3), 230, np.uint8))
    taken = layers.picture_of(layer, viewer)
    add(viewer, taken, made_up)
    assert len(viewer.layers[-1].features) == 0
    assert viewer.layers[-1].data.max() == 0


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("field 3", "field 3 cells"),
        ("BloodImage_00094.jpg", "BloodImage_00094 cells"),
        ("smear.ome.tif", "smear cells"),
        ("slide 1.2", "slide 1.2 cells"),
        (".hidden", ".hidden cells"),
        ("stack.tif [2]", "stack.tif [2] cells"),
    ],
)
def test_layers_are_named_after_their_image(image, name):
    assert layers.name_of(image, "cells") == name


def test_a_large_picture_is_filled_not_outlined(viewer, rgb, monkeypatch, made_up, add_smear):
    monkeypatch.setattr(layers, "LARGEST_OUTLINED_PX", 1000)
    taken = layers.picture_of(add_smear(), viewer)
    add(viewer, taken, made_up)
    assert viewer.layers["smear cells"].contour == 0


def test_a_picture_knows_whether_its_layer_is_still_there(viewer, rgb):
    layer = viewer.add_image(rgb)
    taken = layers.picture_of(layer, viewer)
    assert taken.is_in(viewer)
    viewer.layers.remove(layer)
    assert not taken.is_in(viewer)


def test_a_sample_becomes_an_image_layer(viewer, rgb):
    layer = layers.add_sample(viewer, (rgb, {"name": "sample"}, "image"))
    assert isinstance(layer, Image)
    assert viewer.layers["sample"] is layer


@pytest.mark.parametrize("turns", [1, 2, 3, 9])
def test_a_layer_added_in_steps_is_whole_in_the_end_even_where_the_panel_goes_in_between(viewer, turns):
    from itertools import islice

    from napari.layers import Labels

    layer = Labels(np.eye(8, dtype=np.int32))
    marks = {name: one.visible for name, one in layer._overlays.items()}
    steps = added(viewer, layer)
    taken = len(list(islice(steps, turns)))
    assert taken == min(turns, 2 + sum(marks.values()))
    steps.close()
    assert list(viewer.layers) == [layer]
    assert layer.visible
    assert {name: one.visible for name, one in layer._overlays.items()} == marks
    layer.mode = "paint"
    layer.paint((2, 5), 7)
    assert layer.data[2, 5] == 7


def test_a_layer_added_in_steps_is_chosen_in_a_turn_of_its_own(viewer, rgb):
    from napari.layers import Labels

    images = [viewer.add_image(rgb), viewer.add_image(rgb)]
    viewer.layers.selection = set(images)
    heard = []
    viewer.layers.selection.events.active.connect(lambda event: heard.append(event.value))
    layer = Labels(np.eye(8, dtype=np.int32))
    steps = added(viewer, layer)
    next(steps)
    assert set(viewer.layers.selection) == set(images)
    assert heard == []
    list(steps)
    assert set(viewer.layers.selection) == {layer}
    assert viewer.layers.selection.active is layer
    assert heard[-1] is layer


def test_a_layer_removed_between_its_steps_does_not_come_back(viewer, rgb):
    from napari.layers import Labels

    image, layer = viewer.add_image(rgb), Labels(np.eye(8, dtype=np.int32))
    steps = added(viewer, layer)
    next(steps)
    viewer.layers.remove(layer)
    list(steps)
    assert list(viewer.layers) == [image]
    assert viewer.layers.selection.active is not layer


def test_a_hidden_layer_added_in_steps_stays_hidden(viewer):
    from napari.layers import Labels

    layer = Labels(np.eye(8, dtype=np.int32), visible=False)
    list(added(viewer, layer))
    assert not layer.visible


def test_outlines_are_drawn_once_when_they_are_added(viewer, rgb, monkeypatch):
    import pandas as pd
    from napari.layers import Labels

    place, drawn, draw = picture(viewer, rgb, rgb=True), [], Labels._calculate_contour
    monkeypatch.setattr(
        Labels, "_calculate_contour", lambda self, *args: drawn.append(self.contour) or draw(self, *args)
    )
    labels = np.zeros(rgb.shape[:2], np.int32)
    labels[10:20, 10:20] = 1
    features = layers.features_of(pd.DataFrame({"cell_id": [1]}))
    layer = at_once(layers.add_outlines(viewer, place, labels, features, {}))
    assert layer.visible
    assert drawn.count(layers.OUTLINE_PX) == 1
    assert len(drawn) == 1
