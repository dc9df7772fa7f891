"""SADA: restained views of a cell shall look alike in every place, and be near their class whatever the lab.

First stage: contrast and local alignment. Second stage: the classifier.
"""

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from napari_bloodcell.core.config import SadaConfig
from napari_bloodcell.core.embed.sada.losses import local_alignment, proxy_contrast, supcon
from napari_bloodcell.core.embed.sada.methods.base import Method, dice_of
from napari_bloodcell.core.embed.sada.network import LabNet
from napari_bloodcell.core.embed.sada.views import views_of

OUT = 128  # of both projections


class Sada(Method):
    def __init__(self, net: LabNet, config: SadaConfig, log_shares: Tensor) -> None:
        super().__init__(net, config, log_shares)
        width = net.backbone.width
        self.stages = 2 if config.two_stages else 1
        self.projector = nn.Sequential(nn.Linear(width, width), nn.ReLU(inplace=True), nn.Linear(width, OUT))
        self.local = nn.Sequential(
            nn.Conv2d(width, width, 1), nn.ReLU(inplace=True), nn.Conv2d(width, OUT, 1)
        )

    def forward(
        self,
        pixels: Tensor,
        labels: Tensor,
        labs: Tensor,  # noqa: ARG002
        luck: Tensor,
        stage: Tensor,
    ) -> dict[str, Tensor]:
        dice = dice_of(luck)
        if self.stages == 2 and int(stage[0]) == 2:
            vectors = self.net.vectors(self.seen(pixels, dice))
            if self.config.freeze_backbone:
                vectors = vectors.detach()
            return {"classes": self.classify(self.net.classifier(vectors), labels)}
        views = views_of(pixels, self.config, dice)
        maps = self.net.backbone(views.flatten(0, 1))
        vectors = maps.mean((2, 3))
        terms = {"contrast": self._contrast(vectors, labels)}
        if self.config.alignment:
            places = self.local(maps)
            places = places.reshape(*views.shape[:2], *places.shape[1:])
            terms["alignment"] = self.config.alignment * local_alignment(places)
        if self.stages == 1:
            terms["classes"] = self.classify(self.net.classifier(vectors), labels.repeat(len(views)))
        return terms

    def _contrast(self, vectors: Tensor, labels: Tensor) -> Tensor:
        unit = F.normalize(self.projector(vectors).float(), dim=1).view(self.config.views, -1, OUT)
        compare = proxy_contrast if self.config.contrast == "proxy" else supcon
        return compare(unit, labels, self.config.temperature)
