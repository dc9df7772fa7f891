"""Labs side by side: profiles as points, distances between labs, cells of each lab in each other's stain."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_bloodcell.core.config import ClusterConfig, StainConfig, TransferConfig
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.figure import save_figure
from napari_bloodcell.core.image import find_images, read_image
from napari_bloodcell.core.progress import Progress, silent, within
from napari_bloodcell.core.records import ByteArray, FloatArray
from napari_bloodcell.core.stain.cluster import Clusters, cluster
from napari_bloodcell.core.stain.files import PROFILE_SUFFIX, measure_files
from napari_bloodcell.core.stain.profile import StainProfile, average, distances, load_profile
from napari_bloodcell.core.stain.transfer import transfer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's, told apart in all common kinds of colour blindness.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
STRIP_PX = 160
MOST_LABS_IN_STRIP = 6


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    labs: tuple[StainProfile, ...]  # mean of each
    images: tuple[tuple[StainProfile, ...], ...]  # of each lab
    between: FloatArray  # labs x labs
    groups: Clusters  # of all images, found without knowing their labs
    samples: tuple[ByteArray | None, ...]  # one image of each lab; None where only a profile was given

    def text(self) -> str:
        lines = ["distance between labs (images of one slide are some 2 to 5 apart)"]
        names = [lab.name for lab in self.labs]
        width = max(map(len, names))
        for i, name in enumerate(names):
            row = "  ".join(f"{value:6.1f}" for value in self.between[i])
            lines.append(f"  {name:<{width}}  {row}")
        lines.append(f"groups of stain found without the labs' names: {len(self.groups)}")
        start = 0
        for lab, own in zip(self.labs, self.images, strict=True):
            counts = np.bincount(self.groups.labels[start : start + len(own)], minlength=len(self.groups))
            start += len(own)
            shown = ", ".join(f"{n} in group {g + 1}" for g, n in enumerate(counts) if n)
            lines.append(f"  {lab.name:<{width}}  {shown}")
        return "\n".join(lines)


def compare(
    places: Sequence[Path],
    config: StainConfig = StainConfig(),
    groups: ClusterConfig = ClusterConfig(),
    *,
    progress: Progress = silent,
) -> Comparison:
    """Each place is a lab: a folder of images, an image, or a saved profile."""
    if len(places) < 2:
        raise DataError(
            f"Comparing takes at least two labs; {len(places)} was given. Name two folders or profiles."
        )
    names = _names(places)
    labs: list[StainProfile] = []
    images: list[tuple[StainProfile, ...]] = []
    samples: list[ByteArray | None] = []
    for place, name in zip(places, names, strict=True):
        if place.suffix.lower() == PROFILE_SUFFIX and place.is_file():
            profile = load_profile(place)
            labs.append(profile if profile.name else dataclasses.replace(profile, name=name))
            images.append((profile,))
            samples.append(None)
            continue
        found = measure_files([place], config, progress=within(progress, name))
        labs.append(average(found, name=name))
        images.append(tuple(found))
        samples.append(_typical_image(place, found, labs[-1]))
    everything = [profile for own in images for profile in own]
    return Comparison(
        labs=tuple(labs),
        images=tuple(images),
        between=distances(labs),
        groups=cluster(everything, groups),
        samples=tuple(samples),
    )


def draw_comparison(path: Path, comparison: Comparison, how: TransferConfig = TransferConfig()) -> None:
    """Left the images as points, right the distances, below each lab's typical image in every lab's stain."""
    from matplotlib.figure import Figure

    strip = _strip(comparison, how)
    height = 4.6 + (0.0 if strip is None else 11 * strip.shape[0] / strip.shape[1] + 0.5)
    figure = Figure(figsize=(11, height), dpi=110, layout="constrained")
    if strip is None:
        left, right = figure.subplots(1, 2, width_ratios=[1.3, 1])
    else:
        parts = figure.subplot_mosaic([["points", "matrix"], ["strip", "strip"]], width_ratios=[1.3, 1],
                                      height_ratios=[4.6, height - 4.6])  # fmt: skip
        left, right = parts["points"], parts["matrix"]
        parts["strip"].imshow(strip, interpolation="nearest")
        parts["strip"].set_axis_off()
        parts["strip"].set_title(
            "Each row: a typical image of one lab (outlined), and the same in the stain of each lab",
            fontsize=9,
        )
    _draw_points(left, comparison)
    _draw_matrix(right, comparison)
    save_figure(path, figure)


def _names(places: Sequence[Path]) -> list[str]:
    """The last part of each path, and as many parts before it as tell all apart."""
    parts = [place.resolve().with_suffix("").parts for place in places]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(one[-depth:]) for one in parts]
        if len(set(names)) == len(set(parts)):
            return names
    return [str(place) for place in places]


def flatten(points: FloatArray) -> FloatArray:
    """Points in the plane that shows most of their spread: N x 2."""
    centred = points - points.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    flat = centred @ axes[:2].T
    wide = np.zeros((len(points), 2), np.float32)
    wide[:, : flat.shape[1]] = flat
    return wide


def _draw_points(axes: "Axes", comparison: Comparison) -> None:
    everything = [p for own in comparison.images for p in own]
    flat = flatten(np.stack([p.vector() for p in everything]))
    start = 0
    for number, (lab, own) in enumerate(zip(comparison.labs, comparison.images, strict=True)):
        part = flat[start : start + len(own)]
        start += len(own)
        # Filled with the lab's own ground; the edge tells labs apart.
        ground = np.exp(-np.stack([p.background for p in own])).clip(0, 1)
        colour = COLOURS[number % len(COLOURS)]
        label = f"{lab.name} ({len(own)})"
        axes.scatter(part[:, 0], part[:, 1], s=26, c=ground, edgecolors=colour, linewidths=0.9, label=label)
        middle = (float(np.median(part[:, 0])), float(np.median(part[:, 1])))
        axes.annotate(lab.name, middle, fontsize=9, ha="center", color=colour, weight="bold")
    axes.set_title("Images by stain: nearer is more alike", fontsize=10)
    axes.set_xlabel("profile distance along the widest spread", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.set_aspect("equal", adjustable="datalim")
    axes.legend(fontsize=7, loc="best")


def _draw_matrix(axes: "Axes", comparison: Comparison) -> None:
    names = [lab.name for lab in comparison.labs]
    axes.imshow(comparison.between, cmap="viridis_r", vmin=0)
    dark = comparison.between > 0.6 * max(float(comparison.between.max()), 1e-6)
    for i in range(len(names)):
        for j in range(len(names)):
            colour = "white" if dark[i, j] else "black"
            axes.text(
                j, i, f"{comparison.between[i, j]:.1f}", ha="center", va="center", color=colour, fontsize=9
            )
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_title("Distance between labs", fontsize=10)


def _strip(comparison: Comparison, how: TransferConfig) -> ByteArray | None:
    shown = range(min(len(comparison.labs), MOST_LABS_IN_STRIP))
    rows = []
    for i in shown:
        sample = comparison.samples[i]
        if sample is None:
            continue
        tiles = []
        for j in shown:
            tile = sample if i == j else transfer(sample, comparison.labs[j], how)
            tiles.append(_framed(_shrunk(tile), "#000000" if i == j else "#FFFFFF"))
        rows.append(np.hstack(tiles))
    return np.vstack(rows) if rows else None


def _typical_image(place: Path, found: list[StainProfile], lab: StainProfile) -> ByteArray:
    """The image whose profile is nearest to its lab's mean."""
    gaps = [float(np.linalg.norm(p.vector() - lab.vector())) for p in found]
    pixels: ByteArray = read_image(find_images([place])[int(np.argmin(gaps))]).pixels
    return pixels


def _shrunk(pixels: ByteArray) -> ByteArray:
    """The middle of an image, as a square of STRIP_PX."""
    from PIL import Image

    side = min(pixels.shape[:2])
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    middle = Image.fromarray(np.ascontiguousarray(pixels[top : top + side, left : left + side]))
    return np.asarray(middle.resize((STRIP_PX, STRIP_PX), Image.Resampling.LANCZOS))


def _framed(tile: ByteArray, colour: str) -> ByteArray:
    from matplotlib.colors import to_rgb

    framed = np.empty((STRIP_PX + 8, STRIP_PX + 8, 3), np.uint8)
    framed[:] = np.round(255 * np.array(to_rgb(colour)))
    framed[4:-4, 4:-4] = tile
    return framed
