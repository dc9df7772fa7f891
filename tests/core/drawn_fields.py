"""Drawn fields with cells of known size and place: what the tests of the segmenters share."""

import numpy as np

from napari_bloodcell.core.records import SmearImage
from napari_bloodcell.core.stain import to_rgb

GROUNDS = {
    "dark yellow": (250, 240, 145),
    "cream": (253, 228, 202),
    "grey": (197, 199, 196),
    "pale blue": (205, 222, 238),
}
NUCLEUS, PLASM, RED = (0.5, 0.85, 0.15), (0.13, 0.2, 0.06), (0.1, 0.26, 0.16)
UM = 0.14  # of the drawn images: a red cell is 52 pixels wide


def field(ground: tuple[int, int, int] = GROUNDS["cream"], size: tuple[int, int] = (420, 560)) -> np.ndarray:
    """Density of an empty field, with the light of its ground in the last row of nothing: see ``picture``."""
    return np.concatenate([np.zeros((*size, 3)), np.broadcast_to(np.array(ground) / 1e3, (*size, 3))], axis=2)


def blob(canvas: np.ndarray, at: tuple[float, float], radius: float, stain: tuple[float, ...]) -> None:
    y, x = np.ogrid[: canvas.shape[0], : canvas.shape[1]]
    edge = np.clip(radius + 0.5 - np.hypot(y - at[0], x - at[1]), 0, 1)[..., None]
    canvas[..., :3] = canvas[..., :3] * (1 - edge) + np.array(stain) * edge


def white_cell(canvas: np.ndarray, at: tuple[float, float], radius: float = 42, nucleus: float = 28) -> None:
    blob(canvas, at, radius, PLASM)
    blob(canvas, at, nucleus, NUCLEUS)


def red_cells(canvas: np.ndarray) -> None:
    for x in range(45, canvas.shape[1] - 30, 70):
        for y in (40, canvas.shape[0] - 40):
            blob(canvas, (y, x), 26, RED)


def picture(canvas: np.ndarray, um_per_px: float | None = None) -> SmearImage:
    light = (canvas[0, 0, 3:] * 1e3).astype(np.float32)
    rgb = to_rgb(canvas[..., :3], light).astype(np.int16)
    noise = np.random.default_rng(0).normal(0, 1.5, rgb.shape)
    return SmearImage(pixels=np.clip(rgb + noise, 0, 255).astype(np.uint8), um_per_px=um_per_px)
