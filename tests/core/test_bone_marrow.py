"""The layout of the bone-marrow set, from the folder to scores and a classifier: CODE/0001-1000/CODE_00001.jpg."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_bloodcell.cli import main
from napari_bloodcell.core.config.evaluate import EvaluateConfig
from napari_bloodcell.core.datasets import check
from napari_bloodcell.core.evaluate import evaluate
from napari_bloodcell.core.synthetic import make_cells

CODES = {
    "neutrophil_segmented": "NGS",
    "neutrophil_banded": "NGB",
    "lymphocyte_typical": "LYT",
    "monocyte": "MON",
    "eosinophil": "EOS",
}
FEW = ("BLA", "FGC", "PLM")  # one is a class of ours, two are left out


@pytest.fixture(scope="module")
def marrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("marrow") / "BM_cytomorphology_data"
    cells = make_cells(48, seed=1, size_px=96)
    for number, (pixels, name) in enumerate(zip(cells.pixels, cells.class_names, strict=True), 1):
        if name in CODES:
            draw(root / CODES[name] / "0001-1000" / f"{CODES[name]}_{number:05d}.jpg", pixels)
    for code in FEW:
        for number in (1, 2):
            draw(root / code / f"{code}_{number:05d}.jpg", cells.pixels[number])
    return root


def draw(path: Path, pixels: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(pixels)).resize((250, 250)).save(path, quality=92)


def test_the_tree_is_recognised_and_what_is_left_out_is_told(marrow: Path) -> None:
    report = check(marrow.parent, deep=True)
    assert report.dataset == "bone_marrow"
    assert {*CODES, "myeloblast"} == set(report.classes)
    assert {group.example: group.count for group in report.skipped} == {"FGC": 2, "PLM": 2}
    assert report.domains[0].other_sizes == 0


def test_methods_and_bundles_are_scored_on_it(marrow: Path, tmp_path: Path) -> None:
    config = EvaluateConfig(bootstrap=100)
    done = evaluate([marrow], ["measurements/svm_linear", "stain"], tmp_path / "out", config)
    assert any("of bone marrow, not of blood" in note for note in done.notes)
    table = (tmp_path / "out" / "table.md").read_text()
    assert "bone_marrow → bone_marrow" in table
    assert "frozen bundle" in table


def test_a_classifier_learns_from_it(
    marrow: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: object) -> int:
        with pytest.raises(SystemExit) as end:
            main([str(one) for one in arguments])
        return int(end.value.code or 0)

    assert run("classify", "train", marrow, "--out", tmp_path / "marrow.onnx") == 1
    assert f"`napari-bloodcell embed cells {marrow} --out cells.parquet`" in capsys.readouterr().err
    assert run("embed", "cells", marrow, "--out", tmp_path / "cells.parquet") == 0
    assert run("classify", "train", tmp_path / "cells.parquet", "--out", tmp_path / "marrow.onnx") == 0
    assert (tmp_path / "marrow.onnx").exists()
