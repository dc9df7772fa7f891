"""LoRA on q and v of the image encoder, through peft: A Kaiming-uniform, B zero, no bias, no dropout."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

from napari_bloodcell.core.config import LoraConfig
from napari_bloodcell.core.errors import WeightsError
from napari_bloodcell.core.sam.model import CellSam, fresh_numbers

NAME = "default"  # peft's own name for an only adapter
TARGETS = ("q", "v")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One adapted layer: y += scale * B(A(x)); ``a`` is rank x D, ``b`` is D x rank."""

    block: int
    target: str
    layer: Any  # peft's lora.Linear

    @property
    def a(self) -> nn.Parameter:
        found: nn.Parameter = self.layer.lora_A[NAME].weight
        return found

    @property
    def b(self) -> nn.Parameter:
        found: nn.Parameter = self.layer.lora_B[NAME].weight
        return found

    @property
    def scale(self) -> float:
        return float(self.layer.scaling[NAME])


def add_lora(model: CellSam, config: LoraConfig = LoraConfig()) -> None:
    """Adapt q and v. Then trainable are: the adapter and the cell head; the rest is frozen."""
    import peft

    if pairs_of(model):
        raise WeightsError("This model already has an adapter. Merge it, or load the plain checkpoint again.")
    depth = model.variant.depth
    odd = [layer for layer in config.layers if not 0 <= layer < depth]
    if odd:
        raise WeightsError(
            f"Block {odd[0]} cannot be adapted: {model.variant.name} has blocks 0 to {depth - 1}. "
            "Leave the blocks empty to adapt all."
        )
    settings = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.rank if config.alpha is None else config.alpha,
        target_modules=[f"attn.{target}" for target in TARGETS],
        layers_to_transform=list(config.layers) or None,
        layers_pattern="blocks" if config.layers else None,
        lora_dropout=0.0,
        bias="none",
        base_model_name_or_path=f"{model.variant.name} {model.base_sha256}",
    )
    trained = model.image_encoder.training
    with fresh_numbers(config.seed):
        peft.inject_adapter_in_model(settings, model.image_encoder, NAME)
    model.image_encoder.train(trained)
    freeze_base(model)


def freeze_base(model: CellSam) -> None:
    model.requires_grad_(False)
    model.cells.requires_grad_(True)
    for pair in pairs_of(model):
        pair.a.requires_grad_(True)
        pair.b.requires_grad_(True)


def pairs_of(model: CellSam) -> list[Pair]:
    """The adapted layers in order: block by block, q before v."""
    return [
        Pair(block=index, target=target, layer=getattr(block.attn, target))
        for index, block in enumerate(model.image_encoder.blocks)
        for target in TARGETS
        if hasattr(getattr(block.attn, target), "lora_A")
    ]


def lora_of(model: CellSam) -> LoraConfig:
    """Rank, alpha and blocks of a model's adapter."""
    pairs = pairs_of(model)
    if not pairs:
        raise WeightsError("This model has no adapter. Add or load one first.")
    rank = pairs[0].a.shape[0]
    blocks = tuple(sorted({pair.block for pair in pairs}))
    every = blocks == tuple(range(model.variant.depth))
    return LoraConfig(rank=rank, alpha=pairs[0].scale * rank, layers=() if every else blocks)


@contextmanager
def merged(model: CellSam) -> Iterator[None]:
    """Inside, q and v are one matrix each, as fast as without an adapter; afterwards exactly as before."""
    kept = []
    for pair in pairs_of(model):
        if pair.layer.disable_adapters or pair.layer.merged:
            continue
        weight = pair.layer.get_base_layer().weight
        kept.append((pair.layer, weight, weight.data))
        weight.data = weight.data.clone()
        pair.layer.merge(adapter_names=[NAME])
    try:
        yield
    finally:
        for layer, weight, data in kept:
            weight.data = data.to(weight.device)
            layer.merged_adapters.clear()


@contextmanager
def without_adapter(model: CellSam) -> Iterator[None]:
    """Inside, the encoder is the plain checkpoint's: what the promptable head was made for."""
    layers = [pair.layer for pair in pairs_of(model)]
    flags = [(p, p.requires_grad) for layer in layers for p in layer.parameters()]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


def merge_for_good(model: CellSam) -> None:
    """Write the adapter into q and v and drop it."""
    for pair in pairs_of(model):
        pair.layer.merge(adapter_names=[NAME])
        setattr(model.image_encoder.blocks[pair.block].attn, pair.target, pair.layer.get_base_layer())
    if hasattr(model.image_encoder, "peft_config"):
        del model.image_encoder.peft_config
