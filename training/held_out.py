"""How right the recipe of ``make_nano.py`` is on new cells of the labs it was trained on.

``python training/held_out.py`` from the root, with the real cells at hand as for ``make_nano.py``; some minutes on
two cores. The bundle itself was fitted on all cells, so nothing can be said of it on them: here the same recipe is
fitted again on four fifths of each lab and scored on the fifth, by the hash of the file's name (the split of the
segmenter too, which has seen none of the fifth). Then each fifth is held out in turn, so that every cell is scored
once: narrower limits, but with outlines by a segmenter that has seen most of the cells. The naive way is scored
beside it on the same cells: nano's features, pooled over nucleus and cytoplasm, and logistic regression.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._common import real_data
from make_nano import LABS, Lab, drawn_lab, read_lab, rows_of, score, show, train

from napari_bloodcell.core.cells import crops_of
from napari_bloodcell.core.classify import fit
from napari_bloodcell.core.config import ClassifierConfig
from napari_bloodcell.core.datasets import load_dataset
from napari_bloodcell.core.datasets.split import split_of_cell
from napari_bloodcell.core.evaluate.methods import embedder_of
from napari_bloodcell.core.report.differential import exact_limits
from napari_bloodcell.core.segment.choose import find_segmenter

PARTS = 5
NAIVE, NAIVE_FEATURES = ClassifierConfig(kind="logistic"), "sam-parts"


def parts_of(name: str) -> np.ndarray:
    """The fifth of each cell listed for a lab; part 0 is what ``split_of`` calls held out."""
    root = real_data()
    assert root is not None  # read_lab has said so before
    edges = [(part + 1) / PARTS for part in range(PARTS - 1)]
    cells = load_dataset(root / name).cells
    return np.array([sum(split_of_cell(cell, edge) == "train" for edge in edges) for cell in cells])


def cells_of(lab: Lab, wanted: np.ndarray) -> Lab:
    """The cells of a lab whose row in its list is wanted; what was not found among them counts as missing."""
    kept = np.flatnonzero(wanted[lab.rows])
    cells = rows_of(lab.cells, kept)
    missing = int(wanted.sum()) - len(kept)
    return replace(lab, cells=cells, labels=lab.labels[kept], rows=lab.rows[kept], missing=missing)


def scored(labs: Sequence[Lab], drawn: Lab, parts: dict[str, np.ndarray], part: int) -> dict[str, Any]:
    """Each lab's cells of one part, named by a classifier that saw the other parts of all labs."""
    classifier = train([*(cells_of(lab, parts[lab.name] != part) for lab in labs), drawn])
    held = [cells_of(lab, parts[lab.name] == part) for lab in labs]
    return {lab.name: score(classifier.predict(lab.cells), lab) for lab in held}


def naive_lab(lab: Lab, segmenter: Any) -> Lab:
    """The same cells in the same outlines, by nano's features."""
    root = real_data()
    assert root is not None
    listed = [replace(cell, mask_path=None) for cell in load_dataset(root / lab.name).cells]
    found = crops_of(listed, segmenter, progress=show)
    assert np.array_equal(found.row, lab.rows)
    cells = embedder_of(NAIVE_FEATURES).embed(found.crops)
    return replace(lab, cells=replace(cells, cell_id=np.arange(len(lab.rows))))


def naively(labs: Sequence[Lab], parts: dict[str, np.ndarray], part: int) -> dict[str, Any]:
    learned = [cells_of(lab, parts[lab.name] != part) for lab in labs]
    cells = replace(
        learned[0].cells,
        cell_id=np.arange(sum(len(lab.rows) for lab in learned)),
        values=np.concatenate([lab.cells.values for lab in learned]),
    )
    labels = [name for lab in learned for name in lab.labels]
    labs_of = [lab.name for lab in learned for _ in lab.rows]
    classifier = fit(cells, labels, NAIVE, labs=labs_of)
    held = [cells_of(lab, parts[lab.name] == part) for lab in labs]
    return {lab.name: score(classifier.predict(lab.cells), lab) for lab in held}


def line(name: str, scores: Sequence[dict[str, Any]]) -> str:
    """One lab: the parts added up. Balanced accuracy is the mean recall of the classes that are there."""
    total = sum(s["cells"] for s in scores)
    right = round(sum(s["accuracy"] * s["cells"] for s in scores))
    recall: dict[str, np.ndarray] = {}
    for one in scores:
        for kind, counts in one["recall"].items():
            recall[kind] = recall.get(kind, np.zeros(2, int)) + counts
    low, high = exact_limits(right, total)
    shares = [
        float(np.average([s[key] for s in scores], weights=[s["cells"] for s in scores]))
        for key in ("accuracy_surest_half", "unidentified", "coverage")
    ]
    balanced = float(np.mean([hit / of for hit, of in recall.values()]))
    kinds = ", ".join(f"{kind} {hit}/{of}" for kind, (hit, of) in recall.items())
    numbers = [f"{right / total:.3f}", f"{low:.3f} to {high:.3f}", f"{balanced:.3f}"]
    return f"| {name} | {total} | " + " | ".join([*numbers, *(f"{s:.3f}" for s in shares)]) + f" |  {kinds}"


def main() -> None:
    segmenter = find_segmenter("nano")
    labs = [read_lab(name, segmenter) for name in LABS]
    drawn = drawn_lab(segmenter)
    parts = {name: parts_of(name) for name in LABS}
    each = [scored(labs, drawn, parts, part) for part in range(PARTS)]
    naive_labs = [naive_lab(lab, segmenter) for lab in labs]
    naive = [naively(naive_labs, parts, part) for part in range(PARTS)]
    for title, chosen in (
        ("the fifth held out by its hash", each[:1]),
        ("the same fifth, the naive way", naive[:1]),
        ("each fifth in turn", each),
        ("the same, the naive way", naive),
    ):
        print(
            f"{title}: lab, n, accuracy, exact 95 % limits, balanced, surest half, unidentified, in the set"
        )
        for name in LABS:
            print(line(name, [scores[name] for scores in chosen]))
        print(line("all", [score for scores in chosen for score in scores.values()]), flush=True)


if __name__ == "__main__":
    main()
