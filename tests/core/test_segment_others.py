"""Red cells and platelets."""

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
from drawn_fields import NUCLEUS, RED, UM, blob, field, picture, white_cell
from PIL import Image

from napari_bloodcell.core.config import SegmentConfig
from napari_bloodcell.core.records import SmearImage
from napari_bloodcell.core.segment import StainSegmenter
from napari_bloodcell.core.segment.others import Objects, find_others


@pytest.fixture(scope="module")
def smear() -> SmearImage:
    """Twelve red cells, four of them in touch, three platelets, a white cell, dirt."""
    drawn = field(size=(420, 640))
    for x in (60, 130, 200, 270, 340, 410):
        blob(drawn, (50, x), 26, RED)
    for at in ((300, 100), (300, 151), (345, 126), (300, 420), (300, 471), (380, 600)):
        blob(drawn, at, 26, RED)
    for at in ((180, 60), (190, 480), (250, 560)):
        blob(drawn, at, 9, (0.3, 0.5, 0.1))
    blob(drawn, (250, 40), 2, NUCLEUS)
    white_cell(drawn, (190, 280))
    return picture(drawn, UM)


def others(image: SmearImage, **options: object) -> Objects:
    return find_others(image, StainSegmenter().segment(image), SegmentConfig(**options))


def test_red_cells_and_platelets_are_counted_those_in_touch_too(smear: SmearImage) -> None:
    found = others(smear)
    assert (found.count("red cell"), found.count("platelet"), len(found)) == (12, 3, 15)
    middles = (found.boxes_xyxy[:, :2] + found.boxes_xyxy[:, 2:]) / 2
    assert (np.abs(middles[found.kind == "red cell"] - (130, 50)).max(axis=1) < 8).sum() == 1


@pytest.mark.parametrize("tile_px", [256, 311])
def test_a_field_cut_differently_has_the_same_objects(smear: SmearImage, tile_px: int) -> None:
    whole, cut = others(smear), others(smear, tile_px=tile_px)
    assert sorted(whole.boxes_xyxy.tolist()) == sorted(cut.boxes_xyxy.tolist())


def test_a_blank_field_has_none() -> None:
    assert len(others(SmearImage(pixels=np.full((200, 300, 3), 230, np.uint8)))) == 0
    assert len(others(picture(field(), UM))) == 0


@pytest.mark.realdata
def test_red_cells_of_real_fields_are_found(real_data: Path) -> None:
    """The boxes are incomplete, so what is found beside them is no error."""
    boxes: dict[str, list[list[int]]] = {}
    with (real_data / "bccd" / "boxes.csv").open() as file:
        for row in csv.DictReader(file):
            if row["kind"] == "rbc":
                box = [int(row[k]) for k in ("xmin", "ymin", "xmax", "ymax")]
                boxes.setdefault(row["image"], []).append(box)
    paths = (real_data / "bccd" / "fields").glob("*.jpg")
    cells = hits = 0
    for path in sorted(paths, key=lambda p: hashlib.sha256(p.name.encode()).hexdigest())[-10:]:
        with Image.open(path) as opened:
            found = others(SmearImage(pixels=np.asarray(opened.convert("RGB"))))
        x, y = ((found.boxes_xyxy[:, :2] + found.boxes_xyxy[:, 2:]) / 2)[found.kind == "red cell"].T
        for x0, y0, x1, y1 in boxes.get(path.name, []):
            cells += 1
            hits += bool(((x0 <= x) & (x <= x1) & (y0 <= y) & (y <= y1)).any())
    assert hits / cells >= 0.75
