"""Makes ``bundles/nano``, the model that ships: the small Segment Anything of ``make_segmenter.py``, measurements,
and a random forest trained on the cells of three labs.

``python training/make_nano.py`` from the root, with the real cells at hand (BLOODCELL_DATA, or ``shared/data``
beside the checkout); some minutes on two cores. Every cell goes through the product's own segmenter. What goes into
the card is measured by leaving each lab out: the classifier never saw the lab it is scored on. The settings below
were chosen by the mean of the labs left out, so the card's figures flatter a little, and it says so.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from nano_card import card
from worn import worn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks._common import real_data  # noqa: E402

from napari_bloodcell.core.adapt import adapt, suggest  # noqa: E402
from napari_bloodcell.core.bundle import save_bundle  # noqa: E402
from napari_bloodcell.core.cells import crops_of  # noqa: E402
from napari_bloodcell.core.classify import Classifier, fit  # noqa: E402
from napari_bloodcell.core.classify.fitting import held_out_scores  # noqa: E402
from napari_bloodcell.core.config import AdaptConfig, ClassifierConfig, SuggestConfig  # noqa: E402
from napari_bloodcell.core.crop import crop  # noqa: E402
from napari_bloodcell.core.datasets import load_dataset  # noqa: E402
from napari_bloodcell.core.embed.details import DETAILS  # noqa: E402
from napari_bloodcell.core.embed.measurements import DetailEmbedder  # noqa: E402
from napari_bloodcell.core.image import read_image  # noqa: E402
from napari_bloodcell.core.records import (  # noqa: E402
    UNIDENTIFIED,
    Crops,
    Embeddings,
    Predictions,
    SmearImage,
)
from napari_bloodcell.core.report.differential import exact_limits  # noqa: E402
from napari_bloodcell.core.segment.choose import find_segmenter  # noqa: E402
from napari_bloodcell.core.stain.profile import average, profiles_of  # noqa: E402
from napari_bloodcell.core.synthetic import MAIN_KINDS, make_cells  # noqa: E402
from napari_bloodcell.core.taxonomy import DEFAULT  # noqa: E402
from napari_bloodcell.core.uncertainty.calibration import calibrate  # noqa: E402

LABS = ("jtsc", "cellavision", "bccd")
LICENCES = {"jtsc": "GPL-3.0", "cellavision": "GPL-3.0", "bccd": "MIT"}
CLASSIFIER = ClassifierConfig(kind="random_forest", trees=200, depth=8, lean=0.2, seed=2026)
DRAWN, DRAWN_SEED = 12, 77  # synthetic cells of each kind: real basophils are four
COPIES = 4  # of each cell, as other labs might have shown it
BUDGETS, SEEDS, SCORED_FROM, COVERAGE = (5, 10, 25, 50), 5, 10, 0.9
DRAWN_LAB = "synthetic"
LEAST_OF_CLASS = 5  # cells of a lab, for balanced accuracy
TITLE = "nano: small Segment Anything, measurements, random forest, on cells of three labs"
EMBEDDER = DetailEmbedder()


@dataclass(frozen=True, kw_only=True, eq=False)
class Lab:
    """``cells`` are outlined by the network; ``outlines`` are the same cells outlined by hand, or by stain where the
    set has no masks, and ``copies`` the same cells in other pictures. All are trained on: outlines, stain and focus
    differ from lab to lab, and a class must not hang on them."""

    name: str
    cells: Embeddings
    labels: np.ndarray  # of the cells
    rows: np.ndarray  # in the list of the lab, of each cell
    outlines: Sequence["Seen"] = field(default_factory=tuple)
    copies: Sequence["Seen"] = field(default_factory=tuple)
    missing: int = 0
    profile: Any = None


Seen = tuple[Embeddings, np.ndarray]  # vectors, and the row of each in the list of the lab


def read_lab(name: str, segmenter: Any) -> Lab:
    """Cells as the product would see them: outlined by its segmenter, even where the set has masks."""
    root = real_data()
    if root is None:
        raise SystemExit("The real cells are not at hand: set BLOODCELL_DATA to their folder.")
    listed = load_dataset(root / name).cells
    found = crops_of([replace(cell, mask_path=None) for cell in listed], segmenter, progress=show)
    again = crops_of(listed, find_segmenter("stain"), progress=show)
    labels = np.array([DEFAULT.coarse(cell.class_name) for cell in listed])
    pictures = [read_image(cell.path).pixels for cell in listed[:: max(1, len(listed) // 40)]]
    profile = average([p for p in profiles_of(pictures) if not p.flag], name=name)
    dice = np.random.default_rng([CLASSIFIER.seed, LABS.index(name)])
    return Lab(
        name=name,
        cells=numbered(EMBEDDER.embed(found.crops).values),
        labels=labels[found.row],
        rows=np.asarray(found.row),
        outlines=[seen(again.crops, again.row)],
        copies=[seen(worn(f.crops, dice), f.row) for _ in range(COPIES) for f in (found, again)],
        missing=len(listed) - len(found.row),
        profile=profile,
    )


def seen(crops: Crops, rows: Any) -> Seen:
    return numbered(EMBEDDER.embed(crops).values), np.asarray(rows)


def numbered(values: np.ndarray) -> Embeddings:
    """Cell ids count the rows."""
    return Embeddings(
        cell_id=np.arange(len(values)), values=values, names=EMBEDDER.names, embedder=EMBEDDER.hash
    )


def drawn_lab(segmenter: Any) -> Lab:
    """A few synthetic cells of each kind, in the stains of many made-up labs. More of them cost accuracy on real
    cells; none at all, and rare classes hang on single cells."""
    drawn = make_cells(DRAWN * len(MAIN_KINDS), seed=DRAWN_SEED, size_px=160, classes=MAIN_KINDS)
    values, labels = [], []
    for i, name in enumerate(drawn.class_names):
        image = SmearImage(pixels=drawn.pixels[i], um_per_px=float(drawn.um_per_px[i]))
        masks = segmenter.segment(image)
        off = np.abs((masks.boxes_xyxy[:, :2] + masks.boxes_xyxy[:, 2:]) / 2 - 80).max(axis=1)
        if len(off) and off.min() < 48:
            values.append(EMBEDDER.embed(crop(image, masks)).values[int(off.argmin())])
            labels.append(DEFAULT.coarse(str(name)))
    return Lab(
        name=DRAWN_LAB, cells=numbered(np.array(values)), labels=np.array(labels), rows=np.arange(len(values))
    )


@dataclass(frozen=True, kw_only=True)
class Ways:
    """What of the training is on; all of it in the model that ships."""

    details: bool = True
    copies: bool = True
    outlines: bool = True
    drawn: bool = True
    lean: bool = True  # answers lean to healthy blood
    by_lab: bool = True  # doubt is learned from labs held out, not from cells held out


WITHOUT = {
    "as it ships": Ways(),
    "without the details": Ways(details=False),
    "no worn copies": Ways(copies=False),
    "one outline of each cell": Ways(outlines=False),
    "no drawn cells": Ways(drawn=False),
    "no lean to healthy blood": Ways(lean=False),
    "doubt learned cell by cell": Ways(by_lab=False),
}


def train(labs: Sequence[Lab], ways: Ways = Ways()) -> Classifier:
    """A class of which only one cell is left is left out."""
    values, labels, names, groups, real = [], [], [], [], []
    for lab in labs:
        if lab.name == DRAWN_LAB and not ways.drawn:
            continue
        label_of = dict(zip(lab.rows.tolist(), lab.labels.tolist(), strict=True))
        more = [*(lab.outlines if ways.outlines else ()), *(lab.copies if ways.copies else ())]
        for number, (cells, rows) in enumerate([(lab.cells, lab.rows), *more]):
            known = [i for i, row in enumerate(rows.tolist()) if row in label_of]
            values.append(cells.values[known])
            labels += [label_of[int(rows[i])] for i in known]
            groups += [f"{lab.name} {rows[i]}" for i in known]
            names += [lab.name] * len(known)
            real += [number == 0 and lab.name != DRAWN_LAB] * len(known)
    cells_of = {
        name: {g for g, label in zip(groups, labels, strict=True) if label == name} for name in set(labels)
    }
    kept = np.array([i for i, label in enumerate(labels) if len(cells_of[label]) > 1])
    settings = CLASSIFIER if ways.lean else replace(CLASSIFIER, lean=0.0)
    classifier = fit(
        rows_of(numbered(np.concatenate(values)), kept),
        [labels[i] for i in kept],
        replace(settings, calibration="none"),
        labs=[names[i] for i in kept],
    )
    held = [names[i] if ways.by_lab else groups[i] for i in kept]
    return calibrated(
        classifier, np.concatenate(values)[kept], np.array(labels)[kept], held, np.array(real)[kept]
    )


def calibrated(
    classifier: Classifier, values: np.ndarray, labels: np.ndarray, held: Sequence[str], real: np.ndarray
) -> Classifier:
    """Doubt learned from real cells as the product outlines them, each scored by a forest that saw nothing of its
    lab: a lab that is held out is the nearest thing to one never seen."""
    truths = np.searchsorted(classifier.class_names, labels)
    config = replace(CLASSIFIER, folds=min(CLASSIFIER.folds, len(set(held))))
    scores, _ = held_out_scores(values, truths, config, groups=held)
    basis = f"{int(real.sum())} training cells, lab by lab, each held out once"
    doubt = calibrate(
        scores[real],
        truths[real],
        CLASSIFIER.calibration,
        offsets=classifier.calibration.offsets,
        basis=basis,
    )
    config = replace(classifier.config, calibration=CLASSIFIER.calibration)
    return replace(classifier, config=config, calibration=doubt)


def rows_of(cells: Embeddings, rows: np.ndarray) -> Embeddings:
    return Embeddings(
        cell_id=cells.cell_id[rows], values=cells.values[rows], names=cells.names, embedder=cells.embedder
    )


def score(predictions: Predictions, lab: Lab) -> dict[str, Any]:
    """A cell that was not found is not right; one called unidentified counts by its best guess, and is told."""
    best, probability = predictions.top(0)
    right = np.asarray(best) == lab.labels
    total = len(lab.labels) + lab.missing
    surest = np.argsort(-probability, kind="stable")[: max(1, len(right) // 2)]
    sure = np.asarray(predictions.labels) != UNIDENTIFIED
    low, high = exact_limits(int(right.sum()), total)
    return {
        "cells": total,
        "not_found": lab.missing,
        "accuracy": right.sum() / total,
        "accuracy_low": low,
        "accuracy_high": high,
        "balanced": float(np.mean([right[lab.labels == name].mean() for name in enough(lab.labels)])),
        "majority": Counter(lab.labels.tolist()).most_common(1)[0][1] / len(lab.labels),
        "accuracy_surest_half": float(right[surest].mean()),
        "unidentified": float(np.mean(~sure)),
        "accuracy_of_identified": float(right[sure].mean()) if sure.any() else None,
        "coverage": covered(predictions, lab.labels),
        "ece": calibration_error(probability, right),
        "recall": {
            str(name): [int(right[lab.labels == name].sum()), int((lab.labels == name).sum())]
            for name in np.unique(lab.labels)
        },
    }


def enough(labels: np.ndarray) -> list[str]:
    """Classes whose recall says something: a single basophil would weigh a fifth."""
    return [name for name, n in Counter(labels.tolist()).items() if n >= LEAST_OF_CLASS]


def covered(predictions: Predictions, labels: np.ndarray) -> float:
    """How often the set of possible classes holds the true one."""
    if predictions.sets is None:
        return float("nan")
    truth = labels[:, None] == np.asarray(predictions.class_names)
    return float((truth & predictions.sets).any(axis=1).mean())


def calibration_error(probability: np.ndarray, right: np.ndarray, bins: int = 10) -> float:
    place = np.minimum((probability * bins).astype(int), bins - 1)
    return float(
        sum(abs(right[place == b].mean() - probability[place == b].mean()) * np.mean(place == b)
            for b in np.unique(place))
    )  # fmt: skip


def few_shot(base: Classifier, lab: Lab) -> dict[str, list[float]]:
    """Accuracy on the cells that are never shown, after 5, 10, 25, 50 suggested corrections, per seed."""
    scores: dict[str, list[float]] = {str(n): [] for n in (0, *BUDGETS)}
    for seed in range(SEEDS):
        order = np.random.default_rng(seed).permutation(len(lab.labels))
        pool, test = order[: 2 * len(order) // 3], order[2 * len(order) // 3 :]
        model, chosen = base, np.zeros(0, int)
        scores["0"].append(accuracy(base, lab, test))
        for budget in BUDGETS:
            seen = np.isin(pool, chosen)
            missing = min(budget, len(pool)) - len(chosen)
            more = suggest(model, rows_of(lab.cells, pool), seen, SuggestConfig(cells=missing, seed=seed))
            chosen = np.concatenate(
                [chosen, np.asarray(more, int)]
            )  # cell ids, which count the rows of the lab
            labels = np.full(len(lab.labels), "", lab.labels.dtype)
            labels[chosen] = lab.labels[chosen]
            model = adapt(base, lab.cells, list(labels), AdaptConfig(seed=seed), lab=lab.name).classifier
            scores[str(budget)].append(accuracy(model, lab, test))
        show(f"few-shot {lab.name}", seed + 1, SEEDS)
    return scores


def accuracy(model: Classifier, lab: Lab, rows: np.ndarray) -> float:
    return float(np.mean(np.asarray(model.predict(rows_of(lab.cells, rows)).top(0)[0]) == lab.labels[rows]))


def leave_one_out(labs: Sequence[Lab], drawn: Lab) -> dict[str, Any]:
    scores = {}
    for lab in labs:
        base = train([*(other for other in labs if other is not lab), drawn])
        scores[lab.name] = score(base.predict(lab.cells), lab) | {"after": few_shot(base, lab)}
        print(lab.name, {k: v for k, v in scores[lab.name].items() if not isinstance(v, dict)}, flush=True)
    return scores


def parts_off(labs: Sequence[Lab], drawn: Lab) -> dict[str, dict[str, float]]:
    """Means over the labs left out, with each part of the training switched off in turn."""
    table = {}
    for name, ways in WITHOUT.items():
        shown = [*labs, drawn] if ways.details else [without_details(lab) for lab in (*labs, drawn)]
        each = [
            score(train([o for o in shown if o is not lab], ways).predict(lab.cells), lab)
            for lab in shown[: len(labs)]
        ]
        keys = ("accuracy", "balanced", "accuracy_surest_half", "unidentified", "coverage", "ece")
        table[name] = {key: float(np.mean([s[key] for s in each])) for key in keys}
        print(name, table[name], flush=True)
    return table


def without_details(lab: Lab) -> Lab:
    """A constant tells a forest nothing."""
    known = ~np.isin(EMBEDDER.names, DETAILS)

    def less(cells: Embeddings) -> Embeddings:
        return replace(cells, values=cells.values * known)

    copies, outlines = ([(less(cells), rows) for cells, rows in some] for some in (lab.copies, lab.outlines))
    return replace(lab, cells=less(lab.cells), copies=copies, outlines=outlines)


def show(stage: str, done: int, total: int) -> None:
    if done % 64 == 0:
        print(f"{stage}: {done} of {total}", file=sys.stderr)


def main() -> None:
    segmenter = find_segmenter("nano")
    labs = [read_lab(name, segmenter) for name in LABS]
    drawn = drawn_lab(segmenter)
    scores = leave_one_out(labs, drawn)
    parts = parts_off(labs, drawn)
    sha256 = save_bundle(
        ROOT / "src" / "napari_bloodcell" / "bundles" / "nano",
        title=TITLE,
        segmenter=segmenter,
        embedder=EMBEDDER,
        classifier=train([*labs, drawn]),
        scores={"leave_one_lab_out": scores, "parts_off": parts},
        card=card(
            scores,
            parts,
            measurements=len(EMBEDDER.names),
            lean=CLASSIFIER.lean,
            drawn=DRAWN,
            kinds=len(MAIN_KINDS),
            draws=SEEDS,
            coverage=COVERAGE,
        ),
        stains=[lab.profile for lab in labs],
        provenance={
            "data": {lab.name: {"cells": len(lab.labels), "licence": LICENCES[lab.name]} for lab in labs},
            "script": "training/make_nano.py",
            "classifier": CLASSIFIER.to_json(),
        },
    )
    print(f"bundle nano {sha256}")


if __name__ == "__main__":
    main()
