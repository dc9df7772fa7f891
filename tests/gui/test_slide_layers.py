"""A finished slide opens lazily: image, labels, classes and gallery."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zarr

from napari_bloodcell.core.artifact import write_json
from napari_bloodcell.core.config import AnalyseConfig, SlideConfig
from napari_bloodcell.core.errors import SegmentError
from napari_bloodcell.core.slide.analysis import analyse_slide
from napari_bloodcell.core.slide.pyramid import write_labels
from napari_bloodcell.core.synthetic.slide import make_slide
from napari_bloodcell.gui import classes, gallery, layers
from napari_bloodcell.gui.differential import DifferentialPanel
from napari_bloodcell.gui.gallery import Gallery
from napari_bloodcell.gui.outlines import outlined
from napari_bloodcell.gui.shelf import Column
from napari_bloodcell.gui.slide_layers import ClassPixels, Pixels, read_slide_layers

pytestmark = pytest.mark.gui
SIDE = 1440


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small slide as OME-Zarr, analysed."""
    folder = tmp_path_factory.mktemp("slide")
    drawn = make_slide(SIDE, SIDE, seed=4, share=0.5)
    group = zarr.open_group(folder / "slide.zarr", mode="w", zarr_format=3)
    datasets = []
    for number, level in enumerate(drawn.image.levels):
        group.create_array(
            str(number), data=level[0 : level.shape[0], 0 : level.shape[1]], chunks=(256, 256, 3)
        )
        scale = [0.25 * 4**number] * 2 + [1.0]
        datasets.append(
            {"path": str(number), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        )
    axes = [{"name": n, "type": "space", "unit": "micrometer"} for n in "yx"]
    axes.append({"name": "c", "type": "channel"})
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    config = AnalyseConfig(slide=SlideConfig(block_px=1024))
    result = analyse_slide(folder / "slide.zarr", folder / "out", "stain", config)
    assert result.cells > 5
    return folder / "out"


def open_run(viewer, folder):
    viewer.open(folder / "run.json", plugin="napari-bloodcell")
    return {layers.role_of(layer): layer for layer in viewer.layers}


def test_a_slide_opens_as_pyramids_that_stay_in_their_files(viewer, run):
    found = open_run(viewer, run)
    image, rims, cells = (found[role] for role in ("", layers.CLASSES, layers.CELLS))
    assert [type(one) for one in image.data] == [Pixels] * 3
    assert [type(one) for one in rims.data] == [ClassPixels] * 2
    assert all(isinstance(one, zarr.Array) for one in cells.data)
    assert [tuple(layer.scale) for layer in (image, rims, cells)] == [(0.25, 0.25)] * 3
    labels = zarr.open_array(run / "labels.ome.zarr/labels/cells/0", mode="r")[:]
    table = pd.read_parquet(run / "cells.parquet")
    assert len(cells.features) == len(table) == labels.max()
    assert cells.get_value(tuple(np.argwhere(labels == 3)[0] * 0.25), world=True)[1] in (3, 0)
    whole = rims.data[0][0:SIDE, 0:SIDE]
    x0, y0, x1, y1 = table.loc[2, ["x0", "y0", "x1", "y1"]].astype(int)
    window = (slice(y0 + 5, y1 - 5), slice(x0, x1 - 3))
    np.testing.assert_array_equal(rims.data[0][window], whole[window])
    numbers = {name: n for n, name in enumerate(classes.class_list(cells).names, start=1)}
    assert set(np.unique(whole[labels == 3])) == {0, numbers[table.loc[2, "cell_type"]]}


def test_pieces_of_lazy_pixels_are_those_of_the_image(viewer, run):
    image = open_run(viewer, run)[""].data[0]
    whole = np.asarray(image)
    assert whole.shape == image.shape == (SIDE, SIDE, 3)
    for index in (
        (slice(3, 40), slice(100, 140)),
        (slice(3, 40, 4), slice(None), 1),
        (7, slice(0, 9)),
        (slice(5, 6), -1),
        3,
    ):
        np.testing.assert_array_equal(image[index], whole[index])


def test_the_gallery_of_a_slide_cuts_only_what_it_shows_and_gives_classes(viewer, run, qtbot):
    cells = open_run(viewer, run)[layers.CELLS]
    panel = Gallery(viewer)
    qtbot.addWidget(panel)
    panel.resize(500, 700)
    panel.show()
    qtbot.waitUntil(lambda: bool(panel._shelves) and not panel.task.busy, timeout=20_000)
    shelf = panel._shelves[0]
    assert isinstance(shelf.boxes, Column)
    assert isinstance(shelf.pixels, Pixels)
    assert shelf.cut(1, 72) is not None
    kind = classes.kinds(cells)[0]
    other = next(name for name in classes.class_list(cells).names if name not in (kind, "unidentified"))
    x0, y0, x1, y1 = cells.features.loc[0, ["x0", "y0", "x1", "y1"]].astype(int)
    rims = classes.classes_layer(viewer, cells)
    before = rims.data[0][y0:y1, x0:x1].max()
    panel.view.choose([(0, 1)])
    panel._give(other)
    assert classes.kinds(cells)[0] == other
    assert rims.data[0][y0:y1, x0:x1].max() != before
    for name in gallery.SORTS:
        panel.sort.setCurrentText(name)
    assert sum(len(group.tiles) for group in panel.view._groups) == len(cells.features)


def test_a_gallery_says_how_many_it_leaves_out(viewer, run, qtbot, monkeypatch):
    monkeypatch.setattr(gallery, "MOST_SHOWN", 4)
    cells = open_run(viewer, run)[layers.CELLS]
    panel = Gallery(viewer)
    qtbot.addWidget(panel)
    qtbot.waitUntil(lambda: bool(panel._shelves) and not panel.task.busy, timeout=20_000)
    panel._show()
    shown = [tile.key[1] for group in panel.view._groups for tile in group.tiles]
    least_sure = cells.features.sort_values("cell_type_prob", kind="stable")["index"][:4]
    assert sorted(shown) == sorted(least_sure)
    assert f"first 4 of a layer are shown, as sorted; {len(cells.features) - 4} are not" in panel.said.text()


def test_panels_that_would_load_a_slide_say_so(viewer, run):
    cells = open_run(viewer, run)[layers.CELLS]
    with pytest.raises(SegmentError, match=r"cells of a whole slide \(1440 x 1440 px\).*take a field of it"):
        outlined(cells, viewer)


def test_the_differential_of_a_slide_is_counted_from_its_table(viewer, run, qtbot):
    cells = open_run(viewer, run)[layers.CELLS]
    panel = DifferentialPanel(viewer)
    qtbot.addWidget(panel)
    qtbot.waitUntil(lambda: panel.cells.value is cells, timeout=10_000)
    qtbot.waitUntil(lambda: str(len(cells.features)) in panel.state.text(), timeout=10_000)


def test_a_signature_under_a_slide_is_under_the_places_of_its_cells(viewer, run, qtbot):
    cells = open_run(viewer, run)[layers.CELLS]
    panel = DifferentialPanel(viewer)
    qtbot.addWidget(panel)
    qtbot.waitUntil(lambda: panel.shown is not None, timeout=10_000)
    for _ in range(2):  # the second press signs what nobody has looked at
        panel.sign_button.click()
    qtbot.waitUntil(lambda: panel.signed.text().startswith("Signed by"), timeout=10_000)
    before, moved = cells.features, cells.features.copy()
    moved.loc[moved.index[1], "x0"] += 1
    cells.features = moved
    qtbot.waitUntil(lambda: panel.signed.text().startswith("Changed since"), timeout=10_000)
    cells.features = before
    qtbot.waitUntil(lambda: panel.signed.text().startswith("Signed by"), timeout=10_000)


def test_a_column_is_a_mapping_without_a_dict():
    column = Column(np.array([7, 3, 9]), np.array([70, 30, 90]), int)
    assert (dict(column), column.get(4), 9 in column) == ({3: 30, 7: 70, 9: 90}, None, True)
    assert column.of(np.array([9, 4, 3, 12])).tolist() == [90, 0, 30, 0]
    assert Column(np.zeros(0, int), np.zeros(0), int).of(np.array([1])).tolist() == [0]


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_a_million_cells_open_without_being_loaded(viewer, tmp_path):
    """40,000 x 40,000 pixels of labels are 6.4 GB, the table with 60 measurements half a gigabyte."""
    count, side = 1_000_000, 40_000
    rng, ids = np.random.default_rng(0), np.arange(count)
    boxes = np.stack([ids % 1000 * 40, ids // 1000 * 40, ids % 1000 * 40 + 30, ids // 1000 * 40 + 30], 1)
    some = boxes[:50].astype(np.int32)
    cell = np.ones((30, 30), bool)
    write_labels(tmp_path, (side, side), some, lambda row: (some[row], cell, cell), um_per_px=0.25)
    kinds = np.array(["neutrophil", "lymphocyte", "monocyte", "unidentified"])
    table = pd.DataFrame(boxes.astype(np.int32), columns=["x0", "y0", "x1", "y1"])
    table.insert(0, "cell_id", (ids + 1).astype(np.int32))
    table["cell_type"] = pd.Categorical(kinds[rng.integers(0, 4, count)])
    table["cell_type_prob"] = rng.random(count).astype(np.float32)
    table["cell_type_source"] = pd.Categorical(["bundle nano"] * count)
    measured = pd.DataFrame(
        np.tile(rng.random((count, 1), np.float32), (1, 40)), columns=[f"m{i}" for i in range(40)]
    )
    pd.concat([table, measured], axis=1).to_parquet(tmp_path / "cells.parquet")
    del table, measured, boxes
    record = {"image": {"name": "slide", "source": None, "um_per_px": 0.25}}
    write_json(tmp_path / "run.json", "run", record | {"slide": {"labels": "labels.ome.zarr"}})
    before, start = resident_mb(), time.perf_counter()
    found = open_run(viewer, tmp_path)
    seconds, taken = time.perf_counter() - start, resident_mb() - before
    cells = found[layers.CELLS]
    assert len(cells.features) == count
    assert cells.data[0][35, 45] == 0
    assert cells.data[0][5, 45] == 2
    assert seconds < 60  # 2 s on a quiet machine
    assert taken < 1500
    assert "m0" not in cells.features


def test_a_run_whose_slide_is_gone_opens_its_cells(run):
    record = {"image": {"name": "slide", "source": "/nowhere/slide.svs", "um_per_px": None}}
    found = read_slide_layers(run, record | {"slide": {"labels": "labels.ome.zarr"}})
    assert [kind for *_, kind in found] == ["labels", "labels"]
