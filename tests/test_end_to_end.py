"""From files of a real microscope to a counted differential."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_bloodcell import analyse
from napari_bloodcell.cli import main

FIELDS = ("BloodImage_00000.jpg", "BloodImage_00010.jpg", "BloodImage_00202.jpg")


@pytest.mark.realdata
def test_real_fields_become_a_differential(real_data: Path, tmp_path: Path) -> None:
    fields = [real_data / "bccd" / "fields" / name for name in FIELDS]
    with pytest.raises(SystemExit) as end:
        main(["analyse", *map(str, fields), "--out", str(tmp_path)])
    assert end.value.code == 0
    cells = pd.read_parquet(tmp_path / "cells.parquet")
    boxes = pd.read_csv(real_data / "bccd" / "boxes.csv")
    for path in fields:
        truth = boxes[(boxes["image"] == path.name) & (boxes["kind"] == "wbc")]
        found = cells[cells["image"].str.startswith(path.stem)]
        assert len(found) == len(truth)
        for box in truth.itertuples():
            middle_x, middle_y = (box.xmin + box.xmax) / 2, (box.ymin + box.ymax) / 2
            inside = (
                found["x0"].lt(middle_x)
                & found["x1"].gt(middle_x)
                & found["y0"].lt(middle_y)
                & found["y1"].gt(middle_y)
            )
            assert inside.sum() == 1
    assert all((tmp_path / path.stem / "overlay.png").stat().st_size > 10_000 for path in fields)


@pytest.mark.realdata
@pytest.mark.parametrize("lab", ["jtsc", "cellavision"])
def test_a_single_cell_picture_is_one_cell(real_data: Path, lab: str) -> None:
    paths = sorted((real_data / lab / "images").iterdir())[:12]
    middle = []
    for path in paths:
        labels = analyse(path).masks.labels
        height, width = labels.shape
        middle.append(bool(np.any(labels[height // 3 : -height // 3, width // 3 : -width // 3])))
    assert sum(middle) >= 11
