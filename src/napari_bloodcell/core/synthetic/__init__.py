"""Synthetic blood films that look like photographed ones, with exact masks and classes.

The napari sample, the demo, the test data, and what the classifier that needs no weights learns from.
"""

from napari_bloodcell.core.synthetic.looks import LOOKS, Look, random_look
from napari_bloodcell.core.synthetic.scene import SyntheticCells, SyntheticSmear, make_cells, make_smear
from napari_bloodcell.core.synthetic.white import KINDS, MAIN_KINDS

__all__ = [
    "KINDS",
    "LOOKS",
    "MAIN_KINDS",
    "Look",
    "SyntheticCells",
    "SyntheticSmear",
    "make_cells",
    "make_smear",
    "random_look",
]
