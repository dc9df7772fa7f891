"""The only file that touches napari layers: an image layer to a ``Picture``, outlines and classes to layers.

Panels meet through the layers written here. A Labels layer "cells" carries one row a cell in ``features``
(``index`` for napari's look-up, ``label`` for people; then class, doubt and measurements) and says in
``metadata["napari_bloodcell"]`` what it was made from. The person's own layers are never touched.
"""

import uuid
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.core.class_list import ClassList
from napari_bloodcell.core.config import Config, ReadConfig
from napari_bloodcell.core.errors import ImageError
from napari_bloodcell.core.records import UNIDENTIFIED, Masks, SmearImage
from napari_bloodcell.gui.steps import Steps, added

if TYPE_CHECKING:
    import pandas as pd
    from napari.layers import Image, Labels, Layer
    from napari.viewer import Viewer

    from napari_bloodcell.core.pipeline import Analysis

KEY = "napari_bloodcell"
SCHEMA = 1
FOLLOWS = "follows"  # a layer that we made, which goes where its image goes

CELLS, NUCLEI, CLASSES = "cells", "nuclei", "classes"
OUTLINE = "#1A1A1A"  # smears are bright
OUTLINE_PX = 1
NUCLEUS = "#FFFFFF"  # nuclei are dark
CLASS_PX = 5
LONGEST_SUFFIX = 4  # of a file's name: tiff, zarr
# napari computes contours anew, on the main thread, whenever it draws: larger pictures are shown filled.
LARGEST_OUTLINED_PX = 2_500_000
FIRST_COLUMNS = ("index", "label", "cell_type", "cell_type_prob", "doubt")  # as far as the status bar reaches
CATEGORIES = ("cell_type", "cell_type_source", "best", "second", "doubt")


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """What a core call needs of an image layer, taken on the main thread; safe to hand to a thread."""

    pixels: Any  # as the layer holds them: lazy ones are computed where ``read`` is called
    name: str
    source: str | None = None  # the file the layer came from
    um_per_px: float | None = None  # only where the layer's units are lengths
    is_sized: bool = False  # the layer says how large its pixels are; else its file may
    placement: Mapping[str, Any] = field(default_factory=dict)  # of layers that lie on this image
    lead: int = 0  # axes before the picture's own, one long in the layers that lie on it
    layer: "weakref.ref[Layer] | None" = None

    @property
    def layer_id(self) -> str:
        """By which layers made from it find it again, whatever it is called by then."""
        layer = None if self.layer is None else self.layer()
        return "" if layer is None else str(layer.unique_id)

    def read(self, config: ReadConfig) -> SmearImage:
        """Pixels as the core wants them. Slow: call it in a task."""
        from napari_bloodcell.core.image import from_viewer

        if config.um_per_px is None and self.um_per_px is not None:
            config = replace(config, um_per_px=self.um_per_px)
        return from_viewer(self.pixels, config, name=self.name, source=self.source, is_sized=self.is_sized)

    def is_in(self, viewer: "Viewer") -> bool:
        return self.layer_in(viewer) is not None

    def layer_in(self, viewer: "Viewer") -> "Layer | None":
        layer = None if self.layer is None else self.layer()
        return layer if layer in viewer.layers else None


def images(viewer: "Viewer") -> list["Image"]:
    from napari.layers import Image

    return [layer for layer in viewer.layers if isinstance(layer, Image) and not role_of(layer)]


def name_of(image_name: str, role: str) -> str:
    """What a layer of ours is called: after its image, so that those of several images stay apart."""
    stem, dot, suffix = image_name.rpartition(".")
    is_file = dot and stem and suffix.isalnum() and len(suffix) <= LONGEST_SUFFIX and not suffix.isdigit()
    return f"{stem.removesuffix('.ome') if is_file else image_name} {role}"


def role_of(layer: "Layer") -> str:
    """What a layer of ours is: "cells", "nuclei", "stain preview" ...; empty for the person's own."""
    ours = layer.metadata.get(KEY)
    return str(ours.get("role", "")) if isinstance(ours, Mapping) else ""


