"""Decoded samples of any accepted form -> H x W x 3 uint8 RGB. Pure functions; nothing here opens a file."""

import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.config import ReadConfig
from napari_bloodcell.core.errors import ImageError
from napari_bloodcell.core.records import ByteArray

MIN_SIDE_PX = 16
LARGEST_MEGAPIXELS = 100_000  # the bound of ReadConfig.max_megapixels
LEAST_CONTRAST = 12  # grey levels; a picture flatter than this is blank, not colourless
GRAY_NOTE = "gray image: no stain colour"
_DEPTHS = (8, 10, 12, 14, 16)
_TAKES = "An image is H x W x 3 (RGB), H x W x 4 (RGBA), H x W (gray), or the same with channels first."

# What decoders raise on damaged bytes. There is no common base: Pillow raises SyntaxError on a broken PNG,
# imagecodecs RuntimeError, tifffile and zarr anything from KeyError to ZeroDivisionError.
DECODER_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, kw_only=True)
class Raw:
    """One plane as decoded: H x W, or H x W x channels."""

    array: NDArray[Any]
    um_per_px: float | None = None
    bits: int | None = None  # significant bits the file declares
    gray_alpha: bool = False  # two channels are gray and alpha
    premultiplied: bool = False  # colour is already multiplied by alpha
    notes: tuple[str, ...] = ()


def check_size(height: float, width: float, config: ReadConfig, where: str) -> None:
    """Called with the header's numbers, before anything is decoded or computed."""
    if math.isnan(height) or math.isnan(width):
        raise ImageError(
            f"{where} has an unknown size ({height} x {width}): a lazy array with unknown chunks. "
            "Call its compute_chunk_sizes() first."
        )
    height, width = int(height), int(width)
    if height == 0 or width == 0:
        raise ImageError(
            f"{where} is empty: {width} x {height} px. "
            f"An image needs {MIN_SIDE_PX} x {MIN_SIDE_PX} px or more."
        )
    if min(height, width) < MIN_SIDE_PX:
        raise ImageError(
            f"{where} is {width} x {height} px; an image needs {MIN_SIDE_PX} x {MIN_SIDE_PX} px or more. "
            "If it is not that small, its axes are in another order: height comes first, then width."
        )
    megapixels = height * width / 1e6
    if megapixels > config.max_megapixels:
        raise ImageError(
            f"{where} is {width} x {height} px = {megapixels:,.6g} megapixels; "
            f"the limit is {config.max_megapixels:g} megapixels. Cut it into fields, "
            "or raise the limit with --read.max-megapixels if the memory is there."
        )


def read_by_pieces(config: ReadConfig) -> ReadConfig:
    """For ``check_size`` of what is never decoded whole: any size that a label can count."""
    return replace(config, max_megapixels=LARGEST_MEGAPIXELS)


def check_dtype(dtype: Any, where: str) -> None:
    kind = np.dtype(dtype).kind
    if kind in "uif":
        return
    hints = {
        "b": "A mask is not an image; a black-and-white picture becomes gray by array.astype('uint8') * 255.",
        "c": "Take its magnitude first if that is the picture.",
        "O": "The rows may differ in length: make one rectangular numeric array.",
    }
    raise ImageError(
        f"{where} holds {np.dtype(dtype).name} values; accepted are uint8, uint16, whole numbers of 0 to 255 "
        f"and floats of 0 to 1. {hints.get(kind, 'Convert it to uint8 RGB.')}"
    )


def array_axes(shape: Sequence[int], where: str) -> str:
    """Axes of an array that comes without names: YX, YXS or SYX. When both could be, channels are last."""
    if len(shape) == 2:
        return "YX"
    if len(shape) == 3:
        first_may, last_may = shape[0] in (1, 3, 4), shape[2] in (1, 3, 4)
        if last_may or 0 in shape:
            return "YXS"
        if first_may:
            return "SYX"
    raise ImageError(
        f"{where} has shape {tuple(shape)}. {_TAKES} Of a stack or batch, pass one image, such as array[0]."
    )


