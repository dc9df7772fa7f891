"""The audit: who changed what, when, from what to what. Append-only JSON lines, forced to disk.

Each line names the hash of the line before it, so that a line changed or taken out later shows. The last line
may be torn by a crash: it is told apart from damage further up, which is refused.
"""

import csv
import hashlib
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from napari_bloodcell.core.errors import SessionError

AUDIT = "audit.jsonl"
FIRST = "0" * 16  # what the first line names as the line before it
ACTIONS_ON_CLASSES = ("classify", "rename", "undo", "redo")
COLUMNS = ("n", "when", "who", "image", "cell_id", "action", "from", "to", "note")


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


def read_trail(folder: Path) -> Trail:
    path = Path(folder) / AUDIT
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SessionError(f"{path} cannot be read: {error.strerror}. Choose a session's folder.") from error
    events: list[Event] = []
    before, place = FIRST, 0
    for line in content.splitlines(keepends=True):
        event = _read_line(line, before) if line.endswith(b"\n") else None
        if event is None:
            is_last = place + len(line) == len(content)
            if not is_last:
                raise SessionError(
                    f"{path}, line {len(events) + 1} was changed or damaged after it was written. "
                    "Take the file from a backup: the lines before it are whole."
                )
            return Trail(events=tuple(events), last_hash=before, intact_bytes=place, torn=line)
        events.append(event)
        before, place = _hash(line), place + len(line)
    return Trail(events=tuple(events), last_hash=before, intact_bytes=place)


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

    def append(self, changes: Sequence[Change]) -> None:
        """All of them in one write, on disk when this returns."""
        if not changes:
            return
        when = datetime.now(UTC).isoformat(timespec="milliseconds")
        events: list[Event] = []
        lines: list[bytes] = []
        before = self._last_hash
        for change in changes:
            event = Event(n=self.n + len(events) + 1, when=when, who=self.who, **vars(change))
            line = _line(event, before)
            before = _hash(line)
            events.append(event)
            lines.append(line)
        if self._file.closed:
            raise SessionError(
                f"The session {self.path.parent} is closed, and the last change is not kept. Open it again."
            )
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
                "Free some space or check the drive, then repeat it."
            ) from error
        self.events.extend(events)
        self._last_hash = before

    def close(self) -> None:
        self._file.close()

    def _cut_back(self, end: int) -> None:
        try:
            self._file.truncate(end)
        except OSError:
            self._file.close()  # what reached the disk is a torn line, which the next opening mends


def to_csv(events: Sequence[Event], names: dict[str, str] | None = None) -> str:
    """The audit as a table. ``names``: what to call the images, by their key."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(COLUMNS)
    for e in events:
        image = (names or {}).get(e.image, e.image)
        cell = "" if e.cell_id is None else e.cell_id
        row = (e.n, e.when, e.who, image, cell, e.action, _shown(e.old), _shown(e.new), e.note)
        table.writerow([_harmless(value) for value in row])
    return out.getvalue()


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _harmless(value: Any) -> Any:
    """A spreadsheet would run a text that begins like a formula."""
    return "'" + value if isinstance(value, str) and value[:1] in "=+-@\t\r" and value else value


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


def _read_line(line: bytes, before: str) -> Event | None:
    try:
        body = json.loads(line)
        if body["after"] != before:
            return None
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
    except (ValueError, KeyError, TypeError):
        return None


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()[:16]
