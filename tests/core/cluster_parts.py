"""Fields, schedulers and workers of their own, shared by the tests of the engine."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from napari_bloodcell.core.config import SmearConfig
from napari_bloodcell.core.synthetic import make_smear

MODEL = "stain"  # loads no torch: a worker starts in a second


def draw(path: Path, seed: int, cells: int = 1) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    config = SmearConfig(width_px=192, height_px=160, white_cells=cells, seed=seed)
    Image.fromarray(np.array(make_smear(config).image.pixels)).save(path)
    return path


def tables(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*.parquet"))}


def workers_of(parent: int) -> list[int]:
    """Dask's worker processes below this one (each stands below its nanny's process group)."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_text()
            except OSError:
                continue
            if (
                int(fields[1]) == parent
                and "multiprocessing" in command
                and "resource_tracker" not in command
            ):
                found.append(int(entry.name))
    return sorted(found)


def free_address() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{one.getsockname()[1]}"


def start_scheduler(address: str) -> subprocess.Popen[bytes]:
    return _start("scheduler", "--host", "127.0.0.1", "--port", address.rpartition(":")[2])


def start_worker(address: str, *options: str) -> subprocess.Popen[bytes]:
    return _start("worker", address, "--nthreads", "1", *options)


def _start(what: str, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-W", "ignore", "-m", f"distributed.cli.dask_{what}", *options]
    return subprocess.Popen(
        [*command, "--no-dashboard"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@contextmanager
def until_the_end(running: list[subprocess.Popen[bytes]]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that end with the block, also where a test fails in it."""
    try:
        yield running
    finally:
        stop(running)


def stop(running: list[subprocess.Popen[bytes]]) -> None:
    for process in running:
        process.terminate()  # a nanny takes its worker along
    for process in running:
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:  # a worker that looks for its scheduler may not hear it
            process.kill()
            process.wait(timeout=15)