def choose_plane(
    axes: str, shape: Sequence[int], page: int | None, where: str
) -> tuple[tuple[int | slice, ...], tuple[str, ...]]:
    """Index that takes one plane out of named axes, and notes. Z, T and unnamed axes count as pages."""
    for axis in "YX":
        if axes.count(axis) != 1:
            raise ImageError(
                f"{where} has axes {axes!r} of shape {tuple(shape)}; an image has one Y and one X axis."
            )
    stacked = [i for i, axis in enumerate(axes) if axis not in "YXSC"]
    sizes = [int(shape[i]) for i in stacked]
    count = math.prod(sizes)
    check_page(count, page, where, f"axes {axes}, shape {' x '.join(map(str, shape))}")
    index: list[int | slice] = [slice(None)] * len(axes)
    at = np.unravel_index(page or 0, sizes) if sizes else ()
    for where_in_axes, i in zip(stacked, at, strict=True):
        index[where_in_axes] = int(i)
    return tuple(index), ((page_note(page, count),) if page is not None and count > 1 else ())


def check_page(count: int, page: int | None, where: str, detail: str = "") -> None:
    if count == 0:
        raise ImageError(f"{where} is empty: it holds no pages ({detail}).")
    if page is None and count > 1:
        held = f" ({detail})" if detail else ""
        raise ImageError(
            f"{where} holds {count} pages{held}; one field is one page. "
            f"Say which with --read.page, from 0 to {count - 1} (`analyse` and `segment` take it), or save "
            "each page as a file of its own."
        )
    if page is not None and page >= count:
        accepted = f"0 to {count - 1}" if count > 1 else "0, or none"
        raise ImageError(f"{where} has no page {page}: --read.page takes {accepted} here.")


def page_note(page: int | None, count: int) -> str:
    return f"page {page} of 0 to {count - 1} was read"


