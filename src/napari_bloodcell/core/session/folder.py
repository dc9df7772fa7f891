"""A session's folder::

session.json              what this is, and which version
audit.jsonl               every change, append-only: images, models, settings and classes too
audit-end.json            number and hash of the last line of it
cells-KEY.safetensors     outlines and table of one image; KEY is the start of the image's hash
image-KEY.png             only of an image that cannot be read again from a file
lock, in-use.json         who has it open; the system lets go of the lock when the program ends or dies
"""

import errno
import getpass
import json
import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from napari_bloodcell.core.artifact import atomic_path, check_writable, read_json, write_bytes, write_json
from napari_bloodcell.core.errors import BloodcellError, SessionError
from napari_bloodcell.core.image import hash_file, read_image
from napari_bloodcell.core.records import PERSON
from napari_bloodcell.core.session.audit import AUDIT, AuditFile, Change, Event, Trail, read_trail
from napari_bloodcell.core.session.cells import SessionCells, read_cells, with_changes, write_cells
from napari_bloodcell.core.words import how_many, one_line

if TYPE_CHECKING:
    from napari_bloodcell.core.records import SmearImage

SESSION, LOCK, IN_USE = "session.json", "lock", "in-use.json"
KEY_LENGTH = 16


@dataclass(frozen=True, kw_only=True)
class ImageRecord:
    """Where an image is found again, and how to tell that it is the same."""

    key: str
    name: str
    file: str  # absolute path, or a name inside the session's folder
    file_sha256: str
    um_per_px: float | None = None


def is_session(folder: Path) -> bool:
    return (Path(folder) / SESSION).is_file()


class Session:
    """An open session: one at a time may write. ``who`` is written beside every change."""

    def __init__(self, folder: Path, who: str = "") -> None:
        """Open the session of a folder; an empty or new folder becomes one."""
        self.folder = Path(folder).expanduser().absolute()
        if not is_session(self.folder):
            _make(self.folder)
        read_json(self.folder / SESSION, "session")  # a newer version is refused here
        self._lock = _locked(self.folder)
        with ExitStack() as undo:
            undo.callback(self._lock.release)
            self._audit = AuditFile(self.folder, who or person())
            undo.callback(self._audit.close)
            self.torn = self._audit.torn
            _write_in_use(self.folder, self._audit.who)
            self._audit.append([Change(action="opened", new=_machine())])
            undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def who(self) -> str:
        return self._audit.who

    @who.setter
    def who(self, name: str) -> None:
        self._audit.who = name or person()

    @property
    def events(self) -> tuple[Event, ...]:
        return tuple(self._audit.events)

    def record(self, changes: Sequence[Change], *, who: str = "", when: str = "") -> None:
        """On disk when this returns. ``who`` and ``when``: of changes that were made before."""
        self._audit.append(changes, who=who, when=when)

    def add_image(self, image: "SmearImage") -> str:
        """Remember an image; gives its key. Pixels that no file gives again are copied into the folder."""
        key = image.sha256[:KEY_LENGTH]
        known = images_of(self.events).get(key)
        if known is not None and (self.folder / known.file).exists():
            return key
        file = _file_of(image)  # new, or moved since
        if file is None:
            file = f"image-{key}.png"
            self._audit.check_there()
            _write_png(self.folder / file, image)
        record = {
            "name": image.name,
            "file": file,
            "file_sha256": hash_file(self.folder / file),
            "um_per_px": image.um_per_px,
        }
        self.record([Change(action="image", image=key, new=record)])
        return key

    def save_cells(
        self, key: str, cells: SessionCells, changes: Sequence[Change] = (), *, holds: int | None = None
    ) -> None:
        """Outlines and table of an image as they are now. ``changes`` says what differs, a line a cell.
        ``holds``: the last line of the audit that is in them, where they were taken before now."""
        path = self._cells_of(key)
        self._audit.check_there()
        self.record(changes)
        # The file first: were the line first, a crash between would leave a line about a file not there.
        sha256 = write_cells(path, cells, holds=self._audit.n if holds is None else holds)
        kept = {name: cells.made_from[name] for name in ("bundle", "segmenter") if name in cells.made_from}
        said = {"cells": len(cells.table), "sha256": sha256, **kept}
        self.record([Change(action="cells", image=key, new=said)])

    def has_cells(self, key: str) -> bool:
        return self._cells_of(key).exists()

    def set_aside(self, key: str) -> None:
        """Other outlines take the place of those kept: these stay in the folder under another name."""
        path = self._cells_of(key)
        self._audit.check_there()
        if path.exists():
            kept = path.with_name(f"{path.stem}-until-{self._audit.n}{path.suffix}")
            path.replace(kept)
            try:
                self.record([Change(action="set aside", image=key, new=kept.name)])
            except BloodcellError:
                kept.replace(path)  # as it was: it can be tried again
                raise

    def _cells_of(self, key: str) -> Path:
        return self.folder / f"cells-{key}.safetensors"

    def close(self) -> None:
        self._audit.close()
        try:
            (self.folder / IN_USE).unlink(missing_ok=True)
        finally:
            self._lock.release()


