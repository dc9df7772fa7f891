"""Every knob of every step, written once.

A frozen, keyword-only dataclass for each step. The same class makes the flags of the command line
(cyclopts reads it), the form in napari (``gui/form.py``) and the JSON stored beside each result.
``Knob`` holds label and bounds; the string below a field is its help, in the terminal as in the tooltip.
"""

import dataclasses
import types
import typing
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from napari_bloodcell.core.errors import ConfigError


@dataclass(frozen=True)
class Knob:
    """Label and bounds of one field. Bounds are inclusive."""

    label: str
    low: float | None = None
    high: float | None = None
    unit: str = ""


def knobs_of(config_class: type) -> dict[str, Knob]:
    hints = typing.get_type_hints(config_class, include_extras=True)
    return {
        name: next((m for m in getattr(hint, "__metadata__", ()) if isinstance(m, Knob)), Knob(name))
        for name, hint in hints.items()
    }


def types_of(config_class: type) -> dict[str, Any]:
    return typing.get_type_hints(config_class)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Base of all configs: checks its fields, goes to JSON and back."""

    def __post_init__(self) -> None:
        hints, knobs = types_of(type(self)), knobs_of(type(self))
        for name in knobs:
            _check(f"{type(self).__name__}.{name}", getattr(self, name), hints[name], knobs[name])

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Rebuild from stored JSON; an unknown field is named, not ignored."""
        hints = types_of(cls)
        unknown = sorted(set(values) - {f.name for f in dataclasses.fields(cls)})
        if unknown:
            raise ConfigError(
                f"{cls.__name__} has no setting {unknown[0]!r}. It has: {', '.join(sorted(hints))}. "
                "A file written by a newer release needs that release."
            )
        ready: dict[str, Any] = {}
        for name, value in values.items():
            hint = hints[name]
            if isinstance(hint, type) and issubclass(hint, Config):
                ready[name] = hint.from_json(value)
            else:
                ready[name] = tuple(value) if isinstance(value, list) else value
        return cls(**ready)


def _check(where: str, value: Any, hint: Any, knob: Knob) -> None:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None and type(None) in options:
        return
    if not any(_fits(value, option) for option in options):
        raise ConfigError(f"{where} = {value!r} is not accepted; it takes {_describe(options)}.")
    if isinstance(value, int | float) and not isinstance(value, bool):
        too_low = knob.low is not None and value < knob.low
        too_high = knob.high is not None and value > knob.high
        if too_low or too_high or value != value:  # noqa: PLR0124 (NaN)
            low = "-inf" if knob.low is None else f"{knob.low:g}"
            high = "inf" if knob.high is None else f"{knob.high:g}"
            unit = f" {knob.unit}" if knob.unit else ""
            raise ConfigError(f"{where} = {value!r} is out of range; it takes {low} to {high}{unit}.")


