"""A bundle with its classifier adapted to a lab, and the way back."""

from pathlib import Path

from napari_bloodcell.core.adapt.adapting import NO_UPDATE, Adaptation
from napari_bloodcell.core.bundle import Bundle, load_bundle, save_bundle
from napari_bloodcell.core.errors import ArtifactError

CARD_TITLE = "## Adapted"


def save_adapted(folder: Path, bundle: Bundle, adaptation: Adaptation) -> Bundle:
    """A new bundle; the one it comes from is not touched, and the classifier before goes along."""
    done = {
        "lab": adaptation.lab,
        "corrected_cells": adaptation.corrected,
        "update": adaptation.kept,
        "held_out": {
            one.name: {"loss": one.loss, "accuracy": one.accuracy, "balanced_accuracy": one.balanced}
            for one in adaptation.judged
        },
        "from_bundle": bundle.hash,
    }
    history = [*bundle.provenance.get("adapted", []), done]
    card = "\n".join([bundle.card.rstrip(), "", CARD_TITLE, "", "```", adaptation.text(), "```", ""])
    save_bundle(
        folder,
        title=f"{bundle.title}; adapted to {adaptation.lab}"
        if adaptation.kept != NO_UPDATE
        else bundle.title,
        segmenter=bundle.segmenter,
        embedder=bundle.embedder,
        classifier=adaptation.classifier,
        scores=bundle.scores,
        card=card,
        stains=bundle.stains,
        provenance=bundle.provenance | {"adapted": history},
        before=adaptation.before,
    )
    return load_bundle(folder)


def undo(folder: Path) -> Bundle:
    """Put back the classifier a bundle's folder had before its last adaptation."""
    bundle = load_bundle(folder)
    if bundle.before is None:
        raise ArtifactError(f"{folder} holds no classifier from before: not adapted, or undone already.")
    history = bundle.provenance.get("adapted", [])[:-1]
    save_bundle(
        folder,
        title=bundle.title.rpartition("; adapted to ")[0] or bundle.title,
        segmenter=bundle.segmenter,
        embedder=bundle.embedder,
        classifier=bundle.before,
        scores=bundle.scores,
        card=bundle.card.rpartition(CARD_TITLE)[0] or bundle.card,
        stains=bundle.stains,
        provenance=bundle.provenance | {"adapted": history},
    )
    return load_bundle(folder)
