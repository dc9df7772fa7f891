"""Which cells come first in the gallery, and where they come from."""

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.gui import layers
from napari_bloodcell.gui.shelf import Column, Shelf

if TYPE_CHECKING:
    from napari.layers import Labels


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
    return ids.astype(float)


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
