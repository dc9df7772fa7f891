"""File > Open on what we wrote: ``session.json`` of a session, ``run.json`` of an analysed image.

Only to look at: corrections of a session are kept by the panel "Session".
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.core.class_list import ClassList
from napari_bloodcell.gui import layers
from napari_bloodcell.gui.samples import LayerData
from napari_bloodcell.gui.slide_layers import described, read_slide_layers

if TYPE_CHECKING:
    import pandas as pd

    from napari_bloodcell.core.records import SmearImage


def get_reader(path: str | list[str]) -> Callable[[Any], list[LayerData]] | None:
    """None for whatever is not ours: napari asks the next reader."""
    name = Path(path).name if isinstance(path, str) else ""
    if name == "session.json":
        return lambda file: read_session_layers(Path(file).parent)
    if name == "run.json":
        return lambda file: read_run_layers(Path(file).parent)
    return None


def read_session_layers(folder: Path) -> list[LayerData]:
    """Image, classes and cells of each image of a session, every correction included."""
    from napari_bloodcell.core.session import read_session
    from napari_bloodcell.gui.session_calls import said_in

    content, found = read_session(folder), []
    said = said_in(content.trail.events)
    for key in content.images:
        cells = content.cells(key)
        found.append(_image(content.image(key)))
        if cells is not None:
            classes = content.classes_of(key) or cells.made_from.get("classes")
            found += cells_data(
                cells.labels, cells.table, found[-1][1], ClassList.from_json(classes) if classes else None
            )
            _say_of_image(found[-1], cells.made_from.get("image", {}))
            found[-1][1]["metadata"][layers.KEY] |= said.get(key, {})
    return found


def read_run_layers(folder: Path) -> list[LayerData]:
    """The image, where it still lies where it was, and the cells found on it."""
    from napari_bloodcell.core.artifact import read_json

    header, record = read_json(folder / "run.json", "run")
    found = read_slide_layers(folder, record) if "slide" in record else _read_image_layers(folder, record)
    told = {"bundle": record.get("bundle"), "patient": _patient_of(folder)}
    found[-1][1]["metadata"][layers.KEY] |= {key: value for key, value in told.items() if value}
    if not header.config.get("read", {}).get("page"):  # pages of a file are pictures of their own
        _say_of_image(found[-1], record["image"] | {"of_file": True})
    return found


def _say_of_image(cells: LayerData, image: Mapping[str, Any]) -> None:
    """Which picture it is, so that cells that are open already are not counted twice."""
    known = {name: image[name] for name in ("sha256", "source", "of_file") if image.get(name)}
    cells[1]["metadata"][layers.KEY]["image"] |= known


def _read_image_layers(folder: Path, record: Mapping[str, Any]) -> list[LayerData]:
    import pandas as pd
    import tifffile

    from napari_bloodcell.core.image import read_image

    source, name = record["image"].get("source"), record["image"]["name"]
    found = [_image(read_image(source, name=name))] if source and Path(source).exists() else []
    table = pd.read_parquet(folder / "cells.parquet")
    labels = tifffile.imread(folder / "labels.ome.tif").astype(np.int32)
    um = record["image"].get("um_per_px")
    return found + cells_data(labels, table, {"name": name, **_placed(um)}, None)


def _patient_of(folder: Path) -> str:
    """Whose slide an analysed image is of, where its output folder says."""
    from napari_bloodcell.core.report.by_slide import slides_of
    from napari_bloodcell.core.report.patients import patients_of

    slide = slides_of(folder.parent).get(folder.name, "")
    return patients_of(folder.parent).get(slide, "")


def _image(image: "SmearImage") -> LayerData:
    return image.pixels.copy(), {"name": image.name, "rgb": True, **_placed(image.um_per_px)}, "image"


def _placed(um_per_px: float | None) -> dict[str, Any]:
    return {"scale": (um_per_px, um_per_px), "units": ("um", "um")} if um_per_px else {}


def cells_data(
    labels: Any, table: "pd.DataFrame", image: dict[str, Any], classes: ClassList | None
) -> list[LayerData]:
    features = layers.features_of(table)
    known = classes or ClassList.of(str(kind) for kind in features.get("cell_type", ()))
    rims, outlines = described(image["name"], features, known)
    placed = {name: image[name] for name in ("scale", "units", "translate") if name in image}
    painted = layers.painted(labels, layers.rims_of(labels), features, known)
    return [(painted, rims | placed, "labels"), (labels, outlines | placed, "labels")]
