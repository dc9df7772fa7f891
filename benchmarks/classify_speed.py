"""How long adapting and predicting take: ``python -m benchmarks.classify_speed``.

``adapt_s``: 100 corrected cells on 5,000 cells of a lab, by a model that holds 5,000 training cells.
``predict_10k_s_KIND``: 10,000 cells by a classifier trained on 5,000, with labels, sets and reasons; best of
several. Made vectors, 64 numbers each, five classes that overlap. ``--width N`` takes longer vectors.
"""

import time

import numpy as np

from benchmarks._common import Figure, finish, header
from benchmarks._labs import option
from napari_bloodcell.core.adapt import adapt
from napari_bloodcell.core.classify import CLASSIFIERS, fit
from napari_bloodcell.core.config import ClassifierConfig
from napari_bloodcell.core.records import Embeddings

TRAINED, LAB, CORRECTED, PREDICTED, REPEATS = 5_000, 5_000, 100, 10_000, 4
CLASSES = ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")


def made(count: int, width: int, seed: int, move: float = 0.0) -> tuple[Embeddings, list[str]]:
    """``move``: towards where another class was, as another stain does."""
    rng = np.random.default_rng(seed)
    truths = rng.choice(5, count, p=[0.05, 0.1, 0.25, 0.1, 0.5])
    centres = np.random.default_rng(1).normal(0, 0.5, (5, width))
    values = centres[truths] + rng.normal(0, 1, (count, width)) + move * (centres[1] - centres[4])
    names = tuple(map(str, range(width)))
    cells = Embeddings(cell_id=np.arange(count), values=values, names=names, embedder="made")
    return cells, [CLASSES[t] for t in truths]


def main() -> None:
    width = int(option("--width", "64"))
    header("classify_speed", f"{TRAINED} training cells, {width} numbers a cell, {len(CLASSES)} classes")
    trained, labels = made(TRAINED, width, 0)
    lab, truths = made(LAB, width, 2, move=0.7)
    many, _ = made(PREDICTED, width, 3)
    figures: dict[str, Figure] = {}
    reasons = {}
    for kind in CLASSIFIERS:
        start = time.perf_counter()
        classifier = fit(trained, labels, ClassifierConfig(kind=kind, calibration="none"))
        fitted = time.perf_counter() - start
        times, busy = [], []
        for _ in range(REPEATS):
            start, cpu = time.perf_counter(), time.process_time()
            classifier.predict(many)
            times.append(time.perf_counter() - start)
            busy.append(time.process_time() - cpu)
        figures[f"predict_10k_s_{kind}"] = min(times)
        reasons[f"predict_10k_s_{kind}"] = f"under 1 ({min(busy):.2f} s of CPU; fitted in {fitted:.1f} s)"
    for kind in ("logistic", "random_forest", "svm_rbf"):
        classifier = fit(trained, labels, ClassifierConfig(kind=kind, calibration="none"))
        marks = [name if row < CORRECTED else "" for row, name in enumerate(truths)]
        start, cpu = time.perf_counter(), time.process_time()
        adapted = adapt(classifier, lab, marks)
        name = "adapt_s" if kind == "logistic" else f"adapt_s_{kind}"
        figures[name] = time.perf_counter() - start
        reasons[name] = f"under 10 ({time.process_time() - cpu:.1f} s of CPU; kept: {adapted.kept})"
    finish(figures, reasons)


if __name__ == "__main__":
    main()
