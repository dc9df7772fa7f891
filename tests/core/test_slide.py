"""Whole slides: where to look, block by block, stopped and gone on, labels as OME-Zarr, against the truth."""

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zarr
from slide_files import write_ome_tiff, write_ome_zarr

from napari_bloodcell.cli import main
from napari_bloodcell.core.artifact import only_writer, read_json
from napari_bloodcell.core.batch import analyse_files
from napari_bloodcell.core.config import AnalyseConfig, SegmentConfig, SlideConfig
from napari_bloodcell.core.errors import ArtifactError, Cancelled, EngineError, ImageError, SegmentError
from napari_bloodcell.core.export import export_cells
from napari_bloodcell.core.image.lazy import LazyImage
from napari_bloodcell.core.report.gallery import picture_of
from napari_bloodcell.core.report.make import make_report
from napari_bloodcell.core.results import summarise
from napari_bloodcell.core.segment import StainSegmenter
from napari_bloodcell.core.segment.tiles import Found
from napari_bloodcell.core.slide import plan as plans
from napari_bloodcell.core.slide.analysis import SlideResult, analyse_slide
from napari_bloodcell.core.slide.block import read_outlines, unpack, unpacked
from napari_bloodcell.core.slide.overview import thumbnail
from napari_bloodcell.core.slide.plan import Plan, make_plan
from napari_bloodcell.core.slide.pyramid import write_labels
from napari_bloodcell.core.synthetic.slide import BLURRED, SyntheticSlide, make_slide

SIDE, SHARE, SEED = 1680, 0.5, 4
BLOCKS = AnalyseConfig(slide=SlideConfig(block_px=640))


@pytest.fixture(scope="module")
def slide() -> SyntheticSlide:
    """Drawn once; the levels are arrays in memory."""
    drawn = make_slide(SIDE, SIDE, seed=SEED, share=SHARE)
    levels = [level[0 : level.shape[0], 0 : level.shape[1]] for level in drawn.image.levels]
    return replace(drawn, image=replace(drawn.image, array=levels[0], coarser=tuple(levels[1:])))


@pytest.fixture(scope="module")
def whole(slide: SyntheticSlide, tmp_path_factory: pytest.TempPathFactory) -> SlideResult:
    return analyse_slide(slide.image, tmp_path_factory.mktemp("whole"), "stain", BLOCKS)


def cells_of(folder: Path) -> pd.DataFrame:
    table = pd.read_parquet(folder / "cells.parquet").drop(columns="cell_id")
    return table.sort_values(["y0", "x0"], ignore_index=True)


