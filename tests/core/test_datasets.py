"""Every loader on a small tree made in its real layout, with the traps found in the real one."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from cell_folders import classes, picture, reasons, write
from PIL import Image

from napari_bloodcell.core.datasets import (
    DATASETS,
    LOADERS,
    CellImage,
    check,
    contradictions,
    load_dataset,
    read_parts,
    split_of,
    split_of_cell,
)
from napari_bloodcell.core.errors import Cancelled, ConfigError, DataError, ImageError, TaxonomyError
from napari_bloodcell.core.taxonomy import Taxonomy

# Matek-19


@pytest.fixture
def matek(tmp_path: Path) -> Path:
    """As unpacked: a folder of the archive's name, the table of annotations beside the images."""
    inside = tmp_path / "PKG" / "AML-Cytomorphology_LMU"
    for code in ("BAS", "NGS", "LYT", "KSC", "MOB", "PMB", "EBO"):
        picture(inside / code / f"{code}_0001.tiff")
    picture(inside / "NGS" / "NGS_0002.tiff", mode="RGBA")
    picture(inside / "NGB" / "NGB_0001.tiff.tiff")
    write(inside / "annotations.dat", "BAS/BAS_0001.tiff BAS nan nan\n")
    return tmp_path / "PKG"


def test_matek_is_recognised_inside_the_folder_of_its_archive(matek: Path) -> None:
    found = load_dataset(matek)
    assert found.name == "matek"
    assert classes(found) == {
        "BAS_0001.tiff": "basophil",
        "NGS_0001.tiff": "neutrophil_segmented",
        "NGS_0002.tiff": "neutrophil_segmented",
        "NGB_0001.tiff.tiff": "neutrophil_banded",
        "LYT_0001.tiff": "lymphocyte_typical",
        "KSC_0001.tiff": "smudge_cell",
        "EBO_0001.tiff": "erythroblast",
    }
    assert {cell.um_per_px for cell in found.cells} == {0.071}
    assert found.domains == ("matek",)


def test_matek_leaves_out_monoblasts_and_bilobed_promyelocytes(matek: Path) -> None:
    assert reasons(load_dataset(matek)) == {
        "MOB": "class 'MOB' is left out of this set on purpose",
        "PMB": "class 'PMB' is left out of this set on purpose",
    }


def test_the_reproduction_preset_counts_monoblasts_as_monocytes(matek: Path) -> None:
    found = load_dataset(matek, preset="reproduction")
    assert classes(found)["MOB_0001.tiff"] == "monocyte"
    assert list(reasons(found)) == ["PMB"]


def test_a_deep_check_counts_the_images_with_an_alpha_channel(matek: Path) -> None:
    report = check(matek, deep=True)
    assert report.domains[0].modes == {"RGB": 6, "RGBA": 1}
    assert "RGB 6, RGBA 1" in report.text()


def test_short_names_of_any_lab_are_not_taken_for_matek(tmp_path: Path) -> None:
    for name in ("BAS", "EOS", "MON"):
        picture(tmp_path / "lab" / name / "1.png")
    found = load_dataset(tmp_path / "lab")
    assert found.name == "folders"
    assert {cell.um_per_px for cell in found.cells} == {None}


# Acevedo-20


@pytest.fixture
def acevedo(tmp_path: Path) -> Path:
    root = tmp_path / "PBC_dataset_normal_DIB"
    inside = root / "PBC_dataset_normal_DIB"
    for name in (
        "basophil/BA_100102.jpg",
        "ig/MMY_1.jpg",
        "ig/PMY_2.jpg",
        "ig/IG_3.jpg",
        "neutrophil/SNE_4.jpg",
        "neutrophil/BNE_5.jpg",
        "neutrophil/NEUTROPHIL_6.jpg",
        "lymphocyte/LY_7.jpg",
        "erythroblast/ERB_8.jpg",
        "platelet/PLATELET_9.jpg",
        "neutrophil/NEUTROFIL_10.jpg",
        "neutrophil/11.jpg",
    ):
        picture(inside / name, (36, 36))
    write(inside / "neutrophil" / ".DS_169665.jpg", "not an image")
    write(inside / "neutrophil" / "SNE_12.jpg", "")
    return root


def test_acevedo_takes_the_class_from_the_file_not_from_the_folder(acevedo: Path) -> None:
    found = load_dataset(acevedo)
    assert found.name == "acevedo"
    assert classes(found) == {
        "BA_100102.jpg": "basophil",
        "MMY_1.jpg": "metamyelocyte",
        "PMY_2.jpg": "promyelocyte",
        "SNE_4.jpg": "neutrophil_segmented",
        "BNE_5.jpg": "neutrophil_banded",
        "LY_7.jpg": "lymphocyte_typical",
        "ERB_8.jpg": "erythroblast",
    }
    assert {cell.um_per_px for cell in found.cells} == {0.10}


