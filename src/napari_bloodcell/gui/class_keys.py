"""The digits as keys of classes over the image, whichever of a cell's layers is the active one."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.viewer import Viewer

DIGITS = "0123456789"
HANDS = ("pan_zoom", "transform")  # modes in which nothing is drawn


class ClassKeys:
    """``ours`` are layers whose digits are always keys of classes; ``lent`` those where they are while such a
    layer is active. An image takes the digit 2 for "move the image", and a person who names cells would move
    it without a notice. What was bound before is bound again in the end."""

    def __init__(self, viewer: "Viewer", press: Callable[[str], None]) -> None:
        self._viewer, self._press = viewer, press
        self._ours: Sequence[Layer] = ()
        self._lent: Sequence[Layer] = ()
        self._bound: list[tuple[Layer, dict[str, Any]]] = []  # and what each digit did before
        viewer.layers.selection.events.active.connect(self._bind)

    def use(self, ours: "Sequence[Layer | None]", lent: "Sequence[Layer | None]" = ()) -> None:
        self._ours = [one for one in ours if one is not None]
        self._lent = [one for one in lent if one is not None]
        self._bind()

    def stop(self) -> None:
        self._viewer.layers.selection.events.active.disconnect(self._bind)
        self.use(())

    def _bind(self, _event: object = None) -> None:
        active = self._viewer.layers.selection.active
        wanted = [*self._ours, *(one for one in self._lent if one == active)]
        if wanted == [layer for layer, _ in self._bound]:
            return
        for layer, before in self._bound:
            for digit, call in before.items():
                layer.bind_key(digit, call, overwrite=True)  # None: unbound
        self._bound = [
            (layer, {digit: layer.bind_key(digit, self._key(digit), overwrite=True) for digit in DIGITS})
            for layer in wanted
        ]

    def _key(self, digit: str) -> Callable[[object], None]:
        """A plain function: napari asks every bound key for its name, whichever is pressed."""

        def press(_layer: object) -> None:
            self._press(digit)

        return press


def hand_to(viewer: "Viewer", layer: "Layer") -> None:
    """Make a layer the active one, unless a person is drawing on another."""
    active = viewer.layers.selection.active
    free = active is None or str(getattr(active, "mode", HANDS[0])) in HANDS
    if free and active != layer and layer in viewer.layers:
        viewer.layers.selection.active = layer