def picture_of(layer: "Layer | None", viewer: "Viewer", index: tuple[int, ...] | None = None) -> Picture:
    """A plane of an image layer, the one the person looks at if none is named, at its finest level."""
    from napari.layers import Image

    if not isinstance(layer, Image):
        raise ImageError(
            "No image is chosen. Open a smear (File > Open, or drop the file on the window) and choose it."
        )
    data = layer.data[0] if layer.multiscale else layer.data
    lead = 0 if _is_channels_first(layer, data) else layer.ndim - 2
    index = (_shown_index(layer, viewer) if index is None else index)[:lead]
    name = layer.name + (f" {list(index)}" if index else "")
    return Picture(
        pixels=data[index] if index else data,
        name=name,
        source=layer.source.path,
        um_per_px=_um_per_px(layer),
        is_sized=any(layer.scale[-2:] != 1),
        placement=placement_on(layer, lead, index),
        lead=lead,
        layer=weakref.ref(layer),
    )


def _is_channels_first(layer: "Image", data: Any) -> bool:
    """Colours along the first axis, as many readers give them; the core puts them in order."""
    return not layer.rgb and data.ndim == 3 and data.shape[0] in (3, 4)


def _shown_index(layer: "Image", viewer: "Viewer") -> tuple[int, ...]:
    point = layer.world_to_data(viewer.dims.point)
    extent = layer.data[0].shape if layer.multiscale else layer.data.shape
    return tuple(min(max(round(float(at)), 0), size - 1) for at, size in zip(point, extent, strict=False))


def placement_on(layer: "Image", lead: int, index: tuple[int, ...]) -> dict[str, Any]:
    """Where layers on this plane lie: as the image, the axes before the plane's own at the shown index."""
    kept = lead + 2
    scale, translate = layer.scale[-kept:], layer.translate[-kept:].copy()
    translate[:lead] += scale[:lead] * index
    placement: dict[str, Any] = {"scale": scale, "translate": translate, "units": layer.units[-kept:]}
    if kept == layer.ndim:  # a turned or sheared image; else the matrices have other sizes
        placement |= {"rotate": layer.rotate, "shear": layer.shear, "affine": layer.affine}
    return placement


def _um_per_px(layer: "Image") -> float | None:
    sizes = []
    for unit, scale in zip(layer.units[-2:], layer.scale[-2:], strict=True):
        if not unit.is_compatible_with("micrometer"):
            return None
        sizes.append(float((1 * unit).to("micrometer").magnitude * abs(scale)))
    height, width = sizes
    # Pixels that are not square have no one size.
    return width if width > 0 and abs(height - width) <= 0.01 * width else None


def bundle_of(analysis: "Analysis") -> dict[str, Any]:
    """For the metadata of a layer: the model, and the classes that it can name."""
    names = list(analysis.predictions.class_names)
    return {"name": analysis.bundle.name, "sha256": analysis.bundle.hash, "classes": names}


def add_analysis(
    viewer: "Viewer", picture: Picture, analysis: "Analysis", table: "pd.DataFrame", rims: Any
) -> Iterator[None]:
    """Nuclei, classes and outlines of a finished count. ``table`` is ``analysis.table()``, ``rims`` what
    ``rims_of`` gives of its labels. Making a layer is a step, adding it some more: napari takes its time."""
    metadata = _made_from(
        picture,
        analysis.image,
        analysis.config,
        bundle=bundle_of(analysis),
    )
    features = features_of(table)
    nuclei = _labels_layer(picture, NUCLEI, _nuclei(analysis.masks), metadata)
    yield
    yield from added(viewer, nuclei)
    yield
    classes = ClassList.of([*analysis.predictions.class_names, *features["cell_type"]])
    data = painted(analysis.masks.labels, rims, features, classes)
    coloured = _classes_layer(picture, data, classes, metadata)
    yield
    yield from added(viewer, coloured, shown=True)
    yield
    metadata = metadata | {"classes": classes.to_json()}
    cells = _outlines_layer(picture, analysis.masks.labels, features, metadata)
    yield
    yield from added(viewer, cells, shown=True)


