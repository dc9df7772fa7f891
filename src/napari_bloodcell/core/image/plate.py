"""Plates in OME-Zarr (NGFF layout for high content screening): PLATE/ROW/COLUMN/FIELD, each field an image.

Fields are called after their place, ``plate_A1_0``: a hundred images named ``0`` cannot be told apart.
"""

import json
from pathlib import Path
from typing import Any

from napari_bloodcell.core.errors import ImageError


def name_of(path: Path) -> str:
    """The file's own name; of a field in a plate plate, well and field."""
    well = well_of(path)
    return f"{well}_{path.name}" if well else path.name


def well_of(path: Path) -> str:
    """``plate_A1`` for a field of a plate; empty for any other image."""
    well = path.absolute().parent
    if not path.is_dir() or "well" not in _told(well):
        return ""
    row, plate = well.parent, well.parent.parent
    return f"{plate.name.split('.')[0]}_{row.name}{well.name}"


def fields_in(path: Path) -> list[Path] | None:
    """The fields of a plate or of one of its wells, in the order it names them; None for any other folder.

    A well that is not there stands for itself: reading it fails, and it alone.
    """
    told = _told(path)
    if "plate" in told:
        wells = [path / place for place in _paths(told["plate"], "wells", path)]
        return [field for well in wells for field in fields_in(well) or [well]]
    if "well" in told:
        return [path / place for place in _paths(told["well"], "images", path)]
    return None


def _told(folder: Path) -> dict[str, Any]:
    """What a zarr group says of itself: formats 3 and 2; under "ome" from NGFF 0.5 on."""
    for name, key in (("zarr.json", "attributes"), (".zattrs", "")):
        try:
            held = json.loads((folder / name).read_text(encoding="utf-8"))
            attributes = held.get(key, {}) if key else held
            return dict(attributes.get("ome", attributes))
        except (OSError, ValueError, AttributeError, TypeError):  # none, or broken: reading it will say so
            continue
    return {}


def _paths(told: Any, key: str, folder: Path) -> list[str]:
    """The places a plate names, which must lie inside it."""
    try:
        places = [str(one["path"]) for one in told[key]]
    except (KeyError, TypeError) as error:
        raise ImageError(
            f"'{folder}' is a plate or well that does not list its {key}. Write it again, or give one field."
        ) from error
    if not places:
        raise ImageError(f"'{folder}' is a plate or well that names no {key}: nothing was acquired in it.")
    for place in places:
        if {"", ".", ".."} & set(place.rstrip("/").split("/")):
            raise ImageError(f"'{folder}' names {place!r}, which is not a path inside it. Write it again.")
    return places
