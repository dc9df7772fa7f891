"""The printed report."""

from dataclasses import dataclass
from typing import Annotated, Literal

from napari_bloodcell.core.config.analyse import CountConfig
from napari_bloodcell.core.config.base import Config, Knob


@dataclass(frozen=True, kw_only=True)
class ReportConfig(Config):
    """What a report shows."""

    count: CountConfig = CountConfig()  # noqa: RUF009 (frozen)
    slide_by: Annotated[Literal["slide", "image"], Knob("Counted together")] = "slide"
    """Images of one slide together, as the analysis knows them (else: of one folder); or each image alone."""
    merge_bands: Annotated[bool, Knob("Merge bands")] = False
    """Count banded and segmented neutrophils together (fine classes)."""
    precision: Annotated[float, Knob("Close enough", low=0.1, high=50, unit="points")] = 10.0
    """Half of the width of a class's limits at which its share is known closely enough."""
    gallery: Annotated[int, Knob("Doubtful cells shown", low=0, high=500)] = 48
    """How many of the most doubtful cells are pictured."""
    title: Annotated[str, Knob("Title")] = "White-cell differential"
    """Printed at the head."""


@dataclass(frozen=True, kw_only=True)
class ExportConfig(Config):
    """Cells in the format of another program."""

    to: Annotated[Literal["geojson", "coco"], Knob("Format")] = "geojson"
    """geojson: a file an image, as QuPath opens it, with nuclei and measurements. coco: one file, coco.json,
    for training detectors elsewhere."""
    only_reviewed: Annotated[bool, Knob("Only reviewed cells")] = False
    """Only cells whose class a person gave or confirmed."""