@dataclass(frozen=True, kw_only=True, eq=False)
class Content:
    """What a session holds, read without opening it."""

    folder: Path
    trail: Trail
    images: Mapping[str, ImageRecord]

    def classes_of(self, key: str) -> Sequence[Mapping[str, str]]:
        """Name and colour of an image's classes, in order; empty where none were chosen since it was kept.
        Sessions of before told no image: what they say holds for all."""
        told = (e.new for e in reversed(self.trail.events) if e.action == "classes" and e.image in ("", key))
        found: Sequence[Mapping[str, str]] = next(told, ())
        return found

    def cells(self, key: str) -> SessionCells | None:
        """Outlines and table with every later change; None where an image has none yet."""
        path = self.folder / f"cells-{key}.safetensors"
        if not path.exists():
            return None
        return with_changes(read_cells(path), [e for e in self.trail.events if e.image == key])

    def lost(self) -> list[str]:
        """What is to be told of images whose cells were kept, and whose file is gone."""
        kept: dict[str, int] = {}
        for event in self.trail.events:
            if event.action == "cells":
                kept[event.image] = int(event.new["cells"])
            elif event.action == "set aside":
                kept.pop(event.image, None)
        return [
            f"{self.folder}: the file cells-{key}.safetensors is gone, with the {count} cells of "
            f"{self.images[key].name}, which are not counted. Put it back from a backup."
            for key, count in kept.items()
            if key in self.images and not (self.folder / f"cells-{key}.safetensors").exists()
        ]

    def image(self, key: str) -> "SmearImage":
        """The pixels again; refused where the file is another one now."""
        record = self.images[key]
        path = self.folder / record.file
        if not path.exists():
            raise SessionError(
                f"The image {record.name} of this session is gone from {path}. Put the file back, "
                "or open the session on the machine that has it."
            )
        if path.is_file() and hash_file(path) != record.file_sha256:
            raise SessionError(
                f"{path} is not the image that was worked on: its content has changed. "
                "Put the original file back; outlines would lie on other pixels."
            )
        return replace(read_image(path), name=record.name, um_per_px=record.um_per_px, sha256=key)


def read_session(folder: Path) -> Content:
    """Read a session, also while somebody works on it."""
    folder = Path(folder).expanduser().absolute()
    if not is_session(folder):
        raise SessionError(f"{folder} is no session: it has no {SESSION}. Choose a session's folder.")
    read_json(folder / SESSION, "session")
    trail = read_trail(folder)
    return Content(folder=folder, trail=trail, images=images_of(trail.events))


def images_of(events: Sequence[Event]) -> dict[str, ImageRecord]:
    return {e.image: ImageRecord(key=e.image, **e.new) for e in events if e.action == "image"}


