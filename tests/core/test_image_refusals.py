"""Bad input gets a message that says what, the value, what is accepted and what to do; and changes nothing."""

import json
import struct
import time
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from napari_bloodcell.core.config import ReadConfig
from napari_bloodcell.core.errors import ImageError
from napari_bloodcell.core.image import find_images, read_image

tifffile = pytest.importorskip("tifffile")

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
FLOATS = PICTURE / 255


def with_value(array: np.ndarray, value: float) -> np.ndarray:
    changed = array.copy()
    changed[0, 0] = value
    return changed


BAD_ARRAYS: list[tuple[str, Any, str]] = [
    (
        "boolean mask",
        PICTURE[..., 0] > 5,
        "holds bool values; accepted are uint8, uint16, .* A mask is not an",
    ),
    ("complex", FLOATS.astype(complex), "holds complex128 values; accepted are"),
    ("objects", PICTURE.astype(object), "holds object values; .* make one rectangular numeric array"),
    ("text", np.full((20, 20), "a"), "holds str32 values; .* Convert it to uint8 RGB"),
    (
        "NaN",
        with_value(FLOATS, np.nan),
        r"holds 3 value\(s\) that are NaN or infinite, of 6000; .*nan_to_num",
    ),
    ("infinite", with_value(FLOATS, np.inf), r"holds 3 value\(s\) that are NaN or infinite"),
    ("floats to 255", PICTURE.astype(float), "floats from 0 to 255; floats must lie in 0 to 1. Divide by"),
    ("negative floats", with_value(FLOATS, -0.5), "floats from -0.5 to 1; floats must lie in 0 to 1"),
    ("negative integers", PICTURE.astype(int) - 9, "int64 values from -9 to 246; .* lie in 0 to 255"),
    ("large int32", PICTURE.astype(np.int32) * 9, "int32 values from 0 to 2295; .* lie in 0 to 255"),
    ("one axis", PICTURE.ravel(), r"has shape \(6000,\). An image is H x W x 3"),
    ("batch", PICTURE[None], r"has shape \(1, 40, 50, 3\). .* pass one image, such as array\[0\]"),
    ("two channels", PICTURE[..., :2], r"has shape \(40, 50, 2\). An image is H x W x 3 \(RGB\)"),
    ("five channels", np.dstack([PICTURE, PICTURE[..., :2]]), r"has shape \(40, 50, 5\)"),
    ("empty", np.zeros((0, 0, 3), np.uint8), "is empty: 0 x 0 px. An image needs 16 x 16 px or more"),
    ("tiny", PICTURE[:5], "is 50 x 5 px; an image needs 16 x 16 px or more"),
    ("a scalar", 3, r"has shape \(\)"),
    ("nothing", None, r"No image was given \(None\). Pass a file path"),
    ("ragged lists", [[1, 2], [3]], r"\(list\) cannot be made a numeric array: .* Pass a file path"),
    (
        "all transparent",
        np.dstack([PICTURE, PICTURE[..., 0] * 0]),
        r"is transparent everywhere: .*\[..., :3\]",
    ),
]


@pytest.mark.parametrize(("kind", "array", "message"), BAD_ARRAYS, ids=[kind for kind, _, _ in BAD_ARRAYS])
def test_a_bad_array_is_refused_with_what_is_accepted(kind: str, array: Any, message: str) -> None:
    before = array.copy() if isinstance(array, np.ndarray) else array
    with pytest.raises(ImageError, match=message):
        read_image(array)
    if isinstance(array, np.ndarray):
        np.testing.assert_array_equal(array, before)


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    ihdr = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", ihdr)
        + chunk(b"IDAT", zlib.compress(b"\0" * 99))
        + chunk(b"IEND", b"")
    )