def test_acevedo_says_why_each_other_file_is_left_out(acevedo: Path) -> None:
    assert reasons(load_dataset(acevedo)) == {
        "IG_3.jpg": "class 'IG' is left out of this set on purpose",
        "NEUTROPHIL_6.jpg": "class 'NEUTROPHIL' is left out of this set on purpose",
        "PLATELET_9.jpg": "class 'PLATELET' is left out of this set on purpose",
        "NEUTROFIL_10.jpg": "unknown class 'NEUTROFIL' (nearest known: neutrophil)",
        "11.jpg": "no class prefix in the file name",
        ".DS_169665.jpg": "dot file (left by an operating system, not an image)",
        "SNE_12.jpg": "empty file (0 bytes)",
    }


def test_images_of_another_size_stay_and_are_reported(acevedo: Path) -> None:
    picture(acevedo / "PBC_dataset_normal_DIB" / "basophil" / "BA_200.jpg", (360, 363))
    report = check(acevedo, deep=True)
    assert report.total == 8
    assert report.domains[0].other_sizes == 7
    assert "never let a model see image size or border" in report.text()


# Raabin-WBC


@pytest.fixture
def raabin(tmp_path: Path) -> Path:
    root = tmp_path / "Raabin"
    for name in ("Train/Neutrophil/1.jpg", "Train/Basophil/2.jpg", "TestA/Monocyte/3.jpg"):
        picture(root / name)
    picture(root / "TestB" / "Lymphocyte" / "4.jpg")
    picture(root / "TestB" / "5.jpg")
    picture(root / "Train" / "Burst" / "6.jpg")
    return root


def test_raabin_keeps_the_part_of_another_camera_as_its_own_domain(raabin: Path) -> None:
    found = load_dataset(raabin)
    assert found.name == "raabin"
    assert {cell.path.name: cell.domain for cell in found.cells} == {
        "1.jpg": "raabin",
        "2.jpg": "raabin",
        "3.jpg": "raabin",
        "4.jpg": "raabin-testb",
    }
    assert found.notes == (
        "TestB of Raabin-WBC is of another microscope and camera: it counts as a laboratory of its own.",
    )
    papers = load_dataset(raabin, preset="reproduction")
    assert (papers.domains, papers.notes) == (("raabin",), ())


def test_raabin_images_without_a_class_are_listed_apart(raabin: Path) -> None:
    found = load_dataset(raabin)
    assert [cell.path.name for cell in found.unlabelled] == ["5.jpg"]
    assert reasons(found) == {"Burst": "unknown class 'Burst' (none is near; classes.csv takes your own)"}
    assert "without a class" in check(raabin).text()


# Zheng-18


@pytest.fixture
def zheng(tmp_path: Path) -> Path:
    root = tmp_path / "segmentation_WBC-master"
    for part, numbers in (("Dataset 1", (1, 2, 3, 10)), ("Dataset 2", (1,))):
        for number in numbers:
            picture(root / part / f"{number:03d}.bmp")
            picture(root / part / f"{number:03d}.png", mode="L")
    write(root / "Class Labels of Dataset 1.csv", "image ID,class label\r\n1,2\r\n2,5\r\n3,7\r\n")
    write(root / "Class Labels of Dataset 2.csv", "image ID,class label\n1,1\n")
    return root


def test_zheng_joins_numbers_to_files_and_masks(zheng: Path) -> None:
    found = load_dataset(zheng)
    assert found.name == "zheng"
    got = {(cell.domain, cell.path.name): cell.class_name for cell in found.cells}
    assert got == {
        ("jtsc", "001.bmp"): "lymphocyte",
        ("jtsc", "002.bmp"): "basophil",
        ("cellavision", "001.bmp"): "neutrophil",
    }
    assert all(cell.mask_path == cell.path.with_suffix(".png") for cell in found.cells)


def test_zheng_names_a_class_number_that_does_not_exist(zheng: Path) -> None:
    found = load_dataset(zheng)
    assert reasons(found) == {"003.bmp": "unknown class '7' (none is near; classes.csv takes your own)"}
    assert [cell.path.name for cell in found.unlabelled] == ["010.bmp"]


def test_one_part_of_zheng_finds_its_table_beside_it(zheng: Path) -> None:
    assert load_dataset(zheng / "Dataset 2").domains == ("cellavision",)


def test_zheng_without_its_table_says_where_it_belongs(zheng: Path) -> None:
    (zheng / "Class Labels of Dataset 1.csv").unlink()
    with pytest.raises(DataError, match=r"No CSV of classes for .*'Class Labels of Dataset 1.csv'"):
        load_dataset(zheng)


def test_a_mask_of_another_size_is_reported_by_a_deep_check(zheng: Path) -> None:
    picture(zheng / "Dataset 1" / "001.png", (9, 9), "L")
    write(zheng / "Dataset 1" / "002.png", "no image")
    found = {group.reason: group.example for group in check(zheng, deep=True).skipped}
    assert found["mask of another size than its image (its cell is kept)"] == "Dataset 1/001.png"
    assert found["unreadable mask (its cell is kept)"] == "Dataset 1/002.png"


