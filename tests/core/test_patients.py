"""Slides of one patient counted as one: exact limits, and how far the slides differ."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from drawn_files import draw
from scipy.stats import chi2_contingency

from napari_bloodcell.core.batch import analyse_files
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.inputs import list_inputs
from napari_bloodcell.core.report import count, exact_limits
from napari_bloodcell.core.report.make import make_report
from napari_bloodcell.core.report.patients import (
    OneSlide,
    chance_of,
    of_patients,
    patients_in,
    to_text_of,
    without_patient,
    write_patients,
)
from napari_bloodcell.core.results import by_patient, pooled, summarise, with_patients

CELLS = {
    "a": ["neutrophil"] * 60 + ["lymphocyte"] * 40,
    "b": ["neutrophil"] * 30 + ["lymphocyte"] * 70,
    "c": ["monocyte"] * 3,
    "d": [],
}


def slides(**patients: str) -> list[OneSlide]:
    return [OneSlide(name, patient, 1, count(CELLS[name])) for name, patient in patients.items()]


def together(names: list[str]):
    return count([kind for name in names for kind in CELLS[name]])


def test_a_patient_has_the_exact_limits_of_all_its_cells_and_the_spread_of_its_slides() -> None:
    anna, ben = of_patients(slides(a="anna", b="anna", c="ben"), together)
    assert (anna.slides, anna.images, anna.differential.counted) == (("a", "b"), 2, 200)
    row = anna.differential.rows[0]
    assert (row.low / 100, row.high / 100) == pytest.approx(exact_limits(90, 200))
    assert [(one.class_name, one.lowest, one.highest) for one in anna.spread] == [
        ("neutrophil", 30, 60),
        ("lymphocyte", 40, 70),
    ]
    assert "neutrophil 30.0 to 60.0 %" in to_text_of(anna)
    assert "more than chance explains" in to_text_of(anna)
    assert (ben.spread, ben.chance, ben.spread_text()) == ((), None, "")


def test_slides_without_cells_have_no_share_to_compare() -> None:
    (anna,) = of_patients(slides(a="anna", d="anna"), together)
    assert (anna.slides, anna.spread, anna.chance) == (("a", "d"), (), None)
    (nothing,) = of_patients(slides(d="ben"), together)
    assert nothing.differential.counted == 0
    assert nothing.spread_text() == ""


def test_the_chance_is_that_of_scipy_and_holds_what_it_promises() -> None:
    two = [{"neutrophil": 60, "lymphocyte": 40}, {"neutrophil": 45, "lymphocyte": 55}]
    wanted = chi2_contingency([[60, 40], [45, 55]], correction=False).pvalue
    assert chance_of(two) == pytest.approx(wanted)
    assert chance_of([*two[:1], {"neutrophil": 3}]) is None  # too few to tell
    rng = np.random.default_rng(1)
    names, shares = ("neutrophil", "lymphocyte", "monocyte", "eosinophil", "basophil"), (60, 30, 6, 3, 1)
    alike = [
        chance_of(
            [dict(zip(names, rng.multinomial(100, np.array(shares) / 100), strict=True)) for _ in range(3)]
        )
        for _ in range(600)
    ]
    assert 0.03 < np.mean([one is not None and one < 0.05 for one in alike]) < 0.07


def test_slides_of_nobody_are_told_where_others_are_somebodys() -> None:
    assert without_patient(slides(a="anna", b="")) == ["1 slide of no known patient: b."]
    assert without_patient(slides(a="", b="")) == []
    assert [one.name for one in of_patients(slides(a="anna", b=""), together)] == ["anna"]


def test_a_list_with_two_patients_on_slides_of_one_name_keeps_the_slides_apart(fields: Path) -> None:
    draw(fields / "f3.png", 3)
    text = "image,slide,patient\nf1.png,s1,anna\nf2.png,s1,ben\nf3.png,s2,ben\n"
    (fields / "list.csv").write_text(text)
    found = [(one.slide, one.patient) for one in list_inputs([fields / "list.csv"])]
    assert found == [("anna/s1", "anna"), ("ben/s1", "ben"), ("s2", "ben")]
    (fields / "list.csv").write_text(text + "f1.png,s1,ben\n")
    with pytest.raises(DataError, match="with another slide, patient or um_per_px"):
        list_inputs([fields / "list.csv"])


@pytest.fixture
def results(fields: Path, tmp_path: Path) -> Path:
    for seed in (3, 4):
        draw(fields / f"f{seed}.png", seed)
    rows = "f1.png,s1,anna\nf2.png,s2,anna\nf3.png,s3,ben\nf4.png,s4,\n"
    (fields / "list.csv").write_text("image,slide,patient\n" + rows)
    done = analyse_files([fields / "list.csv"], tmp_path / "out", "stain")
    assert [one.name for one in done.patients] == ["anna", "ben"]
    return tmp_path / "out"


def test_analysis_summary_and_report_say_the_same_of_each_patient(results: Path, tmp_path: Path) -> None:
    found = by_patient(summarise(results))
    cells = pd.read_csv(results / "cells.csv")
    anna = cells[cells["image"].isin(["f1.png", "f2.png"])]
    assert found[0].slides == ("s1", "s2")
    assert found[0].differential.counted == len(anna)
    report = make_report([results], tmp_path / "report")
    assert report.patients == tuple(found)
    assert (tmp_path / "report" / "patients.csv").read_bytes() == (results / "patients.csv").read_bytes()
    page = (tmp_path / "report" / "report.html").read_text()
    assert "<h2>By patient</h2>" in page
    assert "1 slide of no known patient: s4." in report.warnings
    body = json.loads((tmp_path / "report" / "report.json").read_text())
    assert [one["patient"] for one in body["patients"]] == ["anna", "ben"]
    kept = pd.read_csv(tmp_path / "report" / "cells.csv", keep_default_na=False)
    assert set(kept.loc[kept["slide"] == "s2", "patient"]) == {"anna"}


def test_images_counted_alone_leave_the_slides_of_a_patient_as_they_are(
    results: Path, tmp_path: Path
) -> None:
    from napari_bloodcell.core.config.report import ReportConfig

    report = make_report([results], tmp_path / "report", ReportConfig(slide_by="image"))
    assert [slide.name for slide in report.slides] == ["s1/f1.png", "s2/f2.png", "s3/f3.png", "s4/f4.png"]
    assert report.patients[0].slides == ("s1", "s2")


def test_a_table_says_whose_slides_are_and_must_speak_of_those_there(results: Path, tmp_path: Path) -> None:
    table = tmp_path / "whose.csv"
    table.write_text("slide;patient\ns4;cleo\ns3;cleo\n")
    found = by_patient(with_patients(summarise(results), table))
    assert [(one.name, one.slides) for one in found] == [("anna", ("s1", "s2")), ("cleo", ("s3", "s4"))]
    assert make_report([results], tmp_path / "report", patients=table).patients == tuple(found)
    table.write_text("slide,patient\ns9,cleo\n")
    with pytest.raises(DataError, match="s9: no such slide is counted. The slides are: s1, s2, s3, s4"):
        with_patients(summarise(results), table)
    table.write_text("slide,patient\ns3,cleo\ns3,dora\n")
    with pytest.raises(DataError, match="line 3: slide s3 is dora's here and cleo's above"):
        with_patients(summarise(results), table)
    table.write_text("slide,who\ns3,cleo\n")
    with pytest.raises(DataError, match="it needs slide and patient"):
        with_patients(summarise(results), table)


def test_a_slide_of_earlier_results_does_not_become_another_patients(results: Path, fields: Path) -> None:
    draw(fields / "g.png", 9)
    (fields / "more.csv").write_text("image,slide,patient\ng.png,s1,ben\n")
    with pytest.raises(DataError, match="Slide s1 in .* is of patient anna, and ben's here"):
        analyse_files([fields / "more.csv"], results, "stain")
    (fields / "more.csv").write_text("image,slide,patient\ng.png,s1,\n")  # more of the same slide
    analyse_files([fields / "more.csv"], results, "stain")
    assert {one.name: one.images for one in summarise(results)}["s1"] == 2
    assert by_patient(summarise(results))[0].images == 3
    text = (fields / "list.csv").read_text().replace("f3.png,s3,ben", "f3.png,s3,benno")  # a word put right
    (fields / "list.csv").write_text(text)
    done = analyse_files([fields / "list.csv"], results, "stain")
    assert [one.name for one in done.patients] == ["anna", "benno"]
    assert {item.state for item in done.items} == {"kept"}


def test_patients_of_failed_images_only_are_none(fields: Path, tmp_path: Path) -> None:
    (fields / "bad.png").write_bytes(b"no picture")
    (fields / "list.csv").write_text("image,slide,patient\nbad.png,s1,anna\n")
    done = analyse_files([fields / "list.csv"], tmp_path / "out", "stain")
    assert (len(done.failed), done.patients) == (1, ())
    assert not (tmp_path / "out" / "patients.csv").exists()


def test_the_table_of_patients_has_a_line_for_each_class(tmp_path: Path) -> None:
    CELLS["e"] = ["neutrophil", "smudge_cell"]
    write_patients(tmp_path, of_patients(slides(a="anna", b="anna", e="ben"), together))
    with (tmp_path / "patients.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    anna = next(row for row in rows if row["patient"] == "anna" and row["class"] == "neutrophil")
    assert (anna["n"], anna["percent"], anna["lowest_slide"], anna["highest_slide"]) == (
        *("90", "45.00"),
        *("30.00", "60.00"),
    )
    smudge = next(row for row in rows if row["class"] == "smudge_cell")
    assert (smudge["patient"], smudge["n"], smudge["in_denominator"]) == ("ben", "1", "no")
    write_patients(tmp_path, [])
    assert not (tmp_path / "patients.csv").exists()


def test_results_without_cells_and_pools_of_some_slides_are_counted(results: Path) -> None:
    all_slides = summarise(results)
    assert pooled(all_slides[:1]) == all_slides[0].differential


def test_a_table_names_the_patients_of_images_by_their_files_or_names(tmp_path: Path) -> None:
    table = tmp_path / "list.csv"
    table.write_text("image,slide,patient\nfields\\a.png,s1,anna\nb,s2,ben\nother.png,s3,cleo\nc.png,s4,\n")
    assert patients_in(table, ["a", "b", "c"]) == {"a": "anna", "b": "ben"}
    assert patients_in(table, ["a.png"]) == {"a.png": "anna"}
    table.write_text("image,patient\na.png,anna\na.tif,ben\n")
    assert patients_in(table, ["a.png", "a.tif"]) == {"a.png": "anna", "a.tif": "ben"}
    with pytest.raises(
        DataError, match="line 3: a is ben's here and anna's above. Keep one line for each image"
    ):
        patients_in(table, ["a"])
    with pytest.raises(DataError, match="names a patient of none of these: d. The column image must hold"):
        patients_in(table, ["d"])
    table.write_text("slide,who\na,anna\n")
    with pytest.raises(DataError, match="has the columns slide, who; it needs patient, and image or slide"):
        patients_in(table, ["a"])
