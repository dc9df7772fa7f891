"""What dies, fills up or never comes: the rest is done all the same, and it is said."""

import os
import random
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import dask
import pandas as pd
import pytest
from cluster_parts import MODEL, draw, free_address, start_scheduler, start_worker, tables, until_the_end
from distributed import Client  # before any setting of Dask: it brings the defaults
from PIL import Image

from napari_bloodcell.core.attempts import forget_attempts
from napari_bloodcell.core.batch import analyse_files
from napari_bloodcell.core.bundle import load_bundle
from napari_bloodcell.core.cluster import _do_here
from napari_bloodcell.core.config import AnalyseConfig, EngineConfig
from napari_bloodcell.core.errors import ArtifactError, EngineError
from napari_bloodcell.core.jobs import Job
from napari_bloodcell.core.ledger import read_ledger

# What each worker loads at its start: some images kill it, or find the disk full.
TROUBLE = """
import errno, os, signal
from pathlib import Path
from napari_bloodcell.core import cluster
from napari_bloodcell.core.artifact import cannot_write
from napari_bloodcell.core.jobs import do

def do_or_die(job):
    with Path({log!r}).open("a") as log:
        log.write(job.path.stem + chr(10))
    if job.path.stem == "poison":
        os.kill(os.getpid(), signal.SIGKILL)
    if job.path.stem == "full":
        raise cannot_write(job.folder, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    return do(job)

cluster.do = do_or_die
"""


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fields")
    for seed in range(4):
        draw(root / f"f{seed}.png", seed)
    return root


