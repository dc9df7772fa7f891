"""The coloured rims of classified cells: a layer of its own, painted as the table of the cells says."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.core.class_list import ClassList
from napari_bloodcell.gui import layers
from napari_bloodcell.gui.slide_layers import is_slide, recolour

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.viewer import Viewer

FEW = 64  # so many rims are painted one by one


def classes_layer(viewer: "Viewer", cells: "Labels") -> "Labels | None":
    """The layer of coloured rims that belongs to these cells, whatever it is called."""
    from napari.layers import Labels

    made = cells.metadata.get(layers.KEY, {}).get("made")
    for layer in viewer.layers:
        is_it = isinstance(layer, Labels) and layers.role_of(layer) == layers.CLASSES
        if made and is_it and layer.metadata[layers.KEY].get("made") == made:
            return layer
    return None


def repaint(
    viewer: "Viewer", cells: "Labels", classes: ClassList, cell_ids: Sequence[int] | None = None
) -> None:
    """Put the classes onto the rims: of a few cells each by its box, of many all at once."""
    rims = classes_layer(viewer, cells)
    if rims is None:
        return
    if is_slide(cells):
        recolour(rims.data, layers.codes_of(ids(cells), cells.features, classes))
        rims.features = layers.class_rows(classes)
        rims.colormap = layers.class_colormap(classes)
        return
    labels = np.asarray(cells.data).reshape(cells.data.shape[-2:])
    shown = rims.data.reshape(rims.data.shape[-2:])
    if shown.shape != labels.shape:
        return
    is_same_list = list(rims.features.get("cell_type", ())) == list(classes.names)
    codes = layers.codes_of(labels, cells.features, classes)
    if codes.dtype != shown.dtype:  # hundreds of classes
        rims.data = np.where(shown > 0, codes[labels], 0).astype(codes.dtype).reshape(rims.data.shape)
    elif (
        is_same_list
        and cell_ids is not None
        and len(cell_ids) <= FEW
        and (boxes := boxes_of(cells, cell_ids))
    ):
        for x0, y0, x1, y1 in boxes:
            part = shown[y0:y1, x0:x1]
            np.copyto(part, codes[labels[y0:y1, x0:x1]], where=part > 0)
    else:
        on_rims = np.flatnonzero(shown)
        shown.ravel()[on_rims] = codes[labels.ravel()[on_rims]]
    if is_same_list:
        rims.refresh(extent=False)
    else:
        rims.features = layers.class_rows(classes)
        rims.colormap = layers.class_colormap(classes)  # draws it too


def ids(cells: "Labels") -> Any:
    features = cells.features
    column = "index" if "index" in features else "label"
    return features[column].to_numpy(int) if column in features else np.zeros(0, int)


def boxes_of(cells: "Labels", cell_ids: Sequence[int]) -> list[tuple[int, int, int, int]] | None:
    """From the table, where it has them and they are right still; None where they must be searched."""
    features = cells.features
    if not {"x0", "y0", "x1", "y1"} <= set(features):
        return None
    found = features.loc[np.isin(ids(cells), list(cell_ids)), ["x0", "y0", "x1", "y1"]]
    return [tuple(map(int, row)) for row in found.to_numpy()]  # type: ignore[misc]
