"""Any image file or array -> ``SmearImage``: H x W x 3 uint8 RGB, with what reading had to decide.

The rest of the package never asks what an image was before. Channel order is taken as stored: a picture in
BGR cannot be told from one in RGB with another stain, so it is never guessed.
"""

import dataclasses
import glob
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_bloodcell.core.config import ReadConfig
from napari_bloodcell.core.errors import ImageError
from napari_bloodcell.core.image.labels import write_labels_ome_tiff
from napari_bloodcell.core.image.omezarr import is_zarr_folder, read_zarr
from napari_bloodcell.core.image.pixels import (
    DECODER_ERRORS,
    Raw,
    array_axes,
    channels_last,
    check_channels,
    check_dtype,
    check_page,
    check_size,
    to_rgb,
)
from napari_bloodcell.core.image.plate import fields_in, name_of, well_of
from napari_bloodcell.core.image.rasters import decode, read_raster
from napari_bloodcell.core.image.said import from_viewer
from napari_bloodcell.core.image.tiff import read_tiff
from napari_bloodcell.core.records import AS_SET, SmearImage

__all__ = [
    "IMAGE_SUFFIXES",
    "find_images",
    "from_array",
    "from_viewer",
    "hash_file",
    "is_image_file",
    "name_of",
    "place_of",
    "read_image",
    "well_of",
    "write_labels_ome_tiff",
]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".svs", ".ndpi", ".zarr")
SHEETS = (".xlsx", ".xls", ".ods")
_ACCEPTED = "PNG, JPEG, BMP, WebP, TIFF, OME-TIFF, SVS, NDPI and OME-Zarr"
_SUFFIXES_OF = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg"),
    "BMP": (".bmp",),
    "WebP": (".webp",),
    "TIFF": (".tif", ".tiff", ".svs", ".ndpi"),
}
_FIRST_BYTES = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"BM", "BMP"),
    (b"RIFF", "WebP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
)
_DEFAULT = ReadConfig()
# Below a folder that is named, these hold outlines of the pictures beside them, not pictures.
MASK_FOLDERS = ("mask", "masks", "nuclei", "ground truth segmentation")
LABEL_FILES = ("labels.ome.tif", "nuclei.ome.tif")  # how names of our own outlines end


def read_image(
    source: str | Path | ArrayLike | SmearImage, config: ReadConfig = _DEFAULT, *, name: str | None = None
) -> SmearImage:
    """Read a file, an OME-Zarr folder or an array (numpy, dask, zarr, anything with ``__array__``)."""
    if isinstance(source, SmearImage):
        return _sized(source, config)
    if isinstance(source, str) and "://" in source:
        raise ImageError(f"{source} is an address: pictures are read from files. Save it, and give the file.")
    if isinstance(source, str | os.PathLike):
        return _from_path(Path(source).expanduser(), config, name)
    return from_array(source, config, name=name)


def _sized(image: SmearImage, config: ReadConfig) -> SmearImage:
    """Read already; a pixel size that is set counts all the same."""
    if config.um_per_px is None or config.um_per_px == image.um_per_px:
        return image
    instead = "" if image.um_per_px is None else f" instead of {image.um_per_px:.6g} µm"
    note = f"pixel size {config.um_per_px:.6g} µm{instead}{AS_SET}"
    return dataclasses.replace(image, um_per_px=float(config.um_per_px), notes=(*image.notes, note))


