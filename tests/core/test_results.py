"""What several runs leave in one folder, and what of it is told: earlier images, other settings, failures."""

import json
from pathlib import Path

import pandas as pd
import pytest
from drawn_files import draw

from napari_bloodcell.core.batch import analyse_files
from napari_bloodcell.core.config import AnalyseConfig, ClassifyConfig, CountConfig, ReadConfig
from napari_bloodcell.core.errors import ConfigError, DataError
from napari_bloodcell.core.ledger import read_ledger
from napari_bloodcell.core.report.make import make_report
from napari_bloodcell.core.report.provenance import count_settings, differences, gone_text, made_in
from napari_bloodcell.core.results import drop, summarise

MODEL = "stain"


def test_images_of_earlier_runs_are_told_and_can_be_taken_out(fields: Path, tmp_path: Path) -> None:
    out, copy = tmp_path / "out", fields / "copy.png"
    copy.write_bytes((fields / "f1.png").read_bytes())
    assert not analyse_files([fields], out, MODEL).earlier
    copy.unlink()  # as the note says: take one of them away, and run this again
    (told,) = analyse_files([fields], out, MODEL).told()
    assert "still in" in told
    assert "(1 image: copy). `results summary` and `report` count them too" in told
    assert gone_text(list(made_in(out))) == [
        "1 of 3 images is not there any more, but still counted: copy.png. `napari-bloodcell results drop` "
        "takes results out."
    ]
    made = make_report([out], tmp_path / "report")
    assert "1 result left out, as the picture is counted already:" in made.warnings[0]
    (out / "copy" / "mine.txt").write_text("a note of my own")
    assert drop(out, ["copy.png"]) == ["copy"]
    assert [path.name for path in (out / "copy").iterdir()] == ["mine.txt"]
    assert [(s.name, s.images) for s in summarise(out)] == [("in", 2)]
    assert not gone_text(list(made_in(out)))
    assert not make_report([out], tmp_path / "report").warnings
    assert not analyse_files([fields], out, MODEL).told()
    with pytest.raises(DataError, match=r"holds no results of 'copy.png'. It has: f1, f2"):
        drop(out, ["copy.png"])


def test_a_name_of_two_images_takes_none_out_and_a_pattern_many(fields: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    for seed in (1, 2):
        draw(other / f"f{seed}.png", seed + 5)
    analyse_files([fields, other], out, MODEL)
    with pytest.raises(
        DataError, match=r"2 images in .* are called 'f2.png'. Name the folder of .*: f2, f2-"
    ):
        drop(out, ["f1", "f2.png"])
    (second,) = (path.name for path in out.glob("f1-*"))
    assert len(list(out.glob("*/run.json"))) == 4
    assert drop(out, [str(other / "f1.png")]) == [second]
    assert sorted(drop(out, ["*.png"]))[0] == "f1"
    assert not list(out.glob("*/run.json"))
    assert not list(out.glob("table/*/*.parquet"))
    assert len(list(other.iterdir())) == len(list(fields.iterdir())) == 2


def test_settings_and_models_that_differ_in_one_folder_are_told(fields: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    strict = AnalyseConfig(classify=ClassifyConfig(min_probability=0.9), read=ReadConfig(um_per_px=0.08))
    assert not analyse_files([fields], out, MODEL, strict).told()
    again = analyse_files([fields / "f1.png"], out, MODEL)  # the pixel size belongs to an image
    differ = (
        "The images were analysed with different settings: "
        "--classify.min-probability 0.5 (1 image), 0.9 (1 image)."
    )
    assert again.mixed == (differ,)
    assert differences(list(made_in(out))) == [differ]
    mixed = analyse_files([fields / "f2.png"], out, "nano")
    (told,) = mixed.mixed
    assert told.startswith("The images were analysed with different models: nano ")
    made = make_report([out], tmp_path / "report")
    assert any("nano " in text and "stain " in text for text in made.warnings)
    assert "different models" in (tmp_path / "report" / "report.html").read_text().partition("</header>")[0]


def test_a_report_tells_what_failed_and_counts_none_of_it(fields: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    analyse_files([fields], out, MODEL)
    (fields / "f1.png").write_text("no picture any more")
    (fields / "empty.png").write_bytes(b"")
    assert len(analyse_files([fields], out, MODEL).failed) == 2
    made = make_report([out], tmp_path / "report")
    assert [run.image["name"] for run in made.runs] == ["f2.png"]
    (told,) = made.warnings
    first, *each = told.splitlines()
    assert first == "2 of 3 images failed and are not counted:"
    assert [line.startswith("- ") and name in line for name, line in zip(("f1", "empty"), each, strict=True)]
    head = (tmp_path / "report" / "report.html").read_text().partition("</header>")[0]
    assert f'<p class="open"><b>{first}</b></p><ul><li>' in head
    assert head.count("<li>") == 2
    stored = json.loads((tmp_path / "report" / "report.json").read_text())
    assert [Path(one["image"]).name for one in stored["failed"]] == ["f1.png", "empty.png"]
    assert stored["warnings"] == [told]
    (fields / "empty.png").unlink()  # a run without it, and it is nobody's failure any more
    draw(fields / "f1.png", 1)
    analyse_files([fields], out, MODEL)
    assert not make_report([out], tmp_path / "report").warnings


def test_a_failed_image_can_be_taken_out_of_the_folder(fields: Path, tmp_path: Path) -> None:
    (fields / "bad.png").write_bytes(b"")
    analyse_files([fields], tmp_path / "out", MODEL)
    assert drop(tmp_path / "out", ["bad.png"]) == ["bad"]
    assert {line["image"]: line["state"] for line in read_ledger(tmp_path / "out")}[
        str(fields / "bad.png")
    ] == "dropped"
    assert not make_report([tmp_path / "out"], tmp_path / "report").warnings


def test_counts_follow_the_settings_of_the_runs_where_these_agree(fields: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    fine = AnalyseConfig(count=CountConfig(level="fine", confidence=0.9, count_border=False))
    analyse_files([fields], out, MODEL, fine)
    made = list(made_in(out))
    assert count_settings(made, {}) == (fine.count, [])
    assert count_settings(made, {"target": 400})[0] == CountConfig(**{**fine.count.to_json(), "target": 400})
    report = make_report([out], tmp_path / "report", asked={"confidence": 0.99})
    assert report.config.count == CountConfig(level="fine", confidence=0.99, count_border=False)
    with pytest.raises(ConfigError, match="CountConfig.confidence = 7 is out of range"):
        count_settings(made, {"confidence": 7})
    analyse_files([fields / "f1.png"], out, MODEL, AnalyseConfig(count=CountConfig(level="fine")))
    count, told = count_settings(made_in(out), {"count_border": False})
    assert count == CountConfig(level="fine", count_border=False)
    assert told == [
        "The runs counted with different settings: confidence 0.95 and 0.9. Counted here with 0.95; a flag "
        "chooses another."
    ]
    assert len(pd.read_parquet(out / "cells.parquet")["image"].unique()) == 1


def test_a_diary_that_was_cut_within_a_letter_is_still_read(tmp_path: Path) -> None:
    whole = json.dumps({"image": "a.png", "state": "done"}) + "\n"
    (tmp_path / "ledger.jsonl").write_bytes(whole.encode() + '{"image": "Mü'.encode()[:-1])
    assert [line["image"] for line in read_ledger(tmp_path)] == ["a.png"]