def describe(folder: Path) -> str:
    """A session in a few lines."""
    content = read_session(folder)
    events = content.trail.events
    by_hand = [e for e in events if e.action in ("classify", "undo", "redo", "outline")]
    people = sorted({e.who for e in events})
    images = "1 image" if len(content.images) == 1 else f"{len(content.images)} images"
    lines = [f"{content.folder}: {images}, {len(events)} lines of audit"]
    lines.append(f"people: {', '.join(people) or 'none'}; changes by hand: {len(by_hand)}")
    patients = content.trail.patients()
    for key, record in content.images.items():
        cells = content.cells(key)
        found = "no cells yet" if cells is None else _told_of(cells)
        of = f", patient {one_line(patients[key])}" if key in patients else ""
        lines.append(f"  {record.name}  {found}{of}  {record.file}")
    lines += content.lost()
    if content.trail.torn:
        lines.append("The last line of the audit was cut short by a crash; opening the session mends it.")
    if events:
        lines.append(f"last change: {events[-1].when} by {events[-1].who}")
    return "\n".join(lines)


def _told_of(cells: SessionCells) -> str:
    """As they are now: what was undone, or said of outlines that were set aside, is in the audit alone."""
    sources = cells.table.get("cell_type_source", ())
    named = sum(str(source).startswith(PERSON) for source in sources)
    return f"{how_many(len(cells.table), 'cell')}, {named} named by a person"


def person() -> str:
    """Who sits here, as the system says."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def check_outside(path: Path, folder: Path) -> None:
    """A session's own folder is no place for what is written from it."""
    if path.expanduser().resolve().is_relative_to(folder.expanduser().resolve()):
        raise SessionError(
            f"{path} lies in the session itself, whose files must stay as they are. Choose another place."
        )


def _make(folder: Path) -> None:
    check_writable(folder)
    others = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
    if others:
        raise SessionError(
            f"{folder} is no session and holds other files ({others[0]}). "
            "Choose a session, or an empty folder."
        )
    (folder / AUDIT).touch()
    body = {"created": datetime.now(UTC).isoformat(timespec="seconds"), "note": "Research use only."}
    write_json(folder / SESSION, "session", body)


def _locked(folder: Path) -> Any:
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK, timeout=0, thread_local=False)  # opened in one thread, closed in another
    try:
        lock.acquire()
    except Timeout:
        raise SessionError(
            f"The session {folder} is open already{_in_use_by(folder)}. "
            "Close it there, or choose another folder."
        ) from None
    except (OSError, NotImplementedError) as error:
        if getattr(error, "errno", None) in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise SessionError(
                f"The session {folder} can only be read: it takes no changes there. To look at it, open its "
                f"{SESSION} with File > Open File; to go on with it, copy the folder to where you may write."
            ) from error
        raise SessionError(
            f"The session {folder} cannot be locked: {error}. Choose a folder on a drive of this machine."
        ) from error
    return lock


def _in_use_by(folder: Path) -> str:
    try:
        told = json.loads((folder / IN_USE).read_text())
        return f": {told['who']} on {told['host']}, process {told['process']}, since {told['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _write_in_use(folder: Path, who: str) -> None:
    told = _machine() | {"who": who, "since": datetime.now(UTC).isoformat(timespec="seconds")}
    write_bytes(folder / IN_USE, json.dumps(told).encode())


def _machine() -> dict[str, Any]:
    from importlib.metadata import version

    release = version("napari-bloodcell")
    return {"host": platform.node(), "process": os.getpid(), "release": release}


def _file_of(image: "SmearImage") -> str | None:
    """The file that gives these pixels again; None for arrays, planes of stacks and edited images."""
    if image.source is None or not Path(image.source).exists():
        return None
    path = Path(image.source).absolute()
    try:
        again = read_image(path).pixels
    except BloodcellError:
        return None
    same = again.shape == image.pixels.shape and bool((again == image.pixels).all())
    return str(path) if same and path.is_file() else None


def _write_png(path: Path, image: "SmearImage") -> None:
    from PIL import Image

    with atomic_path(path) as temporary:
        Image.fromarray(image.pixels).save(temporary, format="PNG", compress_level=1)