@pytest.fixture(scope="module")
def trouble(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the log of what was begun."""
    folder = tmp_path_factory.mktemp("trouble")
    (folder / "preload.py").write_text(TROUBLE.format(log=str(folder / "begun.txt")))
    return folder


@pytest.fixture(scope="module")
def cluster(trouble: Path) -> Iterator[str]:
    """A scheduler and two workers, as on a cluster; one announces a GPU."""
    address = free_address()
    preload = ("--preload", str(trouble / "preload.py"))
    running: list[subprocess.Popen[bytes]] = [start_scheduler(address)]
    running += [start_worker(address, *preload, "--resources", "GPU=1"), start_worker(address, *preload)]
    with until_the_end(running):
        with Client(address, timeout=60) as client:
            client.wait_for_workers(2, timeout=60)
        yield address


@pytest.fixture(params=["here", "cluster"])
def engine(request: pytest.FixtureRequest, trouble: Path) -> Iterator[EngineConfig]:
    (trouble / "begun.txt").unlink(missing_ok=True)
    if request.param == "cluster":
        yield EngineConfig(scheduler=request.getfixturevalue("cluster"), attempts=2)
        return
    with dask.config.set({"distributed.worker.preload": [str(trouble / "preload.py")]}):
        yield EngineConfig(workers=2, attempts=2)


def beside(fields: Path, folder: Path, name: str) -> list[Path]:
    image = draw(folder / f"{name}.png", 9)
    return [image, *sorted(fields.iterdir())]


def test_an_image_that_kills_its_worker_is_given_up_after_its_attempts(
    fields: Path, trouble: Path, tmp_path: Path, engine: EngineConfig
) -> None:
    result = analyse_files(beside(fields, tmp_path, "poison"), tmp_path / "out", MODEL, engine=engine)
    assert [item.state for item in result.items] == ["failed"] + ["done"] * 4
    assert "poison.png: its worker died each time it was tried, 2 times" in result.failed[0].reason
    assert (trouble / "begun.txt").read_text().split().count("poison") == 2
    assert [line["state"] for line in read_ledger(tmp_path / "out")].count("failed") == 1
    assert not (tmp_path / "out" / ".attempts").exists()


def test_a_full_disk_on_a_worker_stops_the_run_and_the_next_goes_on(
    fields: Path, tmp_path: Path, engine: EngineConfig
) -> None:
    images = [*beside(fields, tmp_path, "full")[1:], tmp_path / "full.png"]
    with pytest.raises(
        ArtifactError, match=r"No space left on device. What it held before is unchanged. Free some space"
    ):
        analyse_files(images, tmp_path / "out", MODEL, engine=engine)
    assert not (tmp_path / "out" / "full" / "run.json").exists()
    after = analyse_files(images, tmp_path / "out", MODEL)
    assert after.items[-1].state == "done"
    assert not after.failed


def test_only_workers_that_announce_the_resource_get_work(fields: Path, tmp_path: Path, cluster: str) -> None:
    engine = EngineConfig(scheduler=cluster, resource="GPU")
    result = analyse_files([fields], tmp_path, MODEL, engine=engine)
    assert [item.state for item in result.items] == ["done"] * 4
    assert len({item.worker for item in result.items}) == 1


def test_a_resource_that_no_worker_announces_is_said(fields: Path, tmp_path: Path, cluster: str) -> None:
    stages: list[str] = []
    engine = EngineConfig(scheduler=cluster, resource="TPU", wait_s=0.5)
    with pytest.raises(
        EngineError,
        match=r"No worker that announces 'TPU' in 0\.5 s \(2 are there, announcing GPU\); 0 of 4 images are "
        r"done.*dask worker tcp://.* --resources \"TPU=1\"`.*--wait-s",
    ):
        analyse_files(
            [fields], tmp_path, MODEL, engine=engine, progress=lambda stage, *_: stages.append(stage)
        )
    assert "Waiting for a worker that announces 'TPU'" in stages


def test_a_scheduler_without_workers_is_said(fields: Path, tmp_path: Path) -> None:
    address = free_address()
    engine, said = (
        EngineConfig(scheduler=address, wait_s=0.5),
        r"No worker in 0\.5 s \(none is there\); 0 of 4 images",
    )
    with until_the_end([start_scheduler(address)]), pytest.raises(EngineError, match=said):
        analyse_files([fields], tmp_path, MODEL, engine=engine)


def test_ten_workers_killed_at_random_moments_cost_nothing(fields: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(40):
        picture = Image.open(fields / f"f{number % 4}.png")
        picture.putpixel((0, 0), (number, 0, 0))  # no two files are the same
        picture.save(tmp_path / "in" / f"{number:02}.png")
    killed: set[int] = set()
    timers, rng = [], random.Random(0)

    def kill_soon(stage: str, done: int, total: int) -> None:
        """A worker that has finished an image is killed, somewhere in one of the next."""
        finished = {int(line["worker"].rpartition(":")[2]) for line in read_ledger(tmp_path / "out")}
        for pid in finished - killed:
            if len(killed) < 10:
                killed.add(pid)
                timers.append(threading.Timer(rng.uniform(0, 0.5), os.kill, (pid, signal.SIGKILL)))
                timers[-1].start()

    engine = EngineConfig(workers=2, attempts=20)
    result = analyse_files([tmp_path / "in"], tmp_path / "out", MODEL, engine=engine, progress=kill_soon)
    for timer in timers:
        timer.join()
    assert len(killed) == 10
    assert len(result.items) == 40  # "kept" where a worker died between the last file and its word
    assert not result.failed
    analyse_files([tmp_path / "in"], tmp_path / "one", MODEL, engine=EngineConfig(pictures=False))
    assert tables(tmp_path / "out") == tables(tmp_path / "one")


def test_a_corrupt_image_among_a_hundred_costs_only_itself(fields: Path, tmp_path: Path) -> None:
    blank = Image.new("RGB", (64, 48), (230, 225, 240))
    for number in range(98):
        blank.putpixel((0, 0), (number, 200, 200))
        blank.save(tmp_path / f"{number:02}.png")
    good = (fields / "f0.png").read_bytes()
    (tmp_path / "whole.png").write_bytes(good)
    (tmp_path / "corrupt.png").write_bytes(good[: len(good) // 2])
    result = analyse_files([tmp_path], tmp_path / "out", MODEL, engine=EngineConfig(pictures=False))
    assert [item.path.name for item in result.failed] == ["corrupt.png"]
    assert "corrupt.png" in result.failed[0].reason
    assert len(result.items) == 100
    assert len(pd.read_parquet(tmp_path / "out" / "cells.parquet")) == result.differential.counted == 1


def test_an_image_whose_worker_died_after_it_was_written_counts_as_done(fields: Path, tmp_path: Path) -> None:
    bundle = load_bundle(MODEL)
    path = sorted(fields.glob("*.png"))[0]
    job = Job(
        path=path, folder=tmp_path / path.stem, bundle=MODEL, bundle_hash=bundle.hash, config=AnalyseConfig()
    )
    assert _do_here(job, 2).state == "done"
    assert _do_here(job, 2).state == "done"  # its answer was lost, another worker looks again
    forget_attempts(tmp_path)
    assert _do_here(job, 2).state == "kept"  # the next run
