"""Batches on several processes: the same results, and nothing lost when something dies."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
from cluster_parts import (
    MODEL,
    draw,
    free_address,
    start_scheduler,
    start_worker,
    tables,
    until_the_end,
    workers_of,
)

from napari_bloodcell.core.batch import analyse_files
from napari_bloodcell.core.bundle import load_bundle
from napari_bloodcell.core.cluster import _connected
from napari_bloodcell.core.config import EngineConfig
from napari_bloodcell.core.errors import Cancelled, DataError, EngineError
from napari_bloodcell.core.image import find_images
from napari_bloodcell.core.inputs import list_inputs
from napari_bloodcell.core.ledger import open_ledger, read_ledger
from napari_bloodcell.core.report.slides import read_runs
from napari_bloodcell.core.results import pooled, summarise

TWO = EngineConfig(workers=2)
PLAIN = EngineConfig(pictures=False)  # for what is only compared with, or goes on: half the time


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fields")
    for seed in range(6):
        draw(root / f"slide {seed % 2}" / f"f{seed}.png", seed)
    return root


@pytest.fixture(scope="module")
def by_one(fields: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("one")
    analyse_files([fields], out, MODEL, engine=PLAIN)
    return out


def test_two_workers_write_what_one_writes(fields: Path, by_one: Path, tmp_path: Path) -> None:
    result = analyse_files([fields], tmp_path, MODEL, engine=TWO)
    assert [item.state for item in result.items] == ["done"] * 6
    assert tables(tmp_path) == tables(by_one)
    assert (tmp_path / "differential.csv").read_bytes() == (by_one / "differential.csv").read_bytes()
    assert len({line["worker"] for line in read_ledger(tmp_path)}) == 2
    again = analyse_files([fields], tmp_path, MODEL, engine=TWO)
    assert [item.state for item in again.items] == ["kept"] * 6


def test_workers_of_this_machine_keep_no_diary_of_what_they_do() -> None:
    """Dask's own, on by default, grew by 190 MB in 1,000 fields."""
    with _connected(EngineConfig(workers=1)) as client:
        client.submit(time.sleep, 2.5).result()
        assert list(client.run(lambda dask_worker: len(dask_worker.profile_history)).values()) == [0]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts pages as Linux does")
def test_workers_of_this_machine_keep_the_memory_that_the_next_image_needs() -> None:
    """As Dask sets them up they hand it back after each array: a sixth of the time of an image."""

    def cleared_anew() -> float:
        """Of the pages of twenty arrays of 8 MB, made one after another, those that the system cleared."""
        import resource

        import numpy as np

        np.ones(1_000_000)  # the first is new
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(20):
            np.ones(1_000_000)
        return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / (20 * 8_000_000 / 4096)

    with _connected(EngineConfig(workers=1)) as client:
        assert client.submit(cleared_anew).result(timeout=60) < 0.1


def test_a_network_gives_the_same_on_workers(fields: Path, tmp_path: Path) -> None:
    """Workers have one thread each, this process as many as it likes: the results must not show it."""
    images = [fields / "slide 0" / "f0.png", fields / "slide 1" / "f1.png"]
    for name, engine in (("two", TWO), ("one", PLAIN)):
        analyse_files(images, tmp_path / name, "nano", engine=engine)
    assert tables(tmp_path / "two") == tables(tmp_path / "one")


