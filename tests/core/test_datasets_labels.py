"""A table of image and class as people write it: columns, names of files, encodings, pixel sizes."""

from pathlib import Path

import pytest
from cell_folders import picture, write

from napari_bloodcell.core.datasets import check, load_dataset


def lab(tmp_path: Path, table: str, *images: str, encoding: str = "utf-8") -> Path:
    for name in images:
        picture(tmp_path / "lab" / "images" / name, (32, 24))
    write(tmp_path / "lab" / "labels.csv", table, encoding)
    return tmp_path / "lab"


@pytest.mark.parametrize("column", ["Patient", "patient_id", "Slide", "SLIDE ID", "subject", "group"])
def test_a_column_of_patients_or_slides_is_the_group(tmp_path: Path, column: str) -> None:
    root = lab(
        tmp_path,
        f"image,class,{column}\n1.png,eos,P1\n2.png,mono,P2\n3.png,mono,\n",
        "1.png",
        "2.png",
        "3.png",
    )
    assert [cell.group for cell in load_dataset(root).cells] == ["P1", "P2", None]
    assert check(root).domains[0].groups == 2


def test_patients_go_before_slides_and_columns_not_read_are_told(tmp_path: Path) -> None:
    table = "image,class,slide,patient,ward,\n1.png,eos,S1,P1,3,\n2.png,eos,S2,P1,3,\n"
    root = lab(tmp_path, table, "1.png", "2.png")
    assert {cell.group for cell in load_dataset(root).cells} == {"P1"}
    assert load_dataset(root).notes == (
        "lab: the column patient says whose cells these are.",
        "lab: 2 columns of labels.csv not read: slide, ward. Read are image, class, group (patient, "
        "patient_id, subject, subject_id, slide, slide_id), um_per_px and mask.",
    )


def test_a_table_read_whole_is_not_remarked_on(tmp_path: Path) -> None:
    assert load_dataset(lab(tmp_path, "image,class,group,mask\n1.png,eos,a,\n", "1.png")).notes == ()
