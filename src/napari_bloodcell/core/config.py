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
    """Cells further than this from every class are "unidentified"; 1 holds 99 % of the training cells."""


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
class SamConfig(Config):
    """How a Segment Anything model is run."""

    size_px: Annotated[int, Knob("Input size", low=16, high=2048, unit="px")] = 224
    """Side of the square each cell is resampled to for the model; a multiple of 16."""
    batch: Annotated[int, Knob("Images at once", low=1, high=1024)] = 16
    """How many images go through the model together. Halved by itself where memory is short."""
    device: Annotated[str, Knob("Device")] = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    precision: Annotated[Literal["auto", "fp32", "bf16"], Knob("Precision")] = "auto"
    """bf16 is faster where the device computes in it; "auto" takes it there, and fp32 elsewhere."""
    attention: Annotated[Literal["fused", "exact"], Knob("Attention")] = "fused"
    """"fused" is fast; "exact" goes step by step as segment-anything does, always in fp32."""


@dataclass(frozen=True, kw_only=True)
class LoraConfig(Config):
    """A low-rank adapter on q and v of the image encoder."""

    rank: Annotated[int, Knob("Rank", low=1, high=256)] = 4
    """Rank of the update of each layer. 4 as published; more learns more and stores more."""
    alpha: Annotated[float | None, Knob("Alpha", low=0.01, high=1024)] = None
    """The update is scaled by alpha / rank. Empty: as the rank, so by 1."""
    layers: Annotated[tuple[int, ...], Knob("Blocks")] = ()
    """Blocks to adapt, counted from 0. Empty: all of them."""
    seed: Annotated[int, Knob("Seed", low=0, high=2_147_483_647)] = 0
    """Start of the random numbers the adapter begins with."""


@dataclass(frozen=True, kw_only=True)
class StainConfig(Config):
    """Taking an image apart into its stains."""

    mode: Annotated[Literal["fast", "fused", "exact"], Knob("Separation")] = "fast"
    """fast learns the stains from a sample of stained pixels. exact repeats the published updates on every
    pixel; fused gives the same at a fraction of the time."""
    stains: Annotated[Literal[2, 3], Knob("Stains")] = 2
    """How many stains to tell apart. Smears have two: one of nuclei, one of cytoplasm and red cells."""
    iterations: Annotated[int, Knob("Updates", low=1, high=1_000)] = 10
    """Multiplicative updates of the factorisation."""
    sparsity: Annotated[float, Knob("Sparsity", low=0, high=1)] = 1e-4
    """Weight of the l1 term on the concentrations (exact and fused)."""
    sample_px: Annotated[int, Knob("Sample", low=64, high=1_000_000, unit="px")] = 4096
    """How many pixels of each image the fast separation learns from."""
    seed: Annotated[int, Knob("Seed", low=0, high=2_147_483_647)] = 0
    """The same seed takes the same sample."""
    compiled: Annotated[bool, Knob("Compile")] = False
    """Let torch compile the inner loop of fused: slow once, faster ever after. Needs a C++ compiler."""


@dataclass(frozen=True, kw_only=True)
class TransferConfig(Config):
    """Giving an image the stain of another lab."""

    strength: Annotated[float, Knob("Strength", low=0, high=1)] = 1.0
    """0 leaves the image as it is, 1 goes all the way."""
    contrast: Annotated[float, Knob("Rise in contrast", low=0, high=1)] = 0.5
    """How far to follow a lab whose stain is stronger: all the way (1) turns dense nuclei black. A weaker
    stain is always followed."""
    residue: Annotated[float, Knob("Kept of the rest", low=0, high=1)] = 0.5
    """How much stays, in a far transfer, of what the two stains do not explain."""


@dataclass(frozen=True, kw_only=True)
class ClusterConfig(Config):
    """Sorting stain profiles into groups."""

    clusters: Annotated[int | None, Knob("Groups", low=1, high=1_000)] = None
    """How many groups. Empty: found from the profiles."""
    most: Annotated[int, Knob("Most groups", low=2, high=50)] = 10
    """The most groups to look for where the number is found from the profiles."""
    restarts: Annotated[int, Knob("Restarts", low=1, high=1_000)] = 8
    """How often k-means starts anew; the best start counts."""
    seed: Annotated[int, Knob("Seed", low=0, high=2_147_483_647)] = 0
    """The same seed gives the same groups."""


@dataclass(frozen=True, kw_only=True)
class StainAugmentConfig(Config):
    """Restained views of images, for training."""

    kind: Annotated[Literal["sada", "random"], Knob("Kind")] = "sada"
    """sada restains each image like images of other groups in the batch; random draws from the spread of
    profiles."""
    views: Annotated[int, Knob("Views", low=1, high=64)] = 3
    """How many restained views of each image."""
    clusters: Annotated[int, Knob("Groups", low=2, high=50)] = 3
    """How many groups of stains to see in a batch (sada)."""
    spread: Annotated[float, Knob("Spread", low=0, high=3)] = 1.0
    """How far random draws reach: 1 is as far as the profiles themselves (random)."""


@dataclass(frozen=True, kw_only=True)
class AnalyseConfig(Config):
    """The whole chain, one part for each step."""

    read: ReadConfig = ReadConfig()
    segment: SegmentConfig = SegmentConfig()
    crop: CropConfig = CropConfig()
    classify: ClassifyConfig = ClassifyConfig()
    count: CountConfig = CountConfig()
