import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from drawn_files import draw
from PIL import Image

from napari_bloodcell.core import results, store
from napari_bloodcell.core.batch import BatchResult, Item, analyse_files
from napari_bloodcell.core.cell_tables import Correction, labels_for, read_cells
from napari_bloodcell.core.config import AnalyseConfig, CountConfig, EngineConfig, ReadConfig, SmearConfig
from napari_bloodcell.core.errors import ArtifactError, Cancelled, ConfigError, ImageError
from napari_bloodcell.core.ledger import LEDGER, open_ledger, read_ledger
from napari_bloodcell.core.pipeline import Analysis, analyse
from napari_bloodcell.core.records import SmearImage
from napari_bloodcell.core.report.make import make_report
from napari_bloodcell.core.slide.analysis import analyse_slide
from napari_bloodcell.core.store import BLOCKS, OF_FIELD, PLAN, clear_others
from napari_bloodcell.core.synthetic import make_smear

FILES = {
    "cells.csv", "cells.parquet", "differential.csv", "differential.json", "differential.png", "labels.ome.tif",
    "nuclei.ome.tif", "overlay.png", "run.json",
}  # fmt: skip


def counted(*given: Any, **more: Any) -> BatchResult:
    """Without the pictures of each image, which take longer than all the rest of so small a one."""
    return analyse_files(*given, engine=EngineConfig(pictures=False), **more)


def test_each_image_has_its_folder_and_the_run_its_pool(fields: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    config = AnalyseConfig(read=ReadConfig(um_per_px=0.08))
    result = analyse_files([fields], out, config=config)
    assert [item.state for item in result.items] == ["done", "done"]
    assert {p.name for p in (out / "f1").iterdir()} == FILES
    pooled = pd.read_parquet(out / "cells.parquet")
    single = [analyse(fields / f"f{i}.png", config=config) for i in (1, 2)]
    assert len(pooled) == sum(len(one.masks) for one in single) == result.differential.counted
    pd.testing.assert_frame_equal(pooled, pd.concat([one.table() for one in single], ignore_index=True))


def test_a_picture_given_twice_and_one_without_cells_are_told(fields: Path, tmp_path: Path) -> None:
    (fields / "copy.png").write_bytes((fields / "f1.png").read_bytes())
    Image.fromarray(np.full((240, 320, 3), (235, 230, 235), np.uint8)).save(fields / "glass.png")
    for _ in range(2):  # what is kept from before is told again
        result = counted([fields], tmp_path / "out")
        assert [(again.path.name, first.path.name) for again, first in result.twice()] == [
            ("f1.png", "copy.png")
        ]
        twice, empty = result.told()
        assert "f1.png is the same picture as" in twice
        assert empty == "No white cell was found in 1 image: glass.png."


def test_files_hold_the_numbers_of_the_api(fields: Path, tmp_path: Path) -> None:
    analyse_files([fields / "f1.png"], tmp_path / "out")
    folder, direct = tmp_path / "out" / "f1", analyse(fields / "f1.png")
    np.testing.assert_array_equal(tifffile.imread(folder / "labels.ome.tif"), direct.masks.labels)
    nuclei = tifffile.imread(folder / "nuclei.ome.tif")
    np.testing.assert_array_equal(nuclei, np.where(direct.masks.nucleus, direct.masks.labels, 0))
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "cells.parquet"), direct.table())
    assert list(pd.read_csv(folder / "cells.csv").columns) == list(direct.table().columns)
    run = json.loads((folder / "run.json").read_text())
    assert run["image"]["sha256"] == direct.image.sha256
    assert run["header"]["parents"]["bundle"] == direct.bundle.hash
    assert run["header"]["config"]["count"]["level"] == "coarse"
    assert set(run["outputs"]) == FILES - {"run.json"}
    assert "Research use only" in run["note"]


def test_pictures_of_kinds_that_are_not_read_are_told(fields: Path, tmp_path: Path) -> None:
    (fields / "more" / ".hidden").mkdir(parents=True)
    for name in ("a.gif", "notes.txt", "more/B.CZI", "more/.hidden/c.gif", "more/.d.gif"):
        (fields / name).write_bytes(b"GIF89a")
    result = counted([fields], tmp_path / "out", "stain")
    assert [path.name for path in result.unread] == ["a.gif", "B.CZI"]
    assert result.told() == [
        "Passed over, as .czi or .gif is not read: 2 pictures, a.gif, B.CZI. Export as TIFF or PNG what is to "
        "be counted."
    ]


