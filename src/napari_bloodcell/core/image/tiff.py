"""TIFF and OME-TIFF files -> samples."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.config import ReadConfig
from napari_bloodcell.core.errors import ImageError
from napari_bloodcell.core.image import pixelsize
from napari_bloodcell.core.image.pieces import HeldFile, PiecewiseArray
from napari_bloodcell.core.image.pixels import (
    DECODER_ERRORS,
    Raw,
    channels_last,
    check_channels,
    check_dtype,
    check_page,
    check_size,
    choose_plane,
    page_note,
    read_by_pieces,
)

_MINISWHITE, _MINISBLACK, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_ASSOCIATED_ALPHA, _STRAIGHT_ALPHA = 1, 2
_JPEG_COMPRESSIONS = (6, 7, 33003, 33004, 33005, 33007, 34712)  # tifffile gives RGB for these


@dataclasses.dataclass(frozen=True)
class _Plane:
    """One level of one series, and which plane of it."""

    series: Any  # tifffile.TiffPageSeries, full resolution
    number: int  # of the series in the file
    page: int | None  # within the series
    notes: tuple[str, ...]


def read_tiff(path: Path, config: ReadConfig) -> Raw:
    import tifffile

    where = f"'{path}'"
    try:
        with tifffile.TiffFile(path) as tiff:
            plane = _choose(tiff, config, where)
            _check_header(tiff, plane.series, config, where)
            raw = _decode(plane, where)
            um_per_px, bits, notes = _metadata(tiff, plane)
    except DECODER_ERRORS as error:
        raise _undecodable(where, error) from error
    return dataclasses.replace(
        raw, um_per_px=um_per_px, bits=raw.bits or bits, notes=plane.notes + raw.notes + notes
    )


def is_tiff(path: Path) -> bool:
    """By the first bytes, for the suffixes that are TIFF; nothing is decoded."""
    if path.suffix.lower() not in (".tif", ".tiff") or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def open_tiff(path: Path, config: ReadConfig) -> tuple[tuple[Any, ...], float | None, tuple[str, ...]]:
    """The resolutions of a tiled RGB file unread, finest first, pixel size and notes; no arrays where the
    file must be read whole. It stays open as long as one of the arrays is there."""
    import tifffile

    where = f"'{path}'"
    try:
        tiff = tifffile.TiffFile(path)
        held = HeldFile(tiff.close)
        plane = _choose(tiff, config, where)
        if not _is_plain(plane):
            return (), None, ()
        _check_header(tiff, plane.series, config, where, whole=False)
        stores = [
            tiff.series[plane.number].aszarr(level=i) for i in range(len(tiff.series[plane.number].levels))
        ]
        um_per_px, _, notes = _metadata(tiff, plane)
    except DECODER_ERRORS as error:
        raise _undecodable(where, error) from error
    return tuple(_level(store, held) for store in stores), um_per_px, plane.notes + notes


def tiff_size(path: Path) -> tuple[float | None, tuple[str, ...]]:
    """Pixel size and notes, from the header."""
    import tifffile

    where = f"'{path}'"
    try:
        with tifffile.TiffFile(path) as tiff:
            um_per_px, _, notes = _metadata(tiff, _choose(tiff, ReadConfig(), where))
    except DECODER_ERRORS as error:
        raise _undecodable(where, error) from error
    return um_per_px, notes


def _level(store: Any, held: HeldFile) -> PiecewiseArray:
    import zarr

    array = zarr.open_array(store, mode="r")
    return PiecewiseArray(array.shape, array.__getitem__, held)


def _is_plain(plane: _Plane) -> bool:
    """Bytes of RGB in tiles: a piece can be read alone, and is what reading whole would give."""
    series, key = plane.series, plane.series.keyframe
    photometric = int(key.photometric)
    is_rgb = photometric == _RGB or (photometric == _YCBCR and int(key.compression) in _JPEG_COMPRESSIONS)
    sizes = dict(zip(series.axes, series.shape, strict=True))
    is_rgb = is_rgb and series.axes in ("YXS", "SYX") and sizes["S"] == 3 and not key.extrasamples
    return bool(is_rgb and key.is_tiled and series.dtype == np.uint8 and key.bitspersample == 8)


def _undecodable(where: str, error: Exception) -> ImageError:
    return ImageError(
        f"{where} cannot be decoded as TIFF: {error or type(error).__name__}. "
        "The file is damaged or cut short; copy it again, or save it again as PNG or TIFF."
    )


def _choose(tiff: Any, config: ReadConfig, where: str) -> _Plane:
    """Pages count through all series; without a page the first series must be a single plane."""
    levels = [series.levels[0] for series in tiff.series]
    counts = [_plane_count(level) for level in levels]
    if not levels:
        raise ImageError(f"{where} holds no images. Save it again as PNG or TIFF.")
    if config.page is None:
        notes = (f"the first of {len(levels)} images in the file was read",) if len(levels) > 1 else ()
        return _Plane(levels[0], 0, None, notes)
    check_page(sum(counts), config.page, where)
    first, number = 0, 0
    while config.page >= first + counts[number]:
        first, number = first + counts[number], number + 1
    notes = (page_note(config.page, sum(counts)),) if sum(counts) > 1 else ()
    return _Plane(levels[number], number, config.page - first, notes)


def _plane_count(series: Any) -> int:
    return int(np.prod([n for axis, n in zip(series.axes, series.shape, strict=True) if axis not in "YXSC"]))


def _check_header(tiff: Any, series: Any, config: ReadConfig, where: str, *, whole: bool = True) -> None:
    """All that can be refused before a sample is decoded."""
    limit = config if whole else read_by_pieces(config)
    sizes = dict(zip(series.axes, series.shape, strict=True))
    key = series.keyframe
    for height, width in ((sizes.get("Y", 0), sizes.get("X", 0)), (key.imagelength, key.imagewidth)):
        check_size(height, width, limit, where)
    # A tile may be declared far larger than the image it covers, and is decoded whole.
    if np.prod([float(n) for n in key.chunks]) > 4e6 * max(config.max_megapixels, 4):
        raise ImageError(
            f"{where} is stored in tiles of {' x '.join(map(str, key.chunks))}, above the limit of "
            f"{config.max_megapixels:g} megapixels (--read.max-megapixels). Save it again as plain TIFF."
        )
    extra = tuple(key.extrasamples)
    check_channels(
        series.axes, series.shape, where, gray_alpha=_ASSOCIATED_ALPHA in extra or _STRAIGHT_ALPHA in extra
    )
    if series.dtype.kind != "b":
        check_dtype(series.dtype, where)
    _check_photometric(key, where)
    for page in series.pages:
        if page is None:
            raise ImageError(
                f"{where} refers to planes in other files, and they are missing. Put them beside it."
            )
        ends = [o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if max(ends, default=0) > tiff.filehandle.size:
            raise ImageError(
                f"{where} is cut short: its samples end at byte {max(ends)}, the file at "
                f"byte {tiff.filehandle.size}. Copy it again from where it came."
            )


def _check_photometric(key: Any, where: str) -> None:
    photometric = int(key.photometric)
    plain = photometric in (_MINISWHITE, _MINISBLACK, _RGB, _PALETTE)
    ycbcr_as_rgb = photometric == _YCBCR and int(key.compression) in _JPEG_COMPRESSIONS
    cmyk = photometric == _CMYK and key.dtype == np.uint8 and key.samplesperpixel == 4
    if not (plain or ycbcr_as_rgb or cmyk):
        raise ImageError(
            f"{where} stores colour as {key.photometric.name} ({key.dtype}, {key.samplesperpixel} samples); "
            "accepted are gray, RGB, palette, 8-bit CMYK and JPEG. Save it again as RGB TIFF or PNG."
        )


def _decode(plane: _Plane, where: str) -> Raw:
    series, key = plane.series, plane.series.keyframe
    index, _ = choose_plane(series.axes, series.shape, plane.page, where)
    axes = "".join(axis for axis, i in zip(series.axes, index, strict=True) if isinstance(i, slice))
    array = series.asarray() if len(axes) == len(series.axes) else _one_plane(series, index)
    array, notes = channels_last(array, axes, where)
    photometric = int(key.photometric)
    depth = key.bitspersample if isinstance(key.bitspersample, int) else max(key.bitspersample)
    bits = depth if array.dtype.kind == "u" and depth not in (8, 16) else None
    if array.dtype.kind == "b":
        array, bits = array.astype(np.uint8) * np.uint8(255), None
    if photometric == _PALETTE and key.colormap is not None:
        array, bits = _through_palette(array, key.colormap), None
    elif photometric == _CMYK:
        array = _cmyk_to_rgb(array)
        notes += ("CMYK colours were converted to RGB without a colour profile",)
    elif photometric == _MINISWHITE and array.dtype.kind == "u":
        bits = bits or depth if depth != 1 else None
        array = array.dtype.type(2 ** (bits or 8) - 1) - array
        notes += ("the file counts from white to black: values were inverted",)
    extra = tuple(key.extrasamples)
    return Raw(
        array=array,
        bits=bits,
        gray_alpha=array.ndim == 3 and array.shape[2] == 2,
        premultiplied=_ASSOCIATED_ALPHA in extra,
        notes=notes,
    )


def _one_plane(series: Any, index: tuple[int | slice, ...]) -> NDArray[Any]:
    # Through zarr, only the pages of this plane are decoded: a stack may be far larger than memory.
    import zarr

    store = series.aszarr()
    try:
        return np.asarray(zarr.open_array(store, mode="r")[index])
    finally:
        store.close()


def _through_palette(array: NDArray[Any], colormap: NDArray[Any]) -> NDArray[Any]:
    table = np.asarray(colormap)
    # The standard holds 16 bits an entry; some writers store 8.
    table = (table >> 8 if table.max() > 255 else table).astype(np.uint8)
    indices = array if array.ndim == 2 else array[..., 0]
    colours: NDArray[Any] = table.T[indices]
    return colours


def _cmyk_to_rgb(array: NDArray[Any]) -> NDArray[Any]:
    from PIL import Image

    height, width = array.shape[:2]
    return np.asarray(Image.frombytes("CMYK", (width, height), array.tobytes()).convert("RGB"))


def _metadata(tiff: Any, plane: _Plane) -> tuple[float | None, int | None, tuple[str, ...]]:
    """Pixel size, significant bits, notes. OME-XML first, then ImageJ, then resolution tags."""
    key = plane.series.keyframe
    notes: tuple[str, ...] = ()
    orientation = key.tags.valueof(274, default=1)
    if orientation != 1:
        # Not applied for the reason given for EXIF in rasters.py.
        notes = (f"TIFF orientation {int(orientation)} was not applied: coordinates are those stored",)
    if tiff.is_ome:
        um, bits, said = _ome(tiff.ome_metadata, plane.number)
        if um is not None or said or bits is not None:
            return um, bits, notes + said
    um, said = _resolution(tiff, key)
    return um, None, notes + said


def _ome(xml: str, number: int) -> tuple[float | None, int | None, tuple[str, ...]]:
    import tifffile

    try:
        images = tifffile.xml2dict(xml)["OME"]["Image"]
        chosen = images[number] if isinstance(images, list) else images
        told = chosen["Pixels"]
    except DECODER_ERRORS:
        return None, None, ("the OME-XML could not be read: no pixel size was taken from it",)
    lengths = [
        pixelsize.in_um(float(told[name]), str(told.get(f"{name}Unit", "µm"))) if name in told else None
        for name in ("PhysicalSizeX", "PhysicalSizeY")
    ]
    um, notes = pixelsize.from_metadata(lengths[0], lengths[1], "the OME-XML")
    bits = told.get("SignificantBits")
    return um, int(bits) if bits is not None and 1 <= int(bits) <= 16 else None, notes


def _resolution(tiff: Any, key: Any) -> tuple[float | None, tuple[str, ...]]:
    if not {282, 283} <= set(key.tags.keys()):
        return None, ()
    per_unit = [_ratio(key.tags.valueof(tag)) for tag in (282, 283)]
    if min(per_unit) <= 0:
        return None, ()
    if tiff.is_imagej and tiff.imagej_metadata:
        sizes = [pixelsize.in_um(1 / n, str(tiff.imagej_metadata.get("unit", ""))) for n in per_unit]
        if None not in sizes:
            return pixelsize.from_metadata(sizes[0], sizes[1], "the ImageJ metadata")
    unit_um = {2: 25400.0, 3: 10000.0}.get(int(key.tags.valueof(296, default=2)))
    if unit_um is None:
        return None, ()
    return pixelsize.from_resolution(unit_um / per_unit[0], unit_um / per_unit[1], "the TIFF resolution")


def _ratio(value: Any) -> float:
    top, bottom = value if isinstance(value, tuple) else (value, 1)
    return float(top) / float(bottom) if bottom else 0.0
