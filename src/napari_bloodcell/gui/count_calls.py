"""What the count panel has done in its task: images to counted cells, and their export."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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
    from napari_bloodcell.core.records import Masks, SmearImage
    from napari_bloodcell.core.report import Differential
    from napari_bloodcell.core.report.pixel_sizes import Sizes

Analyse = Callable[[layers.Picture, str, AnalyseConfig, Progress], "tuple[Analysis, pd.DataFrame]"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Field:
    """One image that was counted."""

    picture: layers.Picture
    analysis: "Analysis"
    table: "pd.DataFrame"
    rims: Any


@dataclass(frozen=True, kw_only=True, eq=False)
class OnlyOutlined:
    """One image whose cells were found when Cancel was pressed, and not yet named."""

    picture: layers.Picture
    image: "SmearImage"
    masks: "Masks"
    config: AnalyseConfig


@dataclass(frozen=True, kw_only=True, eq=False)
class Counted:
    fields: Sequence[Field]
    pooled: "Differential | None"  # None where none was finished
    refused: Sequence[str] = ()  # images that could not be counted, each with the reason
    outlined: OnlyOutlined | None = None


@dataclass(kw_only=True, eq=False)
class Finished:
    """What a count has so far: written in its thread, asked by the panel when Cancel is pressed."""

    fields: list[Field] = field(default_factory=list)
    found: "tuple[SmearImage, Masks] | None" = None  # of the image in hand

    def begin(self) -> None:
        self.fields, self.found = [], None

    def outlined(self, image: "SmearImage", masks: "Masks") -> None:
        self.found = image, masks

    def is_any(self) -> bool:
        return bool(self.fields) or self.found is not None


def count_cells(
    outlined: "Callable[[SmearImage, Masks], None]",
    picture: layers.Picture,
    bundle: str,
    config: AnalyseConfig,
    progress: Progress,
) -> "tuple[Analysis, pd.DataFrame]":
    """The core call, in the task."""
    from napari_bloodcell.core.pipeline import analyse

    progress("Reading the image", 0, 0)
    image = picture.read(config.read)
    analysis = analyse(image, bundle, config, outlined=outlined, progress=progress)
    table = analysis.table()
    layers.warm_up()
    return analysis, table


def count_fields(
    pictures: Sequence[layers.Picture],
    analyse: Analyse,
    bundle: str,
    config: AnalyseConfig,
    finished: Finished,
    progress: Progress,
) -> Counted | Partial:
    """Each image by itself, and all together. Cancelled in the middle, those that were finished are kept, and
    the outlines of the one in hand; one that is refused does not keep the others from being counted."""
    from napari_bloodcell.core.pipeline import together

    finished.begin()
    done = finished.fields
    refused: list[str] = []
    for number, picture in enumerate(pictures):
        stage = f"{picture.name} ({number + 1} of {len(pictures)})"
        try:
            analysis, table = analyse(
                picture, bundle, config, within(progress, stage) if len(pictures) > 1 else progress
            )
        except Cancelled:
            if not finished.is_any():
                raise
            return Partial(_kept(finished, picture, config))
        except BloodcellError as error:
            if len(pictures) == 1:
                raise
            refused.append(f"{picture.name} was not counted: {error}")
            continue
        rims = layers.rims_of(analysis.masks.labels)
        finished.found = None
        done.append(Field(picture=picture, analysis=analysis, table=table, rims=rims))
    if not done:
        raise BloodcellError(" ".join(refused))
    return Counted(fields=done, pooled=together([one.analysis for one in done]), refused=refused)


def _kept(finished: Finished, picture: layers.Picture, config: AnalyseConfig) -> Counted:
    """Of a count that was cancelled while this image was in hand."""
    from napari_bloodcell.core.pipeline import together

    outlined = None
    if finished.found is not None:
        image, masks = finished.found
        outlined = OnlyOutlined(picture=picture, image=image, masks=masks, config=config)
        layers.warm_up()
    fields = finished.fields
    pooled = together([one.analysis for one in fields]) if fields else None
    return Counted(fields=fields, pooled=pooled, outlined=outlined)


def sizes_of(fields: Sequence[Field]) -> "Sizes | None":
    """What is to be told of pixel sizes that were guessed image by image."""
    from napari_bloodcell.core.report.pixel_sizes import SizeOf, sizes_of

    counted = [one.analysis.masks for one in fields if len(one.analysis.masks)]
    return sizes_of(
        [
            SizeOf(shape_px=one.labels.shape, um_per_px=one.um_per_px, source=one.scale_source)
            for one in counted
        ]
    )


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
    assert counted.pooled is not None  # nothing counted: there is nothing to press
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
