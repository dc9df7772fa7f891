"""From paths to embedded cells, and from those to figures and maps: what the command line calls."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.artifact import check_writable, write_json
from napari_bloodcell.core.cells import crops_of
from napari_bloodcell.core.config import FeatureConfig, JudgeConfig
from napari_bloodcell.core.datasets import CellImage, load_dataset
from napari_bloodcell.core.embed import Embedder
from napari_bloodcell.core.embed.aligned import AlignedEmbedder, Pool, align_labs
from napari_bloodcell.core.embed.choose import find_embedder
from napari_bloodcell.core.embed.collection import (
    SEGMENTER,
    EmbeddedCells,
    embed_dataset,
    embed_images,
)
from napari_bloodcell.core.embed.judge import Judgement, judge, to_json
from napari_bloodcell.core.embed.plane import require_umap, to_plane
from napari_bloodcell.core.embed.sam_model import open_sam
from napari_bloodcell.core.errors import DataError, ImageError
from napari_bloodcell.core.figure import save_figure
from napari_bloodcell.core.palette import colour_of
from napari_bloodcell.core.progress import Progress, silent, within
from napari_bloodcell.core.records import Masks
from napari_bloodcell.core.segment import SEGMENTERS
from napari_bloodcell.core.segment.choose import STAIN, find_segmenter
from napari_bloodcell.core.segment.edit import masks_of

PICTURES = (".png", ".pdf", ".svg")
POINTS = 9, 36  # least and largest area of a point of a map, in points squared


def embed_paths(
    paths: Sequence[Path],
    embedders: Sequence[str],
    *,
    labelled: bool = False,
    labels: Sequence[Path] = (),
    segmenter: str = STAIN,
    progress: Progress = silent,
) -> EmbeddedCells:
    """Labelled folders, or images; with ``labelled`` only cells whose class is known. ``labels``: a label
    image for each image, where the cells are outlined already. ``segmenter`` outlines the others: a
    classifier should learn from outlines like those of the bundle it goes into."""
    chosen: dict[str, Embedder] = {}
    for text in embedders:
        name = Path(text).name if Path(text).is_dir() else text
        chosen[name if name not in chosen else text] = find_embedder(text)
    images = [path for path in paths if path.is_file()]
    if images and (labelled or len(images) < len(paths)):
        told = "classes are known of labelled folders only" if labelled else "give images, or folders"
        raise DataError(f"{images[0]} is a file; {told}, not both.")
    if labels and len(labels) != len(images):
        raise DataError(f"{len(labels)} label images for {len(images)} images. Give one to each, in order.")
    if images:
        given = {image: read_masks(path) for image, path in zip(images, labels, strict=False)}
        finder = None if len(given) == len(images) else find_segmenter(segmenter)
        return embed_images(images, chosen, finder, given, progress=progress)
    cells: list[CellImage] = []
    for path in paths:
        dataset = load_dataset(path)
        cells += dataset.cells if labelled else (*dataset.cells, *dataset.unlabelled)
    return embed_dataset(cells, chosen, partial(find_segmenter, segmenter), progress=progress)


def align_paths(
    paths: Sequence[Path],
    out: Path,
    pool: Pool = "whole",
    sam: str = "nano",
    add_to: Path | None = None,
    *,
    progress: Progress = silent,
) -> AlignedEmbedder:
    """An embedder in which the labs of these folders lie over each other; with ``add_to`` they join one."""
    config = FeatureConfig()
    sets = [load_dataset(path) for path in paths]
    cells = [cell for one in sets for cell in (*one.cells, *one.unlabelled)]
    if add_to is not None:
        made = AlignedEmbedder.load(add_to)
        config = made.config
    labs: dict[str, list[CellImage]] = {}
    for cell in cells:
        labs.setdefault(cell.domain, []).append(cell)
    crops = [
        (lab, crops_of(own, SEGMENTERS[SEGMENTER], config.crop, progress=within(progress, lab)).crops)
        for lab, own in sorted(labs.items())
    ]
    if add_to is None:
        return align_labs(open_sam(sam), crops, pool, config, out, progress=progress)
    for lab, part in crops:
        made = made.with_lab(lab, part, progress=progress)
    out.mkdir(parents=True, exist_ok=True)
    made.save(out)
    return made


def read_masks(path: Path) -> Masks:
    """A label image, and its nuclei from the file beside it that is called ``nuclei`` for ``labels``."""
    beside = path.with_name(path.name.replace("labels", "nuclei"))
    nuclei = _read_labels(beside) > 0 if beside != path and beside.is_file() else None
    return masks_of(_read_labels(path), nuclei, segmenter="given")


def _read_labels(path: Path) -> NDArray[Any]:
    import tifffile
    from PIL import Image

    try:
        if path.suffix.lower() in (".tif", ".tiff"):
            return np.asarray(tifffile.imread(path))
        with Image.open(path) as image:
            return np.asarray(image)
    except (OSError, ValueError) as error:
        raise ImageError(f"{path} cannot be read as a label image: {error}. Give a TIFF or PNG.") from error


def judge_cells(
    cells: EmbeddedCells, config: JudgeConfig = JudgeConfig(), *, progress: Progress = silent
) -> list[Judgement]:
    labs, classes = cells.table["lab"].tolist(), cells.table["class"].tolist()
    return [
        judge(np.nan_to_num(values), labs, classes, config, name=name, progress=progress)
        for name, values in cells.vectors.items()
    ]


def write_judgement(
    path: Path,
    cells: EmbeddedCells,
    judgements: Sequence[Judgement],
    how: str = "pca",
    *,
    progress: Progress = silent,
) -> None:
    """The maps as a picture, and the figures beside it as JSON."""
    check_maps(path, how)
    draw_maps(path, cells, cast("Literal['pca', 'umap']", how), progress=progress)
    write_json(path.with_suffix(".json"), "judgement", {"embeddings": to_json(list(judgements))})


def check_maps(path: Path, how: str) -> None:
    """To be asked before long work: can maps of this kind be drawn, and written here?"""
    if how not in ("pca", "umap"):
        raise DataError(f"A map of kind {how!r} is not known. Choose pca or umap.")
    if how == "umap":
        require_umap()
    if path.suffix.lower() not in PICTURES:
        raise DataError(f"{path} ends in {path.suffix!r}; maps are written as {', '.join(PICTURES)}.")
    check_writable(path.parent)


def draw_maps(
    path: Path, cells: EmbeddedCells, how: Literal["pca", "umap"] = "pca", *, progress: Progress = silent
) -> None:
    """A row an embedding: on the left coloured by class, on the right by lab."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = max(1, len(cells.vectors))
    figure = Figure(figsize=(10, 4.6 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, 2, squeeze=False)
    for number, (name, values) in enumerate(cells.vectors.items()):
        plane = to_plane(values, how, progress=progress)
        for axes, column in zip(grid[number], ("class", "lab"), strict=True):
            _scatter(axes, plane.xy, cells.table[column].astype(str).tolist(), column)
            axes.set_title(f"{name}, by {column}")
            axes.set_xlabel(plane.axes[0])
            axes.set_ylabel(plane.axes[1])
    save_figure(path, figure, kind=path.suffix.lower().lstrip("."), dpi=110)


def _scatter(axes: Any, xy: Any, names: list[str], column: str) -> None:
    told = np.asarray(names, np.str_)
    size = min(POINTS[1], max(POINTS[0], 3_000 / max(1, len(xy))))  # few cells are easy to overlook
    for number, one in enumerate(sorted(set(names))):
        at = told == one
        colour = colour_of(one) if column == "class" else f"C{number}"
        axes.scatter(xy[at, 0], xy[at, 1], s=size, alpha=0.7, linewidths=0, color=colour, label=one)
    axes.legend(fontsize=8, markerscale=(POINTS[1] / size) ** 0.5, frameon=False)
    axes.set_xticks([])
    axes.set_yticks([])
