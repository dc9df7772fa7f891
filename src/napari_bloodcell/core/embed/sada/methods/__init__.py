"""Ways to train on several labs, one file each. A new one is a ``Method`` in a file of its own and a line
here."""

from napari_bloodcell.core.embed.sada.methods.base import Method
from napari_bloodcell.core.embed.sada.methods.coral import Coral
from napari_bloodcell.core.embed.sada.methods.erm import Erm
from napari_bloodcell.core.embed.sada.methods.mixup import Mixup
from napari_bloodcell.core.embed.sada.methods.sada import Sada

METHODS: dict[str, type[Method]] = {"sada": Sada, "erm": Erm, "coral": Coral, "mixup": Mixup}

__all__ = ["METHODS", "Method"]
