"""The one training loop: a method is a ``Recipe``, ``train`` runs it."""

from napari_bloodcell.core.training.checkpoint import Epoch
from napari_bloodcell.core.training.loop import TrainingRun, Watch, read_history, train
from napari_bloodcell.core.training.recipe import Batch, Recipe

__all__ = ["Batch", "Epoch", "Recipe", "TrainingRun", "Watch", "read_history", "train"]
