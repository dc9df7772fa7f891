"""The commands on embeddings, as a person types them."""

import shutil
import signal
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from napari_bloodcell.cli import app, main
from napari_bloodcell.cli_defaults import plain
from napari_bloodcell.cli_progress import stopped_by_ctrl_c
from napari_bloodcell.core.config import (
    ADAPTER_TRAINING,
    BCSAM_TRAINING,
    DORL_TRAINING,
    SADA_TRAINING,
    TrainConfig,
)
from napari_bloodcell.core.errors import Cancelled, DataError
from napari_bloodcell.core.progress import Progress, silent


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two labs of twelve cells with masks, two classes."""
    root = tmp_path_factory.mktemp("labs")
    rng = np.random.default_rng(0)
    yy, xx = np.mgrid[:48, :48] - 24
    for lab, tint in (("north", 0), ("south", 40)):
        rows = ["image,class"]
        for folder in ("images", "masks"):
            (root / lab / folder).mkdir(parents=True)
        for i in range(12):
            big = i % 2
            cell, nucleus = np.hypot(yy, xx) < 18, np.hypot(yy, xx) < 7 + 6 * big
            pixels = rng.integers(205, 235, (48, 48, 3)).astype(np.uint8)
            pixels[cell] -= np.array([30, 50, tint], np.uint8)
            pixels[nucleus] -= np.array([70, 90, 10], np.uint8)
            Image.fromarray(pixels).save(root / lab / "images" / f"{i}.png")
            Image.fromarray(cell.astype(np.uint8) + nucleus).save(root / lab / "masks" / f"{i}.png")
            rows.append(f"{i}.png,{'lymphocyte' if big else 'neutrophil'}")
        (root / lab / "labels.csv").write_text("\n".join(rows))
    return root


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    return int(ended.value.code or 0)


def test_cells_of_labelled_folders_are_written_as_a_table(labs: Path, tmp_path: Path, capsys) -> None:
    import pandas as pd

    assert run("embed", "cells", labs, "--out", tmp_path / "cells.parquet") == 0
    assert "24 cells in" in capsys.readouterr().out
    table = pd.read_parquet(tmp_path / "cells.parquet")
    assert set(table["lab"]) == {"north", "south"}
    assert set(table["class"]) == {"lymphocyte", "neutrophil"}
    assert "measurements_0" in table.columns


def test_judging_prints_figures_and_draws_the_maps(labs: Path, tmp_path: Path, capsys) -> None:
    import json

    assert run("embed", "judge", labs, "--out", tmp_path / "maps.png", "--resamples", 10) == 0
    said = capsys.readouterr().out
    assert "lab_probe" in said
    assert "class_agreement_across_labs" in said
    assert "measurements: " in said
    figures = json.loads((tmp_path / "maps.json").read_text())["embeddings"]["measurements"]
    assert figures["lab_chance"] == 0.5
    assert (tmp_path / "maps.png").is_file()


def test_cells_outlined_already_are_taken_from_label_images(tmp_path: Path, capsys) -> None:
    import pandas as pd

    pixels = np.random.default_rng(0).integers(150, 230, (60, 80, 3), dtype=np.uint8)
    labels = np.zeros((60, 80), np.uint8)
    labels[10:30, 10:30], labels[30:50, 50:75] = 4, 9
    fields, given = [], []
    for name in "ab":
        fields.append(tmp_path / f"{name}.png")
        given.append(tmp_path / f"{name}-labels.png")
        Image.fromarray(pixels).save(fields[-1])
        Image.fromarray(labels).save(given[-1])
    out = tmp_path / "cells.csv"
    assert run("embed", "cells", *fields, "--labels", *given, "--out", out) == 0
    assert pd.read_csv(out)["cell_id"].tolist() == [4, 9, 4, 9]


def test_cells_of_folders_are_measured_in_the_outlines_that_an_analysis_gives_them(tmp_path: Path) -> None:
    """Or a classifier of the table would learn from other cells than those its bundle finds."""
    import pandas as pd

    from napari_bloodcell import analyse
    from napari_bloodcell.core.config import SmearConfig
    from napari_bloodcell.core.synthetic import make_smear

    for at, kind in enumerate(("neutrophil", "monocyte")):
        smear = make_smear(SmearConfig(width_px=240, height_px=200, white_cells=1, crowding=0, seed=at))
        (tmp_path / "cells" / kind).mkdir(parents=True)
        Image.fromarray(np.array(smear.image.pixels)).save(tmp_path / "cells" / kind / "1.png")
    tables = {}
    for segmenter in ("nano", "stain"):
        out = tmp_path / f"{segmenter}.parquet"
        assert run("embed", "cells", tmp_path / "cells", "--out", out, "--segmenter", segmenter) == 0
        tables[segmenter] = pd.read_parquet(out)
    names = ["area_px", "nucleus_solidity", "granularity_fine"]
    for row in tables["nano"].to_dict("records"):
        (told,) = analyse(row["image"]).table().to_dict("records")
        assert [row[name] for name in names] == pytest.approx([told[name] for name in names], rel=1e-5)
    assert not np.allclose(tables["nano"][names], tables["stain"][names], rtol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["embed", "judge", "LABS/north"], "takes cells of two labs at least; there is only 'north'"),
        (["embed", "judge", "LABS", "--embedder", "magic"], "There is no embedder 'magic'"),
        (
            ["embed", "judge", "LABS", "--out", "OUT/m.txt"],
            "ends in '.txt'; maps are written as .png, .pdf, .svg",
        ),
        (["embed", "judge", "LABS", "--out", "OUT/m.png", "--how", "tsne"], "'tsne' is not known"),
        (["train", "bcsam", "LABS", "--out", "OUT", "--sam", "giant"], "There is no model 'giant'"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_1(
    labs: Path, tmp_path: Path, capsys, arguments: list[str], words: str
) -> None:
    ready = [one.replace("LABS", str(labs)).replace("OUT", str(tmp_path)) for one in arguments]
    assert run(*ready) == 1
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("method", "recipe"),
    [
        ("adapter", ADAPTER_TRAINING),
        ("bcsam", BCSAM_TRAINING),
        ("dorl", DORL_TRAINING),
        ("sada", SADA_TRAINING),
    ],
)
def test_one_flag_of_the_loop_leaves_the_rest_of_the_recipe(method: str, recipe: TrainConfig) -> None:
    def loop(*flags: str) -> TrainConfig:
        _, bound, _ = app.parse_args(["train", method, "cells", "--out", "run", *flags])
        bound.apply_defaults()
        return plain(bound.arguments["loop"])

    assert loop() == recipe
    assert loop("--loop.seed", "0") == recipe
    assert loop("--loop.epochs", "3") == replace(recipe, epochs=3)


def test_ctrl_c_ends_a_training_as_a_cancel_button_does(
    labs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_bloodcell.core.embed import sam_model, trained

    told = {"protocol": "transductive", "labs": {"north": 3}, "held_out": 1, "notes": []}

    def train(*given: object, progress: Progress, **more: object) -> tuple[object, object]:
        progress("epoch 1", 1, 2)
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(Cancelled):
            progress("epoch 2", 2, 2)
        run = SimpleNamespace(ended="stopped", history=(1,), best_epoch=1, figures={"score": 0.5})
        return run, SimpleNamespace(kind="sam+bcsam", training=told)

    monkeypatch.setattr(trained, "train_embedder", train)
    monkeypatch.setattr(sam_model, "open_sam", lambda *given: None)
    before = signal.getsignal(signal.SIGINT)
    assert run("train", "bcsam", labs, "--out", tmp_path / "out") == 130
    seen = capsys.readouterr()
    assert "stopped after 1 epoch, best 1" in seen.out
    assert "run the same command again to go on" in seen.err
    assert signal.getsignal(signal.SIGINT) is before


SADA = "--backbone small --weights none --size-px 32 --per-lab 4 --steps-per-epoch 2 --clusters 2 --loop.epochs 4"


@pytest.mark.parametrize(("at", "written"), [("epoch 4", True), ("epoch 2", False), ("", True)])
def test_ctrl_c_in_a_training_of_sada_keeps_the_best_as_a_bundle_once_it_can_classify(
    labs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    at: str, written: bool,
) -> None:  # fmt: skip
    from napari_bloodcell import cli_train
    from napari_bloodcell.core.bundle import load_bundle

    def report(stage: str, done: int, total: int) -> None:
        if at and stage.startswith(at):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(cli_train, "progress_bar", lambda: nullcontext(report))
    assert run("train", "sada", labs, "--out", tmp_path / "out", *SADA.split()) == (130 if at else 0)
    told = capsys.readouterr()
    assert ("run the same command again" in told.err or "run it again to go on" in told.err) == bool(at)
    assert (tmp_path / "out" / "bundle").is_dir() == written
    if written:
        assert load_bundle(tmp_path / "out" / "bundle").classifier.class_names == ("lymphocyte", "neutrophil")
        return
    monkeypatch.undo()
    assert run("train", "sada", labs, "--out", tmp_path / "out", *SADA.split()) == 0
    assert (tmp_path / "out" / "bundle").is_dir()


def test_a_second_ctrl_c_ends_at_once() -> None:
    with stopped_by_ctrl_c(silent):
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_table_that_cannot_be_written_is_refused_before_the_work(
    labs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_bloodcell.core.embed import collection, sources

    def worked(*args: object, **kwargs: object) -> None:
        raise AssertionError("cells were described first")

    monkeypatch.setattr(sources, "embed_paths", worked)
    monkeypatch.setattr(collection, "find_spec", lambda name: None)  # as where the extra is not installed
    for name, words in (("c.h5ad", "pip install 'napari-bloodcell[anndata]'"), ("c.xls", "ends in '.xls'")):
        assert run("embed", "cells", labs, "--out", tmp_path / name) == 1
        assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "work"),
    [
        ("embed cells CELLS --out OUT/c.csv", "embed.sources.embed_paths"),
        ("embed align CELLS --out OUT/a", "embed.sources.align_paths"),
        ("embed judge CELLS", "embed.sources.embed_paths"),
        ("train bcsam CELLS --out OUT/b", "embed.trained.train_embedder"),
        ("train dorl CELLS --out OUT/d", "embed.trained.train_embedder"),
        ("train sada CELLS --out OUT/s", "embed.sada.fit.train_labs"),
    ],
)
def test_classes_that_nobody_knows_are_told_where_they_are_left_out(
    labs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    command: str, work: str,
) -> None:  # fmt: skip
    for number, name in enumerate(("monocyte", "flower_cell", "flower_cell")):
        folder = tmp_path / "cells" / name
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(labs / "north" / "images" / f"{number}.png", folder / f"{number}.png")
    (tmp_path / "cells" / ".DS_Store").write_bytes(b"0")

    def stop(*args: object, **more: object) -> None:
        raise DataError("Work would begin.")

    monkeypatch.setattr(f"napari_bloodcell.core.{work}", stop)
    typed = command.replace("CELLS", str(tmp_path / "cells")).replace("OUT", str(tmp_path)).split(" ")
    assert run(*typed) == 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert told[0].startswith("note: 2 pictures left out: unknown class 'flower_cell'")
    assert told[1] == "Error: Work would begin."
