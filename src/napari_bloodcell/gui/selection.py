"""Choosing cells in the viewer by click, and showing which are chosen: for panels that work on cells."""

import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.gui import layers
from napari_bloodcell.gui.outlines import shown_plane
from napari_bloodcell.gui.slide_layers import is_slide

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.viewer import Viewer

MARKS = "chosen cells"
COLOUR = "#FF2D95"
CONTOUR_PX = 4
OUTLINED, FILLED = 0.7, 0.3
BYTE = 256
LARGEST_TABLE = 20_000_000
CLICK_PX = 4.0  # on the screen; a press that moves further drags the view

Picked = Callable[["Labels", int, bool], None]  # layer, cell (0: none), whether to add to what is chosen


class CellPicker:
    """Tells which cell is clicked on, of those layers, while it is on. Shift or Ctrl adds.
    ``also_hidden``: of layers that are not shown too."""

    def __init__(
        self,
        viewer: "Viewer",
        of: Callable[[], "Sequence[Labels]"],
        picked: Picked,
        *,
        also_hidden: bool = False,
    ) -> None:
        self._viewer, self._of, self._picked, self._also_hidden = viewer, of, picked, also_hidden

    def start(self) -> None:
        if self._on_press not in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.append(self._on_press)

    def stop(self) -> None:
        if self._on_press in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._on_press)

    def _on_press(self, viewer: "Viewer", event: Any) -> Iterator[None]:
        active = viewer.layers.selection.active
        if event.button != 1 or (active is not None and str(active.mode) not in ("pan_zoom", "transform")):
            return  # a brush or another tool is at work
        start = np.asarray(event.pos, float)
        position = event.position
        # vispy hands over keys with a name, whose text is another; napari's own events may hold words.
        adds = bool({"Shift", "Control"} & {str(getattr(one, "name", one)) for one in event.modifiers})
        yield
        while event.type == "mouse_move":
            yield
        if np.hypot(*(np.asarray(event.pos, float) - start)) > CLICK_PX:
            return
        for layer in self._of():
            if (layer.visible or self._also_hidden) and (cell := cell_at(layer, position)):
                self._picked(layer, cell, adds)
                return
        for layer in self._of()[:1]:
            self._picked(layer, 0, adds)


def cell_at(layer: "Labels", position: Any) -> int:
    """The cell at a place of the world; 0 where there is none."""
    place = np.rint(layer.world_to_data(position)).astype(int)
    data = layer.data[0] if layer.multiscale else layer.data
    if len(place) != data.ndim or (place < 0).any() or (place >= data.shape).any():
        return 0
    return int(np.asarray(data[tuple(place)]))


def marked(labels: Any, ids: "Sequence[int]") -> Any:
    """The chosen cells alone, in bytes, which reach the screen fastest: napari looks up larger numbers one by
    one. Where ids are larger the cells are numbered anew, so that neighbours keep an outline each."""
    wanted = np.unique(np.asarray(list(ids), np.int64))
    numbers = wanted if wanted.max(initial=0) < BYTE else 1 + np.arange(len(wanted)) % (BYTE - 1)
    highest = int(labels.max(initial=0))
    if not len(wanted):
        return np.zeros(labels.shape, np.uint8)
    if highest > LARGEST_TABLE:  # numbers of a person's own, with gaps
        place = np.searchsorted(wanted, labels).clip(max=len(wanted) - 1)
        return np.where(wanted[place] == labels, numbers[place], 0).astype(np.uint8)
    table = np.zeros(highest + 1, np.uint8)
    there = wanted <= highest
    table[wanted[there]] = numbers[there]
    return table[labels]


