"""Train or held out, from the name alone: adding data never moves a cell to the other side."""

import hashlib
import re
from typing import Literal

from napari_bloodcell.core.datasets.records import CellImage
from napari_bloodcell.core.errors import ConfigError

Split = Literal["train", "held_out"]


def split_of(path_or_name: str, held_out: float = 0.2) -> Split:
    """By the hash of the file's name. The folder does not count, so moving a set changes nothing."""
    if not 0 <= held_out < 1:
        raise ConfigError(f"held_out = {held_out!r} is out of range; it takes 0 to less than 1.")
    name = re.split(r"[\\/]", path_or_name)[-1]
    digest = hashlib.sha256(name.encode()).digest()
    return "held_out" if int.from_bytes(digest[:8], "big") < held_out * 2**64 else "train"


def split_of_cell(cell: CellImage, held_out: float = 0.2) -> Split:
    """By patient or slide where known: cells of one person never sit on both sides."""
    if cell.group is None:
        return split_of(cell.path.name, held_out)
    key = f"{cell.domain} {cell.group}"
    return split_of(re.sub(r"[\\/]", " ", key), held_out)
