"""What a signature is under, beside the figures: which class each cell has, how it is outlined, and how many
cells nobody has looked at."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from napari_bloodcell.core.artifact import hash_of
from napari_bloodcell.core.config import CountConfig
from napari_bloodcell.core.records import UNIDENTIFIED
from napari_bloodcell.core.words import how_many

CELLS, LOOKED = "cells", "looked"  # in a signature; older ones have neither


def outlines_hash(labels: Any) -> str:
    """The same in a window and in a session's folder, which keeps whole numbers of 32 bits."""
    return hashlib.sha256(np.ascontiguousarray(labels, np.int32).data).hexdigest()


def cells_digest(cells: Iterable[tuple[str, int, str]], outlines: Iterable[tuple[str, str]]) -> str:
    """Of image, number and class of each cell, and the outlines of each image: two cells that change places
    leave every figure as it was."""
    return hash_of([sorted([image, int(cell), kind] for image, cell, kind in cells), sorted(outlines)])


def is_unchanged(signed: Mapping[str, Any], digest: str, cells: str | None) -> bool:
    """Older signatures are under the figures alone, and hold as long as these do."""
    return str(signed.get("digest")) == digest and signed.get(CELLS) in (None, cells)


@dataclass(frozen=True, kw_only=True)
class Looked:
    """Of the cells that count: how many nobody has looked at, and of how many of those even the model doubts
    what they are."""

    cells: int
    unseen: int
    doubtful: int

    @classmethod
    def read(cls, signed: Mapping[str, Any]) -> Self:
        """Nothing to tell where a signature does not say."""
        told = signed.get(LOOKED) or {}
        return cls(**{name: int(told.get(name, 0)) for name in ("cells", "unseen", "doubtful")})

    def text(self) -> str:
        """Empty where somebody has looked at each."""
        if not self.unseen:
            return ""
        were = "was" if self.unseen == 1 else "were"
        doubtful = "it is doubtful" if self.unseen == 1 else f"{self.doubtful} of them doubtful"
        told = f"{self.unseen} of {how_many(self.cells, 'cell')} {were} looked at by nobody"
        return f"{told}, {doubtful}" if self.doubtful else told


def looked_at(
    kinds: Iterable[str],
    seen: Iterable[bool],
    at_border: Iterable[bool],
    doubts: Iterable[str],
    config: CountConfig,
) -> Looked:
    rows = [
        (bool(looked), bool(doubt) or kind == UNIDENTIFIED)
        for kind, looked, cut, doubt in zip(kinds, seen, at_border, doubts, strict=True)
        if config.count_border or not cut
    ]
    unseen = [is_doubtful for looked, is_doubtful in rows if not looked]
    return Looked(cells=len(rows), unseen=len(unseen), doubtful=sum(unseen))
