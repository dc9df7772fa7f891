"""Judging invariance on made vectors whose answer is known, and the collection and files around it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from embed_parts import crops, tiny_sam
from PIL import Image
from sam_parts import TINY

from napari_bloodcell.core import cell_tables
from napari_bloodcell.core.config import FeatureConfig, JudgeConfig
from napari_bloodcell.core.datasets import CellImage
from napari_bloodcell.core.embed.aligned import AlignedEmbedder, Pool, align_labs, make_space
from napari_bloodcell.core.embed.collection import _numbers, embed_masks, write
from napari_bloodcell.core.embed.judge import judge, table, to_json
from napari_bloodcell.core.embed.measurements import MeasurementEmbedder
from napari_bloodcell.core.embed.sam_embedder import pool_parts
from napari_bloodcell.core.embed.sources import draw_maps, embed_paths, judge_cells
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.evaluate.features import _name_of
from napari_bloodcell.core.records import Masks, SmearImage
from napari_bloodcell.core.sam.variants import VARIANTS
from napari_bloodcell.core.segment import StainSegmenter
from napari_bloodcell.core.synthetic import make_cells

RNG = np.random.default_rng(0)
N = 60
LABS = ["a", "b"] * (N // 2)
CLASSES = ["x", "x", "y", "y"] * (N // 4)
CONFIG = JudgeConfig(resamples=40)
LAB = np.array([lab == "b" for lab in LABS])
CLASS = np.array([one == "y" for one in CLASSES])


def vectors(by_lab: float, by_class: float) -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(N, 6)).astype(np.float32)
    values[:, :3] += by_lab * LAB[:, None]
    values[:, 3:] += by_class * CLASS[:, None]
    return values


def test_vectors_about_the_lab_are_told_from_vectors_about_the_cell() -> None:
    lab, cell = judge(vectors(6, 0), LABS, CLASSES, CONFIG), judge(vectors(0, 6), LABS, CLASSES, CONFIG)
    assert lab.lab_chance == cell.lab_chance == 0.5
    assert lab.figures["lab_probe"].value > 0.95
    assert cell.figures["lab_probe"].value < 0.7
    assert lab.figures["mixing"].value < 0.1
    assert cell.figures["mixing"].value > 0.8
    assert cell.figures["class_agreement_across_labs"].value > 0.95
    assert lab.figures["class_agreement_across_labs"].value < 0.7
    assert cell.figures["class_silhouette"].value > lab.figures["class_silhouette"].value + 0.2
    assert "plainly tells the lab" in lab.words()
    assert cell.compared == ("x", "y")
    assert "over the 2 classes (x, y) that two labs have with 4 cells or more" in cell.words()


def test_intervals_hold_their_figure_and_are_repeatable() -> None:
    values = vectors(1, 1)
    one, again = (judge(values, LABS, CLASSES, CONFIG) for _ in range(2))
    assert one == again
    for figure in one.figures.values():
        assert figure.low <= figure.value <= figure.high
        assert figure.low < figure.high


def test_a_class_that_another_lab_lacks_is_not_asked_for() -> None:
    values = vectors(0, 6)
    classes = ["z" if lab == "b" else one for lab, one in zip(LABS, CLASSES, strict=True)]
    found = judge(values, LABS, classes, CONFIG)
    assert np.isnan(found.figures["class_agreement_across_labs"].value)
    assert "no two labs share a class" in found.words()
    assert to_json([found])["embedding"]["class_agreement_across_labs"] == [None, None, None]


def test_large_sets_are_judged_on_a_part_and_say_so() -> None:
    found = judge(vectors(0, 1), LABS, CLASSES, JudgeConfig(resamples=5, at_most=40))
    assert found.cells == 40
    assert "40 of 60 cells" in table([found])


def test_columns_that_never_change_do_no_harm() -> None:
    values = vectors(0, 6)
    values[:, 0] = 3
    assert np.isfinite(judge(values, LABS, CLASSES, CONFIG).figures["lab_probe"].value)


@pytest.mark.parametrize(
    ("labs", "bad", "words"),
    [
        (["a"] * N, None, "there is only 'a'"),
        (["a"] * (N - 1) + ["b"], None, "b has 1 cells; judging takes 4"),
        (LABS, np.nan, "1 of 60 vectors hold NaN"),
        (LABS[:-1], None, "59 cells have a lab, 60 a vector"),
    ],
)
def test_what_cannot_be_judged_is_said(labs: list[str], bad: float | None, words: str) -> None:
    values = vectors(0, 0)
    if bad is not None:
        values[3, 2] = bad
    with pytest.raises(DataError, match=words):
        judge(values, labs, CLASSES[: len(labs)], CONFIG)


@pytest.mark.parametrize("pool", ["whole", "parts"])
def test_laying_labs_over_each_other_takes_the_lab_out_and_leaves_the_class(pool: Pool) -> None:
    values = vectors(6, 6)
    brought = make_space(values, LABS, pool).bring(values)
    raw, aligned = (judge(v, LABS, CLASSES, CONFIG).figures for v in (values, brought))
    assert raw["lab_probe"].value > 0.95
    assert aligned["lab_probe"].value < 0.75
    assert aligned["class_agreement_across_labs"].value > 0.9


def test_cells_that_had_no_part_in_laying_labs_over_each_other_come_along() -> None:
    values, seen = vectors(6, 6), np.arange(N) < 40
    labs, classes = np.array(LABS), np.array(CLASSES)
    brought = make_space(values[seen], labs[seen].tolist()).bring(values[~seen])
    raw, aligned = (
        judge(v, labs[~seen].tolist(), classes[~seen].tolist(), CONFIG).figures
        for v in (values[~seen], brought)
    )
    assert aligned["lab_probe"].value < raw["lab_probe"].value - 0.15
    assert aligned["class_agreement_across_labs"].value > 0.9


def test_a_lab_that_joins_lies_where_the_others_lie() -> None:
    values = vectors(6, 6)
    space = make_space(values, LABS)
    moved = vectors(0, 6) - 40
    joined = space.with_lab("new", moved)
    assert joined.labs == ("a", "b", "new")
    assert np.array_equal(joined.bring(values), space.bring(values))
    brought = joined.bring(moved)
    assert np.array_equal(brought, joined.bring(moved, "new"))  # told apart by itself
    for one in (False, True):  # each class lies where it lies in the other labs
        here, there = brought[one == CLASS].mean(axis=0), space.bring(values)[one == CLASS].mean(axis=0)
        assert np.abs(here - there).max() < 1
    with pytest.raises(DataError, match="one of the labs this space was made from"):
        joined.with_lab("a", moved)
    with pytest.raises(DataError, match="There is no lab 'z' in this space; it knows a, b, new"):
        joined.bring(moved, "z")
    with pytest.raises(DataError, match="tiny has 3 cells; 20 at least"):
        space.with_lab("tiny", moved[:3])


def test_labs_with_other_shares_of_classes_are_mixed_up_less_than_by_centring_them() -> None:
    """Nine in ten cells of one lab are of class x, of the other of class y."""
    rng = np.random.default_rng(1)
    lab = np.repeat(["a", "b"], 100)
    kind = np.concatenate([np.arange(100) % 10 == 0, np.arange(100) % 10 != 0])
    values = rng.normal(size=(200, 6)).astype(np.float32)
    values[:, :3] += 6 * kind[:, None]
    values[:, 3:] += 4 * (lab == "b")[:, None]
    centred = np.concatenate([values[lab == one] - values[lab == one].mean(axis=0) for one in "ab"])
    brought = make_space(values, lab.tolist()).bring(values)
    classes = ["y" if one else "x" for one in kind]
    plain, ours = (judge(v, lab.tolist(), classes, CONFIG).figures for v in (centred, brought))
    name = "class_agreement_across_labs"
    assert ours[name].value > plain[name].value + 0.2
    assert ours["mixing"].value > plain["mixing"].value + 0.2


def test_an_aligned_embedder_keeps_its_hash_when_a_lab_joins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(VARIANTS, "tiny", TINY)
    labs = [("a", crops(20)), ("b", crops(20, seed=1, tint=40))]
    made = align_labs(tiny_sam(), labs, "parts", FeatureConfig(input_px=32), tmp_path)
    joined = made.with_lab("c", crops(20, seed=2, tint=80))
    joined.save(tmp_path)
    loaded = AlignedEmbedder.load(tmp_path)
    assert made.hash == joined.hash == loaded.hash
    table: Any = SimpleNamespace(key=np.array(["1", "2"]))  # vectors of before are not taken for those of now
    kept = {
        _name_of(table, [0, 1], one, StainSegmenter()) for one in (made, joined, loaded, loaded.for_lab("c"))
    }
    assert len(kept) == 3
    few = crops(3, seed=2, tint=80)
    assert np.array_equal(loaded.embed(few).values, joined.embed(few).values)
    assert loaded.embed(few).values.shape == (3, len(loaded.names))
    assert not np.array_equal(loaded.for_lab("c").embed(few).values, loaded.for_lab("a").embed(few).values)


def test_tokens_are_pooled_over_nucleus_and_cytoplasm_apart() -> None:
    import torch

    tokens = torch.arange(16.0).view(1, 1, 4, 4)
    parts = torch.zeros(1, 8, 8, dtype=torch.uint8)
    parts[0, :2, :4] = 2  # tokens 0 and 1
    parts[0, 6:, 6:] = 1  # token 15
    assert pool_parts(tokens, parts)[0, :, 0].tolist() == pytest.approx([0.5, 15.0])
    only = torch.where(parts == 2, 0, parts)
    assert pool_parts(tokens, only)[0, :, 0].tolist() == pytest.approx([15.0, 15.0])
    assert pool_parts(tokens, 0 * parts)[0, :, 0].tolist() == pytest.approx([7.5, 7.5])


def field(count: int) -> tuple[SmearImage, Masks]:
    pixels = RNG.integers(150, 230, (60, 40 * max(count, 1), 3), dtype=np.uint8)
    labels = np.zeros(pixels.shape[:2], np.int32)
    for i in range(count):
        labels[20:40, 40 * i + 10 : 40 * i + 30] = i + 1
    boxes = [[40 * i + 10, 20, 40 * i + 30, 40] for i in range(count)]
    nucleus = np.zeros(labels.shape, bool)
    nucleus[26:34] = labels[26:34] > 0
    masks = Masks(
        cell_id=np.arange(1, count + 1), labels=labels, nucleus=nucleus,
        boxes_xyxy=np.asarray(boxes, np.int32).reshape(-1, 4), touches_border=np.zeros(count, bool),
    )  # fmt: skip
    return SmearImage(pixels=pixels, name="field", source="field.png"), masks


def test_cells_of_an_image_become_an_anndata_file_that_spatialdata_can_join(tmp_path: Path) -> None:
    import anndata

    found = embed_masks(*field(4), {"measurements": MeasurementEmbedder()}, lab="here")
    write(tmp_path / "cells.h5ad", found)
    data = anndata.read_h5ad(tmp_path / "cells.h5ad")
    assert data.obs_names.tolist() == [f"field#{i}" for i in range(1, 5)]
    assert data.obs["lab"].tolist() == ["here"] * 4
    assert data.obsm["X_measurements"].shape == (4, len(MeasurementEmbedder().names))
    assert data.obsm["spatial"][1].tolist() == [60, 30]
    attrs = data.uns["spatialdata_attrs"]
    assert attrs["region_key"] == "region"
    assert set(data.obs["region"]) == set(attrs["region"])
    assert data.obs[attrs["instance_key"]].tolist() == [1, 2, 3, 4]
    assert data.uns["napari_bloodcell"]["embedders"]["measurements"]["hash"] == MeasurementEmbedder().hash


@pytest.mark.parametrize("suffix", [".h5ad", ".parquet", ".csv"])
def test_no_cells_make_an_empty_table(tmp_path: Path, suffix: str) -> None:
    found = embed_masks(*field(0), {"measurements": MeasurementEmbedder()})
    assert len(found) == 0
    write(tmp_path / f"cells{suffix}", found)
    assert (tmp_path / f"cells{suffix}").is_file()


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_vectors_of_a_trained_embedder_are_found_by_its_folder_and_keep_their_hash(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = SimpleNamespace(kind="mine", hash="h1", names=("a", "b"), embed=lambda crops, **_: two_each(crops))
    write(tmp_path / f"cells{suffix}", embed_masks(*field(3), {"emb": made}))
    monkeypatch.setattr(cell_tables, "find_embedder", lambda name: {"deep/emb": made, "emb": made}[str(name)])
    for name in ("deep/emb", "emb"):
        cells = cell_tables.read_cells(tmp_path / f"cells{suffix}", name)
        assert cells.embeddings.values.tolist() == [[0, 1], [0, 1], [0, 1]]
        assert cells.embeddings.embedder == "h1"
    made.hash = "trained anew"
    again = cell_tables.read_cells(tmp_path / f"cells{suffix}", "deep/emb")
    assert again.embeddings.embedder == "h1"  # these are not the vectors of what lies there now


def test_cells_of_one_picture_have_numbers_of_their_own(tmp_path: Path) -> None:
    a, b = tmp_path / "a.png", tmp_path / "b.png"
    listed = [CellImage(path, "monocyte", "lab") for path in (a, b, a, a)]
    assert _numbers(listed) == [1, 1, 2, 3]


def test_a_cell_in_a_picture_of_its_own_has_a_place_in_it(tmp_path: Path) -> None:
    drawn = make_cells(1, seed=3, size_px=120, classes=("monocyte",))
    (tmp_path / "lab" / "monocyte").mkdir(parents=True)
    Image.fromarray(np.asarray(drawn.pixels[0])).save(tmp_path / "lab" / "monocyte" / "1.png")
    table = embed_paths([tmp_path / "lab"], ["measurements"]).table
    x0, y0, x1, y1 = table[["x0", "y0", "x1", "y1"]].iloc[0]
    assert 0 <= x0 < 60 < x1 <= 120
    assert 0 <= y0 < 60 < y1 <= 120
    assert (x1 - x0) * (y1 - y0) >= table["area_px"].iloc[0]


def test_a_table_made_for_one_embedder_is_read_with_it(tmp_path: Path) -> None:
    made = SimpleNamespace(kind="mine", hash="h1", names=("a", "b"), embed=lambda crops, **_: two_each(crops))
    write(tmp_path / "cells.parquet", embed_masks(*field(3), {"mine": made}))
    assert cell_tables.read_cells(tmp_path / "cells.parquet").embeddings.embedder == "h1"
    wanted = MeasurementEmbedder().hash  # of a model that takes these
    assert cell_tables.read_cells(tmp_path / "cells.parquet", wanted=wanted).embeddings.embedder == wanted


def two_each(crops: Any) -> Any:
    return SimpleNamespace(values=np.tile(np.array([0.0, 1.0], np.float32), (len(crops), 1)))


def test_an_unknown_ending_is_refused(tmp_path: Path) -> None:
    found = embed_masks(*field(1), {"measurements": MeasurementEmbedder()})
    with pytest.raises(DataError, match=r"ends in '.xls'; tables are written as .h5ad, .parquet, .csv"):
        write(tmp_path / "cells.xls", found)


def test_maps_have_a_panel_by_class_and_one_by_lab(tmp_path: Path) -> None:
    found = embed_masks(*field(8), {"measurements": MeasurementEmbedder()})
    found.table["lab"] = ["a", "b"] * 4
    found.table["class"] = ["neutrophil"] * 4 + ["lymphocyte"] * 4
    draw_maps(tmp_path / "maps.png", found)
    assert (tmp_path / "maps.png").stat().st_size > 10_000
    assert judge_cells(found, CONFIG)[0].name == "measurements"
