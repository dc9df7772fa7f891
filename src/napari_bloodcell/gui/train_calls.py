"""What the train panel has done in its task: the calls of ``napari-bloodcell train``; keeping a result."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_bloodcell.core.errors import DataError, TrainingError
from napari_bloodcell.core.progress import Progress
from napari_bloodcell.core.stain.lamp import evened
from napari_bloodcell.core.words import how_many
from napari_bloodcell.gui.loading import load_torch
from napari_bloodcell.gui.task import Partial
from napari_bloodcell.gui.train_methods import ADAPTER, BCSAM, DORL, METHODS, SADA, Method, Wanted

if TYPE_CHECKING:
    from napari_bloodcell.core.training import TrainingRun

PICTURE = "report.png"

Tell = Callable[[str], None]
Watch = Callable[[Any], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    wanted: Wanted
    run: "TrainingRun"
    lines: tuple[str, ...]  # what came of it, in words
    picture: Path | None = None


def check(wanted: Wanted, progress: Progress) -> str:
    """What is there to train on and what memory it takes, before anything is trained."""
    load_torch(progress)
    if wanted.method.key == ADAPTER:
        return str(_ready(wanted, progress).text())
    import torch

    from napari_bloodcell.core.datasets import load_dataset
    from napari_bloodcell.core.device import resolve
    from napari_bloodcell.core.finetune.memory import free_bytes

    progress("Reading the folder", 0, 0)
    cells = load_dataset(wanted.folder())
    labs = ", ".join(f"{lab} {sum(c.domain == lab for c in cells.cells):,}" for lab in cells.domains)
    device, told = resolve(wanted.loop.device)
    free = free_bytes(torch.device(device))
    room = "" if free is None else f" {free / 2**30:.1f} GiB are free."
    return "\n".join(
        [
            f"{len(cells):,} cells: {labs}.",
            told,
            "The memory of this method is not measured before it starts: a batch that does not fit is taken "
            f"in parts.{room}",
        ]
    )


def known_epochs(wanted: Wanted, progress: Progress) -> int:
    """How many epochs of this training are done already."""
    from napari_bloodcell.core.training import read_history

    progress("Looking at the folder", 0, 0)
    return len(read_history(wanted.run_folder))


def train(wanted: Wanted, watch: Watch, tell: Tell, progress: Progress) -> "Trained | Partial":
    """Train, or go on; stopped by the person it keeps the best epoch and ends like a finished one."""
    load_torch(progress)
    _begin(wanted)
    try:
        for epoch in _history(wanted):
            watch(epoch)
        done = _TRAINERS[wanted.method.key](wanted, watch, tell, progress)
    except BaseException:
        if not _history(wanted):
            discard(wanted)  # nothing was learnt: nothing stays
        raise
    return Partial(done) if done.run.ended == "stopped" else done


def _begin(wanted: Wanted) -> None:
    from napari_bloodcell.core.artifact import check_writable
    from napari_bloodcell.core.training.plan import Plan, read_plan, write_plan

    check_writable(wanted.out)
    before = read_plan(wanted.out)
    if before is not None:
        if before.method != wanted.method.key:
            raise TrainingError(
                f"{wanted.out} holds a training of another method ({before.method}). Choose another folder."
            )
        return  # the core compares the settings and names the first that differs
    files = (one.relative_to(wanted.out).as_posix() for one in wanted.out.rglob("*") if one.is_file())
    write_plan(
        wanted.out,
        Plan(
            method=wanted.method.key,
            data=tuple(str(one) for one in wanted.data if isinstance(one, Path)),
            sam=wanted.sam,
            adapter="" if wanted.adapter is None else str(wanted.adapter),
            leave_out=wanted.leave_out,
            configs={name: config.to_json() for name, config in wanted.configs.items()},
            found=tuple(sorted(files)),
        ),
    )


def _history(wanted: Wanted) -> tuple[Any, ...]:
    from napari_bloodcell.core.training import read_history

    return read_history(wanted.run_folder)


def _ready(wanted: Wanted, progress: Progress) -> Any:
    from napari_bloodcell.core.finetune import from_labels, ready_adapter

    if not wanted.data:
        raise DataError("Nothing is ticked to train on. Add a folder, or tick outlines you corrected.")
    data: list[Any] = []
    for one in wanted.data:
        if isinstance(one, Path):
            data.append(one)
            continue
        progress(f"Reading {one.name}", 0, 0)
        image, masks = one.read()
        if not len(masks):
            raise DataError(f"The outlines {one.name} hold no cells. Untick them, or draw some.")
        inside = masks.nucleus.astype("uint8")
        data.append(from_labels(evened(image), masks.labels, inside, name=one.picture.name))
    return ready_adapter(data, wanted.sam, wanted.config("adapter"), wanted.loop, progress=progress)


def _train_adapter(wanted: Wanted, watch: Watch, tell: Tell, progress: Progress) -> Trained:
    from napari_bloodcell.core.finetune import train_ready, verdict

    ready = _ready(wanted, progress)
    tell(ready.text())
    done = train_ready(ready, wanted.out, watch=watch, progress=progress)
    better = verdict.is_better(done.before, done.after)
    lines = [
        *(note for note in done.notes if note not in ready.notes),
        f"{done.cells[0]} cells trained on, {done.cells[1]} held out.",
        _ended(done.training, better=better),
        *verdict.figures(done.before, done.after),
        *verdict.words(done.before, done.after),
    ]
    return Trained(wanted=wanted, run=done.training, lines=tuple(lines), picture=wanted.out / PICTURE)


def _train_embedder(wanted: Wanted, watch: Watch, tell: Tell, progress: Progress) -> Trained:
    from napari_bloodcell.core.datasets import load_dataset
    from napari_bloodcell.core.embed.sam_model import open_sam
    from napari_bloodcell.core.embed.trained import train_embedder

    progress("Reading the folder", 0, 0)
    cells = load_dataset(wanted.folder())
    tell(f"{len(cells):,} cells of {', '.join(cells.domains)}.")
    run, embedder = train_embedder(
        cells,
        open_sam(wanted.sam, wanted.adapter),
        wanted.out,
        wanted.config(wanted.method.key),
        wanted.loop,
        watch=watch,
        progress=progress,
    )
    told = embedder.training
    labs = ", ".join(f"{lab} {count}" for lab, count in told["labs"].items())
    figures = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in run.figures.items())
    lines = [f"{labs} cells, {told['protocol']}; {told['held_out']} held out.", _ended(run)]
    lines += [f"Held out: {_first(run, 'score')} in the first epoch; best: {figures}.", *told["notes"]]
    return Trained(wanted=wanted, run=run, lines=tuple(lines))


def _train_sada(wanted: Wanted, watch: Watch, tell: Tell, progress: Progress) -> Trained:
    from napari_bloodcell.core.bundle.of_labs import save_labs
    from napari_bloodcell.core.embed.sada.fit import train_labs

    tell("Cells are cut out first, at their own scale.")
    done = train_labs(
        wanted.folder(),
        wanted.out,
        wanted.config("sada"),
        backbone=wanted.config("backbone"),
        training=wanted.loop,
        leave=wanted.leave_out or None,
        watch=watch,
        progress=progress,
    )
    save_labs(wanted.out / "bundle", done)
    return Trained(wanted=wanted, run=done.run, lines=tuple(done.text().splitlines()))


_TRAINERS = {ADAPTER: _train_adapter, BCSAM: _train_embedder, DORL: _train_embedder, SADA: _train_sada}


def _ended(run: "TrainingRun", *, better: bool = True) -> str:
    words = {"finished": "Finished", "stopped": "Stopped by you", "patience": "No better for a while: ended"}
    epochs = how_many(len(run.history), "epoch")
    best = f"the best, epoch {run.best_epoch}, is kept" if better else "none is better than the start"
    return f"{words[run.ended]} after {epochs}; {best}."


def _first(run: "TrainingRun", figure: str) -> str:
    value = next((one.figures[figure] for one in run.history if figure in one.figures), None)
    return "no score" if value is None else f"{figure} {value:.4g}"


def new_folder(method: Method) -> Path:
    """Where a training goes unless the person chooses."""
    from napari_bloodcell.core.folders import cache_folder

    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return cache_folder() / "trained" / f"{method.key}-{stamp}"


def keep(trained: Trained, progress: Progress) -> Path:
    """One file (.bloodcell) that every panel offers, or the folder of an embedder for the panel "Embed"."""
    from napari_bloodcell.core.bundle import pack_bundle
    from napari_bloodcell.core.bundle.archive import SUFFIX
    from napari_bloodcell.core.bundle.kept import kept_folder

    progress("Keeping it", 0, 0)
    wanted, name = trained.wanted, trained.wanted.out.name
    if wanted.method.key in (BCSAM, DORL):
        from napari_bloodcell.core.embed.choose import FILE, kept_embedders_folder

        target = kept_embedders_folder() / name
        target.mkdir(parents=True, exist_ok=True)
        for file in wanted.out.glob("embedder*"):
            if file.name != FILE:
                shutil.copy2(file, target)
        shutil.copy2(wanted.out / FILE, target)  # last: without it the folder is no embedder
        return target
    file = kept_folder() / f"{name}{SUFFIX}"
    if wanted.method.key == ADAPTER:
        from napari_bloodcell.core.finetune.packing import pack_adapter

        return pack_adapter(wanted.out, wanted.sam, file)
    return pack_bundle(wanted.out / "bundle", file)


def discard(wanted: Wanted) -> int:
    """Take away what the training made, and nothing else; how many files that were."""
    from napari_bloodcell.core.training.plan import discard as remove

    return len(remove(wanted.out, _made(wanted)))


def _made(wanted: Wanted) -> list[str]:
    """Names that a method writes."""
    from napari_bloodcell.core.training import checkpoint

    loop = [checkpoint.LAST, checkpoint.BEST, checkpoint.HISTORY]
    if wanted.method.key == ADAPTER:
        from napari_bloodcell.core.finetune.report import PICTURE as DRAWN
        from napari_bloodcell.core.finetune.report import REPORT
        from napari_bloodcell.core.sam import adapter

        own = [adapter.HEADER, adapter.PEFT_CONFIG, adapter.PEFT_MODEL, adapter.DECODER, "README.md"]
        return [*(f"run/{name}" for name in loop), *own, REPORT, DRAWN]
    from napari_bloodcell.core.embed.choose import FILE
    from napari_bloodcell.core.embed.sam_model import COPY

    if wanted.method.key != SADA:
        return [*loop, FILE, COPY]
    from napari_bloodcell.core.embed.sada.kept import kept_files

    bundle = (f"bundle/{name}" for name in _listed(wanted.out / "bundle"))
    return [*loop, FILE, *bundle, *kept_files(wanted.out)]


def _listed(bundle: Path) -> list[str]:
    from napari_bloodcell.core.bundle.members import MANIFEST, is_plain

    if not (bundle / MANIFEST).is_file():
        return []
    from napari_bloodcell.core.artifact import read_json

    listed = read_json(bundle / MANIFEST, "bundle")[1]["files"]
    return [MANIFEST, *(name for name in listed if is_plain(name))]


def wanted_again(folder: Path, progress: Progress) -> "tuple[Wanted, int]":
    """A training that was begun in a folder, as it was asked for, and how many epochs of it are done."""
    from napari_bloodcell.core.training.plan import PLAN, read_plan

    progress("Reading", 0, 0)
    plan = read_plan(folder)
    if plan is None or plan.method not in METHODS:
        raise TrainingError(
            f"{folder} holds no training begun here ({PLAN} is not in it). Choose the folder of one; a run "
            "of the command line goes on with the same command."
        )
    method = METHODS[plan.method]
    wanted = Wanted(
        method=method,
        data=tuple(Path(one) for one in plan.data),
        out=folder,
        configs={
            name: type(default).from_json(dict(plan.configs[name]))
            for name, default in method.configs.items()
        },
        sam=plan.sam,
        adapter=Path(plan.adapter) if plan.adapter else None,
        leave_out=plan.leave_out,
    )
    return wanted, known_epochs(wanted, progress)
