"""Whole fields and single cells: places, paints and photographs everything, and keeps the exact masks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.config import SmearConfig
from napari_bloodcell.core.errors import BloodcellError, ConfigError
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import ByteArray, FloatArray, IntArray, Masks, SmearImage, freeze
from napari_bloodcell.core.synthetic.camera import MARGIN, photograph
from napari_bloodcell.core.synthetic.fields import RNG, Disc, Field, patch_around
from napari_bloodcell.core.synthetic.looks import BLUE, CHROMATIN, HAEMOGLOBIN, LAYERS, Look, look_of
from napari_bloodcell.core.synthetic.red import (
    Neighbour,
    habit_of,
    lay_red,
    paint_dirt,
    paint_haze,
    paint_platelet,
    paint_red,
)
from napari_bloodcell.core.synthetic.white import KINDS, MAIN_KINDS, Outline, outline, paint
from napari_bloodcell.core.taxonomy import NORMAL_BLOOD

_Kind = TypeVar("_Kind", bound=np.generic)


@dataclass(frozen=True, kw_only=True, eq=False)
class SyntheticSmear:
    """A field with its truth. Class names are fine ones, in the order of ``masks.cell_id``."""

    image: SmearImage
    masks: Masks
    class_names: tuple[str, ...]
    red_boxes_xyxy: IntArray
    platelet_boxes_xyxy: IntArray

    def __post_init__(self) -> None:
        freeze(self, "red_boxes_xyxy", np.int32, (None, 4))
        freeze(self, "platelet_boxes_xyxy", np.int32, (None, 4))


@dataclass(frozen=True, kw_only=True, eq=False)
class SyntheticCells:
    """Single white cells, centred. Parts: 0 outside, 1 cytoplasm, 2 nucleus."""

    pixels: ByteArray  # N x S x S x 3
    parts: ByteArray  # N x S x S
    class_names: tuple[str, ...]
    um_per_px: FloatArray  # N

    def __post_init__(self) -> None:
        freeze(self, "pixels", np.uint8, (None, None, None, 3))
        n = len(self.pixels)
        freeze(self, "parts", np.uint8, (n, *self.pixels.shape[1:3]))
        freeze(self, "um_per_px", np.float32, (n,))
        if len(self.class_names) != n:
            raise BloodcellError(
                f"SyntheticCells.class_names has {len(self.class_names)} entries for {n} cells."
            )

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True)
class _Placed:
    """A white cell with its place: µm from the upper left corner of the slide (margin included)."""

    x: float
    y: float
    cell: Outline

    @property
    def neighbour(self) -> Neighbour:
        return Neighbour(self.x, self.y, self.cell.contour)

    @property
    def contacts(self) -> list[Disc]:
        return [(self.x + x, self.y + y, r) for x, y, r in self.cell.contacts]


def make_smear(
    config: SmearConfig = SmearConfig(), *, without: Sequence[str] = (), progress: Progress = silent
) -> SyntheticSmear:
    """One field of a stained film, with exact masks. The same config gives the same bytes. ``without``: as in
    ``make_cells``."""
    import hashlib

    layout, paint_rng, camera_rng, look_rng = _generators(config.seed, 4)
    look = look_of(config.look, look_rng, without)
    um, shape = config.um_per_px, (config.height_px + 2 * MARGIN, config.width_px + 2 * MARGIN)
    whites = _place(layout, config, shape)
    layers = np.zeros((LAYERS, *shape), np.float32)
    labels, parts = np.zeros(shape, np.int32), np.zeros(shape, np.uint8)
    for i, white in enumerate(whites):
        labels[_add_white(paint_rng, white, layers, parts, um, look.clumping)] = i + 1
        progress("painting cells", i + 1, len(whites))
    red, platelets = _surround(paint_rng, layers, whites, look, um, config.crowding)
    pixels = photograph(camera_rng, layers, look, um)
    masks = _masks(_crop(labels), _crop(parts), um)
    if len(masks) != len(whites):
        raise _too_many(config)
    image = SmearImage(
        pixels=pixels,
        name=f"synthetic-{config.look}-{config.seed}",
        um_per_px=um,
        sha256=hashlib.sha256(pixels.tobytes()).hexdigest(),
        notes=("synthetic: drawn, not photographed",),
    )
    size = (config.width_px, config.height_px)
    return SyntheticSmear(
        image=image,
        masks=masks,
        class_names=tuple(w.cell.name for w in whites),
        red_boxes_xyxy=_clip_boxes(red, size),
        platelet_boxes_xyxy=_clip_boxes(platelets, size),
    )


def make_cells(  # noqa: PLR0913 (each says what to draw)
    count: int,
    *,
    seed: int,
    size_px: int = 128,
    look: str = "random",
    classes: Sequence[str] | None = None,
    without: Sequence[str] = (),
    progress: Progress = silent,
) -> SyntheticCells:
    """Single cells, centred, at random scales. Cell i depends on (seed, i) alone; classes take turns.
    ``without``: named looks that the random ones know nothing of."""
    names = tuple(MAIN_KINDS if classes is None else classes)
    unknown = [n for n in names if n not in KINDS]
    if unknown or not names:
        raise ConfigError(
            f"Cannot draw {unknown[:1] or 'no class'}. Classes that can be drawn: {', '.join(KINDS)}."
        )
    if count < 0 or not 16 <= size_px <= 1024:
        raise ConfigError(
            f"{count} cells of {size_px} px cannot be drawn; it takes 0 or more of 16 to 1024 px."
        )
    pixels = np.zeros((count, size_px, size_px, 3), np.uint8)
    parts = np.zeros((count, size_px, size_px), np.uint8)
    scales = np.zeros(count, np.float32)
    drawn = tuple(names[i % len(names)] for i in range(count))
    for i, name in enumerate(drawn):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(i,)))
        pixels[i], parts[i], scales[i] = _one_cell(rng, name, size_px, look_of(look, rng, without))
        progress("drawing cells", i + 1, count)
    return SyntheticCells(pixels=pixels, parts=parts, class_names=drawn, um_per_px=scales)


def _generators(seed: int, count: int) -> list[RNG]:
    return [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(count)]


def _crop(array: NDArray[_Kind]) -> NDArray[_Kind]:
    return array[MARGIN:-MARGIN, MARGIN:-MARGIN]


def _one_cell(rng: RNG, name: str, size_px: int, look: Look) -> tuple[ByteArray, ByteArray, float]:
    cell = outline(rng, name)
    left, top, right, bottom = cell.contour.corners()
    um = max(right - left, bottom - top) / (rng.uniform(0.38, 0.87) * size_px)
    full = size_px + 2 * MARGIN
    middle = full * um / 2
    white = _Placed(middle - (left + right) / 2, middle - (top + bottom) / 2, cell)
    layers = np.zeros((LAYERS, full, full), np.float32)
    parts = np.zeros((full, full), np.uint8)
    _add_white(rng, white, layers, parts, um, look.clumping)
    _surround(rng, layers, [white], look, um, float(0.9 * rng.random() ** 1.4))
    return photograph(rng, layers, look, um), _crop(parts), um


def _place(rng: RNG, config: SmearConfig, shape: tuple[int, int]) -> list[_Placed]:
    """White cells with room between them, less where the field is full; some cut by the border."""
    names, shares = tuple(NORMAL_BLOOD), tuple(NORMAL_BLOOD.values())
    if config.mix == "even":
        shares = tuple(1 / len(names) for _ in names)
    edge, um = MARGIN * config.um_per_px, config.um_per_px
    size = np.array([shape[1], shape[0]]) * um
    placed: list[_Placed] = []
    for name in rng.choice(names, config.white_cells, p=shares):
        cell = outline(rng, str(name))
        radius = cell.contour.mean_um
        for attempt in range(300):
            room = 1.15 - 0.55 * attempt / 300
            x, y = rng.uniform(edge - 0.25 * radius, size - edge + 0.25 * radius)
            if all(np.hypot(x - p.x, y - p.y) > room * (radius + p.cell.contour.mean_um) for p in placed):
                placed.append(_Placed(float(x), float(y), cell))
                break
        else:
            raise _too_many(config)
    return placed


def _too_many(config: SmearConfig) -> ConfigError:
    width, height = config.width_px * config.um_per_px, config.height_px * config.um_per_px
    return ConfigError(
        f"SmearConfig.white_cells = {config.white_cells} do not fit a field of "
        f"{width:.0f} x {height:.0f} µm. "
        "Ask for fewer cells, a wider picture or a larger pixel."
    )


def _add_white(
    rng: RNG,
    white: _Placed,
    layers: Field,
    parts: ByteArray,
    um: float,
    clumping: float,
) -> NDArray[np.bool_]:
    """Paint one white cell and return its pixels: those that no earlier cell holds."""
    patch = patch_around((white.x, white.y), white.cell.contour.reach_um + 1.0, parts.shape, um)
    mine = np.zeros(parts.shape, np.bool_)
    if patch.empty:
        return mine
    added, own = paint(rng, white.cell, patch, clumping=clumping)
    where = (patch.rows, patch.columns)
    layers[:, *where] += added
    mine[where] = (own > 0) & (parts[where] == 0)
    parts[where][mine[where]] = own[mine[where]]
    return mine


def _surround(
    rng: RNG, layers: Field, whites: list[_Placed], look: Look, um: float, crowding: float
) -> tuple[list[list[float]], list[list[float]]]:
    """Red cells, platelets, plasma and dirt. Returns boxes of red cells and platelets, in slide pixels."""
    habit, near = habit_of(rng, look), [w.neighbour for w in whites if KINDS[w.cell.name].nucleus != "burst"]
    size = (layers.shape[2] * um, layers.shape[1] * um)
    fixed = [disc for w in whites for disc in w.contacts] if crowding > 0 else []
    red: list[list[float]] = []
    for x, y in lay_red(rng, size, crowding, fixed, near):
        box = paint_red(rng, layers, (float(x), float(y)), habit, near, um)
        red += [box] if box else []
    platelets: list[list[float]] = []
    for _ in range(int(rng.poisson(rng.uniform(0.3, 2.2) * size[0] * size[1] / 600))):
        spot = (float(rng.uniform(0, size[0])), float(rng.uniform(0, size[1])))
        column = min(int(spot[0] / um), layers.shape[2] - 1)
        row = min(int(spot[1] / um), layers.shape[1] - 1)
        occupied = layers[HAEMOGLOBIN, row, column] > 0.2 and rng.random() < 0.8
        if occupied or layers[BLUE, row, column] + layers[CHROMATIN, row, column] > 0.05:
            continue
        box = paint_platelet(rng, layers, spot, um)
        platelets += [box] if box else []
    paint_haze(rng, layers, look.haze, um)
    paint_dirt(rng, layers, look.dirt, um)
    return red, platelets


def _clip_boxes(boxes: list[list[float]], size: tuple[int, int]) -> IntArray:
    """Slide pixels to picture pixels; boxes of which less than 2 px remain are dropped."""
    array = np.array(boxes, np.int32).reshape(-1, 4) - MARGIN
    array = np.stack([np.clip(array[:, i], 0, size[i % 2]) for i in range(4)], axis=1)
    seen = (array[:, 2] - array[:, 0] >= 2) & (array[:, 3] - array[:, 1] >= 2)
    return array[seen].astype(np.int32)


def _masks(labels: IntArray, parts: ByteArray, um: float) -> Masks:
    from scipy import ndimage

    height, width = labels.shape
    found = [(i + 1, s) for i, s in enumerate(ndimage.find_objects(labels)) if s is not None]
    boxes = np.array([(s[1].start, s[0].start, s[1].stop, s[0].stop) for _, s in found], np.int32).reshape(
        -1, 4
    )
    return Masks(
        cell_id=np.array([i for i, _ in found], np.int32),
        labels=labels,
        nucleus=(parts == 2) & (labels > 0),
        boxes_xyxy=boxes,
        touches_border=np.any(np.c_[boxes[:, :2] <= 0, boxes[:, 2:] >= [width, height]], axis=1),
        um_per_px=um,
        scale_source="given",
        segmenter="synthetic",
    )