# LISC


def test_lisc_finds_the_first_experts_outlines(tmp_path: Path) -> None:
    root = tmp_path / "LISC Database"
    for folder in ("Baso", "eosi", "lymp", "mono", "neut", "mixt"):
        picture(root / "Main Dataset" / folder / "1.bmp")
    mask = picture(root / "Ground Truth Segmentation" / "Baso" / "areaforexpert1" / "1_expert.bmp", mode="L")
    picture(root / "Ground Truth Segmentation" / "Baso" / "areaforexpert2" / "1_expert.bmp", mode="L")
    found = load_dataset(root)
    assert found.name == "lisc"
    assert sorted(cell.class_name for cell in found.cells) == [
        "basophil",
        "eosinophil",
        "lymphocyte",
        "monocyte",
        "neutrophil",
    ]
    masks = {cell.class_name: cell.mask_path for cell in found.cells}
    assert masks["basophil"] == mask
    assert masks["neutrophil"] is None
    assert reasons(found) == {"mixt": "class 'mixt' is left out of this set on purpose"}
    assert load_dataset(root / "Main Dataset").name == "lisc"


# BCCD


def voc(*boxes: tuple[str, int, int, int, int]) -> str:
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax>"
        "</bndbox></object>"
        for name, a, b, c, d in boxes
    )
    return f"<annotation><filename>x.jpg</filename>{objects}</annotation>"


@pytest.fixture
def bccd(tmp_path: Path) -> Path:
    root = tmp_path / "BCCD"
    white, red = ("WBC", 1, 1, 64, 48), ("RBC", 2, 2, 9, 9)
    fields = {
        0: voc(white, red, red, ("Platelets", 3, 3, 5, 5)),
        1: voc(white, ("WBC", 10, 10, 20, 20)),
        2: voc(("WBC", 5, 5, 5, 4), red),
        3: "<annotation><object>",
        4: '<!DOCTYPE a [<!ENTITY b "c">]><annotation/>',
        5: voc(white, white),
    }
    for number, text in fields.items():
        picture(root / "JPEGImages" / f"BloodImage_{number:05d}.jpg", (64, 48))
        write(root / "Annotations" / f"BloodImage_{number:05d}.xml", text)
    picture(root / "JPEGImages" / "BloodImage_00009.jpg", (64, 48))
    write(root / "Annotations" / "BloodImage_00010.xml", voc(white))
    return root


def test_bccd_without_a_table_gives_boxes_without_a_class(bccd: Path) -> None:
    found = load_dataset(bccd)
    assert found.name == "bccd"
    assert found.cells == ()
    assert len(found.unlabelled) == 5
    assert "BCCD tells no class: boxes only" in found.notes[0]


def test_bccd_boxes_count_from_zero_and_exclude_the_far_edge(bccd: Path) -> None:
    assert load_dataset(bccd).unlabelled[0].box_xyxy == (0, 0, 64, 48)


def test_bccd_gives_a_class_only_where_there_is_no_doubt_which_box_it_is(bccd: Path) -> None:
    write(
        bccd / "labels.csv",
        ',Image,Category\n0,0,NEUTROPHIL\n1,1,"NEUTROPHIL, EOSINOPHIL"\n2,2,\n3,5,"MONOCYTE, MONOCYTE"\n',
    )
    found = load_dataset(bccd)
    assert [(cell.path.stem, cell.class_name) for cell in found.cells] == [
        ("BloodImage_00000", "neutrophil"),
        ("BloodImage_00005", "monocyte"),
        ("BloodImage_00005", "monocyte"),
    ]
    assert {cell.path.stem for cell in found.unlabelled} == {"BloodImage_00001"}


def test_bccd_takes_the_class_of_a_field_from_the_name_of_its_crop(bccd: Path) -> None:
    write(bccd / "labels.csv", "image,class\nBloodImage_00000_1.jpg,Lymphocyte\n")
    assert [cell.class_name for cell in load_dataset(bccd).cells] == ["lymphocyte"]


def test_bccd_counts_every_box_it_leaves_out(bccd: Path) -> None:
    counts = {group.reason: group.count for group in check(bccd).skipped}
    assert counts == {
        "box of RBC, not a white cell": 3,
        "box of Platelets, not a white cell": 1,
        "box without area": 1,
        "annotation that is not a VOC file": 2,
        "no annotation for this field": 1,
        "annotation without its field": 1,
    }


# MLL23, SYSU3H, LDWBC, WBC_DG


