"""Whole slides, block by block."""

from dataclasses import dataclass
from typing import Annotated, Literal

from napari_bloodcell.core.config.base import Config, Knob


@dataclass(frozen=True, kw_only=True)
class SlideConfig(Config):
    """How an image too large for the memory is analysed: block by block, where there is something to see."""

    from_megapixels: Annotated[float, Knob("Slide from", low=0.01, high=100_000, unit="megapixels")] = 100.0
    """Larger images are analysed as slides, where their format can be read piece by piece (OME-Zarr, tiled
    TIFF, SVS, NDPI)."""
    block_px: Annotated[int, Knob("Block", low=512, high=32_768, unit="px")] = 4096
    """Side of a block: what is finished and kept at a time. The cells are the same whatever it is."""
    search: Annotated[Literal["coarse", "full"], Knob("Search")] = "coarse"
    """coarse: white cells are first looked for at about 1 µm a pixel, and then only there in full resolution.
    full: everywhere in full resolution."""
    least_focus: Annotated[float, Knob("Least focus", low=0, high=1)] = 0.25
    """Parts less sharp than this share of the sharpest tenth of the slide are left out, and said so. 0 keeps
    all."""
