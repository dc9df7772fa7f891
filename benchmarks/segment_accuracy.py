"""How well the segmenter that ships outlines white cells: ``python -m benchmarks.segment_accuracy [--json]``.

Cells: the pictures of ``jtsc`` and ``cellavision`` that the hash of the file name holds out of the training,
through the whole product (stain proposes, network outlines): the cell over the middle of the picture, IoU at
full size, 0 where none is found. Fields: ``bccd``, which no training and no setting has seen; a cell is found
where boxes overlap by an IoU of 0.5. ``loo_*``: scores of the trainings without a lab, on all its cells, as
``training/make_segmenter.py --leave-out`` stored them in ``segment_runs.json`` with the hash of each model.
"""

import csv
import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks._common import Figure, finish, header, real_data
from benchmarks.locate import is_dev, read, score
from napari_bloodcell.core.datasets import split_of
from napari_bloodcell.core.records import Masks, SmearImage
from napari_bloodcell.core.sam.files import hash_file
from napari_bloodcell.core.segment import Segmenter
from napari_bloodcell.core.segment.choose import find_segmenter, shipped_weights

RUNS = Path(__file__).parent / "segment_runs.json"
LIMITS = {
    "jtsc_iou": "at least 0.945",
    "cellavision_iou": "at least 0.915",
    "jtsc_p10": "at least 0.90",
    "cellavision_p10": "at least 0.85",
    "jtsc_nucleus_iou": "at least 0.89",
    "cellavision_nucleus_iou": "at least 0.87",
    "loo_jtsc_iou": "at least 0.85",
    "loo_cellavision_iou": "at least 0.85",
    "bccd_recall": "at least 0.98 (box IoU 0.5)",
    "bccd_fp_per_field": "at most 0.08",
}


def iou(found: np.ndarray, truth: np.ndarray) -> float:
    either = (found | truth).sum()
    return float((found & truth).sum() / either) if either else 1.0


def middle_cell(masks: Masks) -> np.ndarray:
    """The cell over the middle of the picture, or the one whose box is there; nothing where there is none."""
    height, width = masks.labels.shape
    number = int(masks.labels[height // 2, width // 2])
    if not number:
        middle, boxes = np.array([width / 2, height / 2]), masks.boxes_xyxy
        over = ((boxes[:, :2] <= middle) & (middle < boxes[:, 2:])).all(axis=1)
        number = int(masks.cell_id[over][0]) if over.any() else -1
    return np.asarray(masks.labels == number)


def measure_cells(segmenter: Segmenter, folder: Path, pictures: Iterable[Path]) -> dict[str, Figure]:
    cells, nuclei = [], []
    for path in pictures:
        truth = np.asarray(Image.open(folder / "masks" / path.name))
        masks = segmenter.segment(SmearImage(pixels=read(path)))
        cell = middle_cell(masks)
        cells.append(iou(cell, truth > 0))
        nuclei.append(iou(cell & masks.nucleus, truth == 2))
    name = folder.name
    return {
        f"{name}_cells": len(cells),
        f"{name}_iou": float(np.mean(cells)),
        f"{name}_p10": float(np.percentile(cells, 10)),
        f"{name}_nucleus_iou": float(np.mean(nuclei)),
    }


def measure_fields(segmenter: Segmenter, folder: Path) -> dict[str, Figure]:
    boxes: dict[str, list[list[int]]] = defaultdict(list)
    with (folder / "boxes.csv").open() as file:
        for row in csv.DictReader(file):
            if row["kind"] == "wbc":
                boxes[row["image"]].append([int(row[k]) for k in ("xmin", "ymin", "xmax", "ymax")])
    rows, dev = [], []
    for path in sorted((folder / "fields").glob("*.jpg")):
        masks = segmenter.segment(SmearImage(pixels=read(path)))
        rows.append(score(np.array(boxes[path.name]).reshape(-1, 4), masks.boxes_xyxy))
        dev.append(is_dev(path.name))
    figures: dict[str, Figure] = {}
    for part, chosen in (("", np.array(dev) >= 0), ("_unseen_half", ~np.array(dev))):
        cells, hits, centred, false = np.array(rows)[chosen].sum(axis=0)
        figures |= {
            f"bccd_recall{part}": float(hits / cells),
            f"bccd_recall_by_centre{part}": float(centred / cells),
            f"bccd_fp_per_field{part}": float(false / chosen.sum()),
        }
    return figures


def stored_runs() -> dict[str, Figure]:
    """Scores of the trainings without a lab."""
    if not RUNS.is_file():
        return {}
    runs = json.loads(RUNS.read_text())
    figures: dict[str, Figure] = {}
    for lab, run in runs.items():
        steps = f"{run['steps']} steps of {run['of_steps']}"
        print(f"without {lab}: {run['cells']} cells, model {run['sha256'][:12]}, {steps}")
        figures |= {
            f"loo_{lab}_{name.removeprefix('cell_')}": run[name] for name in ("cell_iou", "nucleus_iou")
        }
        figures[f"loo_{lab}_p10"] = run["cell_iou_p10"]
    return figures


def main() -> None:
    weights = Path(sys.argv[sys.argv.index("--model") + 1]) if "--model" in sys.argv else shipped_weights()
    header("segment_accuracy", f"model {weights.name} {hash_file(weights)[:12]}, default settings")
    figures, reasons = stored_runs(), {}
    data = real_data()
    if data is None:
        reasons = {name: "no real cells: set BLOODCELL_DATA" for name in LIMITS if name not in figures}
    else:
        segmenter = find_segmenter(weights)
        for lab in ("jtsc", "cellavision"):
            pictures = sorted((data / lab / "images").glob("*.png"))
            held_out = [path for path in pictures if split_of(path.name) == "held_out"]
            figures |= measure_cells(segmenter, data / lab, held_out)
        figures |= measure_fields(segmenter, data / "bccd")
    missing = {name: "not run" for name in LIMITS if name not in figures and name not in reasons}
    reasons |= missing
    finish(
        {name: figures.get(name) for name in (*LIMITS, *(n for n in figures if n not in LIMITS))},
        LIMITS,
        reasons,
    )


if __name__ == "__main__":
    main()
