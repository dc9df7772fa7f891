"""Stains: density and light, separation, profiles, transfer, augmentation, normalisation.

Importing this room costs nothing and loads no torch: what is named here is numpy and look-up tables, which
the outlines and measurements use. The rest is imported from its own module.

===============  ===============================================================================
``density``      RGB to optical density (base 10) against the light of the ground, and back
``tensors``      images as tensors, natural-log density, what is refused and how it is said
``separate``     images to stains: sparse NMF, exact, fused or fast
``profile``      what a lab's stain looks like: record, file, average, distance
``cluster``      profiles to groups
``transfer``     images to another profile; the views a training run asks for
``normalise``    Reinhard, Macenko and Vahadane to a reference
===============  ===============================================================================
"""

from napari_bloodcell.core.stain.density import (
    DARKEST,
    DIMMEST_LIGHT,
    density_table,
    ground_light,
    mixed_density,
    to_density,
    to_rgb,
)

__all__ = [
    "DARKEST",
    "DIMMEST_LIGHT",
    "density_table",
    "ground_light",
    "mixed_density",
    "to_density",
    "to_rgb",
]
