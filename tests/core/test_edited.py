"""What a person changed in a folder of results is not lost and not passed over; what a run left out is told."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from napari_bloodcell.core.batch import analyse_files
from napari_bloodcell.core.config import AnalyseConfig, ClassifyConfig, SegmentConfig
from napari_bloodcell.core.errors import Cancelled, DeviceError
from napari_bloodcell.core.report.make import make_report
from napari_bloodcell.core.report.provenance import edited_text, made_in, unfinished_text
from napari_bloodcell.core.report.readers import read_table
from napari_bloodcell.core.results import drop, summarise

MODEL = "stain"


@pytest.fixture
def out(fields: Path, tmp_path: Path) -> Path:
    analyse_files([fields], tmp_path / "out", MODEL)
    return tmp_path / "out"


def correct(table: Path) -> tuple[str, str]:
    """The class of the first cell written over, as in a spreadsheet. Returns the old one and the new."""
    cells = pd.read_csv(table)
    before = str(cells.loc[0, "cell_type"])
    after = "basophil" if before != "basophil" else "monocyte"
    cells.loc[0, "cell_type"] = after
    cells.to_csv(table, index=False)
    return before, after


def test_a_class_written_over_in_the_table_of_an_image_is_told_kept_and_taken_as_an_answer(
    fields: Path, out: Path, tmp_path: Path
) -> None:
    _, after = correct(out / "f1" / "cells.csv")
    (told,) = edited_text(list(made_in(out)))
    assert str(out / "f1" / "cells.csv") in told
    assert told in make_report([out], tmp_path / "report").warnings
    again = analyse_files([fields], out, MODEL)
    (told,) = [line for line in again.told() if "cells-changed.csv" in line]
    assert told == (
        "f1.png: cells.csv had been changed since it was written: it is kept as cells-changed.csv, for `report --readers`."
    )
    assert [item.state for item in again.items] == ["done", "kept"]
    assert not edited_text(list(made_in(out)))
    (reader,) = read_table(out / "f1" / "cells-changed.csv")
    assert reader.answers == {(str(fields / "f1.png"), 1): after}
    report = make_report([out], tmp_path / "report", readers=[out / "f1" / "cells-changed.csv"])
    assert report.pooled.differential.reviewed == 1


def test_the_table_of_all_images_is_kept_too_and_each_change_has_its_name(fields: Path, out: Path) -> None:
    for name in ("cells-changed.csv", "cells-changed-2.csv"):
        correct(out / "cells.csv")
        assert edited_text(list(made_in(out)))
        told = analyse_files([fields], out, MODEL).told()
        assert [line for line in told if f"it is kept as {name}" in line]
        assert (out / name).is_file()
    assert not analyse_files([fields], out, MODEL).told()


def test_outlines_that_were_painted_over_are_kept(fields: Path, out: Path) -> None:
    labels = out / "f2" / "labels.ome.tif"
    labels.write_bytes(painted := labels.read_bytes() + b"painted")
    analyse_files([fields], out, MODEL)
    assert (out / "f2" / "labels-changed.ome.tif").read_bytes() == painted


def test_a_doubtful_cell_that_was_given_the_likeliest_class_is_an_answer(
    fields: Path, tmp_path: Path
) -> None:
    strict = AnalyseConfig(classify=ClassifyConfig(min_probability=0.999))
    analyse_files([fields], tmp_path / "out", MODEL, strict)
    table = tmp_path / "out" / "cells.csv"
    assert not read_table(table)[0].answers
    cells = pd.read_csv(table)
    row = int((cells["cell_type"] == "unidentified").argmax())
    cells.loc[row, "cell_type"] = best = cells.loc[row, "best"]
    cells.to_csv(table, index=False)
    assert best != "unidentified"
    assert list(read_table(table)[0].answers.values()) == [best]


def test_a_run_that_was_stopped_is_told_wherever_it_is_counted(fields: Path, tmp_path: Path) -> None:
    def stop(stage: str, done: int, _total: int) -> None:
        if stage.startswith("Image 2 of"):
            raise Cancelled

    out = tmp_path / "out"
    with pytest.raises(Cancelled):
        analyse_files([fields], out, MODEL, progress=stop)
    (told,) = unfinished_text(out)
    assert told.startswith("1 of 2 images of the last run is not analysed: it was stopped, or goes on still.")
    assert told in make_report([out], tmp_path / "report").warnings
    analyse_files([fields], out, MODEL)
    assert not unfinished_text(out)


def test_results_that_were_taken_away_are_told_unless_they_were_dropped(
    fields: Path, out: Path, tmp_path: Path
) -> None:
    shutil.rmtree(out / "f1")
    (told,) = unfinished_text(out)
    assert told.startswith(f"The results of 1 image are not in {out} any more: f1.png.")
    assert told in make_report([out], tmp_path / "report").warnings
    analyse_files([fields], out, MODEL)
    drop(out, ["f1.png"])
    assert not unfinished_text(out)


def test_a_device_that_is_not_there_is_refused_before_it_uncounts_what_is_done(
    fields: Path, out: Path
) -> None:
    with pytest.raises(DeviceError, match="gpu"):
        analyse_files([fields], out, MODEL, AnalyseConfig(segment=SegmentConfig(device="gpu")))
    assert [(slide.name, slide.images) for slide in summarise(out)] == [("in", 2)]


def test_where_all_images_failed_no_older_count_is_left(fields: Path, out: Path) -> None:
    for path in fields.iterdir():
        path.write_bytes(b"")
    assert len(analyse_files([fields], out, MODEL).failed) == 2
    assert not list(out.glob("differential.*"))
    assert not list(out.glob("cells.*"))
