"""Labels layers as outlines of cells: which there are, which image and which nuclei belong to them.

Layers are found by what ``layers.py`` wrote into their metadata, never by their names, which people change.
A person's own Labels layer is welcome too: its image is one of the same size, its nuclei come from stain.
"""

import weakref
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.core.config import ReadConfig
from napari_bloodcell.core.errors import SegmentError
from napari_bloodcell.core.records import Masks, SmearImage
from napari_bloodcell.core.stain.lamp import evened
from napari_bloodcell.gui import layers
from napari_bloodcell.gui.slide_layers import is_slide

if TYPE_CHECKING:
    import pandas as pd
    from napari.layers import Image, Labels, Layer
    from napari.viewer import Viewer


@dataclass(frozen=True, kw_only=True, eq=False)
class Outlined:
    """One image and its cells, taken on the main thread; safe to hand to a thread."""

    picture: layers.Picture
    labels: Any  # a copy: the person may paint meanwhile
    nuclei: Any  # or None: they are found by stain
    cells: "weakref.ref[Labels]"
    name: str
    size: tuple[float, str] | None = None  # the pixel size that its cells were measured with, and whence

    def read(self, config: ReadConfig = ReadConfig()) -> tuple[SmearImage, Masks]:
        """Slow: call it in a task."""
        from napari_bloodcell.core.segment.edit import masks_of, nuclei_by_stain

        image = self.picture.read(config)
        labels = np.asarray(self.labels)
        if labels.shape != image.pixels.shape[:2]:
            raise SegmentError(
                f"The outlines {self.name} are {labels.shape[1]} x {labels.shape[0]} px, their image "
                f"{image.name} is {image.pixels.shape[1]} x {image.pixels.shape[0]}. Choose another."
            )
        if self.nuclei is None:
            nucleus = nuclei_by_stain(evened(image), labels, image.um_per_px)
        else:
            nucleus = np.asarray(self.nuclei) > 0
        um_per_px, source = image.um_per_px, "given"
        if um_per_px is None and self.size is not None:  # guessed when they were found
            um_per_px, source = self.size
        masks = masks_of(labels, nucleus, um_per_px=um_per_px, segmenter="layer")
        return image, masks if um_per_px is None else replace(masks, scale_source=source)

    def layer_in(self, viewer: "Viewer") -> "Labels | None":
        layer = self.cells()
        return layer if layer is not None and layer in viewer.layers else None


def outlines(viewer: "Viewer") -> list["Labels"]:
    """Labels layers that may hold cells: ours, and the person's own."""
    from napari.layers import Labels

    return [
        one for one in viewer.layers if isinstance(one, Labels) and layers.role_of(one) in ("", layers.CELLS)
    ]


def image_of(cells: "Labels", viewer: "Viewer") -> "Image | None":
    """The image that outlines lie on: the one they were made from, or one of its name and size that was
    opened again. For a person's own outlines one of the same size will do."""
    known = layers.images(viewer)
    made_from = _ours(cells).get("image", {})
    for image in known:
        if made_from.get("layer_id") and str(image.unique_id) == made_from["layer_id"]:
            return image
    fitting = [image for image in known if plane_of(image) == tuple(cells.data.shape[-2:])]
    if made_on := made_from.get("layer"):
        planes = [image for image in fitting if image.ndim > 2 and made_on.startswith(f"{image.name} [")]
        fitting = [image for image in fitting if image.name == made_on] or planes
    return next(iter(fitting), None)


def told(cells: "Labels", viewer: "Viewer") -> str:
    """A layer of cells in a list: with its image, where its own name does not say it."""
    image = image_of(cells, viewer)
    if image is None:
        return f"{cells.name} (no image of its size)"
    says = layers.name_of(image.name, layers.CELLS).removesuffix(f" {layers.CELLS}")
    return cells.name if says in cells.name else f"{cells.name} (on {image.name})"


