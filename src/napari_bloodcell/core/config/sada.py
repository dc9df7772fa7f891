"""Classifiers for labs that were never seen: SADA and what it is compared with."""

from dataclasses import dataclass
from typing import Annotated, Literal

from napari_bloodcell.core.config.base import Config, Knob
from napari_bloodcell.core.config.train import TrainConfig

Method = Literal["sada", "erm", "coral", "mixup"]


@dataclass(frozen=True, kw_only=True)
class BackboneConfig(Config):
    """The network that describes a cell, and what it gets to see."""

    backbone: Annotated[Literal["resnet50", "resnet18", "small", "nano"], Knob("Backbone")] = "resnet50"
    """resnet50 as published; resnet18 and small for laptops; nano is the image encoder of our own Segment
    Anything."""
    weights: Annotated[str, Knob("Weights")] = "imagenet"
    """imagenet (get them with: models fetch resnet50), none, or the path of a file."""
    norm: Annotated[Literal["auto", "frozen", "group"], Knob("Normalisation")] = "auto"
    """frozen keeps the BatchNorm of the weights as it is; group counts no statistics over cells and needs no
    weights. auto: frozen where the weights come with such statistics, else group."""
    size_px: Annotated[int, Knob("Input size", low=32, high=512, unit="px")] = 224
    """Side of the square each cell is shown in."""
    masked: Annotated[bool, Knob("Cell alone")] = False
    """Show the cell alone, on the colour of the empty ground, without its neighbours."""


@dataclass(frozen=True, kw_only=True)
class SadaConfig(Config):
    """Training on cells of several labs for a lab that is not among them."""

    method: Annotated[Method, Knob("Method")] = "sada"
    """sada; or what it is compared with: erm (plain training), coral (equal covariances), mixup."""
    level: Annotated[Literal["coarse", "fine"], Knob("Classes")] = "coarse"
    """The five coarse kinds, or the classes as the labs name them."""
    per_lab: Annotated[int, Knob("Cells of each lab", low=1, high=4096)] = 32
    """Cells of each lab in a batch."""
    steps_per_epoch: Annotated[int, Knob("Steps of an epoch", low=1, high=1_000_000)] = 400
    """Steps between two looks at the held-out cells. SWAD averages over whole epochs."""
    held_out: Annotated[float, Knob("Held out", low=0.01, high=0.9)] = 0.2
    """Share of each source lab that validates. Told by file name or patient, so adding cells moves none."""
    views: Annotated[int, Knob("Views", low=1, high=16)] = 3
    """Restained views of each cell in the first stage (sada)."""
    clusters: Annotated[int, Knob("Groups of stains", low=2, high=50)] = 3
    """Groups of stains to see in a batch; a view takes the stain of another group (sada)."""
    stain_views: Annotated[bool, Knob("Restain")] = True
    """Off: the views of a cell differ by colour jitter only (sada)."""
    contrast: Annotated[Literal["proxy", "supcon"], Knob("Contrast")] = "proxy"
    """proxy compares the mean of a cell's views with all views, as in the paper; supcon compares views with
    views, as in the released code (sada)."""
    temperature: Annotated[float, Knob("Temperature", low=0.001, high=10)] = 0.1
    """Of the contrast (sada)."""
    alignment: Annotated[float, Knob("Weight of local alignment", low=0, high=1000)] = 1.0
    """How much the feature maps of a cell's views must agree. 0 is off, as in the released code (sada)."""
    two_stages: Annotated[bool, Knob("Two stages")] = True
    """First half of the epochs contrast and alignment, second half the classifier. Off: all at once
    (sada)."""
    freeze_backbone: Annotated[bool, Knob("Freeze in the second stage")] = False
    """Train nothing but the classifier in the second stage. The released code freezes nothing (sada)."""
    jitter: Annotated[float, Knob("Colour jitter", low=0, high=2)] = 1.0
    """1 is brightness .2, contrast .25, saturation .25, hue .15."""
    swad: Annotated[bool, Knob("Average the weights")] = True
    """SWAD: the mean of the weights while the loss on held-out cells lies in its valley."""
    swad_converge: Annotated[int, Knob("Valley begins", low=1, high=1000, unit="epochs")] = 4
    """The valley begins at a loss that this many epochs do not undercut."""
    swad_tolerance: Annotated[int, Knob("Valley ends", low=1, high=1000, unit="epochs")] = 6
    """The valley ends when this many epochs in a row lie above its edge."""
    swad_ratio: Annotated[float, Knob("Edge of the valley", low=0, high=10)] = 0.3
    """The edge lies this much above the mean loss of the valley's first epochs."""
    balanced: Annotated[bool, Knob("Balanced sampling")] = False
    """Draw each class of a lab equally often."""
    logit_adjustment: Annotated[float, Knob("Logit adjustment", low=0, high=10)] = 0.0
    """While training, lift each class by this times the logarithm of its share, so that rare ones count more
    afterwards. 0 is off, 1 as in theory."""
    coral_weight: Annotated[float, Knob("Weight of CORAL", low=0, high=1000)] = 1.0
    """Pull between means and covariances of the labs (coral)."""
    mixup_alpha: Annotated[float, Knob("Mixup", low=0.01, high=10)] = 0.2
    """How evenly two cells are mixed (mixup)."""


# 20 epochs of 400 steps: 8,000 steps, at the published rate and without a schedule.
SADA_TRAINING = TrainConfig(
    epochs=20, optimizer="adam", learning_rate=5e-5, weight_decay=0.0, schedule="constant", clip_norm=None
)
