"""Fine-tuning a segmenter: from data sets, from any folder of pictures and masks, from labels in napari.

=============  =============================================================
``pictures``   what is on disk or in layers -> cells, train and held out
``memory``     what a training will take, measured on one cell before it starts
``adapter``    ``train_adapter``: the one call of the command and scripts; the panel takes its two halves
``packing``    the adapter as a model for ``analyse``, in one file
``report``     scores before and after, their spread, pictures
=============  =============================================================
"""

from napari_bloodcell.core.finetune.adapter import (
    AdapterRun,
    Ready,
    ready_adapter,
    train_adapter,
    train_ready,
)
from napari_bloodcell.core.finetune.pictures import Picture, from_labels, read_cells, read_pictures

__all__ = [
    "AdapterRun",
    "Picture",
    "Ready",
    "from_labels",
    "read_cells",
    "read_pictures",
    "ready_adapter",
    "train_adapter",
    "train_ready",
]
