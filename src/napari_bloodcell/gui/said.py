"""What a person says of a field: kept on the layer of its cells, and in the audit of an open session."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_bloodcell.core.session import Change
from napari_bloodcell.gui import autosave, layers

if TYPE_CHECKING:
    from napari.layers import Labels


def said_of(cells: "Labels") -> dict[str, Any]:
    found: dict[str, Any] = cells.metadata.get(layers.KEY, {})
    return found


def say(cells: "Labels", key: str, new: Any, *, action: str, note: str = "") -> None:
    """``key``: as the layer has it, ``action``: as the audit does."""
    old = said_of(cells).get(key)
    cells.metadata = cells.metadata | {layers.KEY: {"role": layers.CELLS} | said_of(cells) | {key: new}}
    session, image = autosave.session_of(cells)
    if session is not None:
        session.record([replace(Change(action=action, old=old, new=new, note=note), image=image)])
