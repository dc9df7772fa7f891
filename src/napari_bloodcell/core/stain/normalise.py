"""An image brought to the look of a reference: offered where it is asked for, never applied silently.

Reinhard et al. 2001 (mean and spread of each channel of CIE Lab), Macenko et al. 2009 (two stains by angles
in the plane of most density) and, after Vahadane et al. 2016, our own sparse separation. The first two were
made for tissue sections: on a smear they also move the ground where cells are few.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.config import TransferConfig
from napari_bloodcell.core.errors import ImageError
from napari_bloodcell.core.records import ByteArray
from napari_bloodcell.core.stain.profile import StainProfile, profiles_of
from napari_bloodcell.core.stain.tensors import as_batch, as_bytes

Method = Literal["reinhard", "macenko", "vahadane"]
METHODS: tuple[Method, ...] = ("reinhard", "macenko", "vahadane")

LIGHT = 240.0  # of the empty ground, as Macenko's code takes it
LEAST_DENSITY = 0.15  # of every channel, for a pixel to count as stained (Macenko)
ANGLE_PERCENT = 1.0
FEWEST = 16  # stained pixels


def normalise(image: Any, reference: Any, method: Method = "vahadane") -> ByteArray:
    """One H x W x 3 image in the look of ``reference``: an image, or for vahadane a profile."""
    if method not in METHODS:
        raise ImageError(f"Unknown normalisation {method!r}. Accepted: {', '.join(METHODS)}.")
    pixels = _bytes(image)
    if method == "vahadane":
        return _vahadane(pixels, reference)
    if isinstance(reference, StainProfile):
        raise ImageError(
            f"{method} needs a reference image; a stain profile was given. Use vahadane, or give an image."
        )
    target = _bytes(reference)
    return reinhard(pixels, target) if method == "reinhard" else macenko(pixels, target)


def reinhard(image: ByteArray, reference: ByteArray) -> ByteArray:
    from skimage.color import lab2rgb, rgb2lab

    lab, goal = rgb2lab(image), rgb2lab(reference)
    axes = (0, 1)
    spread = np.maximum(lab.std(axis=axes), 1e-6)
    moved = (lab - lab.mean(axis=axes)) / spread * goal.std(axis=axes) + goal.mean(axis=axes)
    import warnings

    with warnings.catch_warnings():  # colours no screen can show are clipped, as they must be
        warnings.simplefilter("ignore", UserWarning)
        return _to_bytes(lab2rgb(moved) * 255)


def macenko(image: ByteArray, reference: ByteArray) -> ByteArray:
    stains, strength = _macenko_stains(reference, "reference")
    own, own_strength = _macenko_stains(image, "image")
    density = _density(image)
    amounts = np.linalg.lstsq(own, density.T, rcond=None)[0]
    amounts *= (strength / np.maximum(own_strength, 1e-6))[:, None]
    return _to_bytes((LIGHT * np.exp(-(stains @ amounts))).T.reshape(image.shape))


def _vahadane(image: ByteArray, reference: Any) -> ByteArray:
    from napari_bloodcell.core.stain.transfer import transfer

    goal = reference if isinstance(reference, StainProfile) else profiles_of(_bytes(reference))[0]
    return np.asarray(transfer(image, goal, TransferConfig(contrast=1.0, residue=0.0)), np.uint8)


def _macenko_stains(image: ByteArray, what: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """3 x 2 stain vectors, the redder one first, and what 1 % of each stain's concentrations exceed."""
    density = _density(image)
    stained = density[(density >= LEAST_DENSITY).all(axis=1)]
    if len(stained) < FEWEST:
        raise ImageError(
            f"Macenko finds {len(stained)} stained pixels in the {what}; it needs {FEWEST} with a density of "
            f"{LEAST_DENSITY} in every channel. Use vahadane or reinhard, or an image with cells."
        )
    plane = np.linalg.eigh(np.cov(stained.T))[1][:, 1:]
    plane = plane * np.where(plane.sum(axis=0) < 0, -1, 1)
    angle = np.arctan2(*(stained @ plane).T[::-1])
    ends = np.percentile(angle, [ANGLE_PERCENT, 100 - ANGLE_PERCENT])
    stains = plane @ np.stack([np.cos(ends), np.sin(ends)])
    if stains[0, 0] <= stains[0, 1]:
        stains = stains[:, ::-1]
    amounts = np.linalg.lstsq(stains, density.T, rcond=None)[0]
    return stains, np.percentile(amounts, 99, axis=1)


def _density(image: ByteArray) -> NDArray[np.float64]:
    return -np.log((image.reshape(-1, 3).astype(np.float64) + 1) / LIGHT)


def _bytes(image: Any) -> ByteArray:
    array = np.asarray(image)
    batch, _ = as_batch(array)
    if len(batch) != 1 or array.ndim != 3:
        raise ImageError(
            f"Normalisation takes one H x W x 3 image; this has shape {array.shape}. Give them one by one."
        )
    pixels: ByteArray = as_bytes(batch)[0].movedim(0, -1).numpy()
    return pixels


def _to_bytes(values: NDArray[Any]) -> ByteArray:
    levels: ByteArray = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return levels
