"""The classifier that was trained with its encoder (``embed/sada``), as any other classifier."""

import numpy as np

from napari_bloodcell.core.classify.classifier import Classifier, Known, centre_and_scale
from napari_bloodcell.core.classify.heads.linear import LinearHead
from napari_bloodcell.core.config import ClassifierConfig
from napari_bloodcell.core.embed.sada.fit import LabTraining
from napari_bloodcell.core.uncertainty.calibration import calibrate
from napari_bloodcell.core.uncertainty.cloud import cloud_of


def classifier_of(training: LabTraining) -> Classifier:
    """The linear stage, written for standardised vectors; calibrated on the cells that were held out."""
    model, cells = training.model, training.source
    vectors, logits = model.run(cells.pixels)
    trained = ~cells.held_out
    mean, scale = centre_and_scale(vectors[trained])
    weight = model.net.classifier.weight.detach().cpu().numpy()
    bias = model.net.classifier.bias.detach().cpu().numpy()
    head = LinearHead({"coefficients": (weight * scale).T.copy(), "intercept": weight @ mean + bias})
    labs = np.array(cells.lab_names, np.str_)[cells.labs[trained]]
    names = np.array(cells.class_names, np.str_)[cells.labels[trained]]
    held = int(cells.held_out.sum())
    return Classifier(
        class_names=model.class_names,
        embedder=model.hash,
        config=ClassifierConfig(kind="logistic"),
        mean=mean,
        scale=scale,
        head=head,
        cloud=cloud_of((vectors[trained] - mean) / scale, cells.labels[trained], len(cells.class_names)),
        calibration=calibrate(
            logits[cells.held_out],
            cells.labels[cells.held_out],
            basis=f"{held} held-out cells of the labs it was trained on ({', '.join(cells.lab_names)})",
        ),
        known=Known.of(vectors[trained], names, labs),
        notes=model.notes,
    )
