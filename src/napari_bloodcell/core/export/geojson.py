"""GeoJSON as QuPath reads it: a feature a cell, with its nucleus, class, colour and measurements.

Coordinates are pixels of the whole picture, from its upper left corner, y pointing down.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from napari_bloodcell.core.artifact import atomic_path
from napari_bloodcell.core.export.cells import OutlinedCell
from napari_bloodcell.core.export.polygons import Polygon
from napari_bloodcell.core.palette import colour_of


def write_geojson(
    path: Path, picture: str, cells: Iterable[OutlinedCell], colours: Mapping[str, str] | None = None
) -> int:
    """Returns how many cells. ``picture`` names it for good (its hash): the same cell gets the same id
    again. Written as they come, for a slide may have many."""
    count = 0
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for one in features(picture, cells, colours or {}):
            file.write(("," if count else "") + "\n" + json.dumps(one, ensure_ascii=False))
            count += 1
        file.write("\n]}\n")
    return count


def features(
    picture: str, cells: Iterable[OutlinedCell], colours: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    for cell in cells:
        if not cell.outline:
            continue
        feature = {
            "type": "Feature",
            "id": str(uuid5(NAMESPACE_URL, f"{picture}#{cell.number}")),
            "geometry": _geometry(cell.outline),
            "properties": {
                "objectType": "cell",
                "name": str(cell.number),
                "classification": {
                    "name": cell.kind,
                    "color": _rgb(colours.get(cell.kind) or colour_of(cell.kind)),
                },
                "measurements": {name: float(f"{value:.6g}") for name, value in cell.measured.items()},
                "metadata": {"cell_id": str(cell.number), "cell_type_source": cell.said_by},
            },
        }
        if cell.nucleus:
            feature["nucleusGeometry"] = _geometry(cell.nucleus)
        yield feature


def _geometry(pieces: list[Polygon]) -> dict[str, Any]:
    closed = [[[*map(list, ring), list(ring[0])] for ring in piece] for piece in pieces]
    if len(closed) == 1:
        return {"type": "Polygon", "coordinates": closed[0]}
    return {"type": "MultiPolygon", "coordinates": closed}


def _rgb(colour: str) -> list[int]:
    return list(bytes.fromhex(colour.removeprefix("#")[:6]))
