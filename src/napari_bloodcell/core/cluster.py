"""The jobs of a batch on several processes or machines, by Dask.

Few jobs are in flight at a time, so that a million images need no more memory than a hundred. A worker that
dies costs its image one attempt; a scheduler that dies ends the run, and the next run goes on from the disk.
"""

import os
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from napari_bloodcell.core.attempts import attempts_of, begin, end, finish, is_finished
from napari_bloodcell.core.config import EngineConfig
from napari_bloodcell.core.errors import BloodcellError, EngineError
from napari_bloodcell.core.jobs import Item, Job, do
from napari_bloodcell.core.progress import Progress, silent

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster

POLL_S = 0.2  # how soon a Cancel is heard while all workers are busy
LOOK_S = 1.0  # how soon new workers are seen
PATIENCE = 10  # deaths beside other images, for each attempt of one's own
CONNECT_S = 15
RESTART_S = 600  # a worker of this machine loads its libraries anew
_ENVIRON = "distributed.nanny.pre-spawn-environ"
WORKERS = {
    # Dask notes each second what a worker does, and keeps an hour of it: some 300 MB that nobody looks at.
    "distributed.worker.profile.enabled": False,
    # Dask has them hand all memory back after each array. The next image needs it again, and the system has
    # to clear it first: a sixth of the time of an image.
    f"{_ENVIRON}.MALLOC_TRIM_THRESHOLD_": 128 * 2**20,
    f"{_ENVIRON}.MALLOC_MMAP_THRESHOLD_": 32 * 2**20,
}


def on_workers(
    jobs: Sequence[Job], engine: EngineConfig, total: int, progress: Progress = silent
) -> Iterator[Item]:
    """Items in the order they are finished."""
    with _connected(engine) as client:
        yield from _work(client, deque(jobs), engine, total, progress)


def _work(
    client: "Client", waiting: deque[Job], engine: EngineConfig, total: int, progress: Progress
) -> Iterator[Item]:
    from distributed.comm import CommClosedError

    crew, flying, done = Crew(client, engine), Flying(client, engine), 0
    try:
        while waiting or flying.jobs:
            room = crew.room(done, total)
            while waiting and len(flying.jobs) < room:
                flying.send(waiting.popleft())
            progress(f"Image {done + 1} of {total}" if room else crew.awaited(), done, total)
            _check_alive(client, done, total)
            item = flying.landed()
            if item:
                done += 1
                yield item
    except (ConnectionError, CommClosedError) as error:
        raise EngineError(_lost(done, total)) from error
    finally:
        flying.cancel()


class Crew:
    """The workers that may take our images: how many images fit, and how long there has been none."""

    def __init__(self, client: "Client", engine: EngineConfig) -> None:
        self._client, self._engine = client, engine
        self._looked, self._seen = float("-inf"), time.monotonic()
        self._room = 0
        self._patience = engine.wait_s if engine.scheduler else RESTART_S

    def room(self, done: int, total: int) -> int:
        """Images that may be under way. 0 for too long ends the run."""
        now = time.monotonic()
        if now - self._looked >= LOOK_S:  # a question to the scheduler: not for each image
            able = sum(self._slots(worker) for worker in self._workers())
            self._room, self._looked = able * self._engine.in_flight, now
        if self._room:
            self._seen = now
        elif now - self._seen > self._patience:
            raise EngineError(self._nobody(done, total))
        return self._room

    def awaited(self) -> str:
        return f"Waiting for {self._wanted()}"

    def _workers(self) -> list[dict[str, Any]]:
        return list(self._client.scheduler_info(n_workers=-1)["workers"].values())

    def _slots(self, worker: dict[str, Any]) -> int:
        if self._engine.resource:
            return int(worker["resources"].get(self._engine.resource, 0))
        return int(worker["nthreads"])

    def _wanted(self) -> str:
        resource = self._engine.resource
        return f"a worker that announces {resource!r}" if resource else "a worker"

    def _nobody(self, done: int, total: int) -> str:
        workers, resource = self._workers(), self._engine.resource
        announced = sorted({name for worker in workers for name in worker["resources"]})
        there = f"{len(workers)} are there, announcing {', '.join(announced) or 'nothing'}"
        flag = f' --resources "{resource}=1"' if resource else ""
        where = self._client.scheduler.address if self._client.scheduler else "the scheduler"
        return (
            f"No worker{f' that announces {resource!r}' if resource else ''} in {self._patience:g} s "
            f"({there if workers else 'none is there'}); {done} of {total} images are done and kept. "
            f"Start one with `dask worker {where}{flag}`"
            f"{', ask for another --resource,' if resource else ''} or wait longer (--wait-s)."
        )


