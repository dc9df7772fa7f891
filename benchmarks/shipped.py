"""The model that ships on labs it has never seen, its speed and its size: ``python -m benchmarks.shipped``.

The accuracies are those of the saved run of ``training/make_nano.py``, each lab left out of the training in
turn, read from the bundle, whose hash is printed. Speed and sizes are measured here.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks._common import Figure, finish, header
from napari_bloodcell.core.bundle import find_bundle, load_bundle
from napari_bloodcell.core.config import AnalyseConfig, SmearConfig
from napari_bloodcell.core.pipeline import analyse, classify_masks
from napari_bloodcell.core.segment.choose import shipped_weights
from napari_bloodcell.core.synthetic import make_smear

LIMITS = {
    "zero_label_mean": "aim 0.80",
    "after_25_mean": "aim 0.90",
    "accuracy_surest_half_mean": "aim 0.95",
    "cell_ms": "under 40 (outline, describe, classify; by stain location not counted)",
    "bundle_mb": "at most 15",
}
ROUNDS = 5


def saved_scores() -> dict[str, Figure]:
    labs = load_bundle("nano").scores["leave_one_lab_out"]
    figures: dict[str, Figure] = {}
    columns = {
        "zero_label": lambda s: s["accuracy"],
        "after_25": lambda s: float(np.mean(s["after"]["25"])),
        "accuracy_surest_half": lambda s: s["accuracy_surest_half"],
        "coverage": lambda s: s["coverage"],
    }
    for name, of in columns.items():
        for lab, score in labs.items():
            figures[f"{lab}_{name}"] = float(of(score))
        figures[f"{name}_mean"] = float(np.mean([of(score) for score in labs.values()]))
    return figures


def milliseconds_a_cell() -> float:
    """The whole chain less the location by stain, a cell, on a field of 20 cells; the best of some rounds."""
    config = SmearConfig(width_px=1280, height_px=960, white_cells=20, seed=5)
    picture = make_smear(config).image.pixels
    model, stain = load_bundle("nano"), load_bundle("stain")
    ready = analyse(picture, model)
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        masks = model.segmenter.segment(ready.image)
        classify_masks(ready.image, masks, model, AnalyseConfig())
        middle = time.perf_counter()
        stain.segmenter.segment(ready.image)
        times.append((middle - start - (time.perf_counter() - middle)) / max(1, len(masks)))
    return 1000 * min(times)


def wheel_mb() -> float | None:
    root = Path(__file__).resolve().parent.parent
    uv = shutil.which("uv") or Path(sys.executable).with_name("uv")
    with tempfile.TemporaryDirectory() as out:
        command = [str(uv), "build", "--wheel", "--out-dir", out, str(root)]
        if not Path(uv).exists() or subprocess.run(command, capture_output=True, check=False).returncode:
            return None
        return sum(path.stat().st_size for path in Path(out).glob("*.whl")) / 1e6


def main() -> None:
    model = load_bundle("nano")
    header("shipped", f"bundle nano {model.hash[:12]}, each lab left out of its training in turn")
    files = [*find_bundle("nano").iterdir(), shipped_weights()]
    wheel = wheel_mb()
    figures = saved_scores() | {
        "cell_ms": milliseconds_a_cell(),
        "bundle_mb": sum(path.stat().st_size for path in files) / 1e6,
        "wheel_mb": wheel,
    }
    finish(figures, LIMITS, {} if wheel else {"wheel_mb": "no wheel could be built here"})


if __name__ == "__main__":
    main()