@pytest.fixture
def mll23(tmp_path: Path) -> Path:
    """Each class is its own zip: unpacked by hand, the folder's name comes twice, and a Mac adds ghosts."""
    root = tmp_path / "MLL23"
    for name in ("normoblast", "lymphocyte", "lymphocyte_reactive", "neutrophil_band", "hairy_cell"):
        picture(root / name / name / f"{name}_1.tif")
    picture(root / "basophil" / "basophil_1.tif")
    picture(root / "__MACOSX" / "basophil" / "basophil_1.tif")
    write(root / "normoblast" / "normoblast" / "._normoblast_1.tif", "ghost")
    return root


def test_mll23_is_read_through_folders_of_the_same_name(mll23: Path) -> None:
    found = load_dataset(mll23)
    assert found.name == "mll23"
    assert classes(found) == {
        "normoblast_1.tif": "erythroblast",
        "lymphocyte_1.tif": "lymphocyte_typical",
        "lymphocyte_reactive_1.tif": "lymphocyte_atypical",
        "neutrophil_band_1.tif": "neutrophil_banded",
        "basophil_1.tif": "basophil",
    }
    assert {cell.um_per_px for cell in found.cells} == {0.087}
    assert reasons(found) == {
        "hairy_cell": "class 'hairy_cell' is left out of this set on purpose",
        "._normoblast_1.tif": "dot file (left by an operating system, not an image)",
    }


def test_a_lab_that_lists_a_dropped_class_gets_it(mll23: Path) -> None:
    found = load_dataset(mll23, taxonomy=Taxonomy.of_lab({"hairy cell": "lymphocyte"}))
    assert classes(found)["hairy_cell_1.tif"] == "hairy_cell"


def test_sysu3h_stays_coarse_unless_the_papers_are_reproduced(tmp_path: Path) -> None:
    root = tmp_path / "SYSU3H"
    for name in ("neutrophil", "lymphocyte", "monocyte"):
        picture(root / name / f"{name}.png")
    found = load_dataset(root)
    assert found.name == "sysu3h"
    assert classes(found)["neutrophil.png"] == "neutrophil"
    fine = classes(load_dataset(root, preset="reproduction"))
    assert fine == {
        "neutrophil.png": "neutrophil_segmented",
        "lymphocyte.png": "lymphocyte_typical",
        "monocyte.png": "monocyte",
    }


@pytest.mark.parametrize("name", ["Neutrophil", "neutrophils", "Neut"])
def test_ldwbc_is_recognised_by_its_folder_and_reads_any_spelling(tmp_path: Path, name: str) -> None:
    picture(tmp_path / "LDWBC" / name / "1.jpg")
    found = load_dataset(tmp_path / "LDWBC")
    assert (found.name, found.domains, found.classes) == ("ldwbc", ("ldwbc",), ("neutrophil",))


def test_wbc_dg_takes_the_folder_for_the_class_even_in_its_copy_of_acevedo(tmp_path: Path) -> None:
    picture(tmp_path / "WBC_DG" / "acevedo" / "neutrophil" / "SNE_1.jpg")
    picture(tmp_path / "WBC_DG" / "raabin" / "Basophil" / "2.jpg")
    found = load_dataset(tmp_path / "WBC_DG")
    assert found.name == "wbc_dg"
    assert found.domains == ("acevedo", "raabin")
    assert classes(found) == {"SNE_1.jpg": "neutrophil", "2.jpg": "basophil"}


# Any lab


def test_a_coarse_label_is_valid_beside_fine_ones(tmp_path: Path) -> None:
    for name in ("neutrophil", "Band neutrophil", "Monocytes"):
        picture(tmp_path / "ward 3" / name / "1.png")
    found = load_dataset(tmp_path / "ward 3")
    assert found.name == "folders"
    assert found.domains == ("ward 3",)
    assert found.classes == ("monocyte", "neutrophil", "neutrophil_banded")


def test_folders_of_domains_give_one_domain_each(tmp_path: Path) -> None:
    picture(tmp_path / "rapid stain" / "lymphocyte" / "1.png")
    picture(tmp_path / "giemsa" / "eos" / "1.png")
    (tmp_path / "notes").mkdir()
    found = load_dataset(tmp_path)
    assert {cell.domain: cell.class_name for cell in found.cells} == {
        "giemsa": "eosinophil",
        "rapid stain": "lymphocyte",
    }
    assert reasons(found) == {"notes": "no data set recognised in this folder"}


def test_train_and_test_folders_are_one_domain(tmp_path: Path) -> None:
    picture(tmp_path / "lab" / "train" / "lymphocyte" / "1.png")
    picture(tmp_path / "lab" / "test" / "monocyte" / "2.png")
    found = load_dataset(tmp_path / "lab")
    assert found.domains == ("lab",)
    assert len(found) == 2
    assert found.notes == (
        "The folders test, train are taken for parts of one laboratory's cells. "
        "Rename them where they are of several.",
    )


