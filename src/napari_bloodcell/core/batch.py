"""Many images: here, on several processes, or on a cluster. A bad image is reported and costs only itself; a
second run does only what is missing or changed. The results do not depend on who did what, or when."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from napari_bloodcell.core.artifact import check_writable, hash_of, write_json
from napari_bloodcell.core.attempts import forget_attempts
from napari_bloodcell.core.bundle import Bundle, load_bundle
from napari_bloodcell.core.config import AnalyseConfig, EngineConfig
from napari_bloodcell.core.device import resolve
from napari_bloodcell.core.edited import TABLE, set_aside
from napari_bloodcell.core.errors import EngineError, ImageError
from napari_bloodcell.core.image import hash_file, name_of
from napari_bloodcell.core.image.unread import unread_pictures
from napari_bloodcell.core.inputs import Input, list_inputs
from napari_bloodcell.core.jobs import Item, Job, in_this_process
from napari_bloodcell.core.ledger import LEDGER, open_ledger
from napari_bloodcell.core.pipeline import check_config
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.report import Differential, count, write_differential
from napari_bloodcell.core.report.patients import Patient, keep_patients, write_patients
from napari_bloodcell.core.report.pixel_sizes import sizes_of
from napari_bloodcell.core.report.provenance import LISTING, WAITING, Made, differences, named, pooled_in
from napari_bloodcell.core.results import (
    add_to_table,
    by_patient,
    cells_in,
    earlier_in,
    keep_only,
    pool_tables,
    summarise,
)
from napari_bloodcell.core.store import RUN, source_of
from napari_bloodcell.core.words import how_many, once_each

POOLED = ("cells.csv", "cells.parquet", "differential.json", "differential.csv", "differential.png")
WORTH_A_WORKER = 10  # images: starting a process takes as long

__all__ = ["BatchResult", "Item", "analyse_files"]


@dataclass(frozen=True, kw_only=True)
class BatchResult:
    items: tuple[Item, ...]
    differential: Differential  # pooled over all images
    out: Path
    unread: tuple[Path, ...] = ()  # pictures in the folders named, of formats that are not read
    earlier: tuple[Made, ...] = ()  # images of earlier runs that the folder still holds
    mixed: tuple[str, ...] = ()  # how those were made, where it was not as this run
    changed: tuple[str, ...] = ()  # pooled tables that a person had changed, and where they are kept
    patients: tuple[Patient, ...] = ()  # of this run, where the list of images says whose they are

    @property
    def failed(self) -> tuple[Item, ...]:
        return tuple(item for item in self.items if item.state == "failed")

    @property
    def empty(self) -> tuple[Item, ...]:
        """Analysed, and no white cell found."""
        analysed = [item for item in self.items if item.state != "failed"]
        return tuple(item for item in analysed if not cells_in(item.folder))

    def twice(self) -> list[tuple[Item, Item]]:
        """Each image that holds the same picture as one before it."""
        first: dict[str, Item] = {}
        seen = [item for item in self.items if item.sha256 and item.state != "failed"]
        return [(item, same) for item in seen if (same := first.setdefault(item.sha256, item)) is not item]

    def told(self) -> list[str]:
        """What a person should know of the images beside the count."""
        lines = [
            f"{again.path} is the same picture as {first.path}: its cells are counted twice here. Take one "
            "of them away and run this again."
            for again, first in self.twice()
        ]
        sizes = sizes_of([item.size for item in self.items if item.size])
        if sizes:
            one = f" Count again with --read.um-per-px {sizes.for_all:g}." if sizes.for_all else ""
            lines.append(f"{sizes.text}{one}")
        if self.empty:
            names = _named([item.path for item in self.empty])
            lines.append(f"No white cell was found in {how_many(len(self.empty), 'image')}: {names}.")
        if self.unread:
            kinds = " or ".join(sorted({path.suffix.lower() for path in self.unread}))
            lines.append(
                f"Passed over, as {kinds} is not read: {how_many(len(self.unread), 'picture')}, "
                f"{_named(self.unread)}. Export as TIFF or PNG what is to be counted."
            )
        if self.earlier:
            names = named([made.folder.name for made in self.earlier])
            lines.append(
                f"Results of earlier runs are still in {self.out} ({how_many(len(self.earlier), 'image')}: "
                f"{names}). `results summary` and `report` count them too, its cells.csv does not. "
                f"`napari-bloodcell results drop {self.out} NAME` takes them out."
            )
        return [*self._notes(), *lines, *self.mixed, *(f"{self.out}: {text}." for text in self.changed)]

    def _notes(self) -> list[str]:
        told = once_each((item.path.name, note) for item in self.items for note in item.notes)
        return [f"{named(names)}{said}." for names, said in told]


def _named(paths: Sequence[Path]) -> str:
    return named([path.name for path in paths])


def analyse_files(
    paths: str | Path | Sequence[str | Path],
    out: str | Path,
    bundle: "str | Path | Bundle" = "nano",
    config: AnalyseConfig = AnalyseConfig(),
    engine: EngineConfig = EngineConfig(),
    *,
    progress: Progress = silent,
) -> BatchResult:
    """Analyse files, folders, plates and lists (CSV) into ``out``: a folder each, and the pooled count."""
    out = Path(out)
    given = [paths] if isinstance(paths, str | os.PathLike) else paths
    inputs = _without_results(list_inputs(given), out)
    check_config(config)
    model = load_bundle(bundle)
    if config.segment.device != "auto" and not engine.scheduler:
        resolve(config.segment.device)  # refused now, not image by image; a cluster has other machines
    check_writable(out)
    with open_ledger(out) as ledger:
        forget_attempts(out)
        jobs = [replace(job, pictures=engine.pictures) for job in _jobs(inputs, out, bundle, model, config)]
        told = {one.slide: one.patient for one in inputs if one.patient}
        keep_patients(out, told, [job.folder.name for job in jobs])
        pooled_before = pooled_in(out)
        _list(out, [(job, WAITING, "") for job in jobs], model, config, pooled_before)
        done: dict[Path, Item] = {}
        for item in _run(jobs, model, bundle, engine, progress):
            add_to_table(out, item)
            ledger.add(item)
            done[item.folder] = item
        items = [done[job.folder] for job in jobs]
        forget_attempts(out)
        keep_only(out, items)
        changed = set_aside(out, pooled_before)
        differential = _pool(items, out, model, config)
        is_any = any(item.state != "failed" for item in items)
        patients = _patients(out, told if is_any else {}, config)
        pooled = {TABLE: hash_file(out / TABLE)} if (out / TABLE).is_file() else {}
        _list(out, [(item, item.state, item.reason) for item in items], model, config, pooled)
        earlier = earlier_in(out, items)
    return BatchResult(
        items=tuple(items),
        differential=differential,
        out=out,
        unread=tuple(unread_pictures(given)),
        changed=tuple(changed),
        earlier=tuple(earlier),
        patients=tuple(patients),
        mixed=tuple(differences([*_made_now(items, model, config), *earlier]) if earlier else ()),
    )


def _made_now(items: Sequence[Item], model: Bundle, config: AnalyseConfig) -> list[Made]:
    """As their run records have it; a million of them need not be read for that."""
    made = f"{model.name} {model.hash[:12]}"
    return [
        Made(folder=i.folder, image=i.path.name, source=str(i.path), model=made, config=config.to_json())
        for i in items
        if i.state != "failed"
    ]


def _without_results(inputs: list[Input], out: Path) -> list[Input]:
    """Results may lie among the images: what this run or another wrote is no input."""
    folders = {one.path.parent for one in inputs}
    ours = {f for f in folders if (f / RUN).is_file() or (f / LEDGER).is_file()}
    ours |= {f for f in folders if f.resolve().is_relative_to(out.resolve())}
    kept = [one for one in inputs if one.path.parent not in ours]
    if not kept:
        raise ImageError(
            f"All images named lie in the output folder {out}, or in results of another run. "
            "Name images, and choose another folder for --out."
        )
    return kept


def _run(
    jobs: Sequence[Job],
    model: Bundle,
    bundle: "str | Path | Bundle",
    engine: EngineConfig,
    progress: Progress,
) -> Iterator[Item]:
    if engine.workers is None:
        engine = replace(engine, workers=1 if isinstance(bundle, Bundle) else _workers_for(len(jobs)))
    if engine.workers == 1 and not engine.scheduler:
        return in_this_process(jobs, model, len(jobs), progress)
    if isinstance(bundle, Bundle):
        raise EngineError(
            f"The bundle {bundle.name!r} is in the memory of this program only; workers load theirs from a "
            "file. Save it with save_bundle and give its path, or work with 1 worker."
        )
    from napari_bloodcell.core.cluster import on_workers

    return on_workers(jobs, engine, len(jobs), progress)


def _workers_for(images: int) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, images // WORTH_A_WORKER))


def _jobs(
    inputs: Sequence[Input],
    out: Path,
    bundle: "str | Path | Bundle",
    model: Bundle,
    config: AnalyseConfig,
) -> list[Job]:
    folders = _folders([one.path for one in inputs], out, config.read.page)
    return [
        Job(
            path=one.path.absolute(),
            folder=folder.absolute(),
            bundle=_place_of(bundle),
            bundle_hash=model.hash,
            config=config,
            slide=one.slide,
            um_per_px=one.um_per_px,
        )
        for one, folder in zip(inputs, folders, strict=True)
    ]


def _place_of(bundle: "str | Path | Bundle") -> str:
    """A shipped bundle by its name, any other by its whole path: workers stand elsewhere."""
    if isinstance(bundle, Bundle):
        return bundle.name
    return str(Path(bundle).absolute()) if Path(bundle).exists() else str(bundle)


def _folders(images: Sequence[Path], out: Path, page: int | None = None) -> list[Path]:
    """A folder for each image, named after the file (and the page, after the first). Where that name holds
    another file's result, from this run or an earlier one, a piece of the path's hash is added: nothing is
    overwritten, and a file finds its own folder again whatever else is analysed beside it."""
    result: dict[Path, None] = {}  # a million paths: looking one up must not cost a million steps
    for path in images:
        place, name = str(path.absolute()), Path(name_of(path)).stem + (f"-page{page}" if page else "")
        plain = out / name
        is_free = plain not in result and source_of(plain) in (None, place)
        result[plain if is_free else out / f"{name}-{hash_of(place)[:8]}"] = None
    return list(result)


def _pool(items: Sequence[Item], out: Path, bundle: Bundle, config: AnalyseConfig) -> Differential:
    analysed = [item.folder for item in items if item.state != "failed"]
    cells = pool_tables(out, analysed, config.count)
    differential = count(cells, config.count, known=bundle.classifier.class_names)
    if analysed:
        title = f"{len(analysed)} images, bundle {bundle.name}"
        write_differential(out, differential, title=title, parents={"bundle": bundle.hash})
    else:  # nothing old beside no results
        for name in POOLED:
            (out / name).unlink(missing_ok=True)
    return differential


def _patients(out: Path, told: Mapping[str, str], config: AnalyseConfig) -> list[Patient]:
    """Those of this run, with every slide of theirs in the folder."""
    slides = summarise(out, config.count) if told else []
    patients = [one for one in by_patient(slides, config.count) if one.name in told.values()]
    write_patients(out, patients)
    return patients


def _list(
    out: Path,
    images: Sequence[tuple[Item | Job, str, str]],
    bundle: Bundle,
    config: AnalyseConfig,
    outputs: Mapping[str, str],
) -> None:
    """What this run is about, before it begins and when it has ended: what it did not come to can be told."""
    listing = [
        {"image": str(one.path), "folder": one.folder.name, "state": state, "reason": reason}
        for one, state, reason in images
    ]
    write_json(
        out / LISTING,
        "batch",
        {"images": listing, "outputs": dict(outputs)},
        config=config.to_json(),
        parents={"bundle": bundle.hash},
    )
