"""Which outlines of a layer a person has drawn or corrected, this sitting or an earlier one."""

import weakref
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from napari_bloodcell.core.words import how_many
from napari_bloodcell.gui import layers

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_bloodcell.core.session import Event

BY_HAND = "by_hand"  # as a layer has them, and the session with it: numbers of cells, those erased too

_earlier: "weakref.WeakKeyDictionary[Labels, frozenset[int]]" = weakref.WeakKeyDictionary()


def by_hand(cells: "Labels") -> Sequence[int]:
    found: Sequence[int] = cells.metadata.get(layers.KEY, {}).get(BY_HAND, ())
    return found


def told(cells: "Labels") -> str:
    n = len(by_hand(cells))
    return f"{how_many(n, 'outline')} by hand" if n else "not corrected"


def keep(cells: "Labels", done: Iterable[int]) -> None:
    """``done``: cells of all corrections of this sitting that stand, those taken back left out."""
    earlier = _earlier.setdefault(cells, frozenset(by_hand(cells)))
    now = sorted(earlier.union(map(int, done)))
    if now != list(by_hand(cells)):
        ours = dict(cells.metadata.get(layers.KEY, {})) | {BY_HAND: now}
        cells.metadata = cells.metadata | {layers.KEY: ours}


def said_in(events: "Sequence[Event]") -> dict[str, dict[str, Any]]:
    """Of each image of a session, by its audit: for sessions of releases that did not keep it."""
    found: dict[str, set[int]] = {}
    for event in events:
        if event.action == "outline" and event.cell_id is not None:
            found.setdefault(event.image, set()).add(event.cell_id)
        elif event.action == "set aside":
            found.pop(event.image, None)
    return {image: {BY_HAND: sorted(cells)} for image, cells in found.items()}
