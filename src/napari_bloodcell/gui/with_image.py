"""Our layers go where their image goes: a pixel size set after counting, a picture moved beside another."""

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.gui import layers
from napari_bloodcell.gui.followers import image_id_of
from napari_bloodcell.gui.napari_ways import unwrapped

if TYPE_CHECKING:
    from napari.layers import Image, Layer
    from napari.viewer import Viewer

PLACED_BY = ("units", "scale", "translate", "rotate", "shear", "affine")

_heard: "weakref.WeakKeyDictionary[Image, _Follower]" = weakref.WeakKeyDictionary()


def follow_images(viewer: "Viewer") -> None:
    """From now on; whoever asks first is enough."""
    for image in map(unwrapped, layers.images(viewer)):
        if image not in _heard:
            _heard[image] = _Follower(unwrapped(viewer), image)


class _Follower:
    """``_was``: how the image lay when our layers were last on it."""

    def __init__(self, viewer: "Viewer", image: "Image") -> None:
        self._viewer, self._image = weakref.ref(viewer), weakref.ref(image)
        self._was = _placed(image)
        for name in PLACED_BY:
            image.events[name].connect(self._moved)

    def _moved(self, _event: object = None) -> None:
        viewer, image = self._viewer(), self._image()
        if viewer is None or image is None:
            return
        was, self._was = self._was, _placed(image)
        ours = [one for one in viewer.layers if image_id_of(one) == str(image.unique_id) and _follows(one)]
        cells = {str(one.unique_id) for one in ours}
        rings = [one for one in viewer.layers if one.metadata.get(layers.KEY, {}).get("of") in cells]
        for layer in (*ours, *rings):
            _take_along(layer, image, was)


def _follows(layer: "Layer") -> bool:
    """A person's own drawing stays where it is."""
    return bool(layer.metadata.get(layers.KEY, {}).get(layers.FOLLOWS))


def _placed(image: "Image") -> dict[str, Any]:
    return {"scale": image.scale.copy(), "translate": image.translate.copy()}


def _take_along(layer: "Layer", image: "Image", was: dict[str, Any]) -> None:
    """Unless a person has put it elsewhere. Its plane of a stack is read off where it lay."""
    lead, kept = layer.ndim - 2, min(layer.ndim, image.ndim)
    scale, translate = was["scale"][-kept:], was["translate"][-kept:]
    if kept != layer.ndim or not np.allclose(layer.scale, scale):
        return
    off = (layer.translate - translate) / scale
    index = tuple(round(float(at)) for at in off[:lead])
    if not np.allclose(off, [*index, 0, 0], atol=0.01):
        return
    for name, value in layers.placement_on(image, lead, index).items():
        setattr(layer, name, value)