def test_a_folder_of_an_unknown_class_is_named_with_the_nearest_known_one(tmp_path: Path) -> None:
    picture(tmp_path / "lab" / "lymphocyte" / "1.png")
    for number in range(3):
        picture(tmp_path / "lab" / "Neutrofil" / f"{number}.png")
    found = load_dataset(tmp_path / "lab")
    assert reasons(found) == {"Neutrofil": "unknown class 'Neutrofil' (nearest known: neutrophil)"}
    assert found.skipped[0].count == 3


def test_stray_files_of_a_class_folder_are_each_explained(tmp_path: Path) -> None:
    folder = tmp_path / "lab" / "monocyte"
    picture(folder / "1.png")
    picture(folder / "old" / "band" / "2.png")
    picture(folder / "masks" / "1.png")
    write(folder / "notes.txt", "x")
    write(folder / "3.png", "")
    picture(tmp_path / "lab" / "4.png")
    assert reasons(load_dataset(tmp_path / "lab")) == {
        "band": "in a folder of one class below that of another",
        "masks": "in a folder of masks",
        "notes.txt": "not an image file",
        "3.png": "empty file (0 bytes)",
        "4.png": "outside any class folder",
    }


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """As a European Excel writes it: byte-order mark, semicolons, decimal commas."""
    root = tmp_path / "clinic"
    for number in range(1, 7):
        picture(root / "images" / f"{number}.png")
    picture(root / "masks" / "1.png", mode="L")
    picture(root / "outlines" / "two.png", mode="L")
    write(root / "images" / "._1.png", "ghost")
    rows = (
        "Image;Class;Group;um_per_px;Mask",
        "1.png;Neutrophil;patient 7;0,08;",
        "images\\2.png;band;patient 7;;outlines/two.png",
        "3.png;smugde;;;",
        "4.png;;;;",
        "5;monocyte;;zero;",
        "9.png;monocyte;;;",
        "6.png;monocyte;;;",
        "6.png;lymphocyte;;;",
    )
    write(root / "labels.csv", "\r\n".join(rows), encoding="utf-8-sig")
    return root


def test_a_column_without_a_name_is_no_patient(labelled: Path) -> None:
    write(labelled / "labels.csv", ",image,class\n0,1.png,monocyte\n1,2.png,band\n")  # as pandas writes it
    assert [cell.group for cell in load_dataset(labelled).cells] == [None, None]


def test_a_labelled_folder_gives_group_scale_and_mask_where_known(labelled: Path) -> None:
    found = load_dataset(labelled)
    one, two = found.cells
    images = labelled / "images"
    assert one == CellImage(
        images / "1.png", "neutrophil", "clinic", "patient 7", 0.08, labelled / "masks" / "1.png"
    )
    assert (two.path, two.class_name, two.group) == (images / "2.png", "neutrophil_banded", "patient 7")
    assert two.mask_path == labelled / "outlines" / "two.png"
    assert two.um_per_px is None


def test_a_labelled_folder_explains_each_row_it_leaves_out(labelled: Path) -> None:
    found = load_dataset(labelled)
    assert reasons(found) == {
        "3.png": "unknown class 'smugde' (nearest known: smudge_cell)",
        "5.png": "um_per_px in labels.csv is not a positive number",
        "9.png": "listed in labels.csv, but there is no such file",
        "6.png": "listed in labels.csv with two different classes",
        "._1.png": "dot file (left by an operating system, not an image)",
    }
    assert [cell.path.name for cell in found.unlabelled] == ["4.png"]


def test_a_mask_that_is_not_there_is_reported_and_its_cell_kept(tmp_path: Path) -> None:
    picture(tmp_path / "lab" / "cells" / "1.png")
    picture(tmp_path / "lab" / "cells" / "2.png")
    write(tmp_path / "lab" / "labels.csv", "image,class,mask\n1.png,eos,lost.png\n")
    found = load_dataset(tmp_path / "lab")
    assert len(found) == 1
    assert reasons(found) == {
        "1.png": "mask named in labels.csv, but there is no such image (its cell is kept)",
        "2.png": "not listed in labels.csv",
    }


def test_a_table_without_a_class_column_names_the_columns_it_needs(tmp_path: Path) -> None:
    write(tmp_path / "labels.csv", "picture,kind\n1.png,eos\n")
    with pytest.raises(
        DataError, match=r"has the columns picture, kind. It needs one for the image \(image,"
    ):
        load_dataset(tmp_path)


def test_a_table_in_another_encoding_says_how_to_save_it(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes("image,class\nä.png,eos\n".encode("latin-1"))
    with pytest.raises(DataError, match="Save it as CSV in UTF-8"):
        load_dataset(tmp_path)


# Choosing a loader


def test_known_sets_side_by_side_become_domains(matek: Path, acevedo: Path) -> None:
    found = load_dataset(matek.parent)
    assert found.name == "acevedo + matek"
    assert set(found.domains) == {"matek", "acevedo"}
    assert len(found) == 14


def test_two_copies_of_a_set_do_not_melt_into_one_domain(tmp_path: Path) -> None:
    for copy in ("Matek-19", "Matek-19 copy"):
        for code in ("LYT", "NGS"):
            picture(tmp_path / copy / code / "1.tiff")
    assert load_dataset(tmp_path).domains == ("matek", "matek (Matek-19 copy)")


def test_a_set_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path) -> None:
    picture(tmp_path / "good" / "monocyte" / "1.png")
    write(tmp_path / "bad" / "labels.csv", "a,b\n")
    found = load_dataset(tmp_path)
    assert len(found) == 1
    assert "a set that cannot be read: " in reasons(found)["bad"]


