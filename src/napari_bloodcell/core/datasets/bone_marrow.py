"""Bone marrow of the Munich Leukemia Laboratory: 21 codes, 11 of which are those of Matek-19, of blood."""

import re
from pathlib import Path

from napari_bloodcell.core.datasets.class_tree import MATEK, ClassTree
from napari_bloodcell.core.datasets.layout import first_image, visible_folders
from napari_bloodcell.core.taxonomy import DATASET_CODES, normalise

TREE = ClassTree(
    "bone_marrow",
    DATASET_CODES["bone_marrow"],
    # Any lab may shorten the others so.
    signs=frozenset(normalise(code) for code in DATASET_CODES["bone_marrow"])
    - {"art", "bas", "eos", "mon", "oth"},
    least_signs=2,
    foreign=frozenset({"lya", "mob", "myo", "pmb"}),
)
load = TREE.load
_FILE = re.compile(r"[A-Z]{3}_\d{5,}\.jpe?g", re.IGNORECASE)  # those of Matek-19 are BAS_0001.tiff


def recognises(root: Path) -> bool:
    """By a code that Matek-19 lacks; a choice of the codes they share, by the names of its files."""
    if not TREE.recognises(root):
        return False
    folders = visible_folders(root)
    if MATEK.foreign.intersection(normalise(folder.name) for folder in folders):
        return True
    firsts = (first_image(folder) for folder in folders)
    return any(first is not None and _FILE.fullmatch(first.name) for first in firsts)
