"""Layers of a whole slide: nothing is read but what is on the screen.

Image and labels stay in their files. The colours of the classes are made of the labels where they are looked
at. Of the table only what the panels use is loaded.
"""

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.core.class_list import ClassList
from napari_bloodcell.gui import layers
from napari_bloodcell.gui.samples import LayerData

if TYPE_CHECKING:
    import pandas as pd
    from napari.layers import Labels

    from napari_bloodcell.core.image.lazy import LazyImage

COLUMNS = (
    "cell_id",
    "cell_type",
    "cell_type_prob",
    "cell_type_source",
    "best",
    "second",
    "second_prob",
    "doubt",
    "distance",
    "x0",
    "y0",
    "x1",
    "y1",
    "touches_border",
    "area_px",
)
LARGEST_HELD = 50_000_000  # samples of the coarsest level, which napari holds in memory
LARGEST_OVERVIEW = (
    1_200_000_000  # samples of a slide without coarse levels that are read once for an overview
)


class Pixels:
    """One resolution of a lazy image, as napari slices it: H x W x 3."""

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(self, image: "LazyImage") -> None:
        self._image, self.shape = image, image.shape
        self.size = int(np.prod(self.shape))

    def __getitem__(self, index: Any) -> Any:
        given = list(index) if isinstance(index, tuple) else [index]
        rows, columns, *rest = given + [slice(None)] * (2 - len(given))
        spans = [_span(one, n) for one, n in zip((rows, columns), self.shape, strict=False)]
        piece = self._image[spans[0], spans[1]]
        local = (_within(rows), _within(columns))
        return piece[(*local, *rest)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """All of it: napari keeps the coarsest level for its thumbnail."""
        return np.asarray(self[:, :], dtype)


class ClassPixels:
    """The number of the class on the rim of each cell; at coarser resolutions on all of it. ``codes`` are
    shared by the resolutions, and change in place when a class is given."""

    ndim = 2

    def __init__(self, labels: Any, codes: Any, rim_px: int) -> None:
        self._labels, self.codes, self._rim_px = labels, codes, rim_px
        self.shape, self.dtype, self.size = labels.shape, codes.dtype, int(np.prod(labels.shape))

    def __getitem__(self, index: Any) -> Any:
        index = index if isinstance(index, tuple) else (index, slice(None))
        spans = [_span(one, n) for one, n in zip(index, self.shape, strict=True)]
        wide = [
            slice(max(0, s.start - self._rim_px), min(n, s.stop + self._rim_px))
            for s, n in zip(spans, self.shape, strict=True)
        ]
        labels = np.asarray(self._labels[tuple(wide)])
        data = self.codes[labels]
        if self._rim_px:
            from napari_bloodcell.core.rings import rings

            data = np.where(rings(labels, self._rim_px), data, 0).astype(self.dtype)
        own = tuple(slice(s.start - w.start, s.stop - w.start) for s, w in zip(spans, wide, strict=True))
        return data[own][tuple(_within(one) for one in index)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """All of it, as of ``Pixels``."""
        return np.asarray(self[:, :], dtype)


def _span(index: Any, size: int) -> slice:
    """What must be read for an index."""
    if isinstance(index, slice):
        start, stop, _ = index.indices(size)
        return slice(start, max(start, stop))
    at = int(index) % size
    return slice(at, at + 1)


def _within(index: Any) -> Any:
    """The index again, in what was read."""
    return slice(None, None, index.step) if isinstance(index, slice) else 0


def read_slide_layers(folder: Path, record: dict[str, Any]) -> list[LayerData]:
    """The slide, where it still lies where it was, and the cells found on it."""
    import zarr

    found: list[LayerData] = []
    told, um = record["image"], record["image"].get("um_per_px")
    placed = {"scale": (um, um), "units": ("um", "um")} if um else {}
    if told.get("source") and Path(told["source"]).exists():
        found += _image_layer(Path(told["source"]), told["name"], placed)
    group = zarr.open_group(folder / record["slide"]["labels"], mode="r")["labels/cells"]
    count = len(group.attrs["ome"]["multiscales"][0]["datasets"])
    labels = [group[str(level)] for level in range(count)]
    features = layers.features_of(read_table(folder / "cells.parquet"))
    known = ClassList.of(str(kind) for kind in features["cell_type"].cat.categories)
    codes = layers.codes_of(features["index"].to_numpy(), features, known)
    rims, outlines = described(told["name"], features, known)
    painted = [ClassPixels(one, codes, 0 if level else layers.CLASS_PX) for level, one in enumerate(labels)]
    shared = {"multiscale": True, **placed}
    return [*found, (painted, rims | shared, "labels"), (labels, outlines | shared, "labels")]


def described(
    name: str, features: "pd.DataFrame", classes: ClassList
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a reader says of the two layers of an image's cells: their coloured rims, and their outlines."""
    metadata = {
        "schema": layers.SCHEMA,
        "made": uuid.uuid4().hex,
        "image": {"layer": name},
        "classes": classes.to_json(),
    }
    rims = {
        "name": layers.name_of(name, layers.CLASSES),
        "features": layers.class_rows(classes),
        "colormap": layers.class_colormap(classes),
        "metadata": {layers.KEY: metadata | {"role": layers.CLASSES}},
    }
    outlines = {
        "name": layers.name_of(name, layers.CELLS),
        "features": features,
        "opacity": 0.2,
        "metadata": {layers.KEY: metadata | {"role": layers.CELLS}},
    }
    return rims, outlines


def _image_layer(path: Path, name: str, placed: dict[str, Any]) -> list[LayerData]:
    from napari_bloodcell.core.image.lazy import open_lazily
    from napari_bloodcell.core.slide.overview import thumbnail

    image = open_lazily(path)
    if image is None:
        return []
    levels: list[Any] = [Pixels(level) for level in image.levels]
    if levels[-1].size > LARGEST_OVERVIEW:
        return []  # napari would read all of it for its first look
    if levels[-1].size > LARGEST_HELD:
        levels.append(thumbnail(image)[0])
    return [(levels, {"name": name, "rgb": True, "multiscale": True, **placed}, "image")]


def read_table(path: Path) -> "pd.DataFrame":
    """Words as categories: a million cells take tens of megabytes."""
    import pyarrow.parquet as pq

    there = pq.read_schema(path).names
    columns = [name for name in COLUMNS if name in there]
    words = [name for name in layers.CATEGORIES if name in columns]
    table: pd.DataFrame = pq.read_table(path, columns=columns, read_dictionary=words).to_pandas()
    return table


def is_slide(cells: "Labels") -> bool:
    """Whether these outlines are of a whole slide: they must not be loaded."""
    return bool(cells.multiscale) and {"x0", "y0", "x1", "y1"} <= set(cells.features)


def recolour(levels: Sequence[Any], codes: Any) -> None:
    """Other classes on the layer that ``read_slide_layers`` made."""
    kept = levels[0].codes
    if kept.shape == codes.shape and kept.dtype == codes.dtype:
        kept[:] = codes
