"""BC-SAM and DoRL through the one loop, on tiny made cells."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from embed_parts import SHAPE, crops, key, made_cells, open_small, tiny_sam
from sam_parts import TINY

from napari_bloodcell.core.config import AlignConfig, BcsamConfig, DorlConfig, FeatureConfig, TrainConfig
from napari_bloodcell.core.datasets import CellImage, Dataset
from napari_bloodcell.core.embed import trained
from napari_bloodcell.core.embed.kinds import with_kinds
from napari_bloodcell.core.embed.recipe import BcsamRecipe, DorlRecipe
from napari_bloodcell.core.embed.sam_embedder import SamEmbedder
from napari_bloodcell.core.embed.sam_model import COPY
from napari_bloodcell.core.embed.trained import BcsamEmbedder, DorlEmbedder, told
from napari_bloodcell.core.embed.training_cells import (
    APART,
    CellReader,
    TrainingCells,
    allowed,
    arrange,
    balanced,
)
from napari_bloodcell.core.errors import ArtifactError, Cancelled, DataError, TrainingError, WeightsError
from napari_bloodcell.core.sam.model import save_model
from napari_bloodcell.core.sam.variants import VARIANTS
from napari_bloodcell.core.training import train

LABS = ["a"] * 24 + ["b"] * 12
LOOP = TrainConfig(epochs=2, learning_rate=1e-3, device="cpu")
SMALL = DorlConfig(batch=12, depth=1, decoder_depth=1)


def weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def test_every_batch_holds_as_many_cells_of_each_lab(tmp_path: Path) -> None:
    cells = made_cells(tmp_path, LABS)
    for batch in BcsamRecipe(cells, BcsamConfig(batch=12), "x").batches(0):
        assert np.bincount(batch["domain"].numpy()).tolist() == [6, 6]


def test_an_epoch_shows_every_cell_of_the_largest_lab_and_no_held_out_one() -> None:
    domain = np.array([0] * 20 + [1] * 5)
    places = np.arange(25)
    chosen = np.concatenate(balanced(domain, places[1:], 8, np.random.default_rng(0)))
    assert 0 not in chosen
    assert set(range(20, 25)) <= set(chosen)
    assert len(chosen) == 24


def test_batches_are_the_same_each_time_and_differ_between_epochs(tmp_path: Path) -> None:
    recipe = DorlRecipe(made_cells(tmp_path, LABS), SMALL, "x")
    one, again, other = (next(iter(recipe.batches(epoch))) for epoch in (1, 1, 2))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["noise"], other["noise"])


@pytest.mark.parametrize("config", [BcsamConfig(batch=12), SMALL], ids=["bcsam", "dorl"])
def test_another_seed_of_the_loop_trains_otherwise_and_the_same_one_alike(
    tmp_path: Path, config: BcsamConfig | DorlConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(VARIANTS, "tiny", TINY)
    monkeypatch.setattr(trained, "prepare", lambda *_, **__: cells)
    sam = tiny_sam()
    cells = made_cells_of(tmp_path / "store", sam.map_shape(FeatureConfig(input_px=64)))
    config = replace(config, features=FeatureConfig(input_px=64))
    one, again, other = (
        trained.train_embedder(
            Dataset(name="x", root=tmp_path, cells=()),
            sam,
            tmp_path / f"run-{run}",
            config,
            replace(LOOP, epochs=1, seed=seed),
        )[1].hash
        for run, seed in enumerate((5, 5, 6))
    )
    assert one == again != other


@pytest.mark.parametrize("method", ["bcsam", "dorl"])
def test_training_lowers_the_loss_and_the_file_gives_the_same_vectors(
    tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(VARIANTS, "tiny", TINY)
    sam, features = tiny_sam(), FeatureConfig(input_px=64)
    cells = made_cells_of(tmp_path / "store", sam.map_shape(features))
    if method == "bcsam":
        recipe, kind = BcsamRecipe(cells, BcsamConfig(batch=12, features=features), sam.hash), BcsamEmbedder
    else:
        recipe = DorlRecipe(cells, DorlConfig(batch=12, depth=1, decoder_depth=1), sam.hash)
        kind = DorlEmbedder
    run = train(recipe, TrainConfig(epochs=3, learning_rate=3e-3, device="cpu"), tmp_path / "run")
    assert run.history[-1].losses["total"] < run.history[0].losses["total"]
    assert {"picture", "alignment"} <= set(run.history[0].losses)
    embedder = kind(sam, recipe.module.network, features, told(recipe, cells, run))
    embedder.save(tmp_path)
    loaded = kind.load(tmp_path)
    few = crops(3)
    assert np.array_equal(loaded.embed(few).values, embedder.embed(few).values)
    assert loaded.hash == embedder.hash
    assert loaded.training["protocol"] == "transductive"
    assert loaded.training["labs"] == {"a": 12, "b": 12}
    assert loaded.embed(few).values.shape == (3, 50 if method == "bcsam" else sam.dim)
    assert len(loaded.embed(crops(0))) == 0


def made_cells_of(folder: Path, shape: tuple[int, int, int]) -> TrainingCells:
    rng, store = np.random.default_rng(0), open_small(folder, shape=shape)
    labs = ["a"] * 12 + ["b"] * 12
    store.add(
        [key(i) for i in range(24)],
        rng.normal(size=(24, *shape)),
        np.full((24, 128, 128, 3), 150, np.uint8),
    )
    return arrange(store, range(24), labs, [i % 6 == 0 for i in range(24)])


def test_a_stopped_training_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    cells = made_cells(tmp_path / "store", LABS)
    loop = TrainConfig(epochs=3, learning_rate=1e-3, device="cpu")
    whole = DorlRecipe(cells, SMALL, "x")
    train(whole, loop, tmp_path / "whole")

    def stop(stage: str, done: int, total: int) -> None:
        if stage.startswith("epoch 2"):
            raise Cancelled

    train(DorlRecipe(cells, SMALL, "x"), loop, tmp_path / "parts", progress=stop)
    resumed = DorlRecipe(cells, SMALL, "x")
    train(resumed, loop, tmp_path / "parts")
    one, other = weights(whole.module), weights(resumed.module)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("method", ["bcsam", "dorl"])
def test_bf16_lowers_the_loss_as_fp32_does(tmp_path: Path, method: str) -> None:
    cells = made_cells(tmp_path / "store", LABS)
    last = {}
    for precision in ("fp32", "bf16"):
        recipe = (
            BcsamRecipe(cells, BcsamConfig(batch=12), "x")
            if method == "bcsam"
            else DorlRecipe(cells, SMALL, "x")
        )
        run = train(recipe, replace(LOOP, precision=precision), tmp_path / precision)
        last[precision] = run.history[-1].losses["total"]
    assert last["bf16"] != last["fp32"]
    assert last["bf16"] == pytest.approx(last["fp32"], rel=0.02)


def test_one_lab_alone_cannot_be_aligned(tmp_path: Path) -> None:
    cells = made_cells(tmp_path, ["a"] * 20)
    with pytest.raises(TrainingError, match=r"only 'a' has enough cells .* --alignment 0"):
        BcsamRecipe(cells, BcsamConfig(), "x")
    BcsamRecipe(cells, BcsamConfig(alignment=0), "x")


def test_a_lab_with_one_cell_is_drawn_but_not_aligned(tmp_path: Path) -> None:
    cells = made_cells(tmp_path, ["a"] * 16 + ["b"] * 16 + ["lonely"], held_out=0)
    assert cells.labs == ("a", "b")
    assert cells.domain[-1] == APART
    assert cells.counts() == {"a": 16, "b": 16, "not aligned": 1}
    assert "lonely has 1 cells to train on" in cells.notes[0]
    recipe = BcsamRecipe(cells, BcsamConfig(batch=12), "x")
    batch = next(iter(recipe.batches(0)))
    assert np.isfinite(sum(float(t.detach()) for t in recipe.module(**batch).values()))


def test_features_that_are_nan_stop_the_training_and_say_where(tmp_path: Path) -> None:
    cells = made_cells(tmp_path / "store", LABS)
    recipe = BcsamRecipe(cells, BcsamConfig(batch=12), "x")
    recipe.reader._tokens[:] = float("nan")
    with pytest.raises(TrainingError, match="at epoch 1, step 1 the loss term"):
        train(recipe, LOOP, tmp_path / "run")


def test_no_cells_are_said_so(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no cells to train on"):
        BcsamRecipe(made_cells(tmp_path, []), BcsamConfig(), "x")


def cell(domain: str) -> CellImage:
    return CellImage(Path("a.png"), "neutrophil", domain)


def test_inductive_leaves_the_target_out_and_transductive_does_not() -> None:
    cells = [cell("a"), cell("b"), cell("c")]
    seen = allowed(cells, AlignConfig(protocol="inductive", target="b"))
    assert [one.domain for one in seen] == ["a", "c"]
    assert len(allowed(cells, AlignConfig(target="b"))) == 3


def test_a_target_must_be_named_and_be_there() -> None:
    with pytest.raises(DataError, match=r"leaves the target lab out: say which.*a, b"):
        allowed([cell("a"), cell("b")], AlignConfig(protocol="inductive"))
    with pytest.raises(DataError, match="There is no lab 'z' in the data; it has a, b"):
        allowed([cell("a"), cell("b")], AlignConfig(protocol="inductive", target="z"))


def test_kinds_are_found_within_labs_and_not_between_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cells = made_cells(tmp_path, ["a"] * 30 + ["b"] * 30, held_out=0)
    kind = np.arange(60) % 2
    lab = np.repeat([0, 1], 30)
    tokens = rng.normal(size=(60, *SHAPE)) + 30 * lab[:, None, None, None]
    tokens[:, :6] += 8 * kind[:, None, None, None]
    cells.store.read_tokens = lambda rows: tokens[np.asarray(rows)].astype(np.float16)  # type: ignore[method-assign]
    share = with_kinds(cells, 2, seed=0).share
    found = share.argmax(axis=1)
    assert (found == kind).mean() in (0.0, 1.0)
    assert np.allclose(share.sum(axis=1), 1, atol=1e-5)


def test_large_sets_are_read_as_needed_and_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = made_cells(tmp_path, LABS)
    held = CellReader(cells)
    monkeypatch.setattr("napari_bloodcell.core.embed.training_cells.MEMORY_BYTES", 0)
    streamed = CellReader(cells)
    assert streamed._tokens is None
    wanted = [np.array([3, 1, 9]), np.array([0, 0])]
    for one, other in zip(held.ahead(wanted), streamed.ahead(wanted), strict=True):
        assert np.array_equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
        assert torch.equal(one[2], other[2])


def test_an_embedder_of_another_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VARIANTS, "tiny", TINY)
    SamEmbedder(tiny_sam(), FeatureConfig(input_px=32)).save(tmp_path)
    save_model(tiny_sam(seed=1).model, tmp_path / COPY)
    with pytest.raises(WeightsError, match="vectors would be noise"):
        SamEmbedder.load(tmp_path)
    with pytest.raises(ArtifactError, match=r"is an embedder of kind 'sam', not 'sam\+bcsam'"):
        BcsamEmbedder.load(tmp_path)
