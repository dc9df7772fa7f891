"""Several outlines of one picture: no cell may count twice because it was counted, or opened, twice."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_bloodcell.gui import autosave, classes, layers
from napari_bloodcell.gui.slide_layers import is_slide

if TYPE_CHECKING:
    from napari.layers import Labels

SHARED = 0.2  # of the smaller outlines, from which on they hold the same cells
STRIDE = 4  # a cell is many pixels wide


def counted_once(found: "Sequence[Labels]") -> "list[Labels]":
    """Without those whose cells another set holds: of two, the one that an open session keeps stays, else the
    one with a person's classes, else the later one. Outlines of other parts of one picture all stay."""
    ranked = sorted(range(len(found)), key=lambda at: (*_rank(found[at]), at), reverse=True)
    kept: list[int] = []
    for at in ranked:
        if not any(_same_cells(found[at], found[other]) for other in kept):
            kept.append(at)
    return [found[at] for at in sorted(kept)]


def told_once(found: "Sequence[Labels]") -> str:
    """What to say of the sets that are left out; empty where none is."""
    kept = counted_once(found)
    left = [layer.name for layer in found if layer not in kept]
    if not left:
        return ""
    names = ", ".join(left)
    return f"{names}: the same cells as in another layer, which alone counts. Choose it above to see it."


def _rank(cells: "Labels") -> tuple[bool, bool]:
    return autosave.session_of(cells)[0] is not None, _is_worked_on(cells)


def _is_worked_on(cells: "Labels") -> bool:
    return bool(classes.is_by_person(cells).any())


def _same_cells(a: "Labels", b: "Labels") -> bool:
    if is_slide(a) or is_slide(b) or a.multiscale or b.multiscale or not _same_picture(a, b):
        return False
    if a.data.shape != b.data.shape:
        return False
    one, other = (np.asarray(cells.data)[..., ::STRIDE, ::STRIDE] > 0 for cells in (a, b))
    least = min(int(one.sum()), int(other.sum()))
    return least > 0 and int((one & other).sum()) > SHARED * least


def _same_picture(a: "Labels", b: "Labels") -> bool:
    """By what the pictures show, for one file may be open twice; else by the layer they lie on."""
    one, other = (cells.metadata.get(layers.KEY, {}).get("image", {}) for cells in (a, b))
    is_one_layer = bool(one.get("layer_id")) and one.get("layer_id") == other.get("layer_id")
    if is_one_layer and not np.allclose(a.translate[:-2], b.translate[:-2]):
        return False  # two planes of a stack; within its plane the image may have been moved between counts
    shown = one.get("sha256"), other.get("sha256")
    if all(shown) and shown[0] == shown[1]:
        return True
    # Of a file a result says another hash than a layer of its pixels; two layers of one may be two planes.
    if one.get("of_file", False) != other.get("of_file", False) and one.get("source"):
        return bool(one["source"] == other.get("source"))
    return is_one_layer and not all(shown)
