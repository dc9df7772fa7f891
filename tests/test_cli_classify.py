"""Train, predict, suggest, adapt, undo, build and pack, as a person types them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_bloodcell.cli import main
from napari_bloodcell.core.embed.measurements import DETAILED, SCALE_FREE
from napari_bloodcell.core.errors import DataError

CLASSES = np.array(["eosinophil", "lymphocyte", "monocyte"])
MEASURED = tuple(dict.fromkeys(SCALE_FREE + DETAILED))  # as tables of `analyse` have them


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(a) for a in arguments])
    return int(end.value.code or 0)


def lab(path: Path, count: int, seed: int, move: float = 0.0) -> Path:
    rng = np.random.default_rng(seed)
    truths = rng.integers(0, 3, count)
    centres = np.random.default_rng(1).normal(0, 1, (3, len(MEASURED)))
    values = centres[truths] + rng.normal(0, 0.8, (count, len(MEASURED)))
    table = pd.DataFrame(values + move * (centres[0] - centres[1]), columns=list(MEASURED))
    table.insert(0, "image", "field.png")
    table.insert(1, "cell_id", range(1, count + 1))
    table.insert(2, "class", CLASSES[truths])
    table.to_parquet(path)
    return path


def test_the_whole_loop_from_training_to_undo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home, away = lab(tmp_path / "home.parquet", 150, 0), lab(tmp_path / "away.parquet", 90, 2, move=0.7)
    quick = ["--strength", "0.1", "--folds", "2"]
    assert run("classify", "train", home, "--out", tmp_path / "c.safetensors", *quick) == 0
    assert "150 cells of eosinophil, lymphocyte, monocyte" in capsys.readouterr().out
    (tmp_path / "card.md").write_text("# own\nResearch use only.\n")
    parts = ["--classifier", tmp_path / "c.safetensors", "--title", "own", "--card", tmp_path / "card.md"]
    assert run("bundle", "build", tmp_path / "own", *parts) == 0
    assert "150 training cells, each held out once" in capsys.readouterr().out
    todo = tmp_path / "todo.csv"
    assert run("classify", "suggest", away, "--out", todo, "--bundle", tmp_path / "own", "--cells", "12") == 0
    rows = pd.read_csv(todo)
    assert " ".join(rows.columns) == "image cell_id cell_type person probability second second_prob"
    assert not (tmp_path / "todo-pictures.html").exists()  # the table does not say where the cells lie
    assert len(rows) == 12
    truth = pd.read_parquet(away).set_index("cell_id")["class"]
    more = ["--out", tmp_path / "more.csv", "--bundle", tmp_path / "own", "--corrected", todo]
    assert run("classify", "suggest", away, *more, "--cells", "12") == 0  # nobody has looked: the same again
    assert set(pd.read_csv(tmp_path / "more.csv")["cell_id"]) == set(rows["cell_id"])
    capsys.readouterr()
    adapted = ["--corrected", todo, "--out", tmp_path / "away", "--bundle", tmp_path / "own", "--lab", "away"]
    assert run("classify", "adapt", away, *adapted) == 1  # these are the model's guesses, no corrections
    told = capsys.readouterr().err
    assert [words in told for words in ("12 of 12 cells", "write your name under person")] == [True] * 2
    assert not (tmp_path / "away").exists()
    rows.assign(cell_type=truth[rows["cell_id"]].to_numpy(), person="A. B.").to_csv(todo, index=False)

    assert run("classify", "adapt", away, *adapted, "--repeats", "1", "--folds", "3") == 0
    told = capsys.readouterr().out
    assert "12 corrected cells of away, each held out in turn" in told
    assert "kept" in told
    for name, out in (("own", "before.csv"), ("away", "after.csv")):
        asked = ["--classifier", tmp_path / name, "--out", tmp_path / out]
        assert run("classify", "predict", away, *asked) == 0
    right = {
        name: float(np.mean(pd.read_csv(tmp_path / name)["best"].to_numpy() == truth.to_numpy()))
        for name in ("before.csv", "after.csv")
    }
    assert right["after.csv"] > right["before.csv"] + 0.1
    capsys.readouterr()
    assert run("classify", "adapt", away, *adapted, "--repeats", "1", "--folds", "3") == 0  # the same again
    here = (tmp_path / "away" / "bundle.json").read_bytes()
    assert run("classify", "adapt", away, *adapted[:-4], "--lab", "away") == 1  # of the model that ships
    assert "holds another model" in capsys.readouterr().err
    assert (tmp_path / "away" / "bundle.json").read_bytes() == here
    assert run("classify", "undo", tmp_path / "away") == 0
    assert "is as before: own" in capsys.readouterr().out

    before = (tmp_path / "away" / "bundle.json").read_bytes()
    assert run("bundle", "build", tmp_path / "away", *parts) == 1
    assert "holds a model already" in capsys.readouterr().err
    assert (tmp_path / "away" / "bundle.json").read_bytes() == before

    assert run("bundle", "pack", tmp_path / "own", tmp_path / "own.bloodcell") == 0
    assert run("bundle", "verify", tmp_path / "own.bloodcell") == 0
    assert "Every file is the one that was written." in capsys.readouterr().out
    assert run("bundle", "card", tmp_path / "own.bloodcell") == 0
    assert capsys.readouterr().out.startswith("# own")


def test_an_own_class_is_taught_where_it_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = lab(tmp_path / "home.parquet", 90, 0)
    quick = ["--strength", "0.1", "--folds", "2"]
    (tmp_path / "own.csv").write_text("class,parent\nhairy cell,lymphocyte\n")
    assert run("classify", "train", home, "--out", tmp_path / "c.safetensors", *quick) == 0
    (tmp_path / "card.md").write_text("# own\nResearch use only.\n")
    parts = ["--classifier", tmp_path / "c.safetensors", "--title", "own", "--card", tmp_path / "card.md"]
    assert run("bundle", "build", tmp_path / "own", *parts) == 0
    away = lab(tmp_path / "away.parquet", 90, 2, move=0.7)
    corrected = pd.read_parquet(away)[["image", "cell_id", "class"]][:40].rename(
        columns={"class": "cell_type"}
    )
    corrected.loc[corrected["cell_type"] == "lymphocyte", "cell_type"] = "Hairy cell"
    corrected.loc[:3, "cell_type"] = "unidentified"
    corrected.to_csv(tmp_path / "c.csv", index=False)
    asked = ["--corrected", tmp_path / "c.csv", "--out", tmp_path / "new", "--bundle", tmp_path / "own"]
    capsys.readouterr()
    assert run("classify", "adapt", away, *asked) == 1
    assert "list it as a class of your own" in capsys.readouterr().err
    assert run("classify", "adapt", away, *asked, "--classes", tmp_path / "own.csv", "--repeats", "1") == 0
    told = capsys.readouterr().out
    assert "4 cells left unidentified by a person: no class is learned from them." in told
    assert "36 corrected cells" in told
    assert (
        run("classify", "predict", away, "--classifier", tmp_path / "new", "--out", tmp_path / "p.csv") == 0
    )
    assert "hairy_cell" in set(pd.read_csv(tmp_path / "p.csv")["best"])
    table = pd.read_parquet(home)
    table.loc[table["class"] == "lymphocyte", "class"] = "hairy cell"
    table.to_parquet(home)
    again = ["--out", tmp_path / "d.safetensors", *quick]
    assert run("classify", "train", home, *again) == 1
    capsys.readouterr()
    assert run("classify", "train", home, *again, "--classes", tmp_path / "own.csv") == 0
    assert "90 cells of eosinophil, hairy_cell, monocyte" in capsys.readouterr().out
    asked = ["--classifier", tmp_path / "d.safetensors", "--out", tmp_path / "q.csv"]
    assert run("classify", "predict", home, *asked) == 0  # the classes of a table are not asked for


def test_a_model_is_not_written_among_other_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    away = lab(tmp_path / "away.parquet", 40, 2)
    (tmp_path / "c.csv").write_text("image,cell_id,cell_type\n" + "field.png,1,monocyte\n")
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "README.md").write_text("my own notes")
    (tmp_path / "file").touch()
    (tmp_path / "card.md").write_text("# own\nResearch use only.\n")
    for name, words in (("study", "holds files and no model"), ("file", "is a file; a model takes a folder")):
        asked = ["--corrected", tmp_path / "c.csv", "--out", tmp_path / name]
        assert run("classify", "adapt", away, *asked) == 1
        assert words in capsys.readouterr().err
        parts = ["--classifier", tmp_path / "c.safetensors", "--title", "own", "--card", tmp_path / "card.md"]
        assert run("bundle", "build", tmp_path / name, *parts) == 1
        assert words in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "study").iterdir()] == ["README.md"]
    assert (tmp_path / "study" / "README.md").read_text() == "my own notes"


def test_what_is_suggested_of_two_images_of_one_name_can_be_learned(tmp_path: Path) -> None:
    tables = []
    for slide, seed in (("A", 1), ("B", 2)):
        tables.append(lab(tmp_path / f"{slide}.parquet", 20, seed))
        table = pd.read_parquet(tables[-1]).drop(columns="class")
        table.insert(1, "source", f"/lab/{slide}/field.png")
        table.to_parquet(tables[-1])
    home = lab(tmp_path / "home.parquet", 60, 0)
    assert run("classify", "train", home, "--out", tmp_path / "c.safetensors", "--folds", "2") == 0
    model = tmp_path / "c.safetensors"
    out = tmp_path / "named.csv"
    assert run("classify", "predict", *tables, "--classifier", model, "--out", out) == 0
    assert pd.read_csv(out).groupby("image").size().to_dict() == {
        "/lab/A/field.png": 20,
        "/lab/B/field.png": 20,
    }
    (tmp_path / "card.md").write_text("# own\nResearch use only.\n")
    parts = ["--classifier", model, "--title", "own", "--card", tmp_path / "card.md"]
    assert run("bundle", "build", tmp_path / "own", *parts) == 0
    todo, bundle = tmp_path / "todo.csv", ["--bundle", tmp_path / "own"]
    assert run("classify", "suggest", *tables, "--out", todo, *bundle, "--cells", "30") == 0
    rows = pd.read_csv(todo)
    assert set(rows["image"]) == {"/lab/A/field.png", "/lab/B/field.png"}
    rows.assign(person="A. B.").to_csv(todo, index=False)
    more = ["--out", tmp_path / "more.csv", "--corrected", todo]
    assert run("classify", "suggest", *tables, *more, *bundle, "--cells", "40") == 0
    assert len(pd.read_csv(tmp_path / "more.csv")) == 10  # each row was found again


def test_guesses_nobody_looked_at_are_no_corrections_with_fewer_columns_either(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    away, todo = lab(tmp_path / "away.parquet", 60, 2), tmp_path / "todo.csv"
    assert run("classify", "suggest", away, "--out", todo, "--cells", "12") == 0
    rows = pd.read_csv(todo)
    told = {"12 of 12 cells": ["person"], "All 12 corrected cells have": ["person", *rows.columns[4:]]}
    for words, columns in told.items():
        rows.drop(columns=columns).to_csv(todo, index=False)
        assert run("classify", "adapt", away, "--corrected", todo, "--out", tmp_path / "new") == 1
        assert words in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_lines_without_a_name_are_left_out_and_told(tmp_path: Path) -> None:
    from napari_bloodcell.core.adapt.files import by_persons

    table = tmp_path / "c.csv"
    table.write_text("image,cell_id,cell_type,person\na.png,1,monocyte,A. B.\na.png,2,lymphocyte, \n")
    looked_at, told = by_persons(table)
    assert [one.cell_id for one in looked_at] == [1]
    assert told.startswith("1 of 2 cells in")
    assert told.endswith("They were left out.")
    table.write_text("image,cell_id,cell_type\na.png,1,monocyte\n")  # a list of a person's own
    assert [one.cell_id for one in by_persons(table)[0]] == [1]
    assert by_persons(table)[1] == ""
    named = "image,cell_id,cell_type,cell_type_prob,best,doubt\na.png,1,monocyte,0.9,monocyte,\n"
    for text in (named, "image,cell_id,cell_type,probability\na.png,1,monocyte,0.9\n"):  # a model's
        table.write_text(text)
        with pytest.raises(DataError, match="1 of 1 cells in .* have no name under person"):
            by_persons(table)


def test_too_few_corrections_are_one_line_and_leave_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    away = lab(tmp_path / "away.parquet", 20, 2)
    (tmp_path / "c.csv").write_text("image,cell_id,cell_type\nfield.png,1,monocyte\n")
    asked = ["--corrected", tmp_path / "c.csv", "--out", tmp_path / "out"]
    assert run("classify", "adapt", away, *asked) == 1
    told = capsys.readouterr()
    assert "Corrected so far: 1 cell; 5 at least are needed" in told.err
    assert not (tmp_path / "out").exists()


def test_predict_takes_a_bundle_as_the_other_commands_do(tmp_path: Path) -> None:
    home = lab(tmp_path / "home.parquet", 60, 0)
    for flag in ("--classifier", "--bundle"):
        out = tmp_path / f"{flag}.csv"
        assert run("classify", "predict", home, "--out", out, flag, "nano", "--embedder", "details") == 0
    first, second = (pd.read_csv(path) for path in sorted(tmp_path.glob("*.csv")))
    pd.testing.assert_frame_equal(first, second)


def test_a_class_with_a_single_cell_is_left_out_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = lab(tmp_path / "home.parquet", 60, 0)
    table = pd.read_parquet(home)
    table.loc[0, "class"], table.loc[1, "class"] = "basophil", ""
    table.to_parquet(home)
    quick = ["--strength", "0.1", "--folds", "2"]
    assert run("classify", "train", home, "--out", tmp_path / "c.safetensors", *quick) == 0
    told = capsys.readouterr().out
    assert "58 cells of eosinophil, lymphocyte, monocyte; 1 without a class left out." in told
    assert "Left out, with a single cell each: basophil. Add cells to have them learnt." in told
    table.loc[2:, "class"] = "monocyte"
    table.to_parquet(home)
    assert run("classify", "train", home, "--out", tmp_path / "d.safetensors", *quick) == 1
    assert "These classes have a single cell: basophil. Add cells" in capsys.readouterr().err


def test_training_without_a_single_label_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = lab(tmp_path / "home.parquet", 20, 0)
    pd.read_parquet(home).drop(columns="class").to_parquet(home)
    assert run("classify", "train", home, "--out", tmp_path / "c.safetensors") == 1
    assert "No cell of these tables has a class" in capsys.readouterr().err
    assert not (tmp_path / "c.safetensors").exists()


def test_trees_are_exported_as_xgboosts_own_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import xgboost

    home, file = lab(tmp_path / "home.parquet", 60, 0), tmp_path / "c.safetensors"
    quick = ["--kind", "xgboost", "--rounds", "3", "--folds", "2"]
    assert run("classify", "train", home, "--out", file, *quick) == 0
    assert run("classify", "export", file, tmp_path / "c.ubj") == 0
    assert run("classify", "export", file, tmp_path / "c.bin", "--format", "ubj") == 0
    assert (tmp_path / "c.ubj").read_bytes() == (tmp_path / "c.bin").read_bytes()
    assert xgboost.Booster(model_file=str(tmp_path / "c.ubj")).attr("classes") == ",".join(CLASSES)
    capsys.readouterr()
    assert run("classify", "export", file, tmp_path / "c.txt") == 1
    assert "name it .onnx or .ubj" in capsys.readouterr().err
    assert run("classify", "export", file, tmp_path / "c.onnx") == 1
    assert "cannot be written as ONNX. It takes logistic or ann" in capsys.readouterr().err


def test_the_cells_to_look_at_are_shown_and_the_models_own_classes_teach_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    from napari_bloodcell.core.batch import analyse_files
    from napari_bloodcell.core.config import SmearConfig
    from napari_bloodcell.core.synthetic import make_smear

    for seed in (1, 2):
        smear = make_smear(SmearConfig(width_px=420, height_px=320, white_cells=3, seed=seed))
        Image.fromarray(np.array(smear.image.pixels)).save(tmp_path / f"{seed}.png")
    out, todo = tmp_path / "out", tmp_path / "todo.csv"
    analyse_files([tmp_path / "1.png", tmp_path / "2.png"], out)
    assert run("classify", "suggest", out, "--out", todo, "--cells", "4") == 0
    told = capsys.readouterr().out
    assert f"4 cells in {todo}, their pictures in {tmp_path / 'todo-pictures.html'}" in told
    page, rows = (tmp_path / "todo-pictures.html").read_text(), pd.read_csv(todo)
    assert page.count("data:image/jpeg") == 4
    places = [page.index(f"{row.image}, cell {row.cell_id}<") for row in rows.itertuples()]
    assert places == sorted(places)  # in the order of the table
    cells, model = out / "cells.csv", tmp_path / "model"
    assert run("classify", "adapt", out, "--corrected", cells, "--out", model) == 1
    assert "have no name under person: nobody looked at them" in capsys.readouterr().err
    rows.assign(cell_type="", person="A. B.").to_csv(todo, index=False)
    assert run("classify", "adapt", out, "--corrected", todo, "--out", model) == 1
    assert "line 2: the cell_type is empty" in capsys.readouterr().err


def test_where_no_update_is_better_the_exit_code_says_that_there_is_no_new_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = lab(tmp_path / "home.parquet", 150, 0)
    quick = ["--strength", "0.1", "--folds", "2"]
    run("classify", "train", home, "--out", tmp_path / "c.safetensors", *quick)
    (tmp_path / "card.md").write_text("# own\nResearch use only.\n")
    parts = ["--classifier", tmp_path / "c.safetensors", "--title", "own", "--card", tmp_path / "card.md"]
    run("bundle", "build", tmp_path / "own", *parts)
    truth = pd.read_parquet(home)["class"][:12]  # which the model knows already
    given = pd.DataFrame(
        {"image": "field.png", "cell_id": range(1, 13), "cell_type": truth, "person": "A. B."}
    )
    given.to_csv(tmp_path / "done.csv", index=False)
    asked = ["--corrected", tmp_path / "done.csv", "--out", tmp_path / "new", "--bundle", tmp_path / "own"]
    capsys.readouterr()
    code = run("classify", "adapt", home, *asked, "--repeats", "1", "--folds", "3")
    told = capsys.readouterr().out
    assert code == 3
    assert f"Nothing was written to {tmp_path / 'new'}: go on with {tmp_path / 'own'}." in told
    assert not (tmp_path / "new").exists()
