"""What every training shares; a method's own settings stand in its own config."""

from dataclasses import dataclass
from typing import Annotated, Literal

from napari_bloodcell.core.config.base import Config, Knob


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Config):
    """How the loop runs."""

    epochs: Annotated[int, Knob("Epochs", low=1, high=100_000)] = 60
    """How often to go through the training cells."""
    optimizer: Annotated[Literal["adamw", "adam"], Knob("Optimizer")] = "adamw"
    """AdamW keeps the weight decay apart from the step; Adam is what SADA was published with."""
    learning_rate: Annotated[float, Knob("Learning rate", low=1e-8, high=1)] = 1e-4
    """Highest learning rate."""
    weight_decay: Annotated[float, Knob("Weight decay", low=0, high=1)] = 0.05
    """Pull of the weights towards zero."""
    warmup_steps: Annotated[int, Knob("Warm-up", low=0, high=1_000_000, unit="steps")] = 0
    """Steps over which the learning rate rises from zero."""
    schedule: Annotated[Literal["cosine", "constant"], Knob("Schedule")] = "cosine"
    """After the warm-up: fall to zero along a cosine, or stay."""
    clip_norm: Annotated[float | None, Knob("Clip gradients", low=1e-6, high=1e6)] = 1.0
    """Gradients longer than this are shortened. Empty: never."""
    accumulate: Annotated[int, Knob("Parts of a batch", low=1, high=1_024)] = 1
    """Take each batch in this many parts, where memory is short. Batch-wide terms then see one part."""
    precision: Annotated[Literal["auto", "fp32", "bf16"], Knob("Precision")] = "auto"
    """bf16 is faster where the device computes in it; "auto" takes it on such a GPU, on such a processor too
    except for LoRA adapters, and fp32 elsewhere."""
    device: Annotated[str, Knob("Device")] = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    patience: Annotated[int, Knob("Patience", low=0, high=100_000, unit="epochs")] = 0
    """Stop after this many epochs without a better score. 0: never."""
    validate_every: Annotated[int, Knob("Validate every", low=1, high=10_000, unit="epochs")] = 1
    """How many epochs lie between two looks at the held-out cells."""
    seed: Annotated[int, Knob("Seed", low=0, high=2_147_483_647)] = 0
    """The same seed trains the same way."""
