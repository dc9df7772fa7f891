"""What a morphologist would measure: size, shape of the nucleus, colour and texture of its parts.

``measure`` gives the table shown beside every prediction. ``MeasurementEmbedder`` uses those columns that
know neither the camera's magnification nor the strength of the stain: ratios, shapes, contrasts.
``DetailEmbedder`` adds those of ``details``, which tell more where outlines are generous.
"""

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.artifact import hash_of
from napari_bloodcell.core.embed.details import DETAILS, details_of
from napari_bloodcell.core.embed.shapes import (
    circularity,
    depth_of,
    inner,
    lobes,
    moments,
    pieces,
    solidity,
)
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import Crops, Embeddings, Measurements
from napari_bloodcell.core.stain import to_density

VERSION = 1  # raise it whenever a number changes: classifiers trained on the old ones then refuse the new
FIELD_PX = 96  # shapes are smoothed at a fixed fraction of the crop, so sizes below are in 1/96 of it
REPORT_EVERY = 32
SHOWN = 0.9  # of a cell's area must lie in its crop for its length to be told

SIZES = (
    "area_px",
    "area_um2",
    "diameter_um",
    "nucleus_area_um2",
    "nucleus_diameter_um",
    "cytoplasm_area_um2",
    "cell_length_um",
    "cell_width_um",
    "cell_perimeter_um",
)
SHAPES = (
    "nc_ratio",
    "cell_circularity",
    "cell_elongation",
    "nucleus_solidity",
    "nucleus_elongation",
    "nucleus_circularity",
    "nucleus_thickness",
    "nucleus_offset",
    "nucleus_pieces",
    "lobes",
)
DENSITIES = tuple(
    f"{part}_density_{c}" for part in ("nucleus", "cytoplasm") for c in ("red", "green", "blue")
)
TEXTURES = (
    "cytoplasm_to_nucleus_red",
    "cytoplasm_to_nucleus_green",
    "cytoplasm_to_nucleus_blue",
    "nucleus_hue",
    "cytoplasm_hue",
    "hue_contrast",
    "chromatin_fine",
    "chromatin_coarse",
    "granularity_fine",
    "granularity_coarse",
    "granule_hue_spread",
    "dark_granules",
    "cytoplasm_pale",
    "cytoplasm_dense",
)
COLUMNS = SIZES + SHAPES + DENSITIES + TEXTURES + DETAILS
SCALE_FREE = SHAPES + TEXTURES
# The core's pieces and thickness take the place of those of the outline.
DETAILED = (*(name for name in SCALE_FREE if name not in ("nucleus_pieces", "lobes")), *DETAILS)

FloatMap = NDArray[np.float32]


class MeasurementEmbedder:
    """The scale-free measurements as a vector."""

    kind: ClassVar[str] = "measurements"
    names: ClassVar[tuple[str, ...]] = SCALE_FREE

    @property
    def hash(self) -> str:
        return hash_of({"embedder": self.kind, "version": VERSION, "columns": list(self.names)})

    def save(self, folder: Path) -> list[str]:  # noqa: ARG002 (nothing to keep: it is all code)
        return []

    @classmethod
    def load(cls, folder: Path) -> Self:  # noqa: ARG003
        return cls()

    def embed(self, crops: Crops, *, progress: Progress = silent) -> Embeddings:
        return self.from_table(measure(crops, progress=progress))

    def from_table(self, table: Measurements) -> Embeddings:
        """The same vectors from measurements already made."""
        columns = [table.names.index(name) for name in self.names]
        return Embeddings(
            cell_id=table.cell_id, values=table.values[:, columns], names=self.names, embedder=self.hash
        )


class DetailEmbedder(MeasurementEmbedder):
    """With the cytoplasm's colour and the gaps between lobes."""

    kind: ClassVar[str] = "details"
    names: ClassVar[tuple[str, ...]] = DETAILED


# Their vectors can be read from any table that ``measure`` made.
OF_TABLES: tuple[type[MeasurementEmbedder], ...] = (MeasurementEmbedder, DetailEmbedder)


def measure(crops: Crops, *, progress: Progress = silent) -> Measurements:
    """The full table, one row a cell. Sizes in µm are NaN where the pixel size is unknown."""
    values = np.zeros((len(crops), len(COLUMNS)), np.float32)
    um_per_px = np.asarray(crops.um_per_px, np.float32)
    for i in range(len(crops)):
        if i % REPORT_EVERY == 0:
            progress("Measuring cells", i, len(crops))
        cell, nucleus = crops.parts[i] > 0, crops.parts[i] == 2
        row = _sizes(int(crops.area_px[i]), int(crops.nucleus_area_px[i]), float(um_per_px[i]))
        row |= _lengths(cell, float(crops.px_per_crop_px[i]), int(crops.area_px[i]), float(um_per_px[i]))
        row |= _shapes(cell, nucleus)
        density = np.maximum(to_density(crops.pixels[i], crops.ground_rgb[i]), 0)
        row |= _stains(density, cell & ~nucleus, nucleus)
        row |= details_of(density, cell, nucleus, cell.shape[0] / FIELD_PX)
        values[i] = [row[name] for name in COLUMNS]
    return Measurements(cell_id=crops.cell_id, values=values, names=COLUMNS)


