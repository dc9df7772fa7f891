"""Comparing methods across labs."""

from dataclasses import dataclass
from typing import Annotated, Literal

from napari_bloodcell.core.config.base import Config, Knob

ProtocolName = Literal["cross-domain", "leave-one-lab-out", "few-shot"]


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Config):
    """How methods are compared."""

    protocol: Annotated[ProtocolName, Knob("Protocol")] = "cross-domain"
    """cross-domain: trained on one lab, in folds, and tried on its held-out fold and on every other lab.
    leave-one-lab-out: trained on all labs but one, tried on that one. few-shot: as before, with a few
    corrected cells of the lab left out."""
    level: Annotated[Literal["auto", "fine", "coarse"], Knob("Classes")] = "auto"
    """Fine classes, or the coarse ones they belong to. auto: fine, unless some lab names only coarse ones."""
    preset: Annotated[Literal["standard", "reproduction"], Knob("Data preset")] = "standard"
    """reproduction reads the sets as the published systems did (MOB as monocytes, SYSU3H as fine classes)."""
    settings: Annotated[Literal["ours", "published"], Knob("Classifier settings")] = "ours"
    """ours: classes weighted to count the same, probabilities calibrated. published: as in the papers."""
    segmenter: Annotated[Literal["stain", "nano"], Knob("Outlines")] = "stain"
    """What outlines the cells of sets without masks. stain: needs no network. nano: as the model that ships,
    and a bundle built from it, do."""
    folds: Annotated[int, Knob("Folds", low=2, high=50)] = 5
    """Folds of the lab trained on (cross-domain). Fewer where a lab has too few cells; the report says so."""
    shots: Annotated[tuple[int, ...], Knob("Corrected cells")] = (0, 5, 10, 25, 50, 100)
    """How many cells of the lab left out are corrected first (few-shot)."""
    repeats: Annotated[int, Knob("Repeats", low=1, high=1_000)] = 10
    """Draws of the corrected cells (few-shot)."""
    bootstrap: Annotated[int, Knob("Bootstrap samples", low=100, high=100_000)] = 1_000
    """Resamples of cells, or of patients and slides where known, behind each interval."""
    confidence: Annotated[float, Knob("Confidence", low=0.5, high=0.999)] = 0.95
    """Confidence of the intervals."""
    seed: Annotated[int, Knob("Seed", low=0, high=2_147_483_647)] = 1234
    """Of folds, draws and classifiers. 1234 as published."""
    epochs: Annotated[int | None, Knob("Epochs", low=1, high=100_000)] = None
    """Of the embeddings that are trained here (sam+bcsam, sam+dorl, sada). Empty: as published."""
    workers: Annotated[int, Knob("Processes", low=1, high=1_024)] = 1
    """Processes that fit classifiers side by side."""
