"""Comments on fields, and on several together: what is said of all leaves each field's own as it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_bloodcell.gui import classes, layers
from napari_bloodcell.gui.differential_calls import POOLED

if TYPE_CHECKING:
    from napari.layers import Labels

OWN, OF_ALL = "comment", "comment_on_all"  # as a layer has them
ACTIONS = {OWN: "comment", OF_ALL: "comment on all"}  # and as the audit has
DIFFERS = "differs by field"


@dataclass(frozen=True, kw_only=True)
class Comments:
    """Of the layers shown. ``key`` is which comment the box holds; ``listed`` are the others."""

    key: str
    text: str
    placeholder: str
    listed: Mapping[str, str]

    def told(self) -> str:
        return "\n".join(f"{name}: {text}" for name, text in self.listed.items())


def comments_of(there: "Sequence[Labels]") -> Comments:
    own = {classes.image_name(layer): _said(layer, OWN) for layer in there}
    of_all = " / ".join(dict.fromkeys(text for layer in there if (text := _said(layer, OF_ALL))))
    if len(there) == 1:
        (text,) = own.values()
        listed = {POOLED: of_all} if of_all else {}
        return Comments(key=OWN, text=text, placeholder="Comment", listed=listed)
    return Comments(
        key=OF_ALL,
        text=of_all,
        placeholder=DIFFERS if len(set(own.values())) > 1 else "Comment",
        listed={name: text for name, text in own.items() if text},
    )


def _said(layer: "Labels", key: str) -> str:
    return str(layer.metadata.get(layers.KEY, {}).get(key, ""))
