"""How often each image was begun and never ended: a worker that died at it is known, whoever tries it next.

Counted on disk, beside the results, where every worker sees it. Dask counts deaths too, but blames each image
that waited at the worker, and its limit is a setting of the scheduler, which may not be ours.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_bloodcell.core.artifact import cannot_write
from napari_bloodcell.core.jobs import Job

FOLDER = ".attempts"


def forget_attempts(out: Path) -> None:
    """Each run counts anew."""
    shutil.rmtree(out / FOLDER, ignore_errors=True)


def attempts_of(job: Job) -> int:
    try:
        return _place(job).stat().st_size
    except FileNotFoundError:
        return 0


def begin(job: Job) -> None:
    """One byte an attempt."""
    place = _place(job)
    with _written(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("ab") as file:
            file.write(b".")


def end(job: Job) -> None:
    _place(job).unlink(missing_ok=True)


def finish(job: Job) -> None:
    """Its results are whole. A worker may die before it has told so; whoever looks next finds them."""
    place = _finished(job)
    with _written(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()


def is_finished(job: Job) -> bool:
    """In this run, not in one before."""
    return _finished(job).exists()


@contextmanager
def _written(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise cannot_write(place, error) from error


def _finished(job: Job) -> Path:
    return job.folder.parent / FOLDER / f"{job.folder.name}.finished"


def _place(job: Job) -> Path:
    return job.folder.parent / FOLDER / job.folder.name
