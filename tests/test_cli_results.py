"""``results`` as a person types it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_bloodcell.cli import main
from napari_bloodcell.core.config import SmearConfig
from napari_bloodcell.core.synthetic import make_smear


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(a) for a in arguments])
    return int(end.value.code or 0)


def draw(path: Path, seed: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    smear = make_smear(SmearConfig(width_px=320, height_px=240, white_cells=2, seed=seed))
    Image.fromarray(np.array(smear.image.pixels)).save(path)
    return path


def test_summary_and_report_count_as_the_analysis_did(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields, out = draw(tmp_path / "in" / "a.png", 1).parent, tmp_path / "out"
    draw(fields / "b.png", 2)
    own = ["--count.confidence", "0.9", "--count.target", "400", "--count.level", "fine"]
    run("analyse", fields, "--out", out, "--bundle", "stain", *own)
    analysed = capsys.readouterr().out.partition("\n2 images")[0]
    assert "90 % limits" in analysed
    assert run("results", "summary", out, "--pool") == 0
    assert analysed in capsys.readouterr().out
    run("report", out, "--out", tmp_path / "report")
    assert analysed in capsys.readouterr().out
    assert run("results", "summary", out, "--pool", "--confidence", "0.99", "--no-count-border") == 0
    printed = capsys.readouterr().out
    assert "99 % limits" in printed
    assert "target of 400" in printed
    run("report", out, "--out", tmp_path / "report", "--count.target", "200")
    printed = capsys.readouterr().out
    assert "90 % limits" in printed
    assert "target of 200" in printed
    assert run("results", "summary", out, "--confidence", "7") == 1
    assert "Error: --confidence = 7.0 is out of range" in capsys.readouterr().err


def test_export_writes_cells_for_other_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fields, out = draw(tmp_path / "in" / "a.png", 1).parent, tmp_path / "out"
    run("analyse", fields, "--out", out, "--bundle", "stain")
    capsys.readouterr()
    assert run("results", "export", out, "--out", tmp_path / "qupath") == 0
    assert capsys.readouterr().out == f"2 cells of 1 picture written to {tmp_path / 'qupath'}\n"
    assert run("results", "export", out, "--out", tmp_path / "coco", "--to", "coco") == 0
    assert [path.name for path in (tmp_path / "coco").iterdir()] == ["coco.json"]
    assert run("results", "export", out, "--out", tmp_path / "none", "--only-reviewed") == 1
    assert "No person has looked at a cell of these results" in capsys.readouterr().err


def test_a_slide_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for slide in ("A", "B"):
        draw(tmp_path / slide / "1.png", 1)
    run("analyse", tmp_path / "A", tmp_path / "B", "--out", tmp_path / "out", "--bundle", "stain")
    capsys.readouterr()
    assert run("results", "summary", tmp_path / "out", "--slide", "zzz") == 1
    told = capsys.readouterr()
    assert told.err.strip().endswith("has 'zzz' in its name. Its slides: A, B.")
    assert told.out == ""


def test_what_the_folder_holds_besides_is_told_and_can_be_taken_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = draw(tmp_path / "in" / "a.png", 1), draw(tmp_path / "in" / "b.png", 2)
    out = tmp_path / "out"
    run("analyse", first, second, "--out", out, "--bundle", "stain", "--classify.min-probability", "0.9")
    first.unlink()
    capsys.readouterr()
    run("analyse", second, "--out", out, "--bundle", "stain")
    told = capsys.readouterr().err
    assert f"note: Results of earlier runs are still in {out} (1 image: a)." in told
    assert "note: The images were analysed with different settings: --classify.min-probability 0.5" in told
    for command in (["results", "summary", out], ["report", out, "--out", tmp_path / "report"]):
        run(*command)
        told = capsys.readouterr().out
        assert "note: The images were analysed with different settings: --classify.min-probability" in told
        assert "note: 1 of 2 images is not there any more, but still counted: a.png." in told
    assert run("results", "drop", out, "a.png") == 0
    assert "Taken out of" in capsys.readouterr().out
    run("results", "summary", out)
    assert "note:" not in capsys.readouterr().out


def test_summary_prints_each_patient_and_says_what_to_do_where_none_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields, out = draw(tmp_path / "in" / "a.png", 1).parent, tmp_path / "out"
    draw(fields / "b.png", 2)
    run("analyse", fields, "--out", out, "--bundle", "stain")
    capsys.readouterr()
    assert run("results", "summary", out, "--by", "patient") == 1
    assert "Error: No patient is known of these slides." in capsys.readouterr().err
    (tmp_path / "list.csv").write_text("image,slide,patient\nin/a.png,s1,anna\nin/b.png,s2,anna\n")
    run("analyse", tmp_path / "list.csv", "--out", out, "--bundle", "stain")
    assert "1 patient, counted in patients.csv" in capsys.readouterr().out
    assert run("results", "summary", out, "--by", "patient") == 0
    printed = capsys.readouterr().out
    assert "Patient anna: 2 slides, 2 images" in printed
    assert "From slide to slide:" in printed
    (tmp_path / "whose.csv").write_text("slide,patient\ns1,ben\n")
    assert run("report", out, "--out", tmp_path / "report", "--patients", tmp_path / "whose.csv") == 0
    assert "<td>ben</td>" in (tmp_path / "report" / "report.html").read_text()
