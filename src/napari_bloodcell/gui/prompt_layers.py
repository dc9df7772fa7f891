"""Layers a person prompts on: clicks on the cell, clicks off it, boxes, lines; and the outline that follows.

They are ours, come when they are asked for and go when the outline is taken or dropped.
"""

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.core.sam.question import Prompt, scribble
from napari_bloodcell.gui import layers
from napari_bloodcell.gui.napari_ways import camera_of

if TYPE_CHECKING:
    from napari.layers import Labels, Layer
    from napari.viewer import Viewer

ON, OFF, DRAWN, LIVE = "prompt: on the cell", "prompt: not the cell", "prompt: box or line", "live outline"
COLOURS = {ON: "#009E73", OFF: "#D55E00", DRAWN: "#56B4E9", LIVE: "#00A651"}
UNDO, REDO = "Control-Z", "Control-Shift-Z"
SIZE_PX = 9  # on the screen, about
CONTOUR_PX = 3
TOOLS = {"on": (ON, "add"), "off": (OFF, "add"), "box": (DRAWN, "add_rectangle"), "line": (DRAWN, "add_path")}


class PromptLayers:
    """``changed`` is called after each stroke, ``undo`` and ``redo`` by their keys where there is none to
    take back: while a tool is in hand its layer is the active one."""

    def __init__(
        self,
        viewer: "Viewer",
        changed: Callable[[], None],
        undo: Callable[[], None] = lambda: None,
        redo: Callable[[], None] = lambda: None,
    ) -> None:
        self._viewer, self._changed, self._undo, self._redo = viewer, changed, undo, redo
        self._made: dict[str, weakref.ref[Any]] = {}

    def layer(self, name: str) -> "Any | None":
        found = self._made.get(name, lambda: None)()
        return found if found is not None and found in self._viewer.layers else None

    @property
    def is_out(self) -> bool:
        """Whether there is something drawn, or a tool to draw with."""
        return any(self.layer(name) is not None for name in COLOURS)

    def take_up(self, tool: str, like: "Layer") -> None:
        """The layer of a tool, made where there is none, with the tool in hand. It lies as ``like`` does."""
        name, mode = TOOLS[tool]
        layer = self.layer(name)
        if layer is None:
            layer = self._make(name, like)
        self._viewer.layers.selection.active = layer
        layer.mode = mode

    def points_xy(self, name: str, shape: tuple[int, int]) -> Any:
        """Clicks on the image, as x, y."""
        layer = self.layer(name)
        if layer is None or not len(layer.data):
            return np.zeros((0, 2))
        places = np.asarray(layer.data, float)[:, -2:]
        inside = ((places >= -0.5) & (places <= np.array(shape) - 0.5)).all(axis=1)
        return places[inside][:, ::-1].clip(0)

    def drawn(self) -> tuple[list[Any], list[Any]]:
        """Boxes as x0, y0, x1, y1, and lines as N x 2 of x, y; in the order they were drawn."""
        layer = self.layer(DRAWN)
        boxes: list[Any] = []
        lines: list[Any] = []
        for kind, corners in zip(
            [] if layer is None else layer.shape_type, [] if layer is None else layer.data, strict=True
        ):
            xy = np.asarray(corners, float)[:, -2:][:, ::-1]
            if kind == "rectangle":
                boxes.append(np.concatenate([xy.min(axis=0), xy.max(axis=0)]))
            else:
                lines.append(xy)
        return boxes, lines

    def asked(self, labels: Any, cell: int | None) -> Prompt | None:
        """What is drawn, as one question: about this cell of the outlines, or about a new one."""
        on, off = (self.points_xy(name, labels.shape) for name in (ON, OFF))
        boxes, lines = self.drawn()
        size = np.array(labels.shape)[::-1]
        for line in lines:
            on = np.vstack([on, scribble(line).clip(0, size - 1)])
        if not len(on) and not boxes and not (len(off) and cell is not None):
            return None
        known = None if cell is None else labels == cell
        return Prompt(
            points_xy=np.vstack([on, off]) if len(on) + len(off) else None,
            inside=np.arange(len(on) + len(off)) < len(on) if len(on) + len(off) else None,
            box_xyxy=boxes[-1].clip(0, np.tile(size, 2)) if boxes else None,
            mask=known if known is not None and known.any() else None,
        )

    def show_live(self, mask: Any, like: "Labels") -> None:
        layer = self.layer(LIVE)
        data = np.asarray(mask, np.uint8).reshape((1,) * (like.ndim - 2) + mask.shape)
        if layer is None:
            from napari.layers import Labels
            from napari.utils.colormaps import DirectLabelColormap

            layer = Labels(
                data,
                colormap=DirectLabelColormap(color_dict={None: COLOURS[LIVE], 0: "transparent"}),
                **self._options(LIVE, like),
            )
            layer.contour = CONTOUR_PX if data.size <= layers.LARGEST_OUTLINED_PX else 0
            self._add(layer)
        elif layer.data.shape != data.shape:
            layer.data = data
        else:  # only what changed is drawn anew: a whole new picture costs napari three times as much
            at = np.nonzero(layer.data != data)
            layer.data_setitem(at, data[at])

    def clear(self, *, keep_tool: bool) -> None:
        """What was drawn goes; with ``keep_tool`` the layers stay, for the next cell."""
        live = self.layer(LIVE)
        if live is not None:
            self._viewer.layers.remove(live)
        for name in (ON, OFF, DRAWN):
            layer = self.layer(name)
            if layer is None:
                continue
            layer.events.data.disconnect(self._drawn)
            if keep_tool:
                mode = layer.mode
                layer.data = [] if name == DRAWN else np.zeros((0, layer.ndim))
                layer.mode = mode
                layer.events.data.connect(self._drawn)
            else:
                self._viewer.layers.remove(layer)

    def _make(self, name: str, like: "Layer") -> Any:
        from napari.layers import Points, Shapes

        options = self._options(name, like)
        colour = COLOURS[name]
        if name == DRAWN:
            width = 2 * self._per_pixel(like)
            layer: Any = Shapes(
                None, ndim=like.ndim, edge_color=colour, face_color="transparent", edge_width=width, **options
            )
        else:
            symbol = "cross" if name == ON else "x"
            layer = Points(
                None,
                ndim=like.ndim,
                symbol=symbol,
                face_color=colour,
                border_color="white",
                size=SIZE_PX * self._per_pixel(like),
                **options,
            )
        layer.events.data.connect(self._drawn)
        layer.bind_key(UNDO, self._take_back, overwrite=True)
        layer.bind_key(REDO, lambda _: self._redo(), overwrite=True)
        self._add(layer)
        return layer

    def _take_back(self, layer: Any) -> None:
        if not len(layer.data):
            self._undo()
            return
        layer.selected_data = {len(layer.data) - 1}
        layer.remove_selected()

    def _add(self, layer: Any) -> None:
        active = self._viewer.layers.selection.active
        self._viewer.add_layer(layer)
        self._made[layer.metadata[layers.KEY]["role"]] = weakref.ref(layer)
        if active is not None and active in self._viewer.layers:
            self._viewer.layers.selection.active = active

    def _options(self, name: str, like: "Layer") -> dict[str, Any]:
        return {
            "name": name,
            "metadata": {layers.KEY: {"schema": layers.SCHEMA, "role": name}},
            "scale": like.scale,
            "translate": like.translate,
            "rotate": like.rotate,
            "shear": like.shear,
            "affine": like.affine,
            "units": like.units,
        }

    def _per_pixel(self, like: "Layer") -> float:
        """Pixels of the image that one of the screen shows."""
        return max(1.0, 1.0 / max(float(camera_of(self._viewer).zoom) * abs(float(like.scale[-1])), 1e-6))

    def _drawn(self, event: Any) -> None:
        if str(getattr(event, "action", "added")).split(".")[-1].lower() not in (
            "adding",
            "removing",
            "changing",
        ):
            self._changed()
