"""The networks SADA trains. Each gives a map (B x C x h x w) of normalised pixels; its mean is the vector."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import resnet18, resnet50
from torchvision.models.resnet import BasicBlock

from napari_bloodcell.core.config import BackboneConfig
from napari_bloodcell.core.embed.sada.weights import NONE, file_of, has_statistics, load_into, read_weights
from napari_bloodcell.core.errors import ConfigError
from napari_bloodcell.core.sam.model import fresh_numbers, load_model, new_model

IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # 0..255
SMALL_WIDTHS = (32, 64, 128, 256)
WIDTHS = {"small": SMALL_WIDTHS[-1], "resnet18": 512, "resnet50": 2048}
GROUP_CHANNELS = 8  # of a GroupNorm: at least so many in each of at most 32 groups


class Backbone(nn.Module):
    """A network without its classifier. ``width`` is the length of the vector."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, width: int, scale: tuple[Any, Any], frozen: bool) -> None:
        super().__init__()
        self.network, self.width, self.frozen = network, width, frozen
        for name, values in zip(("mean", "std"), scale, strict=True):
            ready = torch.as_tensor(values, dtype=torch.float32).reshape(3, 1, 1)
            self.register_buffer(name, ready, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """0..255 -> the map of the last layer."""
        ready = (pixels.float() - self.mean) / self.std
        out: Tensor = self.network(ready.contiguous(memory_format=torch.channels_last))
        return out

    def train(self, mode: bool = True) -> "Backbone":
        """Frozen BatchNorm keeps the statistics of its weights, whatever the cells at hand."""
        super().train(mode)
        if self.frozen:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self


class Small(nn.Module):
    """A ResNet of one block a layer and 1.2 million weights, for laptops. Its stem has no pooling: on a
    processor that costs as much as all convolutions."""

    def __init__(self, norm_layer: Callable[[int], nn.Module]) -> None:
        super().__init__()
        before = SMALL_WIDTHS[0]
        self.conv1 = nn.Conv2d(3, before, 7, stride=4, padding=2, bias=False)
        self.bn1, self.relu = norm_layer(before), nn.ReLU(inplace=True)
        for number, width in enumerate(SMALL_WIDTHS[1:], 1):
            down = nn.Sequential(nn.Conv2d(before, width, 1, stride=2, bias=False), norm_layer(width))
            self.add_module(f"layer{number}", BasicBlock(before, width, 2, down, norm_layer=norm_layer))
            before = width

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = layer(x)
        return x


class Tokens(nn.Module):
    """The image encoder of our Segment Anything; its tokens are the map."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pixels: Tensor) -> Tensor:
        out: Tensor = self.encoder.tokens(pixels)  # type: ignore[operator]
        return out


def build(config: BackboneConfig, seed: int = 0, *, empty: bool = False) -> Backbone:
    """With its weights. ``empty`` leaves them out, for a model that is about to be read from a file."""
    if config.norm == "frozen" and config.weights == NONE and not empty:
        raise ConfigError(
            "norm = 'frozen' keeps the statistics of the weights, and weights = 'none' has none. "
            "Use norm 'group', or give weights."
        )
    if config.backbone == "nano":
        return _nano(config, seed, empty=empty)
    state = {} if empty or config.weights == NONE else read_weights(config)
    frozen = config.norm == "frozen" or (config.norm == "auto" and has_statistics(state))
    norm: Callable[[int], nn.Module] = nn.BatchNorm2d if frozen else _group_norm
    with fresh_numbers(seed):
        network = _resnet(config.backbone, norm)
    if state:
        load_into(network, state, config)
    network = network.to(memory_format=torch.channels_last)  # a third less time on a processor
    return Backbone(network, WIDTHS[config.backbone], (IMAGENET_MEAN, IMAGENET_STD), frozen)


def _resnet(name: str, norm: Callable[[int], nn.Module]) -> nn.Module:
    if name == "small":
        return Small(norm)
    make = {"resnet18": resnet18, "resnet50": resnet50}[name]
    whole = make(weights=None, norm_layer=norm)
    parts = [(part, module) for part, module in whole.named_children() if part not in ("avgpool", "fc")]
    network = nn.Sequential()
    for part, module in parts:
        network.add_module(part, module)
    return network


def _nano(config: BackboneConfig, seed: int, *, empty: bool) -> Backbone:
    fresh = empty or config.weights == NONE
    model = new_model("nano", seed=seed) if fresh else load_model(file_of(config)[0])
    scale = (model.pixel_mean, model.pixel_std)
    return Backbone(Tokens(model.image_encoder), model.variant.dim, scale, frozen=False)


class GroupNorm(nn.GroupNorm):
    """On a processor torch's takes ten times as long in bf16 where the channels come last, as here."""

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or x.dtype != torch.bfloat16 or x.is_contiguous():
            return super().forward(x)
        return super().forward(x.contiguous()).contiguous(memory_format=torch.channels_last)


def _group_norm(channels: int) -> nn.GroupNorm:
    return GroupNorm(max(1, min(32, channels // GROUP_CHANNELS)), channels)
