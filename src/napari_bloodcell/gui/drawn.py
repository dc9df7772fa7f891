"""What the outlines of each layer hash to, worked out in a thread: a signature is under them too."""

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.core.progress import Progress, silent

if TYPE_CHECKING:
    from napari.layers import Labels


PLACES = ("index", "x0", "y0", "x1", "y1", "area_px")  # columns of a slide's table


class _Mark:
    """``version`` counts the changes: what was worked out of an older one is thrown away."""

    def __init__(self) -> None:
        self.version, self.hash = 0, ""

    def forget(self, _event: object = None) -> None:
        self.version, self.hash = self.version + 1, ""


_marks: "weakref.WeakKeyDictionary[Labels, _Mark]" = weakref.WeakKeyDictionary()


def mark(layer: "Labels") -> str | None:
    """None where it is not worked out yet; empty where neither pixels nor table tell the outlines."""
    is_told = _is_held(layer) or set(PLACES) <= set(layer.features)
    return (_mark(layer).hash or None) if is_told else ""


def unknown(of: "Sequence[Labels]") -> "list[tuple[Labels, int, Any]]":
    """Layers whose outlines are to be hashed, with their version and a view of what is hashed."""
    return [(layer, _mark(layer).version, _outlines(layer)) for layer in of if mark(layer) is None]


def hashed(todo: "Sequence[tuple[Labels, int, Any]]", progress: Progress) -> "list[tuple[Labels, int, str]]":
    """For a task; ``keep`` takes it."""
    from napari_bloodcell.core.report.signed import outlines_hash

    progress("Reading the outlines", 0, 0)
    return [(layer, version, outlines_hash(data)) for layer, version, data in todo]


def keep(found: "Sequence[tuple[Labels, int, str]]") -> None:
    for layer, version, one in found:
        if _mark(layer).version == version:
            _mark(layer).hash = one


def work_out(of: "Sequence[Labels]") -> None:
    """At once, of the few that have changed since a moment ago."""
    keep(hashed(unknown(of), silent))


def _outlines(layer: "Labels") -> Any:
    """The pixels, of a stack all planes. Those of a whole slide stay in their files, where nobody edits them:
    the place and size of each cell stand for them."""
    if _is_held(layer):
        return layer.data
    return np.nan_to_num(np.stack([layer.features[name].to_numpy(float) for name in PLACES]))


def _is_held(layer: "Labels") -> bool:
    return not layer.multiscale and isinstance(layer.data, np.ndarray)


def _mark(layer: "Labels") -> _Mark:
    if layer not in _marks:
        _marks[layer] = made = _Mark()
        # Our own tools write without an event of the pixels, and then the table.
        for emitter in (layer.events.paint, layer.events.data, layer.events.features):
            emitter.connect(made.forget)
    return _marks[layer]
