"""Undo and redo of classes, and what to tell of them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari_bloodcell.core.words import how_many
from napari_bloodcell.gui import classes

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.viewer import Viewer

GONE = "The cells of that step are not there: bring their outlines back first (Segment cells, Undo)."


def told_step(viewer: "Viewer", of: "Sequence[Labels]", *, back: bool) -> str:
    """Does it; empty where there was nothing to do."""
    if not classes.can_undo(of)[0 if back else 1]:
        return ""
    n = (classes.undo if back else classes.redo)(viewer, of)
    if n is None:
        return GONE
    what = how_many(n, "cell") if n else "the list of classes"
    return f"{'Taken back' if back else 'Given again'}: {what}."
