"""The maps of the embed panel: what colours the points, the legend, and the cells behind the rows."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_bloodcell.core.class_list import ClassList
from napari_bloodcell.core.records import UNIDENTIFIED
from napari_bloodcell.gui import classes as cell_classes
from napari_bloodcell.gui.embed_calls import Embedded
from napari_bloodcell.gui.legend import Entry, Legend
from napari_bloodcell.gui.scatter import Scatter
from napari_bloodcell.gui.wrapped import Wrapped

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.viewer import Viewer

CLASS, IMAGE = "class", "image"
# Okabe and Ito's, told apart in all common kinds of colour blindness.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999", "#F0E442")
UNKNOWN = "#808080"
RAMP_STEPS = 14
NOT_SHOWN = ("index", "label", "cell_type", "image", "source")
EMPTY = "Press Embed: each cell becomes a point. Near points are cells that look alike."


class Rows:
    """The cells behind the points, read from their layers anew each time: classes change meanwhile."""

    def __init__(self, embedded: Embedded, viewer: "Viewer") -> None:
        self.embedded, self._viewer = embedded, viewer
        self.images = self._image_names()

    def __len__(self) -> int:
        return len(self.embedded.cell_id)

    def layer(self, field: int) -> "Labels | None":
        return self.embedded.fields[field].layer_in(self._viewer)

    def layers(self) -> "list[Labels]":
        found = [self.layer(field) for field in range(len(self.embedded.fields))]
        return [one for one in found if one is not None]

    def rows_of(self, layer: "Labels", cell: int) -> Any:
        fields = [at for at in range(len(self.embedded.fields)) if self.layer(at) is layer]
        return np.flatnonzero(np.isin(self.embedded.field, fields) & (self.embedded.cell_id == cell))

    def cells(self, rows: Any, field: int) -> list[int]:
        chosen = np.asarray(rows, int)
        return [int(i) for i in self.embedded.cell_id[chosen[self.embedded.field[chosen] == field]]]

    def gone(self) -> int:
        """Cells on the map that are in their outlines no more."""
        there = {field: set(cell_classes.ids(layer).tolist()) for field, layer in self._by_field()}
        pairs = zip(self.embedded.field.tolist(), self.embedded.cell_id.tolist(), strict=True)
        return sum(cell not in there.get(field, {cell}) for field, cell in pairs)

    def _by_field(self) -> "list[tuple[int, Labels]]":
        found = [(field, self.layer(field)) for field in range(len(self.embedded.fields))]
        return [(field, layer) for field, layer in found if layer is not None]

    def classes(self) -> list[str]:
        return [str(one) for one in self._column(cell_classes.kinds, UNIDENTIFIED)]

    def numbers(self, column: str) -> Any:
        def read(layer: "Labels") -> Any:
            return layer.features[column] if column in layer.features else [np.nan] * len(layer.features)

        return np.asarray(self._column(read, np.nan), float)

    def columns(self) -> list[str]:
        """What can colour the points: class, image, every column of numbers."""
        found: dict[str, None] = {}
        for layer in self.layers():
            for name, kind in layer.features.dtypes.items():
                if kind.kind in "fiub" and name not in NOT_SHOWN:
                    found.setdefault(str(name))
        return [CLASS, IMAGE, *found]

    def class_colours(self) -> dict[str, str]:
        colours: dict[str, str] = dict(ClassList.of().colours)
        for layer in self.layers():
            colours |= cell_classes.class_list(layer).colours
        return colours

    def _column(self, read: Any, otherwise: Any) -> list[Any]:
        values = [otherwise] * len(self)
        for field in range(len(self.embedded.fields)):
            layer = self.layer(field)
            if layer is None:
                continue
            known = dict(zip(cell_classes.ids(layer).tolist(), list(read(layer)), strict=False))
            for row in np.flatnonzero(self.embedded.field == field):
                values[row] = known.get(int(self.embedded.cell_id[row]), otherwise)
        return values

    def _image_names(self) -> list[str]:
        names = [one.picture.name for one in self.embedded.fields]
        if len(set(names)) < len(names):
            names = [f"{name} ({one.name})" for name, one in zip(names, self.embedded.fields, strict=True)]
        return [names[field] for field in self.embedded.field]


class Maps(QWidget):
    """One map, or two of the same cells one above the other. ``selected`` brings rows."""

    selected = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.maps = (Scatter(EMPTY), Scatter(EMPTY))
        self.titles = (Wrapped(), Wrapped())
        self.legend = Legend()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for title, one in zip(self.titles, self.maps, strict=True):
            layout.addWidget(title)
            layout.addWidget(one)
            one.setToolTip(
                "Draw a loop round points, or click one: its cells are marked in the image. "
                "Shift adds, the wheel zooms, a double click shows all."
            )
            one.selected.connect(self._select)
        layout.addWidget(self.legend)
        self._show_second(is_shown=False)

    def show_rows(self, rows: Rows, column: str) -> None:
        colours = colours_of(rows, column, self.legend)
        classes = rows.classes()
        names = [
            f"{image}, cell {cell}: {kind.replace('_', ' ')}"
            for image, cell, kind in zip(rows.images, rows.embedded.cell_id, classes, strict=True)
        ]
        self._show_second(is_shown=len(rows.embedded.maps) > 1)
        for title, one, mapped in zip(self.titles, self.maps, rows.embedded.maps, strict=False):
            title.setText(f"{mapped.way.text} · {', '.join(mapped.plane.axes)}")
            one.show_points(mapped.plane.xy, colours, names)

    def select(self, rows: Any) -> None:
        for one in self.maps:
            one.select(rows)

    def _select(self, rows: Any) -> None:
        self.select(rows)
        self.selected.emit(rows)

    def _show_second(self, *, is_shown: bool) -> None:
        self.maps[1].setVisible(is_shown)
        self.titles[1].setVisible(is_shown)
        self.titles[0].setVisible(bool(self.titles[0].text()) or is_shown)


def colours_of(rows: Rows, column: str, legend: Legend) -> list[str]:
    """A colour for each row, and what they stand for into the legend."""
    if column == CLASS:
        names = rows.classes()
        palette = rows.class_colours()
        legend.show_entries(_key(names, palette))
        return [palette.get(name, UNKNOWN) for name in names]
    if column == IMAGE:
        kinds = dict.fromkeys(rows.images)
        palette = {name: COLOURS[at % len(COLOURS)] for at, name in enumerate(kinds)}
        legend.show_entries(_key(rows.images, palette))
        return [palette[name] for name in rows.images]
    return _ramp(rows.numbers(column), column, legend)


def _key(names: Sequence[str], palette: dict[str, str]) -> list[Entry]:
    """In the order of the palette; what it does not know comes last."""
    counts = Counter(names)
    known = [name for name in palette if name in counts]
    rest = [name for name in counts if name not in palette]
    return [(palette.get(name, UNKNOWN), f"{_plain(name)} {counts[name]}") for name in (*known, *rest)]


def _ramp(values: Any, column: str, legend: Legend) -> list[str]:
    from napari.utils.colormaps import ensure_colormap

    known = np.isfinite(values)
    if not known.any():
        legend.show_entries([(UNKNOWN, f"no cell has a value of {_plain(column)}")])
        return [UNKNOWN] * len(values)
    low, high = np.percentile(values[known], (1, 99))
    share = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    ramp = ensure_colormap("viridis")
    legend.show_ramp(
        _plain(column), f"{low:.3g}", f"{high:.3g}", _shades(ramp, np.linspace(0, 1, RAMP_STEPS))
    )
    shades = _shades(ramp, np.where(known, share, 0))
    return [shade if is_known else UNKNOWN for shade, is_known in zip(shades, known, strict=True)]


def _shades(ramp: Any, shares: Any) -> list[str]:
    levels = (255 * np.asarray(ramp.map(np.asarray(shares, np.float32)))[:, :3]).astype(int)
    return [f"#{red:02X}{green:02X}{blue:02X}" for red, green, blue in levels]


def _plain(name: str) -> str:
    return name.replace("_", " ")
