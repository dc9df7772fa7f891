"""Fine-tuning a segmenter: from data sets, from any folder of pictures and masks, from labels in napari.

=============  =============================================================
``pictures``   what is on disk or in layers -> cells, train and held out
``memory``     what a training will take, measured on one cell before it starts
``adapter``    ``train_adapter``: the one call of the command, the panel and scripts
``report``     scores before and after, their spread, pictures
=============  =============================================================
"""

from napari_bloodcell.core.finetune.adapter import AdapterRun, train_adapter
from napari_bloodcell.core.finetune.pictures import Picture, from_labels, read_cells, read_pictures

__all__ = ["AdapterRun", "Picture", "from_labels", "read_cells", "read_pictures", "train_adapter"]
