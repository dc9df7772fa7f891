"""File > Open on sessions and results."""

import numpy as np
import pandas as pd
import pytest

from napari_bloodcell.core.batch import analyse_files
from napari_bloodcell.core.image import read_image
from napari_bloodcell.core.session import Change, Session, SessionCells
from napari_bloodcell.gui import classes
from napari_bloodcell.gui.reader import get_reader

pytestmark = pytest.mark.gui


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
        viewer.open(tmp_path / "s" / "session.json", plugin="napari-bloodcell")  # while it is open elsewhere
    assert [layer.name for layer in viewer.layers] == ["field", "field classes", "field cells"]
    cells = viewer.layers["field cells"]
    assert classes.kinds(cells) == ["basophil"]
    assert classes.classes_layer(viewer, cells) is viewer.layers["field classes"]


def test_a_result_opens_on_its_image(viewer, smear, tmp_path):
    from PIL import Image

    Image.fromarray(smear.image.pixels).save(tmp_path / "field.png")
    analyse_files([tmp_path / "field.png"], tmp_path / "out")
    viewer.open(tmp_path / "out" / "field" / "run.json", plugin="napari-bloodcell")
    assert [layer.name for layer in viewer.layers] == ["field.png", "field classes", "field cells"]
    assert len(viewer.layers["field cells"].features) == len(np.unique(viewer.layers["field cells"].data)) - 1
