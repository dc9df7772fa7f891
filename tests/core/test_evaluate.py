"""The whole comparison, on made cells in the exact layouts of the papers' sets."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from napari_bloodcell.core.artifact import hash_of
from napari_bloodcell.core.config import EvaluateConfig
from napari_bloodcell.core.datasets import Dataset
from napari_bloodcell.core.embed.measurements import MeasurementEmbedder
from napari_bloodcell.core.errors import Cancelled, ClassifyError, ConfigError, DataError
from napari_bloodcell.core.evaluate import evaluate, tables_of
from napari_bloodcell.core.evaluate.learned import LEARNED, Learner
from napari_bloodcell.core.evaluate.methods import method_of, methods_of, standardised_per_lab
from napari_bloodcell.core.evaluate.published import BC_SAM, DORL, SADA_MEANS, SADA_MICRO
from napari_bloodcell.core.evaluate.table import published_tables
from napari_bloodcell.core.records import Embeddings
from napari_bloodcell.core.synthetic import make_cells

KINDS = ("neutrophil_segmented", "lymphocyte_typical", "eosinophil")
FINE_CODES = dict(zip(KINDS, ("NGS", "LYT", "EOS"), strict=True))
PREFIXES = dict(zip(KINDS, ("SNE", "LY", "EO"), strict=True))
ACEVEDO_FOLDERS = dict(zip(KINDS, ("neutrophil", "lymphocyte", "eosinophil"), strict=True))
QUICK = EvaluateConfig(settings="published", folds=2, bootstrap=100)
METHOD = ["measurements/logistic"]


@pytest.fixture(scope="module")
def pictures() -> list[tuple[str, np.ndarray]]:
    """30 cells, at the scale of Acevedo-20."""
    cells = make_cells(30, seed=11, size_px=96, classes=KINDS)
    return [
        (cells.class_names[i], at_scale(np.array(cells.pixels[i]), float(cells.um_per_px[i]), 0.1))
        for i in range(30)
    ]


def at_scale(pixels: np.ndarray, has: float, wanted: float) -> np.ndarray:
    side = round(len(pixels) * has / wanted)
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR))


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def matek(root: Path, pictures: list[tuple[str, np.ndarray]]) -> None:
    for i, (name, pixels) in enumerate(pictures):
        code = FINE_CODES[name]
        save(root / "AML-Cytomorphology_LMU" / code / f"{code}_{i:04d}.tiff", at_scale(pixels, 0.1, 0.071))


def acevedo(root: Path, pictures: list[tuple[str, np.ndarray]]) -> None:
    for i, (name, pixels) in enumerate(pictures):
        folder = root / "PBC_dataset_normal_DIB" / ACEVEDO_FOLDERS[name]
        save(folder / f"{PREFIXES[name]}_{100000 + i}.jpg", pixels)


def sysu3h(root: Path, pictures: list[tuple[str, np.ndarray]]) -> None:
    for i, (name, pixels) in enumerate(pictures):
        save(root / "SYSU3H" / ACEVEDO_FOLDERS[name] / f"{i}.png", pixels)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.getbasetemp() / "evaluate-cache"
    monkeypatch.setenv("BLOODCELL_CACHE", str(folder))
    return folder


@pytest.fixture
def labs(tmp_path: Path, pictures: list[tuple[str, np.ndarray]]) -> list[Path]:
    matek(tmp_path / "matek", pictures[:15])
    acevedo(tmp_path / "acevedo", pictures[15:])
    return [tmp_path / "matek", tmp_path / "acevedo"]


@pytest.mark.usefixtures("no_figures")
def test_matek_acevedo_and_sysu3h_run_as_published(
    tmp_path: Path, pictures: list[tuple[str, np.ndarray]], labs: list[Path]
) -> None:
    sysu3h(tmp_path, pictures[15:])
    config = EvaluateConfig(settings="published", preset="reproduction", folds=2, bootstrap=100)
    data = [*labs, tmp_path / "SYSU3H"]
    found = evaluate(data, ["measurements/svm_linear"], tmp_path / "out", config)
    assert found.level == "fine"
    assert {s.key[:2] for s in found.scores} == {
        (a, b) for a in ("matek", "acevedo", "sysu3h") for b in ("matek", "acevedo", "sysu3h")
    }
    table = tables_of(found)[0]
    assert table.columns[:3] == ("matek → matek", "matek → acevedo", "matek → sysu3h")
    rows = {row.name: row for row in table.rows}
    dorl = dict(zip(table.columns, rows["DoRL svm_linear"].cells, strict=True))
    assert dorl["matek → acevedo"] == "63.18"
    assert dorl["acevedo → sysu3h"] == "33.65"
    assert dorl["sysu3h → matek"] == "-"
    assert rows["DoRL svm_linear"].kind == "published, transductive"
    assert rows["BC-SAM ResNeXt"].kind == "published, inductive"
    assert dict(zip(table.columns, rows["BC-SAM xgboost"].cells, strict=True))["acevedo → matek"] == "49.22"
    # The pictures of SYSU3H are those of Acevedo here, but as PNG: other bytes, so no doubles.
    assert not any("are in acevedo and in sysu3h" in note for note in found.notes)


@pytest.mark.usefixtures("no_figures")
def test_wbc_dg_runs_as_published(tmp_path: Path, pictures: list[tuple[str, np.ndarray]]) -> None:
    for i, (name, pixels) in enumerate(pictures):
        domain = ("acevedo", "raabin", "zheng")[i // 10]
        save(tmp_path / "WBC_DG" / domain / ACEVEDO_FOLDERS[name] / f"{i}.png", pixels)
    config = EvaluateConfig(protocol="leave-one-lab-out", settings="published", bootstrap=100)
    found = evaluate([tmp_path / "WBC_DG"], METHOD, tmp_path / "out", config)
    assert [score.target for score in found.scores] == ["acevedo", "raabin", "zheng"]
    accuracy, _, macro, _ = tables_of(found)
    sada = {row.name: row for row in accuracy.rows}["SADA"]
    assert sada.cells[:3] == ("79.90", "87.40", "84.30")
    assert {row.name: row for row in macro.rows}["SADA"].cells[1] == "61.90"


def test_everything_is_written_and_says_the_same(labs: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = evaluate(labs, METHOD, out, QUICK)
    stored = json.loads((out / "evaluation.json").read_text())
    rows = list(csv.DictReader((out / "scores.csv").read_text().splitlines()))
    text = (out / "table.md").read_text()
    assert len(rows) == len(stored["scores"]) == len(found.scores) == 4
    for row, score in zip(rows, stored["scores"], strict=True):
        value = score["metrics"]["accuracy"]
        assert float(row["accuracy"]) == pytest.approx(value["value"], abs=1e-5)
        assert value["low"] <= value["value"] <= value["high"]
        assert f"{100 * value['value']:.1f} ±" in text
        counts = np.array(score["confusion"])
        assert counts.sum() == pytest.approx(score["cells"])
        right = np.trace(counts[:, :-1]) / counts.sum()
        assert right == pytest.approx(value["value"], abs=0.05)
    assert "Research use only" in text
    assert "one answer for all" in text
    assert "most possible" in text
    for name in ("calibration", "risk-coverage", "confusion-measurements-logistic"):
        assert (out / "figures" / f"{name}.png").stat().st_size > 5000


def test_figures_of_methods_that_are_no_longer_compared_go_and_a_persons_own_stay(
    labs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(folder: Path, scores: Any, protocol: str) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"confusion-{name.replace('/', '-')}.png" for name in {s.method for s in scores}]
        for path in paths:
            path.write_text(f"drawn {path.name}")
        return paths

    monkeypatch.setattr("napari_bloodcell.core.evaluate.files.draw_all", draw)
    others = ["measurements/svm_linear", "measurements/random_forest"]
    figures = tmp_path / "out" / "figures"
    evaluate(labs, [*METHOD, *others], tmp_path / "out", QUICK)
    assert len(list(figures.iterdir())) == 3
    (figures / "mine.png").write_text("of a person")
    (figures / "confusion-measurements-random_forest.png").write_text("a person's by now")
    evaluate(labs, METHOD, tmp_path / "out", QUICK)
    left = {path.name for path in figures.iterdir()}
    kept = f"confusion-{METHOD[0].replace('/', '-')}.png"
    assert left == {kept, "mine.png", "confusion-measurements-random_forest.png"}


@pytest.mark.usefixtures("no_figures")
def test_a_second_run_computes_nothing_and_a_third_only_what_is_new(
    labs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_bloodcell.core.evaluate import trials

    first = evaluate(labs, METHOD, tmp_path / "out", QUICK)
    fitted: list[str] = []
    plain = trials.fit

    def counted(method, *rest):
        fitted.append(method.name)
        return plain(method, *rest)

    def never(self, *args, **kwargs):
        raise AssertionError("these cells are described already")

    monkeypatch.setattr(trials, "fit", counted)
    monkeypatch.setattr(MeasurementEmbedder, "embed", never)
    again = evaluate(labs, METHOD, tmp_path / "out", QUICK)
    assert not fitted
    assert again.scores == first.scores
    evaluate(labs, [*METHOD, "measurements/ann"], tmp_path / "out", QUICK)
    assert fitted == ["measurements/ann"] * 4


@pytest.mark.usefixtures("no_figures")
def test_cancel_keeps_the_finished_trials_and_a_damaged_one_is_run_again(
    labs: list[Path], tmp_path: Path
) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if stage == "Trying classifiers" and done == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        evaluate(labs, METHOD, tmp_path / "out", QUICK, progress=stop)
    kept = sorted((tmp_path / "out" / "trials").iterdir())
    assert len(kept) == 2
    assert not (tmp_path / "out" / "table.md").exists()
    kept[0].write_bytes(kept[0].read_bytes()[:100])
    found = evaluate(labs, METHOD, tmp_path / "out", QUICK)
    assert found.scores == evaluate(labs, METHOD, tmp_path / "other", QUICK).scores


@pytest.mark.usefixtures("no_figures")
def test_two_processes_answer_as_one(labs: list[Path], tmp_path: Path) -> None:
    one = evaluate(labs, METHOD, tmp_path / "one", QUICK)
    two = evaluate(
        labs,
        METHOD,
        tmp_path / "two",
        EvaluateConfig(settings="published", folds=2, bootstrap=100, workers=2),
    )
    assert one.scores == two.scores


def test_few_shot_draws_a_curve_for_each_lab(labs: list[Path], tmp_path: Path) -> None:
    config = EvaluateConfig(protocol="few-shot", shots=(0, 4), repeats=2, settings="published", bootstrap=100)
    found = evaluate(labs, METHOD, tmp_path / "out", config)
    tables = tables_of(found)
    assert tables[0].title == "Balanced accuracy, %: matek, by corrected cells"
    assert tables[0].columns == ("0", "4")
    assert all(score.classifiers == 2 for score in found.scores)
    assert (tmp_path / "out" / "figures" / "few-shot.png").stat().st_size > 5000


@pytest.mark.usefixtures("no_figures")
def test_labs_that_name_only_neutrophils_are_compared_at_the_coarse_level(
    tmp_path: Path, pictures: list[tuple[str, np.ndarray]], labs: list[Path]
) -> None:
    sysu3h(tmp_path, pictures[:15])
    config = EvaluateConfig(protocol="leave-one-lab-out", settings="published", bootstrap=100)
    found = evaluate([*labs, tmp_path / "SYSU3H"], METHOD, tmp_path / "out", config)
    assert found.level == "coarse"
    assert set(found.counts["matek"]) == {"neutrophil", "lymphocyte", "eosinophil"}
    assert any(
        "compared at the coarse level: some labs name lymphocyte, neutrophil" in n for n in found.notes
    )


def test_nan_vectors_are_refused_with_the_picture(
    labs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = MeasurementEmbedder.embed

    def broken(self, crops, *, progress=None):
        good = plain(self, crops)
        values = np.array(good.values)
        values[1, 0] = np.nan
        return Embeddings(cell_id=good.cell_id, values=values, names=good.names, embedder=good.embedder)

    monkeypatch.setenv("BLOODCELL_CACHE", str(tmp_path / "fresh"))
    monkeypatch.setattr(MeasurementEmbedder, "embed", broken)
    with pytest.raises(ClassifyError, match=r"2 of 30 vectors of embedder measurements hold NaN .*\.tiff"):
        evaluate(labs, METHOD, tmp_path / "out", QUICK)
    assert not (tmp_path / "out" / "trials").exists()


@pytest.mark.usefixtures("no_figures")
def test_an_unknown_class_folder_is_left_out_and_told(labs: list[Path], tmp_path: Path) -> None:
    odd = tmp_path / "matek" / "AML-Cytomorphology_LMU" / "XYZ" / "XYZ_0001.tiff"
    save(odd, np.zeros((8, 8, 3), np.uint8))
    found = evaluate(labs, METHOD, tmp_path / "out", QUICK)
    assert any("1 picture left out" in note and "XYZ" in note for note in found.notes)


def test_a_lab_whose_cells_are_not_found_is_named_with_its_pixel_size(tmp_path: Path) -> None:
    blank = np.full((64, 64, 3), (230, 220, 240), np.uint8)
    for code in ("NGS", "LYT"):
        for i in range(5):
            shade = np.uint8(i + 5 * (code == "LYT"))  # every picture another
            save(tmp_path / "matek" / code / f"{code}_{i}.tiff", blank + shade)
    message = r"None of the 10 cells of matek was found in its picture \(pixel size taken as 0.071 µm\)"
    with pytest.raises(DataError, match=message):
        evaluate([tmp_path / "matek"], METHOD, tmp_path / "out", QUICK)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("logistic", r"'logistic' is no method. Write EMBEDDING/CLASSIFIER"),
        ("measurements/tree", "There is no classifier 'tree'. Known: logistic, svm_linear"),
        ("resnet/logistic", "There is no embedding 'resnet'. Known: measurements"),
        ("measurements@all/logistic", "after measurements@ only per-lab is known"),
        ("sam+dorl@per-lab/ann", "after sam\\+dorl@ only inductive is known"),
    ],
)
def test_a_mistyped_method_is_named_with_what_there_is(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        method_of(text)


def test_all_stands_for_every_classifier_and_doubles_run_once() -> None:
    names = [method.classifier for method in methods_of(["measurements/all", "measurements/ann"])]
    assert len(names) == len(set(names)) == 7


class TaughtEmbedder(MeasurementEmbedder):
    """The measurements, and what it was taught on."""

    kind = "taught"

    def __init__(self, labs: tuple[str, ...]) -> None:
        self.training = {"labs": dict.fromkeys(labs, 1)}

    @property
    def hash(self) -> str:
        return hash_of({"taught": sorted(self.training["labs"])})


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    ("method", "lessons", "kind"),
    [
        ("taught/ann", [("acevedo", "matek")], "transductive"),
        ("taught@inductive/ann", [("acevedo",), ("matek",)], "inductive"),
        ("taught-classes/ann", [("acevedo",), ("matek",)], "inductive"),
    ],
)
def test_a_learned_embedding_is_taught_once_for_what_it_may_see(
    labs: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    lessons: list[tuple[str, ...]],
    kind: str,
) -> None:
    seen: list[tuple[str, ...]] = []
    needs_classes = method.startswith("taught-classes")

    def teach(dataset: Dataset, folder: Path, config: EvaluateConfig, progress: object) -> TaughtEmbedder:
        seen.append(tuple(sorted(dataset.domains)))
        assert set(dataset.classes) <= set(KINDS)
        return TaughtEmbedder(dataset.domains)

    name = "taught-classes" if needs_classes else "taught"
    monkeypatch.setitem(LEARNED, name, Learner(needs_classes=needs_classes, epochs=7, train=teach))
    config = EvaluateConfig(protocol="leave-one-lab-out", settings="published", bootstrap=100, epochs=2)
    found = evaluate(labs, [method], tmp_path / "out", config)
    assert sorted(seen) == lessons
    assert [note for note in found.notes if note.startswith(f"{name} was trained for 2 of the 7 epochs")]
    assert tables_of(found)[0].rows[0].kind == kind
    if not needs_classes:
        return
    with pytest.raises(ConfigError, match="would have to be trained anew for each fold of cross-domain"):
        evaluate(labs, [method], tmp_path / "cross", QUICK)
    assert not (tmp_path / "cross").exists()


@pytest.mark.usefixtures("no_figures")
def test_an_embedder_that_knows_a_lab_is_told(
    labs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_bloodcell.core.evaluate.embedder_of", lambda name: TaughtEmbedder(("matek",)))
    config = EvaluateConfig(protocol="leave-one-lab-out", settings="published", bootstrap=100)
    found = evaluate(labs, METHOD, tmp_path / "out", config)
    assert "measurements was trained on cells of matek: no figure there is of a new lab." in found.notes
    assert {score.target: score.sees_target for score in found.scores} == {"matek": True, "acevedo": False}


def test_per_lab_needs_the_target_and_takes_each_labs_mean() -> None:
    method = method_of("measurements@per-lab/ann")
    assert (method.sees_target, method.name) == (True, "measurements@per-lab/ann")
    values = np.array([[1, 5], [3, 5], [10, 7], [30, 9]], np.float32)
    ready = standardised_per_lab(values, np.array(["a", "a", "b", "b"]))
    np.testing.assert_allclose(ready, [[-1, 0], [1, 0], [-1, -1], [1, 1]])


def test_published_means_are_those_of_the_papers() -> None:
    """Typed numbers: their means must give what the papers print."""
    assert np.mean(DORL.rows["svm_linear"]) == pytest.approx(60.36, abs=0.01)
    assert np.mean(SADA_MICRO.rows["SADA"]) == pytest.approx(SADA_MEANS["SADA"][0], abs=0.05)
    assert all(
        len(values) == len(table.columns) for table in (BC_SAM, DORL) for values in table.rows.values()
    )
    shown = {row.name: row.cells for table in published_tables()[:2] for row in table.rows}
    assert shown["DoRL svm_linear"][-3:] == ("91.2", "45.0", "60.4")


@pytest.mark.realdata
@pytest.mark.usefixtures("no_figures")
def test_a_real_lab_beats_its_majority_and_every_cell_is_counted(real_data: Path, tmp_path: Path) -> None:
    found = evaluate([real_data / "cellavision"], METHOD, tmp_path / "out", QUICK)
    (score,) = found.scores
    assert score.cells == 80
    assert score.metrics["accuracy"].low > score.majority
    assert {r.class_name: r.cells for r in score.recalls}["lymphocyte"] == 31


def test_folders_of_one_name_are_called_by_where_they_lie(
    pictures: list[tuple[str, np.ndarray]], tmp_path: Path
) -> None:
    from napari_bloodcell.core.evaluate.cells import gather

    for lab in ("north", "south"):
        for i, (name, pixels) in enumerate(pictures[:6]):
            save(tmp_path / lab / "cells" / name / f"{i}.png", pixels)
    both = gather([tmp_path / "north" / "cells", tmp_path / "south" / "cells"], EvaluateConfig())
    assert set(both.lab) == {"cells (north)", "cells (south)"}
    assert set(gather([tmp_path / "north" / "cells"], EvaluateConfig()).lab) == {"cells"}
