from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_bloodcell.core.cell_tables import (
    CellVectors,
    Correction,
    labels_for,
    read_cells,
    read_corrections,
    write_corrections,
)
from napari_bloodcell.core.embed.measurements import COLUMNS, SCALE_FREE, DetailEmbedder, MeasurementEmbedder
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.taxonomy import Taxonomy


def frame(count: int = 4, **columns: object) -> pd.DataFrame:
    values = pd.DataFrame(np.arange(count * len(SCALE_FREE)).reshape(count, -1), columns=list(SCALE_FREE))
    places = pd.DataFrame({"image": "field.png", "cell_id": range(1, count + 1), **columns})
    return pd.concat([places, values], axis=1)


def table(text: str, path: Path) -> Path:
    path.write_text(text)
    return path


def test_results_of_analyse_give_vectors_but_a_models_guess_is_no_label(tmp_path: Path) -> None:
    (tmp_path / "field").mkdir()
    guesses = {"cell_type": ["monocyte", "neut"] * 2, "cell_type_source": ["bundle nano 1", "mk"] * 2}
    frame(**guesses).to_parquet(tmp_path / "field" / "cells.parquet")
    cells = read_cells([tmp_path])
    assert len(read_cells(tmp_path)) == len(read_cells(str(tmp_path))) == len(cells)  # one needs no list
    assert cells.embeddings.embedder == MeasurementEmbedder().hash
    assert cells.embeddings.values[1, 0] == len(SCALE_FREE)
    assert list(cells.label) == ["", "neutrophil", "", "neutrophil"]
    assert list(cells.cell_id) == [1, 2, 3, 4]
    assert cells.group is None


def test_a_table_that_holds_several_vectors_gives_those_a_model_takes(tmp_path: Path) -> None:
    values = pd.DataFrame(np.arange(2.0 * len(COLUMNS)).reshape(2, -1), columns=list(COLUMNS))
    values.assign(image="field.png", cell_id=[1, 2]).to_parquet(tmp_path / "t.parquet")
    for embedder in (MeasurementEmbedder(), DetailEmbedder()):
        for cells in (
            read_cells([tmp_path / "t.parquet"], wanted=embedder.hash),
            read_cells([tmp_path / "t.parquet"], embedder.kind),
        ):
            assert (cells.embeddings.embedder, cells.embeddings.names) == (embedder.hash, embedder.names)
            place = COLUMNS.index(embedder.names[-1])
            assert cells.embeddings.values[1, -1] == len(COLUMNS) + place
    plain = read_cells([tmp_path / "t.parquet"], wanted="of another model")
    assert plain.embeddings.embedder == MeasurementEmbedder().hash


def test_an_empty_place_in_a_column_is_no_class_and_no_slide(tmp_path: Path) -> None:
    told = {"cell_type": ["monocyte", None, None, "band"], "slide": ["s1", None, "s1", None]}
    images = ["a.png", "a.png", "b.png", "b.png"]
    for path in (tmp_path / "t.parquet", tmp_path / "t.csv"):
        written = frame(**told).assign(image=images)
        written.to_parquet(path) if path.suffix == ".parquet" else written.to_csv(path)
        cells = read_cells(path)
        assert list(cells.label) == ["monocyte", "", "", "neutrophil_banded"]
        assert cells.group is not None
        assert list(cells.group) == ["s1", "a.png", "s1", "b.png"]


def test_what_is_no_table_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere.csv does not exist"):
        read_cells(tmp_path / "nowhere.csv")
    frame().to_csv(tmp_path / "T.CSV")
    assert len(read_cells(tmp_path / "T.CSV")) == 4
    frame().assign(cell_id=[1, 2, None, 4]).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="cell_id is empty in 1 row of a table"):
        read_cells(tmp_path / "t.parquet")


def test_tables_are_joined_with_lab_and_slide(tmp_path: Path) -> None:
    frame(**{"class": ["mono", "unknown"] * 2, "lab": "a", "slide": "s1"}).to_csv(tmp_path / "a.csv")
    frame(**{"class": "eosinophil", "lab": "b", "slide": "s2"}).to_parquet(tmp_path / "b.parquet")
    cells = read_cells([tmp_path / "a.csv", tmp_path / "b.parquet"])
    assert list(cells.label[:2]) == ["monocyte", ""]
    assert list(cells.lab) == ["a"] * 4 + ["b"] * 4
    assert list(cells.group) == ["s1"] * 4 + ["s2"] * 4
    assert len(set(cells.embeddings.cell_id.tolist())) == 8


