"""Cells as they might have looked elsewhere: another stain, another focus, a little noise, another outline.

Measurements hang on all of these, and three labs show too few of them. The classifier that ships is trained on
such copies beside the cells themselves.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_bloodcell.core.records import Crops

MIXING = 0.12  # how far a channel's density leaks into the others
GAMMA, STRENGTH = 0.15, 0.25  # spread, in logarithms, of the densities' curve and scale
BLURS = (0.0, 0.0, 0.6, 1.0, 1.5)  # pixels of the crop
NOISY, GRAIN = 0.3, 3.0  # share of noisy copies, and grey levels of their noise
MOST_MOVED = 2  # pixels by which the outline of a cell moves; of a nucleus half of that
ROUNDED = 0.5  # share of copies whose nucleus loses its finest notches
LEAST_NUCLEUS = 10  # pixels, below which a nucleus is left as it was


def worn(crops: Crops, dice: np.random.Generator) -> Crops:
    """The same cells in other pictures; ids, sizes and scales stay."""
    pixels, parts = np.empty_like(crops.pixels), np.empty_like(crops.parts)
    grounds = np.broadcast_to(np.asarray(crops.ground_rgb, np.float32), (len(crops), 3))
    for i in range(len(crops)):
        pixels[i] = restained(crops.pixels[i], grounds[i], dice)
        parts[i] = redrawn(crops.parts[i], dice)
    return replace(crops, pixels=pixels, parts=parts)


def restained(
    pixels: NDArray[np.uint8], ground: NDArray[np.float32], dice: np.random.Generator
) -> NDArray[np.uint8]:
    """Densities mixed, bent and scaled, then out of focus, then grainy."""
    light = np.maximum(ground, 8)
    density = np.log(light / np.maximum(pixels.astype(np.float32), 2))
    density = density @ (np.eye(3) + MIXING * dice.standard_normal((3, 3))).T
    curve, strength = np.exp(dice.standard_normal(2) * (GAMMA, STRENGTH))
    picture = np.clip(ground * np.exp(-np.sign(density) * np.abs(density) ** curve * strength), 0, 255)
    blur = float(dice.choice(BLURS))
    if blur:
        picture = ndi.gaussian_filter(picture, (blur, blur, 0))
    if dice.random() < NOISY:
        picture = np.clip(picture + dice.normal(0, GRAIN, picture.shape), 0, 255)
    return np.asarray(picture, np.uint8)


def redrawn(parts: NDArray[np.uint8], dice: np.random.Generator) -> NDArray[np.uint8]:
    """The outlines a little further out or in, the nucleus sometimes rounder."""
    cell = moved(parts > 0, int(dice.integers(-MOST_MOVED, MOST_MOVED + 1)))
    nucleus = moved(parts == 2, int(dice.integers(-MOST_MOVED // 2, MOST_MOVED // 2 + 1)))
    if dice.random() < ROUNDED:
        nucleus = ndi.gaussian_filter(nucleus.astype(np.float32), dice.uniform(0.5, 2)) > 0.5
    if nucleus.sum() < LEAST_NUCLEUS:
        nucleus = parts == 2
    return np.where(nucleus, 2, np.where(cell, 1, 0)).astype(np.uint8)


def moved(mask: NDArray[np.bool_], steps: int) -> NDArray[np.bool_]:
    if steps == 0:
        return mask
    change = ndi.binary_dilation if steps > 0 else ndi.binary_erosion
    return np.asarray(change(mask, iterations=abs(steps)), np.bool_)