def channels_last(array: NDArray[Any], axes: str, where: str) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Axes made of Y, X, S (samples of one pixel) and C (separate channels), in any order -> YX or YXS."""
    check_channels(axes, array.shape, where)
    notes: tuple[str, ...] = ()
    sizes = dict(zip(axes, array.shape, strict=True))
    if sizes.get("C") == 3:
        notes = ("3 separate channels were taken as red, green and blue, in this order",)
    if "C" in sizes and "S" in sizes:
        drop = axes.index("C" if sizes["C"] == 1 else "S")
        array, axes = array.take(0, axis=drop), axes[:drop] + axes[drop + 1 :]
    order = [axes.index(axis) for axis in "YXSC" if axis in axes]
    return array.transpose(order), notes


def check_channels(axes: str, shape: Sequence[int], where: str, *, gray_alpha: bool = False) -> None:
    """Refuse by the header alone what could not be a stained smear in RGB."""
    sizes = dict(zip(axes, shape, strict=True))
    separate, samples = int(sizes.get("C", 1)), int(sizes.get("S", 1))
    if separate not in (1, 3) or (separate > 1 and samples > 1):
        raise ImageError(
            f"{where} has {separate} separate channels of {samples} sample(s); accepted are 1 (gray) or "
            "3 (red, green, blue). A fluorescence stack is no stained smear; save the colour picture alone."
        )
    if samples not in ((1, 2, 3, 4) if gray_alpha else (1, 3, 4)):
        raise ImageError(
            f"{where} has {samples} channels; accepted are 1 (gray), 3 (RGB) or 4 (RGBA). "
            "Keep the three colour channels, such as array[..., :3]."
        )


def to_rgb(raw: Raw, where: str) -> tuple[ByteArray, tuple[str, ...]]:
    """H x W x 3 uint8, C-contiguous, and what had to be decided. Never writes to ``raw.array``."""
    array = raw.array if raw.array.ndim == 3 else raw.array[..., None]
    check_dtype(array.dtype, where)
    check_channels("YXS", array.shape, where, gray_alpha=raw.gray_alpha)
    has_alpha = array.shape[2] in (2, 4)
    colour, notes = _to_bytes(array[..., :-1] if has_alpha else array, raw.bits, where)
    if has_alpha:
        alpha, _ = _to_bytes(array[..., -1:], None, where)
        colour, blended = _on_white(colour, alpha, raw.premultiplied, where)
        notes += blended
    if colour.shape[2] == 1:
        colour = np.repeat(colour, 3, axis=2)
        notes += (GRAY_NOTE,)
    elif _is_gray(colour):
        notes += (GRAY_NOTE,)
    return np.ascontiguousarray(colour), notes


def _to_bytes(array: NDArray[Any], bits: int | None, where: str) -> tuple[ByteArray, tuple[str, ...]]:
    if array.dtype.kind == "f":
        return _float_to_bytes(array, where), (
            f"{array.dtype.name} values of 0 to 1 were scaled to 0 to 255",
        )
    if array.dtype == np.uint8 and (bits is None or bits >= 8):
        return array, ()
    low, high = int(array.min()), int(array.max())
    if array.dtype.kind == "u" and array.dtype.itemsize <= 2:
        return _depth_to_bytes(array, bits, high)
    if low < 0 or high > 255:
        raise ImageError(
            f"{where} holds {array.dtype.name} values from {low} to {high}; whole numbers other than uint16 "
            "must lie in 0 to 255. Convert it to uint8 or uint16 first."
        )
    return array.astype(np.uint8), (f"{array.dtype.name} values of 0 to 255 were taken as uint8",)


def _depth_to_bytes(array: NDArray[Any], bits: int | None, high: int) -> tuple[ByteArray, tuple[str, ...]]:
    said = "as the file says"
    if bits is None or high >= 2**bits:
        bits, said = next(d for d in _DEPTHS if high < 2**d), f"maximum {high}"
    top = 2**bits - 1
    table = np.minimum(np.rint(np.arange(2 ** (8 * array.dtype.itemsize)) * (255 / top)), 255).astype(
        np.uint8
    )
    # A table costs one byte a value; arithmetic in float would cost eight for each sample.
    scaled: ByteArray = table[array]
    stored = 8 * array.dtype.itemsize
    return scaled, (f"{stored}-bit samples hold {bits} bits ({said}): 0 to {top} was scaled to 0 to 255",)


def _float_to_bytes(array: NDArray[Any], where: str) -> ByteArray:
    bad = array.size - int(np.count_nonzero(np.isfinite(array)))
    if bad:
        raise ImageError(
            f"{where} holds {bad} value(s) that are NaN or infinite, of {array.size}; every value must be "
            "a number. Fill them first, such as numpy.nan_to_num(array)."
        )
    low, high = float(array.min()), float(array.max())
    # Resampling leaves 1.0000001 behind; that is no other scale.
    if low < -1e-6 or high > 1 + 1e-6:
        raise ImageError(
            f"{where} holds floats from {low:g} to {high:g}; floats must lie in 0 to 1. "
            "Divide by the white value, or convert to uint8 if 255 is white."
        )
    scaled: ByteArray = np.rint(np.clip(array, 0, 1).astype(np.float32) * np.float32(255)).astype(np.uint8)
    return scaled


def _on_white(
    colour: ByteArray, alpha: ByteArray, premultiplied: bool, where: str
) -> tuple[ByteArray, tuple[str, ...]]:
    if alpha.min() == 255:
        return colour, ()
    if alpha.max() == 0:
        raise ImageError(
            f"{where} is transparent everywhere: its fourth channel (alpha) is 0. "
            "If that channel is not alpha, drop it: array[..., :3]."
        )
    weight = alpha.astype(np.float32) / np.float32(255)
    lit = colour.astype(np.float32) if premultiplied else colour * weight
    blended = np.rint(lit + 255 * (1 - weight))
    return np.clip(blended, 0, 255).astype(np.uint8), ("transparent parts were blended on white",)


def _is_gray(colour: ByteArray) -> bool:
    # A coarse look settles nearly every colour image without a full pass.
    step = max(1, min(colour.shape[:2]) // 64)
    return all(bool((view == view[..., :1]).all()) for view in (colour[::step, ::step], colour))