def saved(array: np.ndarray, name: str, **options: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        target = folder / name
        if name.endswith("tif"):
            tifffile.imwrite(target, array, **options)
        else:
            Image.fromarray(array).save(target, **options)
        return target

    return make


def cut(make: Callable[[Path], Path], share: float = 0.5) -> Callable[[Path], Path]:
    def cut_short(folder: Path) -> Path:
        path = make(folder)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * share)])
        return path

    return cut_short


def written(name: str, content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        return folder / name

    return write


def deep_png(folder: Path) -> Path:
    import imagecodecs

    path = folder / "deep.png"
    path.write_bytes(imagecodecs.png_encode(PICTURE.astype(np.uint16) * 257))
    return path


def tiff_with_a_wild_second_page(folder: Path) -> Path:
    path = folder / "a.tif"
    tifffile.imwrite(path, np.moveaxis(PICTURE, -1, 0), imagej=True, byteorder=">", metadata={"axes": "CYX"})
    content = bytearray(path.read_bytes())
    first = struct.unpack_from(">I", content, 4)[0]
    after = first + 2 + 12 * struct.unpack_from(">H", content, first)[0]
    struct.pack_into(">I", content, after, len(content) - 3)
    content[-3:-1] = b"\0\x09"
    path.write_bytes(content)
    return path


def plain_folder(folder: Path) -> Path:
    (folder / "holiday").mkdir()
    return folder / "holiday"


def zarr_group(attributes: dict[str, Any]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "group.zarr"
        path.mkdir()
        told = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        (path / "zarr.json").write_text(json.dumps(told))
        return path

    return make


def zarr_v2(folder: Path, **changes: Any) -> Path:
    told = {
        "zarr_format": 2,
        "shape": [40, 50, 3],
        "chunks": [40, 50, 3],
        "dtype": "|u1",
        "compressor": None,
        "fill_value": 0,
        "order": "C",
        "filters": None,
    }
    path = folder / "array.zarr"
    path.mkdir()
    (path / ".zarray").write_text(json.dumps(told | changes))
    return path


OME = {"photometric": "minisblack"}
GRAY = PICTURE[..., 0]
PNG = saved(PICTURE, "a.png")
BAD_FILES: list[tuple[str, Callable[[Path], Path], str]] = [
    ("no such file", lambda folder: folder / "none.png", "none.png' does not exist. Check the path"),
    ("empty file", written("a.png", b""), r"is empty \(0 bytes\). Copy it again"),
    (
        "text as PNG",
        written("a.png", b"hello, world"),
        "is not an image: it starts with b'hello, w'. Accepted are PNG",
    ),
    (
        "other suffix",
        written("a.docx", b"x"),
        r"has the suffix '.docx'; accepted are PNG, JPEG, BMP, WebP, TIFF",
    ),
    ("no suffix", written("a", b"x"), r"has the suffix '\(none\)'; accepted are"),
    (
        "PNG header bomb",
        written("a.png", png_header(100_000, 100_000)),
        "10,000 megapixels; the limit is 400",
    ),
    (
        "PNG of few bytes",
        written("a.png", b"\x89PNG\r\n\x1a\n12"),
        "cannot be decoded as PNG: .*damaged or cut",
    ),
    ("cut PNG", cut(PNG), "cannot be decoded as PNG: .*damaged or cut short; copy it again"),
    ("cut 16-bit PNG", cut(deep_png), "cannot be decoded as PNG: .*damaged or cut short"),
    ("cut JPEG", cut(saved(PICTURE, "a.jpg")), "cannot be decoded as JPEG: .*damaged or cut short"),
    ("cut WebP", cut(saved(PICTURE, "a.webp")), "cannot be decoded as WebP: .*damaged or cut short"),
    ("a sound", written("a.webp", b"RIFF\x24\0\0\0WAVEfmt "), "cannot be decoded as WebP"),
    ("cut BMP", cut(saved(PICTURE, "a.bmp")), "cannot be decoded as BMP: .*damaged or cut short"),
    ("cut TIFF", cut(saved(PICTURE, "a.tif")), "a.tif' is cut short: its samples end at byte"),
    (
        "TIFF of few bytes",
        written("a.tif", b"II*\0\x08\0\0\0"),
        "a.tif' (cannot be decoded as TIFF|holds no images)",
    ),
    ("TIFF of a wild page", tiff_with_a_wild_second_page, "cannot be decoded as TIFF: unpack requires"),
    ("tiny PNG", saved(PICTURE[:8, :8], "a.png"), "is 8 x 8 px; an image needs 16 x 16 px or more"),
    ("TIFF stack", saved(np.stack([GRAY] * 5), "a.tif", **OME), r"holds 5 pages .*--read.page, from 0 to 4"),
    (
        "fluorescence stack",
        saved(np.stack([GRAY] * 4), "a.ome.tif", **OME, metadata={"axes": "CYX"}),
        "has 4 separate channels .* A fluorescence stack is no stained smear",
    ),
    (
        "float TIFF to 255",
        saved(PICTURE.astype(np.float32), "a.tif", photometric="rgb"),
        "floats from 0 to 255;",
    ),
    (
        "CIELAB TIFF",
        saved(PICTURE, "a.tif", photometric="cielab"),
        r"stores colour as CIELAB \(uint8, 3 samples\); accepted are gray, RGB, palette",
    ),
    ("folder", plain_folder, "holiday' is a folder, not an image: it has no zarr metadata"),
    ("zarr group", zarr_group({}), r"without OME-Zarr image metadata \(multiscales\). It holds: nothing"),
    (
        "plate",
        zarr_group({"ome": {"plate": {}}}),
        "plate or well of many fields. Give the folder of one field",
    ),
    (
        "array outside",
        zarr_group({"ome": {"multiscales": [{"datasets": [{"path": "../../x"}]}]}}),
        "names its array by '../../x', which is not a path inside it",
    ),
    (
        "array missing",
        zarr_group({"ome": {"multiscales": [{"datasets": [{"path": "0"}]}]}}),
        "names an array '0' that is not in it. Copy the whole folder again",
    ),
    ("broken zarr", written("z.zarr/zarr.json", b"{"), "cannot be read as OME-Zarr"),
    ("zarr bomb", lambda f: zarr_v2(f, shape=[90_000, 90_000, 3]), "8,100 megapixels; the limit is 400"),
    (
        "zarr chunk bomb",
        lambda f: zarr_v2(f, chunks=[90_000, 90_000, 3]),
        "chunks of 90000 x 90000 x 3, above",
    ),
]


def file_of(make: Callable[[Path], Path], folder: Path) -> Path:
    path = make(folder)
    return path.parent if path.name == "zarr.json" else path


@pytest.mark.parametrize(("kind", "make", "message"), BAD_FILES, ids=[kind for kind, _, _ in BAD_FILES])
def test_a_bad_file_is_refused_with_what_to_do(
    kind: str, make: Callable[[Path], Path], message: str, tmp_path: Path
) -> None:
    path = file_of(make, tmp_path)
    began = time.perf_counter()
    with pytest.raises(ImageError, match=message):
        read_image(path)
    assert time.perf_counter() - began < 2


def test_the_limit_is_named_with_its_flag_and_can_be_raised(tmp_path: Path) -> None:
    path = PNG(tmp_path)
    tight = ReadConfig(max_megapixels=0.01)
    big = saved(np.tile(PICTURE, (4, 4, 1)), "big.png")(tmp_path)
    with pytest.raises(
        ImageError, match=r"0\.032 megapixels; the limit is 0\.01 megapixels\..*--read\.max-megapixels"
    ):
        read_image(big, tight)
    assert read_image(big, ReadConfig(max_megapixels=0.04)).pixels.shape == (160, 200, 3)
    assert read_image(path, tight).pixels.shape == (40, 50, 3)


def test_pillow_limits_stay_as_they_were_and_do_not_bind(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    np.testing.assert_array_equal(read_image(PNG(tmp_path)).pixels, PICTURE)
    assert Image.MAX_IMAGE_PIXELS == 10


def test_lazy_arrays_are_refused_before_they_are_computed() -> None:
    import dask.array

    def explode(block: Any) -> Any:
        raise AssertionError("computed")

    huge = dask.array.zeros((100_000, 100_000, 3), dtype="uint8", chunks=4096).map_blocks(
        explode, dtype="uint8"
    )
    with pytest.raises(ImageError, match="10,000 megapixels; the limit is 400"):
        read_image(huge)
    source = dask.array.from_array(PICTURE, chunks=16)
    with pytest.raises(ImageError, match=r"unknown size.*compute_chunk_sizes"):
        read_image(source[source[:, 0, 0] > 9])


def test_a_page_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"has no page 3: --read.page takes 0, or none here"):
        read_image(PNG(tmp_path), ReadConfig(page=3))
    stack = saved(np.stack([GRAY] * 3), "s.tif", **OME)(tmp_path)
    with pytest.raises(ImageError, match=r"has no page 3: --read.page takes 0 to 2 here"):
        read_image(stack, ReadConfig(page=3))


def test_a_file_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = PNG(tmp_path)

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ImageError, match=r"cannot be opened: Permission denied. Check its permissions"):
        read_image(path)


@pytest.mark.parametrize("place", ["filters", "compressor"])
def test_a_zarr_stored_with_pickle_is_refused_and_its_program_does_not_run(
    place: str, tmp_path: Path
) -> None:
    codec = {"id": "pickle", "protocol": 5}
    path = zarr_v2(tmp_path, **{place: [codec] if place == "filters" else codec})
    # By hand: a pickle that makes a folder when it is loaded.
    (path / "0.0.0").write_bytes(f"cos\nmkdir\n(V{tmp_path / 'ran'}\ntR.".encode())
    with pytest.raises(ImageError, match="pickle"):
        read_image(path)
    assert not (tmp_path / "ran").exists()


def test_finding_no_images_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    for paths, message in [
        ([], "No image was given"),
        (tmp_path / "none", "none' does not exist"),
        (tmp_path / "*.png", "matches no file"),
        (tmp_path, "holds no images; accepted are PNG"),
        (tmp_path / "*.txt", "holds no images"),
    ]:
        with pytest.raises(ImageError, match=message):
            find_images(paths)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("whole")
    tiff = {"photometric": "rgb", "compression": "lzw", "tile": (16, 16)}
    makers = [
        PNG,
        deep_png,
        saved(PICTURE, "a.jpg"),
        saved(PICTURE, "a.bmp"),
        saved(PICTURE, "a.tif", **tiff),
        saved(PICTURE, "b.ome.tif", photometric="rgb", metadata={"axes": "YXS", "PhysicalSizeX": 0.2}),
        saved(PICTURE, "a.webp"),
    ]
    return [make(folder) for make in makers]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(which=st.integers(0, 6), hits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6))
def test_damaged_files_are_read_or_refused_never_a_crash(
    whole_files: list[Path], tmp_path: Path, which: int, hits: list[tuple[float, int]]
) -> None:
    whole = whole_files[which]
    damaged = bytearray(whole.read_bytes())
    for at, value in hits:
        # Squared: most hits fall in the header, where they matter.
        damaged[int(at * at * (len(damaged) - 1))] = value
    path = tmp_path / f"damaged{whole.suffix}"
    path.write_bytes(damaged)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = read_image(path, ReadConfig(max_megapixels=4))
        except ImageError as error:
            said = str(error)
        else:
            said = f"{path} {image.pixels.dtype}"
    assert str(path) in said


def test_an_address_is_no_file() -> None:
    with pytest.raises(ImageError, match="https://host/x.png is an address"):
        read_image("https://host/x.png")
