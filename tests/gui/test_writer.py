"""File > Save on our layers, through napari, by the plugin's name."""

import json

import numpy as np
import pandas as pd
import pytest
import tifffile

from napari_bloodcell.gui import classes, layers
from napari_bloodcell.gui.selection import MARKS, Marks

pytestmark = pytest.mark.gui
PLUGIN = "napari-bloodcell"


def test_outlines_come_back_as_they_were_with_pixel_size_and_table(viewer, counted, tmp_path):
    cell = int(classes.ids(counted)[0])
    classes.give(viewer, {counted: [cell]}, "monocyte", "Dr Ada")
    written = counted.save(str(tmp_path / "field.ome.tif"), plugin=PLUGIN)
    assert sorted(written) == [str(tmp_path / "field.csv"), str(tmp_path / "field.ome.tif")]
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "field.ome.tif"), counted.data)
    with tifffile.TiffFile(tmp_path / "field.ome.tif") as file:
        assert 'PhysicalSizeX="0.1"' in file.ome_metadata
    table = pd.read_csv(tmp_path / "field.csv")
    assert list(table.columns[:2]) == ["image", "cell_id"]
    assert set(table["image"]) == {"smear"}
    assert table.set_index("cell_id").loc[cell, "cell_type"] == "monocyte"


def test_the_table_alone_is_what_loading_classes_takes(viewer, counted, tmp_path):
    from napari_bloodcell.gui.classify_calls import read_classes

    viewer.layers.selection = {counted}
    viewer.layers.save(str(tmp_path / "cells.csv"), selected=True, plugin=PLUGIN)
    kinds = dict(zip(counted.features["index"], counted.features["cell_type"].astype(str), strict=True))
    read = read_classes(tmp_path / "cells.csv", "smear")
    assert {cell: name for cell, (name, _) in read.items()} == kinds


def test_qupath_gets_the_outlines_with_the_classes_on_the_screen(viewer, counted, tmp_path):
    cell = int(classes.ids(counted)[0])
    classes.give(viewer, {counted: [cell]}, "monocyte", "Dr Ada")
    counted.save(str(tmp_path / "field.geojson"), plugin=PLUGIN)
    told = json.loads((tmp_path / "field.geojson").read_text())["features"]
    said = {int(one["properties"]["name"]): one["properties"]["classification"] for one in told}
    shown = dict(zip(classes.ids(counted).tolist(), classes.kinds(counted), strict=True))
    assert {number: one["name"] for number, one in said.items()} == shown
    assert said[cell] == {"name": "monocyte", "color": [0xF0, 0xE4, 0x42]}


def test_several_layers_go_into_a_folder(viewer, counted, tmp_path):
    viewer.layers.selection = {layer for layer in viewer.layers if layer._type_string == "labels"}
    names = {layer.name for layer in viewer.layers.selection}
    viewer.layers.save(str(tmp_path / "out"), selected=True, plugin=PLUGIN)
    found = {path.name.removesuffix(".ome.tif") for path in (tmp_path / "out").glob("*.ome.tif")}
    assert found == names


def test_rings_of_chosen_cells_are_no_result_and_left_out_of_a_folder(viewer, counted, tmp_path):
    before = {one for one in viewer.layers if one._type_string == "labels"}
    Marks(viewer).show(counted, [int(classes.ids(counted)[0])])
    marks = [one for one in viewer.layers if layers.role_of(one) == MARKS]
    viewer.layers.selection = {*before, *marks}
    viewer.layers.save(str(tmp_path / "all"), selected=True, plugin=PLUGIN)
    saved = {path.name for path in (tmp_path / "all").glob("*.ome.tif")}
    assert len(marks) == 1
    assert saved == {f"{one.name}.ome.tif" for one in before}


def test_labels_of_a_person_are_saved_too(viewer, tmp_path):
    data = np.zeros((30, 40), np.int32)
    data[2:9, 3:9] = 7
    layer = viewer.add_labels(data, name="mine")
    assert layer.save(str(tmp_path / "mine.ome.tif"), plugin=PLUGIN) == [str(tmp_path / "mine.ome.tif")]
    layer.save(str(tmp_path / "mine.csv"), plugin=PLUGIN)
    assert pd.read_csv(tmp_path / "mine.csv").to_dict("list") == {"image": ["mine"], "cell_id": [7]}
    layer.save(str(tmp_path / "mine.geojson"), plugin=PLUGIN)
    (one,) = json.loads((tmp_path / "mine.geojson").read_text())["features"]
    assert one["properties"]["classification"]["name"] == "unidentified"
    assert sorted(one["geometry"]["coordinates"][0][:-1]) == [[3, 2], [3, 9], [9, 2], [9, 9]]


def test_a_stack_is_refused_with_what_to_do(viewer, tmp_path):
    layer = viewer.add_labels(np.zeros((3, 20, 20), np.int32), name="stack")
    with pytest.raises(Exception, match="holds 3 planes; one is saved at a time"):
        layer.save(str(tmp_path / "stack.ome.tif"), plugin=PLUGIN)
    assert list(tmp_path.iterdir()) == []


def test_one_plane_of_a_stack_is_saved_flat(viewer, tmp_path):
    data = np.ones((1, 20, 20), np.int32)
    viewer.add_labels(data, name="plane").save(str(tmp_path / "p.ome.tif"), plugin=PLUGIN)
    assert tifffile.imread(tmp_path / "p.ome.tif").shape == (20, 20)