def _fits(value: Any, hint: Any) -> bool:
    if typing.get_origin(hint) is Literal:
        return value in typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(isinstance(v, typing.get_args(hint)[0]) for v in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _describe(options: tuple[Any, ...]) -> str:
    plain = {"int": "a whole number", "float": "a number", "str": "text", "bool": "yes or no"}
    words: list[str] = []
    for option in options:
        if typing.get_origin(option) is Literal:
            words.extend(repr(v) for v in typing.get_args(option))
        elif option is type(None):
            words.append("none")
        elif typing.get_origin(option) is tuple:
            words.append(f"a list of {typing.get_args(option)[0].__name__}")
        else:
            words.append(plain.get(option.__name__, option.__name__))
    return " or ".join(words)


@dataclass(frozen=True, kw_only=True)
class ReadConfig(Config):
    """How an image file becomes RGB pixels."""

    um_per_px: Annotated[float | None, Knob("Pixel size", low=0.005, high=20, unit="µm")] = None
    """Size of a pixel in µm. Leave empty to take it from the file, or else to go without."""
    max_megapixels: Annotated[float, Knob("Largest image", low=0.01, high=100_000, unit="megapixels")] = 400.0
    """Refuse images with more pixels than this before they are decoded."""
    page: Annotated[int | None, Knob("Page", low=0, high=100_000)] = None
    """Which page of a file that holds several (counted from 0)."""


@dataclass(frozen=True, kw_only=True)
class SegmentConfig(Config):
    """Finding white cells and outlining nucleus and cytoplasm."""

    min_nucleus_um: Annotated[float, Knob("Smallest nucleus", low=0.5, high=30, unit="µm")] = 4.0
    """Nuclei thinner than this (diameter of a circle of the same area) are taken for platelets or dirt."""
    max_cell_um: Annotated[float, Knob("Largest cell", low=5, high=100, unit="µm")] = 30.0
    """Outlines wider than this are cut back."""
    split_touching: Annotated[bool, Knob("Split touching cells")] = True
    """Cut clumps of nuclei into cells. Lobes of one nucleus stay together."""
    border: Annotated[Literal["keep", "drop"], Knob("Cells at the border")] = "keep"
    """Cells cut by the edge of the image: keep them (flagged in the table) or drop them."""


@dataclass(frozen=True, kw_only=True)
class CropConfig(Config):
    """One square picture for each cell."""

    size_px: Annotated[int, Knob("Side of a crop", low=16, high=1024, unit="px")] = 96
    """Side of the square each cell is resampled to."""
    field_um: Annotated[float | None, Knob("Field", low=5, high=200, unit="µm")] = None
    """Show this many µm in every crop, where the pixel size is known. Empty: fit the cell's own box."""
    pad: Annotated[float, Knob("Margin", low=0, high=2)] = 0.1
    """Margin around the cell's box, as a fraction of its longer side (used without a fixed field)."""


@dataclass(frozen=True, kw_only=True)
class ClassifyConfig(Config):
    """From vectors to classes, and when to say "unidentified"."""

    min_probability: Annotated[float, Knob("Least probability", low=0, high=1)] = 0.5
    """A cell whose best class is less probable than this is "unidentified"."""
    max_distance: Annotated[float, Knob("Furthest from known cells", low=0, high=1_000)] = 3.0
    """A cell further than this from every class seen in training (1 = as far as the outermost 1 % of
    training cells) is "unidentified"."""


@dataclass(frozen=True, kw_only=True)
class CountConfig(Config):
    """The differential."""

    level: Annotated[Literal["coarse", "fine"], Knob("Classes")] = "coarse"
    """Count the five coarse kinds, or the fine classes (bands apart from segmented, and so on)."""
    confidence: Annotated[float, Knob("Confidence of limits", low=0.5, high=0.999)] = 0.95
    """Confidence of the exact (Clopper-Pearson) limits."""
    target: Annotated[Literal[100, 200, 400], Knob("Cells to count")] = 100
    """How many cells make a complete count (CLSI H20-A2: 100 to 200 routine, 400 as a reference)."""
    count_border: Annotated[bool, Knob("Count cells at the border")] = True
    """Count white cells that the edge of the image cuts."""


SmearLook = Literal[
    "giemsa_blue", "rapid_yellow", "wright_cream", "may_gruenwald_white", "leishman_pink", "random"
]


@dataclass(frozen=True, kw_only=True)
class SmearConfig(Config):
    """A synthetic field with known truth: the sample, the demo and the test data."""

    width_px: Annotated[int, Knob("Width", low=32, high=8192, unit="px")] = 640
    """Width of the picture."""
    height_px: Annotated[int, Knob("Height", low=32, high=8192, unit="px")] = 480
    """Height of the picture."""
    um_per_px: Annotated[float, Knob("Pixel size", low=0.03, high=0.6, unit="µm")] = 0.08
    """Size of a pixel in µm: 0.07 to 0.1 is a 100x oil lens, 0.25 a slide scanner."""
    white_cells: Annotated[int, Knob("White cells", low=0, high=10_000)] = 4
    """How many white cells to draw. Zero is fine."""
    crowding: Annotated[float, Knob("Crowding", low=0, high=1)] = 0.5
    """Density of red cells: 0 is none, 0.5 where one counts, 1 the thick end of the film."""
    look: Annotated[SmearLook, Knob("Look")] = "giemsa_blue"
    """Stain and camera. "random" draws a laboratory from the seed."""
    mix: Annotated[Literal["even", "blood"], Knob("Mix of cells")] = "even"
    """Each kind as often as the others, or as often as in normal blood."""
    seed: Annotated[int, Knob("Seed", low=0, high=2_147_483_647)] = 0
    """The same seed draws the same picture."""


@dataclass(frozen=True, kw_only=True)
class AnalyseConfig(Config):
    """The whole chain, one part for each step."""

    read: ReadConfig = ReadConfig()
    segment: SegmentConfig = SegmentConfig()
    crop: CropConfig = CropConfig()
    classify: ClassifyConfig = ClassifyConfig()
    count: CountConfig = CountConfig()