def add_classes(
    viewer: "Viewer", picture: Picture, data: Any, classes: ClassList, metadata: Mapping[str, Any]
) -> "Steps[Labels]":
    """Each cell's rim in the colour of its class; a tint would hide granules. ``data``: from ``painted``."""
    layer = _classes_layer(picture, data, classes, metadata)
    yield
    yield from added(viewer, layer, shown=True)
    return layer


def _classes_layer(picture: Picture, data: Any, classes: ClassList, metadata: Mapping[str, Any]) -> "Labels":
    from napari.layers import Labels

    layer = Labels(
        data.reshape((1,) * picture.lead + data.shape),
        name=name_of(picture.name, CLASSES),
        metadata={KEY: dict(metadata) | {"role": CLASSES}},
        features=class_rows(classes),
        colormap=class_colormap(classes),
        opacity=0.9,
        visible=False,
        **picture.placement,
    )
    layer.editable = False  # classes are given by the panels; the brush belongs on the cells
    return layer


def rims_of(labels: Any) -> Any:
    """For a task: slow on a large picture."""
    from napari_bloodcell.core.rings import rings

    return rings(labels, CLASS_PX)


def painted(labels: Any, rims: Any, features: "pd.DataFrame", classes: ClassList) -> Any:
    """Pixels of the classes layer: on the rim of each cell (``core.rings``) the number of its class.

    The numbers are few: a cell gets another class, or a class another colour, in milliseconds, where napari
    would need a tenth of a second for the colours of thousands of cells and more for their contours.
    """
    codes = codes_of(labels, features, classes)
    data = np.zeros(labels.shape, codes.dtype)
    data[rims] = codes[labels[rims]]
    return data


def add_masks(
    viewer: "Viewer", picture: Picture, image: SmearImage, masks: Masks, config: Config
) -> Iterator[None]:
    """Nuclei and outlines, without classes; making a layer is a step, adding it some more."""
    import pandas as pd
    from napari.utils.colormaps import DirectLabelColormap

    metadata = _made_from(picture, image, config, bundle=None) | {"segmenter": masks.segmenter}
    sized = {"um_per_px": masks.um_per_px or np.nan, "scale_source": masks.scale_source}
    found = {"cell_id": masks.cell_id, "touches_border": masks.touches_border}
    features = features_of(pd.DataFrame(found | sized))
    rims = DirectLabelColormap(color_dict={None: NUCLEUS, 0: "transparent"})
    contour = OUTLINE_PX if masks.labels.size <= LARGEST_OUTLINED_PX else 0
    opacity = 0.8 if contour else 0.25  # a filled nucleus must still be seen through
    nuclei = _labels_layer(
        picture, NUCLEI, _nuclei(masks), metadata, colormap=rims, contour=contour, opacity=opacity
    )
    yield
    yield from added(viewer, nuclei, shown=True)
    yield
    cells = _outlines_layer(picture, masks.labels, features, metadata)
    yield
    yield from added(viewer, cells, shown=True)


def warm_up() -> None:
    """Have napari compile what draws labels: seconds the first time. For a task, once there is a layer."""
    from napari.layers import Labels

    for options in ({}, {"colormap": class_colormap(ClassList.of())}):
        for dtype in (np.int32, np.uint8):  # of cells, and of rims
            Labels(np.eye(8, dtype=dtype), **options).contour = 1


def add_sample(viewer: "Viewer", sample: "tuple[Any, dict[str, Any], str]") -> "Layer":
    from napari.layers import Layer

    layer: Layer = viewer.add_layer(Layer.create(*sample))
    return layer


def features_of(table: "pd.DataFrame") -> "pd.DataFrame":
    """A table of cells as napari looks it up: by ``index``; ``label`` says the same to people."""
    features = table.drop(columns=["image", "source"], errors="ignore").rename(columns={"cell_id": "label"})
    features.insert(0, "index", features["label"])
    for name in CATEGORIES:
        if name in features:
            features[name] = features[name].astype("category")
    first = [name for name in FIRST_COLUMNS if name in features]
    return features[first + [name for name in features if name not in first]]


