"""Words for messages."""

from collections.abc import Sequence


def how_many(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def some_of(lines: Sequence[str], most: int = 20) -> list[str]:
    """So many lines that a person reads them; the others are counted."""
    rest = len(lines) - most
    return [*lines[:most], *([f"and {rest} more like these."] if rest > 0 else [])]
