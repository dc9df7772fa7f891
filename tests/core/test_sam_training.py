"""Fine-tuning on masks: cells to canvases, views, losses against slow oracles, the whole call on a tiny model."""

import dataclasses
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sam_parts import TINY, original, seeded

from napari_bloodcell.core.config import (
    ADAPTER_TRAINING,
    AdapterConfig,
    LoraConfig,
    MaskTrainConfig,
    TrainConfig,
    ViewConfig,
)
from napari_bloodcell.core.datasets import split_of
from napari_bloodcell.core.errors import Cancelled, DataError, ImageError, TrainingError, WeightsError
from napari_bloodcell.core.finetune import from_labels, read_pictures, train_adapter
from napari_bloodcell.core.finetune.adapter import RUN, AdapterRun, loop_of
from napari_bloodcell.core.finetune.memory import Memory, measure
from napari_bloodcell.core.finetune.pictures import divide
from napari_bloodcell.core.finetune.report import title_of
from napari_bloodcell.core.finetune.verdict import words
from napari_bloodcell.core.image import write_labels_ome_tiff
from napari_bloodcell.core.sam.adapter import load_adapter
from napari_bloodcell.core.sam.ground import GROUND, on_white
from napari_bloodcell.core.sam.lora import add_lora, merge_for_good
from napari_bloodcell.core.sam.model import CellSam, at_size, load_model, new_model
from napari_bloodcell.core.sam.train import losses
from napari_bloodcell.core.sam.train.cells import CANVAS_PX, CELL_PX, MaskedCells, cells_of, join
from napari_bloodcell.core.sam.train.recipe import MaskRecipe, Mix, choose_trained, iou_of, score_cells
from napari_bloodcell.core.sam.train.views import (
    plain_views,
    quarter_turns,
    random_views,
    shares_of,
)
from napari_bloodcell.core.segment.choose import find_segmenter
from napari_bloodcell.core.training import Epoch, TrainingRun, train

SMALL = MaskTrainConfig(size_px=32, batch=4, steps_per_epoch=2)
QUICK = TrainConfig(epochs=2, learning_rate=1e-3, device="cpu")
GROUND_RGB, PLASM_RGB, NUCLEUS_RGB = (230, 220, 200), (170, 180, 215), (90, 60, 140)


def disc(side: int, x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:side, :side] + 0.5
    return np.hypot(columns - x, rows - y) < radius


