"""Going to a cell: the view, the plane of a stack, and what lies over the picture that the cell is on."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from napari_bloodcell.gui import layers
from napari_bloodcell.gui.napari_ways import camera_of, grid_of, unwrapped
from napari_bloodcell.gui.outlines import image_of, shown_plane
from napari_bloodcell.gui.rims import boxes_of

if TYPE_CHECKING:
    from napari.layers import Image, Labels, Layer
    from napari.viewer import Viewer

Box = tuple[int, int, int, int]  # x0, y0, x1, y1
COVERING = (
    "translucent",
    "translucent_no_depth",
    "opaque",
)  # blendings; the others let through what is below
OVER_IMAGES = (layers.CELLS, layers.CLASSES, layers.NUCLEI)
SEEN_THROUGH = 0.5  # of opacity, and less
MOST_NAMED = 3
HIDDEN = "What lay over its picture is hidden while this panel is open."


def centre_on(viewer: "Viewer", cells: "Labels", cell_id: int, box: Box | None = None) -> str:
    """Move the view to a cell, no nearer than it was, and to its plane. Gives what to tell of its picture.
    ``box``: where it is, if that is known; else it is searched for."""
    box = box or _box_of(viewer, cells, cell_id)
    if box is None:
        return ""
    x0, y0, x1, y1 = box
    place = (*_plane(viewer, cells), (y0 + y1) / 2, (x0 + x1) / 2)
    world = np.asarray(cells.data_to_world(place), float)
    first = viewer.dims.ndim - cells.ndim
    for axis, at in enumerate(world[:-2], start=first):
        if viewer.dims.point[axis] != at:
            viewer.dims.set_point(axis, float(at))
    camera_of(viewer).center = world[-2:]
    return hidden_by(viewer, cells)


def _box_of(viewer: "Viewer", cells: "Labels", cell_id: int) -> Box | None:
    boxes = boxes_of(cells, [cell_id])
    if boxes:
        return boxes[0]
    where = np.argwhere(shown_plane(cells, viewer) == cell_id)
    if not len(where):
        return None
    (y0, x0), (y1, x1) = where.min(axis=0), where.max(axis=0) + 1
    return x0, y0, x1, y1


def _plane(viewer: "Viewer", cells: "Labels") -> list[float]:
    """The axes before the picture's own: one long in layers of ours; in a stack of a person's, as shown."""
    shape = (cells.data[0] if cells.multiscale else cells.data).shape[:-2]
    point = cells.world_to_data(viewer.dims.point)
    return [min(max(round(float(at)), 0), size - 1) for at, size in zip(point, shape, strict=False)]


def hidden_by(viewer: "Viewer", cells: "Labels") -> str:
    """Why the picture in the middle of the view cannot be seen; empty where it can. The layers are a
    person's: none is hidden, shown or moved unasked."""
    image = image_of(cells, viewer)
    if image is None:
        made_on = cells.metadata.get(layers.KEY, {}).get("image", {}).get("layer")
        return f"Its picture {made_on} is not open: what is seen there is another." if made_on else ""
    if not image.visible:
        return f"Its picture {image.name} is hidden: show that layer to see it."
    over = [one.name for one in covering(viewer, image)]
    if not over:
        return ""
    more = f" and {len(over) - MOST_NAMED} more" if len(over) > MOST_NAMED else ""
    these = "that layer" if len(over) == 1 else "those layers"
    named = ", ".join(over[:MOST_NAMED]) + more
    return f"Its picture {image.name} is covered by {named}: hide {these} to see it."


def hide_other_outlines(viewer: "Viewer", pictures: "Sequence[layers.Picture]") -> None:
    """Of pictures that were just outlined the upper one keeps its own only: outlines of another that lie over
    it would be taken for its own. Those of images beside it stay, and so does all that is a person's."""
    images = [layer for one in pictures if (layer := one.layer_in(viewer)) is not None]
    if images and not grid_of(viewer).enabled:  # where each layer has its place
        for layer in _outlines_over(viewer, max(images, key=viewer.layers.index)):
            layer.visible = False


def _outlines_over(viewer: "Viewer", image: "Layer") -> "list[Labels]":
    ours = [one for one in viewer.layers if layers.role_of(one) in OVER_IMAGES]
    return [one for one in ours if image_of(one, viewer) not in (None, image) and _overlap(one, image)]


