"""Fields whose classes are the same list have one list for the person: a class added on one is on all, under
the same key."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from napari_bloodcell.core.class_list import ClassList
from napari_bloodcell.gui import classes
from napari_bloodcell.gui.outlines import outlines

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.viewer import Viewer


def fields_alike(viewer: "Viewer", cells: "Labels") -> "list[Labels]":
    """This field, then the others."""
    names = classes.class_list(cells).names
    others = (one for one in outlines(viewer) if one != cells and classes.class_list(one).names == names)
    return [cells, *others]


def change_list(viewer: "Viewer", cells: "Labels", change: Callable[[ClassList], ClassList]) -> None:
    """A change that is refused is refused before any field has it."""
    after = [(one, change(classes.class_list(one))) for one in fields_alike(viewer, cells)]
    for one, known in after:
        classes.set_classes(viewer, one, known)


def with_cells(viewer: "Viewer", cells: "Labels", name: str) -> str:
    """A field that has cells of this class; empty where none has."""
    return next((one.name for one in fields_alike(viewer, cells) if name in classes.kinds(one)), "")