def class_colormap(classes: ClassList) -> Any:
    """The colour of each class, by its number."""
    from napari.utils.colormaps import DirectLabelColormap

    colours: dict[int | None, Any] = dict(enumerate(classes.colours.values(), start=1))
    return DirectLabelColormap(color_dict={None: "transparent", 0: "transparent"} | colours)


def class_rows(classes: ClassList) -> "pd.DataFrame":
    """What the status bar says over a rim."""
    import pandas as pd

    return pd.DataFrame({"index": range(1, len(classes.names) + 1), "cell_type": list(classes.names)})


def codes_of(labels: Any, features: "pd.DataFrame", classes: ClassList) -> Any:
    """The number of the class of each cell id, as a table to look up."""
    numbers = {name: number for number, name in enumerate(classes.names, start=1)}
    size = np.uint8 if len(numbers) < 255 else np.uint16  # bytes reach the screen fastest
    codes = np.full(int(labels.max(initial=0)) + 1, numbers[UNIDENTIFIED], size)
    codes[0] = 0
    if "cell_type" in features:
        ids = features["index"].to_numpy(int)
        known = (ids > 0) & (ids < len(codes))
        kinds = [numbers.get(str(name), numbers[UNIDENTIFIED]) for name in features["cell_type"]]
        codes[ids[known]] = np.asarray(kinds, size)[known]
    return codes


def add_outlines(
    viewer: "Viewer", picture: Picture, labels: Any, features: "pd.DataFrame", metadata: dict[str, Any]
) -> "Steps[Labels]":
    """The layer "cells": a thin dark outline a cell, and the table."""
    layer = _outlines_layer(picture, labels, features, metadata)
    yield
    yield from added(viewer, layer, shown=True)
    return layer


def _outlines_layer(
    picture: Picture, labels: Any, features: "pd.DataFrame", metadata: dict[str, Any]
) -> "Labels":
    from napari.utils.colormaps import DirectLabelColormap

    is_outlined = labels.size <= LARGEST_OUTLINED_PX
    return _labels_layer(
        picture,
        CELLS,
        labels,
        metadata,
        features=features,
        colormap=DirectLabelColormap(color_dict={None: OUTLINE, 0: "transparent"}),
        contour=OUTLINE_PX if is_outlined else 0,
        opacity=0.7 if is_outlined else 0.12,
    )


def add_plain(
    viewer: "Viewer", picture: Picture, role: str, labels: Any, metadata: dict[str, Any], shown: bool = True
) -> "Steps[Labels]":
    """A layer of ours without a table, like the nuclei."""
    layer = _labels_layer(picture, role, labels, metadata)
    yield
    yield from added(viewer, layer, shown=shown)
    return layer


def _labels_layer(
    picture: Picture, role: str, labels: Any, metadata: dict[str, Any], *, contour: int = 0, **options: Any
) -> "Labels":
    """Hidden still: napari draws a layer that is seen anew for each of its settings, and again once added."""
    from napari.layers import Labels

    data = labels.copy()  # the core's arrays are read-only; a person may want to paint
    layer = Labels(
        data.reshape((1,) * picture.lead + data.shape),
        name=name_of(picture.name, role),
        metadata={KEY: metadata | {"role": role}},
        visible=False,
        **picture.placement,
        **options,
    )
    layer.contour = contour
    return layer


def _nuclei(masks: Masks) -> Any:
    return masks.labels * masks.nucleus


def _made_from(
    picture: Picture, image: SmearImage, config: Config, bundle: dict[str, str] | None
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        FOLLOWS: True,
        "bundle": bundle,
        "made": uuid.uuid4().hex,  # the same on the layers that belong together, whatever they are called
        "image": {
            "sha256": image.sha256,
            "um_per_px": image.um_per_px,
            "layer": picture.name,
            "source": image.source,
            "layer_id": picture.layer_id,
        },
        "config": config.to_json(),
    }
