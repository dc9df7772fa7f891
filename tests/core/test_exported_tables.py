"""Tables that people open in spreadsheets: no text of theirs is run as a formula, and all is read again."""

import csv
from pathlib import Path

import pandas as pd
import pytest
from drawn_files import draw

from napari_bloodcell.core.batch import analyse_files
from napari_bloodcell.core.cell_tables import Correction, read_cells, read_corrections, write_corrections
from napari_bloodcell.core.report import count
from napari_bloodcell.core.report.files import write_differential
from napari_bloodcell.core.report.make import make_report
from napari_bloodcell.core.report.readers import read_table
from napari_bloodcell.core.rows import csv_text, harmless, harmless_table, plain, read_rows


@pytest.mark.parametrize("text", ["=1+1", "+1|cmd", "-2+3", "@SUM(A1)", "\tx", "\rx"])
def test_text_that_begins_like_a_formula_is_made_harmless_and_read_again(text: str) -> None:
    assert harmless(text) == f"'{text}"
    assert plain(harmless(text)) == text


@pytest.mark.parametrize("value", ["neutrophil", "-", "-1.5", "+2", "1e-3", "'tis", "", -2.5, None])
def test_other_text_and_numbers_stay_as_they_are(value: object) -> None:
    assert harmless(value) == value
    assert plain(value) == value


def test_tables_of_cells_are_made_harmless_whatever_the_columns_hold() -> None:
    table = pd.DataFrame(
        {
            "image": ["=a.png", None],
            "kind": pd.Categorical(["+x", "y"]),
            "n": [-1, 2],
            "share": [-0.5, float("nan")],
            "seen": [True, False],
        }
    )
    safe = harmless_table(table)
    assert safe["image"].tolist()[0] == "'=a.png"
    assert safe["kind"].tolist() == ["'+x", "y"]
    assert safe["n"].tolist() == [-1, 2]
    assert safe.to_csv(index=False).splitlines()[1] == "'=a.png,'+x,-1,-0.5,True"
    assert table["image"][0] == "=a.png"
    assert len(harmless_table(table.iloc[:0])) == 0


def test_a_picture_called_like_a_formula_is_found_again_by_what_a_person_wrote(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "=1+1.png", 1)
    out = tmp_path / "out"
    analyse_files([tmp_path / "in"], out, "stain")
    for place in (out, next(out.glob("*/run.json")).parent):
        with (place / "cells.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert {row["image"] for row in rows} == {"'=1+1.png"}
    assert set(read_cells([out / "cells.csv"]).image) == {"=1+1.png"}
    lines = [f"'=1+1.png,{row['cell_id']},monocyte" for row in rows]
    (tmp_path / "anna.csv").write_text("\n".join(["image,cell_id,cell_type", *lines]))
    (anna,) = read_table(tmp_path / "anna.csv")
    assert {image for image, _ in anna.answers} == {"=1+1.png"}
    made = make_report([out], tmp_path / "report", readers=[tmp_path / "anna.csv"])
    assert set(made.table["cell_type"]) == {"monocyte"}
    assert "'=1+1.png" in (tmp_path / "report" / "cells.csv").read_text()
    assert set(pd.read_parquet(tmp_path / "report" / "cells.parquet")["image"]) == {"=1+1.png"}


def test_a_class_called_like_a_formula_is_harmless_in_every_table_of_counts(tmp_path: Path) -> None:
    write_differential(tmp_path, count(["=own"] * 3), title="", parents={}, picture=False)
    assert "\n'=own,3," in (tmp_path / "differential.csv").read_text()
    path = tmp_path / "corrections.csv"
    write_corrections(path, [Correction("-a.png", 1, "monocyte", "=ann")])
    assert path.read_text().splitlines()[1] == "'-a.png,1,monocyte,'=ann"
    assert read_corrections(path) == [Correction("-a.png", 1, "monocyte", "=ann")]


def test_columns_and_quotes_are_kept(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(csv_text([["a", "b"], ["x, y", 'say "=1"'], ["=1", 2]]))
    rows = read_rows(tmp_path / "t.csv").rows
    assert [row.values for row in rows] == [{"a": "x, y", "b": 'say "=1"'}, {"a": "=1", "b": "2"}]
