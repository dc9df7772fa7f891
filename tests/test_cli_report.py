"""``report`` and ``evaluate`` as a person types them."""

from pathlib import Path

import pytest

from napari_bloodcell.cli import main


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(a) for a in arguments])
    return int(end.value.code or 0)


def test_a_smear_becomes_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture, results = tmp_path / "field.png", tmp_path / "results"
    run("sample", picture, "--width-px", "320", "--height-px", "240", "--white-cells", "2")
    run("analyse", picture, "--out", results, "--read.um-per-px", "0.08")
    capsys.readouterr()
    assert (
        run("report", results, "--out", tmp_path / "report", "--count.target", "200", "--title", "Ward") == 0
    )
    printed = capsys.readouterr().out
    assert "Not enough cells yet: about 198 more" in printed
    assert "Research use only" in printed
    written = {path.name for path in (tmp_path / "report").iterdir()}
    assert written == {"report.html", "report.pdf", "report.json", "report.csv", "cells.csv", "cells.parquet"}
    assert "Probabilities are calibrated on" in (tmp_path / "report" / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "nowhere", "--out", "out"], "nowhere is no folder"),
        (["evaluate", "nowhere", "--methods", "logistic", "--out", "out"], "'logistic' is no method"),
        (["evaluate", "nowhere", "--methods", "measurements/ann", "--out", "out"], "nowhere does not exist"),
        (
            ["evaluate", ".", "--methods", "measurements/ann", "--out", "out", "--folds", "1"],
            "EvaluateConfig.folds = 1 is out of range",
        ),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    tmp_path: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 1
    captured = capsys.readouterr()
    assert message in captured.err + captured.out
    assert "Traceback" not in captured.err + captured.out
    assert not (tmp_path / "out").exists()
