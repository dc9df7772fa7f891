"""The whole flow, and the only place that chains steps:

``image -> Masks -> Crops -> Embeddings -> Predictions -> Differential``
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from napari_bloodcell.core.bundle import Bundle, load_bundle
from napari_bloodcell.core.config import AnalyseConfig, CropConfig
from napari_bloodcell.core.crop import crop
from napari_bloodcell.core.embed.measurements import MeasurementEmbedder, measure
from napari_bloodcell.core.errors import ConfigError
from napari_bloodcell.core.image import read_image
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import (
    BoolArray,
    Crops,
    Embeddings,
    FloatArray,
    IntArray,
    Masks,
    Measurements,
    Predictions,
    SmearImage,
)
from napari_bloodcell.core.report import Differential, count
from napari_bloodcell.core.report.differential import to_text
from napari_bloodcell.core.segment import Segmenter, StainSegmenter
from napari_bloodcell.core.segment.choose import shipped_segmenter
from napari_bloodcell.core.words import how_many

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Analysis:
    """Everything one image gave, and what it was made with."""

    image: SmearImage
    masks: Masks
    measurements: Measurements
    embeddings: Embeddings
    predictions: Predictions
    differential: Differential
    bundle: Bundle
    config: AnalyseConfig

    def __repr__(self) -> str:
        """Short, for a notebook: the arrays fill pages, and say less."""
        made = f"{how_many(len(self.masks), 'white cell')}, bundle {self.bundle.name}"
        return f"<Analysis of {self.image.name}: {made}>\n{to_text(self.differential)}"

    def table(self) -> "pd.DataFrame":
        return table_of(self.image, self.masks, self.bundle, self.measurements, self.predictions)


class Named(Protocol):
    """Where cells were found: a ``SmearImage`` or a ``LazyImage``."""

    @property
    def name(self) -> str: ...

    @property
    def source(self) -> str | None: ...


class Places(Protocol):
    """Where cells are: ``Masks``, or the same of a piece of a slide."""

    @property
    def cell_id(self) -> IntArray: ...

    @property
    def boxes_xyxy(self) -> IntArray: ...

    @property
    def touches_border(self) -> BoolArray: ...

    @property
    def um_per_px(self) -> float | None: ...

    @property
    def scale_source(self) -> str: ...


def table_of(
    image: Named, places: Places, bundle: Bundle, measurements: Measurements, predictions: Predictions
) -> "pd.DataFrame":
    """One row a cell: place, class, doubt, measurements."""
    import pandas as pd

    boxes = places.boxes_xyxy
    table = pd.DataFrame(
        {
            "image": image.name,
            "source": image.source or "",
            "cell_id": places.cell_id,
            **predictions.columns(f"bundle {bundle.name} {bundle.hash[:12]}"),
            "x0": boxes[:, 0],
            "y0": boxes[:, 1],
            "x1": boxes[:, 2],
            "y1": boxes[:, 3],
            "touches_border": places.touches_border,
            "um_per_px": float("nan") if places.um_per_px is None else places.um_per_px,
            "scale_source": places.scale_source,
        }
    )
    measured = pd.DataFrame(measurements.values, columns=list(measurements.names))
    return pd.concat([table, measured], axis=1)


def analyse(
    image: "str | Path | ArrayLike | SmearImage",
    bundle: "str | Path | Bundle" = "nano",
    config: AnalyseConfig = AnalyseConfig(),
    *,
    outlined: Callable[[SmearImage, Masks], None] | None = None,
    progress: Progress = silent,
) -> Analysis:
    """One smear image to a counted differential. ``image`` is a path or an array; it is never changed.
    ``outlined`` is called as soon as the outlines are there: who cancels after that may keep them."""
    check_config(config)
    model = load_bundle(bundle)
    smear = read_image(image, config.read)
    masks = segmenter_of(model, config).segment(smear, config.segment, progress=progress)
    if outlined is not None:
        outlined(smear, masks)
    return classify_masks(smear, masks, model, config, progress=progress)


def check_config(config: object) -> None:
    """A dict is easily given, and would fail far from here."""
    if not isinstance(config, AnalyseConfig):
        raise ConfigError(
            f"config is a {type(config).__name__}: give AnalyseConfig(...), or AnalyseConfig.from_json(...) "
            "of a dict."
        )


def segmenter_of(bundle: Bundle, config: AnalyseConfig) -> Segmenter:
    if config.segmenter == "bundle":
        return bundle.segmenter
    return StainSegmenter() if config.segmenter == "stain" else shipped_segmenter()


def classify_masks(
    smear: SmearImage, masks: Masks, bundle: Bundle, config: AnalyseConfig, *, progress: Progress = silent
) -> Analysis:
    """The second half, for outlines that are there already: found by us, drawn or corrected by a person."""
    cut = cut_cells(smear, masks, bundle, config, progress=progress)
    measurements, embeddings, predictions = describe(*cut, bundle, config, progress=progress)
    counted = ~masks.touches_border | config.count.count_border
    return Analysis(
        image=smear,
        masks=masks,
        measurements=measurements,
        embeddings=embeddings,
        predictions=predictions,
        differential=count(
            list(predictions.labels[counted]), config.count, known=bundle.classifier.class_names
        ),
        bundle=bundle,
        config=config,
    )


def together(analyses: Sequence[Analysis]) -> Differential:
    """The cells of several images as one differential, as a folder of images is counted: made with one bundle
    and one config."""
    first = analyses[0]
    labels = [
        label
        for one in analyses
        for label in one.predictions.labels[~one.masks.touches_border | one.config.count.count_border]
    ]
    return count(labels, first.config.count, known=first.bundle.classifier.class_names)


def cut_cells(
    smear: SmearImage,
    masks: Masks,
    bundle: Bundle,
    config: AnalyseConfig,
    *,
    light: FloatArray | None = None,
    progress: Progress = silent,
) -> tuple[Crops, Crops]:
    """Crops to measure, and those the embedder asks for. ``light``: of the ground, for a piece of a slide."""
    crops = crop(smear, masks, config.crop, light=light, progress=progress)
    wanted = wanted_crops(bundle)
    if wanted in (None, config.crop):
        return crops, crops
    return crops, crop(smear, masks, wanted, light=light, progress=progress)


def wanted_crops(bundle: Bundle) -> CropConfig | None:
    """An embedder may ask for crops of its own."""
    wanted: CropConfig | None = getattr(bundle.embedder, "crop", None)
    return wanted


def describe(
    crops: Crops, own: Crops, bundle: Bundle, config: AnalyseConfig, *, progress: Progress = silent
) -> tuple[Measurements, Embeddings, Predictions]:
    measurements = measure(crops, progress=progress)
    if own is crops and isinstance(bundle.embedder, MeasurementEmbedder):
        embeddings = bundle.embedder.from_table(measurements)  # nothing is measured twice
    else:
        embeddings = bundle.embedder.embed(own, progress=progress)
    return measurements, embeddings, bundle.classifier.predict(embeddings, config.classify)


def versions() -> dict[str, Any]:
    """What computed: for the run record."""
    import platform
    from importlib.metadata import version

    names = ("napari-bloodcell", "numpy", "scipy", "scikit-image", "scikit-learn")
    return {"python": platform.python_version(), "machine": platform.platform()} | {
        n: version(n) for n in names
    }
