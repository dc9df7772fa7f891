"""What the count panel has done in its task: images to counted cells, and their export."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_bloodcell.core.config import AnalyseConfig
from napari_bloodcell.core.errors import BloodcellError, Cancelled
from napari_bloodcell.core.progress import Progress, within
from napari_bloodcell.gui import layers
from napari_bloodcell.gui.differential_calls import folder_names
from napari_bloodcell.gui.task import Partial

if TYPE_CHECKING:
    import pandas as pd

    from napari_bloodcell.core.pipeline import Analysis
    from napari_bloodcell.core.report import Differential

Analyse = Callable[[layers.Picture, str, AnalyseConfig, Progress], "tuple[Analysis, pd.DataFrame]"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Field:
    """One image that was counted."""

    picture: layers.Picture
    analysis: "Analysis"
    table: "pd.DataFrame"
    rims: Any


@dataclass(frozen=True, kw_only=True, eq=False)
class Counted:
    fields: Sequence[Field]
    pooled: "Differential"
    refused: Sequence[str] = ()  # images that could not be counted, each with the reason


def count_cells(
    picture: layers.Picture, bundle: str, config: AnalyseConfig, progress: Progress
) -> "tuple[Analysis, pd.DataFrame]":
    """The core call, in the task."""
    from napari_bloodcell.core.pipeline import analyse

    progress("Reading the image", 0, 0)
    analysis = analyse(picture.read(config.read), bundle, config, progress=progress)
    table = analysis.table()
    layers.warm_up()
    return analysis, table


def count_fields(
    pictures: Sequence[layers.Picture],
    analyse: Analyse,
    bundle: str,
    config: AnalyseConfig,
    progress: Progress,
) -> Counted | Partial:
    """Each image by itself, and all together. Cancelled in the middle, those that were finished are kept; one
    that is refused does not keep the others from being counted."""
    from napari_bloodcell.core.pipeline import together

    done: list[Field] = []
    refused: list[str] = []
    for number, picture in enumerate(pictures):
        stage = f"{picture.name} ({number + 1} of {len(pictures)})"
        try:
            analysis, table = analyse(
                picture, bundle, config, within(progress, stage) if len(pictures) > 1 else progress
            )
        except Cancelled:
            if not done:
                raise
            return Partial(Counted(fields=done, pooled=together([one.analysis for one in done])))
        except BloodcellError as error:
            if len(pictures) == 1:
                raise
            refused.append(f"{picture.name} was not counted: {error}")
            continue
        rims = layers.rims_of(analysis.masks.labels)
        done.append(Field(picture=picture, analysis=analysis, table=table, rims=rims))
    if not done:
        raise BloodcellError(" ".join(refused))
    return Counted(fields=done, pooled=together([one.analysis for one in done]), refused=refused)


def prepare(progress: Progress) -> list[str]:
    """Load what counting needs, while the person looks at the image; gives the models that ship."""
    from napari_bloodcell.core.bundle import shipped
    from napari_bloodcell.core.pipeline import analyse  # noqa: F401

    progress("Loading", 0, 0)
    layers.warm_up()
    return shipped()


def export(folder: Path, counted: Counted, progress: Progress) -> Path:
    """Into a new folder, named after the image where there is one: nothing is overwritten."""
    from napari_bloodcell.core.report import write_differential
    from napari_bloodcell.core.store import write_analysis

    analyses = [one.analysis for one in counted.fields]
    progress("Writing", 0, 0)
    if len(analyses) == 1:
        target = new_folder(folder, Path(analyses[0].image.name).stem)
        write_analysis(target, analyses[0])
        return target
    target = new_folder(folder, f"{len(analyses)} images")
    names = folder_names([Path(one.image.name).stem for one in analyses])
    for number, (name, analysis) in enumerate(zip(names, analyses, strict=True)):
        progress("Writing", number, len(analyses))
        write_analysis(target / name, analysis)
    bundle = analyses[0].bundle
    title = f"{len(analyses)} images, bundle {bundle.name}"
    write_differential(target, counted.pooled, title=title, parents={"bundle": bundle.hash})
    return target


def new_folder(parent: Path, name: str) -> Path:
    from napari_bloodcell.core.artifact import check_writable

    plain = "".join(c if c.isalnum() or c in "-_. " else "_" for c in name).strip(" .") or "image"
    number, target = 1, parent / f"{plain}-count"
    while target.exists():
        number += 1
        target = parent / f"{plain}-count-{number}"
    check_writable(target)
    return target
