"""What an evaluation tells of cells it could not score, and what it leaves for others to compute with."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from evaluate_parts import draw_labs
from PIL import Image

from napari_bloodcell.core.artifact import only_writer
from napari_bloodcell.core.bundle import find_bundle
from napari_bloodcell.core.config import EvaluateConfig
from napari_bloodcell.core.embed.sources import embed_paths
from napari_bloodcell.core.errors import DataError, EngineError
from napari_bloodcell.core.evaluate import evaluate

METHOD = ["measurements/logistic"]
QUICK = EvaluateConfig(protocol="leave-one-lab-out", settings="published", bootstrap=100)
pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_labs(tmp_path_factory.mktemp("drawn"))


@pytest.fixture
def labs(drawn: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drawn, tmp_path / "labs"))


def spoil(lab: Path) -> dict[str, str]:
    """Pictures that cannot be used, and a word of the reason for each."""
    folder = lab / "neutrophil"
    whole = sorted(folder.glob("*.png"))[0]
    pixels = np.asarray(Image.open(whole))
    (folder / "text.png").write_text("no picture " * 50)
    (folder / "half.png").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    grey = np.repeat(pixels.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    Image.fromarray(grey).save(folder / "grey.png")
    tifffile.imwrite(folder / "pages.tif", np.stack([pixels, pixels]), photometric="rgb")
    return {"text.png": "", "half.png": "", "grey.png": "colourless", "pages.tif": "2 pages"}


@pytest.mark.usefixtures("no_figures")
def test_pictures_that_cannot_be_used_are_left_out_with_their_reason_and_count_for_nothing(
    labs: Path, tmp_path: Path
) -> None:
    plain = evaluate([labs], METHOD, tmp_path / "plain", QUICK)
    spoilt = spoil(labs / "north")
    for out in ("first", "again"):  # what is kept on disk does not turn them into wrong answers
        found = evaluate([labs], METHOD, tmp_path / out, QUICK)
        assert found.scores == plain.scores
        assert found.counts == plain.counts
        for name, reason in spoilt.items():
            (note,) = [note for note in found.notes if name in note]
            assert note.startswith("left out: ")
            assert reason in note
        assert not any("not found" in note for note in found.notes)


@pytest.mark.usefixtures("no_figures")
def test_a_cell_that_is_not_found_still_counts_as_wrong(labs: Path, tmp_path: Path) -> None:
    empty = np.full((128, 128, 3), (230, 220, 240), np.uint8)
    Image.fromarray(empty).save(labs / "north" / "eosinophil" / "empty.png")
    found = evaluate([labs], METHOD, tmp_path / "out", QUICK)
    score = {one.target: one for one in found.scores}["north"]
    assert (score.cells, score.not_found) == (13, 1)
    assert "1 cell of north was not found in the picture and counts as wrong." in found.notes


@pytest.mark.usefixtures("no_figures")
def test_a_lab_of_which_no_picture_can_be_read_says_why(labs: Path, tmp_path: Path) -> None:
    for path in (labs / "south").rglob("*.png"):
        path.write_text("no picture " * 50)
    with pytest.raises(
        DataError, match=r"None of the 12 pictures of south can be used. The first: .*\.png' is no"
    ):
        evaluate([labs], METHOD, tmp_path / "out", QUICK)


def test_embedding_tells_pictures_that_cannot_be_used_from_cells_that_are_not_found(labs: Path) -> None:
    spoilt = spoil(labs / "north")
    empty = np.full((128, 128, 3), (230, 220, 240), np.uint8)
    Image.fromarray(empty).save(labs / "north" / "eosinophil" / "empty.png")
    told = embed_paths([labs / "north"], ["measurements"]).provenance
    assert told["cells_not_found"] == 1
    assert len(told["left_out"]) == len(spoilt)
    assert all(any(name in line for line in told["left_out"]) for name in spoilt)


@pytest.mark.usefixtures("no_figures")
def test_two_runs_do_not_write_to_one_folder(drawn: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with only_writer(out), pytest.raises(EngineError, match="Another run is writing to"):
        evaluate([drawn], METHOD, out, QUICK)
    assert not (out / "table.md").exists()
    evaluate([drawn], METHOD, out, QUICK)  # and afterwards it may


@pytest.mark.usefixtures("no_figures")
def test_a_table_that_takes_the_place_of_another_says_what_that_one_held(drawn: Path, tmp_path: Path) -> None:
    def told(methods: list[str], config: EvaluateConfig = QUICK) -> str:
        found = evaluate([drawn], methods, tmp_path / "out", config)
        return " ".join(note for note in found.notes if "took the place" in note)

    assert told(METHOD) == ""
    assert told(METHOD) == ""
    assert "one with the methods measurements/logistic. Name all of them" in told(["measurements/ann"])
    assert told([*METHOD, "measurements/ann"]) == ""
    assert "the protocol leave-one-lab-out" in told(METHOD, replace(QUICK, protocol="cross-domain", folds=2))


@pytest.mark.usefixtures("no_figures")
def test_every_answer_is_written_and_gives_the_scores_again(drawn: Path, tmp_path: Path) -> None:
    config = replace(QUICK, protocol="cross-domain", folds=2)
    found = evaluate([drawn], [*METHOD, "stain"], tmp_path / "out", config)
    rows = list(csv.DictReader((tmp_path / "out" / "predictions.csv").read_text().splitlines()))
    for score in found.scores:
        own = [
            row
            for row in rows
            if (row["method"], row["source"], row["lab"]) == (score.method, score.source, score.target)
        ]
        assert {row["protocol"] for row in own} == {score.kind}
        assert len({row["image"] for row in own}) == score.cells
        right = {
            fold: np.mean([row["truth"] == row["best_guess"] for row in own if row["fold"] == fold])
            for fold in {row["fold"] for row in own}
        }
        assert np.mean(list(right.values())) == pytest.approx(score.metrics["accuracy"].value)
        assert all(row["answer"] in (row["best_guess"], "unidentified", "not found") for row in own)


@pytest.mark.usefixtures("no_figures")
def test_methods_are_compared_with_the_first_one_on_the_same_cells(drawn: Path, tmp_path: Path) -> None:
    methods = ["measurements/logistic", "measurements/random_forest", "stain"]
    found = evaluate([drawn], methods, tmp_path / "out", QUICK)
    by = {(score.method, score.target): score for score in found.scores}
    for (method, target), score in by.items():
        if method == methods[0]:
            assert not score.differences
            continue
        assert score.compared_with == methods[0]
        for metric, apart in score.differences.items():
            first = by[methods[0], target].metrics[metric]
            assert apart.value == pytest.approx(score.metrics[metric].value - first.value)
            assert apart.low <= apart.value <= apart.high
    text = (tmp_path / "out" / "table.md").read_text()
    assert "## Difference to measurements/logistic" in text
    row = list(csv.DictReader((tmp_path / "out" / "scores.csv").read_text().splitlines()))[-1]
    apart = by[row["method"], row["target"]].differences["accuracy"]
    assert float(row["accuracy_difference_low"]) == pytest.approx(apart.low, abs=1e-5)


def test_a_lab_without_a_cell_to_score_is_told_and_not_drawn(
    drawn: Path, labs: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    shutil.copytree(drawn / "north", labs / "copy")  # the same pictures: never scored beside north
    found = evaluate([labs], METHOD, tmp_path / "out", QUICK)
    cells = {score.target: score.cells for score in found.scores}
    assert (cells["north"], cells["copy"], cells["south"]) == (0, 0, 12)
    assert sum("no cell could be scored" in note for note in found.notes) == 2
    assert not [one for one in recwarn if "ylims" in str(one.message)]
    assert (tmp_path / "out" / "figures" / "confusion-measurements-logistic.png").is_file()


@pytest.mark.usefixtures("no_figures")
def test_labs_that_share_no_class_say_why_nothing_is_right(labs: Path, tmp_path: Path) -> None:
    for name, other in (
        ("neutrophil", "monocyte"),
        ("lymphocyte", "basophil"),
        ("eosinophil", "erythroblast"),
    ):
        (labs / "south" / name).rename(labs / "south" / other)
    found = evaluate([labs], METHOD, tmp_path / "out", QUICK)
    assert [score.metrics["accuracy"].value for score in found.scores] == [0, 0]
    (note,) = [note for note in found.notes if note.startswith("south: ")]
    assert "the training holds none of the classes there (basophil, erythroblast, monocyte)" in note


def test_the_picture_of_a_model_in_a_folder_has_a_name_that_any_disk_takes(
    drawn: Path, tmp_path: Path
) -> None:
    model = Path(shutil.copytree(find_bundle("stain"), tmp_path / "our model, 2026"))
    evaluate([drawn], [str(model)], tmp_path / "out", QUICK)
    (name,) = [path.name for path in (tmp_path / "out" / "figures").glob("confusion-*")]
    assert name.endswith("our-model-2026.png")
    assert not set(name) & set('\\/:*?"<>|, ')
