"""Words for messages."""

import re
from collections.abc import Iterable, Sequence


def how_many(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def once_each(told: Iterable[tuple[str, str]]) -> list[tuple[list[str], str]]:
    """Notes and the names of what they are of, each note once: they may differ by their figures only."""
    alike: dict[str, list[tuple[str, str]]] = {}
    for name, note in told:
        alike.setdefault(re.sub(r"[\d.]*\d", "0", note), []).append((name, note))
    found = []
    for same in alike.values():
        others = " (the first; the others with other figures)" if len({note for _, note in same}) > 1 else ""
        found.append(([name for name, _ in same], f"{others}: {same[0][1]}"))
    return found


def one_line(text: str) -> str:
    """With what a terminal would obey, or break the line at, written out: names of files may hold it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def some_of(lines: Sequence[str], most: int = 20) -> list[str]:
    """So many lines that a person reads them; the others are counted."""
    rest = len(lines) - most
    return [*lines[:most], *([f"and {rest} more like these."] if rest > 0 else [])]
