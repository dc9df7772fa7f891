"""A model trained on several labs, as a bundle: ready for ``analyse``."""

from pathlib import Path

from napari_bloodcell.core.bundle import save_bundle
from napari_bloodcell.core.classify.of_labs import classifier_of
from napari_bloodcell.core.embed.sada.embedder import SadaEmbedder
from napari_bloodcell.core.embed.sada.fit import LabTraining
from napari_bloodcell.core.segment import Segmenter, StainSegmenter


def save_labs(folder: Path, training: LabTraining, segmenter: Segmenter | None = None) -> str:
    """Write the bundle and return its hash. Without a segmenter it has the one that needs no weights, which
    also cut out the training cells that came without outlines."""
    model = training.model
    return save_bundle(
        folder,
        title=f"{model.config.method} ({model.backbone.backbone}), trained on {', '.join(model.lab_names)}",
        segmenter=segmenter if segmenter is not None else StainSegmenter(),
        embedder=SadaEmbedder(model),
        classifier=classifier_of(training),
        scores=_scores(training),
        card=card_of(training),
        provenance={
            "method": model.config.to_json(),
            "backbone": model.backbone.to_json(),
            "labs": list(model.lab_names),
            "epochs": len(training.run.history),
        },
    )


def card_of(training: LabTraining) -> str:
    """What it is, how good, and on what that rests."""
    model, source, target = training.model, training.source, training.target
    held = int(source.held_out.sum())
    lines = [
        f"# {model.config.method} ({model.backbone.backbone})",
        "",
        "Research use only. Not for diagnosis.",
        "",
        f"Trained on {len(source) - held} cells of {', '.join(model.lab_names)}, to be used on labs that are "
        f"not among them. Classes: {', '.join(model.class_names)}.",
        "",
        "## How good",
        "",
        f"Accuracy on {held} held-out cells of the same labs, mean of the labs: "
        f"{model.figures['accuracy']:.3f}.",
    ]
    if target is not None and training.scores is not None:
        lines += [
            f"On {len(target)} cells of {target.lab_names[0]}, which was left out of the training "
            f"({training.how_new()}): F1-micro {training.scores['f1_micro']:.3f}, "
            f"F1-macro {training.scores['f1_macro']:.3f}.",
        ]
    else:
        lines += ["No lab was left out: how it does on a new lab is unknown until cells of one are checked."]
    lines += [""] + [f"- {note}" for note in model.notes]
    return "\n".join(lines).rstrip() + "\n"


def _scores(training: LabTraining) -> dict[str, float]:
    return {"held_out_accuracy": training.model.figures["accuracy"]} | dict(training.scores or {})
