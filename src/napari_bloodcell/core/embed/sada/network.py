"""What methods train and models keep: a backbone, and a linear classifier on the mean of its map."""

import torch
from torch import Tensor, nn

from napari_bloodcell.core.embed.sada.backbones import Backbone
from napari_bloodcell.core.sam.model import fresh_numbers


class LabNet(nn.Module):
    def __init__(self, backbone: Backbone, classes: int, seed: int = 0) -> None:
        super().__init__()
        self.backbone = backbone
        with fresh_numbers(seed):
            self.classifier = nn.Linear(backbone.width, classes)

    def vectors(self, pixels: Tensor) -> Tensor:
        """B x 3 x S x S, 0..255 -> B x width."""
        maps: Tensor = self.backbone(pixels)
        return maps.float().mean((2, 3))

    def forward(self, pixels: Tensor) -> Tensor:
        """-> B x classes, logits."""
        logits: Tensor = self.classifier(self.vectors(pixels))
        return logits

    @property
    def device(self) -> torch.device:
        return self.classifier.weight.device
