"""Outlines and classes in the formats of other programs: GeoJSON as QuPath has it, COCO.

``files`` reads results and sessions and writes them; ``geojson`` and ``coco`` know one format each, ``cells``
gives what they write, ``polygons`` turns pixels into outlines.
"""

from napari_bloodcell.core.export.cells import cells_on
from napari_bloodcell.core.export.files import Exported, export_cells
from napari_bloodcell.core.export.geojson import write_geojson

__all__ = ["Exported", "cells_on", "export_cells", "write_geojson"]
