"""What the segment panel has done in its task: fields and views to outlines, and who answers prompts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_bloodcell.core.config import AnalyseConfig, ReadConfig
from napari_bloodcell.core.progress import Progress, within
from napari_bloodcell.core.records import Masks, SmearImage
from napari_bloodcell.core.stain.lamp import evened
from napari_bloodcell.gui import layers
from napari_bloodcell.gui.loading import load_for, load_torch
from napari_bloodcell.gui.task import Partial

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_bloodcell.core.sam.question import Prompt, Prompter

Span = tuple[slice, slice]


@dataclass(frozen=True, kw_only=True, eq=False)
class Field:
    """An image to segment, or the part of it that is in view."""

    picture: layers.Picture
    view: Span | None = None


def prepare(progress: Progress) -> list[str]:
    """Load what segmenting needs, while the person looks at the image; gives the models that ship."""
    from napari_bloodcell.core.bundle import shipped
    from napari_bloodcell.core.image import from_array  # noqa: F401
    from napari_bloodcell.core.segment import prompted  # noqa: F401

    progress("Loading", 0, 0)
    layers.warm_up()
    return shipped()


def segment_fields(
    fields: Sequence[Field], bundle: str, config: AnalyseConfig, progress: Progress
) -> "list[tuple[Field, SmearImage, Masks]] | Partial":
    """Outlines of each field. Cancelled in the middle, the cells finished before are kept."""
    from napari_bloodcell.core.bundle import load_bundle
    from napari_bloodcell.core.errors import Cancelled
    from napari_bloodcell.core.segment.tiles import Stopped
    from napari_bloodcell.core.segment.view import segment_view

    progress("Loading the model", 0, 0)
    load_for(bundle, progress)
    segmenter = load_bundle(bundle).segmenter
    done: list[tuple[Field, SmearImage, Masks]] = []
    for number, one in enumerate(fields):
        found = sum(len(masks) for _, _, masks in done)
        stage = f"{one.picture.name} ({number + 1} of {len(fields)}, {found} cells so far)"
        seen = within(progress, stage) if len(fields) > 1 else progress
        try:
            seen("Reading the image", 0, 0)
            image = one.picture.read(config.read)
            try:
                if one.view is None:
                    masks = segmenter.segment(image, config.segment, progress=seen)
                else:
                    masks = segment_view(segmenter, image, one.view, config.segment, progress=seen)
            except Stopped as stopped:
                if len(stopped.masks):
                    done.append((one, image, stopped.masks))
                raise
        except Cancelled:
            if done:
                return Partial(done)
            raise
        done.append((one, image, masks))
    layers.warm_up()
    return done


def view_of(image: Any, viewer: "Viewer") -> Span | None:  # noqa: ARG001 (the layer knows what is shown)
    """Rows and columns of an image layer that are on the screen; None where all of them are."""
    low, high = (corner[-2:].astype(float) for corner in image.corner_pixels)
    data = image.data
    if image.multiscale:
        factors = image.downsample_factors[image.data_level][-2:]
        low, high, data = low * factors, (high + 1) * factors - 1, image.data[0]
    shape = data.shape[-3:-1] if image.rgb else data.shape[-2:]
    span = [slice(max(0, int(a)), min(n, int(b) + 1)) for a, b, n in zip(low, high, shape, strict=True)]
    if any(one.stop <= one.start for one in span) or all(
        one.start == 0 and one.stop == n for one, n in zip(span, shape, strict=True)
    ):
        return None
    return span[0], span[1]


def prompter_for(picture: layers.Picture, model: str, progress: Progress) -> "tuple[Prompter, Any]":
    """Who answers prompts on an image, and who finds nuclei: the stain (an empty name), ``nano``, or a
    Segment Anything checkpoint by name or path."""
    from napari_bloodcell.core.segment.prompted import StainPrompter

    progress("Looking at the image", 0, 0)
    image = picture.read(ReadConfig())
    by_stain = StainPrompter(evened(image), image.um_per_px)
    if not model:
        return by_stain, by_stain
    load_torch(progress)
    from napari_bloodcell.core.segment.pointed import open_session

    progress("Looking at the image with the network", 0, 0)
    session, _ = open_session(model, image)
    return session, by_stain


def answer(prompter: "Prompter", nuclei: Any, prompt: "Prompt", progress: Progress) -> tuple[Any, Any]:
    """The outline and the nucleus in it."""
    progress("Outlining", 0, 0)
    mask = prompter.ask([prompt]).masks[0]
    return mask, nuclei.nucleus(mask)