def _overlap(one: "Layer", other: "Layer", share: float = 0.01) -> bool:
    """More than at their edges, which images beside each other share. ``share``: of the first one."""
    (low, high), (low_too, high_too) = (layer.extent.world[:, -2:] for layer in (one, other))
    shared = np.minimum(high, high_too) - np.maximum(low, low_too)
    return bool((shared > share * (high - low)).all())


def lie_on_their_own(viewer: "Viewer", fields: "Sequence[Labels]") -> list[bool]:
    """Of each field, whether what is marked on it is seen on its own picture, and not on another field's."""
    pictures = [image_of(one, viewer) for one in fields]

    def is_covered(image: "Image") -> bool:
        at = viewer.layers.index(image) if image.visible else -1
        return any(
            other not in (None, image)
            and _hides(other)
            and viewer.layers.index(other) > at
            and _overlap(image, other, share=0.5)
            for other in pictures
        )

    return [image is None or not is_covered(image) for image in pictures]


class Uncovered:
    """Pictures brought to light because a person asked for it, with their own outlines and without those of
    others, and put back as they were once no panel needs it any more."""

    # Of each viewer for which something is hidden: by whom, and each layer, whether it was shown and is now.
    # What one panel found hidden another may have hidden.
    _by_viewer: ClassVar[dict[int, tuple[set[int], dict[Any, tuple[bool, bool]]]]] = {}

    def __init__(self, viewer: "Viewer") -> None:
        self._viewer = viewer
        self._of = id(unwrapped(viewer))  # each panel gets a proxy of its own

    @property
    def hides(self) -> bool:
        """Whether anything is shown or hidden for it."""
        users, changed = self._by_viewer.get(self._of, (set(), {}))
        return id(self) in users and bool(changed)

    def go_to(self, cells: "Labels", cell_id: int) -> str:
        """To a cell that a person asked for, whatever lies over it. Gives what to tell of its picture."""
        if centre_on(self._viewer, cells, cell_id):
            self.show(cells)
        return hidden_by(self._viewer, cells) or (HIDDEN if self.hides else "")

    def show(self, cells: "Labels") -> None:
        image = image_of(cells, self._viewer)
        if image is None:
            return
        users, _ = self._by_viewer.setdefault(self._of, (set(), {}))
        users.add(id(self))
        self._make_visible(image, True)
        for one in (*covering(self._viewer, image), *_outlines_over(self._viewer, image)):
            self._make_visible(one, False)
        for one in self._viewer.layers:
            if layers.role_of(one) in (layers.CELLS, layers.CLASSES) and image_of(one, self._viewer) is image:
                self._make_visible(one, True)

    def put_back(self) -> None:
        users, changed = self._by_viewer.get(self._of, (set(), {}))
        users.discard(id(self))
        if users:
            return
        self._by_viewer.pop(self._of, None)
        for layer, (was, shown) in changed.items():
            if layer in self._viewer.layers and layer.visible == shown:  # else the person changed it since
                layer.visible = was

    def _make_visible(self, layer: "Layer", shown: bool) -> None:
        if layer.visible != shown:
            _, changed = self._by_viewer[self._of]
            was, _ = changed.get(layer, (layer.visible, shown))
            changed[layer] = was, shown
            layer.visible = shown


def covering(viewer: "Viewer", image: "Image") -> "list[Image]":
    """Images above it in the middle of the view."""
    from napari.layers import Image

    world = (*viewer.dims.point[:-2], *camera_of(viewer).center[-2:])
    above = list(viewer.layers)[viewer.layers.index(image) + 1 :]
    return [one for one in above if isinstance(one, Image) and _hides(one) and _reaches(one, world)]


def _hides(image: "Image") -> bool:
    return bool(image.visible and image.opacity > SEEN_THROUGH and str(image.blending) in COVERING)


def _reaches(image: "Image", world: Any) -> bool:
    shape = (image.data[0] if image.multiscale else image.data).shape[: image.ndim]
    place = image.world_to_data(world)  # an image of fewer axes lies in every plane
    return all(-0.5 <= at <= size - 0.5 for at, size in zip(place, shape, strict=False))
