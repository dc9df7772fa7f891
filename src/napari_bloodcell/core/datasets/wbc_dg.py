"""``WBC_DG/<domain>/<class>/``, the arrangement of SADA: each domain is a plain class tree.

Its copy of Acevedo-20 keeps the file prefixes, but there the folder is the class, as in the paper.
"""

from pathlib import Path

from napari_bloodcell.core.datasets.class_tree import has_class_folders, notes_of, read_classes
from napari_bloodcell.core.datasets.layout import visible_folders
from napari_bloodcell.core.datasets.naming import Namer
from napari_bloodcell.core.datasets.records import Dataset, Preset
from napari_bloodcell.core.taxonomy import DEFAULT, Taxonomy, normalise


def recognises(root: Path) -> bool:
    named = normalise(root.name).startswith("wbc_dg")
    return named and any(has_class_folders(folder) for folder in visible_folders(root))


def load(root: Path, *, taxonomy: Taxonomy = DEFAULT, preset: Preset = "standard") -> Dataset:  # noqa: ARG001
    parts = [read_classes(folder, Namer(taxonomy), folder.name) for folder in visible_folders(root)]
    return Dataset(
        "wbc_dg",
        root,
        tuple(cell for part in parts for cell in part.cells),
        tuple(s for part in parts for s in part.skipped),
        notes_of(parts),
    )
