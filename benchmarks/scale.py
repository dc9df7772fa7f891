"""What several workers gain, what the engine costs, whether memory stays flat, and what is lost when workers
die: ``python -m benchmarks.scale``. ``--fields N`` sets how many fields (200).

Fields are synthetic, 480 x 360 with two white cells. Each way works on the same files, into its own folder.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks._common import Figure, finish, header
from napari_bloodcell.core.batch import analyse_files
from napari_bloodcell.core.config import EngineConfig, SmearConfig
from napari_bloodcell.core.synthetic import make_smear

LIMITS = {
    "two_workers_ratio": "at least 1.7 (two cores)",
    "engine_overhead": "under 0.1 of the time of one process",
    "memory_slope_mb_per_1000": "flat: a few MB (per 1,000 fields, in one process)",
    "faults_survived": "of 10: workers killed at random moments",
    "items_lost": "0",
}
KINDS, FAULTS = 25, 10


def draw_fields(folder: Path, number: int) -> None:
    folder.mkdir()
    drawn = []
    for seed in range(min(KINDS, number)):
        config = SmearConfig(width_px=480, height_px=360, white_cells=2, seed=seed, look="random")
        drawn.append(np.array(make_smear(config).image.pixels))
    for i in range(number):
        picture = drawn[i % KINDS].copy()
        picture[0, 0] = (i % 251, i // 251, 0)  # no two files are the same
        Image.fromarray(picture).save(folder / f"field-{i:05d}.png")


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def timed(fields: Path, out: Path, engine: EngineConfig) -> tuple[float, list[tuple[int, float]]]:
    """Seconds, and the memory of this process after each image."""
    memory: list[tuple[int, float]] = []

    def watch(stage: str, done: int, _total: int) -> None:
        if stage.startswith("Image ") and done and (not memory or memory[-1][0] != done):
            memory.append((done, resident_mb()))

    start = time.perf_counter()
    analyse_files([fields], out, engine=engine, progress=watch)
    return time.perf_counter() - start, memory


def slope_per_1000(memory: list[tuple[int, float]]) -> float:
    """A straight line through the second half, after everything is loaded."""
    late = np.array(memory[len(memory) // 2 :])
    return float(1000 * np.polyfit(late[:, 0], late[:, 1], 1)[0])


def workers() -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                command = (entry / "cmdline").read_text()
            except OSError:
                continue
            if parent == os.getpid() and "spawn_main" in command:
                found.append(int(entry.name))
    return found


def survive_kills(fields: Path, root: Path, expected: pd.DataFrame) -> tuple[int, int]:
    """Runs in which a worker is killed at a random moment: how many ended well, and images lost in all."""
    survived, lost, rng = 0, 0, random.Random(0)
    for number in range(FAULTS):
        out = root / f"fault-{number}"
        over = threading.Event()

        def kill(over: threading.Event = over) -> None:
            while not over.is_set() and not workers():
                time.sleep(0.05)
            if not over.wait(rng.uniform(2, 8)):
                alive = workers()
                if alive:
                    os.kill(rng.choice(alive), signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        result = analyse_files([fields], out, engine=EngineConfig(workers=2))
        over.set()
        killer.join()
        lost += len(result.failed)
        survived += pd.read_parquet(out / "cells.parquet").equals(expected)
    return survived, lost


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fields", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(sys.argv[1:])
    header("scale", f"{asked.fields} fields of 480 x 360, bundle nano")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        draw_fields(root / "fields", asked.fields)
        draw_fields(root / "few", 20)
        analyse_files([root / "few"], root / "warm")  # everything is loaded once
        here, memory = timed(root / "fields", root / "here", EngineConfig())
        two, _ = timed(root / "fields", root / "two", EngineConfig(workers=2))
        # One worker of a cluster against this process: what the engine itself costs.
        one, _ = timed_by_one_worker(root / "fields", root / "one")
        expected = pd.read_parquet(root / "warm" / "cells.parquet")
        survived, lost = survive_kills(root / "few", root, expected)
        same = (root / "here" / "cells.csv").read_bytes() == (root / "two" / "cells.csv").read_bytes()
    figures: dict[str, Figure] = {
        "one_process_s": here,
        "two_workers_ratio": here / two,
        "engine_overhead": (one - here) / here,
        "memory_slope_mb_per_1000": slope_per_1000(memory),
        "same_results": str(same),
        "faults_survived": survived,
        "items_lost": lost,
        "slide_s": None,
        "slide_peak_gb": None,
    }
    finish(figures, LIMITS, {"slide_s": "not measured here", "slide_peak_gb": "not measured here"})


def timed_by_one_worker(fields: Path, out: Path) -> tuple[float, list[tuple[int, float]]]:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as cluster:
        engine = EngineConfig(scheduler=cluster.scheduler_address)
        timed_few = fields.parent / "few"
        analyse_files([timed_few], out.with_name("one-warm"), engine=engine)  # the worker has loaded all
        return timed(fields, out, engine)


if __name__ == "__main__":
    main()
