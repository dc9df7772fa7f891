"""Pixels that a viewer read, as reading their file would have them: viewers drop the size of a pixel, and
take the four inks of a JPEG for colours with transparency."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_bloodcell.core.config import ReadConfig
from napari_bloodcell.core.errors import ImageError
from napari_bloodcell.core.image.omezarr import is_zarr_folder, open_zarr
from napari_bloodcell.core.image.rasters import raster_size
from napari_bloodcell.core.image.scanners import is_scan, open_scan
from napari_bloodcell.core.image.tiff import tiff_size
from napari_bloodcell.core.records import SmearImage

Said = tuple[float | None, tuple[str, ...]]


def from_viewer(
    pixels: Any, config: ReadConfig, *, name: str, source: str | None, is_sized: bool
) -> SmearImage:
    """``is_sized``: the viewer knows how large the pixels are, or a person said so."""
    from napari_bloodcell.core.image import from_array, read_image

    path = Path(source or "")
    if pixels.ndim == 3 and pixels.shape[-1] == 4 and path.suffix.lower() in (".jpg", ".jpeg"):
        as_file = read_image(path, config, name=name)
        if as_file.pixels.shape[:2] == tuple(pixels.shape[:2]):
            return as_file
    image = from_array(pixels, config, name=name, source=source)
    return image if is_sized else with_said_size(image)


def with_said_size(image: SmearImage) -> SmearImage:
    """With the pixel size of the file it came from, as reading the file itself would have it; unchanged where
    that says none, or is not there."""
    if image.um_per_px is not None or not image.source or not Path(image.source).exists():
        return image
    try:
        um_per_px, notes = pixel_size_of(Path(image.source))
    except ImageError:  # nothing that we read: the pixels are here all the same
        return image
    return replace(image, um_per_px=um_per_px, notes=(*image.notes, *notes))


def pixel_size_of(path: Path) -> Said:
    """µm a pixel, and notes, from the header alone."""
    from napari_bloodcell.core.image import kind_of_file

    if path.is_dir():
        return open_zarr(path, ReadConfig())[1:] if is_zarr_folder(path) else (None, ())
    if is_scan(path):
        return open_scan(path)[1:]
    kind = kind_of_file(path)
    return tiff_size(path) if kind == "TIFF" else raster_size(path, kind)