def test_vectors_of_a_named_embedder_are_read_by_their_columns(tmp_path: Path) -> None:
    wide = pd.DataFrame({"image": ["a"], "measurements_0": [1.0], "measurements_1": [2.0]})
    wide.to_csv(tmp_path / "t.csv")
    cells = read_cells([tmp_path / "t.csv"], "measurements")
    assert cells.embeddings.values.tolist() == [[1, 2]]
    with pytest.raises(DataError, match="holds no vectors of embedder 'sam'"):
        read_cells([tmp_path / "t.csv"], "sam")
    assert len(read_cells([tmp_path / "t.csv", tmp_path / "." / "t.csv"], "measurements")) == 1
    wide.to_csv(tmp_path / "t.csv", sep=";")
    with pytest.raises(DataError, match="not separated by commas: a spreadsheet has written it anew"):
        read_cells([tmp_path / "t.csv"], "measurements")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.csv", "does not exist"),
        ("broken.parquet", "cannot be read"),
        ("cells.xlsx", "is no table of cells"),
        (".", "holds no cells.parquet"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, name: str, message: str) -> None:
    for there in ("cells.xlsx", "broken.parquet"):
        (tmp_path / there).write_bytes(b"PK")
    with pytest.raises(DataError, match=message):
        read_cells([tmp_path / name])


def test_an_unknown_class_in_a_table_is_named(tmp_path: Path) -> None:
    from napari_bloodcell.core.errors import TaxonomyError

    frame(**{"class": "monocite"}).to_csv(tmp_path / "t.csv")
    with pytest.raises(TaxonomyError, match=r"Unknown class 'monocite'. Did you mean 'monocyte'"):
        read_cells([tmp_path / "t.csv"])


def test_corrections_survive_writing_and_reading(tmp_path: Path) -> None:
    given = [Correction("a.png", 3, "monocyte", "mk"), Correction("b, c.png", 1, "eosinophil", "")]
    write_corrections(tmp_path / "c.csv", given)
    assert read_corrections(tmp_path / "c.csv") == given


def test_a_spreadsheets_semicolons_and_short_names_are_understood(tmp_path: Path) -> None:
    path = table("\ufeffimage;cell_id;cell_type\na.png;2;Eos\na.png;2;eosinophils\n", tmp_path / "c.csv")
    assert read_corrections(path) == [Correction("a.png", 2, "eosinophil")]


@pytest.mark.parametrize(
    "text", ["image,cell_id,cell_type\na,1.0,mono\n", "image;cell_id;cell_type\na;1,0;mono\n"]
)
def test_numbers_of_cells_that_a_program_gave_a_point_are_whole(tmp_path: Path, text: str) -> None:
    assert read_corrections(table(text, tmp_path / "c.csv")) == [Correction("a", 1, "monocyte")]
    for wrong in ("1.5", "1.000", "1e3"):
        bad = table(f'image,cell_id,cell_type\na,"{wrong}",mono\n', tmp_path / "bad.csv")
        with pytest.raises(DataError, match=f"line 2: cell_id '{wrong}' is no whole number"):
            read_corrections(bad)


