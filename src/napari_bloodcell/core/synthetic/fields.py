"""What shapes are made of: random fields, star-shaped contours, brush strokes, scattered grains.

Lengths are in µm, x to the right and y downwards from the middle of the shape. A shape is its *depth*:
how far a point lies inside the edge (negative outside), so that coverage, rim and thickness all come from
one array.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Field = NDArray[np.float32]
RNG = np.random.Generator

ANGLES = 180  # samples of a contour, one every two degrees
_THETA = np.linspace(0, 2 * np.pi, ANGLES, endpoint=False, dtype=np.float32)

_ORDER = np.arange(3, 15, dtype=np.float32)[:, None]
# Sines and cosines of rising order and falling height: what makes an outline uneven.
_WAVES = np.concatenate([np.cos(_ORDER * _THETA), np.sin(_ORDER * _THETA)]) * np.tile(
    (3 / _ORDER) ** 1.8, (2, 1)
)


@dataclass(frozen=True)
class Patch:
    """A rectangle of pixels seen from the middle of a shape. ``y`` is h x 1, ``x`` is 1 x w, both µm."""

    y: Field
    x: Field
    um_per_px: float
    rows: slice  # where the patch lies in the image
    columns: slice

    @property
    def shape(self) -> tuple[int, int]:
        return (self.y.shape[0], self.x.shape[1])

    def seen_from(self, x: float, y: float) -> "Patch":
        """The same pixels, with the middle moved to x, y."""
        return replace(self, y=self.y - np.float32(y), x=self.x - np.float32(x))

    @property
    def empty(self) -> bool:
        return 0 in self.shape


def patch_around(centre: tuple[float, float], reach_um: float, shape: tuple[int, int], um: float) -> Patch:
    """The part of an image within reach of a point (x, y in µm from its upper left corner)."""
    spans: list[slice] = []
    for middle, size in ((centre[1], shape[0]), (centre[0], shape[1])):
        low = int(np.floor((middle - reach_um) / um))
        high = int(np.ceil((middle + reach_um) / um)) + 1
        spans.append(slice(min(max(low, 0), size), min(max(high, 0), size)))
    y = (np.arange(spans[0].start, spans[0].stop, dtype=np.float32) + 0.5) * np.float32(um) - np.float32(
        centre[1]
    )
    x = (np.arange(spans[1].start, spans[1].stop, dtype=np.float32) + 0.5) * np.float32(um) - np.float32(
        centre[0]
    )
    return Patch(y[:, None].astype(np.float32), x[None, :].astype(np.float32), um, spans[0], spans[1])


def gaussian(frequency: Field, sigma_px: float) -> Field:
    """What a blur of ``sigma_px`` leaves of each frequency (cycles a pixel)."""
    left: Field = np.exp(np.float32(-2 * np.pi**2 * sigma_px**2) * frequency * frequency)
    return left


def noise(rng: RNG, shape: tuple[int, int], sigma_px: float) -> Field:
    """A Gaussian random field of unit variance whose grain is about ``sigma_px`` wide.

    Made from its spectrum; only the frequencies that a blur of that width lets through are drawn.
    """
    if 0 in shape:
        return np.zeros(shape, np.float32)
    if sigma_px < 0.3:
        return rng.standard_normal(shape, dtype=np.float32)
    height, width = (fft.next_fast_len(n, real=True) for n in shape)
    last_row, last_column = (int(min(n // 2 - 1, np.ceil(0.5 / sigma_px * n))) for n in (height, width))
    down = gaussian(np.arange(-last_row, last_row + 1, dtype=np.float32) / np.float32(height), sigma_px)
    across = gaussian(np.arange(last_column + 1, dtype=np.float32) / np.float32(width), sigma_px)
    drawn = rng.standard_normal((len(down), 2 * len(across)), dtype=np.float32).view(np.complex64)
    drawn *= down[:, None] * across
    spectrum = np.zeros((height, len(across)), np.complex64)
    spectrum[: last_row + 1], spectrum[-last_row:] = drawn[last_row:], drawn[:last_row]
    field: Field = fft.irfft(fft.ifft(spectrum, axis=0), n=width, axis=1)[: shape[0], : shape[1]]
    power = float(np.sum(down**2) * (1 + 4 * np.sum(across[1:] ** 2)))
    return field * np.float32(height * width / np.sqrt(power))


def ramp(values: Field, low: float, high: float) -> Field:
    """0 below low, 1 above high, smooth between."""
    t = np.clip((values - np.float32(low)) * np.float32(1 / (high - low)), 0, 1)
    risen: Field = t * t * (3 - 2 * t)
    return risen


@dataclass(frozen=True)
class Contour:
    """A closed line around the middle: its radius (µm) at each of ``ANGLES`` angles."""

    radius_um: Field

    def edge(self, patch: Patch) -> tuple[Field, Field]:
        """Distance of each pixel from the middle, and of the contour in that direction."""
        distance = np.sqrt(patch.x * patch.x + patch.y * patch.y)
        turn = np.arctan2(patch.y, patch.x) * np.float32(ANGLES / (2 * np.pi)) + np.float32(ANGLES)
        below = turn.astype(np.int32)
        part = turn - below
        radius = np.append(self.radius_um, self.radius_um[:2])
        below %= ANGLES
        return distance, radius[below] * (1 - part) + radius[below + 1] * part

    def depth(self, patch: Patch) -> Field:
        distance, edge = self.edge(patch)
        return edge - distance

    def corners(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom, µm."""
        x, y = self.radius_um * np.cos(_THETA), self.radius_um * np.sin(_THETA)
        return float(x.min()), float(y.min()), float(x.max()), float(y.max())

    @cached_property
    def reach_um(self) -> float:
        return float(self.radius_um.max())

    @cached_property
    def mean_um(self) -> float:
        return float(self.radius_um.mean())


