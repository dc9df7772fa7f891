"""ERM: plain training on all labs together, the line every method must beat."""

from torch import Tensor

from napari_bloodcell.core.embed.sada.methods.base import Method, dice_of


class Erm(Method):
    def forward(
        self,
        pixels: Tensor,
        labels: Tensor,
        labs: Tensor,  # noqa: ARG002
        luck: Tensor,
        stage: Tensor,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        return {"classes": self.classify(self.net(self.seen(pixels, dice_of(luck))), labels)}
