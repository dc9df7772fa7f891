"""SADA from cells of a few labs to a bundle: trained, resumed, stopped, saved, used; and what it refuses."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sada_cells import drawn_labs, lab_cells
from torchvision.models import resnet18

from napari_bloodcell.core.artifact import write_arrays
from napari_bloodcell.core.bundle import load_bundle
from napari_bloodcell.core.bundle.of_labs import save_labs
from napari_bloodcell.core.classify.of_labs import classifier_of
from napari_bloodcell.core.config import BackboneConfig, SadaConfig, TrainConfig
from napari_bloodcell.core.datasets import Dataset
from napari_bloodcell.core.embed import EMBEDDERS
from napari_bloodcell.core.embed.sada.backbones import build
from napari_bloodcell.core.embed.sada.cells import LabCells, cut_out, leave_out, ready_to_train, shown
from napari_bloodcell.core.embed.sada.embedder import SadaEmbedder
from napari_bloodcell.core.embed.sada.fit import LabTraining, f1, train_labs
from napari_bloodcell.core.embed.sada.methods import METHODS
from napari_bloodcell.core.embed.sada.model import FILE, load_model
from napari_bloodcell.core.embed.sada.recipe import LabsRecipe
from napari_bloodcell.core.errors import (
    ArtifactError,
    Cancelled,
    ConfigError,
    DataError,
    TrainingError,
    WeightsError,
)
from napari_bloodcell.core.pipeline import analyse
from napari_bloodcell.core.records import Crops
from napari_bloodcell.core.synthetic import make_cells
from napari_bloodcell.core.training import train

SMALL = BackboneConfig(backbone="small", weights="none", size_px=32)
QUICK = SadaConfig(per_lab=4, steps_per_epoch=5, swad_converge=2, swad_tolerance=2)
LOOP = TrainConfig(epochs=6, optimizer="adam", learning_rate=1e-3, weight_decay=0.0, device="cpu")


def fit(folder: Path, config: SadaConfig = QUICK, cells: LabCells | None = None, **how: Any) -> LabTraining:
    how = {"backbone": SMALL, "training": LOOP} | how
    return train_labs(lab_cells() if cells is None else cells, folder, config, **how)


def weights_of(training: LabTraining) -> list[torch.Tensor]:
    return list(training.model.net.state_dict().values())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> LabTraining:
    """30 steps of SADA on two made-up labs; the third is left out."""
    return fit(tmp_path_factory.mktemp("sada"), leave="lab 2")


def test_thirty_steps_lower_every_loss_on_the_same_batches(tmp_path: Path) -> None:
    recipe = LabsRecipe(lab_cells(), SMALL, replace(QUICK, two_stages=False), epochs=6, seed=0)

    def losses() -> dict[str, float]:
        with torch.no_grad():
            found = [recipe.module(**batch) for batch in recipe.batches(9)]
        return {name: float(torch.stack([one[name] for one in found]).mean()) for name in found[0]}

    before = losses()
    train(recipe, replace(LOOP, learning_rate=3e-4), tmp_path)
    after = losses()
    assert set(after) == {"contrast", "alignment", "classes"}
    assert after["classes"] < before["classes"]
    assert sum(after.values()) < sum(before.values())


def test_mixed_precision_is_for_the_network_and_not_for_stains_and_losses() -> None:
    recipe = LabsRecipe(lab_cells(), SMALL, replace(QUICK, two_stages=False), epochs=2, seed=0)
    batch = next(iter(recipe.batches(0)))
    full = recipe.module(**batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = recipe.module(**batch)
    for name, term in low.items():
        assert term.dtype == torch.float32
        assert float(term.detach()) == pytest.approx(float(full[name].detach()), rel=0.05, abs=0.01)


def test_the_first_half_aligns_and_the_second_half_classifies(trained: LabTraining) -> None:
    history = trained.run.history
    first, second = history[:3], history[3:]
    assert all(set(e.losses) == {"contrast", "alignment", "total"} for e in first)
    assert all(set(e.losses) == {"classes", "total"} for e in second)
    assert all(e.figures["score"] < 0 for e in first)  # so that the best epoch can classify
    assert trained.run.best_epoch > 3


def test_nothing_is_learnt_from_the_lab_left_out(trained: LabTraining) -> None:
    assert trained.source.lab_names == trained.model.lab_names == ("lab 0", "lab 1")
    assert trained.target is not None
    assert trained.target.lab_names == ("lab 2",)
    assert len(trained.source) + len(trained.target) == len(lab_cells())
    assert trained.scores is not None
    assert set(trained.scores) == {"f1_micro", "f1_macro"}


def test_a_stopped_training_resumes_to_the_same_numbers(tmp_path: Path, trained: LabTraining) -> None:
    seen = []

    def stop(stage: str, done: int, total: int) -> None:
        seen.append(done)
        if done == 23:
            raise Cancelled

    stopped = fit(tmp_path, leave="lab 2", progress=stop)
    assert stopped.run.ended == "stopped"
    assert len(stopped.run.history) == 4
    resumed = fit(tmp_path, leave="lab 2")
    assert resumed.run.ended == "finished"
    assert [e.losses for e in resumed.run.history] == [e.losses for e in trained.run.history]
    assert all(torch.equal(a, b) for a, b in zip(weights_of(resumed), weights_of(trained), strict=True))


def test_stopping_before_there_is_a_classifier_says_so_and_keeps_what_is_done(tmp_path: Path) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if done == 8:
            raise Cancelled

    with pytest.raises(Cancelled, match="before the classifier was trained.*run it again to go on"):
        fit(tmp_path, progress=stop)
    assert (tmp_path / "last.safetensors").is_file()
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_trains_and_repeats_itself(method: str, tmp_path: Path) -> None:
    config = replace(QUICK, method=method, steps_per_epoch=2)
    loop = replace(LOOP, epochs=2)
    one = fit(tmp_path / "a", config, training=loop)
    same = fit(tmp_path / "b", config, training=loop)
    assert all(torch.equal(a, b) for a, b in zip(weights_of(one), weights_of(same), strict=True))
    other = fit(tmp_path / "c", config, training=replace(loop, seed=1))
    assert not all(torch.equal(a, b) for a, b in zip(weights_of(one), weights_of(other), strict=True))


def terms(**settings: Any) -> set[str]:
    recipe = LabsRecipe(lab_cells(), SMALL, replace(QUICK, **settings), epochs=2, seed=0)
    return set(recipe.module(**next(iter(recipe.batches(0)))))


def test_the_options_where_paper_and_code_disagree_do_what_they_say() -> None:
    assert terms() == {"contrast", "alignment"}
    assert terms(alignment=0.0) == {"contrast"}
    assert terms(two_stages=False) == {"contrast", "alignment", "classes"}
    assert terms(method="coral") == {"classes", "coral"}
    proxy, supcon = (
        LabsRecipe(lab_cells(), SMALL, replace(QUICK, contrast=kind), epochs=2, seed=0)
        for kind in ("proxy", "supcon")
    )
    batch = next(iter(proxy.batches(0)))
    assert float(proxy.module(**batch)["contrast"].detach()) != pytest.approx(
        float(supcon.module(**batch)["contrast"].detach()), rel=1e-3
    )


@pytest.mark.parametrize("freeze", [True, False])
def test_the_second_stage_trains_the_backbone_unless_it_is_frozen(freeze: bool) -> None:
    recipe = LabsRecipe(lab_cells(), SMALL, replace(QUICK, freeze_backbone=freeze), epochs=2, seed=0)
    loss = sum(recipe.module(**next(iter(recipe.batches(1)))).values())
    loss.backward()
    assert recipe.net.classifier.weight.grad is not None
    assert all((p.grad is None) == freeze for p in recipe.net.backbone.parameters())


def test_the_mean_of_the_weights_is_kept_where_it_is_asked_for(tmp_path: Path) -> None:
    config, loop = replace(QUICK, method="erm", steps_per_epoch=2), replace(LOOP, epochs=2)
    averaged = fit(tmp_path / "a", config, training=loop)
    plain = fit(tmp_path / "b", replace(config, swad=False), training=loop)
    assert (averaged.model.figures["averaged"], plain.model.figures["averaged"]) == (1, 0)
    assert not all(torch.equal(a, b) for a, b in zip(weights_of(averaged), weights_of(plain), strict=True))


def test_the_file_gives_the_same_vectors_and_classes_again(trained: LabTraining, tmp_path: Path) -> None:
    trained.model.save(tmp_path / FILE)
    again = load_model(tmp_path / FILE)
    assert again.hash == trained.model.hash
    assert again.class_names == trained.model.class_names
    for one, other in zip(
        again.run(trained.source.pixels[:3]), trained.model.run(trained.source.pixels[:3]), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    sizes = {array.dtype for array in trained.model.net.state_dict().values()}
    assert sizes == {torch.float32}
    assert (tmp_path / FILE).stat().st_size < 3e6  # 1.2 million weights at 16 bits


def crops_of_cells(cells: LabCells) -> Crops:
    n, side = len(cells), cells.pixels.shape[1]
    parts = np.zeros((n, side, side), np.uint8)
    parts[:, 8:24, 8:24] = 1
    return Crops(
        cell_id=np.arange(1, n + 1),
        pixels=cells.pixels,
        parts=parts,
        px_per_crop_px=np.ones(n),
        area_px=np.full(n, 256),
        nucleus_area_px=np.zeros(n),
        ground_rgb=np.array([230, 220, 240]),
    )


def test_it_is_an_embedder_and_a_classifier_like_any_other(trained: LabTraining, tmp_path: Path) -> None:
    embedder = SadaEmbedder(trained.model)
    assert embedder.save(tmp_path) == [FILE]
    again = EMBEDDERS["sada"].load(tmp_path)
    embeddings = again.embed(crops_of_cells(trained.source))
    assert embeddings.values.shape == (len(trained.source), 256)
    assert embeddings.embedder == embedder.hash
    predicted = classifier_of(trained).predict(embeddings)
    _, logits = trained.model.run(trained.source.pixels)
    best = [trained.model.class_names[i] for i in logits.argmax(1)]
    assert list(predicted.top(0)[0]) == best
    none = again.embed(crops_of_cells(lab_cells(counts=(0,), held_out=0)))
    assert none.values.shape == (0, 256)


def test_its_bundle_analyses_a_picture(trained: LabTraining, tmp_path: Path) -> None:
    save_labs(tmp_path / "lab", trained)
    bundle = load_bundle(tmp_path / "lab")
    assert "which was left out of the training (never seen): F1-micro" in bundle.card
    drawn = make_cells(1, seed=3, size_px=128, look="giemsa_blue")
    result = analyse(drawn.pixels[0], bundle)
    assert len(result.masks) == len(result.predictions) == 1
    assert result.embeddings.values.shape[1] == 256


def test_a_masked_cell_is_shown_alone_on_the_colour_of_its_ground() -> None:
    crops = crops_of_cells(lab_cells(counts=(4,)))
    alone = shown(crops, replace(SMALL, masked=True))
    assert (alone[:, 0, 0] == [230, 220, 240]).all()
    np.testing.assert_array_equal(alone[:, 8:24, 8:24], crops.pixels[:, 8:24, 8:24])
    np.testing.assert_array_equal(shown(crops, SMALL), crops.pixels)


def test_cells_are_cut_out_at_their_own_scale_whatever_the_size_of_their_picture(tmp_path: Path) -> None:
    cells = cut_out(drawn_labs(tmp_path / "labs"), SMALL, SadaConfig())
    assert cells.pixels.shape == (8, 32, 32, 3)
    assert cells.class_names == ("lymphocyte", "monocyte")
    assert cells.lab_names == ("north", "south")
    assert len(cells.notes) == 1
    assert "2 of 10 cells left out (blank.png the first)" in cells.notes[0]


def test_training_from_folders_is_one_call(tmp_path: Path) -> None:
    data = drawn_labs(tmp_path / "labs")
    config = replace(QUICK, method="erm", steps_per_epoch=1, held_out=0.5)
    done = fit(tmp_path / "out", config, training=replace(LOOP, epochs=1), cells=data, leave="south")
    assert (tmp_path / "out" / FILE).is_file()
    assert done.model.lab_names == ("north",)


def test_a_lab_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no labelled cells of a lab 'lab 9'. There are: lab 0, lab 1, lab 2"):
        fit(tmp_path, leave="lab 9")
    with pytest.raises(DataError, match="lab 0 is the only lab with labelled cells"):
        leave_out(lab_cells(counts=(4,)), "lab 0")


def test_a_class_of_one_lab_only_is_trained_and_told() -> None:
    cells = lab_cells()
    one_lab = replace(cells, labels=np.where((cells.labs > 0) & (cells.labels == 2), 0, cells.labels))
    ready = ready_to_train(one_lab)
    assert ready.class_names == cells.class_names
    assert any("monocyte is trained from lab 0 only" in note for note in ready.notes)


def test_a_class_whose_cells_are_all_held_out_is_left_away_and_told() -> None:
    cells = lab_cells()
    ready = ready_to_train(replace(cells, held_out=cells.held_out | (cells.labels == 1)))
    assert ready.class_names == ("eosinophil", "monocyte")
    assert any("all of their cells are held out: lymphocyte_typical" in note for note in ready.notes)


def test_cells_that_cannot_teach_are_refused_with_the_reason() -> None:
    cells = lab_cells()
    with pytest.raises(DataError, match="needs cells of two classes to train on; here is eosinophil"):
        ready_to_train(replace(cells, labels=np.zeros_like(cells.labels)))
    with pytest.raises(DataError, match="All 10 cells of lab 1 are held out.*lower held_out"):
        ready_to_train(replace(cells, held_out=cells.held_out | (cells.labs == 1)))
    with pytest.raises(DataError, match="None of 30 cells is held out.*raise held_out"):
        ready_to_train(replace(cells, held_out=np.zeros_like(cells.held_out)))
    one_lab = ready_to_train(leave_out(lab_cells(counts=(8, 8)), "lab 1")[0])
    with pytest.raises(DataError, match="CORAL compares labs, and there is one to train on: lab 0"):
        LabsRecipe(one_lab, SMALL, replace(QUICK, method="coral"), epochs=1, seed=0)
    with pytest.raises(DataError, match=r"batch of 2 cells .1 labs x per_lab = 2.*3 groups.*Raise per_lab"):
        LabsRecipe(one_lab, SMALL, replace(QUICK, per_lab=2), epochs=1, seed=0)


def test_a_lab_with_fewer_cells_than_its_share_of_a_batch_trains(tmp_path: Path) -> None:
    config = replace(QUICK, per_lab=12, steps_per_epoch=1)
    done = fit(tmp_path, config, lab_cells(counts=(8, 3)), training=replace(LOOP, epochs=2))
    assert np.isfinite(done.run.history[-1].losses["total"])


def test_identical_cells_train_without_end_or_nan(tmp_path: Path) -> None:
    cells = lab_cells()
    same = replace(cells, pixels=np.repeat(cells.pixels[:1], len(cells), axis=0))
    done = fit(tmp_path, replace(QUICK, steps_per_epoch=1), same, training=replace(LOOP, epochs=2))
    assert all(np.isfinite(e.losses["total"]) for e in done.run.history)


def test_a_loss_that_becomes_nan_ends_the_training_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="sada: at epoch 1, step . the loss term .* became nan"):
        fit(
            tmp_path,
            training=replace(LOOP, learning_rate=1.0, clip_norm=None, optimizer="adamw"),
            backbone=replace(SMALL, weights=str(broken_weights(tmp_path))),
        )
    assert not (tmp_path / FILE).exists()


def broken_weights(folder: Path) -> Path:
    from safetensors.torch import save_file

    network = build(SMALL).network
    path = folder / "nan.safetensors"
    save_file({k: torch.full_like(v, torch.nan).contiguous() for k, v in network.state_dict().items()}, path)
    return path


def test_missing_and_foreign_weights_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOODCELL_WEIGHTS", str(tmp_path / "none"))
    with pytest.raises(WeightsError, match="'resnet50' are not here.*models fetch resnet50"):
        build(BackboneConfig())
    with pytest.raises(WeightsError, match="There is no file of weights .*missing.pth. Give 'imagenet'"):
        build(BackboneConfig(weights=str(tmp_path / "missing.pth")))
    with pytest.raises(ConfigError, match="no ImageNet weights of the backbone 'small'"):
        build(BackboneConfig(backbone="small"))
    with pytest.raises(ConfigError, match="weights = 'none' has none. Use norm 'group'"):
        build(BackboneConfig(weights="none", norm="frozen"))
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "part.pth")
    with pytest.raises(WeightsError, match=r"part.pth lacks .* of the .* tensors of resnet18, 'bn1.weight'"):
        build(BackboneConfig(backbone="resnet18", weights=str(tmp_path / "part.pth")))
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(WeightsError, match=r"text.pth cannot be read as weights: it starts with b'he'"):
        build(BackboneConfig(backbone="resnet18", weights=str(tmp_path / "text.pth")))
    write_arrays(tmp_path / "other.safetensors", "embedder", {"a": np.zeros(1)}, config={"kind": "x"})
    with pytest.raises(ArtifactError, match="is an embedder of kind 'x', not 'sada'"):
        load_model(tmp_path / "other.safetensors")


def test_weights_of_torchvision_go_in_with_frozen_or_group_normalisation(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = resnet18(weights=None)
    whole.bn1.running_mean.fill_(0.5)
    torch.save(whole.state_dict(), tmp_path / "resnet18.pth")
    config = BackboneConfig(backbone="resnet18", weights=str(tmp_path / "resnet18.pth"), size_px=32)
    frozen = build(config).train()
    assert torch.equal(frozen.network.bn1.running_mean, whole.bn1.running_mean)
    pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 255
    whole.eval()
    body = torch.nn.Sequential(*list(whole.children())[:-2])
    ready = (pixels - frozen.mean) / frozen.std
    torch.testing.assert_close(frozen(pixels), body(ready), rtol=1e-4, atol=1e-4)
    assert torch.equal(frozen.network.bn1.running_mean, whole.bn1.running_mean)  # training does not move it
    group = build(replace(config, norm="group"))
    assert isinstance(group.network.bn1, torch.nn.GroupNorm)
    assert torch.equal(group.network.conv1.weight, whole.conv1.weight)


def test_our_own_encoder_is_a_backbone_too() -> None:
    nano = build(BackboneConfig(backbone="nano", weights="none", size_px=32))
    maps = nano(torch.zeros(1, 3, 32, 32))
    assert maps.shape[:2] == (1, nano.width)


def test_a_class_the_model_does_not_know_is_always_wrong() -> None:
    scores = f1(["a", "a", "b", "b"], ["a", "c", "a", "a"])
    assert scores["f1_micro"] == pytest.approx(0.25)
    assert scores["f1_macro"] == pytest.approx((2 / 5 + 0) / 2)


def test_train_sada_on_the_command_line_leaves_a_bundle_and_its_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from napari_bloodcell.cli import app

    drawn_labs(tmp_path / "labs")
    words = f"train sada --data {tmp_path}/labs --leave-out south --out {tmp_path}/out --method erm"
    words += " --backbone small --weights none --size-px 32 --per-lab 3 --steps-per-epoch 1 --held-out 0.5"
    assert app([*words.split(), "--loop.epochs", "1"], result_action="return_value") == 0
    told = capsys.readouterr().out
    assert "4 cells of south, never seen: F1-micro" in told
    assert load_bundle(tmp_path / "out" / "bundle").embedder.kind == "sada"


def test_pictures_of_the_lab_left_out_that_were_trained_on_under_another_name_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from napari_bloodcell.cli import app

    drawn_labs(tmp_path / "labs")
    shutil.rmtree(tmp_path / "labs" / "south")
    shutil.copytree(tmp_path / "labs" / "north", tmp_path / "labs" / "south")
    words = f"train sada --data {tmp_path}/labs --leave-out south --out {tmp_path}/out --method erm"
    words += " --backbone small --weights none --size-px 32 --per-lab 3 --steps-per-epoch 1 --held-out 0.5"
    assert app([*words.split(), "--loop.epochs", "1"], result_action="return_value") == 0
    told = "are the very pictures of another lab, so that this measures nothing new"
    assert told in capsys.readouterr().out
    assert told in load_bundle(tmp_path / "out" / "bundle").card


def test_missing_weights_are_said_before_cells_are_cut_out(tmp_path: Path) -> None:
    def cut(stage: str, done: int, total: int) -> None:
        raise AssertionError(f"{stage} before the weights were looked for")

    cells = Dataset(name="labs", root=tmp_path, cells=())
    backbone = BackboneConfig(weights=str(tmp_path / "nowhere.pth"))
    with pytest.raises(WeightsError, match="There is no file of weights"):
        train_labs(cells, tmp_path / "out", backbone=backbone, progress=cut)
    assert not (tmp_path / "out").exists()