class Flying:
    """The images that are under way."""

    def __init__(self, client: "Client", engine: EngineConfig) -> None:
        self._client, self._engine = client, engine
        self._landed: SimpleQueue[Future] = SimpleQueue()
        self._blamed: Counter[Path] = Counter()  # deaths of workers, as Dask reports them
        self.jobs: dict[Future, Job] = {}

    def send(self, job: Job) -> None:
        resources = {self._engine.resource: 1} if self._engine.resource else None
        attempts = self._engine.attempts
        future = self._client.submit(_do_here, job, attempts, pure=False, resources=resources)
        self.jobs[future] = job
        future.add_done_callback(self._landed.put)

    def landed(self) -> Item | None:
        """The next image that is finished; None where a moment passes without one."""
        try:
            future = self._landed.get(timeout=POLL_S)
        except Empty:
            return None
        job = self.jobs.pop(future)
        item = self._item(future, job)
        future.release()
        if item is None:
            self.send(job)
        return item

    def cancel(self) -> None:
        for future in self.jobs:
            future.cancel()

    def _item(self, future: "Future", job: Job) -> Item | None:
        """None for an image to be sent again."""
        if future.status == "finished":
            item: Item = future.result()
            return item
        error = future.exception() if future.status == "error" else None
        if _is_killed(error):
            return self._killed(job)
        if isinstance(error, BloodcellError):  # a folder that cannot be written: it would fail them all
            raise error
        if error is not None:
            raise EngineError(
                f"{job.path}: a worker failed with {type(error).__name__}: {error}. Is the same release of "
                "napari-bloodcell installed on every machine?"
            ) from error
        raise ConnectionError  # a future is cancelled when the scheduler is gone

    def _killed(self, job: Job) -> Item | None:
        """An image that only waited at a worker that died is blamed too: it is not given up for that, unless
        its workers die again and again before they begin."""
        self._blamed[job.path] += 1
        tried, limit = attempts_of(job), self._engine.attempts
        return _given_up(job) if tried >= limit or self._blamed[job.path] >= PATIENCE * limit else None


def _do_here(job: Job, attempts: int) -> Item:
    """What a worker runs. Our own errors travel as text: any version of the package can read it."""
    worker = f"{os.uname().nodename}:{os.getpid()}" if hasattr(os, "uname") else ""
    if attempts_of(job) >= attempts:
        return _given_up(job)
    begin(job)
    item = do(job)
    if item.state == "done":
        finish(job)
    elif item.state == "kept" and is_finished(job):  # by a worker that died before it could say so
        item = replace(item, state="done")
    end(job)
    return replace(item, worker=worker)


def _given_up(job: Job) -> Item:
    tried = attempts_of(job)
    times = "once" if tried == 1 else f"{tried} times" if tried else "before it was begun"
    reason = (
        f"{job.path}: its worker died each time it was tried, {times} (out of memory, or killed). "
        "Analyse it alone, on a machine with more memory, or with smaller tiles."
    )
    end(job)
    return Item(path=job.path, folder=job.folder, state="failed", reason=reason, slide=job.slide)


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
    from distributed import Client

    settings = {
        "distributed.comm.timeouts.connect": f"{CONNECT_S}s",
        # A worker that was killed is started again; on a busy machine that takes longer than Dask waits.
        "distributed.deploy.lost-worker-timeout": f"{RESTART_S}s",
        **WORKERS,
    }
    with dask.config.set(settings):
        if engine.scheduler:
            with _remote(engine.scheduler) as client:
                yield client
            return
        with _local(engine) as cluster, Client(cluster) as client:
            yield client


# A terminal sends Ctrl-C to the workers too: they would die in the middle of an image, with a page of traces.
# The process that started them ends them. Run in each of them, as text.
UNINTERRUPTED = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"


@contextmanager
def _not_halfway() -> Iterator[None]:
    """Ctrl-C waits until the workers have started: Dask cannot end those that are on their way. They do not
    hear it before they run the text above, as they inherit which signals are blocked."""
    before, heard = signal.getsignal(signal.SIGINT), []
    waits = callable(before) and threading.current_thread() is threading.main_thread()
    blocks = hasattr(signal, "pthread_sigmask")  # not on Windows
    if waits:
        signal.signal(signal.SIGINT, lambda *_: heard.append(True))
    if blocks:
        from multiprocessing import resource_tracker

        resource_tracker.ensure_running()  # starting it later would unblock the signal again
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        if blocks:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        if waits:
            signal.signal(signal.SIGINT, before)
    if heard:
        raise KeyboardInterrupt


def _local(engine: EngineConfig) -> "LocalCluster":
    import dask
    from distributed import LocalCluster

    try:
        with _not_halfway():
            return LocalCluster(
                n_workers=engine.workers,
                threads_per_worker=1,
                processes=True,
                dashboard_address=None,
                scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # beside another run here
                silence_logs=50,
                resources={engine.resource: 1} if engine.resource else None,
                preload=[UNINTERRUPTED, *dask.config.get("distributed.worker.preload")],
            )
    except (RuntimeError, OSError) as error:
        raise EngineError(
            f"The {engine.workers} workers could not be started ({error}). Free some memory or take fewer "
            "(--workers); --workers 1 works in this process."
        ) from error


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