def nuclei_of(cells: "Labels", viewer: "Viewer") -> "Labels | None":
    """The layer of nuclei that was made with these cells."""
    from napari.layers import Labels

    made = _ours(cells).get("made")
    for one in viewer.layers:
        if (
            isinstance(one, Labels)
            and made
            and layers.role_of(one) == layers.NUCLEI
            and _ours(one).get("made") == made
        ):
            return one
    return None


def outlined(cells: "Layer | None", viewer: "Viewer") -> Outlined:
    from napari.layers import Labels

    if not isinstance(cells, Labels):
        raise SegmentError("No outlines are chosen. Segment an image first, or open a Labels layer.")
    if is_slide(cells):
        raise SegmentError(
            f"{cells.name} are the cells of a whole slide ({cells.data.shape[-1]} x {cells.data.shape[-2]} "
            "px), which are not loaded at once. Gallery and Differential show them; for the rest take a "
            "field of it."
        )
    image = image_of(cells, viewer)
    made_on = _ours(cells).get("image", {}).get("layer")
    if image is None and made_on:
        raise SegmentError(
            f"{cells.name} were made on the image {made_on}, which is not open: their pixels are not "
            "those of another. Open it again, under that name."
        )
    if image is None:
        raise SegmentError(
            f"No open image is as large as the outlines {cells.name} ({cells.data.shape[-1]} x "
            f"{cells.data.shape[-2]} px). Open the image they belong to."
        )
    picture = picture_under(cells, image, viewer)
    nuclei = nuclei_of(cells, viewer)
    return Outlined(
        picture=picture,
        labels=shown_plane(cells, viewer).copy(),
        nuclei=None if nuclei is None else shown_plane(nuclei, viewer).copy(),
        cells=weakref.ref(cells),
        name=cells.name,
        size=_size_of(cells.features),
    )


def _size_of(table: "pd.DataFrame") -> tuple[float, str] | None:
    if not {"um_per_px", "scale_source"} <= set(table):
        return None
    told = zip(table["um_per_px"].astype(float), table["scale_source"].astype(str), strict=True)
    return next(((um, source) for um, source in told if np.isfinite(um) and um > 0), None)


def picture_under(cells: "Labels", image: "Image", viewer: "Viewer") -> layers.Picture:
    """The plane of an image that these outlines lie on, whichever is looked at."""
    return layers.picture_of(image, viewer, _plane_under(cells, image))


def _plane_under(cells: "Labels", image: "Image") -> tuple[int, ...] | None:
    """None where outlines have as many planes as their image, or none: then the one looked at counts."""
    if cells.multiscale or cells.ndim != image.ndim or any(n != 1 for n in cells.data.shape[:-2]):
        return None
    place = image.world_to_data(cells.data_to_world((0,) * cells.ndim))
    shape = (image.data[0] if image.multiscale else image.data).shape
    return tuple(
        min(max(round(float(at)), 0), n - 1) for at, n in zip(place, shape[: image.ndim], strict=True)
    )


def shown_plane(cells: "Labels", viewer: "Viewer") -> Any:
    """The plane a person looks at; a view where the layer holds a plain array, so that edits reach it."""
    data = cells.data[0] if cells.multiscale else cells.data
    lead = data.ndim - 2
    if not lead:
        return data if isinstance(data, np.ndarray) else np.asarray(data)
    point = cells.world_to_data(viewer.dims.point)[:lead]
    index = tuple(min(max(round(float(at)), 0), n - 1) for at, n in zip(point, data.shape, strict=False))
    plane = data[index]
    return plane if isinstance(plane, np.ndarray) else np.asarray(plane)


def plane_of(image: "Image") -> tuple[int, ...]:
    """Height and width as outlines on it have them."""
    data = image.data[0] if image.multiscale else image.data
    if image.rgb:
        return tuple(data.shape[-3:-1])
    return tuple(data.shape[-2:])


def _ours(layer: "Layer") -> Any:
    return layer.metadata.get(layers.KEY, {})
