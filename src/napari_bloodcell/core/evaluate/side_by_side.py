"""Work of one kind, in this process or in several; each process is sent once what all of it needs."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from typing import Any, TypeVar

from napari_bloodcell.core.progress import Progress

Shared = TypeVar("Shared")
Task = TypeVar("Task")
Answer = TypeVar("Answer")


def run_missing(  # noqa: PLR0913 (what to run, and how)
    run: Callable[[Shared, Task], Answer],
    shared: Shared,
    tasks: Sequence[Task],
    kept: Callable[[Task], Answer | None],
    *,
    workers: int,
    stage: str,
    progress: Progress,
) -> list[Answer]:
    """The answers of all tasks, in order. Those that are ``kept`` from an earlier run are not run again."""
    answers = {place: answer for place, task in enumerate(tasks) if (answer := kept(task)) is not None}
    progress(stage, len(answers), len(tasks))
    todo = [(place, task) for place, task in enumerate(tasks) if place not in answers]
    for place, answer in _run_all(run, shared, todo, workers):
        answers[place] = answer
        progress(stage, len(answers), len(tasks))
    return [answers[place] for place in range(len(tasks))]


def _run_all(
    run: Callable[[Shared, Task], Answer], shared: Shared, tasks: Sequence[tuple[int, Task]], workers: int
) -> Iterator[tuple[int, Answer]]:
    """The number of each task with its answer, as they come."""
    if workers == 1 or len(tasks) < 2:
        for place, task in tasks:
            yield place, run(shared, task)
        return
    yield from _in_processes(run, shared, tasks, workers)


def _in_processes(
    run: Callable[[Shared, Task], Answer], shared: Shared, tasks: Sequence[tuple[int, Task]], workers: int
) -> Iterator[tuple[int, Answer]]:
    """Whoever stops asking cancels what has not begun; what is finished is on disk."""
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_remember, initargs=(run, shared))
    try:
        running = {pool.submit(_run_remembered, task): place for place, task in tasks}
        while running:
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield running.pop(future), future.result()
    finally:
        pool.shutdown(cancel_futures=True)


_remembered: dict[str, Any] = {}


def _remember(run: object, shared: object) -> None:
    _remembered["run"], _remembered["shared"] = run, shared


def _run_remembered(task: object) -> Any:
    return _remembered["run"](_remembered["shared"], task)
