"""Embeddings -> Predictions: classifiers whose files hold numbers only.

``fit`` trains one, ``Classifier.predict`` names cells, ``select`` finds the best of several. Libraries fit
them; what is kept are arrays (``heads/``), so that a file can be opened from anyone.
"""

from napari_bloodcell.core.classify.classifier import Classifier, Known
from napari_bloodcell.core.classify.fitting import fit, published
from napari_bloodcell.core.classify.heads import HEADS
from napari_bloodcell.core.classify.selection import Selection, select
from napari_bloodcell.core.parts import Registry

__all__ = ["CLASSIFIERS", "Classifier", "Known", "Selection", "fit", "published", "select"]

CLASSIFIERS = Registry(
    "classifier", dict.fromkeys(HEADS, "napari_bloodcell.core.classify.classifier:Classifier")
)