def test_a_set_can_be_named_with_its_year(matek: Path) -> None:
    assert load_dataset(matek, "Matek-19").name == "matek"


def test_an_unknown_set_is_refused_with_the_known_ones(matek: Path) -> None:
    with pytest.raises(DataError, match=r"Unknown data set 'imagenet'. Known: matek, acevedo, raabin"):
        load_dataset(matek, "imagenet")


def test_a_named_set_that_is_not_there_says_what_was_looked_for(tmp_path: Path) -> None:
    picture(tmp_path / "1.png")
    with pytest.raises(DataError, match=r"No cells found in .* \(Matek-19 .* Looked for <CODE>/ folders BAS"):
        load_dataset(tmp_path, "matek")


def test_an_empty_folder_is_refused_with_all_that_is_accepted(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"No cells found in .* Accepted are .* labels.csv with columns image"
    ):
        check(tmp_path)


def test_a_missing_folder_and_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere does not exist. Give the folder that holds the images"):
        load_dataset(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"a.png is a file"):
        load_dataset(picture(tmp_path / "a.png"))


def test_every_loader_has_its_source_and_layout_written_down() -> None:
    assert set(LOADERS) == set(DATASETS)
    assert all(info.title and info.layout for info in DATASETS.values())


def test_the_folder_one_stands_in_can_be_given_as_a_dot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(tmp_path / "lab" / "monocyte" / "1.png")
    monkeypatch.chdir(tmp_path / "lab")
    assert load_dataset(Path()).domains == ("lab",)


# The check


def test_the_table_of_counts_has_classes_down_and_domains_across(tmp_path: Path) -> None:
    for number in range(2):
        picture(tmp_path / "a" / "monocyte" / f"{number}.png")
    picture(tmp_path / "a" / "band" / "1.png")
    picture(tmp_path / "b" / "neutrophil" / "1.png")
    write(tmp_path / "b" / "neutrophil" / "2.png", "")
    text = check(tmp_path).text()
    assert "class              a  b  all\n" in text
    assert "monocyte           2  -    2\n" in text
    assert "total              3  1    4\n" in text
    assert "skipped: 1\n      1  empty file (0 bytes), e.g. b/neutrophil/2.png" in text


