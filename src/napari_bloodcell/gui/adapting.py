"""What "Adapt model" of the panel Classify learns from, and asks of the core in its task."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from napari_bloodcell.core.config import AnalyseConfig
from napari_bloodcell.core.errors import BloodcellError
from napari_bloodcell.core.progress import Progress
from napari_bloodcell.core.records import UNIDENTIFIED
from napari_bloodcell.gui import classes
from napari_bloodcell.gui.classify_calls import Predicted, predict
from napari_bloodcell.gui.counted_once import counted_once
from napari_bloodcell.gui.outlines import Outlined, outlined, outlines

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.viewer import Viewer

    from napari_bloodcell.core.adapt import Adaptation


@dataclass(frozen=True, kw_only=True, eq=False)
class Looked:
    """The cells of one layer, and what a person says of some."""

    outlined: Outlined
    corrected: Mapping[int, str]


@dataclass(frozen=True, kw_only=True, eq=False)
class Adapted:
    """What a model learnt from corrections; ``folder`` is None where it stays as it is."""

    text: str
    folder: Path | None
    predicted: Sequence[Predicted]  # of each layer, in their order; none where it stays


def looked_at(chosen: "Labels", viewer: "Viewer") -> list[Looked]:
    """The chosen layer first, then the others of the window whose cells have classes, from a model or a
    person; of one picture only one, for a cell must not be judged by itself. What is wrong with the chosen
    one is told; another that cannot be read is passed over."""
    classes.check_plane(chosen)
    outlined(chosen, viewer)
    there = [one for one in outlines(viewer) if one is chosen or "cell_type" in one.features]
    found = []
    for layer in sorted(counted_once(there), key=lambda one: one is not chosen):
        try:
            classes.check_plane(layer)
            found.append(Looked(outlined=outlined(layer, viewer), corrected=_corrected(layer)))
        except BloodcellError:
            continue
    return found


def _corrected(layer: "Labels") -> dict[int, str]:
    return {
        cell: kind
        for (cell, kind, _), by in zip(classes.rows(layer), classes.is_by_person(layer), strict=True)
        if by and kind != UNIDENTIFIED
    }


def adapt(looked: Sequence[Looked], bundle: str, config: AnalyseConfig, progress: Progress) -> Adapted:
    """Update the model from a person's classes on all these layers, judged on those held out."""
    from napari_bloodcell.core.adapt import Field, adapt_to_fields
    from napari_bloodcell.core.adapt.bundles import save_adapted
    from napari_bloodcell.core.folders import cache_folder

    before = [predict(one.outlined, bundle, config, progress) for one in looked]
    model = before[0].analysis.bundle
    fields = [
        Field(
            image=said.analysis.image,
            masks=said.analysis.masks,
            cells=said.analysis.embeddings,
            corrected=one.corrected,
        )
        for one, said in zip(looked, before, strict=True)
    ]
    lab = looked[0].outlined.picture.name if len(looked) == 1 else f"{len(looked)} open fields"
    adaptation = adapt_to_fields(model, fields, crop=config.crop, lab=lab, progress=progress)
    text = said_of_adaptation(adaptation)
    if adaptation.classifier is adaptation.before:
        return Adapted(text=text, folder=None, predicted=[])
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    folder = cache_folder() / "bundles" / f"{model.name.partition('-adapted')[0]}-adapted-{stamp}"
    save_adapted(folder, model, adaptation)
    try:
        after = [predict(one.outlined, str(folder), config, progress, one.corrected) for one in looked]
    except BaseException:  # cancelled: a model that nobody was told of is none
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Adapted(text=text, folder=folder, predicted=after)


def said_of_adaptation(adaptation: "Adaptation") -> str:
    """What the command line prints as a table, a line an update: a panel's letters have no one width."""
    first, *rest = adaptation.text().splitlines()
    lines = [
        f"{one.name}: {one.accuracy:.0%} right, loss {one.loss:.3f}"
        + (", kept" if one.name == adaptation.kept else "")
        for one in adaptation.judged
    ]
    return "\n".join([first, *lines, *rest[1 + len(lines) :]])