def _sizes(area_px: int, nucleus_px: int, um_per_px: float) -> dict[str, float]:
    um2 = um_per_px**2
    return {
        "area_px": area_px,
        "area_um2": area_px * um2,
        "diameter_um": float(np.sqrt(4 * area_px * um2 / np.pi)),
        "nucleus_area_um2": nucleus_px * um2,
        "nucleus_diameter_um": float(np.sqrt(4 * nucleus_px * um2 / np.pi)),
        "cytoplasm_area_um2": (area_px - nucleus_px) * um2,
    }


def _lengths(cell: NDArray[np.bool_], step: float, area_px: int, um_per_px: float) -> dict[str, float]:
    """Of the ellipse with the cell's moments, and its outline; not of a cell the crop shows in part only."""
    from skimage.measure import perimeter_crofton, regionprops

    names = ("cell_length_um", "cell_width_um", "cell_perimeter_um")
    um = step * um_per_px
    whole = cell.any() and cell.sum() * step**2 > SHOWN * area_px
    if not whole or np.isnan(um):
        return dict.fromkeys(names, float("nan"))
    shape = regionprops(cell.astype(np.uint8))[0]
    lengths = (shape.axis_major_length, shape.axis_minor_length, perimeter_crofton(cell, 4))
    return {name: float(length * um) for name, length in zip(names, lengths, strict=True)}


def _shapes(cell: NDArray[np.bool_], nucleus: NDArray[np.bool_]) -> dict[str, float]:
    unit = cell.shape[0] / FIELD_PX
    cell_radius = np.sqrt(max(int(cell.sum()), 1) / np.pi)
    nucleus_radius = np.sqrt(max(int(nucleus.sum()), 1) / np.pi)
    cell_centre, cell_elongation = moments(cell)
    nucleus_centre, nucleus_elongation = moments(nucleus)
    depth = depth_of(nucleus)
    return {
        "nc_ratio": nucleus.sum() / max(int(cell.sum()), 1),
        "cell_circularity": circularity(cell),
        "cell_elongation": cell_elongation,
        "nucleus_solidity": solidity(nucleus),
        "nucleus_elongation": nucleus_elongation,
        "nucleus_circularity": circularity(nucleus),
        "nucleus_thickness": float(depth.max() / nucleus_radius) if nucleus.any() else 0.0,
        "nucleus_offset": float(np.hypot(*(nucleus_centre - cell_centre)) / cell_radius),
        "nucleus_pieces": pieces(nucleus),
        "lobes": lobes(depth, unit),
    }


def _stains(density: FloatMap, cytoplasm: NDArray[np.bool_], nucleus: NDArray[np.bool_]) -> dict[str, float]:
    """Colour and texture of both parts, relative to the nucleus's own density."""
    nuclear = density[nucleus].mean(axis=0) if nucleus.any() else np.zeros(3, np.float32)
    pale = density[cytoplasm].mean(axis=0) if cytoplasm.any() else nuclear
    total = float(nuclear.sum()) + 1e-3
    grey = density.sum(axis=2)
    hue = (density[..., 2] - density[..., 0]) / (
        grey + 0.15
    )  # blue-absorbing (orange, eosin) against red-absorbing
    row: dict[str, float] = dict(zip(DENSITIES, map(float, [*nuclear, *pale]), strict=True))
    for channel, ratio in zip(("red", "green", "blue"), pale / (nuclear + 0.05), strict=True):
        row[f"cytoplasm_to_nucleus_{channel}"] = float(ratio)
    unit = density.shape[0] / FIELD_PX
    fine, coarse = _bands(grey, unit)
    plasm, chromatin = inner(cytoplasm, unit), inner(nucleus, unit)
    inside = grey[plasm] / total if plasm.any() else np.ones(1, np.float32)
    low, high = np.quantile(inside, (0.1, 0.9))
    row |= {
        "nucleus_hue": _mean(hue, nucleus),
        "cytoplasm_hue": _mean(hue, cytoplasm),
        "hue_contrast": _mean(hue, cytoplasm) - _mean(hue, nucleus),
        "chromatin_fine": _spread(fine, chromatin) / total,
        "chromatin_coarse": _spread(coarse, chromatin) / total,
        "granularity_fine": _spread(fine, plasm) / total,
        "granularity_coarse": _spread(coarse, plasm) / total,
        "granule_hue_spread": _spread(hue, plasm),
        "dark_granules": float(np.mean(inside > 0.65)),
        "cytoplasm_pale": float(low),
        "cytoplasm_dense": float(high),
    }
    return row


def _bands(grey: FloatMap, unit: float) -> tuple[FloatMap, FloatMap]:
    """Fine and coarse detail: differences of Gaussians."""
    from scipy.ndimage import gaussian_filter

    light, middle, heavy = (gaussian_filter(grey, s * unit) for s in (0.7, 1.6, 4.0))
    return light - middle, middle - heavy


def _mean(values: FloatMap, where: NDArray[np.bool_]) -> float:
    return float(values[where].mean()) if where.any() else 0.0


def _spread(values: FloatMap, where: NDArray[Any]) -> float:
    return float(values[where].std()) if where.any() else 0.0