def test_a_picture_sorted_into_two_classes_is_told_with_both_names(tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    for number, place in enumerate(
        ("monocyte/1.png", "monocyte/2.png", "eosinophil/1.png", "eosinophil/2.png")
    ):
        write(lab / place, f"picture {number}")  # as long as each other, and not the same
    assert not contradictions(load_dataset(lab).cells)
    shutil.copyfile(lab / "monocyte" / "1.png", lab / "eosinophil" / "zz.png")
    shutil.copyfile(
        lab / "monocyte" / "2.png", lab / "monocyte" / "copy.png"
    )  # of one class: no contradiction
    said = (
        "The same picture has two classes: eosinophil/zz.png (eosinophil) and monocyte/1.png (monocyte). Keep "
        "one of them."
    )
    assert check(lab).notes == (said,)
    assert f"note: {said}" in check(lab).text()
    for number in range(2, 9):
        shutil.copyfile(lab / "monocyte" / "1.png", lab / "eosinophil" / f"{number}.png")
        write(lab / "monocyte" / f"m{number}.png", f"other {number}")
        shutil.copyfile(lab / "monocyte" / f"m{number}.png", lab / "eosinophil" / f"m{number}.png")
    told = contradictions(load_dataset(lab).cells)
    assert len(told) == 6
    assert told[-1] == "3 more pictures with two classes."


def test_classes_with_a_single_cell_are_told(tmp_path: Path) -> None:
    for number, place in enumerate(("monocyte/1.png", "monocyte/2.png", "basophil/1.png")):
        write(tmp_path / "lab" / place, f"picture {number}")
    assert check(tmp_path / "lab").notes == (
        "Classes with a single cell, which no classifier can be trained on: basophil.",
    )


def test_a_coarse_label_counts_as_present_where_another_domain_is_fine(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "band" / "1.png")
    picture(tmp_path / "b" / "neutrophil" / "1.png")
    picture(tmp_path / "b" / "myeloblast" / "1.png")
    missing = {domain.name: domain.missing for domain in check(tmp_path).domains}
    assert missing == {
        "a": ("basophil", "eosinophil", "lymphocyte", "monocyte", "myeloblast"),
        "b": ("basophil", "eosinophil", "lymphocyte", "monocyte"),
    }


def test_only_a_deep_check_finds_an_image_nobody_can_read(tmp_path: Path) -> None:
    picture(tmp_path / "lab" / "monocyte" / "1.png", (25, 37))
    picture(tmp_path / "lab" / "monocyte" / "2.png", (39, 26))
    write(tmp_path / "lab" / "monocyte" / "3.png", "not an image")
    assert check(tmp_path / "lab").total == 3
    deep = check(tmp_path / "lab", deep=True)
    assert deep.total == 2
    assert [(group.reason, group.count) for group in deep.skipped] == [
        (
            "is not an image: it starts with b'not an i'. Accepted are PNG, JPEG, BMP, WebP, TIFF, OME-TIFF, "
            "SVS, NDPI and OME-Zarr; open it in the program that made it and export one of these",
            1,
        )
    ]
    assert "25x26 to 39x37" in deep.text()


def test_a_tiff_that_pillow_does_not_know_is_readable(tmp_path: Path) -> None:
    path = tmp_path / "lab" / "monocyte" / "1.tif"
    path.parent.mkdir(parents=True)
    tifffile.imwrite(path, np.zeros((24, 32, 3), np.float32), photometric="rgb")
    report = check(tmp_path / "lab", deep=True)
    assert report.domains[0].sizes == ((32, 24), (32, 24))
    assert report.skipped == ()


def test_groups_scales_and_masks_are_counted(labelled: Path) -> None:
    domain = check(labelled).domains[0]
    assert (domain.with_group, domain.groups, domain.with_mask, domain.with_scale) == (2, 1, 2, 1)
    assert domain.um_per_px == (0.08, 0.08)


def test_the_report_goes_to_json_and_back(labelled: Path) -> None:
    report = check(labelled, deep=True)
    stored = json.loads(json.dumps(report.to_json()))
    assert stored["cells"] == 2
    assert stored["domains"][0]["counts"] == {"neutrophil": 1, "neutrophil_banded": 1}
    assert stored["domains"][0]["sizes"] == [[32, 24], [32, 24]]
    assert {"reason", "count", "example"} == set(stored["skipped"][0])


def test_a_deep_check_can_be_cancelled(matek: Path) -> None:
    def cancel(stage: str, done: int, total: int) -> None:
        assert (stage, done, total) == ("opening images", 0, 7)
        raise Cancelled

    with pytest.raises(Cancelled):
        check(matek, deep=True, progress=cancel)


# The split


def test_adding_cells_never_moves_a_cell_to_the_other_side() -> None:
    names = [f"SNE_{number}.jpg" for number in range(2000)]
    sides = [split_of(name) for name in names]
    assert sides == [split_of(f"/another/place/{name}") for name in names]
    assert 0.17 < sides.count("held_out") / len(sides) < 0.23


def test_a_larger_held_out_part_contains_the_smaller_one() -> None:
    names = [str(number) for number in range(200)]
    small = {name for name in names if split_of(name, 0.1) == "held_out"}
    assert small < {name for name in names if split_of(name, 0.4) == "held_out"}


def test_the_split_of_a_name_is_fixed_for_good() -> None:
    held_out = [number for number in range(20) if split_of(f"{number}.png") == "held_out"]
    assert held_out == [0, 6, 7, 8, 14, 18]


def test_windows_paths_split_as_their_names_do() -> None:
    assert split_of("C:\\cells\\7.png") == split_of("7.png")


def test_cells_of_one_patient_sit_on_one_side() -> None:
    cells = [CellImage(Path(f"{n}.png"), "monocyte", "lab", group="patient/7") for n in range(50)]
    assert len({split_of_cell(cell, 0.5) for cell in cells}) == 1
    alone = [CellImage(Path(f"{n}.png"), "monocyte", "lab") for n in range(50)]
    assert len({split_of_cell(cell, 0.5) for cell in alone}) == 2


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_that_leaves_no_training_cells_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="is out of range; it takes 0 to less than 1"):
        split_of("1.png", share)


# The masks


def test_masks_in_grey_and_masks_by_number_mean_the_same(tmp_path: Path) -> None:
    parts = np.array([[0, 1, 2], [2, 2, 0]], np.uint8)
    Image.fromarray(parts).save(tmp_path / "number.png")
    Image.fromarray(np.array([0, 128, 255], np.uint8)[parts]).save(tmp_path / "grey.png")
    for name in ("number.png", "grey.png"):
        np.testing.assert_array_equal(read_parts(tmp_path / name), parts)


def test_a_mask_nobody_can_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"Cannot read the mask .*m.png: .* one channel"):
        read_parts(write(tmp_path / "m.png", "x"))


# The real cells of three labs


