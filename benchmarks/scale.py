"""What several workers gain, what the engine costs, whether a worker's memory stays flat, what is lost when
workers die, and what a cell takes on disk: ``python -m benchmarks.scale``.

``--fields N`` (200), ``--memory-fields N`` for a longer look at the memory (else the same fields),
``--bundle`` (nano), ``--slide SIDE`` for a synthetic slide of that side in pixels (0: none).

Fields are synthetic, 480 x 360 with two white cells. Each way works on the same files into its own folder,
one thread a process, after everything is loaded; starting two workers is a figure of its own.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks._common import Figure, finish, header
from napari_bloodcell.core.batch import BatchResult, analyse_files
from napari_bloodcell.core.cluster import WORKERS
from napari_bloodcell.core.config import EngineConfig, SmearConfig
from napari_bloodcell.core.ledger import read_ledger
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.synthetic import make_smear

LIMITS = {
    "two_workers_ratio": "at least 1.7 (two cores): one process over two workers",
    "engine_overhead": "under 0.1 of the time of one process",
    "engine_ms_per_item": "what handing out an image costs, by a run that keeps all",
    "memory_slope_mb_per_1000": "flat: a few MB (of a worker, per 1,000 fields)",
    "faults_survived": "of 10: workers killed at random moments",
    "items_lost": "0",
    "slide_peak_gb": "under 4",
}
KINDS, WARM, FEW, FAULTS = 25, 8, 40, 10
PICTURES = ("overlay.png", "differential.png")


def one_thread() -> None:
    """As Dask's workers have it: processes are compared, not threads. Torch is not loaded yet."""
    from threadpoolctl import threadpool_limits

    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
    threadpool_limits(1)


def draw_fields(folder: Path, number: int) -> Path:
    folder.mkdir()
    drawn = []
    for seed in range(min(KINDS, number)):
        config = SmearConfig(width_px=480, height_px=360, white_cells=2, seed=seed, look="random")
        drawn.append(np.array(make_smear(config).image.pixels))
    for i in range(number):
        picture = drawn[i % KINDS].copy()
        picture[0, 0] = (i % 251, i // 251, 0)  # no two files are the same
        Image.fromarray(picture).save(folder / f"field-{i:05d}.png")
    return folder


class Runs:
    """The same fields with the same model, in several ways."""

    def __init__(self, root: Path, bundle: str) -> None:
        self._root, self._bundle, self._number = root, bundle, 0
        self._warm = draw_fields(root / "warm", WARM)

    def run(
        self, fields: Path, out: Path, engine: EngineConfig, progress: Progress = silent
    ) -> tuple[float, BatchResult]:
        start = time.perf_counter()
        result = analyse_files([fields], out, self._bundle, engine=engine, progress=progress)
        return time.perf_counter() - start, result

    def new(self) -> Path:
        self._number += 1
        return self._root / f"out-{self._number}"

    @contextmanager
    def cluster(self, workers: int) -> Iterator[tuple[EngineConfig, list[int], float]]:
        """Workers that have loaded all; their processes; the seconds until they were there."""
        import dask
        from distributed import Client, LocalCluster

        start = time.perf_counter()
        options = {"dashboard_address": None, "scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"}}
        with (
            dask.config.set(WORKERS),
            LocalCluster(n_workers=workers, threads_per_worker=1, silence_logs=50, **options) as cluster,
        ):
            ready = time.perf_counter() - start
            engine = EngineConfig(scheduler=cluster.scheduler_address)
            self.run(self._warm, self.new(), engine)
            with Client(cluster) as client:
                processes = list(client.run(os.getpid).values())
            yield engine, processes, ready


