"""The jobs of a batch on several processes or machines, by Dask.

Few jobs are in flight at a time, so that a million images need no more memory than a hundred. A worker that
dies costs its image one attempt; a scheduler that dies ends the run, and the next run goes on from the disk.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from napari_bloodcell.core.config import EngineConfig
from napari_bloodcell.core.errors import BloodcellError, EngineError
from napari_bloodcell.core.jobs import Item, Job, do
from napari_bloodcell.core.progress import Progress, silent

if TYPE_CHECKING:
    from distributed import Client, Future

POLL_S = 0.2  # how soon a Cancel is heard while all workers are busy
CONNECT_S = 15


def on_workers(
    jobs: Iterable[Job], engine: EngineConfig, total: int, progress: Progress = silent
) -> Iterator[Item]:
    """Items in the order they are finished."""
    with _connected(engine) as client:
        yield from _work(client, iter(jobs), engine, total, progress)


def _work(
    client: "Client", jobs: Iterator[Job], engine: EngineConfig, total: int, progress: Progress
) -> Iterator[Item]:
    from concurrent.futures import CancelledError as FutureCancelled

    from distributed import wait

    flying: dict[Future, Job] = {}
    done = 0
    try:
        while True:
            _fill(client, jobs, flying, engine)
            if not flying:
                return
            progress(f"Image {done + 1} of {total}", done, total)
            try:
                landed = wait(list(flying), timeout=POLL_S, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                _check_alive(client, done, total)
                continue
            except (FutureCancelled, OSError) as error:  # how a lost connection shows
                raise EngineError(_lost(done, total)) from error
            for future in landed:
                job = flying.pop(future)
                item = _landed(future, job, done, total)
                future.release()
                done += 1
                yield item
    finally:
        for future in flying:
            future.cancel()


def _fill(client: "Client", jobs: Iterator[Job], flying: "dict[Future, Job]", engine: EngineConfig) -> None:
    workers = len(client.scheduler_info(n_workers=-1)["workers"]) or engine.workers or 1
    while len(flying) < max(1, workers) * engine.in_flight:
        job = next(jobs, None)
        if job is None:
            return
        resources = {engine.resource: 1} if engine.resource else None
        flying[client.submit(_do_here, job, pure=False, resources=resources)] = job


def _do_here(job: Job) -> Item:
    """What a worker runs. Our own errors travel as text: any version of the package can read it."""
    from dataclasses import replace

    item = do(job)
    return replace(item, worker=f"{os.uname().nodename}:{os.getpid()}" if hasattr(os, "uname") else "")


def _landed(future: "Future", job: Job, done: int, total: int) -> Item:
    if future.status == "finished":
        item: Item = future.result()
        return item
    error = future.exception() if future.status == "error" else None
    if _is_killed(error):
        reason = (
            f"{job.path}: its worker died each time it was tried (out of memory, or killed). "
            "Analyse it alone, on a machine with more memory, or with smaller tiles."
        )
        return Item(path=job.path, folder=job.folder, state="failed", reason=reason, slide=job.slide)
    if isinstance(error, BloodcellError):  # a folder that cannot be written: it would fail them all
        raise error
    if error is not None:
        raise EngineError(
            f"{job.path}: a worker failed with {type(error).__name__}: {error}. Is the same release of "
            "napari-bloodcell installed on every machine?"
        ) from error
    raise EngineError(_lost(done, total))


def _is_killed(error: BaseException | None) -> bool:
    from distributed import KilledWorker

    return isinstance(error, KilledWorker)


def _check_alive(client: "Client", done: int, total: int) -> None:
    if client.status not in ("running", "connecting"):
        raise EngineError(_lost(done, total))


def _lost(done: int, total: int) -> str:
    return (
        f"The scheduler went away after {done} of {total} images. They are kept: "
        "start the scheduler again and run the same command to go on."
    )


@contextmanager
def _connected(engine: EngineConfig) -> "Iterator[Client]":
    import dask
    from distributed import Client, LocalCluster

    settings: dict[str, Any] = {
        "distributed.scheduler.allowed-failures": engine.attempts - 1,
        "distributed.comm.timeouts.connect": f"{CONNECT_S}s",
    }
    with dask.config.set(settings):
        if engine.scheduler:
            with _remote(engine.scheduler) as client:
                yield client
            return
        resources = {engine.resource: 1} if engine.resource else None
        with (
            LocalCluster(
                n_workers=engine.workers,
                threads_per_worker=1,
                processes=True,
                dashboard_address=None,
                silence_logs=50,
                resources=resources,
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client


@contextmanager
def _remote(address: str) -> "Iterator[Client]":
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECT_S)
    except (OSError, ValueError, TimeoutError) as error:
        raise EngineError(
            f"No Dask scheduler answers at {address!r} ({error}). Start one with `dask scheduler`, and "
            "workers with `dask worker ADDRESS`; an address looks like tcp://host:8786."
        ) from error
    try:
        yield client
    finally:
        client.close()
