"""Embeddings: how cells are described, and how the autoencoders are trained."""

from dataclasses import dataclass
from typing import Annotated, Literal

from napari_bloodcell.core.config.analyse import CropConfig
from napari_bloodcell.core.config.base import Config, Knob
from napari_bloodcell.core.config.train import TrainConfig


@dataclass(frozen=True, kw_only=True)
class TargetConfig(Config):
    """The pictures an autoencoder learns to draw."""

    margin_px: Annotated[int, Knob("Grey margin", low=0, high=112, unit="px")] = 10
    """Grey on each side of the cell, counted at a crop of 224 px."""
    keep_aspect: Annotated[bool, Knob("Keep the shape")] = False
    """Long cells stay long. As published, each box is stretched to a square."""
    field_um: Annotated[float | None, Knob("Field", low=5, high=200, unit="µm")] = None
    """Show this many µm where the pixel size is known: large cells then look large. Empty: fit the cell."""


@dataclass(frozen=True, kw_only=True)
class FeatureConfig(Config):
    """How cells are cut out and shown to Segment Anything."""

    crop: CropConfig = CropConfig()  # noqa: RUF009 (frozen)
    drawing: TargetConfig = TargetConfig()
    input_px: Annotated[int | None, Knob("Input size", low=16, high=2048, unit="px")] = None
    """Side of the square each cell is resampled to; a multiple of 16. Empty: what a small model was trained
    at, and 224 for the large ones, as published."""
    at_once: Annotated[int, Knob("Cells at once", low=1, high=1024)] = 16
    """How many cells go through the model together. Halved by itself where memory is short."""
    device: Annotated[str, Knob("Device")] = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    precision: Annotated[Literal["auto", "fp32", "bf16"], Knob("Precision")] = "auto"
    """bf16 is faster where the device computes in it; "auto" takes it there, and fp32 elsewhere."""


@dataclass(frozen=True, kw_only=True)
class AlignConfig(Config):
    """How the laboratories are brought together, and which of them may be seen."""

    protocol: Annotated[Literal["transductive", "inductive"], Knob("Protocol")] = "transductive"
    """"transductive": pictures of every lab are seen, without classes (as published); "inductive": those of
    the target lab never are."""
    target: Annotated[str | None, Knob("Target lab")] = None
    """Name of the lab the model is meant for. With "inductive" it is left out."""
    discrepancy: Annotated[Literal["mean", "kernel", "covariance"], Knob("Discrepancy")] = "mean"
    """What of the labs is made alike: the means (as published), the means and covariances, or everything a
    Gaussian kernel sees."""
    conditional: Annotated[float, Knob("Weight within classes", low=0, high=1_000)] = 0.0
    """Weight of aligning each kind of cell apart, so that labs with other shares of classes are not mixed
    up. Kinds are clusters, found without labels. 0: off, as published."""
    clusters: Annotated[int, Knob("Kinds", low=2, high=64)] = 6
    """How many kinds of cell the clustering looks for."""
    held_out: Annotated[float, Knob("Held out", low=0, high=0.9)] = 0.2
    """Share of the cells that is not trained on but judges the epochs (by name, as everywhere)."""


@dataclass(frozen=True, kw_only=True)
class BcsamConfig(Config):
    """The autoencoder of BC-SAM. Defaults as published, but for cells held out."""

    features: FeatureConfig = FeatureConfig()
    align: AlignConfig = AlignConfig()
    batch: Annotated[int, Knob("Cells in a batch", low=2, high=65_536)] = 128
    """Cells in a batch, the same number of each lab."""
    alignment: Annotated[float, Knob("Weight of alignment", low=0, high=10_000)] = 5.0
    """Weight of the discrepancy between labs, beside 1 - SSIM."""
    tell_lab: Annotated[bool, Knob("Tell the decoder the lab")] = False
    """The decoder is told the lab, so that the embedding need not hold its stain. Off, as published."""


@dataclass(frozen=True, kw_only=True)
class DorlConfig(Config):
    """The masked autoencoder of DoRL. Defaults as published, but for cells held out."""

    features: FeatureConfig = FeatureConfig()
    align: AlignConfig = AlignConfig()
    batch: Annotated[int, Knob("Cells in a batch", low=2, high=65_536)] = 64
    """Cells in a batch, the same number of each lab."""
    mask: Annotated[float, Knob("Hidden", low=0.05, high=0.95)] = 0.75
    """Share of the tokens that is hidden."""
    image_weight: Annotated[float, Knob("Weight of the picture", low=0, high=1_000)] = 1.0
    """Weight of 1 - SSIM of the drawn cell."""
    alignment: Annotated[float, Knob("Weight of alignment", low=0, high=10_000)] = 2.0
    """Weight of the discrepancy between labs."""
    token_weight: Annotated[float, Knob("Weight of tokens", low=0, high=1_000)] = 1.0
    """Weight of the error of the rebuilt tokens."""
    only_hidden: Annotated[bool, Knob("Error of hidden tokens only")] = False
    """Count the error of hidden tokens only. As published, all tokens count."""
    align_cls: Annotated[bool, Knob("Align what is used")] = False
    """Align the vector that classifiers get, not only the decoder's summary. Off, as published."""
    scale_tokens: Annotated[bool, Knob("Scale tokens")] = False
    """Bring the tokens to a spread of 1 first: those of a small model may be so large that their error drowns
    the other terms. Off, as published."""
    depth: Annotated[int, Knob("Blocks", low=1, high=48)] = 12
    """Blocks of the encoder."""
    decoder_depth: Annotated[int, Knob("Decoder blocks", low=1, high=48)] = 4
    """Blocks of the decoder."""


@dataclass(frozen=True, kw_only=True)
class JudgeConfig(Config):
    """How an embedding's dependence on the lab is measured."""

    neighbours: Annotated[int, Knob("Neighbours", low=1, high=1_000)] = 5
    """How many nearest cells are asked."""
    folds: Annotated[int, Knob("Folds", low=2, high=100)] = 5
    """Each cell's lab is named by a probe trained on the other folds."""
    resamples: Annotated[int, Knob("Bootstrap", low=0, high=100_000)] = 500
    """Resamples of the cells behind each interval."""
    at_most: Annotated[int, Knob("Cells at most", low=20, high=30_000)] = 4_000
    """Larger sets are judged on so many cells, drawn at random: each cell is compared with each other."""
    seed: Annotated[int, Knob("Seed", low=0, high=2_147_483_647)] = 0
    """Of the folds and the resamples."""


# The loop as each was published; the loop itself shortens a warm-up that is longer than the training.
BCSAM_TRAINING = TrainConfig(epochs=10, learning_rate=5e-4, weight_decay=0.05, warmup_steps=500)
DORL_TRAINING = TrainConfig(epochs=300, learning_rate=1e-4, weight_decay=0.05)
