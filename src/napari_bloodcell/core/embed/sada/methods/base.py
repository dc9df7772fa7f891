"""What all methods share: the network, the classifier's loss, and where chance comes from."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from napari_bloodcell.core.config import SadaConfig
from napari_bloodcell.core.embed.sada.losses import adjusted_cross_entropy
from napari_bloodcell.core.embed.sada.network import LabNet
from napari_bloodcell.core.embed.sada.views import one_view


class Method(nn.Module, ABC):
    """Bytes of cells -> the named terms of a loss."""

    log_shares: Tensor
    stages = 1

    def __init__(self, net: LabNet, config: SadaConfig, log_shares: Tensor) -> None:
        super().__init__()
        self.net, self.config = net, config
        self.register_buffer("log_shares", log_shares, persistent=False)

    @abstractmethod
    def forward(
        self, pixels: Tensor, labels: Tensor, labs: Tensor, luck: Tensor, stage: Tensor
    ) -> dict[str, Tensor]:
        """B x 3 x S x S bytes; class and lab of each; a random number and the stage, the same for all or the
        first one's counts."""

    def seen(self, pixels: Tensor, dice: torch.Generator) -> Tensor:
        return one_view(pixels, self.config, dice)

    def classify(self, logits: Tensor, labels: Tensor) -> Tensor:
        return adjusted_cross_entropy(logits, labels, self.log_shares, self.config.logit_adjustment)


def dice_of(luck: Tensor) -> torch.Generator:
    """A generator on the CPU: a batch is shown alike wherever it is computed."""
    return torch.Generator().manual_seed(int(luck[0]))