def wavy(rng: RNG, radius_um: float, oval: float, rough: float) -> Contour:
    """A disc drawn out (``oval``) and made uneven (``rough``), as fractions of its radius."""
    shape = (rng.standard_normal(len(_WAVES), dtype=np.float32) * np.float32(rough)) @ _WAVES
    stretch = np.float32(oval) * np.cos(2 * _THETA + np.float32(rng.uniform(0, 2 * np.pi)))
    return Contour(np.float32(radius_um) * np.maximum(1 + shape + stretch, 0.35).astype(np.float32))


Disc = tuple[float, float, float]  # x, y, radius, µm


def pulled(rng: RNG, contour: Contour) -> Contour:
    """Drawn out to one side: an egg, a pear or a drop."""
    toward = np.maximum(np.cos(_THETA - np.float32(rng.uniform(0, 2 * np.pi))), 0)
    share = rng.uniform(0.08, 0.42) * toward ** np.float32(rng.uniform(2, 9))
    return Contour((contour.radius_um * (1 + share)).astype(np.float32))


def press(contour: Contour, discs: list[Disc]) -> Contour:
    """The contour with discs pressed into it: a white cell between its neighbours."""
    radius = contour.radius_um.copy()
    for x, y, r in discs:
        away = np.float32(np.hypot(x, y))
        angle = _THETA - np.float32(np.arctan2(y, x))
        root = np.float32(r) ** 2 - (away * np.sin(angle)) ** 2
        hit = (root > 0) & (np.cos(angle) > 0)
        entry = away * np.cos(angle) - np.sqrt(np.maximum(root, 0))
        radius = np.where(hit, np.minimum(radius, np.maximum(entry, 0.4 * contour.mean_um)), radius)
    kernel = np.array([1, 4, 6, 4, 1], np.float32) / 16
    smooth = np.convolve(np.concatenate([radius[-2:], radius, radius[:2]]), kernel, mode="valid")
    return Contour(smooth.astype(np.float32))


def strokes(patch: Patch, points: NDArray[np.floating], radii: NDArray[np.floating]) -> Field:
    """Depth inside the union of discs: brush strokes of varying width. Points are n x 2 (x, y)."""
    depth = np.full(patch.shape, -1e3, np.float32)
    for (px, py), r in zip(points.astype(np.float32), radii.astype(np.float32), strict=True):
        np.maximum(depth, r - np.sqrt((patch.x - px) ** 2 + (patch.y - py) ** 2), out=depth)
    return depth


def scatter(
    patch: Patch, points: NDArray[np.floating], weight: NDArray[np.floating], radius_um: float
) -> Field:
    """Soft-edged grains of one size at the points (n x 2, µm), each of its own weight."""
    height, width = patch.shape
    canvas = np.zeros((height + 2, width + 2), np.float32)
    x = (points[:, 0] - float(patch.x[0, 0])) / patch.um_per_px + 1
    y = (points[:, 1] - float(patch.y[0, 0])) / patch.um_per_px + 1
    inside = (x >= 0) & (y >= 0) & (x < width + 1) & (y < height + 1)
    x, y, w = x[inside], y[inside], weight[inside].astype(np.float32)
    column, row = x.astype(int), y.astype(int)
    fx, fy = (x - column).astype(np.float32), (y - row).astype(np.float32)
    for dy, dx, share in (
        (0, 0, (1 - fy) * (1 - fx)),
        (0, 1, (1 - fy) * fx),
        (1, 0, fy * (1 - fx)),
        (1, 1, fy * fx),
    ):
        np.add.at(canvas, (row + dy, column + dx), w * share)
    radius_px = radius_um / patch.um_per_px
    rows, columns = (fft.next_fast_len(n + int(2 * radius_px) + 2, real=True) for n in (height, width))
    fy_, fx_ = fft.fftfreq(rows).astype(np.float32) * rows, fft.fftfreq(columns).astype(np.float32) * columns
    far = np.hypot(fy_[:, None], fx_[None, :])
    grain = np.clip(np.float32(radius_px) + 0.5 - far, 0, 1) * np.float32(min(1.0, 4 * radius_px**2))
    spectrum = fft.rfft2(canvas[1:-1, 1:-1], s=(rows, columns)) * fft.rfft2(grain)
    painted: Field = fft.irfft2(spectrum, s=(rows, columns))[:height, :width]
    return np.maximum(painted, 0)


def grid_points(rng: RNG, reach_um: float, spacing_um: float, jitter: float) -> NDArray[np.floating]:
    """Points of a shaken hexagonal grid that covers a square: packed grains that hardly overlap."""
    n = int(np.ceil(reach_um / spacing_um)) + 1
    i, j = np.meshgrid(np.arange(-n, n + 1), np.arange(-n, n + 1))
    points = np.stack([i + 0.5 * (j % 2), j * 0.866], axis=-1).reshape(-1, 2) * spacing_um
    return points + rng.normal(0, jitter * spacing_um, points.shape)
