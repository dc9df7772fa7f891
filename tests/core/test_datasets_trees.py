"""Class folders: which set they are, what is a part of one laboratory, what lies deeper."""

from pathlib import Path

import pytest
from cell_folders import classes, picture, reasons

from napari_bloodcell.core.datasets import check, load_dataset
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.taxonomy import DATASET_CODES

MARROW = DATASET_CODES["bone_marrow"]


def test_bone_marrow_is_not_taken_for_matek(tmp_path: Path) -> None:
    for code in MARROW:
        picture(tmp_path / "bm" / code / f"{code}_00001.jpg", (250, 250))
    found = load_dataset(tmp_path / "bm")
    assert (found.name, found.domains) == ("bone_marrow", ("bone_marrow",))
    assert {cell.um_per_px for cell in found.cells} == {None}
    assert classes(found)["BLA_00001.jpg"] == "myeloblast"
    assert len(found) == 12
    assert set(reasons(found)) == {"ABE", "ART", "FGC", "HAC", "LYI", "NIF", "OTH", "PEB", "PLM"}
    assert reasons(found)["ABE"] == "class 'ABE' is left out of this set on purpose"
    assert "bone marrow, not of blood" in check(tmp_path / "bm").text()


@pytest.mark.parametrize(
    ("codes", "name"),
    [
        (("BLA", "EBO", "MMZ", "NGS"), "BLA_00001.jpg"),
        (("BAS", "EOS", "LYT", "MON", "NGS"), "BAS_00001.jpg"),
        (("BAS", "EOS", "LYT", "MON", "NGS"), "0001-1000/BAS_00001.jpg"),
    ],
)
def test_a_choice_of_its_classes_is_bone_marrow_too(
    tmp_path: Path, codes: tuple[str, ...], name: str
) -> None:
    for code in codes:
        picture(tmp_path / "bm" / code / name.replace(name[-13:-10], code))
    assert load_dataset(tmp_path / "bm").name == "bone_marrow"


def test_codes_of_both_sets_are_neither(tmp_path: Path) -> None:
    for code in ("ABE", "LYA", "MOB", "EBO", "EOS"):
        picture(tmp_path / "lab" / code / "1.png")
    assert load_dataset(tmp_path / "lab").name == "folders"


@pytest.mark.parametrize(
    "parts",
    [
        ("TRAIN", "TEST", "TEST_SIMPLE"),
        ("train1", "test1"),
        ("Train", "Test-B x", "val2"),
        ("training", "Testing A"),
    ],
)
def test_parts_of_one_laboratory_by_many_names(tmp_path: Path, parts: tuple[str, ...]) -> None:
    for part in parts:
        picture(tmp_path / "kaggle" / "images" / part / "MONOCYTE" / "1.jpeg")
    found = load_dataset(tmp_path / "kaggle")
    assert (found.domains, len(found)) == (("kaggle",), len(parts))
    assert all(part in found.notes[0] for part in parts)


@pytest.mark.parametrize("other", ["giemsa", "valley", "tested", "Validus"])
def test_laboratories_keep_apart(tmp_path: Path, other: str) -> None:
    for lab in ("test", other):
        picture(tmp_path / "all" / lab / "MONOCYTE" / "1.jpeg")
    assert set(load_dataset(tmp_path / "all").domains) == {"test", other}


def test_pictures_below_a_class_folder_are_of_its_class_and_told(tmp_path: Path) -> None:
    folder = tmp_path / "lab" / "monocyte"
    for name in ("1.png", "0001-1000/2.png", "ward 3/monocytes/3.png"):
        picture(folder / name)
    (folder / "loop").symlink_to(tmp_path / "lab", target_is_directory=True)
    found = load_dataset(tmp_path / "lab")
    assert classes(found) == dict.fromkeys(("1.png", "2.png", "3.png"), "monocyte")
    assert found.notes == (
        "Read too: 2 pictures in folders below class folders, e.g. in monocyte/0001-1000/.",
    )
    assert reasons(found) == {"loop": "a link to a folder, which is not followed below a class folder"}


def test_a_recognised_set_without_cells_says_what_was_left_out(tmp_path: Path) -> None:
    for code in ("LYA", "NGS", "MOB"):
        picture(tmp_path / "lab" / code / "1.tiff").write_bytes(b"")
    with pytest.raises(DataError, match=r"No cells found in .* Left out: 2 empty file \(0 bytes\)") as error:
        load_dataset(tmp_path / "lab")
    assert "Leave out the name" not in str(error.value)
    with pytest.raises(DataError, match="Leave out the name"):
        load_dataset(tmp_path / "lab", "matek")
