"""How long a person waits: import, help, and locating the white cells of one field.

``python -m benchmarks.startup [--json]`` from the root.
"""

import subprocess
import sys
import time
from statistics import median

from benchmarks._common import finish, header

REPEATS = 15


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def in_turn(ours: list[str], baseline: list[str]) -> tuple[float, float]:
    """Medians of both, timed in turn, after one run of each to warm the disk."""
    seconds(ours), seconds(baseline)
    pairs = [(seconds(ours), seconds(baseline)) for _ in range(REPEATS)]
    return median(a for a, _ in pairs), median(b for _, b in pairs)


def locate_ms() -> float:
    from napari_bloodcell.core.config import SegmentConfig, SmearConfig
    from napari_bloodcell.core.segment.locate import locate
    from napari_bloodcell.core.segment.survey import survey
    from napari_bloodcell.core.synthetic import make_smear

    field = make_smear(SmearConfig(width_px=640, height_px=480, white_cells=3)).image
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        seen = survey(field.pixels, None)  # the scale too is found, as in a picture without metadata
        locate(field.pixels, seen, SegmentConfig())
        times.append(time.perf_counter() - start)
    return 1000 * median(times[1:])


def main() -> None:
    header("startup", f"medians of {REPEATS}, a new process each; locate on a synthetic 640x480 field")
    bare = [sys.executable, "-c", "pass"]
    ours, nothing = in_turn([sys.executable, "-c", "import napari_bloodcell"], bare)
    help_s, _ = in_turn([sys.executable, "-m", "napari_bloodcell.cli", "--help"], bare)
    rows = {"import_ms": 1000 * (ours - nothing), "help_s": help_s, "locate_ms": locate_ms()}
    limits = {"import_ms": "under 50, over bare Python", "help_s": "under 0.5", "locate_ms": "under 60"}
    finish(rows, limits)


if __name__ == "__main__":
    main()