def drawn(seed: int = 0, side: int = 60, cells: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A picture of discs with a nucleus each, its labels and its nuclei."""
    rng = np.random.default_rng(seed)
    pixels = np.full((side, side * cells, 3), GROUND_RGB, np.uint8)
    labels, nucleus = np.zeros(pixels.shape[:2], np.int32), np.zeros(pixels.shape[:2], np.uint8)
    for i in range(cells):
        x, y, radius = (
            side * (i + 0.5) + rng.uniform(-3, 3),
            side / 2 + rng.uniform(-3, 3),
            rng.uniform(12, 18),
        )
        plasm = np.pad(np.zeros((side, side * cells)), 0)
        rows, columns = np.mgrid[: pixels.shape[0], : pixels.shape[1]] + 0.5
        far = np.hypot(columns - x, rows - y)
        plasm, core = far < radius, far < 0.55 * radius
        pixels[plasm], pixels[core] = PLASM_RGB, NUCLEUS_RGB
        labels[plasm], nucleus[core] = i + 1, 1
    return pixels, labels, nucleus


def some_cells(count: int = 6, source: str = "lab") -> MaskedCells:
    return join(cells_of(*drawn(i), name=f"{i}.png", source=source) for i in range(count))


def tiny_model(channels: int = 3) -> CellSam:
    return new_model("tiny", channels=channels)


def tensors(cells: MaskedCells) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(cells.pixels.copy()).permute(0, 3, 1, 2), torch.from_numpy(cells.parts.copy())


def write_folder(root: Path, count: int = 12) -> Path:
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for i in range(count):
        pixels, labels, nucleus = drawn(i)
        Image.fromarray(pixels).save(root / "images" / f"c{i}.png")
        parts = np.where(nucleus > 0, 2, labels > 0).astype(np.uint8)
        Image.fromarray(parts).save(root / "masks" / f"c{i}.png")
    return root


# ---- pictures and masks -> canvases


def test_a_canvas_shows_its_cell_in_the_middle_at_the_agreed_size() -> None:
    pixels, labels, nucleus = drawn(3, cells=2)
    cells = cells_of(pixels, labels, nucleus, name="p", source="lab")
    assert cells.names == ("p:1", "p:2")
    for parts in cells.parts:
        rows, columns = np.nonzero(parts)
        assert abs(max(np.ptp(rows), np.ptp(columns)) + 1 - CELL_PX) <= 3
        assert abs((rows.min() + rows.max() + 1) / 2 - CANVAS_PX / 2) <= 2
        assert parts[CANVAS_PX // 2, CANVAS_PX // 2] == 2
    assert (cells.parts > 0).mean() < 0.2  # the neighbour is ground


def test_the_ground_becomes_white_whatever_the_lamp() -> None:
    cells = some_cells(1)
    assert np.abs(cells.pixels[0, 2, 2].astype(int) - GROUND).max() <= 1
    pixels = np.array([[GROUND_RGB, NUCLEUS_RGB]], np.uint8)
    light = np.array(GROUND_RGB, np.float32)
    wanted = np.round(np.array(NUCLEUS_RGB) * GROUND / light)
    np.testing.assert_array_equal(on_white(pixels, light)[0, 1], wanted)
    np.testing.assert_array_equal(on_white(pixels, np.zeros(3, np.float32)), pixels)  # a closed shutter


def test_an_empty_mask_is_named() -> None:
    pixels, labels, nucleus = drawn()
    with pytest.raises(DataError, match=r"The mask of a\.png is empty: no cell of at least 8 px"):
        cells_of(pixels, labels * 0, nucleus, name="a.png", source="lab")


def test_a_mask_of_another_size_is_named_with_both_sizes() -> None:
    pixels, labels, nucleus = drawn()
    with pytest.raises(DataError, match=r"The mask of a\.png is 50 x 60 px, its picture 60 x 60 px"):
        cells_of(pixels, labels[:, :50], nucleus, name="a.png", source="lab")
    with pytest.raises(DataError, match=r"The nucleus mask of a\.png is 60 x 40 px"):
        cells_of(pixels, labels, nucleus[:40], name="a.png", source="lab")


@pytest.mark.parametrize("value", [0.5, np.nan])
def test_a_mask_of_fractions_is_refused(value: float) -> None:
    pixels, labels, nucleus = drawn()
    soft = labels.astype(np.float32)
    cells_of(pixels, soft, nucleus, name="a.png", source="lab")
    soft[0, 0] = value
    with pytest.raises(DataError, match=r"The mask of a\.png holds fractions or NaN"):
        cells_of(pixels, soft, nucleus, name="a.png", source="lab")


# ---- folders


def test_a_folder_of_pictures_and_masks_is_read_in_every_code(tmp_path: Path) -> None:
    pixels, labels, nucleus = drawn(1, cells=2)
    parts = np.where(nucleus > 0, 2, labels > 0).astype(np.uint8)
    codes = {"parts": parts, "grey": parts * 128 - (parts == 2), "whole": (parts > 0) * np.uint8(255)}
    codes["counted"] = labels.astype(np.uint8) * 7
    for name, mask in codes.items():
        root = tmp_path / name
        for part, array in (("images", pixels), ("masks", mask), ("nuclei", nucleus * 255)):
            if part == "nuclei" and name != "counted":
                continue
            (root / part).mkdir(parents=True)
            Image.fromarray(array).save(root / part / "a.png")
        (picture,) = read_pictures(root)
        assert len(picture.cells) == 2, name
        assert (picture.cells.parts == 2).any() == (name != "whole"), name


def test_labels_saved_as_ome_tiff_belong_to_the_picture_of_their_name(tmp_path: Path) -> None:
    labels = np.zeros((40, 40), np.int32)
    labels[5:15, 5:15], labels[20:30, 20:30], labels[5:15, 25:35] = 1, 2, 3
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    Image.fromarray(np.full((40, 40, 3), 200, np.uint8)).save(tmp_path / "images" / "a.png")
    write_labels_ome_tiff(tmp_path / "masks" / "a.ome.tif", labels, 0.1)  # as File > Save does
    (picture,) = read_pictures(tmp_path)
    assert len(picture.cells) == 3


def test_masks_without_their_pictures_are_counted(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "f", 3)
    for path in (root / "masks").iterdir():
        path.rename(path.with_name(f"m{path.name}"))
    with pytest.raises(DataError, match="holds 3 images and 3 masks, and no two of one name"):
        read_pictures(root)


def test_a_mask_in_colour_is_refused(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "f", 1)
    Image.fromarray(drawn()[0]).save(root / "masks" / "c0.png")
    with pytest.raises(ImageError, match=r"The mask .*c0\.png has shape \(60, 60, 3\)"):
        read_pictures(root)


def test_pictures_of_one_key_never_sit_on_both_sides() -> None:
    pictures = [from_labels(*drawn(i, cells=2), name=f"{i}.png") for i in range(12)]
    train_cells, held_out, note = divide(pictures, 0.3)
    assert note == ""
    sides = [{name.split(":")[0] for name in cells.names} for cells in (train_cells, held_out)]
    assert not sides[0] & sides[1]
    assert all(split_of(name, 0.3) == "held_out" for name in sides[1])


def test_one_picture_is_divided_by_its_cells_and_that_is_said() -> None:
    picture = from_labels(*drawn(0, cells=9), name="one.png")
    train_cells, held_out, note = divide([picture], 0.3)
    assert len(train_cells) + len(held_out) == 9
    assert "not of new ones" in note
    with pytest.raises(DataError, match="1 cell of 1 picture are too few to hold 30% of them out"):
        divide([from_labels(*drawn(0), name="one.png")], 0.3)


# ---- views


def test_labels_follow_the_picture_through_every_turn() -> None:
    cells = some_cells(4)
    config = ViewConfig(stain=0, camera=0, paste=0)
    generator = torch.Generator().manual_seed(1)
    for seen, labels in (
        random_views(*tensors(cells), 64, config, generator),
        quarter_turns(*tensors(cells), 64, generator),
        plain_views(*tensors(cells), 64),
    ):
        dark = seen[:, 0] < (GROUND / GROUND_RGB[0]) * (PLASM_RGB[0] + GROUND_RGB[0]) / 2
        assert iou_of(dark.numpy(), (labels > 0).numpy()).min() > 0.93


def test_views_are_decided_by_the_generator_alone() -> None:
    cells = tensors(some_cells(3))
    around = torch.full((1, 3, CANVAS_PX, CANVAS_PX), 120, dtype=torch.uint8)
    config = ViewConfig(paste=1)

    def views(seed: int) -> torch.Tensor:
        return random_views(*cells, 32, config, torch.Generator().manual_seed(seed), around)[0]

    before = torch.random.get_rng_state()
    assert torch.equal(views(5), views(5))
    assert not torch.equal(views(5), views(6))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_surroundings_are_laid_around_the_cell_and_not_on_it() -> None:
    cells = some_cells(2)
    around = torch.full((1, 3, CANVAS_PX, CANVAS_PX), 120, dtype=torch.uint8)
    plain = ViewConfig(
        stain=0, camera=0, paste=0, turn=0, shift=0, stretch=0, flip=False, zoom_low=1.8, zoom_high=1.8
    )
    seen, labels = random_views(*tensors(cells), 64, plain, torch.Generator().manual_seed(0))
    laid, _ = random_views(
        *tensors(cells), 64, dataclasses.replace(plain, paste=1), torch.Generator().manual_seed(0), around
    )
    core = (labels == 2)[:, None].expand_as(seen)
    assert torch.allclose(laid[core], seen[core], atol=0.01)
    assert torch.allclose(laid[:, :, 0, 0], seen[:, :, 0, 0] * 120 / GROUND, atol=0.01)


def test_a_changed_stain_leaves_empty_ground_light_and_bytes_in_range() -> None:
    blank = torch.full((16, 3, 32, 32), GROUND)
    parts = torch.zeros(16, CANVAS_PX, CANVAS_PX, dtype=torch.uint8)
    canvas = torch.full((16, 3, CANVAS_PX, CANVAS_PX), int(GROUND), dtype=torch.uint8)
    seen, _ = random_views(canvas, parts, 32, ViewConfig(camera=0), torch.Generator().manual_seed(0))
    assert seen.shape == blank.shape
    assert seen.min() >= 0
    assert seen.max() <= 255
    assert (seen - blank).abs().mean() < 12


def test_shares_say_how_much_of_each_coarse_pixel_a_part_covers() -> None:
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, 3, (2, 8, 12)).astype(np.uint8))
    for channels in (2, 3):
        found = shares_of(labels, channels).numpy()
        for n, c, y, x in np.ndindex(found.shape):
            block = labels[n, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4].numpy().clip(0, channels - 1)
            assert found[n, c, y, x] == pytest.approx((block == c).mean())


# ---- losses


def slow_dice(p: np.ndarray, t: np.ndarray, smooth: float) -> float:
    both = sum(float(a) * float(b) for a, b in zip(p.ravel(), t.ravel(), strict=True))
    squares = sum(float(a) ** 2 + float(b) ** 2 for a, b in zip(p.ravel(), t.ravel(), strict=True))
    return (2 * both + smooth) / (squares + smooth)


@pytest.mark.parametrize("channels", [2, 3])
def test_losses_are_those_of_a_slow_oracle(channels: int) -> None:
    logits = seeded((2, channels, 4, 4), 1, 2.0)
    shares = seeded((2, channels, 4, 4), 2).softmax(1)
    z, t = logits.double().numpy(), shares.double().numpy()
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    assert float(losses.soft_cross_entropy(logits, shares)) == pytest.approx(
        -(t * np.log(p)).sum(1).mean(), rel=1e-5
    )
    per_channel = [slow_dice(p[:, c], t[:, c], losses.CLOSENESS) for c in range(channels)]
    assert float(losses.dice_of_batch(logits, shares)) == pytest.approx(1 - np.mean(per_channel), rel=1e-5)
    images = []
    for n in range(2):
        cell = slow_dice(1 - p[n, 0], 1 - t[n, 0], losses.SMOOTH)
        images.append(cell if channels == 2 else (cell + slow_dice(p[n, 2], t[n, 2], losses.SMOOTH)) / 2)
    assert float(losses.dice_per_image(logits, shares)) == pytest.approx(1 - np.mean(images), rel=1e-5)


def test_a_perfect_answer_costs_next_to_nothing_and_an_absent_nucleus_no_loss() -> None:
    labels = torch.zeros(1, 32, 32, dtype=torch.uint8)
    labels[:, 8:24, 8:24] = 1
    shares = shares_of(labels, 3)
    assert float(losses.dice_per_image(shares * 40 - 20, shares)) < 1e-3
    guess = torch.ones(1, 3)
    assert float(losses.quality_error(guess, shares * 40 - 20, shares)) < 1e-6


def test_iou_of_nothing_found_where_nothing_is_is_one() -> None:
    nothing, square = np.zeros((1, 4, 4), bool), np.zeros((1, 4, 4), bool)
    square[:, :2, :2] = True
    assert iou_of(nothing, nothing)[0] == 1
    assert iou_of(nothing, square)[0] == 0
    assert iou_of(square, np.roll(square, 1, axis=2))[0] == pytest.approx(1 / 3)


# ---- recipe and loop


@pytest.mark.usefixtures("tiny")
def test_an_epoch_gives_the_same_batches_each_time_and_others_than_the_next() -> None:
    cells = some_cells()
    recipe = MaskRecipe(tiny_model(), cells, cells, SMALL, seed=3)
    once, again, later = (list(recipe.batches(epoch)) for epoch in (1, 1, 2))
    assert len(once) == 2
    for a, b in zip(once, again, strict=True):
        assert torch.equal(a["pixels"], b["pixels"])
        assert torch.equal(a["shares"], b["shares"])
    assert not torch.equal(once[0]["pixels"], later[0]["pixels"])


@pytest.mark.usefixtures("tiny")
def test_sources_are_seen_in_the_shares_asked_for() -> None:
    cells = join([some_cells(2, "few"), some_cells(10, "many")])
    mix = Mix(shares={"few": 0.8, "many": 0.2})
    config = dataclasses.replace(SMALL, batch=50, steps_per_epoch=4)
    rows = MaskRecipe(tiny_model(), cells, cells, config, mix=mix)._rows(torch.Generator().manual_seed(0))
    assert np.mean(rows < 2) == pytest.approx(0.8, abs=0.1)
    every = MaskRecipe(tiny_model(), cells, cells, dataclasses.replace(SMALL, batch=4, steps_per_epoch=3))
    assert sorted(every._rows(torch.Generator().manual_seed(0))[:12]) == list(range(12))


@pytest.mark.usefixtures("tiny")
def test_the_published_recipe_has_its_two_weighted_terms() -> None:
    cells = some_cells(4)
    config = dataclasses.replace(SMALL, preset="published", channels=2)
    recipe = MaskRecipe(tiny_model(2), cells, cells, config)
    batch = next(iter(recipe.batches(0)))
    with torch.no_grad():
        terms = recipe.module(**batch)
        logits, _ = recipe.model(batch["pixels"])
    assert set(terms) == {"ce", "dice"}
    assert terms["ce"].item() == pytest.approx(
        0.2 * losses.soft_cross_entropy(logits, batch["shares"]).item(), rel=1e-4
    )
    assert terms["dice"].item() == pytest.approx(
        0.8 * losses.dice_of_batch(logits, batch["shares"]).item(), rel=1e-4
    )
    loop = loop_of(config, ADAPTER_TRAINING, 320)
    assert (loop.learning_rate, loop.weight_decay, loop.epochs, loop.warmup_steps) == (1e-4, 0.1, 150, 20)
    assert loop_of(config, replace(ADAPTER_TRAINING, epochs=3), 320) == replace(loop, epochs=3)
    assert loop_of(replace(config, preset="better"), QUICK, 320) == QUICK


@pytest.mark.usefixtures("tiny")
def test_what_does_not_fit_together_is_refused_before_the_start() -> None:
    cells = some_cells(2)
    with pytest.raises(TrainingError, match="The model has 2 channels, 3 are to be trained"):
        MaskRecipe(tiny_model(2), cells, cells, SMALL)
    with pytest.raises(DataError, match="No cell is held out"):
        MaskRecipe(tiny_model(), cells, cells.take([]), SMALL)
    bare = dataclasses.replace(cells, parts=np.minimum(cells.parts, 1))
    with pytest.raises(DataError, match="No nucleus is marked in any mask"):
        MaskRecipe(tiny_model(), bare, bare, SMALL)
    with pytest.raises(WeightsError, match="Input size 33 px is not accepted"):
        MaskRecipe(tiny_model(), cells, cells, dataclasses.replace(SMALL, size_px=33))


@pytest.mark.usefixtures("tiny")
def test_a_resumed_training_ends_with_the_very_same_weights(tmp_path: Path) -> None:
    cells = some_cells(4)

    def recipe() -> MaskRecipe:
        model = tiny_model()
        choose_trained(model)
        return MaskRecipe(model, cells, cells, SMALL, seed=1)

    def stop_after_one(stage: str, done: int, total: int) -> None:
        if done > SMALL.steps_per_epoch:
            raise Cancelled

    whole = recipe()
    train(whole, QUICK, tmp_path / "whole")
    assert train(recipe(), QUICK, tmp_path / "cut", progress=stop_after_one).ended == "stopped"
    resumed = recipe()
    train(resumed, QUICK, tmp_path / "cut")
    for name, tensor in whole.state().items():
        assert torch.equal(tensor, resumed.state()[name]), name


@pytest.mark.usefixtures("tiny")
def test_a_loss_that_is_no_number_stops_with_the_term_and_the_step(tmp_path: Path) -> None:
    cells, model = some_cells(4), tiny_model()
    choose_trained(model)
    with torch.no_grad():
        model.cells.mask_decoder.mask_tokens.weight[0, 0] = math.nan
    with pytest.raises(TrainingError, match="masks: at epoch 1, step 1 the loss term 'ce' became nan"):
        train(MaskRecipe(model, cells, cells, SMALL), QUICK, tmp_path)


@pytest.mark.usefixtures("tiny")
def test_training_lowers_the_loss_and_leaves_the_base_alone(tmp_path: Path) -> None:
    cells, model = some_cells(8), tiny_model()
    add_lora(model, LoraConfig())
    choose_trained(model)
    frozen = model.image_encoder.blocks[0].mlp.lin1.weight.clone()
    config = dataclasses.replace(SMALL, batch=8, steps_per_epoch=4)
    loop = dataclasses.replace(QUICK, epochs=2, learning_rate=3e-3)
    run = train(MaskRecipe(model, cells, cells, config), loop, tmp_path)
    assert run.history[-1].losses["total"] < run.history[0].losses["total"]
    assert torch.equal(model.image_encoder.blocks[0].mlp.lin1.weight, frozen)


# ---- memory


def test_a_batch_is_parted_until_it_fits() -> None:
    memory = Memory(fixed_bytes=100, cell_bytes=10)
    assert memory.of(4) == 140
    assert memory.parts(batch=8, free_bytes=1000) == 1
    assert memory.parts(batch=8, free_bytes=175) == 2  # 0.8 * 175 - 100 = 40: 4 cells
    assert memory.parts(batch=8, free_bytes=10) == 8  # no room at all: one by one, and let it try
    assert "taken in 2 parts" in memory.text(8, 2)


@pytest.mark.usefixtures("tiny")
def test_larger_inputs_are_measured_to_need_more() -> None:
    cells, model = some_cells(4), tiny_model()
    add_lora(model, LoraConfig())
    small, large = (
        measure(MaskRecipe(model, cells, cells, dataclasses.replace(SMALL, size_px=size)))
        for size in (32, 128)
    )
    weights = sum(p.numel() * 4 for p in model.parameters())
    assert weights < small.fixed_bytes < 2 * weights + 4 * weights
    assert large.cell_bytes > 2 * small.cell_bytes


# ---- the whole call


def tiny_checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.pth"
    torch.save(original(TINY).state_dict(), path)
    return path


CONFIG = AdapterConfig(masks=dataclasses.replace(SMALL, held_out=0.3), lora=LoraConfig(rank=2))


@pytest.mark.usefixtures("tiny")
def test_pictures_go_in_and_a_scored_adapter_with_its_report_comes_out(tmp_path: Path) -> None:
    base, folder, out = tiny_checkpoint(tmp_path), write_folder(tmp_path / "data"), tmp_path / "out"
    done = train_adapter([folder], base, out, CONFIG, QUICK)
    assert sum(done.cells) == 12
    assert done.training.ended == "finished"
    model = load_model(base)
    info = load_adapter(model, out)
    assert (info.size_px, info.lora.rank, info.sha256) == (32, 2, done.sha256)
    assert info.scores["cell_iou"] == pytest.approx(done.after["cell_iou"].mean())
    assert (info.data["sources"], info.data["cells"]) == (["data"], done.cells[0])
    report = json.loads((out / "report.json").read_text())
    assert len(report["cells"]) == done.cells[1]
    assert report["verdict"] == words(done.before, done.after) != []
    assert report["summary"]["cell_iou"]["before"]["mean"] == pytest.approx(done.before["cell_iou"].mean())
    with Image.open(out / "report.png") as picture:
        assert picture.size[0] > 1000
    merge_for_good(model)
    held_out = divide(read_pictures(folder), 0.3)[1]
    np.testing.assert_allclose(
        score_cells(model, held_out, 32)["cell_iou"], done.after["cell_iou"], atol=0.02
    )
    assert find_segmenter(base, out).config.size_px == 32  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("cells", "nucleus", "said"),
    [
        (1, 0.92, ["none better than the start", "No better than before", "rest on 1 held-out cell, which"]),
        (19, 0.97, ["best 1", "rest on 19 held-out cells, which proves little"]),
        (20, 0.95, ["none better than the start", "No better than before"]),
        (20, 0.97, ["best 1"]),
    ],
)
def test_an_adapter_that_is_no_better_is_called_so_with_the_cells_it_was_tried_on(
    tmp_path: Path, cells: int, nucleus: float, said: list[str]
) -> None:
    before = {"cell_iou": np.full(cells, 0.98), "nucleus_iou": np.full(cells, 0.95)}
    after = {"cell_iou": np.full(cells, 0.98), "nucleus_iou": np.full(cells, nucleus)}
    epoch = Epoch(number=1, losses={"total": 1.0}, figures={"score": 0.9}, learning_rate=0.1, seconds=1.0)
    run = TrainingRun(
        folder=tmp_path, history=(epoch,), best_epoch=1, figures=epoch.figures, ended="finished"
    )
    done = AdapterRun(
        folder=tmp_path, sha256="", training=run, before=before, after=after, cells=(9, cells), notes=()
    )
    told = "cell IoU 0.9800 before, 0.9800 after", f"nucleus IoU 0.9500 before, {nucleus:.4f} after"
    for place in (done.text(), "\n".join(title_of((before, after)))):
        assert all(one in place for one in told)
        held = [word for word in ("No better than before", "which proves little") if word in place]
        assert len(held) == sum("better than before" in one or "rest on" in one for one in said)
    assert all(word in done.text() for word in said)


@pytest.mark.usefixtures("tiny")
def test_labels_drawn_in_the_viewer_train_like_files(tmp_path: Path) -> None:
    picture = from_labels(*drawn(0, cells=8), name="layer")
    done = train_adapter([picture], tiny_checkpoint(tmp_path), tmp_path / "out", CONFIG, QUICK)
    assert sum(done.cells) == 8
    assert any("not of new ones" in note for note in done.notes)


@pytest.mark.usefixtures("tiny")
def test_a_cancel_keeps_the_best_as_an_adapter_and_before_that_leaves_none(tmp_path: Path) -> None:
    base, folder = tiny_checkpoint(tmp_path), write_folder(tmp_path / "data")

    def stop_at(step: int):
        def progress(stage: str, done: int, total: int) -> None:
            if stage.startswith("epoch") and done >= step:
                raise Cancelled

        return progress

    with pytest.raises(Cancelled):
        train_adapter([folder], base, tmp_path / "early", CONFIG, QUICK, progress=stop_at(1))
    assert not (tmp_path / "early" / "adapter.json").exists()
    late = train_adapter([folder], base, tmp_path / "late", CONFIG, QUICK, progress=stop_at(3))
    assert (late.training.ended, len(late.training.history)) == ("stopped", 1)
    load_adapter(load_model(base), tmp_path / "late")
    again = train_adapter([folder], base, tmp_path / "late", CONFIG, QUICK)
    assert (again.training.ended, len(again.training.history)) == ("finished", 2)
    assert (tmp_path / "late" / RUN / "history.json").exists()


# ---- a model for its own size


def test_a_model_made_for_another_size_answers_there_as_before() -> None:
    model = new_model("nano", seed=2)
    smaller = at_size(model, 96)
    assert (smaller.variant.native_px, smaller.image_encoder.pos_embed.shape[1]) == (96, 6)
    pixels = torch.randint(0, 256, (1, 3, 96, 96), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(smaller(pixels)[0], model(pixels)[0], atol=1e-4)


def test_the_detail_of_the_stem_reaches_the_cell_head() -> None:
    model = new_model("nano", seed=2)
    pixels = torch.randint(0, 256, (1, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before = model(pixels)[0]
        model.cells.eighth.weight.zero_()
        model.cells.eighth.bias.zero_()
        assert not torch.allclose(model(pixels)[0], before)
        assert model.embed(pixels).shape == (1, 128, 4, 4)
