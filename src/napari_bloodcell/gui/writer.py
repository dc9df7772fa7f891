"""File > Save selected layers: Labels as a label image with its pixel size, their cells as a table.

``.ome.tif`` holds the numbers of the cells; a table of the same name lies beside it where the layer has one.
``.csv`` is the table alone, ``.geojson`` outlines and classes for QuPath. Several layers go into a folder,
each under its name.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.core.class_list import ClassList
from napari_bloodcell.core.errors import ImageError
from napari_bloodcell.gui import layers
from napari_bloodcell.gui.selection import MARKS

if TYPE_CHECKING:
    import pandas as pd

IMAGE, TABLE, GEOJSON = ".ome.tif", ".csv", ".geojson"
LayerData = tuple[Any, dict[str, Any], str]


def write_labels(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """One Labels layer: the image, and the table beside it."""
    from napari_bloodcell.core.image import write_labels_ome_tiff

    target = _named(Path(path), IMAGE)
    write_labels_ome_tiff(target, _plane(data, meta), um_per_px_of(meta))
    written = [str(target)]
    table = table_of(meta)
    if table is not None:
        beside = target.with_name(target.name[: -len(IMAGE)] + TABLE)
        written += _write_table(beside, table)
    return written


def write_table(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """The cells of one Labels layer; their numbers alone where nothing else is known of them."""
    import pandas as pd

    table = table_of(meta)
    if table is None:
        ids = np.unique(_plane(data, meta))
        table = pd.DataFrame({"cell_id": ids[ids > 0]})
        table.insert(0, "image", _image_name(meta))
    return _write_table(_named(Path(path), TABLE), table)


def save_geojson(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """The outlines of one Labels layer with their classes and measurements."""
    from napari_bloodcell.core.export import cells_on, write_geojson
    from napari_bloodcell.core.session.folder import KEY_LENGTH

    target, name = _named(Path(path), GEOJSON), _image_name(meta)
    ours = meta.get("metadata", {}).get(layers.KEY)
    classes = ours.get("classes", ()) if isinstance(ours, Mapping) else ()
    colours = ClassList.from_json(classes).colours
    sha256 = str(ours.get("image", {}).get("sha256", "")) if isinstance(ours, Mapping) else ""
    write_geojson(target, sha256[:KEY_LENGTH] or name, cells_on(_plane(data, meta), table_of(meta)), colours)
    return [str(target)]


def write_folder(path: str, layer_data: Sequence[LayerData]) -> list[str]:
    """Several Labels layers, each under its own name; not the rings of chosen cells, which are no result."""
    folder, written = Path(path), []
    folder.mkdir(parents=True, exist_ok=True)
    for data, meta, _ in layer_data:
        if role_of(meta) == MARKS:
            continue
        name = "".join(c if c.isalnum() or c in " ._-[]()" else "_" for c in str(meta.get("name", "labels")))
        written += write_labels(str(folder / f"{name}{IMAGE}"), data, meta)
    return written


def table_of(meta: Mapping[str, Any]) -> "pd.DataFrame | None":
    """The cells of a layer, with the columns that ``classify`` and ``report`` take; None without any."""
    import pandas as pd

    features = meta.get("features")
    if features is None or role_of(meta) == layers.CLASSES:
        return None
    table = pd.DataFrame(features)
    number = next((name for name in ("label", "index") if name in table), None)
    if number is None or not len(table):
        return None
    table = table.assign(cell_id=table[number]).drop(columns=["index", "label", "image"], errors="ignore")
    table.insert(0, "image", _image_name(meta))
    table.insert(1, "cell_id", table.pop("cell_id").astype(int))
    return table


def role_of(meta: Mapping[str, Any]) -> str:
    ours = meta.get("metadata", {}).get(layers.KEY)
    return str(ours.get("role", "")) if isinstance(ours, Mapping) else ""


def um_per_px_of(meta: Mapping[str, Any]) -> float | None:
    """From scale and units, where those are lengths and the pixels square."""
    ours = meta.get("metadata", {}).get(layers.KEY)
    known = ours.get("image", {}).get("um_per_px") if isinstance(ours, Mapping) else None
    if known:
        return float(known)
    sizes = []
    units, scale = meta.get("units"), meta.get("scale")
    for unit, size in zip(tuple(units or ())[-2:], () if scale is None else tuple(scale)[-2:], strict=False):
        if isinstance(unit, str) or not unit.is_compatible_with("micrometer"):
            return None
        sizes.append(float((1 * unit).to("micrometer").magnitude * abs(size)))
    return sizes[1] if len(sizes) == 2 and abs(sizes[0] - sizes[1]) <= 0.01 * sizes[1] else None


def _plane(data: Any, meta: Mapping[str, Any]) -> Any:
    finest = data[0] if isinstance(data, list | tuple) else data
    plane = np.asarray(finest)
    while plane.ndim > 2 and plane.shape[0] == 1:
        plane = plane[0]
    if plane.ndim != 2:
        raise ImageError(
            f"{meta.get('name', 'The layer')} holds {plane.shape[0]} planes; one is saved at a time. Split "
            "them first: right-click the layer, Split Stack."
        )
    return plane


def _image_name(meta: Mapping[str, Any]) -> str:
    ours = meta.get("metadata", {}).get(layers.KEY)
    made_on = ours.get("image", {}).get("layer") if isinstance(ours, Mapping) else None
    return str(made_on or meta.get("name", ""))


def _named(path: Path, suffix: str) -> Path:
    return path if path.name.lower().endswith(suffix) else path.with_name(path.name + suffix)


def _write_table(path: Path, table: "pd.DataFrame") -> list[str]:
    from napari_bloodcell.core.artifact import atomic_path
    from napari_bloodcell.core.rows import harmless_table

    with atomic_path(path) as temporary:
        harmless_table(table).to_csv(temporary, index=False, float_format="%.6g")
    return [str(path)]
