"""Stains: taken apart, given away, grouped, varied."""

from dataclasses import dataclass
from typing import Annotated, Literal

from napari_bloodcell.core.config.base import Config, Knob


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
