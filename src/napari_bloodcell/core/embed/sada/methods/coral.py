"""CORAL (Sun and Saenko, 2016): vectors of all labs shall have one mean and one covariance."""

from torch import Tensor

from napari_bloodcell.core.embed.sada.losses import coral
from napari_bloodcell.core.embed.sada.methods.base import Method, dice_of


class Coral(Method):
    def forward(
        self,
        pixels: Tensor,
        labels: Tensor,
        labs: Tensor,
        luck: Tensor,
        stage: Tensor,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        vectors = self.net.vectors(self.seen(pixels, dice_of(luck)))
        return {
            "classes": self.classify(self.net.classifier(vectors), labels),
            "coral": self.config.coral_weight * coral(vectors, labs),
        }