def test_a_second_run_keeps_what_is_done(fields: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    counted([fields], out)
    before = (out / "f1" / "run.json").stat().st_mtime_ns
    draw(fields / "f3.png", 3)
    again = counted([fields], out)
    assert [item.state for item in again.items] == ["kept", "kept", "done"]
    assert (out / "f1" / "run.json").stat().st_mtime_ns == before


def test_a_changed_image_setting_or_result_is_done_again(fields: Path, tmp_path: Path) -> None:
    out, one = tmp_path / "out", fields / "f1.png"
    states = []
    for change in (
        lambda: None,
        lambda: draw(one, 9),
        lambda: (out / "f1" / "cells.parquet").unlink(),
    ):
        change()
        states.append(counted([one], out).items[0].state)
    states.append(counted([one], out, config=AnalyseConfig(count=CountConfig(target=400))).items[0].state)
    assert states == ["done", "done", "done", "done"]


def test_a_bad_image_costs_only_itself(fields: Path, tmp_path: Path) -> None:
    (fields / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing more")
    Image.fromarray(np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)).save(fields / "gray.png")
    result = counted([fields], tmp_path / "out")
    assert {item.path.name: item.state for item in result.items} == {
        "broken.png": "failed", "f1.png": "done", "f2.png": "done", "gray.png": "failed",
    }  # fmt: skip
    assert all(item.reason for item in result.failed)
    listing = json.loads((tmp_path / "out" / "images.json").read_text())["images"]
    assert [entry["state"] for entry in listing].count("failed") == 2


def test_a_line_of_the_ledger_that_was_cut_short_costs_no_other(tmp_path: Path) -> None:
    named = tmp_path / "odd\u2028name.png"  # a line separator for some, and part of a name here
    for number in (1, 2):
        with open_ledger(tmp_path) as ledger:
            ledger.add(Item(path=named, folder=tmp_path / f"f{number}", state="done"))
        with (tmp_path / LEDGER).open("a") as file:
            file.write('{"when": "2026-')
    lines = read_ledger(tmp_path)
    assert [line["folder"] for line in lines] == ["f1", "f2"]
    assert {line["image"] for line in lines} == {str(named)}


def test_an_image_too_large_for_the_memory_costs_only_itself(
    fields: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(image: SmearImage, *args: Any, **more: Any) -> Analysis:
        if image.name == "f1.png":
            raise MemoryError("Unable to allocate 90. GiB")
        return analyse(image, *args, **more)

    monkeypatch.setattr("napari_bloodcell.core.jobs.analyse", short)
    result = analyse_files([fields], tmp_path / "out", "stain")
    assert [item.state for item in result.items] == ["failed", "done"]
    assert "more memory than there is (Unable to allocate 90. GiB). Analyse it" in result.items[0].reason


def test_cancel_keeps_the_finished_images(fields: Path, tmp_path: Path) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if stage.startswith("f2.png"):
            raise Cancelled

    with pytest.raises(Cancelled):
        counted([fields], tmp_path / "out", progress=stop)
    assert (tmp_path / "out" / "f1" / "run.json").is_file()
    assert not (tmp_path / "out" / "f2" / "run.json").exists()
    assert [item.state for item in counted([fields], tmp_path / "out").items] == ["kept", "done"]


def test_a_full_disk_is_named_and_leaves_no_half_result(
    fields: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(
        ArtifactError, match="No space left on device. What it held before is unchanged. Free some space"
    ):
        analyse_files([fields / "f1.png"], tmp_path / "out")
    assert not (tmp_path / "out" / "f1" / store.RUN).exists()
    monkeypatch.undo()
    assert analyse_files([fields / "f1.png"], tmp_path / "out").items[0].state == "done"


def test_what_is_hard_to_believe_of_an_image_is_told_once_for_all_of_a_kind(
    fields: Path, tmp_path: Path
) -> None:
    for name in ("f1", "f2"):
        with Image.open(fields / f"{name}.png") as picture:
            Image.fromarray(255 - np.array(picture)).save(fields / f"inverted-{name}.png")
    for _ in range(2):  # of results that are kept too
        (told,) = [line for line in counted([fields], tmp_path / "out", "stain").told() if "inverted" in line]
        assert told.startswith("inverted-f1.png, inverted-f2.png: the picture looks inverted")


def test_one_path_is_taken_as_one_path_and_a_dict_is_no_config(fields: Path, tmp_path: Path) -> None:
    assert len(analyse_files(str(fields / "f1.png"), str(tmp_path / "out"), "stain").items) == 1
    with pytest.raises(ConfigError, match=r"config is a dict: give AnalyseConfig\(...\)"):
        analyse_files(fields, tmp_path / "new", "stain", {})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="config is a dict"):
        analyse(fields / "f1.png", "stain", {})  # type: ignore[arg-type]
    with pytest.raises(ArtifactError, match="No bundle 'None'"):
        analyse(fields / "f1.png", None)  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()
    (tmp_path / "list.xlsx").write_bytes(b"PK")
    with pytest.raises(
        ImageError, match="is a spreadsheet. A list of images is read as CSV: save it as .csv"
    ):
        analyse(tmp_path / "list.xlsx", "stain")


def test_two_files_of_one_name_do_not_share_a_folder(fields: Path, tmp_path: Path) -> None:
    other = draw(tmp_path / "other" / "f1.png", 5)
    result = counted([fields / "f1.png", other, draw(tmp_path / "other" / "f1.bmp", 6)], tmp_path / "out")
    assert len({item.folder for item in result.items}) == 3
    assert not result.failed


def test_pages_of_one_file_are_images_of_their_own(tmp_path: Path) -> None:
    smears = [SmearConfig(width_px=320, height_px=240, white_cells=2, seed=seed) for seed in (1, 2)]
    pages = np.stack([np.array(make_smear(smear).image.pixels) for smear in smears])
    tifffile.imwrite(tmp_path / "multi.tif", pages, photometric="rgb")
    for page in (0, 1):
        config = AnalyseConfig(read=ReadConfig(um_per_px=0.08, page=page))
        done = counted([tmp_path / "multi.tif"], tmp_path / "out", config=config)
        assert [item.state for item in done.items] == ["done"]
        assert counted([tmp_path / "multi.tif"], tmp_path / "out", config=config).items[0].state == "kept"
    assert {path.parent.name for path in (tmp_path / "out").glob("*/run.json")} == {"multi", "multi-page1"}
    cells = read_cells([tmp_path / "out"])
    assert set(cells.image) == {"multi.tif", "multi.tif page 1"}
    given = [
        Correction(name, int(cell), "monocyte")
        for name, cell in zip(cells.names(), cells.cell_id, strict=True)
    ]
    assert labels_for(cells, given) == ["monocyte"] * len(cells)
    made = make_report([tmp_path / "out"], tmp_path / "report")
    assert [run.image["name"] for run in made.runs] == ["multi.tif", "multi.tif page 1"]
    assert len(made.table) == sum(len(analyse(page).masks) for page in pages) == len(cells)
    assert not any("counted once" in note for note in made.notes)
    assert all(cell.pixels is not None for cell in made.doubtful)
    first, second = (
        next(c.pixels for c in made.doubtful if c.image == name) for name in sorted(set(cells.image))
    )
    assert not np.array_equal(first, second)


def test_an_output_that_cannot_be_written_is_named_before_any_work(fields: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    stages: list[str] = []
    with pytest.raises(ArtifactError, match="could not be written.*Choose another folder"):
        analyse_files([fields], tmp_path / "file" / "out", progress=lambda stage, *_: stages.append(stage))
    assert not stages


@pytest.mark.parametrize("name", ["cells.parquet", "labels.ome.tif", "differential.json", "run.json"])
def test_a_damaged_result_is_made_again(fields: Path, tmp_path: Path, name: str) -> None:
    one, out = fields / "f1.png", tmp_path / "out"
    counted([one], out)
    damaged = out / "f1" / name
    damaged.write_bytes(damaged.read_bytes()[:100])
    assert counted([one], out).items[0].state == "done"
    assert counted([one], out).items[0].state == "kept"


def test_another_file_of_the_same_name_overwrites_nothing(fields: Path, tmp_path: Path) -> None:
    other, out = draw(tmp_path / "other" / "f1.png", 5), tmp_path / "out"
    first = counted([fields / "f1.png"], out).items[0].folder
    second = counted([other], out).items[0].folder
    assert first != second
    both = counted([other, fields / "f1.png"], out)
    assert [(item.folder, item.state) for item in both.items] == [(second, "kept"), (first, "kept")]
    cells = pd.read_parquet(out / "cells.parquet")
    assert set(cells["source"]) <= {str(other), str(fields / "f1.png")}


def test_results_inside_the_image_folder_are_no_images(fields: Path) -> None:
    for _ in range(2):
        result = counted([fields], fields / "results")
        assert [item.path.name for item in result.items] == ["f1.png", "f2.png"]
    with pytest.raises(ImageError, match="lie in the output folder"):
        counted([fields], fields)


def test_pictures_are_left_out_on_request_and_nothing_else(fields: Path, tmp_path: Path) -> None:
    one, out = fields / "f1.png", tmp_path / "out"
    analyse_files([one], out, "stain", engine=EngineConfig(pictures=False))
    assert {p.name for p in (out / "f1").iterdir()} == FILES - {"overlay.png", "differential.png"}
    assert analyse_files([one], out, "stain").items[0].state == "kept"


def test_the_pool_is_the_same_however_few_cells_are_held_at_a_time(
    fields: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (64, 64), (230, 225, 240)).save(fields / "blank.png")
    counted([fields], tmp_path / "out", "stain")
    assert len(pd.read_parquet(tmp_path / "out" / "table")) == len(
        pd.read_parquet(tmp_path / "out" / "cells.parquet")
    )
    names = ("cells.parquet", "cells.csv", "differential.json")
    read = {"cells.parquet": pd.read_parquet, "cells.csv": pd.read_csv, "differential.json": Path.read_text}
    whole = [read[name](tmp_path / "out" / name) for name in names]
    monkeypatch.setattr(results, "ROWS", 1)
    counted([fields], tmp_path / "out", "stain")
    parts = [read[name](tmp_path / "out" / name) for name in names]
    pd.testing.assert_frame_equal(parts[0], whole[0])
    pd.testing.assert_frame_equal(parts[1], whole[1])
    assert parts[2] == whole[2]


def test_what_a_killed_process_left_half_written_is_cleared(fields: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "f1"
    folder.mkdir(parents=True)
    for name in (".cells-ab_d1234.parquet", ".labels.ome-abcd1234.tif", ".mine"):
        (folder / name).write_bytes(b"")
    analyse_files([fields / "f1.png"], tmp_path / "out", "stain")
    assert [p.name for p in folder.glob(".*")] == [".mine"]


def test_pictures_of_an_older_analysis_do_not_stand_beside_new_numbers(fields: Path, tmp_path: Path) -> None:
    analyse_files([fields / "f1.png"], tmp_path / "out", "stain")
    fine, no_pictures = AnalyseConfig(count=CountConfig(level="fine")), EngineConfig(pictures=False)
    analyse_files([fields / "f1.png"], tmp_path / "out", "stain", fine, no_pictures)
    assert {p.name for p in (tmp_path / "out" / "f1").iterdir()} == FILES - {
        "overlay.png",
        "differential.png",
    }


def test_rows_that_a_killed_run_did_not_hand_on_are_found_by_the_next(
    fields: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image was done in other settings, and the run died before its rows reached the table."""
    one, out = fields / "f1.png", tmp_path / "out"
    counted([one], out, "stain")
    other = AnalyseConfig(read=ReadConfig(um_per_px=0.09))

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("napari_bloodcell.core.batch.add_to_table", die)
        with pytest.raises(KeyboardInterrupt):
            counted([one], out, "stain", other)
    assert counted([one], out, "stain", other).items[0].state == "kept"
    rows = pd.read_parquet(out / "table" / "slide=in" / "f1.parquet")
    assert set(rows["um_per_px"]) == {0.09}


def test_a_summary_reads_no_file_that_is_still_being_written(fields: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    counted([fields], out, "stain")
    before = results.summarise(out)
    half = out / "table" / "slide=in" / ".f3-abcd1234.parquet"
    half.write_bytes(b"PAR1")
    assert results.summarise(out) == before
    counted([fields], out, "stain")
    assert not half.exists()


def test_images_without_cells_give_an_empty_pool(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.new("RGB", (64, 64), (230, 225, 240)).save(tmp_path / "in" / "blank.png")
    result = analyse_files([tmp_path / "in"], tmp_path / "out")
    assert result.items[0].state == "done"
    assert result.differential.counted == 0


def test_a_folder_of_somebody_else_among_the_results_stays(tmp_path: Path) -> None:
    own = tmp_path / BLOCKS / "mine.txt"
    own.parent.mkdir()
    own.write_text("mine")
    clear_others(tmp_path, OF_FIELD)
    assert own.read_text() == "mine"
    (tmp_path / PLAN).touch()  # a slide was analysed here: they are its blocks
    clear_others(tmp_path, OF_FIELD)
    assert not own.parent.exists()


def test_an_array_among_files_or_slides_is_refused_with_what_takes_it(tmp_path: Path) -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(ImageError, match=r"A ndarray is no path\. .* goes to napari_bloodcell\.analyse"):
        analyse_files([pixels], tmp_path / "out")  # type: ignore[list-item]
    with pytest.raises(ImageError, match=r"A ndarray is no slide\. Name a file, or give LazyImage"):
        analyse_slide(pixels, tmp_path / "out")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
