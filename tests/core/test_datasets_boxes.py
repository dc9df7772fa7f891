"""Boxes drawn in whole fields: COCO and YOLO, as the programs that draw them write it."""

import json
from pathlib import Path
from typing import Any

import pytest
from cell_folders import picture, reasons, write

from napari_bloodcell.core.cells import picture_of
from napari_bloodcell.core.datasets import Dataset, check, load_dataset
from napari_bloodcell.core.errors import DataError

NAMES = {1: "Neutrophil", 2: "RBC", 3: "WBC", 4: "Platelets", 5: "alien"}


def coco(path: Path, boxes: dict[str, list[dict[str, Any]]]) -> Path:
    images = [{"id": n, "file_name": name} for n, name in enumerate(boxes)]
    drawn = [{"image_id": n} | one for n, many in enumerate(boxes.values()) for one in many]
    named = [{"id": number, "name": name} for number, name in NAMES.items()]
    return write(path, json.dumps({"images": images, "annotations": drawn, "categories": named}))


def box(kind: int, *bbox: float, **more: object) -> dict[str, Any]:
    return {"category_id": kind, "bbox": list(bbox), **more}


def places(dataset: Dataset) -> list[tuple[str, str, object]]:
    return [(cell.path.name, cell.class_name, cell.box_xyxy) for cell in dataset.cells]


def test_white_cells_of_coco_are_cells_and_the_rest_is_told(tmp_path: Path) -> None:
    root = tmp_path / "roboflow"
    picture(root / "train" / "a.jpg", (100, 80))
    picture(root / "valid" / "b.jpg", (100, 80))
    picture(root / "valid" / "loose.jpg", (100, 80))
    rest = [
        box(2, 0, 0, 9, 9),
        box(2, 9, 9, 9, 9),
        box(4, 0, 0, 5, 5),
        box(5, 1, 1, 9, 9),
        box(1, 5, 5, 0, 9),
    ]
    boxes = [box(1, 10.4, 20, 30, 30.2), box(3, 60, 60, 60, 60), *rest, {"category_id": 1}]
    coco(root / "train" / "_annotations.coco.json", {"a.jpg": boxes, "lost.jpg": [box(1, 0, 0, 9, 9)]})
    coco(root / "valid" / "_annotations.coco.json", {"b.jpg": [box(1, 0, 0, 20, 20)]})
    found = load_dataset(root)
    assert (found.name, found.domains) == ("coco", ("roboflow",))
    assert places(found) == [
        ("a.jpg", "neutrophil", (10, 20, 41, 51)),
        ("b.jpg", "neutrophil", (0, 0, 20, 20)),
    ]
    assert [cell.box_xyxy for cell in found.unlabelled] == [(60, 60, 100, 80)]
    assert {group.reason: group.count for group in check(root).skipped} == {
        "box of RBC, not a white cell": 2,
        "box of Platelets, not a white cell": 1,
        "unknown class 'alien' (none is near; classes.csv takes your own)": 1,
        "box without area": 1,
        "annotation without a box or an outline": 1,
        "annotation without its field": 1,
        "no annotation for this field": 1,
    }
    assert picture_of(found.cells[1]).pixels.shape == (30, 30, 3)


@pytest.mark.parametrize(
    ("table", "written"),
    [
        ("annotations/instances_default.json", "a.jpg"),
        ("result.json", "images/a.jpg"),
        ("coco.json", "C:\\drawn\\a.jpg"),
    ],
)
def test_coco_as_other_programs_lay_it_out(tmp_path: Path, table: str, written: str) -> None:
    picture(tmp_path / "lab" / "images" / "a.jpg", (100, 80))
    coco(tmp_path / "lab" / table, {written: [box(1, 0, 0, 20, 20)]})
    assert places(load_dataset(tmp_path / "lab")) == [("a.jpg", "neutrophil", (0, 0, 20, 20))]


def test_classes_that_our_model_gave_are_no_truth(tmp_path: Path) -> None:
    picture(tmp_path / "lab" / "a.jpg", (100, 80))
    by_model, by_person = (
        box(1, 0, 0, 20, 20, cell_type_source="model"),
        box(1, 30, 30, 20, 20, cell_type_source="person Ada"),
    )
    coco(tmp_path / "lab" / "coco.json", {"a.jpg": [by_model, by_person]})
    found = load_dataset(tmp_path / "lab")
    assert [cell.box_xyxy for cell in found.cells] == [(30, 30, 50, 50)]
    assert [cell.box_xyxy for cell in found.unlabelled] == [(0, 0, 20, 20)]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"images": []}', "{", '{"images": 1, "annotations": 2, "categories": 3}']
)
def test_other_json_is_no_coco(tmp_path: Path, text: str) -> None:
    picture(tmp_path / "lab" / "monocyte" / "1.png")
    write(tmp_path / "lab" / "annotations.json", text)
    assert load_dataset(tmp_path / "lab").name == "folders"


