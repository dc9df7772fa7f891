"""The computing half of napari-bloodcell: no Qt, no napari, usable on a cluster node."""
