"""What a reader of the table must know of its cells and methods, in sentences."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.bundle import load_bundle
from napari_bloodcell.core.config.evaluate import EvaluateConfig
from napari_bloodcell.core.evaluate.cells import CellTable
from napari_bloodcell.core.evaluate.features import Features
from napari_bloodcell.core.evaluate.learned import LEARNED
from napari_bloodcell.core.evaluate.methods import Method
from napari_bloodcell.core.evaluate.scores import Score
from napari_bloodcell.core.evaluate.table import column_name
from napari_bloodcell.core.taxonomy import DEFAULT
from napari_bloodcell.core.words import how_many


def not_found(table: CellTable, methods: Mapping[str, Method], features: Mapping[str, Features]) -> list[str]:
    """By the outlines that all fitted methods share, and by those of each bundle as it is. ``methods``: one
    that uses each of the features."""
    lost: dict[str, NDArray[np.bool_]] = {}
    for name, one in features.items():
        by = f" by {methods[name].name}" if methods[name].frozen else ""
        lost[by] = lost.get(by, np.zeros(len(table), bool)) | ~one.found
    return [
        f"{how_many(count, 'cell')} of {lab} {'was' if count == 1 else 'were'} not found in the picture{by} "
        "and counts as wrong."
        for by, rows in lost.items()
        for lab, count in Counter(table.lab[rows].tolist()).items()
    ]


def of_columns(scores: Sequence[Score]) -> list[str]:
    """Columns in which a figure is missing, or could only be 0."""
    notes = []
    for score in scores:
        column = column_name(score.key)
        if not score.cells:
            notes.append(
                f"{column}: no cell could be scored, because all its pictures or patients are among those "
                "trained on. It has no figure and is in no picture."
            )
        elif not score.ceiling:
            classes = ", ".join(recall.class_name for recall in score.recalls)
            who = f"{score.method} knows" if score.frozen else "the training holds"
            notes.append(
                f"{column}: {who} none of the classes there ({classes}), so no answer could be right: the "
                "0 says nothing of the method. Compare labs that share classes, or try --level coarse."
            )
    return list(dict.fromkeys(notes))


def shortened(methods: Sequence[Method], config: EvaluateConfig) -> list[str]:
    """Embeddings that were trained for less than they were published with."""
    return [
        f"{name} was trained for {config.epochs} of the {LEARNED[name].epochs} epochs it was published with: "
        "its figures are no measure of the method."
        for name in dict.fromkeys(method.embedding for method in methods if method.learned)
        if config.epochs is not None and config.epochs < LEARNED[name].epochs
    ]


def labs_known(methods: Sequence[Method], features: Mapping[str, Features], table: CellTable) -> list[str]:
    """Embedders and bundles brought from elsewhere that know labs of the comparison."""
    notes = []
    for method in methods:
        if method.learned:
            continue
        own = features[method.brought]
        labs = ", ".join(sorted(own.labs_seen & set(table.labs)))
        if labs and method.frozen:
            notes.append(
                f"{method.name} was trained on cells of {labs}, perhaps on these very ones: its figures "
                "there, and means with them, are no measure of a new lab."
            )
        elif labs:
            notes.append(
                f"{method.described} was trained on cells of {labs}: no figure there is of a new lab."
            )
    return list(dict.fromkeys(notes))


def of_bundles(methods: Sequence[Method], table: CellTable, config: EvaluateConfig) -> list[str]:
    """Which rows are a bundle, and which only use a part of one."""
    notes = []
    for method in methods:
        if method.refits_bundle:
            notes.append(
                f"{method.name}: the vectors of that bundle under a {method.classifier} fitted here, cells "
                f"without masks outlined by --segmenter {config.segmenter}. It is no measure of the bundle; "
                f"--methods {method.embedding} scores that as it is."
            )
        if method.frozen:
            notes += _of_frozen(method, table, is_adapted=config.protocol == "few-shot")
    return notes


def _of_frozen(method: Method, table: CellTable, *, is_adapted: bool) -> list[str]:
    bundle = load_bundle(method.embedding)
    whole_one = f"({bundle.title}; {bundle.hash[:12]})"
    is_what = (
        f"is a bundle {whole_one}, as it is where no cell is corrected, else adapted"
        if is_adapted
        else f"is a bundle as it is {whole_one}: nothing of it was fitted here"
    )
    notes = [
        f"{method.name} {is_what}; its own outlines were used, also where a set has masks, and its best "
        "guess counts where it says unidentified."
    ]
    labels = set(table.labels.tolist())
    whole = ({DEFAULT.coarse(name) for name in labels} - labels) & set(bundle.classifier.class_names)
    if table.level == "fine" and whole and not is_adapted:
        notes.append(
            f"{method.name} names {', '.join(sorted(whole))} as a whole and is wrong wherever labels are "
            "finer: --level coarse compares what it can tell."
        )
    return notes
