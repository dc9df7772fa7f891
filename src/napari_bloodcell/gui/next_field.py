"""Which field comes next: of several open ones, the next whose cells somebody still has to look at."""

from typing import TYPE_CHECKING

from napari_bloodcell.core.words import how_many
from napari_bloodcell.gui import classes
from napari_bloodcell.gui.counted_once import counted_once
from napari_bloodcell.gui.outlines import outlines

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.viewer import Viewer


def next_field(viewer: "Viewer", done: "Labels") -> "tuple[Labels | None, str]":
    """The next layer of cells after this one, round to the first, and what to tell; None: all are seen."""
    known = counted_once(outlines(viewer))
    at = known.index(done) if done in known else -1
    left = [one for one in (*known[at + 1 :], *known[: max(at, 0)]) if _unseen(one)]
    if not left:
        every = "every cell" if len(known) < 2 else f"every cell of all {len(known)} fields"
        return None, f"A person has seen {every}."
    unseen = sum(map(_unseen, left))
    there = (
        f"{how_many(unseen, 'cell')} in {how_many(len(left), 'field')} {'is' if unseen == 1 else 'are'} left"
    )
    return left[0], f"Every cell of {done.name} is seen; {there}. Now {left[0].name}."


def _unseen(cells: "Labels") -> int:
    return int((~classes.is_by_person(cells)).sum())
