"""Folders of cells from a few labs -> an encoder with its classifier, for a lab not among them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_bloodcell.core.config import SADA_TRAINING, BackboneConfig, SadaConfig, TrainConfig
from napari_bloodcell.core.datasets import Dataset, load_dataset
from napari_bloodcell.core.embed.sada.cells import LabCells, cut_out, leave_out, ready_to_train, seen_before
from napari_bloodcell.core.embed.sada.kept import forget
from napari_bloodcell.core.embed.sada.model import FILE, LabModel, round_to_half
from napari_bloodcell.core.embed.sada.recipe import LabsRecipe
from napari_bloodcell.core.embed.sada.weights import NONE, file_of
from napari_bloodcell.core.errors import Cancelled, DataError
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.training import Epoch, TrainingRun, train
from napari_bloodcell.core.words import how_many


@dataclass(frozen=True, kw_only=True, eq=False)
class LabTraining:
    model: LabModel
    run: TrainingRun
    source: LabCells
    target: LabCells | None = None  # the lab left out; nothing was learnt from it
    scores: dict[str, float] | None = None  # on the target

    def how_new(self) -> str:
        """Of the cells of the lab left out."""
        same = 0 if self.target is None else seen_before(self.target, self.source)
        if not same:
            return "never seen"
        return f"of which {same} are the very pictures of another lab, so that this measures nothing new"

    def text(self) -> str:
        """What a person wants to know at the end."""
        held = int(self.source.held_out.sum())
        labs = ", ".join(self.source.lab_names)
        lines = [
            f"{self.model.config.method}: {len(self.source) - held} cells of {labs}, {held} held out",
            f"{self.run.ended} after {how_many(len(self.run.history), 'epoch')}, accuracy on held-out cells "
            f"(mean of the labs) {self.model.figures['accuracy']:.3f}",
            *self.model.notes,
            *self.run.notes,
        ]
        if self.target is not None and self.scores is not None:
            figures = f"F1-micro {self.scores['f1_micro']:.3f}, F1-macro {self.scores['f1_macro']:.3f}"
            lines.append(
                f"{len(self.target)} cells of {self.target.lab_names[0]}, {self.how_new()}: {figures}"
            )
            unknown = sorted(set(self.target.class_names) - set(self.model.class_names))
            if unknown:
                lines.append(f"Classes that no other lab has, so always wrong: {', '.join(unknown)}")
        return "\n".join(lines)


def train_labs(  # noqa: PLR0913 (each is a part of its own)
    data: Path | Dataset | LabCells,
    folder: Path,
    config: SadaConfig = SadaConfig(),
    *,
    backbone: BackboneConfig = BackboneConfig(),
    training: TrainConfig = SADA_TRAINING,
    leave: str | None = None,
    resume: bool = True,
    watch: Callable[[Epoch], None] | None = None,
    progress: Progress = silent,
) -> LabTraining:
    """Train on every lab but ``leave``, write the model into ``folder``, score it on the lab left out.

    A run found in the folder goes on. One that is stopped keeps its best epoch, once it can classify.
    """
    if backbone.weights != NONE:
        file_of(backbone)  # missing weights are said now, not after all cells are cut out
    cells = data if isinstance(data, LabCells) else _cells(data, Path(folder), backbone, config, progress)
    source, target = (cells, None) if leave is None else leave_out(cells, leave)
    source = ready_to_train(source)
    recipe = LabsRecipe(source, backbone, config, epochs=training.epochs, seed=training.seed)
    run = train(recipe, training, folder, resume=resume, watch=watch, progress=progress)
    if run.ended == "stopped" and run.best_epoch <= recipe.first_epochs:
        raise Cancelled(
            "Stopped before the classifier was trained. What was finished is kept: run it again to go on."
        )
    averaged = recipe.take_average()
    round_to_half(recipe.net)
    model = LabModel(
        net=recipe.net.eval(),
        backbone=backbone,
        config=config,
        class_names=source.class_names,
        lab_names=source.lab_names,
        figures=_figures(recipe, averaged),
        notes=source.notes,
    )
    model.save(Path(folder) / FILE)
    if run.ended != "stopped":
        forget(Path(folder))
    scores = None if target is None else score(model, target)
    return LabTraining(model=model, run=run, source=source, target=target, scores=scores)


def score(model: LabModel, cells: LabCells) -> dict[str, float]:
    """F1-micro (the accuracy) and F1-macro over the classes of these cells. A class the model does not know
    is always wrong."""
    truth, guess = guesses(model, cells)
    return f1(truth, guess)


def guesses(model: LabModel, cells: LabCells) -> tuple[list[str], list[str]]:
    """True and most probable class of each cell."""
    _, logits = model.run(cells.pixels)
    truth = [cells.class_names[i] for i in cells.labels]
    return truth, [model.class_names[i] for i in logits.argmax(1)] if truth else []


def f1(truth: list[str], guess: list[str]) -> dict[str, float]:
    from sklearn.metrics import f1_score

    if not truth:
        return {"f1_micro": float("nan"), "f1_macro": float("nan")}
    known = sorted(set(truth))
    macro = f1_score(truth, guess, labels=known, average="macro", zero_division=0)
    return {"f1_micro": float(np.mean(np.array(truth) == np.array(guess))), "f1_macro": float(macro)}


def _cells(
    data: Path | Dataset, folder: Path, backbone: BackboneConfig, config: SadaConfig, progress: Progress
) -> LabCells:
    dataset = data if isinstance(data, Dataset) else load_dataset(Path(data))
    if not len(dataset):
        raise DataError(f"There are no labelled cells in {dataset.root}.")
    return cut_out(dataset, backbone, config, folder=folder, progress=progress)


def _figures(recipe: LabsRecipe, averaged: bool) -> dict[str, float]:
    """Of the weights that are kept, on the held-out cells of the source labs."""
    import torch

    recipe.net.eval()
    recipe.stage, recipe.swad = 2, None
    with torch.no_grad():
        found = recipe.validate()
    return {"accuracy": found["accuracy"], "loss": found["loss"], "averaged": float(averaged)}
