"""Opening a session and laying its images and cells out in the viewer again."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.core.class_list import ClassList
from napari_bloodcell.core.config import ReadConfig
from napari_bloodcell.core.errors import BloodcellError
from napari_bloodcell.core.progress import Progress
from napari_bloodcell.core.records import SmearImage
from napari_bloodcell.core.session import Change, Event, Session, SessionCells, read_session
from napari_bloodcell.gui import by_hand, layers
from napari_bloodcell.gui.followers import while_there
from napari_bloodcell.gui.steps import Steps

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.viewer import Viewer

SAID = {
    "sign-off": "signed",
    "comment": "comment",
    "comment on all": "comment_on_all",
    "patient": "patient",
}  # in the audit, and as a layer has it


@dataclass(frozen=True, kw_only=True, eq=False)
class Kept:
    """One image of a session with its cells."""

    key: str
    image: SmearImage
    cells: SessionCells | None
    rims: Any


@dataclass(frozen=True, kw_only=True, eq=False)
class Opened:
    session: Session
    kept: Sequence[Kept]
    missing: Sequence[str]  # what is wrong with images that cannot be shown


def open_folder(folder: Path, who: str, progress: Progress) -> Opened:
    """Lock the session and read everything in it; for a task."""
    session = Session(folder, who)
    try:
        content = read_session(session.folder)
        said, corrected = said_in(content.trail.events), by_hand.said_in(content.trail.events)
        kept, missing = [], []
        for done, key in enumerate(content.images):
            progress("Reading the session", done, len(content.images))
            try:
                image = content.image(key)
                cells = content.cells(key)
            except BloodcellError as error:
                missing.append(str(error))
                continue
            if cells is not None:
                classes = content.classes_of(key)
                known = {"classes": list(classes)} if classes else {}
                made_from = corrected.get(key, {}) | dict(cells.made_from) | said.get(key, {}) | known
                cells = replace(cells, made_from=made_from)
            rims = None if cells is None else layers.rims_of(cells.labels)
            kept.append(Kept(key=key, image=image, cells=cells, rims=rims))
        missing += content.lost()
        layers.warm_up() if kept else None
    except BaseException:
        session.close()
        raise
    return Opened(session=session, kept=kept, missing=missing)


def said_in(events: Sequence[Event]) -> dict[str, dict[str, Any]]:
    """The last signature and comment of each image, from the audit: the cells may have been kept before."""
    said: dict[str, dict[str, Any]] = {}
    for event in events:
        if event.action in SAID:
            said.setdefault(event.image, {})[SAID[event.action]] = event.new
    return said


def said_before(ours: Mapping[str, Any], key: str) -> list[Change]:
    """What was signed and written before there was a session: a report reads it in the audit."""
    there = {action: ours[name] for action, name in SAID.items() if ours.get(name)}
    return [
        Change(
            action=action,
            image=key,
            new=new,
            note=str(new.get("counted", "")) if action == "sign-off" else "",
        )
        for action, new in there.items()
    ]


def add_images(session: Session, pictures: Sequence[layers.Picture], progress: Progress) -> list[str]:
    """Keys of the images of these layers in the session; for a task."""
    keys = []
    for done, picture in enumerate(pictures):
        progress("Keeping images", done, len(pictures))
        keys.append(session.add_image(picture.read(ReadConfig())))
    return keys


def lay_out(viewer: "Viewer", kept: Kept, watch: "Callable[[Labels, Labels], None]") -> "Steps[None]":
    """Image, nuclei, classes and cells as they were, step by step. ``watch`` is called with the layers of the
    cells and the nuclei once they are there."""
    from napari.layers import Image

    um = kept.image.um_per_px
    placed = {"scale": (um, um), "units": ("um", "um")} if um else {}
    image = Image(kept.image.pixels.copy(), rgb=True, name=kept.image.name, **placed)
    viewer.add_layer(image)
    yield
    if kept.cells is None:
        return
    picture = layers.picture_of(image, viewer)
    yield from while_there(viewer, picture, _lay_out_cells(viewer, picture, kept, watch))


def _lay_out_cells(
    viewer: "Viewer", picture: layers.Picture, kept: Kept, watch: "Callable[[Labels, Labels], None]"
) -> "Steps[None]":
    assert kept.cells is not None
    metadata = dict(kept.cells.made_from)
    metadata["image"] = dict(metadata.get("image", {})) | {
        "layer_id": picture.layer_id,
        "layer": kept.image.name,  # as tables call it: an image of that name may be open already
    }
    metadata["made"] = uuid.uuid4().hex  # the layers of before may be open still
    features = layers.features_of(kept.cells.table)
    nuclei_labels = (kept.cells.labels * kept.cells.nucleus).astype(np.int32)
    nuclei = yield from layers.add_plain(viewer, picture, layers.NUCLEI, nuclei_labels, metadata, shown=False)
    yield
    if "cell_type" in features:
        known = metadata.get("classes")
        named = [name for name in features["cell_type"] if name]  # a cell may have no class yet
        classes = ClassList.from_json(known) if known else ClassList.of(named)
        for name in features["cell_type"].cat.categories:
            classes = classes.with_class(str(name)) if name else classes
        data = layers.painted(kept.cells.labels, kept.rims, features, classes)
        yield from layers.add_classes(viewer, picture, data, classes, metadata)
        metadata["classes"] = classes.to_json()
        yield
    cells = yield from layers.add_outlines(viewer, picture, kept.cells.labels, features, metadata)
    watch(cells, nuclei)
