"""The classes a person sorts cells into: named, coloured, in an order that gives each its digit.

Any number of classes. A new one gets the colour furthest from those in use, to colour-blind eyes too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.errors import TaxonomyError
from napari_bloodcell.core.palette import colours
from napari_bloodcell.core.records import UNIDENTIFIED
from napari_bloodcell.core.taxonomy import COARSE, FINE, normalise

RESERVED = ("#1A1A1A", "#FFFFFF", "#FF2D95")  # outlines, glass, cells that are chosen
DIGITS = 9  # keys 1 to 9; 0 is "unidentified"

# How protanopes and deuteranopes see linear RGB (Vienot, Brettel and Mollon 1999).
_SEEN = {
    "usual": np.eye(3),
    "protan": np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]]),
    "deutan": np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]),
}


@dataclass(frozen=True)
class ClassList:
    """``colours`` by name, in the person's order. "unidentified" is always the last."""

    colours: Mapping[str, str]

    @classmethod
    def of(cls, names: Iterable[str] = COARSE) -> Self:
        """The usual classes and what is found: a coarse class only where none of its own is."""
        found = [name for name in dict.fromkeys(map(_checked, names)) if name != UNIDENTIFIED]
        finer = {FINE[name] for name in found if name in FINE and FINE[name] != name}
        usual = [name for name in COARSE if name not in finer or name in found]
        known = [name for name in (*COARSE, *FINE) if name in {*usual, *found}]
        result = cls({})
        for name in [*known, *(name for name in found if name not in known)]:
            result = result.with_class(name)
        return result

    def __post_init__(self) -> None:
        rest = {name: colour for name, colour in self.colours.items() if name != UNIDENTIFIED}
        last = self.colours.get(UNIDENTIFIED, colours()[UNIDENTIFIED])
        object.__setattr__(self, "colours", rest | {UNIDENTIFIED: last})

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.colours)

    def digit(self, name: str) -> str:
        """The key of a class; nothing beyond the ninth."""
        if name == UNIDENTIFIED:
            return "0"
        place = self.names.index(name) + 1
        return str(place) if place <= DIGITS else ""

    def of_digit(self, digit: str) -> str | None:
        return next((name for name in self.names if digit and self.digit(name) == digit), None)

    def with_class(self, name: str, colour: str | None = None) -> Self:
        """One more. A name that is there already keeps its colour."""
        plain = _checked(name)
        if plain in self.colours:
            return self
        chosen = colour or colours().get(plain) or next_colour(self.colours.values())
        return replace(self, colours={**self.colours, plain: chosen})

    def renamed(self, old: str, new: str) -> Self:
        plain = _checked(new)
        self._check_own(old)
        if plain in self.colours and plain != old:
            raise TaxonomyError(f"There is a class {plain!r} already. Choose another name.")
        colours = {plain if name == old else name: colour for name, colour in self.colours.items()}
        return replace(self, colours=colours)

    def recoloured(self, name: str, colour: str) -> Self:
        if name not in self.colours:
            raise TaxonomyError(f"There is no class {name!r}; there are {', '.join(self.names)}.")
        return replace(self, colours={**self.colours, name: colour})

    def without(self, name: str) -> Self:
        self._check_own(name)
        return replace(self, colours={n: c for n, c in self.colours.items() if n != name})

    def to_json(self) -> list[dict[str, str]]:
        return [{"name": name, "colour": colour} for name, colour in self.colours.items()]

    @classmethod
    def from_json(cls, stored: Sequence[Mapping[str, Any]]) -> Self:
        return cls({str(one["name"]): str(one["colour"]) for one in stored})

    def _check_own(self, name: str) -> None:
        if name not in self.colours or name == UNIDENTIFIED:
            others = ", ".join(n for n in self.names if n != UNIDENTIFIED)
            raise TaxonomyError(f"{name!r} cannot be renamed or removed; these can: {others}.")


def next_colour(used: Iterable[str]) -> str:
    """The colour that looks least like any in use, to the usual eye and to two kinds of colour blindness."""
    taken = np.array([_rgb(colour) for colour in (*used, *RESERVED)])
    steps = np.linspace(0.12, 0.92, 6)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    nearest = np.full(len(grid), np.inf)
    for matrix in _SEEN.values():
        here, there = _lab(grid, matrix), _lab(taken, matrix)
        apart = np.linalg.norm(here[:, None] - there[None], axis=-1)
        nearest = np.minimum(nearest, apart.min(axis=1))
    return _hex(grid[int(nearest.argmax())])


def _lab(rgb: NDArray[np.float64], seen: NDArray[np.float64]) -> NDArray[np.float64]:
    """OKLab of colours as they are seen through ``seen``."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ seen.T, 0, 1)
    to_cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    to_lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    result: NDArray[np.float64] = np.cbrt(linear @ to_cones.T) @ to_lab.T
    return result


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))


def _hex(rgb: NDArray[np.float64]) -> str:
    red, green, blue = np.round(255 * rgb).astype(int)
    return f"#{red:02X}{green:02X}{blue:02X}"


def _checked(name: str) -> str:
    plain = normalise(name)
    if not plain:
        raise TaxonomyError(f"{name!r} is no name for a class: it needs at least one letter or digit.")
    return plain