@pytest.mark.parametrize("sep", [";", ",", "\t"])
def test_a_spreadsheets_line_that_names_its_separator_is_no_row(tmp_path: Path, sep: str) -> None:
    lines = [["image", "cell_id", "cell_type"], ["a, b; c", "2", "eos"], ["a", "x", "eos"]]
    rows = [sep.join(f'"{value}"' for value in line) for line in lines]
    path = table("\r\n".join([f"\ufeffsep={sep}", *rows[:2]]), tmp_path / "c.csv")
    assert read_corrections(path) == [Correction("a, b; c", 2, "eosinophil")]
    with pytest.raises(DataError, match="line 4: cell_id 'x'"):  # as an editor counts
        read_corrections(table("\n".join([f"sep={sep}", *rows]), tmp_path / "c.csv"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,cell_id\na,1\n", "has no column 'cell_type'"),
        ("image,cell_id,cell_type\na,1,blob\n", "line 2: Unknown class 'blob'"),
        ("image,cell_id,cell_type\na,one,monocyte\n", "line 2: cell_id 'one' is no whole number"),
        (
            "image,cell_id,cell_type\na,1,mono\na,1,eos\n",
            "line 3: cell 1 of a is eosinophil here and monocyte",
        ),
        ("", "has no column 'image'"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_corrections(table(text, tmp_path / "c.csv"))


def test_corrections_find_their_cells_and_lost_ones_are_counted(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "t.csv")
    cells = read_cells([tmp_path / "t.csv"])
    found = labels_for(cells, [Correction("field.png", 2, "monocyte"), Correction("x/field", 4, "basophil")])
    assert found == ["", "monocyte", "", "basophil"]
    with pytest.raises(DataError, match=r"1 of 1 corrected cells are not among .* cell 9 of field.png"):
        labels_for(cells, [Correction("field.png", 9, "monocyte")])


def test_corrections_that_are_a_folder_or_in_other_letters_are_refused_in_plain_words(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There is no table .*nothere\.csv\. Check its name"):
        read_corrections(tmp_path / "nothere.csv")
    with pytest.raises(DataError, match=r"is a folder; a table \(CSV\) is needed here"):
        read_corrections(tmp_path)
    old = tmp_path / "old.csv"
    old.write_bytes("image,cell_id,cell_type,person\na.png,1,monocyte,Jürgen\n".encode("cp1252"))
    with pytest.raises(DataError, match=r"its letters are not in UTF-8\. Save it as CSV in UTF-8 \(in Excel"):
        read_corrections(old)


def test_a_correction_that_fits_cells_of_two_images_is_refused(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "one.csv")
    frame(2).to_csv(tmp_path / "other.csv")
    cells = read_cells([tmp_path / "one.csv", tmp_path / "other.csv"])
    assert labels_for(cells, [Correction("field.png", 3, "basophil")])[2] == "basophil"
    with pytest.raises(
        DataError, match=r"cell 2 of an image called 'field.png': which one was corrected .* rename an image"
    ):
        labels_for(cells, [Correction("field.png", 2, "monocyte")])


def two_slides(folder: Path) -> CellVectors:
    """Two pictures called 1.png, and a third."""
    for slide, name in (("A", "1.png"), ("B", "1.png"), ("B", "2.png")):
        frame(image=name, source=f"/lab/{slide}/{name}").to_parquet(folder / f"{slide}{name}.parquet")
    return read_cells(sorted(folder.glob("*.parquet")))


def test_corrections_of_one_slide_are_not_learned_as_those_of_another(tmp_path: Path) -> None:
    frame(image="1.png", source="/lab/A/1.png").to_csv(tmp_path / "t.csv", index=False)
    cells = read_cells([tmp_path / "t.csv"])
    for other in ("/lab/B/1.png", "B/1.png", "C:\\lab\\B\\1.png"):
        with pytest.raises(DataError, match="of that name is there, but of another folder: /lab/A/1.png"):
            labels_for(cells, [Correction(other, 1, "lymphocyte")])
    for same in ("/lab/A/1.png", "A/1.png", "./A/1.png", "1.png", "1"):
        assert labels_for(cells, [Correction(same, 1, "lymphocyte")])[0] == "lymphocyte"


def test_images_of_one_name_are_told_apart_by_their_path(tmp_path: Path) -> None:
    cells = two_slides(tmp_path)
    with pytest.raises(DataError, match=r"cannot be told.*column image: /lab/A/1.png or /lab/B/1.png"):
        labels_for(cells, [Correction("1.png", 1, "monocyte")])
    names = cells.names()
    assert (names[0], names[4], names[8]) == ("/lab/A/1.png", "/lab/B/1.png", "2.png")
    given = [Correction(name, int(cell), "monocyte") for name, cell in zip(names, cells.cell_id, strict=True)]
    assert labels_for(cells, given[:5]) == ["monocyte"] * 5 + [""] * 7
    with pytest.raises(DataError, match="names the image in another way"):
        labels_for(cells, [*given, Correction("A/1.png", 1, "basophil")])


def test_a_column_source_says_which_image_is_meant(tmp_path: Path) -> None:
    cells = two_slides(tmp_path)
    rows = "1.png,/lab/B/1.png,2,eos\n2.png,,1,mono\n"
    path = table(f"image,source,cell_id,cell_type\n{rows}", tmp_path / "c.csv")
    labels = labels_for(cells, read_corrections(path))
    assert {row: label for row, label in enumerate(labels) if label} == {5: "eosinophil", 8: "monocyte"}


def test_a_cell_left_unidentified_is_a_correction_and_an_own_class_must_be_listed(tmp_path: Path) -> None:
    path = table("image,cell_id,cell_type\na.png,1,Unidentified\na.png,2,hairy cell\n", tmp_path / "c.csv")
    with pytest.raises(DataError, match=r"line 3: Unknown class 'hairy cell'.*--classes"):
        read_corrections(path)
    known = Taxonomy.of_lab({"hairy cell": "lymphocyte"})
    assert [one.cell_type for one in read_corrections(path, known)] == ["unidentified", "hairy_cell"]
