"""Mixup (Zhang et al., 2018; Yan et al., 2020, across labs): a mix of two cells is a bit of both classes."""

import numpy as np
import torch
from torch import Tensor

from napari_bloodcell.core.embed.sada.methods.base import Method, dice_of


class Mixup(Method):
    def forward(
        self,
        pixels: Tensor,
        labels: Tensor,
        labs: Tensor,  # noqa: ARG002
        luck: Tensor,
        stage: Tensor,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        dice = dice_of(luck)
        seen = self.seen(pixels, dice).float()
        other = torch.randperm(len(seen), generator=dice).to(seen.device)
        # torch draws from no beta distribution by a generator of one's own
        alpha = self.config.mixup_alpha
        share = float(np.random.default_rng(int(luck[0])).beta(alpha, alpha))
        logits = self.net(share * seen + (1 - share) * seen[other])
        mixed = share * self.classify(logits, labels) + (1 - share) * self.classify(logits, labels[other])
        return {"classes": mixed}
