"""Layers of the stain panel: the field in another stain, its stains apart, and cells that do not survive."""

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.gui import layers

if TYPE_CHECKING:
    from napari.layers import Image, Layer
    from napari.viewer import Viewer

    from napari_bloodcell.core.robustness import Robustness
    from napari_bloodcell.core.stain.preview import StainLayer

PREVIEW, STAIN, CHANGED = "stain preview", "stain", "changed cells"
GAP = 0.02  # between image and preview side by side, in widths
OUTLINE_LOST, CLASS_LOST = "#D55E00", "#F0E442"
CONTOUR_PX = 3


def add_preview(
    viewer: "Viewer", picture: layers.Picture, pixels: Any, stride: int, *, beside: bool
) -> "Image":
    from napari.layers import Image

    placement = dict(picture.placement)
    scale = np.array(placement["scale"], float)
    scale[-2:] *= stride
    placement["scale"] = scale
    layer = Image(
        _led(pixels, picture.lead, rgb=True),
        rgb=True,
        name=PREVIEW,
        metadata={layers.KEY: {"schema": layers.SCHEMA, "role": PREVIEW, "of": picture.name}},
        **placement,
    )
    # Larger pixels would start half of their difference too far up and left.
    shift = np.zeros(layer.ndim)
    shift[-2:] = (stride - 1) / 2
    layer.translate = np.asarray(layer.translate) + _turned(layer, shift / stride)
    viewer.add_layer(layer)
    put_beside(layer, beside=beside)
    return layer


def update_preview(layer: "Image", pixels: Any) -> None:
    layer.data = _led(pixels, layer.ndim - 2, rgb=True)


def put_beside(layer: "Image", *, beside: bool) -> None:
    """To the right of its image, or back on it. Where it lies is kept with the layer itself."""
    is_beside = bool(layer.metadata[layers.KEY].get("beside", False))
    if beside == is_beside:
        return
    step = np.zeros(layer.ndim)
    step[-1] = layer.data.shape[-2] * (1 + GAP) * (1 if beside else -1)
    layer.translate = np.asarray(layer.translate) + _turned(layer, step)
    layer.metadata = layer.metadata | {layers.KEY: layer.metadata[layers.KEY] | {"beside": beside}}


def add_stains(viewer: "Viewer", picture: layers.Picture, stains: "tuple[StainLayer, ...]") -> Any:
    """One layer a stain, white where there is none, in its own colour where it is dense; one a step."""
    from napari.layers import Image
    from napari.utils.colormaps import Colormap

    for stain in reversed(stains):
        layer = Image(
            _led(stain.amount, picture.lead, rgb=False),
            name=f"{stain.name} stain",
            colormap=Colormap([[1, 1, 1, 1], [*stain.rgb, 1]], name=f"{stain.name} stain"),
            contrast_limits=(0, max(stain.dense, 1e-3)),
            metadata={layers.KEY: {"schema": layers.SCHEMA, "role": STAIN, "of": picture.name}},
            **picture.placement,
        )
        viewer.add_layer(layer)
        yield


def add_changed(viewer: "Viewer", picture: layers.Picture, result: "Robustness") -> "Layer":
    """Only the cells that lose their outline or their class under any of the stains."""
    from napari.layers import Labels
    from napari.utils.colormaps import DirectLabelColormap

    table = changed_of(result)
    masks = result.analysis.masks
    kept = np.zeros(int(masks.labels.max(initial=0)) + 1, np.int32)
    kept[table["label"]] = table["label"]
    colours: dict[int | None, Any] = {None: CLASS_LOST, 0: "transparent"}
    lost = table.query("changes == 'outline'")["label"]
    colours |= dict.fromkeys(lost.tolist(), OUTLINE_LOST)
    layer = Labels(
        _led(kept[masks.labels], picture.lead, rgb=False),
        name=CHANGED,
        features=table,
        colormap=DirectLabelColormap(color_dict=colours),
        metadata={layers.KEY: {"schema": layers.SCHEMA, "role": CHANGED, "of": picture.name}},
        **picture.placement,
    )
    layer.contour = CONTOUR_PX if masks.labels.size <= layers.LARGEST_OUTLINED_PX else 0
    viewer.add_layer(layer)
    return layer


def changed_of(result: "Robustness") -> Any:
    """A row for each cell that changes: label, class, what it loses, stability."""
    import pandas as pd

    stays = np.asarray(result.kept_outline.all(axis=1))
    same = np.asarray(result.same_class.all(axis=1))
    rows = np.flatnonzero(~same)
    labels = result.analysis.masks.cell_id[rows]
    return pd.DataFrame(
        {
            "index": labels,
            "label": labels,
            "cell_type": result.analysis.predictions.labels[rows],
            "changes": np.where(stays[rows], "class", "outline"),
            "stability": result.stability()[rows],
        }
    )


def _led(data: Any, lead: int, *, rgb: bool) -> Any:
    """With the axes the image has before its plane."""
    own = data.shape[-3:] if rgb else data.shape[-2:]
    return np.asarray(data).reshape((1,) * lead + own)


def _turned(layer: "Image", step: Any) -> Any:
    """A step in pixels of the layer as its translation counts it."""
    rotate = np.asarray(layer.rotate)
    scaled = np.asarray(layer.scale) * step
    return rotate @ scaled if rotate.ndim == 2 else scaled
