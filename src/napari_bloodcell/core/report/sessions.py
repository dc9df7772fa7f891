"""What a session's folder holds -> slides, readers and signatures, as the panels show them.

Classes are those that stand now. What each person said is taken from the audit, so two people who worked in
one session, one after the other, are two readers.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.core.config import CountConfig
from napari_bloodcell.core.config.report import ReportConfig
from napari_bloodcell.core.records import PERSON, UNIDENTIFIED
from napari_bloodcell.core.report.differential import Differential, count_cells, digest_of
from napari_bloodcell.core.report.readers import Cell, Reader
from napari_bloodcell.core.report.signed import CELLS, Looked, cells_digest, is_unchanged, outlines_hash
from napari_bloodcell.core.report.slides import Run, known_classes
from napari_bloodcell.core.session import ACTIONS_ON_CLASSES, Event, SessionCells, read_session
from napari_bloodcell.core.session.folder import SESSION, Content, is_session

if TYPE_CHECKING:
    import pandas as pd

BY_HAND = {"name": "no model", "title": "", "sha256": ""}


@dataclass(frozen=True, kw_only=True)
class Signature:
    """Somebody's name under the count of these images; ``valid`` while the count is the signed one."""

    who: str
    when: str
    images: tuple[str, ...]
    counted: str
    valid: bool
    looked: Looked

    def text(self) -> str:
        when = self.when.replace("T", " ").replace("+00:00", " UTC")
        images = ", ".join(self.images)
        if self.valid:
            unseen = self.looked.text()
            told = f"; {unseen}" if unseen else ""
            return f"Signed by {self.who}, {when}: {self.counted} of {images}, unchanged since{told}."
        return f"Changed since {self.who} signed it, {when}: {images}. Sign again."


@dataclass(frozen=True, kw_only=True, eq=False)
class SessionWork:
    """One session. ``outlines`` tells by image whether two sessions mean the same cells."""

    folder: Path
    runs: tuple[Run, ...]
    readers: tuple[Reader, ...]
    signatures: tuple[Signature, ...]
    comments: tuple[str, ...]
    lost: tuple[str, ...]  # what is to be told of cells whose file is gone
    outlines: Mapping[str, str]


def sessions_in(paths: Iterable[str | Path]) -> list[Path]:
    """The sessions among the folders, or anywhere in them."""
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        inside = [path] if is_session(path) else sorted(one.parent for one in path.rglob(SESSION))
        found |= dict.fromkeys(one.absolute() for one in inside)
    return list(found)


def read_work(folder: Path, config: ReportConfig = ReportConfig()) -> SessionWork:
    """``config``: how to count where a signature does not say how it was counted."""
    content = read_session(folder)
    names = _names(content)
    cells = {key: found for key in content.images if (found := content.cells(key)) is not None}
    firsts = _first_classes(content.trail.events)
    whose = content.trail.patients()
    runs = {
        key: replace(_run(content, key, found, names[key], firsts), patient=whose.get(key, ""))
        for key, found in cells.items()
    }
    stands = {
        (names[key], int(cell)): (kind, source)
        for key, run in runs.items()
        for cell, kind, source in _classes_in(run.table)
    }
    drawn = {key: outlines_hash(found.labels) for key, found in cells.items()}
    return SessionWork(
        folder=content.folder,
        runs=tuple(runs.values()),
        readers=tuple(readers_in(content.trail.events, names, stands)),
        signatures=tuple(_signatures(content, runs, drawn, config)),
        comments=tuple(_comments(content.trail.events, names)),
        lost=tuple(content.lost()),
        outlines={names[key]: one for key, one in drawn.items()},
    )


