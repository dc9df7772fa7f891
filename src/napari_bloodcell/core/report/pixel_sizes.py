"""Pixel sizes of the images of one count, beside each other: those of one camera and lens are one."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from napari_bloodcell.core.words import how_many

GUESSED, GIVEN = "red cells", "given"  # where a pixel size is from
ALIKE = 0.02  # so far guesses may differ and need no word


@dataclass(frozen=True, kw_only=True)
class SizeOf:
    """One image: how large it is, and the pixel size its cells were measured with."""

    shape_px: tuple[int, int]
    um_per_px: float | None
    source: str


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What is to be told of pixel sizes that were guessed image by image. ``for_all``: what all images could
    have, in µm; None where files say sizes that differ."""

    text: str
    for_all: float | None


def sizes_of(images: Sequence[SizeOf]) -> Sizes | None:
    """None where there is nothing to tell: images of several sizes, all pixel sizes alike, or none known."""
    guessed = sorted(one.um_per_px for one in images if one.um_per_px and one.source == GUESSED)
    said = sorted({one.um_per_px for one in images if one.um_per_px and one.source == GIVEN})
    unknown = sum(one.um_per_px is None for one in images)
    every = sorted([*guessed, *said])
    if len({one.shape_px for one in images}) > 1 or not every or not (guessed or unknown):
        return None
    if not unknown and every[-1] <= (1 + ALIKE) * every[0]:
        return None
    for_all = None if len(said) > 1 else float(f"{said[0] if said else median(guessed):.3g}")
    parts = [f"of {how_many(unknown, 'image')} it is not known"] if unknown else []
    if guessed:
        span = f"{guessed[0]:.3g}" + (f" to {guessed[-1]:.3g}" if len(guessed) > 1 else "")
        parts.insert(0, f"of {how_many(len(guessed), 'image')} it was guessed from red cells ({span} µm)")
    text = f"The pixel size: {', '.join(parts)}. Images taken with one camera and lens have one size."
    return Sizes(text=text, for_all=for_all)