def test_a_corrupt_image_among_many_costs_only_itself(fields: Path, by_one: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    result = analyse_files([bad, fields], tmp_path / "out", MODEL, engine=TWO)
    assert [item.state for item in result.items] == ["failed"] + ["done"] * 6
    assert "bad.png" in result.failed[0].reason
    assert result.differential.counted == len(pd.read_parquet(by_one / "cells.parquet"))


class KillOneWorker:
    """As soon as the first image is in work, one worker of this run is killed, once."""

    def __init__(self) -> None:
        self.killed: list[int] = []

    def __call__(self, stage: str, done: int, total: int) -> None:
        workers = workers_of(os.getpid())
        if not self.killed and workers and done >= 1:
            os.kill(workers[0], signal.SIGKILL)
            self.killed.append(workers[0])


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the workers by /proc")
def test_a_killed_worker_costs_nothing_but_time(fields: Path, by_one: Path, tmp_path: Path) -> None:
    killer = KillOneWorker()
    result = analyse_files([fields], tmp_path, MODEL, engine=TWO, progress=killer)
    assert killer.killed
    assert [item.state for item in result.items] == ["done"] * 6
    assert tables(tmp_path) == tables(by_one)


class StopAfter:
    def __init__(self, images: int) -> None:
        self.images = images

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage.startswith("Image ") and done >= self.images:
            raise Cancelled


@pytest.mark.parametrize("engine", [EngineConfig(), TWO])
def test_a_cancelled_run_goes_on(fields: Path, by_one: Path, tmp_path: Path, engine: EngineConfig) -> None:
    with pytest.raises(Cancelled):
        analyse_files([fields], tmp_path, MODEL, engine=engine, progress=StopAfter(2))
    done = len(list(tmp_path.glob("*/run.json")))
    assert 2 <= done < 6
    assert len(list((tmp_path / "table").rglob("*.parquet"))) >= 2
    result = analyse_files([fields], tmp_path, MODEL, engine=PLAIN)
    assert sum(item.state == "kept" for item in result.items) >= 2
    assert tables(tmp_path) == tables(by_one)


def test_two_runs_do_not_write_to_one_folder(fields: Path, tmp_path: Path) -> None:
    with open_ledger(tmp_path), pytest.raises(EngineError, match=r"Another run is writing to .*--out"):
        in_thread = []

        def run() -> None:
            try:
                analyse_files([fields], tmp_path, MODEL)
            except EngineError as error:
                in_thread.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        raise in_thread[0]
    assert not list(tmp_path.glob("*/run.json"))


def test_a_bundle_in_memory_does_not_travel(fields: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"memory of this program.*save_bundle"):
        analyse_files([fields], tmp_path, load_bundle(MODEL), engine=TWO)


def test_a_scheduler_that_does_not_answer_is_named(
    fields: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_bloodcell.core import cluster

    monkeypatch.setattr(cluster, "CONNECT_S", 1)
    with pytest.raises(
        EngineError, match=r"No Dask scheduler answers at 'tcp://127\.0\.0\.1:9'.*dask worker"
    ):
        analyse_files([fields], tmp_path, MODEL, engine=EngineConfig(scheduler="tcp://127.0.0.1:9"))


def test_a_scheduler_that_is_killed_loses_nothing(fields: Path, by_one: Path, tmp_path: Path) -> None:
    address = free_address()

    def both() -> list[subprocess.Popen[bytes]]:
        return [start_scheduler(address), start_worker(address, "--no-nanny")]

    engine = EngineConfig(scheduler=address)
    with until_the_end(both()) as running:

        def end_it(stage: str, done: int, total: int) -> None:
            if stage.startswith("Image ") and done >= 2:
                for process in running:
                    process.kill()

        with pytest.raises(EngineError, match=r"scheduler went away after \d of 6 images.*same command"):
            analyse_files([fields], tmp_path, MODEL, engine=engine, progress=end_it)
    assert len(list(tmp_path.glob("*/run.json"))) >= 2
    with until_the_end(both()):
        result = analyse_files([fields], tmp_path, MODEL, engine=engine)
    assert sum(item.state == "kept" for item in result.items) >= 2
    assert tables(tmp_path) == tables(by_one)


def test_the_table_is_asked_slide_by_slide(by_one: Path) -> None:
    slides = summarise(by_one)
    assert [(s.name, s.images) for s in slides] == [("slide 0", 3), ("slide 1", 3)]
    table = pd.read_parquet(by_one / "cells.parquet")
    assert sum(s.differential.counted for s in slides) == pooled(slides).counted == len(table)
    whole = pd.read_parquet(by_one / "table")  # as any other program reads it
    assert sorted(whole["slide"].unique()) == ["slide 0", "slide 1"]
    assert [s.name for s in summarise(by_one, where="1")] == ["slide 1"]
    sure = summarise(by_one, least_probability=0.99)
    assert pooled(sure).counted == int((table["cell_type_prob"] >= 0.99).sum())


def test_no_results_are_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no results"):
        summarise(tmp_path)


def test_a_half_written_line_of_the_ledger_is_passed_over(by_one: Path, tmp_path: Path) -> None:
    text = (by_one / "ledger.jsonl").read_text()
    (tmp_path / "ledger.jsonl").write_text(text + '{"when": "2026-')
    assert read_ledger(tmp_path) == [json.loads(line) for line in text.splitlines()]


def test_a_list_names_images_slides_and_scales(fields: Path, tmp_path: Path) -> None:
    table = tmp_path / "list.csv"
    image = fields / "slide 0" / "f0.png"
    table.write_text(f"image,slide,um_per_px\n{image},S1,0.08\n{fields / 'slide 1' / 'f1.png'},,\n")
    first, second = list_inputs([table])
    assert (first.path, first.slide, first.um_per_px) == (image, "S1", 0.08)
    assert (second.slide, second.um_per_px) == ("slide 1", None)
    result = analyse_files([table], tmp_path / "out", MODEL)
    assert [item.slide for item in result.items] == ["S1", "slide 1"]
    cells = pd.read_parquet(tmp_path / "out" / "f0" / "cells.parquet")
    assert set(cells["um_per_px"]) <= {0.08}
    assert set(cells["scale_source"]) <= {"given"}


def test_an_image_named_in_two_ways_counts_once(
    fields: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = fields / "slide 0" / "f0.png"
    table = tmp_path / "list.csv"
    table.write_text(f"image,slide\n{image},S1\n\n{fields / 'slide 1' / '..' / 'slide 0' / 'f0.png'},S1\n")
    monkeypatch.chdir(fields)
    found = list_inputs([table, "slide 0/f0.png", "./slide 0", "slide 1/../slide 0/f0.png"])
    assert [(one.path, one.slide) for one in found if one.path.name == "f0.png"] == [(image, "S1")]
    (alone,) = list_inputs(["slide 1/../slide 0/f0.png"])
    assert alone.slide == "slide 0"
    assert len(find_images(["slide 0/f0.png", image])) == 1


def test_folders_of_one_name_are_slides_of_their_own(tmp_path: Path) -> None:
    for place in ("P1/smear1/a.png", "P2/smear1/a.png", "P2/smear2/a.png"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(b"picture")
    assert [one.slide for one in list_inputs([tmp_path])] == ["P1/smear1", "P2/smear1", "smear2"]
    assert [one.slide for one in list_inputs([tmp_path / "P1"])] == ["smear1"], "as in results made before"
    table = tmp_path / "list.csv"
    table.write_text("image\nP1/smear1/a.png\nP2/smear1/a.png\n")
    assert [one.slide for one in list_inputs([table])] == ["P1/smear1", "P2/smear1"]
    table.write_text("image,slide\nP1/smear1/a.png,smear1\nP2/smear1/a.png,smear1\n")
    assert [one.slide for one in list_inputs([table])] == ["smear1", "smear1"], "a person said so"


def test_two_patients_with_a_smear_of_one_name_are_counted_apart(fields: Path, tmp_path: Path) -> None:
    for patient, number in (("P1", 0), ("P2", 1)):
        folder = tmp_path / "in" / patient / "smear1"
        folder.mkdir(parents=True)
        shutil.copyfile(fields / f"slide {number}" / f"f{number}.png", folder / f"f{number}.png")
    analyse_files([tmp_path / "in" / "P1"], tmp_path / "out", MODEL)
    result = analyse_files([tmp_path / "in"], tmp_path / "out", MODEL)
    assert [item.state for item in result.items] == ["kept", "done"]
    assert [one.name for one in summarise(tmp_path / "out")] == ["P1/smear1", "P2/smear1"]
    assert [run.slide for run in read_runs([tmp_path / "out"])] == ["P1/smear1", "P2/smear1"]


def test_a_list_as_spreadsheets_write_it(tmp_path: Path) -> None:
    table = tmp_path / "list.csv"
    table.write_bytes(b"\xef\xbb\xbfimage; slide; um_per_px;\r\na b.png; NA; 0,08;\r\n\r\nc.png;None;;\r\n")
    first, second = list_inputs([table])
    assert (first.path, first.slide, first.um_per_px) == (tmp_path / "a b.png", "NA", 0.08)
    assert (second.path, second.slide, second.um_per_px) == (tmp_path / "c.png", "None", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "image,um_per_px\na.png,0.08\n\n./a.png,0.1\n",
            r"line 4, and .*line 2, name the same image, .*with another slide, patient or um_per_px",
        ),
        ("image,slide\na.png,S1\na.png,S2\n", "name the same image"),
        ("image,slide\n\na.png,S1,0.08\n", r"line 3: 3 fields, but the first line names 2 columns"),
        ("file\na.png\n", r"has the columns file; it needs 'image'"),
        ("image\n", "names no image"),
        ("image,um_per_px\na.png,small\n", r"line 2: um_per_px is 'small'; it takes a number"),
        (
            "image,um_per_px\na.png,0.08\nb.png,-1\n",
            r"list.csv, line 3: um_per_px is '-1'; it takes 0.005 to 20 µm",
        ),
        ("image,um_per_px\na.png,nan\n", r"line 2: um_per_px is 'nan'; it takes 0.005 to 20 µm"),
        ("image,slide\n,S1\n", r"line 2: no image is named"),
    ],
)
def test_a_list_that_is_none_says_what_is_missing(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        list_inputs([path])


def started(fields: Path, out: Path) -> subprocess.Popen[str]:
    """A run of two workers in a session of its own, as in a terminal."""
    command = [sys.executable, "-m", "napari_bloodcell.cli", "analyse", str(fields), "--out", str(out)]
    return subprocess.Popen(
        [*command, "--bundle", MODEL, "--workers", "2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.skipif(os.name != "posix", reason="a terminal there sends Ctrl-C otherwise")
def test_ctrl_c_of_a_terminal_ends_the_run_and_not_its_workers(fields: Path, tmp_path: Path) -> None:
    """A terminal sends it to every process of the run."""
    run = started(fields, tmp_path / "out")
    assert run.stderr is not None
    told = ""
    while "Image 1 of" not in told and (line := run.stderr.readline()):
        told += line
    os.killpg(run.pid, signal.SIGINT)
    told += run.communicate(timeout=120)[1]
    assert "Traceback" not in told
    assert "Stopped. What was finished is kept" in told, told


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for the processes in /proc")
@pytest.mark.parametrize("later_s", [0, 0.3, 1])
def test_ctrl_c_while_workers_start_stops_without_a_page_of_traces(
    fields: Path, tmp_path: Path, later_s: float
) -> None:
    run = started(fields, tmp_path / "out")
    while not workers_of(run.pid) and run.poll() is None:
        time.sleep(0.02)
    time.sleep(later_s)
    os.killpg(run.pid, signal.SIGINT)
    told = run.communicate(timeout=120)[1]
    assert "Traceback" not in told
    assert "Stopped. What was finished is kept" in told, told
    assert run.returncode == 130