@pytest.mark.realdata
def test_the_three_real_sets_are_complete(real_data: Path) -> None:
    found = load_dataset(real_data)
    counts = found.counts()
    assert counts["jtsc"] == {
        "neutrophil": 139,
        "lymphocyte": 43,
        "monocyte": 40,
        "eosinophil": 17,
        "basophil": 1,
    }
    assert counts["cellavision"].total() == 80
    assert counts["bccd"].total() == 283
    assert all(cell.mask_path for cell in found.cells if cell.domain != "bccd")


@pytest.mark.realdata
def test_real_masks_hold_ground_cytoplasm_and_nucleus(real_data: Path) -> None:
    masks = [cell.mask_path for cell in load_dataset(real_data / "cellavision").cells]
    assert all(set(np.unique(read_parts(mask))) == {0, 1, 2} for mask in masks if mask)


@pytest.mark.realdata
def test_every_real_image_has_a_readable_header(real_data: Path) -> None:
    report = check(real_data, deep=True)
    assert report.total == 603
    assert report.skipped == ()
    assert {domain.name: domain.sizes for domain in report.domains}["cellavision"] == ((300, 300), (300, 300))


@pytest.mark.realdata
@pytest.mark.parametrize(("name", "cells"), [("jtsc", 240), ("cellavision", 80), ("bccd", 283)])
def test_each_real_set_loads_alone(real_data: Path, name: str, cells: int) -> None:
    found = load_dataset(real_data / name)
    assert found.domains == (name,)
    assert len(found) == cells


# A lab's own classes


def test_a_folder_may_list_classes_of_its_own(tmp_path: Path) -> None:
    for name in ("lymphocyte", "Hairy cells", "plasma cell"):
        picture(tmp_path / "ward 3" / name / "1.png")
    assert load_dataset(tmp_path / "ward 3").classes == ("lymphocyte",)
    write(tmp_path / "ward 3" / "classes.csv", "Class;Parent\nhairy cell;lymph\nplasma cell;\n")
    found = load_dataset(tmp_path / "ward 3")
    assert found.classes == ("hairy_cell", "lymphocyte", "plasma_cell")
    assert reasons(found) == {}
    assert found.taxonomy.coarse("hairy_cell") == "lymphocyte"
    assert found.taxonomy.coarse("plasma_cell") == "plasma_cell"


def test_own_classes_hold_for_their_lab_and_those_around_for_all(tmp_path: Path) -> None:
    for lab in ("a", "b"):
        for name in ("lymphocyte", "hairy cell", "plasma cell"):
            picture(tmp_path / lab / name / "1.png")
    write(tmp_path / "classes.csv", "class\nplasma cell\n")
    write(tmp_path / "b" / "classes.csv", "class,parent\nhairy cell,lymphocyte\n")
    found = load_dataset(tmp_path)
    assert {c.class_name for c in found.of_domain("a")} == {"lymphocyte", "plasma_cell"}
    assert {c.class_name for c in found.of_domain("b")} == {"lymphocyte", "plasma_cell", "hairy_cell"}
    assert found.taxonomy.coarse("hairy_cell") == "lymphocyte"


def test_own_classes_beside_numbered_pictures_are_no_table_of_labels(zheng: Path) -> None:
    before = classes(load_dataset(zheng))
    for folder in [zheng, *(p for p in zheng.rglob("*") if p.is_dir())]:
        write(folder / "classes.csv", "class\nplasma cell\n")
    assert classes(load_dataset(zheng)) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,parent\nhairy cell,lymphocyte\n", "has the columns name, parent; it takes class"),
        ("class,parent\nhairy cell,lymphocyte\nhairy cell,monocyte\n", "line 3: hairy_cell is there twice"),
        ("class,parent\n?,lymphocyte\n", "'\\?' is not a class name"),
        ("class,parent\n", "this one is empty"),
        ("class,parent\nhairy cell,lymphozyte\n", "line 2: the parent 'lymphozyte' is no class"),
        ("class,parent\nhairy cell,lymphocyte\nHairy_Cells,\nHairy_Cell,monocyte\n", "is there twice"),
        ("class,parent\nneutrophil,lymphocyte\n", "neutrophil is known already"),
        ("class,parent\nunidentified,\n", "unidentified is known already"),
    ],
)
def test_a_list_of_classes_that_cannot_be_read_says_why(tmp_path: Path, text: str, message: str) -> None:
    picture(tmp_path / "lab" / "lymphocyte" / "1.png")
    write(tmp_path / "lab" / "classes.csv", text)
    with pytest.raises(DataError, match=message):
        load_dataset(tmp_path / "lab")


def test_two_folders_that_give_a_class_two_parents_are_refused(tmp_path: Path) -> None:
    for lab, parent in (("a", "lymphocyte"), ("b", "monocyte")):
        picture(tmp_path / lab / "hairy cell" / "1.png")
        write(tmp_path / lab / "classes.csv", f"class,parent\nhairy cell,{parent}\n")
    with pytest.raises(TaxonomyError, match="'hairy_cell' belongs to lymphocyte in one list"):
        load_dataset(tmp_path)
