"""What is done in several turns of the event loop: a layer is added in steps, for napari takes its time."""

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.viewer import Viewer

T = TypeVar("T")
Steps = Generator[None, None, T]  # gives a T in the end


def added(viewer: "Viewer", layer: "Layer", *, shown: bool = False) -> Iterator[None]:
    """Add a layer in steps, each for a turn of the event loop: the layer, its controls, its picture, and the
    marks of the polygon and brush that napari makes with each Labels layer, which take as long as the layer
    itself. ``shown``: a layer that was made hidden is shown in the end."""
    marks = [one for one in getattr(layer, "_overlays", {}).values() if one.visible]
    later = [*([layer] if layer.visible or shown else []), *marks]
    try:
        for one in later:
            one.visible = False
        _add_unchosen(viewer, layer)
        yield
        if layer in viewer.layers:
            viewer.layers.selection.active = layer
        while later:
            yield
            later.pop(0).visible = True
    finally:  # also where the panel goes in between
        for one in later:
            one.visible = True


def _add_unchosen(viewer: "Viewer", layer: "Layer") -> None:
    """napari makes a layer that is added the active one, for a third of the time that it takes."""
    chosen = viewer.layers.selection
    before = set(chosen)
    with chosen.events.blocker_all():
        viewer.add_layer(layer)
        chosen.clear()
        chosen.update(before)


def at_once(steps: "Steps[T]") -> T:
    """All in this turn."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            given: T = end.value
            return given
