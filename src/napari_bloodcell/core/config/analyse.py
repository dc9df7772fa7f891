"""The chain from a smear to a count."""

from dataclasses import dataclass
from typing import Annotated, Literal

from napari_bloodcell.core.config.base import Config, Knob
from napari_bloodcell.core.config.slide import SlideConfig


@dataclass(frozen=True, kw_only=True)
class ReadConfig(Config):
    """How an image file becomes RGB pixels."""

    um_per_px: Annotated[float | None, Knob("Pixel size", low=0.005, high=20, unit="µm")] = None
    """Size of a pixel in µm. Leave empty to take it from the file, or else to guess it from red cells."""
    max_megapixels: Annotated[float, Knob("Largest image", low=0.01, high=100_000, unit="megapixels")] = 400.0
    """Refuse images with more pixels than this before they are decoded."""
    even_light: Annotated[bool, Knob("Even out the light")] = True
    """Take out what the lamp or lens darkens towards corners or one side, as far as empty ground shows it."""
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
    tile_px: Annotated[int, Knob("Tile", low=256, high=65_536, unit="px")] = 4096
    """Larger images are worked through in tiles of this side; the cells are the same."""
    device: Annotated[str, Knob("Device")] = "auto"
    """Where a network runs: auto, cpu, cuda, cuda:1, mps."""


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
    coverage: Annotated[float, Knob("Coverage of sets", low=0.5, high=0.999)] = 0.9
    """Of each class, this share of cells has its own class among the possible ones, on cells like those the
    model was calibrated on. A class with fewer than 20 of them has the limit of all together: less may be."""
    max_set: Annotated[int | None, Knob("Most possible classes", low=1, high=100)] = None
    """A cell with more possible classes than this is "unidentified". Empty: they are only named."""


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


@dataclass(frozen=True, kw_only=True)
class AnalyseConfig(Config):
    """The whole chain, one part for each step."""

    segmenter: Annotated[Literal["bundle", "stain", "sam"], Knob("Outlines by")] = "bundle"
    """What outlines the cells: the bundle's own segmenter, the stain alone, or the network that ships."""
    read: ReadConfig = ReadConfig()
    segment: SegmentConfig = SegmentConfig()
    crop: CropConfig = CropConfig()
    classify: ClassifyConfig = ClassifyConfig()
    count: CountConfig = CountConfig()
    slide: SlideConfig = SlideConfig()  # noqa: RUF009 (frozen)


@dataclass(frozen=True, kw_only=True)
class OutlineConfig(Config):
    """Outlines alone: of whole fields, or of what is pointed at."""

    others: Annotated[bool, Knob("Count red cells and platelets")] = False
    """Count red cells and platelets too, each as a box in others.csv."""
    read: ReadConfig = ReadConfig()
    segment: SegmentConfig = SegmentConfig()