def readers_in(
    events: Iterable[Event], names: Mapping[str, str], there: Mapping[Cell, tuple[str, str]]
) -> list[Reader]:
    """The last word of each person on each cell that is still ``there``, with its class and who gave it: what
    was said before the session was opened is in no line. An undo takes a word back."""
    said: dict[str, dict[Cell, list[str]]] = {}
    stands: dict[Cell, str] = {}  # whose word it is
    renamed: tuple[Any, Any] | None = None
    for event in events:
        if event.action not in ACTIONS_ON_CLASSES or event.cell_id is None or event.image not in names:
            continue
        if event.action == "rename":
            if renamed != (event.old, event.new):  # one line a cell, but a class is renamed once
                renamed = (event.old, event.new)
                _rename(said, *renamed)
            continue
        renamed = None
        cell, who = (names[event.image], event.cell_id), _person(event)
        words = said.get(stands.get(cell, ""), {}).get(cell)
        if event.action == "undo" and words:
            words.pop()
        if who:
            own = said.setdefault(who, {}).setdefault(cell, [])
            if event.action != "undo" or own[-1:] != [event.new]:
                own.append(str(event.new))
        stands[cell] = who
    answers = {
        who: {cell: words[-1] for cell, words in cells.items() if words and cell in there}
        for who, cells in said.items()
    }
    for cell, (kind, source) in there.items():
        if source.startswith(PERSON) and (who := source.removeprefix(PERSON).strip()):
            answers.setdefault(who, {})[cell] = kind
    return [Reader(name=who, answers=mine) for who, mine in answers.items() if mine]


def readers_of(works: Sequence[SessionWork]) -> tuple[list[Reader], list[str]]:
    """Readers of all sessions, one a name, and what a person must know. Cells of two sessions are the same
    only where their outlines are."""
    together: dict[str, dict[Cell, str]] = {}
    outlines: dict[str, str] = {}
    notes = []
    for work in works:
        other = [name for name, drawn in work.outlines.items() if outlines.setdefault(name, drawn) != drawn]
        notes += [
            f"{work.folder}: the outlines of {name} are not those of the session before it, so its readers "
            "are not compared there."
            for name in other
        ]
        for reader in work.readers:
            own = together.setdefault(reader.name, {})
            own |= {cell: said for cell, said in reader.answers.items() if cell[0] not in other}
    return [Reader(name=name, answers=answers) for name, answers in together.items() if answers], notes


def _classes_in(table: "pd.DataFrame") -> Iterator[tuple[int, str, str]]:
    for cell, *said in zip(table["cell_id"], table["cell_type"], table["cell_type_source"], strict=True):
        kind, source = map(str, said)
        yield int(cell), kind, source


def _names(content: Content) -> dict[str, str]:
    """What each image is called; those of one name are told apart by their key."""
    plain = {key: record.name for key, record in content.images.items()}
    all_names = list(plain.values())
    return {key: name if all_names.count(name) == 1 else f"{name} ({key[:8]})" for key, name in plain.items()}


def _rename(said: Mapping[str, Mapping[Cell, list[str]]], old: Any, new: Any) -> None:
    for cells in said.values():
        for words in cells.values():
            words[:] = [str(new) if word == old else word for word in words]


def _person(event: Event) -> str:
    """Whose word stands after this line; "" where it is a model's."""
    if not event.note.startswith(PERSON):
        return ""
    return event.note.removeprefix(PERSON).strip() or event.who


def _first_classes(events: Iterable[Event]) -> dict[tuple[str, int | None], str]:
    """The class each cell had before anybody changed it."""
    first: dict[tuple[str, int | None], str] = {}
    for event in events:
        if event.action in ACTIONS_ON_CLASSES:
            first.setdefault((event.image, event.cell_id), str(event.old or UNIDENTIFIED))
    return first


def _run(
    content: Content,
    key: str,
    cells: SessionCells,
    name: str,
    firsts: Mapping[tuple[str, int | None], str],
) -> Run:
    record, made = content.images[key], cells.made_from
    source = str(content.folder / record.file)
    table = full_table(cells, name, source)
    table["model_type"] = [
        firsts.get((key, int(cell)), kind)
        for cell, kind in zip(table["cell_id"], table["cell_type"], strict=True)
    ]
    changed = [event.when for event in content.trail.events if event.image == key]
    return Run(
        folder=content.folder,
        slide=str(made.get("image", {}).get("layer") or name),
        record={
            "image": {"name": name, "source": source, "sha256": record.file_sha256},
            "bundle": BY_HAND | _bundle(made),
            "scale": {"um_per_px": record.um_per_px, "from": "image"},
            "finished": changed[-1] if changed else "",
        },
        config=made.get("config") or {},
        table=table,
        key=key,
    )


def _bundle(made_from: Mapping[str, Any]) -> dict[str, Any]:
    bundle = made_from.get("bundle") or {}
    if isinstance(bundle, str):
        return {"name": bundle}
    return {key: value if key == "classes" else str(value) for key, value in bundle.items()}


