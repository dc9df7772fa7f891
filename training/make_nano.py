"""Makes ``bundles/nano``, the model that ships: the small Segment Anything of ``make_segmenter.py``, measurements,
and a random forest trained on the cells of three labs.

``python training/make_nano.py`` from the root, with the real cells at hand (BLOODCELL_DATA, or ``shared/data``
beside the checkout); some minutes on two cores. Every cell goes through the product's own segmenter. What goes into
the card is measured by leaving each lab out: the classifier never saw the lab it is scored on, and the settings
below were chosen by the mean of the labs left out.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks._common import real_data  # noqa: E402

from napari_bloodcell.core.adapt import adapt, suggest  # noqa: E402
from napari_bloodcell.core.bundle import save_bundle  # noqa: E402
from napari_bloodcell.core.cells import crops_of  # noqa: E402
from napari_bloodcell.core.classify import Classifier, fit  # noqa: E402
from napari_bloodcell.core.config import AdaptConfig, ClassifierConfig, SuggestConfig  # noqa: E402
from napari_bloodcell.core.crop import crop  # noqa: E402
from napari_bloodcell.core.datasets import load_dataset  # noqa: E402
from napari_bloodcell.core.embed.measurements import MeasurementEmbedder  # noqa: E402
from napari_bloodcell.core.image import read_image  # noqa: E402
from napari_bloodcell.core.records import UNIDENTIFIED, Embeddings, Predictions, SmearImage  # noqa: E402
from napari_bloodcell.core.report.differential import exact_limits  # noqa: E402
from napari_bloodcell.core.segment.choose import find_segmenter  # noqa: E402
from napari_bloodcell.core.stain.profile import average, profiles_of  # noqa: E402
from napari_bloodcell.core.synthetic import MAIN_KINDS, make_cells  # noqa: E402
from napari_bloodcell.core.taxonomy import DEFAULT  # noqa: E402

LABS = ("jtsc", "cellavision", "bccd")
LICENCES = {"jtsc": "GPL-3.0", "cellavision": "GPL-3.0", "bccd": "MIT"}
CLASSIFIER = ClassifierConfig(kind="random_forest", trees=200, depth=8, seed=2026)
DRAWN, DRAWN_SEED = 12, 77  # synthetic cells of each kind: real basophils are four
BUDGETS, SEEDS, SCORED_FROM, COVERAGE = (5, 10, 25, 50), 5, 10, 0.9
TITLE = "nano: small Segment Anything, measurements, random forest, on cells of three labs"
EMBEDDER = MeasurementEmbedder()


@dataclass(frozen=True, kw_only=True, eq=False)
class Lab:
    """``cells`` are outlined by the network; ``again`` are the same cells outlined by hand, or by stain where the
    set has no masks. Both are trained on: outlines differ from lab to lab, and a class must not hang on them."""

    name: str
    cells: Embeddings
    labels: np.ndarray
    rows: np.ndarray  # in the list of the lab, of each cell
    again: Embeddings
    rows_again: np.ndarray
    missing: int
    profile: Any


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
    return Lab(
        name=name,
        cells=numbered(EMBEDDER.embed(found.crops).values),
        labels=labels[found.row],
        rows=np.asarray(found.row),
        again=numbered(EMBEDDER.embed(again.crops).values),
        rows_again=np.asarray(again.row),
        missing=len(listed) - len(found.row),
        profile=profile,
    )


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
    cells = numbered(np.array(values))
    rows = np.arange(len(values))
    return Lab(
        name="synthetic", cells=cells, labels=np.array(labels), rows=rows,
        again=rows_of(cells, rows[:0]), rows_again=rows[:0], missing=0, profile=None,
    )  # fmt: skip


def train(labs: Sequence[Lab]) -> Classifier:
    """Both outlines of a cell are held out together. A class of which only one cell is left is left out."""
    values, labels, names, groups = [], [], [], []
    for lab in labs:
        label_of = dict(zip(lab.rows.tolist(), lab.labels.tolist(), strict=True))
        for cells, rows in ((lab.cells, lab.rows), (lab.again, lab.rows_again)):
            known = [i for i, row in enumerate(rows.tolist()) if row in label_of]
            values.append(cells.values[known])
            labels += [label_of[int(rows[i])] for i in known]
            groups += [f"{lab.name} {rows[i]}" for i in known]
            names += [lab.name] * len(known)
    cells_of = {
        name: {g for g, label in zip(groups, labels, strict=True) if label == name} for name in set(labels)
    }
    kept = np.array([i for i, label in enumerate(labels) if len(cells_of[label]) > 1])
    return fit(
        rows_of(numbered(np.concatenate(values)), kept),
        [labels[i] for i in kept],
        CLASSIFIER,
        groups=[groups[i] for i in kept],
        labs=[names[i] for i in kept],
    )


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


def card(scores: dict[str, Any]) -> str:
    mean = float(np.mean([s["accuracy"] for s in scores.values()]))
    lines = [
        "# nano",
        "",
        "**The model that ships.** Research use only. Not for diagnosis.",
        "",
        "A small Segment Anything outlines nucleus and cytoplasm (its own card: "
        "`bundles/segmenters/nano.md`). Each cell is described by "
        f"{len(EMBEDDER.names)} measurements of shape, colour contrast and texture that know neither "
        "magnification nor strength of the stain. A random forest, trained on the cells of three labs, names "
        "the class; its probabilities are calibrated on cells held out in turn.",
        "",
        "## Trained on",
        "",
        "| lab | cells | source | licence |",
        "|---|---|---|---|",
        "| jtsc | 240 | Dataset 1 of zxaoyou/segmentation_WBC (Zheng et al., Micron 107, 2018) | GPL-3.0 |",
        "| cellavision | 80 | Dataset 2 of the same | GPL-3.0 |",
        "| bccd | 283 | Shenggan/BCCD_Dataset, crops and labels by apple2373/BCCD | MIT |",
        f"| synthetic | {DRAWN * len(MAIN_KINDS)} | drawn by this package, {DRAWN} of each kind | BSD-3-Clause |",
        "",
        "No image is in the model: the classifier keeps measurements of the cells, for adapting it. The labels of "
        "jtsc and cellavision were not checked by experts. Licence of the model: BSD-3-Clause.",
        "",
        "## How good, on a lab it has never seen",
        "",
        "Each lab was left out of the classifier's training in turn, then scored whole: five coarse classes, "
        f"outlines by the product itself. Mean {mean:.3f}. Limits are exact (95 %). The segmenter has seen the "
        "training fifths of jtsc and cellavision; it does not name cells.",
        "",
        "| lab left out | n | accuracy | limits | majority class | surest half | unidentified | of the identified "
        f"| in the {100 * COVERAGE:.0f} % set |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, s in scores.items():
        lines.append(
            f"| {name} | {s['cells']} | {s['accuracy']:.3f} | {s['accuracy_low']:.3f} to "
            f"{s['accuracy_high']:.3f} | {s['majority']:.3f} | {s['accuracy_surest_half']:.3f} | "
            f"{s['unidentified']:.3f} | {shown(s['accuracy_of_identified'])} | {s['coverage']:.3f} |"
        )
    lines += [
        "",
        f"After corrections that the product suggested (accuracy on a third of the lab that was never shown, mean of "
        f"{SEEDS} draws, ± half a 95 % interval over the draws):",
        "",
        "| lab left out | " + " | ".join(f"{n} corrected" for n in (0, *BUDGETS)) + " |",
        "|---|" + "---|" * (1 + len(BUDGETS)),
    ]
    for name, s in scores.items():
        cells = [
            f"{np.mean(v):.3f} ± {1.96 * np.std(v, ddof=1) / np.sqrt(len(v)):.3f}"
            for v in s["after"].values()
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", "Right of all, by class, the lab left out:", "", "| class | " + " | ".join(scores) + " |"]
    lines.append("|---|" + "---|" * len(scores))
    for name in sorted({c for s in scores.values() for c in s["recall"]}):
        cells = [s["recall"].get(name, [0, 0]) for s in scores.values()]
        lines.append(f"| {name} | " + " | ".join(f"{right} of {n}" for right, n in cells) + " |")
    lines += [
        "",
        "## What it cannot do",
        "",
        "- It knows five kinds: neutrophils, lymphocytes, monocytes, eosinophils, basophils, and of basophils it was "
        "shown four real cells and some drawn ones: do not trust it on them. Blasts, immature granulocytes, erythroblasts and smudge cells "
        "are called unidentified or, worse, one of the five.",
        "- Three labs are few. On another stain, camera or magnification expect less than the table, and more doubt; "
        "correct 25 cells and adapt.",
        "- The sets of possible classes hold what they promise on cells like those they were calibrated on; the table "
        "shows what is left of it on a strange lab.",
        "- Pictures without colour, fluorescence, tissue sections, and cells less than about 25 px wide.",
        "",
        "Made by `python training/make_nano.py`.",
        "",
    ]
    return "\n".join(lines)


def shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def show(stage: str, done: int, total: int) -> None:
    if done % 64 == 0:
        print(f"{stage}: {done} of {total}", file=sys.stderr)


def main() -> None:
    segmenter = find_segmenter("nano")
    labs = [read_lab(name, segmenter) for name in LABS]
    drawn = drawn_lab(segmenter)
    scores = leave_one_out(labs, drawn)
    sha256 = save_bundle(
        ROOT / "src" / "napari_bloodcell" / "bundles" / "nano",
        title=TITLE,
        segmenter=segmenter,
        embedder=EMBEDDER,
        classifier=train([*labs, drawn]),
        scores={"leave_one_lab_out": scores},
        card=card(scores),
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
