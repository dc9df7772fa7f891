"""PNG, JPEG, BMP and WebP files -> samples."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.core.config import ReadConfig
from napari_bloodcell.core.errors import ImageError
from napari_bloodcell.core.image.pixels import DECODER_ERRORS, Raw, check_page, check_size
from napari_bloodcell.core.image.pixelsize import from_resolution

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_ORIENTATION_TAG = 274
_DEEP_MODES = ("I", "I;16", "I;16B", "I;16L")


def read_raster(path: Path, kind: str, config: ReadConfig) -> Raw:
    """``kind`` is PNG, JPEG, BMP or WebP, as the first bytes say."""
    where = f"'{path}'"
    try:
        with path.open("rb") as file:
            header = _open(file, kind)
            check_size(header.size[1], header.size[0], config, where)
            check_page(1, config.page, where)
            deep = kind == "PNG" and _png_depth(path) == 16
            raw = _decode_deep_png(path) if deep else decode(header)
            return _with_metadata(raw, header, kind)
    except DECODER_ERRORS as error:
        raise ImageError(
            f"{where} cannot be decoded as {kind}: {error or type(error).__name__}. "
            "The file is damaged or cut short; copy it again, or save it again as PNG or TIFF."
        ) from error


def raster_size(path: Path, kind: str) -> tuple[float | None, tuple[str, ...]]:
    """Pixel size and notes, from the header."""
    try:
        with path.open("rb") as file:
            return _size(_open(file, kind), kind)
    except DECODER_ERRORS:
        return None, ()


def _open(file: Any, kind: str) -> "ImageFile":
    # The plugin classes are called directly: Image.open would warn, or refuse, by the process-wide
    # Image.MAX_IMAGE_PIXELS. check_size guards with our own limit, without touching that global.
    from PIL import BmpImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

    if kind == "PNG":
        return PngImagePlugin.PngImageFile(file)
    if kind == "JPEG":
        return JpegImagePlugin.JpegImageFile(file)
    if kind == "WebP":
        return WebPImagePlugin.WebPImageFile(file)
    return BmpImagePlugin.BmpImageFile(file)


def _png_depth(path: Path) -> int:
    with path.open("rb") as file:
        return file.read(25)[24]


def _decode_deep_png(path: Path) -> Raw:
    # Pillow cuts 16-bit RGB to 8 bits by dropping the low byte, whatever depth the samples really use.
    import imagecodecs

    array = np.asarray(imagecodecs.png_decode(path.read_bytes()))
    return Raw(array=array, gray_alpha=array.ndim == 3 and array.shape[2] == 2)


def decode(image: "ImageFile") -> Raw:
    """A picture that Pillow holds, its colours as red, green and blue."""
    image.load()
    mode = image.mode
    if "transparency" in image.info or mode in ("LA", "PA", "La", "RGBa"):
        return Raw(array=np.asarray(image.convert("RGBA" if mode != "LA" else "LA")), gray_alpha=mode == "LA")
    if mode in ("L", "RGB", "RGBA"):
        return Raw(array=np.asarray(image))
    if mode == "1":
        return Raw(array=np.asarray(image.convert("L")))
    if mode in _DEEP_MODES:
        return Raw(array=np.asarray(image).astype(np.uint16))
    notes = (f"{mode} colours were converted to RGB without a colour profile",) if mode != "P" else ()
    return Raw(array=np.asarray(image.convert("RGB")), notes=notes)


def _with_metadata(raw: Raw, image: "ImageFile", kind: str) -> Raw:
    notes = raw.notes
    # EXIF rotation is never applied: outlines are stored in pixel coordinates, and viewers that show raw
    # pixels (napari, ImageJ, scikit-image) would lay them on another picture than the one measured here.
    orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    if orientation != 1:
        notes += (
            f"EXIF orientation {orientation} was not applied: coordinates are those of the stored pixels",
        )
    um_per_px, said = _size(image, kind)
    return Raw(array=raw.array, um_per_px=um_per_px, gray_alpha=raw.gray_alpha, notes=notes + said)


def _size(image: "ImageFile", kind: str) -> tuple[float | None, tuple[str, ...]]:
    dpi = image.info.get("dpi")
    if not dpi or min(dpi) <= 0:
        return None, ()
    return from_resolution(25400 / dpi[0], 25400 / dpi[1], f"the {kind} resolution")