def middles(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def matched(table: pd.DataFrame, truth: np.ndarray) -> int:
    """Cells of the truth that were found once: the only one within 3 µm."""
    found = middles(table[["x0", "y0", "x1", "y1"]].to_numpy())
    away = np.linalg.norm(middles(truth)[:, None] - found[None], axis=2) < 12
    return int((away.sum(1) == 1).sum())


def wanted_at(plan: Plan, boxes: np.ndarray, name: str = "wanted") -> np.ndarray:
    columns, rows = (middles(boxes) // plan.unit_px).astype(int).T
    return np.asarray(getattr(plan, name)[rows, columns])


def test_any_piece_of_the_synthetic_slide_shows_the_same_slide(slide: SyntheticSlide) -> None:
    again = make_slide(SIDE, SIDE, seed=SEED, share=SHARE)
    image, fine = again.image, slide.image[0:SIDE, 0:SIDE]
    np.testing.assert_array_equal(image[100:933, 77:500], fine[100:933, 77:500])
    coarse = image.levels[1]
    means = fine.reshape(SIDE // 4, 4, SIDE // 4, 4, 3).mean((1, 3))
    assert np.abs(coarse[0 : SIDE // 4, 0 : SIDE // 4] - means).max() <= 1
    assert again.boxes_xyxy.tolist() == slide.boxes_xyxy.tolist()


def test_the_coarse_search_keeps_every_cell_and_leaves_out_glass_and_blur() -> None:
    large = make_slide(6000, 6000, seed=1)
    plan = make_plan(large.image, AnalyseConfig())
    assert len(large.boxes_xyxy) > 30
    assert wanted_at(plan, large.boxes_xyxy).all()
    assert plan.wanted.mean() < 0.12
    assert not plan.stained[:2, :2].any()
    blurred = large.image.array.kinds[np.ix_(*[np.arange(64, 5900, 128) // 240] * 2)] == BLURRED
    clear = plan.sharp[:46, :46][blurred[:46, :46]]
    assert clear.mean() < 0.5  # squares of the focus map that the border of the blur crosses are kept
    inner = (slice(32, 36), slice(32, 36))
    assert blurred[inner].all()
    assert not plan.sharp[inner].any()


def test_the_plan_does_not_depend_on_how_much_is_read_at_a_time(
    slide: SyntheticSlide, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = make_plan(slide.image, BLOCKS)
    monkeypatch.setattr(plans, "PIECE_PX", 150)
    found = make_plan(slide.image, BLOCKS)
    for name in plans.MAPS:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_the_cells_of_a_slide_are_those_that_were_drawn(slide: SyntheticSlide, whole: SlideResult) -> None:
    table = cells_of(whole.folder)
    assert whole.cells == len(table)
    assert matched(table, slide.boxes_xyxy) == len(slide.boxes_xyxy) > 8
    assert len(slide.boxes_xyxy) <= len(table) <= len(slide.boxes_xyxy) + slide.out_of_focus
    assert whole.differential.counted == len(table)


@pytest.mark.parametrize("block_px", [512, 4096])
def test_a_slide_cut_differently_has_the_same_cells(
    block_px: int, slide: SyntheticSlide, whole: SlideResult, tmp_path: Path
) -> None:
    config = AnalyseConfig(slide=SlideConfig(block_px=block_px))
    result = analyse_slide(slide.image, tmp_path, "stain", config)
    assert result.blocks != whole.blocks
    pd.testing.assert_frame_equal(cells_of(tmp_path), cells_of(whole.folder))


def test_white_that_was_never_scanned_is_not_the_light_of_a_slide(slide: SyntheticSlide) -> None:
    pixels = slide.image[0:SIDE, 0:SIDE]
    padded = np.pad(pixels, ((SIDE // 3, 0), (0, SIDE // 2), (0, 0)), constant_values=255)
    plain, framed = (plans.look_at(LazyImage(array=one, um_per_px=0.25)) for one in (pixels, padded))
    assert plain is not None
    assert framed is not None
    assert np.abs(framed.light - plain.light).max() <= 4
    assert framed.light.max() < 250


def test_looking_everywhere_finds_the_same_cells_as_looking_where_the_coarse_search_says(
    slide: SyntheticSlide, whole: SlideResult, tmp_path: Path
) -> None:
    config = AnalyseConfig(slide=SlideConfig(search="full"))
    analyse_slide(slide.image, tmp_path, "stain", config)
    pd.testing.assert_frame_equal(cells_of(tmp_path), cells_of(whole.folder))


def test_a_slide_without_coarser_levels_has_the_same_cells(
    slide: SyntheticSlide, whole: SlideResult, tmp_path: Path
) -> None:
    analyse_slide(replace(slide.image, coarser=()), tmp_path, "stain", BLOCKS)
    kept, found = cells_of(whole.folder), cells_of(tmp_path)
    assert matched(found, kept[["x0", "y0", "x1", "y1"]].to_numpy()) == len(kept) == len(found)


def test_the_folder_of_a_slide_holds_all_that_was_promised(slide: SyntheticSlide, whole: SlideResult) -> None:
    _, record = read_json(whole.folder / "run.json", "run")
    assert (record["cells"], record["slide"]["labels"]) == (whole.cells, "labels.ome.zarr")
    assert record["slide"]["film_mm2"] > record["slide"]["searched_fully_mm2"] > 0
    for name in ("cells.parquet", "differential.json", "overview.png", "labels.ome.zarr/zarr.json"):
        assert name in record["outputs"]
    table = pd.read_parquet(whole.folder / "cells.parquet")
    assert table["cell_id"].tolist() == list(range(1, whole.cells + 1))
    assert not {"cell_mask", "nucleus_mask"} & set(table)


def test_labels_are_an_ome_zarr_pyramid_of_the_cells_in_the_table(whole: SlideResult) -> None:
    group = zarr.open_group(whole.folder / "labels.ome.zarr", mode="r")
    assert group["labels"].attrs["ome"]["labels"] == ["cells", "nuclei"]
    told = group["labels/cells"].attrs["ome"]
    assert (told["version"], told["image-label"]) == ("0.5", {})
    scales = [d["coordinateTransformations"][0]["scale"] for d in told["multiscales"][0]["datasets"]]
    assert scales == [[0.25, 0.25], [0.5, 0.5]]
    cells, nuclei = (group[f"labels/{kind}/0"] for kind in ("cells", "nuclei"))
    assert cells.metadata.zarr_format == 3
    labels, inner = cells[:], nuclei[:]
    table = pd.read_parquet(whole.folder / "cells.parquet")
    for row in table.itertuples():
        own = labels[row.y0 : row.y1, row.x0 : row.x1] == row.cell_id
        assert own.sum() == (labels == row.cell_id).sum() == row.area_px
    assert set(np.unique(inner)) == set(np.unique(labels))
    assert not (inner[inner != labels]).any()
    np.testing.assert_array_equal(group["labels/cells/1"][:], labels[::2, ::2])


def test_cells_of_a_slide_go_to_other_programs(whole: SlideResult, tmp_path: Path) -> None:
    done = export_cells([whole.folder], tmp_path)
    table = pd.read_parquet(whole.folder / "cells.parquet").set_index("cell_id")
    told = json.loads(done.files[0].read_text())["features"]
    assert len(told) == done.cells == whole.cells
    for one in told:
        ring = np.array(one["geometry"]["coordinates"][0])
        row = table.loc[int(one["properties"]["name"])]
        assert [*ring.min(0), *ring.max(0)] == [row["x0"], row["y0"], row["x1"], row["y1"]]
        assert one["nucleusGeometry"]["coordinates"]


KILLED = """
import os, signal, sys
from napari_bloodcell.core.slide.analysis import analyse_slide
from napari_bloodcell.core.synthetic.slide import make_slide
from napari_bloodcell.core.config import AnalyseConfig, SlideConfig
slide = make_slide({side}, {side}, seed={seed}, share={share})
def die(stage, done, total):
    if stage.startswith("block 4 of") and stage.endswith("windows"):
        os.kill(os.getpid(), signal.SIGKILL)
analyse_slide(slide.image, sys.argv[1], "stain", AnalyseConfig(slide=SlideConfig(block_px=640)), progress=die)
"""


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_a_run_that_was_killed_goes_on_where_it_was(whole: SlideResult, tmp_path: Path) -> None:
    script = KILLED.format(side=SIDE, seed=SEED, share=SHARE)
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, check=False)
    assert killed.returncode == -9, killed.stderr.decode()
    assert not (tmp_path / "run.json").exists()
    assert len(list((tmp_path / "blocks").glob("[0-9]*.parquet"))) == 3
    again = make_slide(SIDE, SIDE, seed=SEED, share=SHARE)
    result = analyse_slide(again.image, tmp_path, "stain", BLOCKS)
    assert (result.kept, result.cells) == (3, whole.cells)
    pd.testing.assert_frame_equal(cells_of(tmp_path), cells_of(whole.folder))


def test_cancel_stops_within_the_block_and_keeps_the_blocks_before(
    slide: SyntheticSlide, whole: SlideResult, tmp_path: Path
) -> None:
    heard: list[str] = []

    def stop(stage: str, done: int, total: int) -> None:
        heard.append(stage)
        if stage.startswith("block 3 of") and stage.endswith("windows"):
            raise Cancelled

    with pytest.raises(Cancelled):
        analyse_slide(slide.image, tmp_path, "stain", BLOCKS, progress=stop)
    assert len(list((tmp_path / "blocks").iterdir())) == 2
    assert not (tmp_path / "run.json").exists()
    assert analyse_slide(slide.image, tmp_path, "stain", BLOCKS).kept == 2


@pytest.mark.parametrize("where", ["block", "labels"])
def test_a_full_disk_is_said_and_leaves_no_half_result(
    where: str, slide: SyntheticSlide, whole: SlideResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    place = {
        "block": "pyarrow.parquet.write_table",
        "labels": "napari_bloodcell.core.slide.pyramid._store",
    }[where]
    with monkeypatch.context() as patch:
        patch.setattr(place, full)
        with pytest.raises(ArtifactError, match=r"could not be written: No space left.*Free some space"):
            analyse_slide(slide.image, tmp_path, "stain", BLOCKS)
    left = {p.name for p in tmp_path.rglob("*") if p.is_file()}
    assert not {"run.json", "zarr.json"} & left
    assert {name for name in left if name.startswith(".")} <= {".lock"}
    assert analyse_slide(slide.image, tmp_path, "stain", BLOCKS).cells == whole.cells


def test_two_runs_do_not_write_to_one_folder(slide: SyntheticSlide, tmp_path: Path) -> None:
    with only_writer(tmp_path), pytest.raises(EngineError, match=r"Another run is writing to .*Wait until"):
        analyse_slide(slide.image, tmp_path, "stain", BLOCKS)


def test_a_block_full_of_cells_is_described_in_parts(
    slide: SyntheticSlide, whole: SlideResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_bloodcell.core.slide.block.AT_ONCE", 2)
    analyse_slide(slide.image, tmp_path, "stain", BLOCKS, pictures=False)
    pd.testing.assert_frame_equal(cells_of(tmp_path), cells_of(whole.folder))
    assert not list(tmp_path.glob("*.png"))


def test_blocks_of_other_settings_or_half_written_ones_are_made_again(
    slide: SyntheticSlide, tmp_path: Path
) -> None:
    first = analyse_slide(slide.image, tmp_path, "stain", BLOCKS)
    again = analyse_slide(slide.image, tmp_path, "stain", BLOCKS)
    assert again.kept == again.blocks
    block = next((tmp_path / "blocks").iterdir())
    block.write_bytes(block.read_bytes()[:100])
    assert analyse_slide(slide.image, tmp_path, "stain", BLOCKS).kept == first.blocks - 1
    other = replace(BLOCKS, segment=SegmentConfig(border="drop"))
    assert analyse_slide(slide.image, tmp_path, "stain", other).kept == 0


def test_a_folder_of_blocks_that_is_somebody_elses_stays(tmp_path: Path) -> None:
    theirs = tmp_path / "blocks" / "notes.txt"
    theirs.parent.mkdir()
    theirs.write_text("mine")
    glass = np.full((700, 700, 3), 240, np.uint8)
    analyse_slide(LazyImage(array=glass, um_per_px=0.25), tmp_path, "stain")
    assert theirs.read_text() == "mine"


def test_a_slide_of_glass_has_no_cells_and_says_so(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 1.5, (900, 1200, 3))
    glass = np.clip(np.array([230, 225, 235]) + noise, 0, 255).astype(np.uint8)
    result = analyse_slide(LazyImage(array=glass, um_per_px=0.25), tmp_path, "stain")
    assert (result.cells, result.blocks) == (0, 0)
    assert read_json(tmp_path / "run.json", "run")[1]["notes"] == [
        "there is nothing to see: glass, or too dark"
    ]
    assert len(pd.read_parquet(tmp_path / "cells.parquet")) == 0
    assert not zarr.open_group(tmp_path / "labels.ome.zarr", mode="r")["labels/cells/0"][:].any()


def test_what_cannot_be_a_slide_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="does not exist"):
        analyse_slide(tmp_path / "none.svs", tmp_path / "out", "stain")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ImageError, match=r"cannot be read piece by piece.*export it as a tiled OME-TIFF"):
        analyse_slide(tmp_path / "a.png", tmp_path / "out", "stain")
    gray = np.tile((np.arange(900) % 200).astype(np.uint8)[:, None, None], (1, 900, 3))
    with pytest.raises(SegmentError, match="colourless"):
        analyse_slide(LazyImage(array=gray, um_per_px=0.25), tmp_path / "out", "stain")


def test_outlines_come_back_as_they_were_packed(whole: SlideResult) -> None:
    files = sorted((whole.folder / "blocks").iterdir())
    found = [unpacked(one) for path in files for one in read_outlines(path)]
    assert len(found) == whole.cells
    for box, cell, nucleus in found:
        assert cell.shape == (box[3] - box[1], box[2] - box[0])
        assert cell.any(axis=0).all()
        assert not (nucleus & ~cell).any()
    bits = np.array([[1, 0, 1], [0, 1, 1]], bool)
    np.testing.assert_array_equal(unpack(np.packbits(bits).tobytes(), (4, 7, 7, 9)), bits)


def test_labels_are_painted_whole_across_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_bloodcell.core.slide.pyramid.TILE_PX", 64)
    boxes = np.array([[50, 50, 80, 90], [70, 85, 140, 100]], np.int32)
    shapes = [np.ones((y1 - y0, x1 - x0), bool) for x0, y0, x1, y1 in boxes]
    write_labels(tmp_path, (150, 200), boxes, lambda row: (boxes[row], shapes[row], shapes[row]))
    expected = np.zeros((150, 200), np.int32)
    expected[85:100, 70:140] = 2
    expected[50:90, 50:80] = 1
    np.testing.assert_array_equal(zarr.open(tmp_path / "labels.ome.zarr/labels/cells/0")[:], expected)


def test_a_large_file_is_analysed_as_a_slide_by_the_command_and_goes_on(
    slide: SyntheticSlide, whole: SlideResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "slides").mkdir()
    write_ome_tiff(tmp_path / "slides" / "one.ome.tif", slide.image.array, compression=None)
    write_ome_zarr(tmp_path / "slides" / "two.zarr", np.array(slide.image.array[300:1100, 300:1100]))
    command = ["analyse", str(tmp_path / "slides"), "--out", str(tmp_path / "out"), "--bundle", "stain"]
    command += ["--slide.from-megapixels", "0.5", "--workers", "1"]
    for said in ("0 kept from before", "2 kept from before"):
        with pytest.raises(SystemExit) as left:
            main(command)
        assert left.value.code == 0
        assert f"2 images, {said}, 0 failed" in capsys.readouterr().out
    one = tmp_path / "out" / "one.ome"
    assert matched(cells_of(one), slide.boxes_xyxy) == len(slide.boxes_xyxy)
    pooled = pd.read_parquet(tmp_path / "out" / "cells.parquet")
    assert len(pooled) == len(cells_of(one)) + len(cells_of(tmp_path / "out" / "two"))


def test_a_slide_with_a_damaged_piece_fails_alone(slide: SyntheticSlide, tmp_path: Path) -> None:
    path = tmp_path / "torn.ome.tif"
    write_ome_tiff(path, slide.image.array[:900, :900], tile=(256, 256))
    torn = bytearray(path.read_bytes())
    torn[20_000:400_000] = bytes(380_000)
    path.write_bytes(torn)
    config = AnalyseConfig(slide=SlideConfig(from_megapixels=0.5))
    result = analyse_files([path], tmp_path / "out", "stain", config)
    assert [item.state for item in result.items] == ["failed"]
    assert "torn.ome.tif" in result.items[0].reason


def test_a_slide_of_glass_among_others_leaves_the_pool_right(slide: SyntheticSlide, tmp_path: Path) -> None:
    write_ome_zarr(tmp_path / "film.zarr", np.array(slide.image.array[300:1100, 300:1100]))
    write_ome_zarr(tmp_path / "blank.zarr", np.full((800, 800, 3), (230, 225, 235), np.uint8))
    config = AnalyseConfig(slide=SlideConfig(from_megapixels=0.5))
    result = analyse_files(
        [tmp_path / "blank.zarr", tmp_path / "film.zarr"], tmp_path / "out", "stain", config
    )
    assert [item.state for item in result.items] == ["done", "done"]
    pooled = pd.read_parquet(tmp_path / "out" / "cells.parquet")
    pd.testing.assert_frame_equal(cells_of(tmp_path / "out"), cells_of(tmp_path / "out" / "film"))
    assert len(pooled) == result.differential.counted > 0
    assert summarise(tmp_path / "out")[0].differential.counted == len(pooled)
    report = make_report([tmp_path / "out"], tmp_path / "report")
    assert report.pooled.differential.counted == len(pooled)
    assert report.pooled.images == ("blank.zarr", "film.zarr")


def test_pictures_of_doubtful_cells_of_a_slide_are_read_piece_by_piece(
    slide: SyntheticSlide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.array(slide.image.array[:900, :900])
    write_ome_tiff(tmp_path / "a.ome.tif", pixels)
    analyse_slide(tmp_path / "a.ome.tif", tmp_path / "out" / "a", "stain", pictures=False)
    monkeypatch.setattr("napari_bloodcell.core.report.gallery.read_image", None)
    report = make_report([tmp_path / "out"], tmp_path / "report")
    boxes = pd.read_parquet(tmp_path / "out" / "a" / "cells.parquet").set_index("cell_id")
    assert len(report.doubtful) == len(boxes) > 0
    for cell in report.doubtful:
        box = boxes.loc[cell.cell_id, ["x0", "y0", "x1", "y1"]].tolist()
        np.testing.assert_array_equal(cell.pixels, picture_of(pixels, box))
    write_ome_tiff(tmp_path / "a.ome.tif", 255 - pixels)
    changed = make_report([tmp_path / "out"], tmp_path / "report")
    assert [cell.pixels for cell in changed.doubtful] == [None] * len(boxes)


class Glass:
    """A slide of 9,000 pixels that counts what is read of it at a time."""

    shape, dtype = (9000, 9000, 3), np.dtype(np.uint8)
    most = 0

    def __getitem__(self, window: tuple[slice, slice]) -> np.ndarray:
        height, width = (len(range(*s.indices(n))) for s, n in zip(window, self.shape, strict=False))
        self.most = max(self.most, height * width)
        return np.full((height, width, 3), 230, np.uint8)


def test_the_overview_of_a_slide_of_one_resolution_reads_little_at_a_time() -> None:
    glass = Glass()
    picture, step = thumbnail(LazyImage(array=glass), 300)
    assert (picture.shape, step) == ((300, 300, 3), 30)
    assert glass.most <= 512 * 9000


def test_another_pixel_size_or_other_pixels_make_another_slide(slide: SyntheticSlide, tmp_path: Path) -> None:
    image = replace(slide.image, array=slide.image.array[:800, :800].copy(), coarser=())
    analyse_slide(image, tmp_path, "stain", BLOCKS)
    larger = replace(image, um_per_px=0.3)
    assert analyse_slide(larger, tmp_path, "stain", BLOCKS).kept == 0
    assert set(pd.read_parquet(tmp_path / "cells.parquet")["um_per_px"]) == {0.3}
    larger.array[500, 501] = 0
    assert analyse_slide(larger, tmp_path, "stain", BLOCKS).kept == 0


def test_outlines_that_the_segmenter_had_to_replace_are_noted(
    slide: SyntheticSlide, whole: SlideResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = StainSegmenter.find

    def noting(self: StainSegmenter, *args: Any, **more: Any) -> Found:
        found = find(self, *args, **more)
        return replace(found, notes={n: f"by stain, it was {n} px wide" for n in found.anchors if n % 2})

    monkeypatch.setattr(StainSegmenter, "find", noting)
    analyse_slide(slide.image, tmp_path, "stain", BLOCKS, pictures=False)
    (note,) = read_json(tmp_path / "run.json", "run")[1]["notes"]
    number, _, text = note.partition(" ")
    assert 0 < int(number) < whole.cells
    assert text == "cells: by stain"
    pd.testing.assert_frame_equal(cells_of(tmp_path), cells_of(whole.folder))


def test_results_of_a_slide_and_of_a_field_do_not_mix(slide: SyntheticSlide, tmp_path: Path) -> None:
    write_ome_zarr(tmp_path / "a.zarr", np.array(slide.image.array[300:1100, 300:1100]))
    found = {}
    for name, size in (("slide", 0.5), ("field", 100.0), ("slide again", 0.5)):
        config = AnalyseConfig(slide=SlideConfig(from_megapixels=size))
        assert not analyse_files([tmp_path / "a.zarr"], tmp_path / "out", "stain", config).failed
        found[name] = {p.name for p in (tmp_path / "out" / "a").iterdir()}
        (tmp_path / "out" / "a" / ".cells-abcd1234.parquet").touch()  # of a process that was killed
    assert {"labels.ome.zarr", "overview.png", "blocks"} <= found["slide"] == found["slide again"]
    assert {"labels.ome.tif", "overlay.png"} <= found["field"]
    both = {
        "cells.parquet", "differential.json", "differential.csv", "differential.png", "run.json", ".lock",
    }  # fmt: skip
    assert found["field"] & found["slide"] == both
