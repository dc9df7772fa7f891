"""File > Open on sessions and results."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from napari_bloodcell.core.batch import analyse_files
from napari_bloodcell.core.config import ReadConfig
from napari_bloodcell.core.image import read_image
from napari_bloodcell.core.session import Change, Session, SessionCells
from napari_bloodcell.gui import classes, layers
from napari_bloodcell.gui.reader import get_reader

pytestmark = pytest.mark.gui
PIXELS = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)


def test_other_files_are_left_to_others(tmp_path):
    assert get_reader(str(tmp_path / "field.png")) is None
    assert get_reader([str(tmp_path / "run.json")]) is None


def test_a_session_opens_with_its_corrections(viewer, tmp_path):
    labels = np.zeros((40, 50), np.int32)
    labels[5:15, 5:15] = 4
    table = pd.DataFrame({"label": [4], "cell_type": ["monocyte"], "cell_type_source": ["bundle nano"]})
    with Session(tmp_path / "s") as session:
        key = session.add_image(read_image(np.full((40, 50, 3), 200, np.uint8), name="field"))
        session.save_cells(key, SessionCells(labels=labels, nucleus=labels > 0, table=table, made_from={}))
        session.record([Change(action="classify", image=key, cell_id=4, old="monocyte", new="basophil")])
        session.record([Change(action="comment", image=key, new="clumped platelets")])
        viewer.open(tmp_path / "s" / "session.json", plugin="napari-bloodcell")  # while it is open elsewhere
    assert [layer.name for layer in viewer.layers] == ["field", "field classes", "field cells"]
    cells = viewer.layers["field cells"]
    assert classes.kinds(cells) == ["basophil"]
    assert cells.metadata[layers.KEY]["comment"] == "clumped platelets"
    assert classes.classes_layer(viewer, cells) is viewer.layers["field classes"]


def test_a_result_opens_on_its_image(viewer, smear, tmp_path):
    from PIL import Image

    Image.fromarray(smear.image.pixels).save(tmp_path / "field.png")
    analyse_files([tmp_path / "field.png"], tmp_path / "out")
    viewer.open(tmp_path / "out" / "field" / "run.json", plugin="napari-bloodcell")
    assert [layer.name for layer in viewer.layers] == ["field.png", "field classes", "field cells"]
    cells = viewer.layers["field cells"]
    assert len(cells.features) == len(np.unique(cells.data)) - 1
    known = json.loads((tmp_path / "out" / "field" / "run.json").read_text())["bundle"]["classes"]
    assert cells.metadata[layers.KEY]["bundle"]["classes"] == known  # the others are no zeros with limits


def test_results_open_with_their_patient_and_are_counted_as_the_command_counts_them(
    viewer, smear, tmp_path, open_panel, qtbot
):
    from PIL import Image

    for name, pixels in (("a", smear.image.pixels), ("b", smear.image.pixels[::-1])):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    rows = "a.png,a.png,P 7\nb.png,b.png,P 7\n"
    (tmp_path / "list.csv").write_text(f"image,slide,patient\n{rows}")
    done = analyse_files([tmp_path / "list.csv"], tmp_path / "out", "stain")
    for name in ("a", "b"):
        viewer.open(tmp_path / "out" / name / "run.json", plugin="napari-bloodcell")
    panel = open_panel("Differential")
    qtbot.waitUntil(lambda: panel.shown is not None and len(panel.shown.slides) == 2, timeout=60_000)
    assert tuple(panel.shown.patients) == done.patients
    assert [one.name for one in done.patients] == ["P 7"]


@pytest.mark.parametrize("kind", ["ome", "imagej", "plain", "png", "cmyk", "damaged"])
def test_a_file_that_napari_reads_is_to_the_panels_what_it_is_to_the_command_line(viewer, tmp_path, kind):
    import tifffile
    from PIL import Image as Picture

    path = tmp_path / {"png": "a.png", "cmyk": "a.jpg"}.get(kind, "a.ome.tif" if kind == "ome" else "a.tif")
    if kind == "png":
        Picture.fromarray(PIXELS).save(path, dpi=(254_000, 254_000))  # 0.1 um
    elif kind == "cmyk":
        Picture.fromarray(PIXELS).convert("CMYK").save(path)
    else:
        sizes = {"axes": "YXS", "PhysicalSizeX": 0.2, "PhysicalSizeY": 0.2}
        more = {"ome": {"metadata": sizes}, "imagej": {"imagej": True, "resolution": (5, 5)}}.get(kind, {})
        if kind == "imagej":
            more["metadata"] = {"unit": "um"}
        tifffile.imwrite(path, PIXELS, photometric="rgb", **more)
    (layer,) = viewer.open(str(path), plugin="napari")
    wanted = read_image(path)
    if kind == "damaged":
        path.write_bytes(path.read_bytes()[:60])
        wanted = dataclasses.replace(wanted, um_per_px=None)
    smear = layers.picture_of(layer, viewer).read(ReadConfig())
    np.testing.assert_array_equal(smear.pixels, wanted.pixels)
    assert smear.um_per_px == wanted.um_per_px
    assert (smear.um_per_px is None) == (kind in ("plain", "cmyk", "damaged"))


def test_a_scale_that_a_person_gave_goes_before_that_of_the_file(viewer, tmp_path):
    import tifffile

    sizes = {"axes": "YXS", "PhysicalSizeX": 0.2, "PhysicalSizeY": 0.2}
    tifffile.imwrite(tmp_path / "a.ome.tif", PIXELS, photometric="rgb", metadata=sizes)
    (layer,) = viewer.open(str(tmp_path / "a.ome.tif"), plugin="napari")
    layer.scale, layer.units = (0.05, 0.05), ("um", "um")
    assert layers.picture_of(layer, viewer).read(ReadConfig()).um_per_px == 0.05
    layer.units = ("pixel", "pixel")
    assert layers.picture_of(layer, viewer).read(ReadConfig()).um_per_px is None
