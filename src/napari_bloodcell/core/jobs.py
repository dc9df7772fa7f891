"""One image of a batch, as a job that any process can do: here, beside here, or on a cluster."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from napari_bloodcell.core.bundle import Bundle, load_bundle
from napari_bloodcell.core.config import AnalyseConfig, ReadConfig
from napari_bloodcell.core.errors import ArtifactError, BloodcellError, Cancelled
from napari_bloodcell.core.image import hash_file, name_of, read_image
from napari_bloodcell.core.image.lazy import LazyImage, hash_of_source
from napari_bloodcell.core.pipeline import analyse
from napari_bloodcell.core.progress import Progress, silent, within
from napari_bloodcell.core.report.pixel_sizes import SizeOf
from napari_bloodcell.core.slide.analysis import analyse_slide, open_slide
from napari_bloodcell.core.store import is_done, notes_of, size_of, write_analysis


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a worker must know. Small: it travels."""

    path: Path
    folder: Path
    bundle: str  # name or path: a worker loads it once
    bundle_hash: str
    config: AnalyseConfig
    slide: str = ""
    pictures: bool = True
    um_per_px: float | None = None  # of this image, where the list of images names it


@dataclass(frozen=True, kw_only=True)
class Item:
    """What became of one image: ``done``, ``kept`` (was done before) or ``failed`` with its reason."""

    path: Path
    folder: Path
    state: str
    reason: str = ""
    slide: str = ""
    seconds: float = 0.0
    worker: str = ""
    sha256: str = ""  # of the picture; empty where it was not read
    notes: tuple[str, ...] = ()  # what a person should know of it
    size: SizeOf | None = None  # None where it failed or has no cells


def do(job: Job, bundle: Bundle | None = None, *, progress: Progress = silent) -> Item:
    """A bad image fails alone; a folder that cannot be written stops the batch: it would fail them all."""
    item = _do(job, bundle, progress)
    if item.state == "failed":
        return item
    return replace(item, notes=notes_of(item.folder), size=size_of(item.folder))


def _do(job: Job, bundle: Bundle | None, progress: Progress) -> Item:
    started = time.monotonic()
    item = Item(path=job.path, folder=job.folder, state="kept", slide=job.slide)
    config = config_of(job)
    try:
        if job.path.is_file():
            item = replace(item, sha256=hash_file(job.path))
            if is_done(job.folder, item.sha256, job.bundle_hash, config):
                return item
        slide = open_slide(job.path, config)
        if slide is None:
            image = read_image(job.path, config.read, name=name_of_page(job.path, config.read.page))
            item = replace(item, sha256=image.sha256)
            if is_done(job.folder, image.sha256, job.bundle_hash, config):  # a folder of pixels: OME-Zarr
                return item
            analysis = analyse(image, bundle or _same_bundle(job), config, progress=progress)
    except Cancelled:
        raise
    except (BloodcellError, MemoryError) as error:
        return _failed(item, error, started)
    if slide is not None:
        slide = replace(slide, name=name_of_page(job.path, config.read.page))
        return _do_slide(slide, job, bundle, item, progress)
    write_analysis(job.folder, analysis, pictures=job.pictures)
    return replace(item, state="done", seconds=time.monotonic() - started)


def _do_slide(slide: LazyImage, job: Job, bundle: Bundle | None, item: Item, progress: Progress) -> Item:
    """Its blocks are kept one by one: a slide goes on where it was stopped."""
    started, config = time.monotonic(), config_of(job)
    try:
        if job.path.is_dir() and is_done(job.folder, hash_of_source(job.path), job.bundle_hash, config):
            return item
        model = bundle or _same_bundle(job)
        analyse_slide(slide, job.folder, model, config, pictures=job.pictures, progress=progress)
    except (Cancelled, ArtifactError):  # no room on the disk would fail all
        raise
    except (BloodcellError, MemoryError) as error:
        return _failed(item, error, started)
    return replace(item, state="done", seconds=time.monotonic() - started)


def _failed(item: Item, error: Exception, started: float) -> Item:
    reason = str(error)
    if isinstance(error, MemoryError):
        reason = (
            f"{item.path} takes more memory than there is ({reason or 'no size told'}). Analyse it with "
            "fewer workers, on a machine with more memory, or as a slide (--slide.from-megapixels)."
        )
    return replace(item, state="failed", reason=reason, seconds=time.monotonic() - started)


def name_of_page(path: Path, page: int | None) -> str:
    """What the image is called. Pages after the first are told apart: each is an image of its own."""
    return f"{name_of(path)} page {page}" if page else name_of(path)


def config_of(job: Job) -> AnalyseConfig:
    if job.um_per_px is None:
        return job.config
    read = ReadConfig(**{**job.config.read.to_json(), "um_per_px": job.um_per_px})
    return replace(job.config, read=read)


def in_this_process(
    jobs: Iterable[Job], bundle: Bundle, total: int, progress: Progress = silent
) -> Iterator[Item]:
    for number, job in enumerate(jobs):
        progress(f"Image {number + 1} of {total}", number, total)
        yield do(job, bundle, progress=within(progress, job.path.name))


def _same_bundle(job: Job) -> Bundle:
    """The bundle as this worker sees it must be the one the run was started with."""
    bundle = load_bundle(job.bundle)
    if bundle.hash != job.bundle_hash:
        raise BloodcellError(
            f"The bundle {job.bundle!r} of this worker is {bundle.hash[:12]}; the run was started with "
            f"{job.bundle_hash[:12]}. Install the same release on every machine, or name a bundle by a "
            "path that all of them see."
        )
    return bundle
