"""A field under other stains, as often as a slider asks: its own stain is measured once.

Also the stains that are known without opening anything: those of the synthetic laboratories.
"""

from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from napari_bloodcell.core.config import StainConfig, TransferConfig
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import ByteArray, FloatArray
from napari_bloodcell.core.stain.augment import draw
from napari_bloodcell.core.stain.profile import StainProfile, load_profile, profiles_of
from napari_bloodcell.core.stain.transfer import stains_of, transfer

LARGEST_PX = 1_200_000  # of a preview: one slide of the slider should answer within a tenth of a second


def known_labs() -> list[StainProfile]:
    """The profiles that ship."""
    folder = Path(str(files("napari_bloodcell"))) / "core" / "stain" / "labs"
    return [load_profile(path) for path in sorted(folder.glob("*.json"))]


def random_stain(profiles: list[StainProfile], spread: float, seed: int) -> StainProfile:
    """A stain as far off as the given ones are from each other; the same seed gives the same."""
    import torch

    dice = torch.Generator().manual_seed(seed)
    drawn = draw(stains_of(profiles, torch.device("cpu")), 1, spread, dice)
    return StainProfile(
        dictionary=drawn.dictionary[0].numpy(),
        background=drawn.background[0].numpy(),
        scale=drawn.scale[0].numpy(),
        name=f"random {seed}",
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Preview:
    """One field. Large ones are shown with every ``stride``-th pixel."""

    pixels: ByteArray
    profile: StainProfile
    stride: int = 1
    config: StainConfig = field(default_factory=StainConfig)

    def show(self, to: StainProfile, how: TransferConfig = TransferConfig()) -> ByteArray:
        shown: ByteArray = transfer(self.pixels, to, how, source=self.profile)
        return shown


@dataclass(frozen=True, kw_only=True, eq=False)
class StainLayer:
    """How much of one stain there is at each pixel; ``rgb`` is its colour (0..1) where it is dense."""

    name: str
    amount: FloatArray  # H x W
    dense: float  # what 1 % of the pixels exceed
    rgb: tuple[float, float, float]


def begin(
    pixels: ByteArray,
    config: StainConfig = StainConfig(),
    *,
    name: str = "",
    largest_px: int = LARGEST_PX,
    progress: Progress = silent,
) -> Preview:
    """The stain is measured on all pixels, the preview is at most ``largest_px`` large."""
    profile = profiles_of([pixels], config, names=[name], progress=progress)[0]
    stride = max(1, int(np.ceil(np.sqrt(pixels.shape[0] * pixels.shape[1] / largest_px))))
    shown = np.ascontiguousarray(pixels[::stride, ::stride])
    return Preview(pixels=shown, profile=profile, stride=stride, config=config)


def stain_layers(
    pixels: ByteArray, config: StainConfig = StainConfig(), *, progress: Progress = silent
) -> tuple[StainLayer, ...]:
    """The image taken apart, at its full size."""
    from napari_bloodcell.core.stain.separate import separate

    found = separate(pixels, config, progress=progress)
    assert found.concentrations is not None
    layers: list[StainLayer] = []
    for k, name in enumerate(found.names):
        direction, scale = found.dictionary[0, :, k], float(found.scale[0, k])
        light: Any = np.exp(-direction.cpu().numpy() * scale)
        layers.append(
            StainLayer(
                name=name,
                amount=found.concentrations[0, k].cpu().numpy(),
                dense=scale,
                rgb=(float(light[0]), float(light[1]), float(light[2])),
            )
        )
    return tuple(layers)