class Marks:
    """A layer of ours above the cells that shows the chosen ones; it comes and goes with the choice."""

    def __init__(
        self, viewer: "Viewer", *, stays: bool = False, role: str = MARKS, colour: str = COLOUR
    ) -> None:
        """``stays``: empty where none is chosen, for a panel where that comes often; napari takes half a
        second to remove a layer. ``role``, also its name: what the marks are for."""
        self._viewer, self._stays, self._role, self._colour = viewer, stays, role, colour
        self._shown: dict[int, tuple[weakref.ref[Any], weakref.ref[Any]]] = {}

    def show(self, cells: "Labels", ids: Sequence[int]) -> None:
        """Only these cells of this layer are marked from now on. On a whole slide none are: the view moves to
        a cell, but a mark would be a picture as large as the slide."""
        if is_slide(cells):
            return
        layer = self._marks_of(cells)  # None: the person deleted it, or there was none
        if not len(ids) and (layer is None or not self._stays):
            if layer is not None:
                self._viewer.layers.remove(layer)
            self._shown.pop(id(cells), None)
            return
        data = marked(shown_plane(cells, self._viewer), ids)
        data = data.reshape((1,) * (cells.ndim - 2) + data.shape)
        if layer is None:
            layer = self._moved(cells, data) or self._add(cells, data)
        else:
            layer.data = data
        self._shown[id(cells)] = weakref.ref(cells), weakref.ref(layer)

    def clear(self) -> None:
        for _, marks in list(self._shown.values()):
            layer = marks()
            if layer is not None and layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        self._shown.clear()

    def _marks_of(self, cells: "Labels") -> "Labels | None":
        """Two panels mark cells on one layer, not each on its own."""
        ours = (one for one in self._viewer.layers if layers.role_of(one) == self._role)
        return next((one for one in ours if one.metadata[layers.KEY].get("of") == str(cells.unique_id)), None)

    def _moved(self, cells: "Labels", data: Any) -> "Labels | None":
        """A layer on which nothing is marked any more, put onto these cells: adding one takes napari long,
        and with many fields there would be one for each."""
        for key, (_, marks) in list(self._shown.items()):
            layer = marks()
            if layer is None or layer not in self._viewer.layers or layer.ndim != data.ndim:
                continue
            if not layer.data.any() and layer.data.shape == data.shape:
                del self._shown[key]
                layer.metadata = _made_for(cells, self._role)
                for name, value in _place_of(cells, data.ndim).items():
                    if _is_other(getattr(layer, name), value):  # each is drawn anew at once
                        setattr(layer, name, value)
                layer.data = data
                return layer
        return None

    def _add(self, cells: "Labels", data: Any) -> "Labels":
        from napari.layers import Labels
        from napari.utils.colormaps import DirectLabelColormap

        active = self._viewer.layers.selection.active
        layer = Labels(
            data,
            name=self._role,
            colormap=DirectLabelColormap(color_dict={None: self._colour, 0: "transparent"}),
            metadata=_made_for(cells, self._role),
            **_place_of(cells, data.ndim),
        )
        is_outlined = data.size <= layers.LARGEST_OUTLINED_PX
        layer.contour = CONTOUR_PX if is_outlined else 0
        layer.opacity = OUTLINED if is_outlined else FILLED  # the cell under it is what one looks at
        self._viewer.add_layer(layer)
        if active is not None and active in self._viewer.layers:  # the brush stays where it was
            self._viewer.layers.selection.active = active
        return layer


def _made_for(cells: "Labels", role: str) -> dict[str, Any]:
    return {layers.KEY: {"schema": layers.SCHEMA, "role": role, "of": str(cells.unique_id)}}


def _place_of(cells: "Labels", ndim: int) -> dict[str, Any]:
    return {
        "scale": cells.scale[-ndim:],
        "translate": cells.translate[-ndim:],
        "rotate": cells.rotate,
        "shear": cells.shear,
        "affine": cells.affine,
        "units": cells.units,
    }


def _is_other(a: Any, b: Any) -> bool:
    return not np.array_equal(_numbers(a), _numbers(b))


def _numbers(of: Any) -> Any:
    return np.asarray(getattr(of, "affine_matrix", of))
