"""A run of ``analyse``, or an image of a session -> its cells with their outlines, one at a time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.core.class_list import ClassList
from napari_bloodcell.core.errors import ArtifactError
from napari_bloodcell.core.export.polygons import Polygon, polygons
from napari_bloodcell.core.image import hash_file
from napari_bloodcell.core.records import PERSON, IntArray
from napari_bloodcell.core.report.sessions import full_table
from napari_bloodcell.core.report.slides import Run
from napari_bloodcell.core.session import SessionCells, read_session

if TYPE_CHECKING:
    import pandas as pd

LABELS, NUCLEI, SLIDE_LABELS = "labels.ome.tif", "nuclei.ome.tif", "labels.ome.zarr"
NOT_MEASURED = ("cell_id", "label", "x0", "y0", "x1", "y1", "um_per_px", "second_prob")


@dataclass(frozen=True, kw_only=True)
class OutlinedCell:
    number: int
    kind: str
    said_by: str  # the model, or the person
    box: tuple[int, int, int, int]  # x0, y0, x1, y1
    outline: list[Polygon]
    nucleus: list[Polygon]
    measured: Mapping[str, float]  # by the names of the columns of cells.csv


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelImages:
    """Cells and nuclei of one picture, read where they are asked for: those of a slide may not fit into
    memory. Each pixel has the number of its cell."""

    cells: Any  # H x W
    nuclei: Any
    colours: Mapping[str, str]  # of classes, where a person chose them

    @property
    def size(self) -> tuple[int, int]:
        height, width = self.cells.shape
        return int(width), int(height)

    def polygons_of(self, number: int, box: tuple[int, int, int, int]) -> tuple[list[Polygon], list[Polygon]]:
        x0, y0, x1, y1 = box
        cell = np.asarray(self.cells[y0:y1, x0:x1]) == number
        nucleus = cell & (np.asarray(self.nuclei[y0:y1, x0:x1]) == number)
        return polygons(cell, x0, y0), polygons(nucleus, x0, y0)


def label_images(run: Run) -> LabelImages:
    if run.key:
        content = read_session(run.folder)
        kept = content.cells(run.key)
        if kept is None:
            raise ArtifactError(f"{run.folder} has no cells of {run.image['name']} any more.")
        colours = ClassList.from_json(content.classes_of(run.key)).colours
        return LabelImages(cells=kept.labels, nuclei=np.where(kept.nucleus, kept.labels, 0), colours=colours)
    if "slide" in run.record:
        import zarr

        group = zarr.open_group(run.folder / SLIDE_LABELS, mode="r")
        return LabelImages(cells=group["labels/cells/0"], nuclei=group["labels/nuclei/0"], colours={})
    return LabelImages(cells=_field(run, LABELS), nuclei=_field(run, NUCLEI), colours={})


def _field(run: Run, name: str) -> Any:
    import tifffile

    path = run.folder / name
    if not path.is_file() or hash_file(path) != run.record["outputs"].get(name):
        raise ArtifactError(
            f"{path} is missing or was changed after the analysis. Analyse the image again; to "
            "correct outlines, use a session, and export that."
        )
    return tifffile.imread(path)


def outlined(images: LabelImages, table: "pd.DataFrame") -> Iterator[OutlinedCell]:
    """``table``: rows of cells of this picture."""
    numbers = [name for name in table if table[name].dtype.kind in "iuf" and name not in NOT_MEASURED]
    for row in table.to_dict("records"):
        box = (int(row["x0"]), int(row["y0"]), int(row["x1"]), int(row["y1"]))
        outline, nucleus = images.polygons_of(int(row["cell_id"]), box)
        source = str(row["cell_type_source"])
        told = {str(name): float(row[name]) for name in numbers}
        if source.startswith(PERSON):  # it is that of what the model said
            told.pop("cell_type_prob", None)
        yield OutlinedCell(
            number=int(row["cell_id"]),
            kind=str(row["cell_type"]),
            said_by=source,
            box=box,
            outline=outline,
            nucleus=nucleus,
            measured={name: value for name, value in told.items() if np.isfinite(value)},
        )


def cells_on(labels: IntArray, table: "pd.DataFrame | None") -> Iterator[OutlinedCell]:
    """Of a picture of labels and what is known of its cells, as a viewer holds them: without nuclei."""
    import pandas as pd

    if table is None:
        found = np.unique(labels)
        table = pd.DataFrame({"cell_id": found[found > 0]})
    texts = dict.fromkeys(table.select_dtypes("category"), object)
    table, nowhere = table.astype(texts), np.zeros(labels.shape, np.bool_)
    cells = SessionCells(labels=labels, nucleus=nowhere, table=table, made_from={})
    images = LabelImages(cells=labels, nuclei=np.zeros_like(labels), colours={})
    return outlined(images, full_table(cells, "", ""))
