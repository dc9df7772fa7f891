"""Segment Anything and its adapters."""

from dataclasses import dataclass
from typing import Annotated, Literal

from napari_bloodcell.core.config.base import Config, Knob


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
