"""What a lab's stain looks like, in a dozen numbers: a profile can be shared where an image cannot.

Distances are in units of what profiles of one lab differ by: the colour of the ground is measured to a third
of what a stain's direction is, and strength changes with every cell.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.artifact import read_json, write_json
from napari_bloodcell.core.config import StainConfig
from napari_bloodcell.core.errors import ArtifactError, BloodcellError, DataError
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import FloatArray, freeze

KIND = "stain-profile"
BACKGROUND_UNIT, DICTIONARY_UNIT, LOG_SCALE_UNIT = 0.03, 0.09, 0.36
FAINTEST_SCALE = 0.05  # a stain weaker than this is as good as absent


@dataclass(frozen=True, kw_only=True, eq=False)
class StainProfile:
    """Of an image, a slide or a lab. Densities are natural-log, of red, green and blue."""

    dictionary: FloatArray  # 3 x K, unit columns, nuclear stain first
    background: FloatArray  # 3, density of the empty ground
    scale: FloatArray  # K, what 1 % of concentrations exceed
    pixels: int = 0  # measured
    images: int = 1
    name: str = ""
    flag: str = ""  # why the stains are typical and not measured; empty where they are measured

    def __post_init__(self) -> None:
        freeze(self, "dictionary", np.float32, (3, None))
        freeze(self, "background", np.float32, (3,))
        freeze(self, "scale", np.float32, (self.dictionary.shape[1],))

    @property
    def stains(self) -> int:
        return int(self.dictionary.shape[1])

    def vector(self) -> FloatArray:
        """The profile as one point; Euclidean distance between points is ``distance``."""
        point: FloatArray = points_of(self.dictionary[None], self.background[None], self.scale[None])[0]
        return point

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dictionary": np.round(self.dictionary.astype(float), 6).tolist(),
            "background": np.round(self.background.astype(float), 6).tolist(),
            "scale": np.round(self.scale.astype(float), 6).tolist(),
            "pixels": self.pixels,
            "images": self.images,
            "flag": self.flag,
        }

    def save(self, path: Path) -> str:
        return write_json(path, KIND, self.to_json())


def points_of(dictionary: FloatArray, background: FloatArray, scale: FloatArray) -> FloatArray:
    """Many profiles as points: N x 3 x K, N x 3, N x K to N x (4 K + 3). The order of the stains plays no
    part: which one is nuclear is a judgement, and two images judged apart need not differ in stain."""
    dictionary, scale = by_colour(dictionary, scale)
    directions = dictionary.swapaxes(1, 2).reshape(len(dictionary), -1)
    strength = np.log(scale + FAINTEST_SCALE)
    parts = (background / BACKGROUND_UNIT, directions / DICTIONARY_UNIT, strength / LOG_SCALE_UNIT)
    return np.concatenate(parts, axis=1).astype(np.float32)


def by_colour(dictionary: FloatArray, scale: FloatArray) -> tuple[FloatArray, FloatArray]:
    """N x 3 x K and N x K with the stains in the order of their colour: how those of several images are laid
    beside each other."""
    order = colour_order(dictionary)
    return (
        np.take_along_axis(dictionary, order[:, None], 2),
        np.take_along_axis(scale, order, 1),
    )


def colour_order(dictionary: FloatArray) -> NDArray[np.intp]:
    """N x K: the stain that takes most red light first."""
    return np.argsort(-(dictionary[:, 0] - 1e-3 * dictionary[:, 2]), axis=1, kind="stable")


def load_profile(path: Path) -> StainProfile:
    _, body = read_json(path, KIND)
    return profile_from_json(path, body)


def profiles_of(
    images: Any,
    config: StainConfig = StainConfig(),
    *,
    mask: Any = None,
    names: Sequence[str] = (),
    progress: Progress = silent,
) -> list[StainProfile]:
    """One profile for each image of a batch (or of one image, or of a list of images of any sizes)."""
    from napari_bloodcell.core.stain.separate import measure

    groups = images if isinstance(images, list | tuple) else [images]
    found: list[StainProfile] = []
    for number, group in enumerate(groups):
        progress("Measuring stains", number, len(groups))
        measured = measure(group, config, mask=mask)
        for i in range(len(measured)):
            found.append(
                StainProfile(
                    dictionary=measured.dictionary[i].cpu().numpy(),
                    background=measured.background[i].cpu().numpy(),
                    scale=measured.scale[i].cpu().numpy(),
                    pixels=measured.pixels[i],
                    name=names[len(found)] if len(found) < len(names) else "",
                    flag=measured.flags[i],
                )
            )
    return found


def average(profiles: Sequence[StainProfile], name: str = "") -> StainProfile:
    """The mean profile of a slide or a lab. Images that show no stain count for the ground only where no
    other image is there. Which stain is nuclear is what most images say."""
    if not profiles:
        raise DataError("The mean of no profiles was asked for. Give at least one image or profile.")
    check_same_stains(profiles)
    measured = [p for p in profiles if not p.flag] or list(profiles)
    weights = np.array([p.images for p in measured], np.float64)
    all_stains = np.stack([p.dictionary for p in measured])
    stains, scales = by_colour(all_stains, np.stack([p.scale for p in measured]))
    dictionary = np.average(stains, axis=0, weights=weights)
    order = np.argsort(np.average(colour_order(all_stains), axis=0, weights=weights), kind="stable")
    return StainProfile(
        dictionary=(dictionary / np.linalg.norm(dictionary, axis=0))[:, order],
        background=np.average([p.background for p in measured], axis=0, weights=weights),
        scale=np.exp(np.average(np.log(scales), axis=0, weights=weights))[order],
        pixels=sum(p.pixels for p in profiles),
        images=sum(p.images for p in profiles),
        name=name,
        flag="" if any(not p.flag for p in profiles) else profiles[0].flag,
    )


def distance(one: StainProfile, other: StainProfile) -> float:
    """0 is the same stain; two images of one slide are about 2 to 5 apart, two labs 10 and more."""
    check_same_stains([one, other])
    return float(np.linalg.norm(one.vector() - other.vector()))


def distances(profiles: Sequence[StainProfile]) -> FloatArray:
    """N x N."""
    check_same_stains(profiles)
    points = np.stack([p.vector() for p in profiles])
    return np.asarray(np.linalg.norm(points[:, None] - points[None], axis=2), np.float32)


def check_same_stains(profiles: Sequence[StainProfile]) -> None:
    counts = sorted({p.stains for p in profiles})
    if len(counts) > 1:
        raise DataError(
            f"Profiles of {counts[0]} and of {counts[-1]} stains cannot be compared. "
            "Measure all of them with the same number of stains (--stains)."
        )


def profile_from_json(path: Path, body: Mapping[str, Any]) -> StainProfile:
    """What ``to_json`` gave; ``path`` is the file it is from."""
    try:
        profile = StainProfile(
            dictionary=np.array(body["dictionary"], np.float32),
            background=np.array(body["background"], np.float32),
            scale=np.array(body["scale"], np.float32),
            pixels=int(body["pixels"]),
            images=int(body["images"]),
            name=str(body["name"]),
            flag=str(body["flag"]),
        )
    except (KeyError, TypeError, ValueError, BloodcellError) as error:
        raise ArtifactError(
            f"{path} is no complete stain profile ({type(error).__name__}: {error}). Measure it again."
        ) from error
    if profile.stains not in (2, 3):
        raise ArtifactError(f"{path} holds {profile.stains} stains; a profile has 2 or 3. Measure it again.")
    values = np.concatenate([profile.dictionary.ravel(), profile.background, profile.scale])
    if not np.isfinite(values).all() or (profile.dictionary < 0).any() or (profile.scale <= 0).any():
        raise ArtifactError(f"{path} holds numbers no stain can have. Measure it again.")
    return profile
