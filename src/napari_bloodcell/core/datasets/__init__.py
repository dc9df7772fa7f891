"""Data sets: any of the public ones, and any lab's own folders, as one list of cells.

``load_dataset(folder)`` recognises the layout; ``check(folder)`` says what is there and what was left out.
One file a layout, each with ``recognises(root)`` and ``load(root)``; ``registry`` lists them.
"""

from napari_bloodcell.core.datasets.check import CheckReport, check
from napari_bloodcell.core.datasets.doubles import contradictions
from napari_bloodcell.core.datasets.left_out import left_out
from napari_bloodcell.core.datasets.masks import read_parts
from napari_bloodcell.core.datasets.records import UNLABELLED, CellImage, Dataset, Preset, Skipped
from napari_bloodcell.core.datasets.registry import LOADERS, load_dataset
from napari_bloodcell.core.datasets.sources import DATASETS, DatasetInfo
from napari_bloodcell.core.datasets.split import Split, split_of, split_of_cell

__all__ = [
    "DATASETS",
    "LOADERS",
    "UNLABELLED",
    "CellImage",
    "CheckReport",
    "Dataset",
    "DatasetInfo",
    "Preset",
    "Skipped",
    "Split",
    "check",
    "contradictions",
    "left_out",
    "load_dataset",
    "read_parts",
    "split_of",
    "split_of_cell",
]
