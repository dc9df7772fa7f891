"""Pictures and masks -> canvases: each cell in the middle, all alike in size, the ground alike in light.

The views of a training are cut from canvases, so they reach far enough for any window that is turned.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.image.square import cut_square
from napari_bloodcell.core.records import ByteArray, freeze
from napari_bloodcell.core.sam.ground import on_white
from napari_bloodcell.core.stain import ground_light

CANVAS_PX = 224
CELL_PX = 88  # longer side of the cell's box on its canvas; a window of twice that still fits when turned
LEAST_CELL_PX = 8  # a smaller one has no outline to learn
CYTOPLASM, NUCLEUS = 1, 2


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskedCells:
    """What a segmenter is trained on and scored on. Parts: 0 ground, 1 cytoplasm, 2 nucleus."""

    pixels: ByteArray  # N x CANVAS_PX x CANVAS_PX x 3, the ground as ``on_white`` makes it
    parts: ByteArray  # N x CANVAS_PX x CANVAS_PX; of the middle cell alone
    names: tuple[str, ...]
    source: tuple[str, ...]  # the lab of each, or "synthetic"

    def __post_init__(self) -> None:
        n = len(self.names)
        freeze(self, "pixels", np.uint8, (n, CANVAS_PX, CANVAS_PX, 3))
        freeze(self, "parts", np.uint8, (n, CANVAS_PX, CANVAS_PX))
        if len(self.source) != n:
            raise DataError(f"MaskedCells.source has {len(self.source)} entries for {n} cells.")

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: Sequence[int]) -> "MaskedCells":
        chosen = np.asarray(rows, np.intp)
        return MaskedCells(
            pixels=self.pixels[chosen],
            parts=self.parts[chosen],
            names=tuple(self.names[i] for i in chosen),
            source=tuple(self.source[i] for i in chosen),
        )


def join(groups: Iterable[MaskedCells]) -> MaskedCells:
    kept = [group for group in groups if len(group)]
    if not kept:
        raise DataError("There is no cell with a mask to train on. Give pictures and their masks.")
    return MaskedCells(
        pixels=np.concatenate([g.pixels for g in kept]),
        parts=np.concatenate([g.parts for g in kept]),
        names=tuple(name for g in kept for name in g.names),
        source=tuple(name for g in kept for name in g.source),
    )


def cells_of(
    pixels: ByteArray, labels: NDArray[Any], nucleus: NDArray[Any], *, name: str, source: str
) -> MaskedCells:
    """Every cell of a picture: ``labels`` H x W counts the cells from 1, ``nucleus`` H x W is true in nuclei.

    The picture of one cell is the same with 0 and 1 as labels.
    """
    from scipy import ndimage as ndi

    check_mask(pixels, labels, nucleus, name)
    white = on_white(pixels, ground_light(pixels))
    canvases, masks, names = [], [], []
    for number, box in enumerate(ndi.find_objects(labels.astype(np.int32)), 1):
        if box is None:
            continue
        (top, bottom), (left, right) = ((s.start, s.stop) for s in box)
        side = max(bottom - top, right - left)
        if side < LEAST_CELL_PX:
            continue
        own = labels == number
        parts = np.where(own & (nucleus > 0), NUCLEUS, own).astype(np.uint8)
        wide = side * CANVAS_PX / CELL_PX
        corner = ((left + right - wide) / 2, (top + bottom - wide) / 2)
        canvases.append(cut_square(white, corner, wide, CANVAS_PX, smooth=True))
        masks.append(cut_square(parts, corner, wide, CANVAS_PX, smooth=False))
        names.append(f"{name}:{number}")
    if not canvases:
        raise DataError(
            f"The mask of {name} is empty: no cell of at least {LEAST_CELL_PX} px is marked. "
            "Mark its cells, or leave the picture out."
        )
    return MaskedCells(
        pixels=np.stack(canvases), parts=np.stack(masks), names=tuple(names), source=(source,) * len(names)
    )


def check_mask(pixels: ByteArray, labels: NDArray[Any], nucleus: NDArray[Any], name: str) -> None:
    for what, array in (("mask", labels), ("nucleus mask", nucleus)):
        if array.shape != pixels.shape[:2]:
            found, wanted = (" x ".join(map(str, reversed(a.shape[:2]))) for a in (array, pixels))
            raise DataError(
                f"The {what} of {name} is {found} px, its picture {wanted} px. "
                "Give each picture the mask that was drawn on it, unscaled."
            )
    if labels.dtype.kind == "f" and not (labels == np.floor(labels)).all():
        raise DataError(
            f"The mask of {name} holds fractions or NaN; each pixel holds the number of its cell. One "
            "that was scaled or averaged does not fit any more."
        )
