"""A synthetic slide of any size through ``analyse_slide``: time, peak memory, and the count against the
truth, beside the error of the same model on small fields of the same slide: ``python -m benchmarks.slide``.
``--side N`` sets the side in pixels (50,000), ``--bundle`` the model (nano), ``--share`` of squares with a
cell (0.15).

The slide is drawn where it is read (``core/synthetic/slide.py``): drawing is part of the time, as decoding is
of a file's. The analysis runs in a process of its own, so that the peak is its peak.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks._common import Figure, finish, header
from napari_bloodcell.core.config import AnalyseConfig, ReadConfig
from napari_bloodcell.core.pipeline import analyse
from napari_bloodcell.core.slide.analysis import analyse_slide
from napari_bloodcell.core.synthetic.slide import BLURRED, FILM, SQUARE_PX, UM, SyntheticSlide, make_slide

SIDE, SHARE, SEED = 50_000, 0.15, 0
FIELDS, FIELD_PX, EDGE_PX = 24, 1200, 60  # cells within EDGE_PX of a field's edge are not compared
NEAR_PX = 12  # 3 µm: the same cell
LIMITS = {"slide_peak_gb": "under 4", "slide_error": "at most field_error, beside chance"}

Boxes = np.ndarray[Any, np.dtype[Any]]


def middles(boxes: Boxes) -> Boxes:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def compare(found: Boxes, truth: Boxes) -> tuple[int, int]:
    """Cells missed, and found where there is none (or found twice). Both are middles, x and y."""
    from scipy.spatial import cKDTree

    if not len(found) or not len(truth):
        return len(truth), len(found)
    away, nearest = cKDTree(truth).query(found)
    hit = np.unique(nearest[away < NEAR_PX])
    return len(truth) - len(hit), len(found) - len(hit)


def field_errors(slide: SyntheticSlide, bundle: str) -> tuple[int, int]:
    """Errors and cells in small fields, each analysed alone."""
    kinds, truth = slide.image.array.kinds, middles(slide.boxes_xyxy)
    rng, wrong, cells = np.random.default_rng(SEED), 0, 0
    config = AnalyseConfig(read=ReadConfig(um_per_px=UM))
    places = np.argwhere(kinds == FILM)
    side = -(-FIELD_PX // SQUARE_PX)
    good = [p for p in places if (kinds[p[0] : p[0] + side, p[1] : p[1] + side] == FILM).all()]
    for row, column in rng.permutation(good)[:FIELDS]:
        top, left = int(row) * SQUARE_PX, int(column) * SQUARE_PX
        pixels = slide.image[top : top + FIELD_PX, left : left + FIELD_PX]
        if min(pixels.shape[:2]) < FIELD_PX:
            continue
        found = middles(analyse(pixels, bundle, config).masks.boxes_xyxy)
        inside = [within(points) for points in (found, truth - [left, top])]
        missed, extra = compare(*inside)
        wrong, cells = wrong + missed + extra, cells + len(inside[1])
    return wrong, cells


def within(points: Boxes) -> Boxes:
    return points[((points > EDGE_PX) & (points < FIELD_PX - EDGE_PX)).all(1)]


def run_child(side: int, bundle: str, share: float, out: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.slide", "--child", str(out)]
    command += ["--side", str(side), "--bundle", bundle, "--share", str(share)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    figures: dict[str, float] = json.loads(told.splitlines()[-1])
    return figures


def child(side: int, bundle: str, share: float, out: Path) -> None:
    import resource

    slide = make_slide(side, side, seed=SEED, share=share)
    start = time.perf_counter()
    analyse_slide(slide.image, out, bundle)
    seconds = time.perf_counter() - start
    print(json.dumps({"s": seconds, "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}))


def measure_slide(side: int = SIDE, bundle: str = "nano", share: float = SHARE) -> dict[str, Figure]:
    """What ``benchmarks.scale`` takes: ``slide_s``, ``slide_peak_gb`` and the errors."""
    slide = make_slide(side, side, seed=SEED, share=share)
    with tempfile.TemporaryDirectory() as name:
        figures = run_child(side, bundle, share, Path(name))
        table = pd.read_parquet(Path(name) / "cells.parquet")
    found = middles(table[["x0", "y0", "x1", "y1"]].to_numpy())
    columns, rows = (found // SQUARE_PX).astype(int).T
    blurred = slide.image.array.kinds[rows, columns] == BLURRED  # by the border of what is out of focus
    missed, extra = compare(found[~blurred], middles(slide.boxes_xyxy))
    wrong, cells = field_errors(slide, bundle)
    return {
        "slide_s": figures["s"],
        "slide_peak_gb": figures["peak_gb"],
        "slide_truth": len(slide.boxes_xyxy),
        "slide_found": int((~blurred).sum()),
        "slide_missed": missed,
        "slide_extra": extra,
        "slide_error": (missed + extra) / max(1, len(slide.boxes_xyxy)),
        "field_error": wrong / max(1, cells),
        "field_cells": cells,
        "blurred_found": int(blurred.sum()),
        "blurred_cells": slide.out_of_focus,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument("--bundle", default="nano")
    parser.add_argument("--share", type=float, default=SHARE)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", type=Path)
    asked = parser.parse_args(sys.argv[1:])
    if asked.child is not None:
        child(asked.side, asked.bundle, asked.share, asked.child)
        return
    header("slide", f"{asked.side} x {asked.side} px at {UM} µm, bundle {asked.bundle}")
    finish(measure_slide(asked.side, asked.bundle, asked.share), LIMITS)


if __name__ == "__main__":
    main()
