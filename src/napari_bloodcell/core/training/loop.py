"""Trains any recipe: one loop for the adapter of Segment Anything, BC-SAM, DoRL, SADA and its baselines.

A folder holds the run: ``last.safetensors`` after each epoch (to go on), ``best.safetensors`` (to use) and
``history.json`` (to look at).
"""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from napari_bloodcell.core.artifact import check_writable, only_writer, read_json, write_json
from napari_bloodcell.core.config import TrainConfig
from napari_bloodcell.core.device import computes_bf16, is_out_of_memory
from napari_bloodcell.core.errors import Cancelled, DeviceError, TrainingError
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.training import checkpoint as files
from napari_bloodcell.core.training.checkpoint import Epoch
from napari_bloodcell.core.training.engine import Engine, open_engine
from napari_bloodcell.core.training.recipe import Batch, Recipe

Watch = Callable[[Epoch], None]


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """A finished or stopped training; the recipe's module holds the best weights."""

    folder: Path
    history: tuple[Epoch, ...]
    best_epoch: int
    figures: dict[str, float]  # of the best epoch
    ended: Literal["finished", "stopped", "patience"]
    notes: tuple[str, ...] = ()


@dataclass
class _State:
    """What changes from epoch to epoch."""

    history: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0
    best_figures: dict[str, float] = field(default_factory=dict)
    parts: int = 1  # of a batch; grows where memory is short

    @property
    def best_score(self) -> float:
        return self.best_figures.get("score", -math.inf)


def train(
    recipe: Recipe,
    config: TrainConfig,
    folder: Path,
    *,
    resume: bool = True,
    watch: Watch | None = None,
    progress: Progress = silent,
) -> TrainingRun:
    """Train, and leave the best weights in ``recipe.module`` and in ``folder``.

    A run found in ``folder`` goes on where it stopped, with the numbers it would have had. Cancelling stops
    within one batch and keeps the best epoch so far.
    """
    check_writable(folder)
    loop = _Loop(recipe, config, Path(folder), watch, progress)
    with only_writer(Path(folder)) if loop.engine.is_main else nullcontext():
        return loop.run(resume)


