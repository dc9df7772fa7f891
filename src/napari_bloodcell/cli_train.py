"""``napari-bloodcell train``: each method is one command. Like ``cli.py``, no logic of its own."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from napari_bloodcell.cli_defaults import plain, with_defaults
from napari_bloodcell.cli_notes import tell_of_sets
from napari_bloodcell.cli_progress import INTERRUPTED, STOPPED, progress_bar, stopped_by_ctrl_c
from napari_bloodcell.core.config import (
    ADAPTER_TRAINING,
    BCSAM_TRAINING,
    DORL_TRAINING,
    SADA_TRAINING,
    AdapterConfig,
    BackboneConfig,
    BcsamConfig,
    DorlConfig,
    LoraConfig,
    MaskTrainConfig,
    SadaConfig,
    TrainConfig,
    ViewConfig,
)
from napari_bloodcell.core.words import how_many

# What `bcsam` and `dorl` are told, and the help of each flag.
Labs = Annotated[Path, Parameter(help="A folder with the cells of two labs or more.")]
RunFolder = Annotated[Path, Parameter(help="Folder for the run and the embedder.")]
Sam = Annotated[str, Parameter(help="nano, a name that `models list` shows, or a checkpoint file.")]
AdapterFolder = Annotated[Path | None, Parameter(help="Folder of an adapter trained for that checkpoint.")]
TokenStore = Annotated[
    Path | None, Parameter(help="Where token maps are kept between trainings; by default in the cache.")
]

if TYPE_CHECKING:
    from napari_bloodcell.core.training import TrainingRun

    AdapterLoop = TrainConfig
    BcsamLoop = TrainConfig
    DorlLoop = TrainConfig
    SadaLoop = TrainConfig
else:
    AdapterLoop, BcsamLoop, DorlLoop, SadaLoop = map(
        with_defaults, (ADAPTER_TRAINING, BCSAM_TRAINING, DORL_TRAINING, SADA_TRAINING)
    )

train_app = App(
    name="train",
    help="Train a method on folders of cells. Run the same command again to go on where it stopped.",
)


@train_app.command
def adapter(  # noqa: PLR0913
    data: list[Path],
    /,
    *,
    out: Path,
    sam: str = "nano",
    masks: Annotated[MaskTrainConfig, Parameter(name="*")] = MaskTrainConfig(),
    views: Annotated[ViewConfig, Parameter(name="views")] = ViewConfig(),
    lora: Annotated[LoraConfig, Parameter(name="lora", consume_multiple=True)] = LoraConfig(),
    loop: Annotated[AdapterLoop, Parameter(name="loop")] = AdapterLoop(),
) -> int:
    """Teach a Segment Anything model your cells: LoRA and mask decoder, from pictures with masks.

    A folder is a data set with masks, or holds images/ and masks/ (and nuclei/) of the same names. Writes
    the adapter, report.json and report.png (held-out cells before and after).

    Parameters
    ----------
    data: list[Path]
        Folders of pictures with masks.
    out: Path
        Folder for the adapter, the run and the report.
    sam: str
        nano, a name that `models list` shows, or a checkpoint file.
    """
    from napari_bloodcell.core.finetune import train_adapter

    config = AdapterConfig(masks=masks, views=views, lora=lora)
    with progress_bar() as bar, stopped_by_ctrl_c(bar) as progress:
        done = train_adapter(data, sam, out, config, plain(loop), progress=progress)
    print(done.text())
    print(out)
    return _code(done.training)


@train_app.command
def bcsam(  # noqa: PLR0913
    data: Labs,
    /,
    *,
    out: RunFolder,
    sam: Sam = "nano",
    adapter: AdapterFolder = None,
    store: TokenStore = None,
    config: Annotated[BcsamConfig, Parameter(name="*")] = BcsamConfig(),
    loop: Annotated[BcsamLoop, Parameter(name="loop")] = BcsamLoop(),
) -> int:
    """Train the autoencoder of BC-SAM: an embedding that several labs share. Classes are not used."""
    return _train(data, out, sam, adapter, store, (config, plain(loop)))


@train_app.command
def dorl(  # noqa: PLR0913
    data: Labs,
    /,
    *,
    out: RunFolder,
    sam: Sam = "nano",
    adapter: AdapterFolder = None,
    store: TokenStore = None,
    config: Annotated[DorlConfig, Parameter(name="*")] = DorlConfig(),
    loop: Annotated[DorlLoop, Parameter(name="loop")] = DorlLoop(),
) -> int:
    """Train the masked autoencoder of DoRL: an embedding that several labs share. Classes are not used."""
    return _train(data, out, sam, adapter, store, (config, plain(loop)))


@train_app.command
def sada(
    data: Path,
    *,
    out: Path,
    leave_out: str | None = None,
    config: Annotated[SadaConfig, Parameter(name="*")] = SadaConfig(),
    backbone: Annotated[BackboneConfig, Parameter(name="*")] = BackboneConfig(),
    loop: Annotated[SadaLoop, Parameter(name="loop")] = SadaLoop(),
) -> int:
    """Train an encoder with its classifier on labelled cells of several labs, for a lab not among them.

    Writes a bundle for `analyse --bundle OUT/bundle`. The published settings want a GPU and the weights of
    `models fetch resnet50`; a laptop trains --backbone small --weights none --size-px 64 --per-lab 8.

    Parameters
    ----------
    data: Path
        A folder with the labelled cells of several labs.
    out: Path
        Folder for the run and the bundle.
    leave_out: str
        A lab to learn nothing from; the result is scored on it. Without it, every lab is trained on.
    """
    from napari_bloodcell.core.bundle.of_labs import save_labs
    from napari_bloodcell.core.datasets import load_dataset
    from napari_bloodcell.core.embed.sada.fit import train_labs

    cells = load_dataset(data)
    tell_of_sets([cells])
    with progress_bar() as bar, stopped_by_ctrl_c(bar) as progress:
        done = train_labs(
            cells, out, config, backbone=backbone, training=plain(loop), leave=leave_out, progress=progress
        )
    save_labs(out / "bundle", done)
    print(done.text())
    print(out / "bundle")
    return _code(done.run)


def _train(
    data: Path,
    out: Path,
    sam: str,
    adapter: Path | None,
    store: Path | None,
    settings: tuple[BcsamConfig | DorlConfig, TrainConfig],
) -> int:
    from napari_bloodcell.core.datasets import load_dataset
    from napari_bloodcell.core.embed.sam_model import open_sam
    from napari_bloodcell.core.embed.trained import train_embedder

    config, loop = settings
    cells = load_dataset(data)
    tell_of_sets([cells])
    with progress_bar() as bar, stopped_by_ctrl_c(bar) as progress:
        run, embedder = train_embedder(
            cells, open_sam(sam, adapter), out, config, loop, store=store, progress=progress
        )
    told = embedder.training
    labs = ", ".join(f"{lab} {count}" for lab, count in told["labs"].items())
    print(f"{embedder.kind}, {told['protocol']}: {labs} cells; {told['held_out']} held out")
    print(f"{run.ended} after {how_many(len(run.history), 'epoch')}, best {run.best_epoch}")
    print("  ".join(f"{name} {value:.4f}" for name, value in run.figures.items()))
    for note in told["notes"]:
        print(note)
    print(out)
    return _code(run)


def _code(run: "TrainingRun") -> int:
    """Of a run that Ctrl-C ended, with what was best so far written."""
    if run.ended == "stopped":
        print(STOPPED, file=sys.stderr)
        return INTERRUPTED
    return 0