def test_copies_that_roboflow_made_are_told(tmp_path: Path) -> None:
    names = ("a_jpg.rf.01.jpg", "a_jpg.rf.02.jpg", "b_jpg.rf.03.jpg")
    for name in names:
        picture(tmp_path / "lab" / name, (100, 80))
    coco(tmp_path / "lab" / "_annotations.coco.json", {name: [box(1, 0, 0, 20, 20)] for name in names})
    (note,) = load_dataset(tmp_path / "lab").notes
    assert note.startswith("lab: several copies of 1 field (augmentation")


@pytest.mark.parametrize(
    "layout", ["images/train|labels/train", "train/images|train/labels", "images|labels"]
)
@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("data.yaml", "nc: 3\nnames: [Neutrophil, RBC, WBC]\n"),
        ("data.yaml", "names:\n  0: Neutrophil\n  1: RBC\n  2: WBC\n"),
        ("classes.txt", "Neutrophil\nRBC\nWBC\n"),
    ],
)
def test_white_cells_of_yolo_are_cells_and_the_rest_is_told(
    tmp_path: Path, layout: str, file: str, names: str
) -> None:
    root = tmp_path / "yolo"
    images, labels = (root / part for part in layout.split("|"))
    picture(images / "a.jpg", (100, 80))
    picture(images / "b.jpg", (100, 80))
    lines = (
        "0 0.5 0.5 0.2 0.25",
        "1 0.1 0.1 0.1 0.1",
        "2 0.2 0.2 0.1 0.1",
        "7 0.5 0.5 0.1 0.1",
        "x",
        "0 0.5 nan 1 1",
    )
    write(labels / "a.txt", "\n".join([*lines, "0 0.1 0.1 0.3 0.1 0.3 0.5", ""]))
    write(labels / "lost.txt", lines[0])
    write(root / file, names)
    found = load_dataset(root)
    assert (found.name, found.domains) == ("yolo", ("yolo",))
    assert places(found) == [
        ("a.jpg", "neutrophil", (40, 30, 60, 50)),
        ("a.jpg", "neutrophil", (10, 8, 30, 40)),
    ]
    assert [cell.box_xyxy for cell in found.unlabelled] == [(15, 12, 25, 20)]
    assert {group.reason: group.count for group in check(root).skipped} == {
        "box of RBC, not a white cell": 1,
        "box of class number 7, which has no name": 1,
        "line that is no box": 2,
        "no annotation for this field": 1,
        "annotation without its field": 1,
    }


def test_yolo_without_names_is_no_set(tmp_path: Path) -> None:
    picture(tmp_path / "all" / "yolo" / "images" / "a.jpg")
    write(tmp_path / "all" / "yolo" / "labels" / "a.txt", "0 0.5 0.5 0.2 0.25")
    picture(tmp_path / "all" / "lab" / "monocyte" / "1.png")
    assert reasons(load_dataset(tmp_path / "all"))["yolo"] == "no data set recognised in this folder"


@pytest.mark.parametrize("layout", ["JPEGImages|Annotations", "train|train", ".|."])
def test_boxes_of_voc_that_are_named_by_class_are_cells(tmp_path: Path, layout: str) -> None:
    images, annotations = (tmp_path / "lab" / part for part in layout.split("|"))
    picture(images / "a.jpg", (100, 80))
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x}</xmin><ymin>1</ymin><xmax>30</xmax><ymax>20</ymax></bndbox>"
        "</object>"
        for name, x in (("Lymphocyte", 1), ("RBC", 1), ("WBC", 11), ("Monocyte", 31))
    )
    write(annotations / "a.xml", f"<annotation>{objects}</annotation>")
    write(annotations / "lost.xml", f"<annotation>{objects}</annotation>")
    found = load_dataset(tmp_path / "lab")
    assert (found.name, found.domains) == ("voc", ("lab",))
    assert places(found) == [("a.jpg", "lymphocyte", (0, 0, 30, 20))]
    assert [cell.box_xyxy for cell in found.unlabelled] == [(10, 0, 30, 20)]
    assert sorted(item.reason for item in found.skipped) == [
        "annotation without its field",
        "box of RBC, not a white cell",
        "box without area",
    ]


def test_damaged_coco_gives_what_it_can(tmp_path: Path) -> None:
    picture(tmp_path / "lab" / "a.jpg", (100, 80))
    path = coco(tmp_path / "lab" / "coco.json", {"a.jpg": [box(1, 0, 0, 20, 20)]})
    content = json.loads(path.read_text())
    content["images"] += [7, {}]
    content["annotations"] += [
        None,
        {"image_id": [], "bbox": 3},
        {"image_id": "0", "category_id": {}, "bbox": [0, 0, 9, 9]},
    ]
    content["categories"] += ["x", {"id": []}]
    path.write_text(json.dumps(content))
    assert len(load_dataset(tmp_path / "lab")) == 1


@pytest.mark.parametrize("text", ["", "names:\n", "names: Neutrophil\n", "names: {a: b}\n", "[", "3"])
def test_yaml_that_names_no_numbers_is_no_yolo(tmp_path: Path, text: str) -> None:
    picture(tmp_path / "lab" / "images" / "a.jpg")
    write(tmp_path / "lab" / "labels" / "a.txt", "0 0.5 0.5 0.2 0.25")
    write(tmp_path / "lab" / "data.yaml", text)
    with pytest.raises(DataError, match="No cells found"):
        load_dataset(tmp_path / "lab")
