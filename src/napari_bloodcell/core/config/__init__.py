"""Every knob of every step, written once.

A frozen, keyword-only dataclass for each step, in one file for each subject. The same class makes the flags
of the command line (cyclopts reads it), the form in napari (``gui/form.py``) and the JSON stored beside each
result. ``Knob`` holds label and bounds; the string below a field is its help, in the terminal and as tooltip.
"""

from napari_bloodcell.core.config.analyse import (
    AnalyseConfig,
    ClassifyConfig,
    CountConfig,
    CropConfig,
    OutlineConfig,
    ReadConfig,
    SegmentConfig,
)
from napari_bloodcell.core.config.base import Config, Knob, knobs_of, types_of
from napari_bloodcell.core.config.classify import AdaptConfig, ClassifierConfig, ClassifierKind, SuggestConfig
from napari_bloodcell.core.config.embed import (
    BCSAM_TRAINING,
    DORL_TRAINING,
    AlignConfig,
    BcsamConfig,
    DorlConfig,
    FeatureConfig,
    JudgeConfig,
    TargetConfig,
)
from napari_bloodcell.core.config.engine import EngineConfig
from napari_bloodcell.core.config.evaluate import EvaluateConfig
from napari_bloodcell.core.config.masks import (
    ADAPTER_TRAINING,
    PUBLISHED_ADAPTER_TRAINING,
    AdapterConfig,
    MaskTrainConfig,
    ViewConfig,
)
from napari_bloodcell.core.config.sada import SADA_TRAINING, BackboneConfig, SadaConfig
from napari_bloodcell.core.config.sam import LoraConfig, SamConfig
from napari_bloodcell.core.config.slide import SlideConfig
from napari_bloodcell.core.config.smear import SmearConfig, SmearLook
from napari_bloodcell.core.config.stain import ClusterConfig, StainAugmentConfig, StainConfig, TransferConfig
from napari_bloodcell.core.config.train import TrainConfig

__all__ = [
    "ADAPTER_TRAINING",
    "BCSAM_TRAINING",
    "DORL_TRAINING",
    "PUBLISHED_ADAPTER_TRAINING",
    "SADA_TRAINING",
    "AdaptConfig",
    "AdapterConfig",
    "AlignConfig",
    "AnalyseConfig",
    "BackboneConfig",
    "BcsamConfig",
    "ClassifierConfig",
    "ClassifierKind",
    "ClassifyConfig",
    "ClusterConfig",
    "Config",
    "CountConfig",
    "CropConfig",
    "DorlConfig",
    "EngineConfig",
    "EvaluateConfig",
    "FeatureConfig",
    "JudgeConfig",
    "Knob",
    "LoraConfig",
    "MaskTrainConfig",
    "OutlineConfig",
    "ReadConfig",
    "SadaConfig",
    "SamConfig",
    "SegmentConfig",
    "SlideConfig",
    "SmearConfig",
    "SmearLook",
    "StainAugmentConfig",
    "StainConfig",
    "SuggestConfig",
    "TargetConfig",
    "TrainConfig",
    "TransferConfig",
    "ViewConfig",
    "knobs_of",
    "types_of",
]
