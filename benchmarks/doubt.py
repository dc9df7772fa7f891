"""Whether doubt can be trusted: ``python -m benchmarks.doubt``.

Simulated cells, and the shared labs' cells pooled and dealt at random into training and held-out cells, 20
times. ``coverage_error_max`` is the largest gap between the level asked and the share of held-out cells whose
class is in their set, over levels 0.8, 0.9 and 0.95 and every class with 20 or more held-out cells (means of
the dealings). ``shifted_*``: each lab left out of training, where calibration on other labs promises nothing,
before and after adapting with 50 corrected cells.
"""

import numpy as np

from benchmarks._common import Figure, finish, header
from benchmarks._labs import LabCells, option, part, shared_labs, show, together
from napari_bloodcell.core.adapt import adapt
from napari_bloodcell.core.classify import Classifier, fit
from napari_bloodcell.core.config import ClassifierConfig
from napari_bloodcell.core.records import Embeddings
from napari_bloodcell.core.uncertainty.calibration import expected_calibration_error, softmax

LEVELS = (0.8, 0.9, 0.95)
LEAST = 20
LEAST_TO_TRAIN = 5
CONFIG = ClassifierConfig(strength=0.1)


def in_sets(classifier: Classifier, cells: Embeddings, labels: np.ndarray) -> np.ndarray:
    """Cells x levels: whether the true class is in the set."""
    known = np.isin(labels, classifier.class_names)
    truths = np.searchsorted(classifier.class_names, np.where(known, labels, classifier.class_names[0]))
    likely = classifier.predict(cells).probabilities
    covered = [classifier.calibration.sets(likely, level)[np.arange(len(truths)), truths] for level in LEVELS]
    return np.stack(covered, axis=1) & known[:, None]


def worst_gap(covered: dict[str, list[np.ndarray]]) -> float:
    gaps = [np.abs(np.concatenate(rows).mean(axis=0) - LEVELS).max() for rows in covered.values()]
    return float(max(gaps))


def deal(cells: Embeddings, labels: np.ndarray, times: int, share: float) -> dict[str, Figure]:
    covered: dict[str, list[np.ndarray]] = {}
    before, after, surest = [], [], []
    for seed in range(times):
        show("dealing", seed, times)
        order = np.random.default_rng(seed).permutation(len(labels))
        test, train = order[: int(share * len(order))], order[int(share * len(order)) :]
        names, counts = np.unique(labels[train], return_counts=True)
        train = train[np.isin(labels[train], names[counts >= LEAST_TO_TRAIN])]  # a handful of basophils
        classifier = fit(part(cells, train), list(labels[train]), CONFIG)
        held, truth = part(cells, test), labels[test]
        inside = in_sets(classifier, held, truth)
        for name in np.unique(truth):
            if np.sum(truth == name) >= LEAST:
                covered.setdefault(str(name), []).append(inside[truth == name])
        known = np.isin(truth, classifier.class_names)
        numbers = np.where(known, np.searchsorted(classifier.class_names, truth), -1)
        likely = classifier.predict(held).probabilities
        raw = softmax(classifier.head.scores(classifier.standardise(held.values)))
        before.append(expected_calibration_error(raw, numbers))
        after.append(expected_calibration_error(likely, numbers))
        sure = np.argsort(-likely.max(axis=1))[: len(test) // 2]
        surest.append(float(np.mean(likely.argmax(axis=1)[sure] == numbers[sure])))
    print({name: np.concatenate(rows).mean(axis=0).round(3).tolist() for name, rows in covered.items()})
    return {
        "coverage_error_max": worst_gap(covered),
        "ece_before": float(np.mean(before)),
        "ece_after": float(np.mean(after)),
        "accuracy_surest_half": float(np.mean(surest)),
    }


def shifted(labs: dict[str, LabCells]) -> dict[str, Figure]:
    """Coverage asked 0.9 on a lab left out, before and after adapting."""
    before, after = [], []
    for name, lab in labs.items():
        cells, labels, names = together([other for other in labs.values() if other.name != name])
        base = fit(cells, list(labels), CONFIG, labs=list(names))
        for seed in range(5):
            order = np.random.default_rng(seed).permutation(len(lab.labels))
            looked, test = order[:50], order[50:]
            marks = np.full(len(lab.labels), "", lab.labels.dtype)
            marks[looked] = lab.labels[looked]
            own = adapt(base, lab.cells, list(marks), lab=name).classifier
            held, truth = lab.rows(test), lab.labels[test]
            before.append(in_sets(base, held, truth)[:, 1].mean())
            after.append(in_sets(own, held, truth)[:, 1].mean())
    return {
        "shifted_coverage_90_unadapted": float(np.mean(before)),
        "shifted_coverage_90_after_50": float(np.mean(after)),
    }


def simulated(count: int) -> tuple[Embeddings, np.ndarray]:
    """Five overlapping classes of unequal size and spread."""
    rng = np.random.default_rng(0)
    truths = rng.choice(5, count, p=[0.45, 0.25, 0.15, 0.1, 0.05])
    centres = rng.normal(0, 1.2, (5, 8))
    values = centres[truths] + rng.normal(0, 1, (count, 8)) * (0.7 + 0.2 * truths[:, None])
    cells = Embeddings(cell_id=np.arange(count), values=values, names=tuple("abcdefgh"), embedder="simulated")
    return cells, np.array(["a", "b", "c", "d", "e"])[truths]


def main() -> None:
    embedder, times = option("--embedder", "measurements"), int(option("--times", "20"))
    header("doubt", f"{embedder}, logistic regression, temperature, {times} dealings, 40 % held out")
    made = deal(*simulated(2_000), times, 0.4)
    figures: dict[str, Figure] = {"simulated_coverage_error_max": made["coverage_error_max"]}
    labs = shared_labs(embedder)
    if labs is None:
        finish(
            figures | {"coverage_error_max": None}, reasons={"coverage_error_max": "no real cells at hand"}
        )
        return
    cells, labels, _ = together(list(labs.values()))
    figures |= deal(cells, labels, times, 0.4)
    figures |= shifted(labs)
    finish(figures, {"coverage_error_max": "at most 0.03", "simulated_coverage_error_max": "at most 0.03"})


if __name__ == "__main__":
    main()
