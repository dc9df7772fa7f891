"""The methods of the train panel with their settings, and what a training is asked to do."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_bloodcell.core.config import (
    ADAPTER_TRAINING,
    BCSAM_TRAINING,
    DORL_TRAINING,
    SADA_TRAINING,
    AdapterConfig,
    BackboneConfig,
    BcsamConfig,
    Config,
    DorlConfig,
    SadaConfig,
    TrainConfig,
)
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.gui.outlines import Outlined

ADAPTER, BCSAM, DORL, SADA = "adapter", "bcsam", "dorl", "sada"
LOOP = "training"  # the name of the loop's settings among the others


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method as the panel offers it. ``configs``: its settings by name, with their defaults."""

    key: str
    text: str
    help: str
    configs: Mapping[str, Config]
    takes_sam: bool = True
    takes_adapter: bool = False
    laptop: Mapping[str, Config] | None = None  # settings for a machine without a GPU


def _embedding(key: str, name: str, what: str, config: Config, loop: TrainConfig) -> Method:
    return Method(
        key=key,
        text=f"Embedding: {name}",
        help=f"{what} that brings labs together. It takes a folder with the cells of two labs or more; "
        "classes are not used.",
        configs={key: config, LOOP: loop},
        takes_adapter=True,
    )


METHODS = {
    one.key: one
    for one in (
        Method(
            key=ADAPTER,
            text="Outlines: LoRA adapter",
            help="Teaches the segmenter your cells, from masks: folders with images/ and masks/, or outlines "
            "you corrected here. All outlines of a ticked layer count as right, the model's own too: tick "
            "fields you have gone through.",
            configs={"adapter": AdapterConfig(), LOOP: ADAPTER_TRAINING},
        ),
        _embedding(BCSAM, "BC-SAM", "An autoencoder", BcsamConfig(), BCSAM_TRAINING),
        _embedding(DORL, "DoRL", "A masked autoencoder", DorlConfig(), DORL_TRAINING),
        Method(
            key=SADA,
            text="Classifier: SADA",
            help="An encoder with its classifier, for labs it has not seen. It takes a folder with the "
            "labelled cells of several labs.",
            configs={"sada": SadaConfig(), "backbone": BackboneConfig(), LOOP: SADA_TRAINING},
            takes_sam=False,
            laptop={
                "sada": SadaConfig(per_lab=8, steps_per_epoch=50),
                "backbone": BackboneConfig(backbone="small", weights="none", size_px=64),
                LOOP: SADA_TRAINING,
            },
        ),
    )
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Wanted:
    """All of a training, taken on the main thread; safe to hand to a thread."""

    method: Method
    data: tuple[Path | Outlined, ...]
    out: Path
    configs: Mapping[str, Config]
    sam: str = "nano"
    adapter: Path | None = None
    leave_out: str = ""

    @property
    def loop(self) -> TrainConfig:
        loop = self.configs[LOOP]
        assert isinstance(loop, TrainConfig)
        return loop

    def config(self, name: str) -> Any:
        return self.configs[name]

    @property
    def run_folder(self) -> Path:
        """Where the loop keeps its files."""
        return self.out / "run" if self.method.key == ADAPTER else self.out

    def folder(self) -> Path:
        """The one folder of cells that all methods but the adapter take."""
        if len(self.data) != 1 or not isinstance(self.data[0], Path):
            raise DataError(
                f"{self.method.text} takes one folder with the cells of all labs. Ticked: {len(self.data)}."
            )
        return self.data[0]