def full_table(cells: SessionCells, name: str, source: str) -> "pd.DataFrame":
    """As ``analyse`` writes it: what the table lacks is filled in, boxes are those of the outlines."""
    from scipy.ndimage import find_objects

    table = cells.table.rename(columns={"label": "cell_id"}).reset_index(drop=True)
    n = len(table)
    filled = {"best": "", "second": "", "doubt": "", "cell_type_source": ""}
    numbers = {"cell_type_prob": np.nan, "second_prob": 0.0}
    for column, value in (filled | numbers).items():
        table[column] = table[column].fillna(value) if column in table else [value] * n
    kinds = table["cell_type"] if "cell_type" in table else [""] * n
    table["cell_type"] = [str(kind) if kind == kind and kind else UNIDENTIFIED for kind in kinds]  # noqa: PLR0124 (NaN)
    cut = table["touches_border"].to_numpy(bool) if "touches_border" in table else np.zeros(n, bool)
    boxes = find_objects(cells.labels)
    slices = [boxes[int(cell) - 1] if 0 < cell <= len(boxes) else None for cell in table["cell_id"]]
    for column, axis, end in (("x0", 1, "start"), ("y0", 0, "start"), ("x1", 1, "stop"), ("y1", 0, "stop")):
        table[column] = [0 if box is None else getattr(box[axis], end) for box in slices]
    return table.assign(image=name, source=source, touches_border=cut)


def _signatures(
    content: Content, runs: Mapping[str, Run], drawn: Mapping[str, str], config: ReportConfig
) -> Iterator[Signature]:
    """The last of each image. It is under all images that were signed with it, also those of them that
    somebody signed again since."""
    last: dict[str, tuple[str, str]] = {}
    together: dict[tuple[str, str], dict[str, Event]] = {}
    for event in content.trail.events:
        if event.action == "sign-off" and event.image in runs and isinstance(event.new, Mapping):
            last[event.image] = what = (str(event.new.get("digest")), str(event.new.get(CELLS)))
            together.setdefault(what, {})[event.image] = event
    for what in dict.fromkeys(last.values()):
        keys = list(together[what])
        event = together[what][keys[0]]
        some = [runs[key] for key in keys]
        cells = cells_digest(
            ((run.slide, cell, kind) for run in some for cell, kind, _ in _classes_in(run.table) if cell > 0),
            ((runs[key].slide, drawn[key]) for key in keys),
        )
        pooled, slides = counted(some, _settings(event.new, config))
        yield Signature(
            who=str(event.new.get("who") or event.who),
            when=str(event.new.get("when") or event.when),
            images=tuple(str(run.image["name"]) for run in some),
            counted=event.note,
            valid=is_unchanged(event.new, digest_of(pooled, slides), cells),
            looked=Looked.read(event.new),
        )


def _settings(signed: Mapping[str, Any], config: ReportConfig) -> ReportConfig:
    """As the person counted who signed."""
    if "count" not in signed:
        return config
    return replace(
        config,
        count=CountConfig.from_json(dict(signed["count"])),
        merge_bands=bool(signed.get("merge_bands", False)),
    )


def counted(runs: Sequence[Run], config: ReportConfig) -> tuple[Differential, list[tuple[str, Differential]]]:
    """All together, and slide by slide: the figures of the panel "Differential"."""

    def of(some: Sequence[Run]) -> Differential:
        return count_cells(
            [str(kind) for run in some for kind in run.table["cell_type"]],
            [str(who).startswith(PERSON) for run in some for who in run.table["cell_type_source"]],
            [bool(cut) for run in some for cut in run.table["touches_border"]],
            config.count,
            merge_bands=config.merge_bands,
            known=known_classes([run.record for run in some]),
        )

    slides = list(dict.fromkeys(run.slide for run in runs))
    return of(runs), [(name, of([run for run in runs if run.slide == name])) for name in slides]


def _comments(events: Iterable[Event], names: Mapping[str, str]) -> list[str]:
    """The last comment on several images together, then the last on each, with its name where they differ."""
    last: dict[str, dict[str, str]] = {"comment on all": {}, "comment": {}}
    for event in events:
        if event.action in last and event.image in names:
            last[event.action][event.image] = str(event.new or "")
    own = {image: text for image, text in last["comment"].items() if text}
    is_one = len(own) == len(names) and len(set(own.values())) == 1
    each = own.values() if is_one else (f"{names[image]}: {text}" for image, text in own.items())
    return [text for text in dict.fromkeys([*last["comment on all"].values(), *each]) if text]