def from_array(
    array: ArrayLike, config: ReadConfig = _DEFAULT, *, name: str | None = None, source: str | None = None
) -> SmearImage:
    """The pixels are a copy: what the caller does to the array afterwards changes nothing here."""
    where = f"Array '{name}'" if name else "The array"
    if array is None:
        raise ImageError("No image was given (None). Pass a file path, or an array of H x W x 3.")
    lazy: Any = array
    notes: tuple[str, ...] = ()
    if type(array).__module__.startswith("PIL."):  # a palette's numbers are no colours, nor are those of CMYK
        check_size(lazy.height, lazy.width, config, where)
        decoded = decode(lazy.convert("RGBA") if lazy.mode == "LA" else lazy)
        lazy, notes = decoded.array, decoded.notes
    if hasattr(lazy, "shape") and hasattr(lazy, "dtype"):  # dask, zarr and the like: refused before computed
        _check_array(tuple(lazy.shape), lazy.dtype, config, where)
    try:
        samples = np.asarray(lazy)
    except DECODER_ERRORS as error:
        raise ImageError(
            f"{where} ({type(array).__name__}) cannot be made a numeric array: {str(error).rstrip('.')}. "
            "Pass a file path, or a numpy, dask or zarr array of H x W x 3."
        ) from error
    axes = _check_array(samples.shape, samples.dtype, config, where)
    moved, _ = channels_last(samples, axes, where)
    image = _finish(
        Raw(array=moved, notes=notes),
        config,
        where,
        name=name or "image",
        sha256=_hash_array(samples),
        source=source,
    )
    if np.may_share_memory(image.pixels, samples):
        return dataclasses.replace(image, pixels=image.pixels.copy())
    return image


def _check_array(shape: tuple[int, ...], dtype: Any, config: ReadConfig, where: str) -> str:
    try:
        check_dtype(dtype, where)
    except TypeError as error:  # a dtype of another library
        raise ImageError(
            f"{where} holds {dtype} values; convert it to a numpy array of uint8 first."
        ) from error
    axes = array_axes(shape, where)
    check_size(shape[axes.index("Y")], shape[axes.index("X")], config, where)
    check_channels(axes, shape, where)
    check_page(1, config.page, where)
    return axes


def _from_path(path: Path, config: ReadConfig, name: str | None) -> SmearImage:
    where = f"'{path}'"
    if path.is_dir():
        if not is_zarr_folder(path):
            raise ImageError(
                f"{where} is a folder, not an image: it has no zarr metadata (zarr.json, .zgroup, .zarray). "
                "Give one of the files in it."
            )
        raw = read_zarr(path, config)
        sha256 = _hash_array(raw.array)
    else:
        kind = kind_of_file(path)
        raw = read_tiff(path, config) if kind == "TIFF" else read_raster(path, kind, config)
        sha256 = hash_file(path)
        if path.suffix.lower() not in _SUFFIXES_OF[kind]:
            raw = dataclasses.replace(raw, notes=(f"the file is {kind}, whatever its name says", *raw.notes))
    return _finish(raw, config, where, name=name or name_of(path), sha256=sha256, source=str(path.absolute()))


def _finish(
    raw: Raw, config: ReadConfig, where: str, *, name: str, sha256: str, source: str | None
) -> SmearImage:
    pixels, decided = to_rgb(raw, where)
    um_per_px, notes = raw.um_per_px, raw.notes + decided
    if config.um_per_px is not None:
        instead = f" instead of the file's {um_per_px:.6g} µm" if um_per_px is not None else ""
        um_per_px = float(config.um_per_px)
        notes += (f"pixel size {um_per_px:.6g} µm as set{instead}",)
    return SmearImage(
        pixels=pixels,
        name=name,
        source=source,
        um_per_px=um_per_px,
        sha256=sha256,
        notes=notes,
        even_light=config.even_light,
    )


def kind_of_file(path: Path) -> str:
    """By the first bytes, not the name: a JPEG saved as .png is common, and harmless."""
    where = f"'{path}'"
    if not path.exists():
        raise ImageError(f"{where} does not exist. Check the path; a relative one starts at '{Path.cwd()}'.")
    if path.suffix.lower() in SHEETS:
        raise ImageError(f"{where} is a spreadsheet. A list of images is read as CSV: save it as .csv.")
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise ImageError(
            f"{where} has the suffix {path.suffix or '(none)'!r}; accepted are {_ACCEPTED} "
            f"({', '.join(IMAGE_SUFFIXES)}). Save it as one of these."
        )
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise ImageError(
            f"{where} cannot be opened: {error.strerror or error}. Check its permissions."
        ) from error
    if not head:
        raise ImageError(f"{where} is empty (0 bytes). Copy it again from where it came.")
    for first, kind in _FIRST_BYTES:
        if head.startswith(first):
            return kind
    raise ImageError(
        f"{where} is not an image: it starts with {head[:8]!r}. Accepted are {_ACCEPTED}; "
        "open it in the program that made it and export one of these."
    )