class Memory:
    """Megabytes of a process after each image; a progress that looks on."""

    def __init__(self, process: int) -> None:
        self._statm = Path(f"/proc/{process}/statm")
        self.seen: dict[int, float] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:  # noqa: ARG002
        if done not in self.seen:
            pages = int(self._statm.read_text().split()[1])
            self.seen[done] = pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def slope_per_1000(self) -> float:
        """A straight line through the second half, after everything is loaded."""
        late = np.array(sorted(self.seen.items())[len(self.seen) // 2 :])
        return float(1000 * np.polyfit(late[:, 0], late[:, 1], 1)[0])


def survive_kills(runs: Runs, few: Path, expected: Path) -> tuple[int, int]:
    """Ten workers are killed in one run, each some moment after it has finished an image."""
    out, killed, timers, rng = runs.new(), set[int](), list[threading.Timer](), random.Random(0)

    def kill_soon(*_: object) -> None:
        for pid in {int(line["worker"].rpartition(":")[2]) for line in read_ledger(out)} - killed:
            if len(killed) < FAULTS:
                killed.add(pid)
                timers.append(threading.Timer(rng.uniform(0, 2), os.kill, (pid, signal.SIGKILL)))
                timers[-1].start()

    _, result = runs.run(few, out, EngineConfig(workers=2, attempts=20), kill_soon)
    for timer in timers:
        timer.join()
    same = pd.read_parquet(out / "cells.parquet").equals(pd.read_parquet(expected / "cells.parquet"))
    return len(killed) if same else 0, len(result.failed)


def bytes_per_cell(out: Path, cells: int) -> dict[str, Figure]:
    """By kind of file; pictures and what is left are per field, whatever is in it."""
    sizes = {"table": 0, "labels": 0, "pictures": 0, "rest": 0}
    fields = list(out.glob("*/run.json"))
    for path in (p for one in fields for p in one.parent.iterdir()):
        kind = "pictures" if path.name in PICTURES else "labels" if ".ome." in path.name else "rest"
        sizes["table" if path.suffix == ".parquet" else kind] += path.stat().st_size
    pooled = (out / "cells.parquet").stat().st_size
    return {
        "cells": cells,
        "table_bytes_per_cell": pooled / cells,
        "field_table_bytes_per_cell": sizes["table"] / cells,
        "labels_bytes_per_cell": sizes["labels"] / cells,
        "pictures_bytes_per_field": sizes["pictures"] / len(fields),
        "rest_bytes_per_field": sizes["rest"] / len(fields),
    }


def slide_figures(side: int, bundle: str) -> tuple[dict[str, Figure], dict[str, str]]:
    nothing: dict[str, Figure] = {"slide_s": None, "slide_peak_gb": None}
    if not side:
        return nothing, dict.fromkeys(nothing, "not asked for: --slide SIDE")
    try:
        from benchmarks.slide import measure_slide
    except ImportError as error:
        return nothing, dict.fromkeys(nothing, f"benchmarks.slide cannot be used: {error}")
    return {name: value for name, value in measure_slide(side, bundle).items() if name in nothing}, {}


def measure(root: Path, asked: argparse.Namespace) -> dict[str, Figure]:
    fields, few = draw_fields(root / "fields", asked.fields), draw_fields(root / "few", FEW)
    runs = Runs(root, asked.bundle)
    alone, here_out, one_out, two_out = EngineConfig(), runs.new(), runs.new(), runs.new()
    expected = runs.new()
    runs.run(few, expected, alone)
    here, _ = runs.run(fields, here_out, alone)
    kept_here, _ = runs.run(fields, here_out, alone)
    with runs.cluster(1) as (engine, (worker,), _):
        memory = Memory(worker)
        one, _ = runs.run(fields, one_out, engine, memory)
        kept_one, _ = runs.run(fields, one_out, engine)
        if asked.memory_fields:
            memory = Memory(worker)
            runs.run(draw_fields(root / "many", asked.memory_fields), runs.new(), engine, memory)
    with runs.cluster(2) as (engine, _, start):
        two, _ = runs.run(fields, two_out, engine)
    survived, lost = survive_kills(runs, few, expected)
    tables = [(out / "cells.csv").read_bytes() for out in (here_out, one_out, two_out)]
    cells = len(pd.read_parquet(here_out / "cells.parquet"))
    return {
        "one_process_s": here,
        "one_worker_s": one,
        "two_workers_s": two,
        "two_workers_start_s": start,
        "two_workers_ratio": here / two,
        "engine_overhead": (one - here) / here,
        "engine_ms_per_item": 1000 * (kept_one - kept_here) / asked.fields,
        "memory_fields": len(memory.seen),
        "memory_slope_mb_per_1000": memory.slope_per_1000(),
        "same_results": str(len(set(tables)) == 1),
        "faults_survived": survived,
        "items_lost": lost,
        "cells_per_s_per_core": cells / here,
        **bytes_per_cell(here_out, cells),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fields", type=int, default=200)
    parser.add_argument("--memory-fields", type=int, default=0)
    parser.add_argument("--bundle", default="nano")
    parser.add_argument("--slide", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(sys.argv[1:])
    header("scale", f"{asked.fields} fields of 480 x 360, bundle {asked.bundle}")
    one_thread()
    with tempfile.TemporaryDirectory() as name:
        figures = measure(Path(name), asked)
    slide, reasons = slide_figures(asked.slide, asked.bundle)
    finish(figures | slide, LIMITS, reasons)


if __name__ == "__main__":
    main()
