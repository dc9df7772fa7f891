"""What every benchmark prints: the machine, a table, and with ``--json`` a last line of figures."""

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np

Figure = float | int | str | None


def header(name: str, settings: str) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine = f"{platform.machine()}, {cores} cores, Python {platform.python_version()}"
    print(f"{name}: napari-bloodcell {version('napari-bloodcell')} on {machine}")
    print(f"settings: {settings}")


def finish(
    figures: Mapping[str, Figure],
    limits: Mapping[str, str] | None = None,
    reasons: Mapping[str, str] | None = None,
) -> None:
    """The table, and the JSON line. ``reasons`` says why a figure is null."""
    limits, reasons = limits or {}, reasons or {}
    width = max(map(len, figures))
    for name, value in figures.items():
        shown = f"{value:10.3f}" if isinstance(value, float) else f"{value!s:>10}"
        print(f"{name:<{width}} {shown}   {limits.get(name) or reasons.get(name) or ''}".rstrip())
    if "--json" in sys.argv:
        ready = {name: round(v, 5) if isinstance(v, float) else v for name, v in figures.items()}
        print(json.dumps(ready | ({"reasons": dict(reasons)} if reasons else {})))


def in_turn(
    *calls: Callable[[], object],
    rounds: int,
    least: bool = False,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Median seconds of each, one after the other in every round, after one call that warms up.

    Where others use the machine too: ``least`` takes the shortest instead, and ``time.process_time`` as the
    clock counts what the processor worked for this program alone (of all its threads together)."""
    taken: list[list[float]] = [[] for _ in calls]
    for number in range(rounds + 1):
        for call, times in zip(calls, taken, strict=True):
            start = clock()
            call()
            if number:
                times.append(clock() - start)
    return [min(times) if least else float(np.median(times)) for times in taken]


def real_data() -> Path | None:
    """The real cells: BLOODCELL_DATA, or ``shared/data`` beside the checkout."""
    root = Path(__file__).resolve().parent.parent
    folder = Path(os.environ.get("BLOODCELL_DATA", root.parent / "shared" / "data"))
    return folder if (folder / "bccd").is_dir() else None
