"""Training on tables, as the command line and scripts do."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.cell_tables import read_cells
from napari_bloodcell.core.classify.fitting import fit
from napari_bloodcell.core.classify.selection import select
from napari_bloodcell.core.config import ClassifierConfig, ClassifierKind
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import Embeddings
from napari_bloodcell.core.taxonomy import DEFAULT, Taxonomy


def train_on_tables(  # noqa: PLR0913 (what is given, what is made, and how)
    tables: Sequence[Path],
    out: Path,
    config: ClassifierConfig,
    *,
    embedder: str = "",
    choose: bool = False,
    taxonomy: Taxonomy = DEFAULT,
    progress: Progress = silent,
) -> str:
    """Writes the classifier; returns what to tell. Cells without a class are left out, and those that are the
    only one of theirs: nothing of the class could be held out."""
    cells = read_cells(tables, embedder, taxonomy)
    rows = np.flatnonzero(cells.label != "")
    without = len(cells) - len(rows)
    lonely = _lonely(cells.label[rows])
    rows = rows[~np.isin(cells.label[rows], lonely)]
    if without == len(cells):
        raise DataError(
            "No cell of these tables has a class that a person gave: what a model said is no label. "
            "Give tables with a column class or cell_type."
        )
    vectors = Embeddings(
        cell_id=cells.embeddings.cell_id[rows],
        values=cells.embeddings.values[rows],
        names=cells.embeddings.names,
        embedder=cells.embeddings.embedder,
    )
    labels = [str(name) for name in cells.label[rows]]
    groups = None if cells.group is None else [str(name) for name in cells.group[rows]]
    labs = [str(name) for name in cells.lab[rows]]
    lines = []
    if choose:
        kinds = [replace(config, kind=kind) for kind in get_args(ClassifierKind)]
        chosen = select(vectors, labels, kinds, groups=groups, labs=labs, progress=progress)
        classifier = chosen.classifier
        lines += [f"{c.kind:<14} {score:.3f}" for c, score in zip(kinds, chosen.inner, strict=True)]
        lines.append(
            f"Chosen: {chosen.chosen.kind}. Balanced accuracy of the whole choice on cells without part in "
            f"it: {chosen.outer:.3f}"
        )
    else:
        classifier = fit(vectors, labels, config, groups=groups, labs=labs, progress=progress)
    classifier.write(out)
    lines.append(
        f"{len(rows)} cells of {', '.join(classifier.class_names)}; {without} without a class left out."
    )
    if lonely:
        lines.append(
            f"Left out, with a single cell each: {', '.join(lonely)}. Add cells to have them learnt."
        )
    lines += [*classifier.notes, f"Calibration: {classifier.calibration.basis}.", str(out)]
    return "\n".join(lines)


def _lonely(labels: NDArray[np.str_]) -> list[str]:
    """Where more than these remain; else the training says what it needs."""
    names, counts = np.unique(labels, return_counts=True)
    few = [str(name) for name in names[counts < 2]]
    return few if len(names) - len(few) > 1 else []
