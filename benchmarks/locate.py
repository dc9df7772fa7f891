"""How well and how fast white cells are found and outlined without weights: ``python -m benchmarks.locate``.

The settings were chosen on the fields whose name hashes (SHA-256) to a first digit below 8 ("dev");
the other half was only measured.
"""

import csv
import hashlib
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks._common import Figure, finish, header, real_data
from napari_bloodcell.core.config import SegmentConfig
from napari_bloodcell.core.records import SmearImage
from napari_bloodcell.core.segment import StainSegmenter
from napari_bloodcell.core.segment.locate import locate
from napari_bloodcell.core.segment.survey import survey

LIMITS = {
    "recall_all": "at least 0.98 (box IoU 0.5)",
    "false_positives_per_field_all": "at most 0.08",
    "locate_ms_median": "under 60",
    "segment_ms_median": "under 120",
}


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def is_dev(name: str) -> bool:
    return hashlib.sha256(name.encode()).hexdigest()[0] < "8"


def ious(truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Truth x found."""
    low = np.maximum(truth[:, None, :2], found[None, :, :2])
    high = np.minimum(truth[:, None, 2:], found[None, :, 2:])
    both = np.prod(np.maximum(high - low, 0), axis=2)
    area_t, area_f = (np.prod(b[:, 2:] - b[:, :2], axis=1) for b in (truth, found))
    return both / (area_t[:, None] + area_f[None] - both)


def score(truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Cells, found by box, found by centre, false positives. Each box found counts for one cell."""
    overlap = ious(truth, found)
    hits = 0
    while overlap.size and overlap.max() >= 0.5:
        i, j = np.unravel_index(overlap.argmax(), overlap.shape)
        overlap[i], overlap[:, j] = 0, 0
        hits += 1
    middle = (found[:, :2] + found[:, 2:]) / 2
    inside = (truth[:, None, :2] <= middle) & (middle <= truth[:, None, 2:])
    centred = int(inside.all(axis=2).any(axis=1).sum())
    return np.array([len(truth), hits, centred, len(found) - hits])


def measure_fields(folder: Path) -> dict[str, Figure]:
    boxes: dict[str, list[list[int]]] = defaultdict(list)
    with (folder / "boxes.csv").open() as file:
        for row in csv.DictReader(file):
            if row["kind"] == "wbc":
                boxes[row["image"]].append([int(row[k]) for k in ("xmin", "ymin", "xmax", "ymax")])
    scores, dev, locating, segmenting = [], [], [], []
    for path in sorted((folder / "fields").glob("*.jpg")):
        pixels = read(path)
        start = time.perf_counter()
        seen = survey(pixels, None)
        if seen is not None:
            locate(pixels, seen, SegmentConfig())
        locating.append(time.perf_counter() - start)
        start = time.perf_counter()
        masks = StainSegmenter().segment(SmearImage(pixels=pixels))
        segmenting.append(time.perf_counter() - start)
        scores.append(score(np.array(boxes[path.name]).reshape(-1, 4), masks.boxes_xyxy))
        dev.append(is_dev(path.name))
    figures: dict[str, Figure] = {}
    table, chosen = np.array(scores), np.array(dev)
    for part, rows in (("dev", table[chosen]), ("other", table[~chosen]), ("all", table)):
        cells, hits, centred, false = rows.sum(axis=0)
        figures[f"fields_{part}"] = len(rows)
        figures[f"recall_{part}"] = float(hits / cells)
        figures[f"recall_by_centre_{part}"] = float(centred / cells)
        figures[f"false_positives_per_field_{part}"] = float(false / len(rows))
    figures["locate_ms_median"] = float(np.median(locating) * 1e3)
    figures["segment_ms_median"] = float(np.median(segmenting) * 1e3)
    return figures


def measure_cells(folder: Path) -> dict[str, Figure]:
    """IoU of the cell that covers the middle of each picture; 0 where none does."""
    cell_ious, nucleus_ious = [], []
    for path in sorted((folder / "images").glob("*.png")):
        truth = np.asarray(Image.open(folder / "masks" / path.name))
        masks = StainSegmenter().segment(SmearImage(pixels=read(path)))
        height, width = truth.shape
        boxes = masks.boxes_xyxy
        middle = (boxes[:, :2] <= (width / 2, height / 2)) & ((width / 2, height / 2) < boxes[:, 2:])
        over = np.flatnonzero(middle.all(axis=1))
        number = int(masks.labels[height // 2, width // 2]) or (int(over[0]) + 1 if len(over) else -1)
        cell = masks.labels == number
        for found, real, into in (
            (cell, truth > 0, cell_ious),
            (cell & masks.nucleus, truth == 2, nucleus_ious),
        ):
            into.append((found & real).sum() / max(1, (found | real).sum()))
    name, figures = folder.name, {}
    for kind, values in (("cell", cell_ious), ("nucleus", nucleus_ious)):
        figures[f"{name}_{kind}_iou_mean"] = float(np.mean(values))
        figures[f"{name}_{kind}_iou_p10"] = float(np.percentile(values, 10))
    return figures


def main() -> None:
    header("locate", f"{StainSegmenter.kind}, default settings, pixel size not given")
    data = real_data()
    if data is None:
        reason = "no real cells: set BLOODCELL_DATA"
        finish(dict.fromkeys(LIMITS), reasons=dict.fromkeys(LIMITS, reason))
        return
    figures = measure_fields(data / "bccd")
    for lab in ("jtsc", "cellavision"):
        figures |= measure_cells(data / lab)
    finish(figures, LIMITS)


if __name__ == "__main__":
    main()
