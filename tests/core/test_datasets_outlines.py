"""Outlines drawn in whole fields: polygons and run lengths of COCO, polygons of YOLO."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cell_folders import picture, write
from PIL import Image

from napari_bloodcell.core.cells import crops_of
from napari_bloodcell.core.config import SmearConfig
from napari_bloodcell.core.datasets import check, load_dataset
from napari_bloodcell.core.datasets.outline import (
    NO_PIXEL,
    NOT_READ,
    OTHER_SIZE,
    Outline,
    OutlineError,
    of_polygons,
    of_runs,
)
from napari_bloodcell.core.export.polygons import polygons
from napari_bloodcell.core.finetune import read_pictures
from napari_bloodcell.core.records import BoolArray
from napari_bloodcell.core.segment import StainSegmenter
from napari_bloodcell.core.synthetic import make_smear

SIZE = (100, 80)  # width, height
Y, X = np.mgrid[: SIZE[1], : SIZE[0]]
DISC: BoolArray = (X - 40) ** 2 + (Y - 30) ** 2 <= 20**2
RING: BoolArray = DISC & ((X - 40) ** 2 + (Y - 30) ** 2 > 8**2)
# RING as pycocotools 2.0.11 packs it.
PACKED = (
    r"nb11Y2<H4L4L4M2N2N2N2O0O2O0O_OeN0Z1MlN0S1OQO0n0OTO0l00TO0l0OVO0j00VO0j00VO0i00YO0g00WO0j00VO0j00VO"
    r"0j01TO0l00TO0l01RO0o01mN0T13fN0[1a0101N101N2N2N2N3L4L4L8DhP3"
)
HEXAGON = [10.0, 10.0, 30.0, 10.0, 40.0, 25.0, 30.0, 40.0, 10.0, 40.0, 5.0, 25.0]


def never() -> StainSegmenter:
    raise AssertionError("no segmenter is needed where there are outlines")


def runs_of(mask: BoolArray) -> list[int]:
    """Column by column, ground first: the slow way."""
    counts, inside = [0], False
    for value in mask.T.ravel().tolist():
        if value != inside:
            counts.append(0)
            inside = value
        counts[-1] += 1
    return counts


def field_of(outline: Outline, size: tuple[int, int] = SIZE) -> BoolArray:
    x0, y0, x1, y1 = outline.box(size)
    whole = np.zeros(size[::-1], np.bool_)
    whole[y0:y1, x0:x1] = outline.mask((x0, y0, x1, y1))
    return whole


def around(mask: BoolArray) -> tuple[int, ...]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return tuple(map(int, (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)))


@pytest.mark.parametrize("counts", [PACKED, runs_of(RING)])
def test_run_lengths_are_read_with_their_holes_packed_or_not(counts: Any) -> None:
    outline = of_runs(counts, [SIZE[1], SIZE[0]], SIZE)
    assert (field_of(outline) == RING).all()
    assert outline.box(SIZE) == around(RING)
    part = (35, 25, 45, 35)
    assert (outline.mask(part) == RING[25:35, 35:45]).all()


@pytest.mark.parametrize(
    ("counts", "size", "reason"),
    [
        (runs_of(RING), [80, 101], OTHER_SIZE),
        (runs_of(RING)[:-1], [80, 100], NOT_READ),
        ([9000, -1000], [80, 100], NOT_READ),
        ("\N{SNOWMAN}", [80, 100], NOT_READ),
        (None, None, NOT_READ),
        ([], [80, 100], NOT_READ),
    ],
)
def test_run_lengths_of_another_field_or_damaged_ones_are_refused(
    counts: Any, size: Any, reason: str
) -> None:
    with pytest.raises(OutlineError, match=reason.partition(" (")[0]):
        of_runs(counts, size, SIZE)
    with pytest.raises(OutlineError, match="without a pixel"):
        of_runs([8000], [80, 100], SIZE).box(SIZE)


def test_polygons_that_we_export_are_read_to_the_pixel() -> None:
    rings = [[value for corner in piece[0] for value in corner] for piece in polygons(DISC)]
    outline = of_polygons(rings)
    assert outline is not None
    assert (field_of(outline) == DISC).all()


def test_several_polygons_are_one_cell_and_what_lies_outside_is_cut_off() -> None:
    outline = of_polygons([HEXAGON, [value - 20 for value in HEXAGON]])
    assert outline is not None
    one, other = (field_of(of_polygons([p]) or Outline()) for p in (HEXAGON, [v - 20 for v in HEXAGON]))
    assert (field_of(outline) == (one | other)).all()
    assert outline.box(SIZE)[:2] == (0, 0)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ([[value - 200 for value in HEXAGON]], NO_PIXEL),
        ([[1, 1, 2, 2, 3, 3]], NO_PIXEL),
        ([[]], NO_PIXEL),
        ([[1, 1, 2]], NOT_READ),
        ([["x", 1]], NOT_READ),
        ([[float("nan"), 1, 9, 1, 9, 9]], NOT_READ),
    ],
)
def test_a_polygon_without_a_pixel_or_a_damaged_one_is_refused(written: Any, reason: str) -> None:
    with pytest.raises(OutlineError, match=reason.partition(" (")[0]):
        (of_polygons(written) or Outline()).box(SIZE)


def test_four_corners_are_a_box() -> None:
    assert of_polygons([[10, 10, 30, 10, 30, 40, 10, 40, 10, 10]]) is None


def test_outlines_of_coco_are_the_cells_and_those_that_cannot_be_used_leave_the_box(tmp_path: Path) -> None:
    root = tmp_path / "lab"
    picture(root / "a.png", SIZE)
    box, runs = [5, 10, 35, 30], {"counts": PACKED, "size": [80, 100]}
    drawn: list[dict[str, Any]] = [
        {"bbox": box, "segmentation": [HEXAGON]},
        {"bbox": [0, 0, 0, 0], "segmentation": runs},  # the outline goes before the box
        {"segmentation": HEXAGON},  # a bracket is missing, and the box
        {"bbox": box, "segmentation": []},
        {"bbox": box, "segmentation": [[5, 10, 40, 10, 40, 40, 5, 40]]},
        {"bbox": box, "segmentation": [[value + 500 for value in HEXAGON]]},
        {"bbox": box, "segmentation": runs | {"size": [90, 100]}},
        {"bbox": box, "segmentation": "polygon"},
        {"segmentation": [[1, 1, 2, 2, 3, 3]]},
    ]
    table = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [{"image_id": 1, "category_id": 1} | one for one in drawn],
        "categories": [{"id": 1, "name": "Neutrophil"}],
    }
    write(root / "_annotations.coco.json", json.dumps(table))
    found = load_dataset(root)
    assert [cell.outline is not None for cell in found.cells] == [True] * 3 + [False] * 5
    assert [cell.box_xyxy for cell in found.cells][:3] == [(5, 10, 40, 40), around(RING), (5, 10, 40, 40)]
    assert {cell.box_xyxy for cell in found.cells[3:]} == {(5, 10, 40, 40)}
    report = check(root)
    assert report.domains[0].with_mask == 3
    assert {group.reason: group.count for group in report.skipped} == {
        NO_PIXEL: 1,
        OTHER_SIZE: 1,
        NOT_READ: 1,
        "annotation without a box or an outline": 1,
    }


def test_polygons_of_yolo_are_outlines_and_four_corners_a_box(tmp_path: Path) -> None:
    root = tmp_path / "lab"
    picture(root / "images" / "a.png", SIZE)
    shares = [value / side for value, side in zip(HEXAGON, SIZE * 6, strict=True)]
    flat = " ".join(["0.1 0.1"] * 5)
    lines = [
        "0 " + " ".join(map(str, shares)),
        "0 0.1 0.1 0.3 0.1 0.3 0.5 0.1 0.5",
        "0 0.5 0.5 0.2 0.25",
        f"0 {flat}",
    ]
    write(root / "labels" / "a.txt", "\n".join(lines))
    write(root / "classes.txt", "Neutrophil\n")
    found = load_dataset(root)
    assert [cell.outline is not None for cell in found.cells] == [True, False, False]
    wanted = of_polygons([HEXAGON])
    assert found.cells[0].outline is not None
    assert wanted is not None
    assert (field_of(found.cells[0].outline) == field_of(wanted)).all()
    assert {item.reason for item in found.skipped} == {NO_PIXEL, "box without area"}


@pytest.fixture(scope="module")
def smear(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A drawn field whose cells are outlined in COCO, as a person would with another program."""
    root = tmp_path_factory.mktemp("coco") / "lab"
    root.mkdir()
    drawn = make_smear(SmearConfig(width_px=480, height_px=360, white_cells=4, seed=5))
    Image.fromarray(np.array(drawn.image.pixels)).save(root / "a.png")
    labels = np.asarray(drawn.masks.labels)
    shapes = [
        [[value for corner in piece[0] for value in corner] for piece in polygons(labels == number)]
        for number in np.unique(labels[labels > 0])
    ]
    table = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [{"image_id": 1, "category_id": 1, "segmentation": one} for one in shapes],
        "categories": [{"id": 1, "name": "WBC"}],
    }
    write(root / "coco.json", json.dumps(table))
    return root, drawn


def test_cells_are_cut_out_by_their_outlines_with_the_nuclei_of_the_stain(smear: tuple[Path, Any]) -> None:
    root, drawn = smear
    cells = load_dataset(root).unlabelled
    found = crops_of(cells, never)
    labels = np.asarray(drawn.masks.labels)
    wanted = [int((labels == number).sum()) for number in np.unique(labels[labels > 0])]
    assert found.crops.area_px.tolist() == wanted
    truth = [int((drawn.masks.nucleus & (labels == n)).sum()) for n in np.unique(labels[labels > 0])]
    assert found.crops.nucleus_area_px.tolist() == pytest.approx(truth, rel=0.3)


def test_outlines_are_masks_to_train_a_segmenter_with(smear: tuple[Path, Any]) -> None:
    root, drawn = smear
    (field,) = read_pictures(root)
    assert len(field.cells) == len(drawn.masks)
    assert field.cells.names[0].startswith("lab/a.png:")


def test_a_cell_outlined_anew_has_no_mask(smear: tuple[Path, Any]) -> None:
    cell = load_dataset(smear[0]).unlabelled[0]
    assert cell.has_mask
    assert not cell.without_mask().has_mask
    assert len(crops_of([cell.without_mask()], StainSegmenter).crops) == 1
