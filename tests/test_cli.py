"""The command line as a person types it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_bloodcell.cli import app, main
from napari_bloodcell.cli_defaults import plain
from napari_bloodcell.cli_progress import progress_bar
from napari_bloodcell.core.config import AnalyseConfig, CountConfig, EngineConfig, ReadConfig, SegmentConfig


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(a) for a in arguments])
    return int(end.value.code or 0)


@pytest.fixture
def field(tmp_path: Path) -> Path:
    assert (
        run("sample", tmp_path / "field.png", "--width-px", "320", "--height-px", "240", "--white-cells", "2")
        == 0
    )
    return tmp_path / "field.png"


def test_analyse_writes_and_prints_the_differential(
    field: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run("analyse", field, "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "95 % limits" in printed
    assert "Research use only" in printed
    assert (tmp_path / "out" / "field" / "overlay.png").is_file()


def test_every_setting_is_a_flag_and_is_recorded(field: Path, tmp_path: Path) -> None:
    flags = [
        "--read.um-per-px",
        "0.09",
        "--segment.border",
        "drop",
        "--count.level",
        "fine",
        "--count.target",
        "400",
    ]
    assert run("analyse", field, "--out", tmp_path / "out", *flags) == 0
    stored = json.loads((tmp_path / "out" / "field" / "run.json").read_text())["header"]["config"]
    expected = AnalyseConfig(
        read=ReadConfig(um_per_px=0.09),
        segment=SegmentConfig(border="drop"),
        count=CountConfig(level="fine", target=400),
    )
    assert AnalyseConfig.from_json(stored) == expected


def test_one_bad_image_among_good_ones_is_exit_code_1(
    field: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    assert run("analyse", field, tmp_path / "bad.png", "--out", tmp_path / "out") == 1
    captured = capsys.readouterr()
    assert "2 images, 0 kept from before, 1 failed" in captured.out
    assert "bad.png" in captured.err


def test_a_wrong_guess_of_the_layout_can_be_overruled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("LYT", "NGS", "monocyte"):
        (tmp_path / "lab" / name).mkdir(parents=True)
        (tmp_path / "lab" / name / "1.png").write_bytes(b"picture")
    assert run("datasets", "check", tmp_path / "lab") == 0
    assert "Matek-19" in capsys.readouterr().out
    assert run("datasets", "check", tmp_path / "lab", "--dataset", "folders") == 0
    assert "Class folders of any lab: 1 cell" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["analyse", "nowhere.png", "--out", "out"], "nowhere.png"),
        (["analyse", "{field}", "--out", "out", "--bundle", "giant"], "No bundle 'giant'"),
        (["analyse", "", "--out", "out"], "An argument is empty"),
        (["analyse", "{field}", "--out", ""], "An argument is empty"),
        (
            ["analyse", "{field}", "--out", "out", "--count.confidence", "2"],
            "--count.confidence = 2.0 is out of range",
        ),
        (["datasets", "check", "nowhere", "elsewhere"], "nowhere"),
        (["datasets", "check", ".", "--dataset", "imagenet"], "Unknown data set 'imagenet'. Known: matek,"),
        (["sample", "field.tif"], "does not end in .png"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_1(
    field: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(field.parent)
    capsys.readouterr()
    assert run(*[a.format(field=field) for a in arguments]) == 1
    captured = capsys.readouterr()
    assert message in captured.err + captured.out
    assert "Traceback" not in captured.err + captured.out
    assert not (field.parent / "out").exists()


def test_a_setting_of_the_engine_leaves_the_number_of_workers_to_the_images() -> None:
    def engine(*flags: str) -> EngineConfig:
        _, bound, _ = app.parse_args(["analyse", "fields", "--out", "results", *flags])
        bound.apply_defaults()
        return plain(bound.arguments["engine"])

    assert engine() == EngineConfig(workers=None)
    assert engine("--attempts", "2") == EngineConfig(workers=None, attempts=2)
    assert engine("--workers", "1") == EngineConfig(workers=1)


def test_the_help_of_analyse_names_no_other_workers_than_are_started(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("analyse", "--help") == 0
    words = re.sub(r"[│\s]+", " ", capsys.readouterr().out)
    told = words.partition("--workers")[2].partition("--scheduler")[0]
    assert "Empty: one a core" in told
    assert "default" not in told


def test_sample_writes_picture_labels_and_classes(field: Path) -> None:
    assert np.asarray(Image.open(field)).shape == (240, 320, 3)
    rows = field.with_suffix(".classes.csv").read_text().splitlines()
    assert rows[0] == "cell_id,class"
    assert len(rows) == 3
    assert field.with_suffix(".labels.ome.tif").is_file()


def test_demo_finds_most_cells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("demo", "--out", tmp_path) == 0
    printed = capsys.readouterr().out
    assert "Drawn: 12 white cells." in printed
    assert (tmp_path / "result" / "overlay.png").is_file()


def test_bundle_list_and_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("bundle", "list") == 0
    assert "nano" in capsys.readouterr().out
    assert run("bundle", "info") == 0
    assert "What it cannot do" in capsys.readouterr().out


def test_interrupt_says_that_finished_work_is_kept(
    field: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    from napari_bloodcell.core import batch

    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(batch, "analyse_files", interrupted)
    assert run("analyse", field, "--out", tmp_path / "out") == 130
    assert "What was finished is kept" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
def test_a_log_has_one_line_for_each_image(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar() as progress:
        for done in (0, 0, 0, 1, 1):
            progress(f"Image {done + 1} of 2", done, 2)
            progress("crops", 1, 9)
    assert capsys.readouterr().err.splitlines() == ["Image 1 of 2", "Image 2 of 2"]


def test_a_reader_that_has_seen_enough_causes_no_trace() -> None:
    ours = subprocess.Popen(
        [sys.executable, "-m", "napari_bloodcell.cli", "bundle", "list"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert ours.stdout is not None
    assert ours.stderr is not None
    ours.stdout.close()
    said = ours.stderr.read()
    ours.stderr.close()
    assert ours.wait(timeout=60) == 1
    assert said == ""


def test_the_installed_command_answers() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "napari_bloodcell.cli", "--help"], capture_output=True, text=True, check=True
    )
    for command in ("analyse", "demo", "sample", "doctor", "datasets", "bundle"):
        assert command in shown.stdout


@pytest.mark.parametrize(
    ("words", "unused"),
    [
        ("analyse a.png --out x extra", "'extra'"),
        ("embed judge labs --embedder measurements sam", "'sam'"),
        ("doctor now", "'now'"),
    ],
)
def test_words_that_belong_to_nothing_are_told_with_what_to_do(
    words: str, unused: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words.split()) == 2
    told = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert f"Nothing here takes {unused}. Files and folders belong before" in told
    assert f"{words.split(maxsplit=1)[0]}" in told.partition("What there is: napari-bloodcell ")[2]


@pytest.mark.parametrize(
    ("words", "setting", "expected"),
    [
        ("evaluate lab --methods nano --out x --shots 0 5 10", "shots", (0, 5, 10)),
        ("evaluate lab --shots 0 --shots 5 --methods nano stain --out x", "shots", (0, 5)),
        ("train adapter cells --out x --lora.layers 1 2", "layers", (1, 2)),
    ],
)
def test_a_setting_that_is_a_list_takes_all_its_values_at_once(
    words: str, setting: str, expected: tuple[int, ...]
) -> None:
    _, bound, _ = app.parse_args(words.split(), exit_on_error=False, print_error=False)
    given = [bound.arguments.get("config"), bound.arguments.get("lora")]
    assert [getattr(one, setting) for one in given if one is not None] == [expected]
