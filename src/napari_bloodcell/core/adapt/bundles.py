"""A bundle adapted to a lab, by its classifier and maybe by restaining the cells first; and the way back."""

from pathlib import Path

from napari_bloodcell.core.adapt.adapting import NO_UPDATE, Adaptation
from napari_bloodcell.core.bundle import Bundle, load_bundle, save_bundle
from napari_bloodcell.core.bundle.members import MANIFEST, check_free
from napari_bloodcell.core.classify import Classifier
from napari_bloodcell.core.embed import Embedder
from napari_bloodcell.core.embed.restained import RestainedEmbedder
from napari_bloodcell.core.errors import ArtifactError

CARD_TITLE = "## Adapted"
BASE = "before_adapting"  # the scores of the bundle it comes from: they are not those of the new one


def check_place(folder: Path, bundle: Bundle) -> None:
    """Before long work: an adapted model takes the place of one that was adapted from the same model, or of
    that model itself; any other stays."""
    check_free(folder)
    if not (folder / MANIFEST).is_file():
        return
    there = load_bundle(folder)
    adapted = there.provenance.get("adapted", [])
    if there.hash != bundle.hash and not (adapted and adapted[-1].get("from_bundle") == bundle.hash):
        raise ArtifactError(
            f"{folder} holds another model ({there.title}), which was not adapted from {bundle.name}. Give "
            "the new one another folder (--out)."
        )


def save_adapted(folder: Path, bundle: Bundle, adaptation: Adaptation) -> Bundle:
    """A new bundle; the one it comes from is not touched, and the classifier before goes along."""
    check_place(folder, bundle)
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
        embedder=bundle.embedder if adaptation.restained is None else adaptation.restained.embedder,
        classifier=adaptation.classifier,
        scores={BASE: bundle.scores, "held_out_corrections": done["held_out"]},
        card=card,
        stains=bundle.stains,
        provenance=bundle.provenance | {"adapted": history},
        before=adaptation.before,
    )
    return load_bundle(folder)


def _embedder_of(bundle: Bundle, classifier: Classifier) -> Embedder:
    """The one a classifier was made for: without the restaining that came with the adaptation."""
    if isinstance(bundle.embedder, RestainedEmbedder) and classifier.embedder == bundle.embedder.inside.hash:
        inside: Embedder = bundle.embedder.inside
        return inside
    return bundle.embedder


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
        embedder=_embedder_of(bundle, bundle.before),
        classifier=bundle.before,
        scores=bundle.scores.get(BASE, bundle.scores),
        card=bundle.card.rpartition(CARD_TITLE)[0] or bundle.card,
        stains=bundle.stains,
        provenance=bundle.provenance | {"adapted": history},
    )
    return load_bundle(folder)
