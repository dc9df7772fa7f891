"""Fine-tuning of cell outlines."""

from dataclasses import dataclass
from typing import Annotated, Literal

from napari_bloodcell.core.config.base import Config, Knob
from napari_bloodcell.core.config.sam import LoraConfig
from napari_bloodcell.core.config.train import TrainConfig


@dataclass(frozen=True, kw_only=True)
class ViewConfig(Config):
    """How far the views of a training picture differ from the picture."""

    turn: Annotated[float, Knob("Turn", low=0, high=180, unit="degrees")] = 180.0
    """Largest turn to either side."""
    zoom_low: Annotated[float, Knob("Narrowest window", low=0.8, high=2.2)] = 1.0
    """Side of the narrowest window, in longer sides of the cell's box."""
    zoom_high: Annotated[float, Knob("Widest window", low=0.8, high=2.2)] = 2.0
    """Side of the widest window."""
    shift: Annotated[float, Knob("Shift", low=0, high=0.5)] = 0.15
    """How far the cell may lie from the middle, in sides of its box: a located box is a guess."""
    stretch: Annotated[float, Knob("Stretch", low=0, high=0.5)] = 0.08
    """Spread of the stretch along one direction."""
    flip: Annotated[bool, Knob("Mirror")] = True
    """Mirror half of the views."""
    stain: Annotated[float, Knob("Change of stain", low=0, high=3)] = 1.0
    """Strength of the changes of colour, made in optical density. 0: none."""
    camera: Annotated[float, Knob("Change of camera", low=0, high=3)] = 1.0
    """Strength of blur, sharpening, noise and JPEG blocks. 0: none."""
    paste: Annotated[float, Knob("Red cells laid around", low=0, high=1)] = 0.3
    """Share of the views that get the surroundings of another picture, where there are some to take."""


@dataclass(frozen=True, kw_only=True)
class MaskTrainConfig(Config):
    """How a segmenter learns from masks."""

    preset: Annotated[Literal["better", "published"], Knob("Recipe")] = "better"
    """better: Dice of each image and soft cross-entropy, strong views. published: 0.2 cross-entropy and 0.8
    Dice over the batch, quarter turns and flips or 20 degrees, as BC-SAM and DoRL were trained."""
    channels: Annotated[Literal[2, 3], Knob("Channels")] = 3
    """3: ground, cytoplasm, nucleus. 2: ground, cell, as published."""
    size_px: Annotated[int, Knob("Input size", low=0, high=1024, unit="px")] = 0
    """Side of the square the network sees; a multiple of 16. 0: 224 as published, less for a small model."""
    batch: Annotated[int, Knob("Cells a step", low=1, high=1024)] = 32
    """How many cells each step sees."""
    steps_per_epoch: Annotated[int, Knob("Steps an epoch", low=0, high=100_000)] = 0
    """0: as many as show each training cell once."""
    held_out: Annotated[float, Knob("Held out", low=0, high=0.9)] = 0.2
    """Share of the pictures that are only scored; chosen by the hash of the file's name."""


@dataclass(frozen=True, kw_only=True)
class AdapterConfig(Config):
    """Fine-tuning of a Segment Anything model on masks."""

    masks: MaskTrainConfig = MaskTrainConfig()
    views: ViewConfig = ViewConfig()
    lora: LoraConfig = LoraConfig()  # noqa: RUF009 (frozen)


ADAPTER_TRAINING = TrainConfig(epochs=60, learning_rate=5e-4, weight_decay=0.05, warmup_steps=50, patience=15)
PUBLISHED_ADAPTER_TRAINING = TrainConfig(epochs=150, learning_rate=1e-4, weight_decay=0.1, clip_norm=None)