def is_image_file(path: str | Path) -> bool:
    """By suffix, or for a folder by its zarr metadata; nothing is read."""
    place = Path(path)
    if place.is_dir():
        return is_zarr_folder(place)
    return place.suffix.lower() in IMAGE_SUFFIXES and place.suffix.lower() != ".zarr"


def find_images(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """Files, folders (with all below them but dot files, folders of masks and our own outlines), OME-Zarr
    plates (their fields) and patterns -> image paths, each once.

    What is named comes in the order named; what a folder or pattern holds is sorted.
    """
    named = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not named:
        raise ImageError("No image was given. Name files, folders, or patterns such as 'slides/*.tif'.")
    found: dict[Path, Path] = {}
    for one in named:
        for path in _expand(Path(one).expanduser()):
            found.setdefault(place_of(path), path)
    return list(found.values())


def place_of(path: Path) -> Path:
    """The same for all ways to write one path: what is named twice must not count twice."""
    return path.resolve() if ".." in path.parts else path.absolute()


def _expand(path: Path) -> list[Path]:
    if not path.exists():
        # Path.glob cannot start from an absolute pattern.
        hits = glob.glob(str(path), recursive=True) if _is_pattern(path) else []  # noqa: PTH207
        matched = sorted(map(Path, hits))
        if not matched:
            what = "matches no file" if _is_pattern(path) else "does not exist"
            raise ImageError(f"'{path}' {what}. Check it; a relative path starts at '{Path.cwd()}'.")
        images = [
            image
            for hit in matched
            for image in (_below(hit) if hit.is_dir() else [hit])
            if is_image_file(image) and not _is_labels(image)
        ]
    elif path.is_dir():
        images = _below(path)
    else:
        images = [path]  # named by a person: if it is no image, reading says so, for this one alone
    if not images:
        raise ImageError(
            f"'{path}' holds no images; accepted are {_ACCEPTED} ({', '.join(IMAGE_SUFFIXES)}). Folders "
            f"named {', '.join(MASK_FOLDERS)} are left out unless they are named themselves."
        )
    return images


def _is_pattern(path: Path) -> bool:
    return any(sign in str(path) for sign in "*?[")


def _is_labels(path: Path) -> bool:
    """As samples and results call them: outlines that lie beside an image are no image."""
    return path.name.casefold().endswith(LABEL_FILES)


def _below(folder: Path) -> list[Path]:
    if is_zarr_folder(folder):
        return fields_in(folder) or [folder]

    def refuse(error: OSError) -> None:
        raise ImageError(
            f"'{error.filename}' cannot be listed: {error.strerror}. Check its permissions."
        ) from error

    images: list[Path] = []
    for top, folders, files in os.walk(folder, onerror=refuse):
        here = Path(top)
        paths = [here / name for name in files if not name.startswith(".")]
        images += [path for path in paths if is_image_file(path) and not _is_labels(path)]
        visible = [n for n in folders if not n.startswith(".") and n.casefold() not in MASK_FOLDERS]
        zarrs = {name for name in visible if is_zarr_folder(here / name)}
        images += [field for name in zarrs for field in fields_in(here / name) or [here / name]]
        folders[:] = [name for name in visible if name not in zarrs]  # the chunks of a zarr are not images
    return sorted(images)


def hash_file(path: str | Path) -> str:
    """SHA-256 of a file's bytes."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ImageError(
            f"'{path}' cannot be read: {error.strerror or error}. Check path and permissions."
        ) from error


def _hash_array(array: NDArray[Any]) -> str:
    """SHA-256 of type, shape and bytes: equal bytes of another shape are another image."""
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape} ".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
