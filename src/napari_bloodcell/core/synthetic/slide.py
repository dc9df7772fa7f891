"""A whole slide that is drawn where it is looked at: any size in next to no memory, with its truth.

The slide is a chessboard of squares. A square shows red cells, the same few squares over and over, and
perhaps one white cell out of a box of drawn ones; around the film is glass, and one corner of it is out of
focus. Where each cell lies follows from the seed alone, so any piece, in any order, shows the same slide.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_bloodcell.core.config import SmearConfig
from napari_bloodcell.core.image.lazy import LazyImage
from napari_bloodcell.core.records import BoolArray, ByteArray, FloatArray, IntArray
from napari_bloodcell.core.synthetic.scene import make_smear

SQUARE_PX = 240  # not a part of any usual block: cells lie on every seam
GROUND_SQUARES = 4  # the ground repeats after so many
STEPS = (4, 16)  # pixels of the slide that one pixel of its coarser levels spans
UM = 0.25
GAP_PX = 4  # between a cell and the edge of its square
BLUR_PX = 10.0
SHEETS = 4  # smears that white cells are cut out of
GLASS, FILM, BLURRED = 0, 1, 2


@dataclass(frozen=True)
class _Sprite:
    """A white cell without its surroundings."""

    pixels: FloatArray
    cover: FloatArray  # 1 on the cell, softly to 0 around it
    mask: BoolArray
    name: str


@dataclass(frozen=True, kw_only=True, eq=False)
class SyntheticSlide:
    """``boxes_xyxy`` and ``class_names`` of the cells in focus; the others are only counted."""

    image: LazyImage
    boxes_xyxy: IntArray
    class_names: tuple[str, ...]
    out_of_focus: int


def make_slide(
    width_px: int, height_px: int, *, seed: int = 0, share: float = 0.15, look: str = "giemsa_blue"
) -> SyntheticSlide:
    """``share``: of the squares that hold a white cell; a square is 60 µm wide."""
    board = _Board((height_px, width_px), seed, share, look)
    arrays = [_Drawn(board, step) for step in (1, *STEPS) if min(height_px, width_px) // step >= 64]
    places = list(board.cells(FILM))
    return SyntheticSlide(
        image=LazyImage(
            array=arrays[0], coarser=tuple(arrays[1:]), name=f"synthetic-slide-{seed}", um_per_px=UM
        ),
        boxes_xyxy=np.array([box for box, _ in places], np.int32).reshape(-1, 4),
        class_names=tuple(sprite.name for _, sprite in places),
        out_of_focus=sum(1 for _ in board.cells(BLURRED)),
    )


class _Board:
    """What each square shows."""

    def __init__(self, shape: tuple[int, int], seed: int, share: float, look: str) -> None:
        self.shape = shape
        rows, columns = (-(-n // SQUARE_PX) for n in shape)
        rng = np.random.default_rng(seed)
        ground = _smear(look, seed, 0, GROUND_SQUARES * SQUARE_PX)
        light = np.percentile(ground.reshape(-1, 3), 97, axis=0)
        noise = rng.normal(0, 1.5, ground.shape)
        glass = np.clip(light + noise, 0, 255).astype(np.uint8)
        self.grounds = (glass, ground, _blurred(ground))
        self._thinned: dict[tuple[int, int, int, int], ByteArray] = {}
        self.sprites = _sprites(look, seed)
        self.has = rng.random((rows, columns)) < share
        self.which = rng.integers(0, len(self.sprites), (rows, columns))
        self.at = rng.random((rows, columns, 2))
        self.kind = _film(rows, columns)
        # A square that the edge of the slide cuts shows no cell.
        self.has &= (np.arange(rows)[:, None] + 1) * SQUARE_PX <= shape[0]
        self.has &= (np.arange(columns)[None] + 1) * SQUARE_PX <= shape[1]

    def cells(self, kind: int) -> Iterator[tuple[tuple[int, int, int, int], _Sprite]]:
        for i, j in np.argwhere(self.has & (self.kind == kind)):
            sprite, top, left = self._place(i, j)
            rows, columns = np.flatnonzero(sprite.mask.any(1)), np.flatnonzero(sprite.mask.any(0))
            y, x = int(i) * SQUARE_PX + top, int(j) * SQUARE_PX + left
            yield (
                (x + int(columns[0]), y + int(rows[0]), x + int(columns[-1]) + 1, y + int(rows[-1]) + 1),
                sprite,
            )

    def _place(self, i: int, j: int) -> tuple[_Sprite, int, int]:
        sprite = self.sprites[self.which[i, j]]
        room = [SQUARE_PX - 2 * GAP_PX - n for n in sprite.mask.shape]
        top, left = (GAP_PX + int(at * n) for at, n in zip(self.at[i, j], room, strict=True))
        return sprite, top, left

    def _ground(self, kind: int, i: int, j: int, step: int) -> ByteArray:
        key = (kind, i % GROUND_SQUARES, j % GROUND_SQUARES, step)
        if key not in self._thinned:
            top, left = (k * SQUARE_PX for k in key[1:3])
            whole = self.grounds[kind][top : top + SQUARE_PX, left : left + SQUARE_PX]
            self._thinned[key] = thinned(whole, step)
        return self._thinned[key]

    def square(self, i: int, j: int, step: int) -> ByteArray:
        kind = int(self.kind[i, j])
        if kind == GLASS or not self.has[i, j]:
            return self._ground(kind, i, j, step)
        square = self._ground(kind, i, j, 1).copy()
        sprite, top, left = self._place(i, j)
        window = square[top : top + sprite.mask.shape[0], left : left + sprite.mask.shape[1]]
        window[:] = np.rint(window + (sprite.pixels - window) * sprite.cover[..., None])
        return thinned(_blurred(square) if kind == BLURRED else square, step)


class _Drawn:
    """One level of the slide, as ``LazyImage`` wants it. ``kinds`` of squares: glass, film or blurred."""

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(self, board: _Board, step: int) -> None:
        self._board, self._step = board, step
        self.shape = (board.shape[0] // step, board.shape[1] // step, 3)
        self.kinds = board.kind

    def __getitem__(self, window: Any) -> ByteArray:
        spans = [one.indices(n) for one, n in zip(window[:2], self.shape, strict=False)]
        (top, bottom, _), (left, right, _) = spans
        side = SQUARE_PX // self._step
        piece = np.empty((max(0, bottom - top), max(0, right - left), 3), np.uint8)
        for i in range(top // side, -(-bottom // side)):
            for j in range(left // side, -(-right // side)):
                square = self._board.square(i, j, self._step)
                y, x = i * side, j * side
                rows = slice(max(top - y, 0), min(bottom - y, side))
                columns = slice(max(left - x, 0), min(right - x, side))
                place = (
                    slice(rows.start + y - top, rows.stop + y - top),
                    slice(columns.start + x - left, columns.stop + x - left),
                )
                piece[place] = square[rows, columns]
        return piece


def thinned(pixels: ByteArray, step: int) -> ByteArray:
    """Means of step x step pixels."""
    if step == 1:
        return pixels
    height, width = (n // step for n in pixels.shape[:2])
    parts = pixels[: height * step, : width * step].reshape(height, step, width, step, 3)
    return np.asarray(parts.sum((1, 3), dtype=np.uint32) // step**2, np.uint8)


def _film(rows: int, columns: int) -> IntArray:
    """An oval of film on glass, its lower right eighth out of focus."""
    y, x = np.ogrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    film = (y / 0.94) ** 2 + (x / 0.9) ** 2 <= 1
    blurred = film & (y > 0.3) & (x > 0.25)
    return np.where(blurred, BLURRED, film).astype(np.int32)


def _smear(look: str, seed: int, white_cells: int, side_px: int) -> ByteArray:
    config = SmearConfig(
        width_px=side_px,
        height_px=side_px,
        um_per_px=UM,
        white_cells=white_cells,
        look=look,  # type: ignore[arg-type]
        seed=seed,
    )
    return np.array(make_smear(config).image.pixels)


def _blurred(pixels: ByteArray) -> ByteArray:
    return np.asarray(ndi.gaussian_filter(pixels, (BLUR_PX, BLUR_PX, 0), mode="wrap"))


def _sprites(look: str, seed: int) -> list[_Sprite]:
    found: list[_Sprite] = []
    for sheet in range(SHEETS):
        config = SmearConfig(
            width_px=720,
            height_px=720,
            um_per_px=UM,
            white_cells=16,
            look=look,  # type: ignore[arg-type]
            mix="blood",
            seed=seed + sheet + 1,
        )
        smear = make_smear(config)
        labels: NDArray[np.int32] = smear.masks.labels
        for number, name in zip(smear.masks.cell_id, smear.class_names, strict=True):
            x0, y0, x1, y1 = smear.masks.boxes_xyxy[number - 1]
            if min(x0, y0) < 8 or max(x1, y1) > 712:
                continue
            window = (slice(y0 - 6, y1 + 6), slice(x0 - 6, x1 + 6))
            mask = labels[window] == number
            near = ndi.binary_dilation(mask, iterations=3)
            if (labels[window][near & ~mask] > 0).any() or max(mask.shape) > SQUARE_PX // 2:
                continue  # a neighbour would come along
            cover = ndi.gaussian_filter(near.astype(np.float32), 1)
            pixels = smear.image.pixels[window].astype(np.float32)
            found.append(_Sprite(pixels, cover, np.asarray(mask), name))
    return found
