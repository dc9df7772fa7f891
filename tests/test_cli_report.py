"""``report`` and ``evaluate`` as a person types them."""

import json
from pathlib import Path

import numpy as np
import pytest

from napari_bloodcell.cli import main
from napari_bloodcell.core.bundle import load_bundle, save_bundle
from napari_bloodcell.core.classify.fitting import fit
from napari_bloodcell.core.records import Embeddings


def run(*arguments: object) -> int:
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
    assert "2 white cells counted, 198 more cells to the target of 200" in printed
    assert "Not enough cells yet: 198 more to the target of 200" in printed
    assert "Research use only" in printed
    written = {path.name for path in (tmp_path / "report").iterdir()}
    assert written == {"report.html", "report.pdf", "report.json", "report.csv", "cells.csv", "cells.parquet"}
    assert "Probabilities are calibrated on" in (tmp_path / "report" / "report.html").read_text()


def model_of(folder: Path, names: tuple[str, ...]) -> Path:
    """The model `stain` with a classifier that knows these classes only."""
    stain = load_bundle("stain")
    rng, dim = np.random.default_rng(0), len(stain.embedder.names)
    cells = Embeddings(
        cell_id=np.arange(8 * len(names), dtype=np.int32),
        values=rng.normal(size=(8 * len(names), dim)).astype(np.float32),
        names=stain.embedder.names,
        embedder=stain.embedder.hash,
    )
    classifier = fit(cells, list(names) * 8)
    save_bundle(
        folder,
        title="made up",
        segmenter=stain.segmenter,
        embedder=stain.embedder,
        classifier=classifier,
        scores={},
        card="made up",
    )
    return folder


def test_a_class_that_no_model_knows_is_no_zero_in_any_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = model_of(tmp_path / "few", ("neutrophil", "lymphocyte", "monocyte", "eosinophil"))
    others = model_of(tmp_path / "others", ("neutrophil", "lymphocyte", "basophil"))
    said = {}
    for number, model in enumerate((few, others)):
        picture, results = tmp_path / f"slide{number}" / "f.png", tmp_path / f"results{number}"
        picture.parent.mkdir()
        run(
            "sample",
            picture,
            "--width-px",
            "320",
            "--height-px",
            "240",
            "--white-cells",
            "2",
            "--seed",
            number,
        )
        capsys.readouterr()
        for command in (
            ("analyse", picture, "--out", results, "--bundle", model),
            ("results", "summary", results, "--pool"),
            ("report", results, "--out", tmp_path / f"report{number}"),
        ):
            assert run(*command) == 0
            said[command[0], number] = capsys.readouterr().out
    for place, text in said.items():
        lines = [line.split(maxsplit=3)[-1] for line in text.splitlines() if line.startswith("basophil")]
        assert [line == "not known to this model" for line in lines] == [place[1] == 0], place
    assert "not known to this model" in (tmp_path / "report0" / "report.html").read_text()
    assert "slide0,basophil,,,,,not known" in (tmp_path / "report0" / "report.csv").read_text()
    run("report", tmp_path / "results0", tmp_path / "results1", "--out", tmp_path / "both")
    stored = json.loads((tmp_path / "both" / "report.json").read_text())
    assert stored["pooled"]["differential"]["unknown"] == [], "each class is known to one of the models"
    assert [one["differential"]["unknown"] for one in stored["slides"]] == [
        ["basophil"],
        ["monocyte", "eosinophil"],
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "nowhere", "--out", "out"], "nowhere is no folder"),
        (["evaluate", "nowhere", "--methods", "logistic", "--out", "out"], "'logistic' is no method"),
        (["evaluate", "nowhere", "--methods", "measurements/ann", "--out", "out"], "nowhere does not exist"),
        (
            ["evaluate", ".", "--methods", "measurements/ann", "--out", "out", "--folds", "1"],
            "--folds = 1 is out of range",
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
