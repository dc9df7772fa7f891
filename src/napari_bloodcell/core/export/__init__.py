"""Outlines and classes in the formats of other programs: GeoJSON as QuPath has it, COCO.

``files`` reads results and sessions and writes them; ``geojson`` and ``coco`` know one format each,
``polygons`` turns pixels into outlines.
"""

