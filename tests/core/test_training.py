"""The training loop, with a recipe small enough to follow by hand."""

import json
import math
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_bloodcell.core.artifact import LOCK, only_writer
from napari_bloodcell.core.config import TrainConfig
from napari_bloodcell.core.errors import ArtifactError, Cancelled, DeviceError, EngineError, TrainingError
from napari_bloodcell.core.training import Batch, Recipe, loop, train
from napari_bloodcell.core.training.loop import learning_rate


class Line(nn.Module):
    """y = w x + b, with a frozen part that must stay as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)
        self.fail_with: BaseException | None = None
        self.most_cells = 10**9
        self.poison_after = math.inf
        self.calls = 0

    def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        self.calls += 1
        if len(x) > self.most_cells:
            raise RuntimeError("DefaultCPUAllocator: not enough memory")
        if self.fail_with is not None:
            raise self.fail_with
        error = ((self.weight * x + self.bias - y) ** 2).mean()
        if self.calls > self.poison_after:
            error = error * math.nan
        return {"fit": error, "small": 0.01 * self.weight.square().sum()}


class LineRecipe(Recipe):
    name = "line"

    def __init__(self, cells: int = 16) -> None:
        self.module: Line = Line()
        self.steps_per_epoch = 2
        self.cells = cells
        self.steps: list[int] = []

    @property
    def settings(self) -> dict[str, Any]:
        return {"cells": self.cells}

    def batches(self, epoch: int) -> Iterable[Batch]:
        rng = np.random.default_rng([7, epoch])
        for _ in range(self.steps_per_epoch):
            x = torch.from_numpy(rng.normal(size=self.cells).astype(np.float32))
            yield {"x": x, "y": 3 * x - 1}

    def validate(self) -> dict[str, float]:
        wrong = abs(float(self.module.weight.detach()) - 3) + abs(float(self.module.bias.detach()) + 1)
        return {"score": -wrong, "wrong": wrong}

    def after_step(self, step: int) -> None:
        self.steps.append(step)

    def extra_state(self) -> dict[str, Tensor]:
        return {"steps": torch.tensor(self.steps)}

    def load_extra_state(self, state: Any) -> None:
        self.steps = state["steps"].tolist()


CONFIG = TrainConfig(epochs=6, learning_rate=0.3, device="cpu", weight_decay=0.0)


class StopAt:
    def __init__(self, step: int) -> None:
        self.step = step

    def __call__(self, stage: str, done: int, total: int) -> None:
        if done == self.step:
            raise Cancelled


def weights(recipe: LineRecipe) -> tuple[float, float]:
    return float(recipe.module.weight.detach()), float(recipe.module.bias.detach())


def test_training_finds_the_line_and_writes_what_it_saw(tmp_path: Path) -> None:
    recipe, seen = LineRecipe(), []
    config = TrainConfig(epochs=40, learning_rate=0.3, device="cpu", weight_decay=0.0)
    run = train(recipe, config, tmp_path, watch=seen.append)
    assert run.ended == "finished"
    assert len(run.history) == len(seen) == 40
    assert run.history[-1].losses["total"] < 0.1 * run.history[0].losses["total"]
    assert set(run.history[0].losses) == {"fit", "small", "total"}
    first = run.history[0].losses
    assert first["total"] == pytest.approx(first["fit"] + first["small"])
    stored = json.loads((tmp_path / "history.json").read_text())
    assert [e["losses"] for e in stored["epochs"]] == [e.losses for e in run.history]
    assert recipe.module.frozen.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("precision", "method_gains", "processor_has_it", "low"),
    [
        ("auto", True, True, True),
        ("auto", True, False, False),
        ("auto", False, True, False),
        ("fp32", True, True, False),
        ("bf16", False, False, True),
    ],
)
def test_bf16_is_taken_on_a_processor_where_the_method_gains_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: Any, method_gains: bool,
    processor_has_it: bool, low: bool,
) -> None:  # fmt: skip
    monkeypatch.setattr(loop, "computes_bf16", lambda device: processor_has_it)
    recipe = LineRecipe()
    recipe.bf16_on_processors = method_gains
    seen: list[bool] = []
    recipe.module.register_forward_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    run = train(recipe, TrainConfig(epochs=1, device="cpu", precision=precision), tmp_path)
    assert seen == [low, low]
    assert any("bf16" in note for note in run.notes) == low


def test_the_best_epoch_is_what_stays(tmp_path: Path) -> None:
    recipe = LineRecipe()
    config = TrainConfig(epochs=8, learning_rate=0.9, schedule="constant", device="cpu")
    run = train(recipe, config, tmp_path)
    scores = [e.figures["score"] for e in run.history]
    assert run.best_epoch == 1 + int(np.argmax(scores))
    assert recipe.validate()["score"] == pytest.approx(max(scores), abs=1e-6)


def test_a_stopped_run_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    whole, cut = LineRecipe(), LineRecipe()
    expected = train(whole, CONFIG, tmp_path / "whole")
    stopped = train(cut, CONFIG, tmp_path / "cut", progress=StopAt(7))
    assert stopped.ended == "stopped"
    assert len(stopped.history) == 3
    again = LineRecipe()
    run = train(again, CONFIG, tmp_path / "cut")
    assert weights(again) == weights(whole)
    assert [e.losses for e in run.history] == [e.losses for e in expected.history]
    assert again.steps == whole.steps == list(range(12))


def test_a_stop_keeps_the_best_so_far(tmp_path: Path) -> None:
    recipe = LineRecipe()
    run = train(recipe, CONFIG, tmp_path, progress=StopAt(5))
    assert recipe.validate()["score"] == pytest.approx(run.figures["score"])


def test_a_stop_before_the_first_epoch_is_a_cancel_and_leaves_no_model(tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        train(LineRecipe(), CONFIG, tmp_path, progress=StopAt(1))
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]


def test_two_trainings_do_not_write_to_one_folder(tmp_path: Path) -> None:
    with only_writer(tmp_path), pytest.raises(EngineError, match="Another run is writing to"):
        train(LineRecipe(), CONFIG, tmp_path)
    assert not (tmp_path / "last.safetensors").exists()
    assert train(LineRecipe(), CONFIG, tmp_path).ended == "finished"


def test_other_settings_do_not_go_on_in_the_same_folder(tmp_path: Path) -> None:
    train(LineRecipe(), CONFIG, tmp_path, progress=StopAt(5))
    before = (tmp_path / "last.safetensors").read_bytes()
    other = TrainConfig(epochs=6, learning_rate=0.1, device="cpu", weight_decay=0.0)
    with pytest.raises(
        TrainingError,
        match=r"loop\.learning_rate was 0\.3, now it is 0\.1.*another folder \(--out\), or delete",
    ):
        train(LineRecipe(), other, tmp_path)
    with pytest.raises(TrainingError, match=r"method\.cells was 16, now it is 8"):
        train(LineRecipe(cells=8), CONFIG, tmp_path)
    assert (tmp_path / "last.safetensors").read_bytes() == before
    assert train(LineRecipe(), other, tmp_path, resume=False).ended == "finished"


def test_a_finished_training_goes_on_to_more_epochs_as_if_begun_with_them(tmp_path: Path) -> None:
    steady = replace(CONFIG, schedule="constant")
    whole, grown = LineRecipe(), LineRecipe()
    expected = train(whole, steady, tmp_path / "whole")
    assert train(LineRecipe(), replace(steady, epochs=4), tmp_path / "grown").ended == "finished"
    run = train(grown, steady, tmp_path / "grown")
    assert [e.losses for e in run.history] == [e.losses for e in expected.history]
    assert weights(grown) == weights(whole)


def test_a_training_laid_out_over_its_epochs_says_why_it_cannot_grow(tmp_path: Path) -> None:
    train(LineRecipe(), CONFIG, tmp_path)
    with pytest.raises(TrainingError) as refused:
        train(LineRecipe(), replace(CONFIG, epochs=9), tmp_path)
    said = str(refused.value)
    assert "laid out over 6 epochs and cannot go on to 9, for its learning rate falls to zero" in said
    assert f"To begin anew, choose another folder (--out), or delete {tmp_path}." in said
    with pytest.raises(TrainingError, match=r"loop\.learning_rate was 0\.3, now it is 0\.1"):
        train(LineRecipe(), replace(CONFIG, epochs=9, learning_rate=0.1), tmp_path)


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    train(LineRecipe(), CONFIG, tmp_path)
    (tmp_path / "last.safetensors").write_bytes(b"torn")
    with pytest.raises(ArtifactError, match=r"last\.safetensors is broken"):
        train(LineRecipe(), CONFIG, tmp_path)


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good(tmp_path: Path) -> None:
    recipe = LineRecipe()
    recipe.module.poison_after = 5
    with pytest.raises(
        TrainingError, match=r"at epoch 3, step 2 the loss term 'fit' became nan.*epoch \d, is kept"
    ):
        train(recipe, CONFIG, tmp_path)
    assert all(math.isfinite(value) for value in weights(recipe))
    assert (tmp_path / "best.safetensors").is_file()


def test_parts_of_a_batch_train_as_the_whole(tmp_path: Path) -> None:
    whole, parts = LineRecipe(), LineRecipe()
    train(whole, CONFIG, tmp_path / "whole")
    in_parts = TrainConfig(epochs=6, learning_rate=0.3, device="cpu", weight_decay=0.0, accumulate=4)
    train(parts, in_parts, tmp_path / "parts")
    assert weights(parts) == pytest.approx(weights(whole), abs=1e-5)


def test_short_memory_takes_a_batch_in_more_parts_and_says_so(tmp_path: Path) -> None:
    recipe, whole = LineRecipe(), LineRecipe()
    recipe.module.most_cells = 5
    run = train(recipe, CONFIG, tmp_path / "short")
    train(whole, CONFIG, tmp_path / "whole")
    assert any("4 parts" in note for note in run.notes)
    assert weights(recipe) == pytest.approx(weights(whole), abs=1e-5)


def test_no_memory_for_one_cell_is_said(tmp_path: Path) -> None:
    recipe = LineRecipe()
    recipe.module.most_cells = 0
    with pytest.raises(DeviceError, match="single cell at a time"):
        train(recipe, CONFIG, tmp_path)


def test_other_errors_are_not_taken_for_short_memory(tmp_path: Path) -> None:
    recipe = LineRecipe()
    recipe.module.fail_with = RuntimeError("shapes do not fit")
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train(recipe, CONFIG, tmp_path)


def test_patience_ends_a_run_that_gets_no_better(tmp_path: Path) -> None:
    recipe = LineRecipe()
    recipe.validate = lambda: {"score": 1.0}  # type: ignore[method-assign]
    config = TrainConfig(epochs=50, device="cpu", patience=3)
    run = train(recipe, config, tmp_path)
    assert run.ended == "patience"
    assert len(run.history) == 4
    assert run.best_epoch == 1


def test_nothing_to_train_is_said(tmp_path: Path) -> None:
    recipe = LineRecipe()
    recipe.batches = lambda epoch: []  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match="nothing to train on"):
        train(recipe, CONFIG, tmp_path)
    frozen = LineRecipe()
    frozen.module.requires_grad_(False)
    with pytest.raises(TrainingError, match="no parameter is to be trained"):
        train(frozen, CONFIG, tmp_path)


def test_the_rate_rises_then_falls() -> None:
    config = TrainConfig(learning_rate=1.0, warmup_steps=4)
    rates = [learning_rate(config, step, 20) for step in range(20)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] == 1.0
    assert all(a > b for a, b in pairwise(rates[4:]))
    assert rates[12] == pytest.approx(0.5)
    flat = TrainConfig(learning_rate=1.0, warmup_steps=0, schedule="constant")
    assert {learning_rate(flat, step, 20) for step in range(20)} == {1.0}


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    """The same global batch, shared by two processes started the way ``accelerate launch`` does."""
    script = tmp_path / "several.py"
    script.write_text(
        "import sys, warnings\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path\n"
        "from test_training import CONFIG, LineRecipe, train\n"
        "if __name__ == '__main__':\n"
        "    train(LineRecipe(), CONFIG, Path(sys.argv[1]))\n"
    )
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    run = subprocess.run(
        [*launch, str(script), str(tmp_path / "two")], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-2000:]
    one = train(LineRecipe(), CONFIG, tmp_path / "one")
    two = json.loads((tmp_path / "two" / "history.json").read_text())["epochs"]
    for expected, found in zip(one.history, two, strict=True):
        assert found["losses"] == pytest.approx(expected.losses, rel=1e-4)
