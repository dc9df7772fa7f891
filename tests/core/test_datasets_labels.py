"""A table of image and class as people write it: columns, names of files, encodings, pixel sizes."""

from pathlib import Path

import pytest
from cell_folders import classes, picture, reasons, write

from napari_bloodcell.core.datasets import check, left_out, load_dataset
from napari_bloodcell.core.errors import DataError


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


def test_a_table_of_other_pictures_names_one_of_each(tmp_path: Path) -> None:
    root = lab(tmp_path, "image,class\nx1.png,eos\nx2.png,eos\n", "a.png")
    said = (
        r"labels.csv lists 2 names, none of which is in images/, e.g. 'x1.png', which holds 'a.png' for one"
    )
    for name in (None, "labels"):
        with pytest.raises(DataError, match=said):
            load_dataset(root, name)
    (root / "images" / "a.png").unlink()
    with pytest.raises(DataError, match="where there is no image at all"):
        load_dataset(root)


def test_names_in_other_capitals_are_found_and_told(tmp_path: Path) -> None:
    table = "image,class\nA1.PNG,eos\nIMAGES/A2.PNG,mono\nB,baso\nb.png,baso\n"
    root = lab(tmp_path, table, "a1.png", "a2.png", "b.png")
    found = load_dataset(root)
    assert classes(found) == {"a1.png": "eosinophil", "a2.png": "monocyte", "b.png": "basophil"}
    assert found.notes == (
        "3 names in labels.csv, e.g. 'A1.PNG', are written in other capitals than the files; they were found.",
    )


def test_numbers_that_a_spreadsheet_has_shortened_are_found_and_told(tmp_path: Path) -> None:
    root = lab(tmp_path, "image,class\n1,eos\n12.png,mono\n0,baso\n", "001.png", "012.png", "000.png")
    found = load_dataset(root)
    assert classes(found) == {"001.png": "eosinophil", "012.png": "monocyte", "000.png": "basophil"}
    assert "3 names in labels.csv, e.g. '1', are written without the zeros" in found.notes[0]


def test_a_name_that_may_mean_two_files_means_none(tmp_path: Path) -> None:
    root = lab(
        tmp_path,
        "image,class\n1,eos\n2.png,mono\n",
        "01.png",
        "001.png",
        "2.png",
        "002.tif",
    )
    found = load_dataset(root)
    assert classes(found) == {"2.png": "monocyte"}
    assert not found.notes
    assert reasons(found)["1"] == "listed in labels.csv, but there is no such file"


def test_a_stray_table_does_not_hide_folders_of_classes(tmp_path: Path) -> None:
    """As Kaggle's BCCD: the table is that of another download."""
    inside = tmp_path / "kaggle" / "dataset2-master" / "dataset2-master"
    for name in ("EOSINOPHIL", "LYMPHOCYTE"):
        for part in ("TRAIN", "TEST"):
            picture(inside / "images" / part / name / f"_0_{part}.jpeg")
    write(inside / "labels.csv", ",Image,Category\n0,0,NEUTROPHIL\n1,1,NEUTROPHIL\n")
    found = load_dataset(tmp_path / "kaggle")
    assert (found.name, found.domains, len(found)) == ("folders", ("kaggle",), 4)
    assert found.notes[-1].endswith(
        "labels.csv lists 2 names, none of which is in images/: the folders of classes were read instead."
    )


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-8"])
def test_tables_of_german_laboratories_are_read(tmp_path: Path, encoding: str) -> None:
    table = "sep=;\nDateiname;Klasse;Patient\nä1.png;Lymphozyten;7\nä2.png;Stabkernige;7\n"
    found = load_dataset(lab(tmp_path, table, "ä1.png", "ä2.png", encoding=encoding))
    assert classes(found) == {"ä1.png": "lymphocyte", "ä2.png": "neutrophil_banded"}
    assert {cell.group for cell in found.cells} == {"7"}


def test_class_lists_in_utf_16_are_read(tmp_path: Path) -> None:
    picture(tmp_path / "lab" / "Haarzelle" / "1.png")
    write(tmp_path / "lab" / "classes.csv", "class;parent\nHaarzelle;Lymphozyten\n", "utf-16")
    assert load_dataset(tmp_path / "lab").taxonomy.coarse("haarzelle") == "lymphocyte"


def test_pixel_sizes_that_are_none_of_a_smear_are_told(tmp_path: Path) -> None:
    table = "image,class,um_per_px\n1.png,eos,80\n2.png,eos,0.001\n3.png,mono,0.08\n"
    found = load_dataset(lab(tmp_path, table, "1.png", "2.png", "3.png"))
    assert classes(found) == {"3.png": "monocyte"}
    assert "is no pixel size of a smear, which is 0.01 to 2 µm" in reasons(found)["1.png"]
    assert reasons(found)["2.png"] == reasons(found)["1.png"]
    write(tmp_path / "lab" / "labels.csv", table.replace("0.08", "80"))
    with pytest.raises(DataError, match="3 um_per_px in labels.csv is no pixel size of a smear"):
        load_dataset(tmp_path / "lab")


def test_white_cells_without_a_class_are_told(tmp_path: Path) -> None:
    found = load_dataset(lab(tmp_path, "image,class\n1.png,eos\n2.png,\n3.png,\n", "1.png", "2.png", "3.png"))
    assert left_out([found]) == [
        "2 white cells without a class: none is told, or a model's alone, which is no label."
    ]