class _Loop:
    def __init__(
        self, recipe: Recipe, config: TrainConfig, folder: Path, watch: Watch | None, progress: Progress
    ) -> None:
        self.recipe, self.config, self.folder = recipe, config, folder
        self.watch, self.progress = watch, progress
        self.engine: Engine = open_engine(config.device)
        self.module: nn.Module = self.engine.prepare(recipe.module)
        self.trained = [p for p in recipe.module.parameters() if p.requires_grad]
        if not self.trained:
            raise TrainingError(
                f"{recipe.name}: no parameter is to be trained. Unfreeze a part of the model."
            )
        kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
        self.optimizer = kind(self.trained, lr=config.learning_rate, weight_decay=config.weight_decay)
        self.settings = files.settings_of(recipe.name, recipe.settings, config)
        self.state = _State(parts=config.accumulate)
        self.computes_low = self._wants_bf16()

    def _wants_bf16(self) -> bool:
        """By itself on a GPU that has it; on a processor where the method gains by it, or when asked."""
        device, precision = self.engine.device, self.config.precision
        gains = device.type == "cuda" or self.recipe.bf16_on_processors
        return precision == "bf16" or (precision == "auto" and gains and computes_bf16(device))

    def run(self, resume: bool) -> TrainingRun:
        if resume and (self.folder / files.LAST).is_file():
            self._resume()
        ended: Literal["finished", "stopped", "patience"] = "finished"
        for epoch in range(len(self.state.history), self.config.epochs):
            if self._out_of_patience():
                ended = "patience"
                break
            try:
                self._epoch(epoch)
            except Cancelled:
                if not self.state.best_epoch:
                    raise
                ended = "stopped"
                break
        if self.state.best_epoch:
            self._load_best()
        state = self.state
        return TrainingRun(
            folder=self.folder,
            history=tuple(state.history),
            best_epoch=state.best_epoch,
            figures=state.best_figures,
            ended=ended,
            notes=self._notes(),
        )

    def _epoch(self, epoch: int) -> None:
        """One pass, one look at the held-out cells, one checkpoint."""
        started, steps = time.monotonic(), self.recipe.steps_per_epoch
        self.module.train()
        sums: dict[str, float] = {}
        rate, seen = 0.0, 0
        for i, batch in enumerate(self.recipe.batches(epoch)):
            step, seen = epoch * steps + i, seen + 1
            rate = learning_rate(self.config, step, self.config.epochs * steps)
            terms = self._step(batch, rate, f"epoch {epoch + 1}, step {i + 1}")
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + value
            self.recipe.after_step(step)
            stage = f"epoch {epoch + 1} of {self.config.epochs}, loss {sums['total'] / seen:.4f}"
            self.progress(stage, step + 1, self.config.epochs * steps)
        if not seen:
            raise TrainingError(
                f"{self.recipe.name}: there is nothing to train on. Choose cells to train on."
            )
        losses = self.engine.mean({name: value / seen for name, value in sums.items()})
        is_last = epoch + 1 == self.config.epochs
        figures = self._validate() if is_last or (epoch + 1) % self.config.validate_every == 0 else {}
        done = Epoch(
            number=epoch + 1,
            losses=losses,
            figures=figures,
            learning_rate=rate,
            seconds=time.monotonic() - started,
        )
        self._keep(done)
        if self.watch is not None and self.engine.is_main:
            self.watch(done)

    def _step(self, batch: Batch, rate: float, where: str) -> dict[str, float]:
        """One step of the optimizer. A batch too large for the memory is taken in more parts."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        mine = self.engine.share(batch)
        cells = len(next(iter(mine.values())))
        while True:
            try:
                terms = self._gradients(mine, cells, where)
                break
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._take_more_parts(cells, error)
        if self.config.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.trained, self.config.clip_norm)
        self.optimizer.step()
        return terms

    def _gradients(self, mine: Mapping[str, Tensor], cells: int, where: str) -> dict[str, float]:
        self.optimizer.zero_grad(set_to_none=True)
        parts = min(self.state.parts, cells)
        sums: dict[str, float] = {}
        for k in range(parts):
            part = {name: tensor[k::parts] for name, tensor in mine.items()}
            share = len(next(iter(part.values()))) / cells
            with self._arithmetic():
                terms: dict[str, Tensor] = self.module(**part)
                total = torch.stack([term.float() for term in terms.values()]).sum()
            values = {name: float(term.detach()) for name, term in terms.items()}
            values["total"] = float(total.detach())
            self._check_finite(values, where)
            self.engine.backward(total * share)
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + value * share
        return sums

    def _arithmetic(self) -> AbstractContextManager[Any]:
        kind = self.engine.device.type
        return torch.autocast(kind, dtype=torch.bfloat16) if self.computes_low else nullcontext()

    def _take_more_parts(self, cells: int, error: BaseException) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        if self.state.parts >= cells:
            raise DeviceError(
                "There is not enough memory to train on a single cell at a time. Choose a smaller model or "
                "input size, close other programs, or train on device 'cpu'."
            ) from error
        self.state.parts *= 2

    def _check_finite(self, values: Mapping[str, float], where: str) -> None:
        bad = next((name for name, value in values.items() if not math.isfinite(value)), None)
        if bad is None:
            return
        best = self.state.best_epoch
        if best:
            self._load_best()
        kept = f"The best so far, epoch {best}, is kept in {self.folder}." if best else "Nothing was kept."
        raise TrainingError(
            f"{self.recipe.name}: at {where} the loss term {bad!r} became {values[bad]}. {kept} "
            "Lower the learning rate, or look for broken images, and train again."
        )

    def _validate(self) -> dict[str, float]:
        self.recipe.module.eval()
        with torch.no_grad():
            return {name: float(value) for name, value in self.recipe.validate().items()}

    def _keep(self, done: Epoch) -> None:
        state = self.state
        state.history.append(done)
        score = done.figures.get("score", math.nan)
        is_best = score > state.best_score  # false for NaN
        if is_best or (done.figures and not state.best_epoch):
            state.best_epoch, state.best_figures = done.number, done.figures
            is_best = True
        if self.engine.is_main:
            self._write(is_best)
        self.engine.wait()

    def _write(self, is_best: bool) -> None:
        state, weights = self.state, self.recipe.state()
        history = [
            asdict(e) | {"losses": files.jsonable(e.losses), "figures": files.jsonable(e.figures)}
            for e in state.history
        ]
        header = {
            "settings": self.settings,
            "history": history,
            "best_epoch": state.best_epoch,
            "parts": state.parts,
        }
        if is_best:
            files.write_state(self.folder / files.BEST, {"weights": weights}, header)
        parts = {
            "weights": weights,
            "optimizer": files.optimizer_tensors(self.optimizer),
            "extra": self.recipe.extra_state(),
        }
        files.write_state(self.folder / files.LAST, parts, header)
        write_json(self.folder / files.HISTORY, files.KIND, {"epochs": history}, config=self.settings)

    def _resume(self) -> None:
        header, parts = files.read_state(self.folder / files.LAST)
        files.check_same(self.folder, header["settings"], self.settings)
        self.recipe.load_state(self._on_device(parts.get("weights", {})))
        files.load_optimizer(self.optimizer, parts.get("optimizer", {}))
        self.recipe.load_extra_state(self._on_device(parts.get("extra", {})))
        state = self.state
        state.history = [_epoch_from(stored) for stored in header["history"]]
        state.best_epoch, state.parts = int(header["best_epoch"]), int(header["parts"])
        if state.best_epoch:
            state.best_figures = state.history[state.best_epoch - 1].figures

    def _load_best(self) -> None:
        _, parts = files.read_state(self.folder / files.BEST)
        self.recipe.load_state(self._on_device(parts["weights"]))

    def _on_device(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor.to(self.engine.device) for name, tensor in tensors.items()}

    def _out_of_patience(self) -> bool:
        state, patience = self.state, self.config.patience
        return bool(patience and state.best_epoch and len(state.history) - state.best_epoch >= patience)

    def _notes(self) -> tuple[str, ...]:
        notes = [self.engine.device_note] if self.engine.device_note else []
        if self.computes_low:
            notes.append("Steps are computed in bf16; precision fp32 is slower and exact.")
        if self.state.parts != self.config.accumulate:
            notes.append(f"Memory was short: each batch was taken in {self.state.parts} parts.")
        return tuple(notes)


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """A straight rise over the warm-up, then the schedule."""
    warmup = min(config.warmup_steps, steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "constant":
        return config.learning_rate
    way = (step - warmup) / max(steps - warmup, 1)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * way))


def read_history(folder: Path) -> tuple[Epoch, ...]:
    """The epochs of a run, finished or not; none where the folder holds no run."""
    path = Path(folder) / files.HISTORY
    if not path.is_file():
        return ()
    return tuple(_epoch_from(stored) for stored in read_json(path, files.KIND)[1]["epochs"])


def _epoch_from(stored: Mapping[str, Any]) -> Epoch:
    figures, losses = (
        {name: math.nan if value is None else float(value) for name, value in stored[part].items()}
        for part in ("figures", "losses")
    )
    return Epoch(
        number=int(stored["number"]),
        losses=losses,
        figures=figures,
        learning_rate=float(stored["learning_rate"]),
        seconds=float(stored["seconds"]),
    )
