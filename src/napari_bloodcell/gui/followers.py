"""Layers that go with another: what is being added with its image, rims and marks with their cells."""

import uuid
import weakref
from collections.abc import Container, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer

from napari_bloodcell.gui import layers
from napari_bloodcell.gui.napari_ways import unwrapped

if TYPE_CHECKING:
    from napari.layers import Labels, Layer
    from napari.viewer import Viewer

SOON_MS = 100  # the window is drawn without the cells first: else Mesa may crash on what is added later


def while_there(viewer: "Viewer", picture: layers.Picture, steps: Iterator[None]) -> Iterator[None]:
    """Adds layers on an image as long as it is in the viewer; where it goes, so does what was added on it."""
    before, image_id = list(viewer.layers), picture.layer_id
    while picture.is_in(viewer):
        if next(steps, steps) is steps:
            return
        yield
    del steps  # what it had begun it ends
    for layer in list(viewer.layers):
        if layer not in before and image_id_of(layer) == image_id:
            viewer.layers.remove(layer)


def make_copies_their_own(cells: "Sequence[Labels]", known: "Container[Labels | None]") -> None:
    """A layer that napari duplicated says of itself what the first one does: rims, nuclei and corrections of
    the one would be those of the other. ``known``: layers that have been heard before."""
    first: set[str] = set()
    for layer in sorted(cells, key=lambda one: unwrapped(one) not in known):  # of two, they are no copies
        ours = layer.metadata.get(layers.KEY, {})
        made = ours.get("made")
        if made in first and layers.role_of(layer) == layers.CELLS:
            own = {name: said for name, said in ours.items() if name != "session"} | {
                "made": uuid.uuid4().hex
            }
            layer.metadata = layer.metadata | {layers.KEY: own}
        elif made:
            first.add(made)


def go_with(viewer: "Viewer", cells: "Labels") -> None:
    """Cells were taken out: rims and marks of cells that are not there would stay. Not at once, for a layer
    may be taken out and put back."""
    made = cells.metadata.get(layers.KEY, {}).get("made")
    QTimer.singleShot(SOON_MS, partial(_take_out, weakref.ref(viewer), made, str(cells.unique_id)))


def _take_out(of: "weakref.ref[Viewer]", made: str | None, cells_id: str) -> None:
    viewer = of()
    if viewer is None:
        return
    ours = [(one, layers.role_of(one), one.metadata.get(layers.KEY, {})) for one in viewer.layers]
    if any(str(one.unique_id) == cells_id for one, _, _ in ours):
        return
    has_cells = any(role == layers.CELLS and made and told.get("made") == made for _, role, told in ours)
    for one, role, told in ours:
        is_rims = role == layers.CLASSES and made and told.get("made") == made and not has_cells
        if is_rims or told.get("of") == cells_id:
            viewer.layers.remove(one)


def image_id_of(layer: "Layer") -> str:
    return str(layer.metadata.get(layers.KEY, {}).get("image", {}).get("layer_id", ""))
