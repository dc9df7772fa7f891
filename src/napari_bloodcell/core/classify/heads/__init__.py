"""What turns a standardised vector into one score a class. One file for each sort; ``HEADS`` lists the kinds.

A head is its arrays: fitted by a library, read and used without it. Scores go through a softmax later, after
the temperature.
"""

from napari_bloodcell.core.classify.heads.base import Head
from napari_bloodcell.core.parts import Registry

__all__ = ["HEADS", "Head"]

_HERE = "napari_bloodcell.core.classify.heads"
HEADS = Registry(
    "classifier",
    {
        "logistic": f"{_HERE}.linear:LinearHead",
        "svm_linear": f"{_HERE}.svm:SvmHead",
        "svm_poly": f"{_HERE}.svm:SvmHead",
        "svm_rbf": f"{_HERE}.svm:SvmHead",
        "random_forest": f"{_HERE}.forest:ForestHead",
        "ann": f"{_HERE}.network:NetworkHead",
        "xgboost": f"{_HERE}.boosted:BoostedHead",
    },
)
