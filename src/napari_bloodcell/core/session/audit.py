"""The audit: who changed what, when, from what to what. Append-only JSON lines, forced to disk.

Each line names the hash of the line before it, and ``audit-end.json`` that of the last one, so that a line
changed or taken out later shows. The last line may be torn by a crash: it is told apart from damage, which is
refused. The end is written after the lines: after a crash it is behind, never ahead.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from napari_bloodcell.core.artifact import write_bytes
from napari_bloodcell.core.errors import ArtifactError, SessionError
from napari_bloodcell.core.rows import csv_text

AUDIT, END = "audit.jsonl", "audit-end.json"
FIRST = "0" * 16  # what the first line names as the line before it
ACTIONS_ON_CLASSES = ("classify", "rename", "undo", "redo")
COLUMNS = ("n", "when", "who", "image", "cell_id", "action", "from", "to", "note")
FIELDS = {*COLUMNS, "after"}


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is to be written down. ``old`` and ``new`` are anything JSON can hold."""

    action: str
    image: str = ""  # key of the image in the session
    cell_id: int | None = None
    old: Any = None
    new: Any = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Event(Change):
    """A change that was written down."""

    n: int
    when: str
    who: str


@dataclass(frozen=True, kw_only=True)
class Trail:
    """All that was written. ``torn`` is the text of a last line that a crash cut short."""

    events: tuple[Event, ...]
    last_hash: str
    intact_bytes: int
    torn: bytes = b""

    def patients(self) -> dict[str, str]:
        """Whose each image is, where a person said it."""
        said = {e.image: str(e.new or "") for e in self.events if e.action == "patient"}
        return {image: name for image, name in said.items() if name}


def read_trail(folder: Path) -> Trail:
    path = Path(folder) / AUDIT
    end = _read_end(folder)  # before the lines: somebody may be writing
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SessionError(f"{path} cannot be read: {error.strerror}. Choose a session's folder.") from error
    events: list[Event] = []
    before, place, torn = FIRST, 0, b""
    for line in content.splitlines(keepends=True):
        body = _body(line)
        if body is None and place + len(line) == len(content):
            torn = line
            break
        number = len(events) + 1
        if body is None:
            raise _damaged(path, f"line {number}")
        if body["after"] != before:
            raise _damaged(path, f"line {number - 1} or {number}" if events else f"line {number}")
        events.append(_event(body))
        before, place = _hash(line), place + len(line)
        if end is not None and end[0] == number and end[1] != before:
            raise _damaged(path, f"line {number}")
    if end is not None and len(events) < end[0]:
        raise SessionError(
            f"{path} ends with line {len(events)}, but {end[0]} were written: the rest was taken out or "
            f"damaged. Take the file from a backup; to go on with what is left, delete {END}."
        )
    return Trail(events=tuple(events), last_hash=before, intact_bytes=place, torn=torn)


def _damaged(path: Path, where: str) -> SessionError:
    return SessionError(
        f"{path}, {where} was changed or damaged after it was written. Take it from a backup."
    )


def _read_end(folder: Path) -> tuple[int, str] | None:
    """Number and hash of the last line that was written whole; None in a session of an older release."""
    try:
        told = json.loads((Path(folder) / END).read_bytes())
        return int(told["n"]), str(told["hash"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


class AuditFile:
    """The open end of the audit. Whoever holds it holds the session's lock."""

    def __init__(self, folder: Path, who: str) -> None:
        self.path = Path(folder) / AUDIT
        self.who = who
        trail = read_trail(folder)
        self.events = list(trail.events)
        self.torn = trail.torn
        self._last_hash = trail.last_hash
        # Unbuffered: what a full disk refused must not be tried again behind the next line.
        self._file = self.path.open("ab", buffering=0)
        if trail.torn:
            # Nothing is lost: the piece moves into a line of its own.
            self._file.truncate(trail.intact_bytes)
            self.append([Change(action="repaired", old=trail.torn.decode(errors="replace"))])

    @property
    def n(self) -> int:
        return len(self.events)

    def append(self, changes: Sequence[Change], *, who: str = "", when: str = "") -> None:
        """All in one write, on disk when this returns. ``who`` and ``when``: of changes made before."""
        if not changes:
            return
        self.check_there()
        who, when = who or self.who, when or now()
        events: list[Event] = []
        lines: list[bytes] = []
        before = self._last_hash
        for change in changes:
            event = Event(n=self.n + len(events) + 1, when=when, who=who, **vars(change))
            line = _line(event, before)
            before = _hash(line)
            events.append(event)
            lines.append(line)
        end = os.fstat(self._file.fileno()).st_size
        try:
            rest = memoryview(b"".join(lines))
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            self._cut_back(end)
            raise SessionError(
                f"{self.path} could not be written: {error.strerror}. The last change is not saved. "
                "Free some space or check the drive."
            ) from error
        self.events.extend(events)
        self._last_hash = before
        with suppress(ArtifactError):  # the lines are on the disk; the end is written with the next ones
            write_bytes(self.path.with_name(END), json.dumps({"n": self.n, "hash": before}).encode())

    def check_there(self) -> None:
        """A folder that was renamed or deleted takes the open file along, and lines into it would be lost.
        Where file numbers change by themselves (some network drives), the size tells."""
        if self._file.closed:
            raise SessionError(
                f"The session {self.path.parent} is closed, and the last change is not kept. Open it again."
            )
        ours = os.fstat(self._file.fileno())
        try:
            there = self.path.stat()
        except OSError as error:
            raise SessionError(
                f"{self.path} is not there any more ({error.strerror}): the session's folder was renamed, "
                "moved or deleted. What is changed from now on is not saved. Put it back under its name."
            ) from error
        if not os.path.samestat(ours, there) and ours.st_size != there.st_size:
            raise SessionError(
                f"{self.path} is another file than the one that was opened. What is changed from now on is "
                "not saved. Put the session's folder back in its place."
            )

    def close(self) -> None:
        self._file.close()

    def _cut_back(self, end: int) -> None:
        try:
            self._file.truncate(end)
        except OSError:
            self._file.close()  # what reached the disk is a torn line, which the next opening mends


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def to_csv(events: Sequence[Event], names: dict[str, str] | None = None) -> str:
    """The audit as a table. ``names``: what to call the images, by their key."""
    rows: list[Sequence[Any]] = [COLUMNS]
    for e in events:
        image = (names or {}).get(e.image, e.image)
        cell = "" if e.cell_id is None else e.cell_id
        rows.append((e.n, e.when, e.who, image, cell, e.action, _shown(e.old), _shown(e.new), e.note))
    return csv_text(rows)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _line(event: Event, before: str) -> bytes:
    body = {
        "n": event.n,
        "when": event.when,
        "who": event.who,
        "image": event.image,
        "cell_id": event.cell_id,
        "action": event.action,
        "from": event.old,
        "to": event.new,
        "note": event.note,
        "after": before,
    }
    return json.dumps(body, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _body(line: bytes) -> dict[str, Any] | None:
    """None where it is no whole line of ours."""
    try:
        body: dict[str, Any] = json.loads(line)
        return body if line.endswith(b"\n") and set(body) >= FIELDS else None
    except (ValueError, TypeError):
        return None


def _event(body: dict[str, Any]) -> Event:
    return Event(
        n=body["n"],
        when=body["when"],
        who=body["who"],
        image=body["image"],
        cell_id=body["cell_id"],
        action=body["action"],
        old=body["from"],
        new=body["to"],
        note=body["note"],
    )


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()[:16]
