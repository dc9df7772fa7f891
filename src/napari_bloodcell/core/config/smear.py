"""The synthetic smear."""

from dataclasses import dataclass
from typing import Annotated, Literal

from napari_bloodcell.core.config.base import Config, Knob

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
