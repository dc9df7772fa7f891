"""``segment`` from files to files: whole fields, prompts, adapters, and what is left when it goes wrong."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from drawn_fields import UM, field, picture, red_cells, white_cell
from PIL import Image

from napari_bloodcell.core.artifact import read_json
from napari_bloodcell.core.config import OutlineConfig, ReadConfig, SegmentConfig
from napari_bloodcell.core.errors import Cancelled, SegmentError, WeightsError
from napari_bloodcell.core.image import hash_file
from napari_bloodcell.core.outline_files import outline_files, outline_prompts
from napari_bloodcell.core.records import SmearImage
from napari_bloodcell.core.sam.model import new_model, save_model
from napari_bloodcell.core.sam.prompt import Prompt
from napari_bloodcell.core.sam.prompt_file import read_prompts
from napari_bloodcell.core.segment import StainSegmenter
from napari_bloodcell.core.segment.choose import find_segmenter

KNOWN = OutlineConfig(read=ReadConfig(um_per_px=UM))


@pytest.fixture(scope="module")
def smear() -> SmearImage:
    drawn = field()
    red_cells(drawn)
    white_cell(drawn, (150, 150))
    white_cell(drawn, (250, 400))
    return picture(drawn, UM)


@pytest.fixture
def file(smear: SmearImage, tmp_path: Path) -> Path:
    Image.fromarray(smear.pixels).save(tmp_path / "field.png")
    return tmp_path / "field.png"


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "cells.csv").open() as opened:
        return list(csv.DictReader(opened))


def test_a_folder_holds_labels_nuclei_table_and_record(file: Path, tmp_path: Path) -> None:
    done = outline_files([file], tmp_path / "out", StainSegmenter(), KNOWN)
    folder = tmp_path / "out" / "field"
    labels, nuclei = (tifffile.imread(folder / name) for name in ("labels.ome.tif", "nuclei.ome.tif"))
    assert labels.max() == 2
    assert ((nuclei == labels) | (nuclei == 0)).all()
    table = rows(folder)
    assert [int(row["area_px"]) for row in table] == np.bincount(labels.ravel())[1:].tolist()
    assert [int(row["nucleus_area_px"]) for row in table] == np.bincount(nuclei.ravel())[1:].tolist()
    assert float(table[0]["area_um2"]) == pytest.approx(int(table[0]["area_px"]) * UM**2, rel=1e-4)
    header, record = read_json(folder / "outlines.json", "outlines")
    assert record["complete"]
    assert header.parents == {"segmenter": StainSegmenter().hash, "image": hash_file(file)}
    assert [one.folder for one in done] == [folder]


def test_what_an_earlier_run_found_besides_does_not_stay(file: Path, tmp_path: Path) -> None:
    others = OutlineConfig(read=KNOWN.read, others=True)
    (one,) = outline_files([file], tmp_path / "out", StainSegmenter(), others)
    assert {"others.csv", "nuclei.ome.tif"} <= {path.name for path in one.folder.iterdir()}
    Image.new("RGB", (300, 300), (230, 225, 235)).save(file)
    outline_files([file], tmp_path / "out", StainSegmenter(), KNOWN)
    assert {path.name for path in one.folder.iterdir()} == {"labels.ome.tif", "cells.csv", "outlines.json"}


def test_run_again_it_goes_on_where_it_stopped(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from napari_bloodcell.cli import main

    second = tmp_path / "second.png"
    Image.new("RGB", (64, 64), (230, 225, 235)).save(second)
    out, others = tmp_path / "out", OutlineConfig(read=KNOWN.read, others=True)
    states = []
    for paths, config in (([file], KNOWN), ([file, second], KNOWN), ([file, second], others)):
        states.append([one.state for one in outline_files(paths, out, StainSegmenter(), config)])
    (out / "second" / "others.csv").unlink()
    Image.new("RGB", (64, 64), (230, 225, 235)).save(file)
    states.append([one.state for one in outline_files([file, second], out, StainSegmenter(), others)])
    kept = outline_files([file], out, StainSegmenter(), others)
    states.append([one.state for one in kept])
    assert states == [["done"], ["kept", "done"], ["done", "done"], ["done", "done"], ["kept"]]
    assert kept[0].others == {"red cell": 0, "platelet": 0}
    for _ in range(2):
        with pytest.raises(SystemExit):
            main(["segment", str(second), "--out", str(tmp_path / "by command"), "--model", "stain"])
    first, again = capsys.readouterr().out.splitlines()
    assert "0 white cells. " in first
    assert "0 white cells (kept from before). " in again


def test_two_files_of_one_name_get_folders_of_their_own(file: Path, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    Image.new("RGB", (64, 64), (230, 225, 235)).save(tmp_path / "second" / "field.png")
    done = outline_files([file, tmp_path / "second"], tmp_path / "out", StainSegmenter(), KNOWN)
    assert [(one.folder.name, one.cells) for one in done] == [("field-1", 2), ("field-2", 0)]


def test_a_zarr_folder_is_read_piece_by_piece_and_gives_the_same(
    file: Path, smear: SmearImage, tmp_path: Path
) -> None:
    zarr.create_array(tmp_path / "slide.zarr", data=np.array(smear.pixels), chunks=(128, 128, 3))
    config = OutlineConfig(read=ReadConfig(um_per_px=UM), segment=SegmentConfig(tile_px=256))
    outline_files([file, tmp_path / "slide.zarr"], tmp_path / "out", StainSegmenter(), config)
    whole, tiled = (
        tifffile.imread(tmp_path / "out" / name / "labels.ome.tif") > 0 for name in ("field", "slide")
    )
    assert (whole == tiled).all()


def test_cancel_leaves_the_cells_of_the_tiles_done_and_says_so(file: Path, tmp_path: Path) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if stage == "field.png: tiles" and done == total - 1:
            raise Cancelled

    config = OutlineConfig(read=ReadConfig(um_per_px=UM), segment=SegmentConfig(tile_px=256))
    with pytest.raises(Cancelled, match="1 cell finished before are kept"):
        outline_files([file], tmp_path / "out", StainSegmenter(), config, progress=stop)
    _, record = read_json(tmp_path / "out" / "field" / "outlines.json", "outlines")
    assert (record["complete"], record["cells"]) == (False, 1)


def test_prompts_in_json_and_csv_say_the_same(tmp_path: Path) -> None:
    told = [
        {"points": [[10, 20], [30, 40]], "inside": [True, False]},
        {"box": [1, 2, 30, 40]},
        {"scribble": [[0, 0], [10, 0]], "points": [[5, 5]]},
    ]
    (tmp_path / "p.json").write_text(json.dumps(told))
    two, box, line = read_prompts(tmp_path / "p.json")
    np.testing.assert_array_equal(two.points_xy, [[10, 20], [30, 40]])
    assert two.inside is not None
    assert two.inside.tolist() == [True, False]
    np.testing.assert_array_equal(box.box_xyxy, [1, 2, 30, 40])
    assert line.points_xy is not None
    assert len(line.points_xy) == 9
    (tmp_path / "p.csv").write_text(
        "cell,x,y,inside,x0,y0,x1,y1\na,10,20,1,,,,\na,30,40,0,,,,\nb,,,,1,2,30,40\n"
    )
    again: list[Prompt] = read_prompts(tmp_path / "p.csv")
    np.testing.assert_array_equal(again[0].points_xy, two.points_xy)
    assert again[0].inside is not None
    assert again[0].inside.tolist() == [True, False]
    np.testing.assert_array_equal(again[1].box_xyxy, box.box_xyxy)


BAD = {
    "p.json is no JSON": ("p.json", "[{"),
    "holds a dict; it takes a list": ("p.json", "{}"),
    "holds no prompts": ("p.json", "[]"),
    "cell 1: 'colour' is not known; a prompt has points, inside, box, scribble": (
        "p.json",
        '[{"colour": 1}]',
    ),
    "cell 1: .* are no places; each takes 4 numbers": ("p.json", '[{"box": [1, 2, 3]}]'),
    "has the columns a, b; it takes x and y, or": ("p.csv", "a,b\n1,2\n"),
    "are no places; each takes 2 numbers": ("p.csv", "x,y\n1,left\n"),
}


@pytest.mark.parametrize("words", BAD)
def test_prompts_that_cannot_be_read_are_named(words: str, tmp_path: Path) -> None:
    name, text = BAD[words]
    (tmp_path / name).write_text(text)
    with pytest.raises(SegmentError, match=words):
        read_prompts(tmp_path / name)


def test_a_prompt_outside_the_image_is_named_and_nothing_is_left(file: Path, tmp_path: Path) -> None:
    save_model(new_model("nano"), tmp_path / "own.safetensors")
    (tmp_path / "p.csv").write_text("x,y\n600,20\n")
    with pytest.raises(SegmentError, match="point at x 600, y 20 is outside the image of 560 x 420 px"):
        outline_prompts(file, tmp_path / "p.csv", tmp_path / "out", tmp_path / "own.safetensors", KNOWN)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_outline_elsewhere_than_pointed_at_is_told(file: Path, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("x,y\n1,2\n150,150\n560,420\n")  # bare ground, a cell, the far corner
    outlined = outline_prompts(file, tmp_path / "p.csv", tmp_path / "out", "nano", KNOWN)
    assert len(outlined.masks) == 3
    told = outlined.masks.notes
    assert told[0].startswith("Cell 1 does not hold the place pointed at, x 1, y 2")
    assert not any(note.startswith("Cell 2") for note in told)
    _, record = read_json(tmp_path / "out" / "field" / "outlines.json", "outlines")
    assert record["notes"] == list(told)


def test_the_stain_answers_prompts_too(file: Path, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("x;y;\n150;150;\n\n400;250;\n")
    outlined = outline_prompts(file, tmp_path / "p.csv", tmp_path / "out", "stain", KNOWN)
    (whole,) = outline_files([file], tmp_path / "whole", StainSegmenter(), KNOWN)
    assert len(outlined.masks) == whole.cells == 2
    header, _ = read_json(tmp_path / "out" / "field" / "outlines.json", "outlines")
    assert header.parents["segmenter"] == StainSegmenter().hash


MODELS = {
    "There is no model 'giant'. Known: stain, nano, vit_b": ("giant", None),
    "stain segmenter takes no adapter": ("stain", Path("adapter")),
    "The weights 'vit_h' are not here": ("vit_h", None),
}


@pytest.mark.parametrize("words", MODELS)
def test_models_that_cannot_be_are_named(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOODCELL_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=words):
        find_segmenter(*MODELS[words])


def test_a_checkpoint_without_a_cell_head_is_refused_without_an_adapter(tmp_path: Path) -> None:
    import torch

    state = {k: v for k, v in new_model("nano").state_dict().items() if not k.startswith("cells.")}
    torch.save({k.removeprefix("plain."): v for k, v in state.items()}, tmp_path / "plain.pth")
    with pytest.raises(
        WeightsError, match="knows no white cells: without an adapter its cell head is untrained"
    ):
        find_segmenter(tmp_path / "plain.pth")


def test_labels_of_a_slide_are_written_tile_by_tile_and_read_back_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_bloodcell.core.image import labels as writing

    monkeypatch.setattr(writing, "WHOLE_PX", 1000)
    array = np.random.default_rng(0).integers(0, 9, (700, 530)).astype(np.int32)
    within = array > 4
    writing.write_labels_ome_tiff(tmp_path / "a.ome.tif", array, 0.1, within=within)
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as file:
        np.testing.assert_array_equal(file.asarray(), array * within)
        assert 'PhysicalSizeX="0.1"' in str(file.ome_metadata)


def test_the_command_says_what_it_found(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from napari_bloodcell.cli import main

    arguments = ["segment", str(file), "--out", str(tmp_path / "out"), "--model", "stain", "--others"]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--read.um-per-px", str(UM)])
    assert ended.value.code == 0
    assert "2 white cells, 14 red cells, 0 platelets" in capsys.readouterr().out
    found = (tmp_path / "out" / "field" / "others.csv").read_text().splitlines()
    assert found[0] == "kind,x0,y0,x1,y1"
    assert len(found) == 15
    with pytest.raises(SystemExit) as ended:
        main(["segment", str(file), str(file), "--out", str(tmp_path / "two"), "--prompts", str(file)])
    assert ended.value.code == 1
    assert "Prompts belong to one image" in capsys.readouterr().err


def test_one_cell_is_told_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from napari_bloodcell.cli import main

    drawn = field()
    white_cell(drawn, (150, 150))
    Image.fromarray(picture(drawn, UM).pixels).save(tmp_path / "one.png")
    with pytest.raises(SystemExit):
        main(["segment", str(tmp_path / "one.png"), "--out", str(tmp_path / "out"), "--model", "stain"])
    assert "one.png: 1 white cell." in capsys.readouterr().out


def test_a_bad_image_costs_only_itself(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from napari_bloodcell.cli import main

    images = tmp_path / "images"
    images.mkdir()
    (images / "a-broken.png").write_text("no picture")
    (images / "b-field.png").write_bytes(file.read_bytes())
    grey = np.random.default_rng(0).integers(40, 230, (64, 64)).astype(np.uint8)
    Image.fromarray(grey).save(images / "c-grey.png")
    with pytest.raises(SystemExit) as ended:
        main(["segment", str(images), "--out", str(tmp_path / "out"), "--model", "stain"])
    assert ended.value.code == 1
    told = capsys.readouterr()
    assert "white cells" in told.out
    assert (tmp_path / "out" / "b-field" / "outlines.json").is_file()
    assert [line.split(":")[0] for line in told.err.splitlines() if "failed" in line] == ["failed", "failed"]
    assert "a-broken.png" in told.err
    assert "c-grey" in told.err
    assert not (tmp_path / "out" / "a-broken").exists()
