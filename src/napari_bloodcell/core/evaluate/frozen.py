"""A bundle scored as it is: nothing is fitted. Its own outlines, vectors, classifier and calibration answer,
as in ``analyse``; outlines that a set brings are not used, because no new picture has them.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from napari_bloodcell.core.bundle import Bundle, load_bundle
from napari_bloodcell.core.classify import Classifier
from napari_bloodcell.core.classify.classifier import Known
from napari_bloodcell.core.evaluate.cells import CellTable
from napari_bloodcell.core.evaluate.features import Features, features_of, vectors_of
from napari_bloodcell.core.evaluate.methods import TAUGHT_ON, Method, labs_seen
from napari_bloodcell.core.evaluate.protocols import Rows
from napari_bloodcell.core.evaluate.trials import TrialAnswers
from napari_bloodcell.core.folders import cache_folder
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import UNIDENTIFIED
from napari_bloodcell.core.taxonomy import DEFAULT, Taxonomy

SAME = 0.02  # of a measurement's spread, within which two cells are one: what is kept is rounded
BY_CHANCE = 0.1  # share of a lab's cells that may look like ones trained on, and are others


def described_by_bundle(table: CellTable, method: Method, *, progress: Progress = silent) -> Features:
    """The cells as the bundle itself outlines and describes them."""
    bundle = load_bundle(method.embedding)
    folder = cache_folder() / "features" / bundle.embedder.hash[:16]
    found = features_of(table, bundle.embedder, folder, bundle.segmenter, use_masks=False, progress=progress)
    return replace(found, labs_seen=labs_of(bundle) | labs_recognised(bundle.classifier, table, found))


def answers_of(table: CellTable, method: Method, features: Features) -> TrialAnswers:
    """What the bundle says of every cell that it found."""
    bundle = load_bundle(method.embedding)
    return said_of(table, bundle, bundle.classifier, features, np.flatnonzero(features.found))


def said_of(
    table: CellTable, bundle: Bundle, classifier: Classifier, features: Features, rows: Rows
) -> TrialAnswers:
    """What a classifier of the bundle says of cells that were found. At the coarse level its best guess
    counts as the class that guess belongs to."""
    predictions = classifier.predict(vectors_of(features, rows))
    names = predictions.class_names
    return TrialAnswers(
        rows=rows,
        probabilities=np.asarray(predictions.probabilities),
        class_names=names
        if table.level == "fine"
        else tuple(_coarse(n, bundle, table.taxonomy) for n in names),
        identified=np.asarray(predictions.labels) != UNIDENTIFIED,
    )


def part_of(answers: TrialAnswers, rows: Rows) -> TrialAnswers:
    """Those for the cells of one trial."""
    own = np.isin(answers.rows, rows)
    return replace(
        answers,
        rows=answers.rows[own],
        probabilities=answers.probabilities[own],
        identified=answers.identified[own],
    )


def classes_of(methods: Sequence[Method]) -> set[str]:
    """Every class that a bundle of the comparison can answer."""
    bundles = [load_bundle(method.embedding) for method in methods if method.frozen]
    return {name for bundle in bundles for name in bundle.classifier.class_names}


def labs_of(bundle: Bundle) -> frozenset[str]:
    """Every lab that some part of a bundle was trained on, where it tells."""
    made_from, known = bundle.provenance, bundle.classifier.known
    labs = {*made_from.get("data", ()), *made_from.get("labs", ())}
    labs |= {done["lab"] for done in made_from.get("adapted", ())}
    labs |= set(known.labs.tolist()) if known is not None else set()
    labs |= set(TAUGHT_ON.get(getattr(bundle.segmenter, "source", ""), ()))
    return labs_seen(bundle.embedder) | labs


def labs_recognised(classifier: Classifier, table: CellTable, features: Features) -> frozenset[str]:
    """Labs whose cells are among those the classifier keeps of its training, whatever their folder is called
    now."""
    known = classifier.known
    if known is None or classifier.embedder != features.embedder:
        return frozenset()
    from scipy.spatial import cKDTree

    own = Known.standardised(features.values, known.mean, known.scale)
    nearest, _ = cKDTree(known.ready.astype(np.float32)).query(own, p=np.inf, distance_upper_bound=SAME)
    there = features.found & np.isfinite(nearest)
    shares = {lab: there[table.lab == lab].mean() for lab in table.labs}
    return frozenset(lab for lab, share in shares.items() if share > BY_CHANCE)


def _coarse(name: str, bundle: Bundle, taxonomy: Taxonomy) -> str:
    """As the sets put their own classes; a bundle keeps no parents but the usual ones."""
    if name in taxonomy.parents:
        return taxonomy.coarse(name)
    return bundle.taxonomy.get(name, DEFAULT.coarse(name))
