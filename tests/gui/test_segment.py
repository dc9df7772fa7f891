"""The panel "Segment cells" in the real napari, with the real segmenter."""

import numpy as np
import pytest

from napari_bloodcell.core.config import SmearConfig
from napari_bloodcell.core.synthetic import make_smear
from napari_bloodcell.gui import segment_calls
from napari_bloodcell.gui.napari_ways import camera_of

pytestmark = pytest.mark.gui


@pytest.fixture
def panel(open_panel):
    return open_panel("Segment cells")


def test_an_image_gets_outlines_and_nuclei(viewer, panel, add_smear, smear, press_run):
    image = add_smear()
    press_run(panel)
    cells = viewer.layers["smear cells"]
    assert [layer.name for layer in viewer.layers] == ["smear", "smear nuclei", "smear cells"]
    assert len(cells.features) == len(smear.masks)
    assert panel.task.message.text() == f"Found {len(smear.masks)} white cells in smear."
    np.testing.assert_allclose(cells.scale, image.scale)


def test_an_uneven_lamp_is_told_and_the_image_stays(viewer, panel, press_run):
    field = make_smear(SmearConfig(width_px=640, height_px=480, white_cells=3, seed=4)).image.pixels
    fall = np.linspace(1, 0.6, 640)[None, :, None]
    image = viewer.add_image((field * fall).astype(np.uint8), name="dim", rgb=True)
    before = image.data.copy()
    press_run(panel)
    assert "Note: the light was uneven" in panel.task.message.text()
    viewer.add_image(field, name="even", rgb=True)
    panel.scope.value = "all"
    press_run(panel)
    assert "Note: dim: the light was uneven" in panel.task.message.text()
    panel.image.value = image
    panel.scope.value = "view"
    camera_of(viewer).zoom *= 2
    press_run(panel)
    assert "Note: the light was uneven" in panel.task.message.text()
    panel.scope.value = "whole"
    np.testing.assert_array_equal(image.data, before)
    panel.form.widget("read.even_light").value = False
    press_run(panel)
    assert "Note" not in panel.task.message.text()


def test_cells_cut_by_what_lies_round_a_picture_are_cut_in_a_part_of_it_too(
    viewer, panel, press_run, monkeypatch
):
    made = make_smear(SmearConfig(width_px=640, height_px=480, white_cells=10, seed=39))
    field = np.array(made.image.pixels)
    y, x = np.ogrid[-1:1:480j, -1:1:640j]
    away = np.hypot(y, x * 640 / 480) / 1.15
    field[away > 1] = 255
    viewer.add_image(field, name="round", rgb=True)
    panel.scope.value = "view"
    monkeypatch.setattr(segment_calls, "view_of", lambda *_: (slice(0, 480), slice(0, 400)))
    press_run(panel)
    assert "black or white round it" in panel.task.message.text()
    cells = viewer.layers["round cells"]
    reach = np.array([away[cells.data == cell].max() for cell in cells.features["label"]])
    cut = cells.features["touches_border"].to_numpy(bool)
    assert (reach > 0.98).any()
    assert cut[reach > 0.98].all()


def test_settings_of_the_form_reach_the_core(viewer, panel, add_smear, press_run):
    add_smear()
    panel.form.widget("segment.border").value = "drop"
    press_run(panel)
    assert not viewer.layers["smear cells"].features["touches_border"].any()
    config = viewer.layers["smear cells"].metadata["napari_bloodcell"]["config"]
    assert config["segment"]["border"] == "drop"


def test_only_what_segmenting_needs_is_asked(panel):
    for other in ("crop.size_px", "classify.min_probability", "count.target", "read.page"):
        with pytest.raises(KeyError):
            panel.form.widget(other)


def test_a_colourless_image_is_refused_in_the_panel(viewer, panel, press_run):
    ramp = np.tile(np.linspace(0, 255, 120, dtype=np.uint8), (100, 1))
    viewer.add_image(np.stack([ramp] * 3, axis=-1), name="gray")
    press_run(panel)
    assert "gray is colourless" in panel.task.message.text()
    assert [layer.name for layer in viewer.layers] == ["gray"]


def test_a_refused_setting_shows_before_anything_runs(viewer, panel, add_smear, click):
    add_smear()
    panel.form.widget("read.um_per_px").value = "tiny"
    click(panel.task.run_button)
    assert not panel.task.busy
    assert "'tiny' is not accepted" in panel.task.message.text()
    assert len(viewer.layers) == 1


def test_an_image_that_goes_away_gets_no_outlines(viewer, panel, add_smear, click, wait):
    add_smear()
    click(panel.task.run_button)
    viewer.layers.clear()
    wait(panel)
    assert len(viewer.layers) == 0
    assert "gone from the viewer" in panel.task.message.text()
