"""OME-Zarr folders (NGFF 0.4 and 0.5, zarr formats 2 and 3) and plain zarr arrays -> samples."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from napari_bloodcell.core.config import ReadConfig
from napari_bloodcell.core.errors import ImageError
from napari_bloodcell.core.image import pixelsize
from napari_bloodcell.core.image.pixels import (
    DECODER_ERRORS,
    Raw,
    array_axes,
    channels_last,
    check_channels,
    check_dtype,
    check_page,
    check_size,
    choose_plane,
    read_by_pieces,
)

MARKERS = ("zarr.json", ".zarray", ".zgroup", ".zattrs")


def is_zarr_folder(path: Path) -> bool:
    return path.is_dir() and any((path / marker).is_file() for marker in MARKERS)


def read_zarr(path: Path, config: ReadConfig) -> Raw:
    where = f"'{path}'"
    try:
        array, axes, um_per_px, notes = _open(path, config, where)
        raw = _read(array, axes, config, where)
    except DECODER_ERRORS as error:
        raise _damaged(where, error) from error
    return Raw(array=raw.array, um_per_px=um_per_px, notes=raw.notes + notes)


def open_zarr(path: Path, config: ReadConfig) -> tuple[tuple[Any, ...], float | None, tuple[str, ...]]:
    """The arrays of all resolutions unread, finest first, pixel size and notes; no arrays where it is no
    plain RGB image of bytes, which only reading whole can make one."""
    where = f"'{path}'"
    try:
        array, axes, um_per_px, notes = _open(path, config, where)
        sizes = dict(zip(axes, array.shape, strict=True))
        is_plain = _is_plain(array, axes)
        check_size(
            sizes.get("Y", 0), sizes.get("X", 0), read_by_pieces(config) if is_plain else config, where
        )
        _check_storage(array, config, where)
        coarser = _coarser(path, array, config, where) if is_plain else []
    except DECODER_ERRORS as error:
        raise _damaged(where, error) from error
    return ((array, *coarser) if is_plain else ()), um_per_px, notes


def _is_plain(array: Any, axes: str) -> bool:
    is_rgb = axes in ("YXS", "SYX", "YXC", "CYX") and 3 in (array.shape[0], array.shape[-1])
    return bool(is_rgb and array.dtype == np.uint8)


def _coarser(path: Path, finest: Any, config: ReadConfig, where: str) -> list[Any]:
    """The other resolutions; one that is missing or unlike the first is passed over."""
    import zarr

    node = zarr.open(path, mode="r")
    if isinstance(node, zarr.Array):
        return []
    group, image = _image_group(node, where)
    found: list[Any] = []
    for number in range(1, len(image["datasets"])):
        array = group.get(_dataset(image, where, number), None)
        before = found[-1] if found else finest
        if (
            isinstance(array, zarr.Array)
            and array.dtype == finest.dtype
            and array.ndim == finest.ndim
            and array.size < before.size
        ):
            _check_storage(array, config, where)
            found.append(array)
    return found


def _open(path: Path, config: ReadConfig, where: str) -> tuple[Any, str, float | None, tuple[str, ...]]:
    """The full-resolution array, its axes, pixel size and notes."""
    import zarr

    node = zarr.open(path, mode="r")
    if isinstance(node, zarr.Array):
        axes = array_axes(node.shape, where)
        check_page(1, config.page, where)
        return node, axes, None, ()
    group, image = _image_group(node, where)
    dataset = _dataset(image, where)
    if dataset not in group:
        raise ImageError(
            f"{where} names an array {dataset!r} that is not in it. Copy the whole folder again."
        )
    array = group[dataset]
    if not isinstance(array, zarr.Array):
        raise ImageError(f"{where} names a group where its full-resolution array should be. Write it again.")
    um_per_px, notes = _pixel_size(image)
    return array, _axes(image, array.ndim, where), um_per_px, notes


def _damaged(where: str, error: Exception) -> ImageError:
    return ImageError(
        f"{where} cannot be read as OME-Zarr: {error or type(error).__name__}. "
        "The folder is damaged or a part is missing; copy it again."
    )


def _read(array: Any, axes: str, config: ReadConfig, where: str) -> Raw:
    sizes = dict(zip(axes, array.shape, strict=True))
    check_size(sizes.get("Y", 0), sizes.get("X", 0), config, where)
    check_channels(axes, array.shape, where)
    check_dtype(array.dtype, where)
    _check_storage(array, config, where)
    index, notes = choose_plane(axes, array.shape, config.page, where)
    kept = "".join(axis for axis, i in zip(axes, index, strict=True) if isinstance(i, slice))
    samples, said = channels_last(np.asarray(array[index]), kept, where)
    return Raw(array=samples, notes=notes + said)


def _check_storage(array: Any, config: ReadConfig, where: str) -> None:
    # A chunk is decoded whole, and may be declared far larger than the image.
    if math.prod(array.chunks) > 4e6 * max(config.max_megapixels, 4):
        raise ImageError(
            f"{where} is stored in chunks of {' x '.join(map(str, array.chunks))}, above the limit of "
            f"{config.max_megapixels:g} megapixels (--read.max-megapixels). Write it with smaller chunks."
        )
    stored = array.metadata.to_dict()
    codecs = [stored.get(name) for name in ("codecs", "filters", "compressor")]
    # A pickle filter runs code out of the file while decoding.
    if "pickle" in repr(codecs).lower():
        raise ImageError(
            f"{where} is stored with a pickle codec, which can run any program when read; it was not opened. "
            "Ask for it written with blosc, zstd or gzip."
        )


def _image_group(group: Any, where: str) -> tuple[Any, dict[str, Any]]:
    """The group that holds the image, and its first multiscale. Attributes lie under "ome" from 0.5 on."""
    told = _told(group)
    if "multiscales" not in told and "bioformats2raw.layout" in told and "0" in group:
        group = group["0"]
        told = _told(group)
    scales = told.get("multiscales")
    if isinstance(scales, list) and scales and isinstance(scales[0], dict):
        return group, scales[0]
    if "plate" in told or "well" in told:
        raise ImageError(
            f"{where} is a plate or well of many fields. Give the folder of one field, such as A/1/0."
        )
    held = ", ".join(sorted(name for name, _ in group.members())[:6]) or "nothing"
    raise ImageError(
        f"{where} is a zarr group without OME-Zarr image metadata (multiscales). It holds: {held}. "
        "Give the folder of one array in it."
    )


def _told(group: Any) -> dict[str, Any]:
    told = dict(group.attrs)
    inner = told.get("ome")
    return dict(inner) if isinstance(inner, dict) else told


def _dataset(image: dict[str, Any], where: str, number: int = 0) -> str:
    path = image["datasets"][number]["path"]
    if not isinstance(path, str) or ".." in path.split("/") or path.startswith("/"):
        raise ImageError(
            f"{where} names its array by {path!r}, which is not a path inside it. Write it again."
        )
    return path


def _axes(image: dict[str, Any], ndim: int, where: str) -> str:
    axes = image.get("axes")
    if axes is None:  # NGFF before 0.3 fixed the order
        return "TCZYX"[-ndim:]
    letters = ""
    for axis in axes:
        name = str(axis["name"] if isinstance(axis, dict) else axis).upper()
        channel = isinstance(axis, dict) and axis.get("type") == "channel"
        letters += "C" if channel else name if name in ("T", "C", "Z", "Y", "X") else "Q"
    if len(letters) != ndim:
        raise ImageError(f"{where} names {len(letters)} axes for an array of {ndim}. Write it again.")
    return letters


def _pixel_size(image: dict[str, Any]) -> tuple[float | None, tuple[str, ...]]:
    """Scales of the dataset and of the whole multiscale both apply."""
    axes = image.get("axes") or []
    transforms = [
        *(image["datasets"][0].get("coordinateTransformations") or []),
        *(image.get("coordinateTransformations") or []),
    ]
    scales = [t["scale"] for t in transforms if t.get("type") == "scale" and len(t["scale"]) == len(axes)]
    if not scales:
        return None, ()
    lengths: dict[str, float | None] = {}
    for i, axis in enumerate(axes):
        if isinstance(axis, dict):
            size = math.prod(float(scale[i]) for scale in scales)
            lengths[str(axis["name"]).upper()] = pixelsize.in_um(size, axis.get("unit"))
    return pixelsize.from_metadata(lengths.get("X"), lengths.get("Y"), "the OME-Zarr metadata")
