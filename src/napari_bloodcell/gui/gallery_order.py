"""Which cells come first in the gallery, which are typical, and where they come from."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.core.records import UNIDENTIFIED
from napari_bloodcell.core.taxonomy import DEFAULT
from napari_bloodcell.gui import classes, layers
from napari_bloodcell.gui.class_history import PERSON
from napari_bloodcell.gui.gallery_view import Tile
from napari_bloodcell.gui.shelf import Column, Shelf

if TYPE_CHECKING:
    from napari.layers import Labels

REFERENCES = 12


def order_of(by: str, ids: Any, features: Any, shelf: Shelf) -> Any:
    """A number a cell; the lowest comes first."""
    if by == "doubt":
        return sureness(features)
    if by == "distance" and "distance" in features:
        return -np.nan_to_num(features["distance"].to_numpy(float))
    if by == "size":
        if isinstance(shelf.areas, Column):
            return -shelf.areas.of(ids)
        return -np.array([shelf.areas.get(cell, 0) for cell in ids.tolist()], float)
    if by == "disputed":
        return np.where(_is_disputed(features), -sureness(features), 1.0)
    return ids.astype(float)


def _is_disputed(features: Any) -> Any:
    """A person named it otherwise than the model: one of both slipped. A finer name is no other."""
    if not {"best", "cell_type", "cell_type_source"} <= set(features):
        return np.zeros(len(features), bool)
    text = features[["best", "cell_type", "cell_type_source"]].astype(object).fillna("").astype(str)
    said, best = text["cell_type"], text["best"]
    is_named = text["cell_type_source"].str.startswith(PERSON) & ~said.isin(("", UNIDENTIFIED))
    is_same = (said == best) | (said.map(DEFAULT.coarse) == best) | (best.map(DEFAULT.coarse) == said)
    return (is_named & (best != "") & ~is_same).to_numpy()


def sureness(features: Any) -> Any:
    if "cell_type_prob" not in features:
        return np.zeros(len(features))
    return np.nan_to_num(features["cell_type_prob"].to_numpy(float))


def labs_of(layer: "Labels") -> list[str]:
    """Where each cell comes from: a column of its own, or what the layer says of all."""
    features = layer.features
    if "lab" in features:
        return [str(lab) for lab in features["lab"]]
    return [str(layer.metadata.get(layers.KEY, {}).get("lab", ""))] * len(features)


def typical(of: "Sequence[tuple[int, Labels]]", name: str) -> list[Tile]:
    """Cells of a class that are beyond doubt, of numbered layers: those a person has seen come first."""
    best: list[tuple[tuple[bool, float], Tile]] = []
    for number, layer in of:
        seen, sure = classes.is_by_person(layer), sureness(layer.features)
        rows = np.flatnonzero(np.asarray(classes.kinds(layer), dtype=object) == name)
        rows = rows[np.lexsort((-sure[rows], ~seen[rows]))[:REFERENCES]]
        ids = classes.ids(layer)
        best += [
            ((not seen[row], -float(sure[row])), Tile(key=(number, int(ids[row])), seen=bool(seen[row])))
            for row in rows.tolist()
        ]
    best.sort(key=lambda one: one[0])
    return [tile for _, tile in best[:REFERENCES]]
