"""Files of slide scanners (SVS, NDPI), through tiffslide or openslide, whichever is installed."""

from pathlib import Path
from typing import Any

import numpy as np

from napari_bloodcell.core.errors import ImageError
from napari_bloodcell.core.image import pixelsize
from napari_bloodcell.core.image.pieces import HeldFile, PiecewiseArray
from napari_bloodcell.core.image.pixels import DECODER_ERRORS
from napari_bloodcell.core.records import ByteArray

SUFFIXES = (".svs", ".ndpi")
READERS = ("tiffslide", "openslide")


def is_scan(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def open_scan(path: Path) -> tuple[tuple[Any, ...], float | None, tuple[str, ...]]:
    """All resolutions unread, finest first, pixel size and notes."""
    where = f"'{path}'"
    name, opener = _reader(where)
    try:
        slide = opener(str(path))
        held = HeldFile(slide.close)
        sizes = list(slide.level_dimensions)
        told = [slide.properties.get(f"{name}.mpp-{axis}") for axis in "xy"]
    except (*DECODER_ERRORS, _error_of(name)) as error:
        raise ImageError(
            f"{where} cannot be opened by {name}: {error or type(error).__name__}. The file is damaged, or "
            "of another scanner; copy it again, or export it as a tiled OME-TIFF."
        ) from error
    x_um, y_um = (None if one is None else float(one) for one in told)
    um_per_px, notes = pixelsize.from_metadata(x_um, y_um, f"the slide (by {name})")
    arrays = tuple(
        PiecewiseArray((height, width, 3), _Region(slide, level, name), held)
        for level, (width, height) in enumerate(sizes)
    )
    return arrays, um_per_px, notes


class _Region:
    """``read_region`` counts its corner in pixels of the finest level, whatever level it reads."""

    def __init__(self, slide: Any, level: int, name: str) -> None:
        self._slide, self._level, self._name = slide, level, name
        self._size = slide.level_dimensions[level]
        self._finest = slide.level_dimensions[0]

    def __call__(self, window: tuple[slice, ...]) -> ByteArray:
        rows, columns = (one.indices(n) for one, n in zip(window, self._size[::-1], strict=False))
        size = (max(0, columns[1] - columns[0]), max(0, rows[1] - rows[0]))
        if 0 in size:
            return np.zeros((size[1], size[0], 3), np.uint8)
        corner = tuple(
            round(one[0] * finest / own)
            for one, finest, own in zip((columns, rows), self._finest, self._size, strict=True)
        )
        picture = self._slide.read_region(corner, self._level, size)
        return _on_white(np.asarray(picture))[:: rows[2], :: columns[2]]


def _on_white(pixels: ByteArray) -> ByteArray:
    """Where the scanner saw nothing openslide says transparent."""
    if pixels.shape[2] == 3:
        return pixels
    colour = pixels[..., :3].copy()
    colour[pixels[..., 3] == 0] = 255
    return colour


def _reader(where: str) -> tuple[str, Any]:
    from importlib.util import find_spec

    if find_spec("tiffslide") is not None:
        from tiffslide import TiffSlide

        return "tiffslide", TiffSlide
    if find_spec("openslide") is not None:
        from openslide import OpenSlide

        return "openslide", OpenSlide
    raise ImageError(
        f"{where} is a slide of a scanner; reading it takes tiffslide, which is not installed: "
        "pip install 'napari-bloodcell[slides]'. Or export the slide as a tiled OME-TIFF."
    )


def _error_of(name: str) -> type[Exception]:
    if name == "tiffslide":
        from tifffile import TiffFileError

        return TiffFileError  # type: ignore[no-any-return]
    from openslide import OpenSlideError

    return OpenSlideError  # type: ignore[no-any-return]
