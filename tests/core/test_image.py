"""Every accepted form of one picture gives the same pixels."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from napari_bloodcell.core.config import ReadConfig
from napari_bloodcell.core.errors import ArtifactError, ImageError
from napari_bloodcell.core.image import (
    find_images,
    from_array,
    hash_file,
    is_image_file,
    read_image,
    write_labels_ome_tiff,
)

tifffile = pytest.importorskip("tifffile")

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
PICTURE.flags.writeable = False
GRAY = PICTURE[..., 0]
OME_CHANNELS = {"axes": "CYX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}


def save_as(path: Path, form: str) -> Path:
    """One picture in each accepted file form."""
    first = np.moveaxis(PICTURE, -1, 0)
    deep = PICTURE.astype(np.uint16) * 257
    tiff: dict[str, tuple[Any, dict[str, Any]]] = {
        "tiff": (PICTURE, {"photometric": "rgb"}),
        "tiff lzw": (PICTURE, {"photometric": "rgb", "compression": "lzw", "predictor": True}),
        "tiff deflate tiled": (PICTURE, {"photometric": "rgb", "compression": "zlib", "tile": (16, 16)}),
        "tiff planar": (first, {"photometric": "rgb", "planarconfig": "separate"}),
        "tiff 16 bit": (deep, {"photometric": "rgb"}),
        "tiff big-endian 16 bit": (deep, {"photometric": "rgb", "byteorder": ">"}),
        "bigtiff": (PICTURE, {"photometric": "rgb", "bigtiff": True}),
        "tiff float": ((PICTURE / 255).astype(np.float32), {"photometric": "rgb"}),
        "ome-tiff samples": (PICTURE, {"photometric": "rgb", "ome": True, "metadata": {"axes": "YXS"}}),
        "ome-tiff channels": (first, {"photometric": "minisblack", "ome": True, "metadata": OME_CHANNELS}),
        "ome-tiff TCZYX": (
            first[None, :, None],
            {"photometric": "minisblack", "ome": True, "metadata": {"axes": "TCZYX"}},
        ),
        "imagej": (first, {"imagej": True, "metadata": {"axes": "CYX"}}),
    }
    if form in tiff:
        array, options = tiff[form]
        target = path / "picture.tif"
        tifffile.imwrite(target, array, **options)
        return target
    if form == "webp":
        Image.fromarray(PICTURE).save(path / "picture.webp", lossless=True)
        return path / "picture.webp"
    target = path / ("picture.bmp" if form == "bmp" else "picture.png")
    if form == "png 16 bit":
        import imagecodecs

        target.write_bytes(imagecodecs.png_encode(deep))
    elif form == "png rgba":
        opaque = np.full((*GRAY.shape, 1), 255, np.uint8)
        Image.fromarray(np.concatenate([PICTURE, opaque], axis=2)).save(target)
    else:
        Image.fromarray(PICTURE).save(target)
    return target


@pytest.mark.parametrize(
    "form",
    [
        "png",
        "png 16 bit",
        "png rgba",
        "bmp",
        "webp",
        "tiff",
        "tiff lzw",
        "tiff deflate tiled",
        "tiff planar",
        "tiff 16 bit",
        "tiff big-endian 16 bit",
        "bigtiff",
        "tiff float",
        "ome-tiff samples",
        "ome-tiff channels",
        "ome-tiff TCZYX",
        "imagej",
    ],
)
def test_every_file_form_gives_the_same_pixels(form: str, tmp_path: Path) -> None:
    path = save_as(tmp_path, form)
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels, PICTURE)
    assert image.pixels.flags.c_contiguous
    assert image.sha256 == hash_file(path)
    assert (image.name, image.source) == (path.name, str(path))


def other_arrays() -> dict[str, Any]:
    import dask.array
    import zarr

    class Wrapped:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return PICTURE

    stored = zarr.open_array({}, mode="w", shape=PICTURE.shape, chunks=(16, 16, 3), dtype="uint8")
    stored[:] = PICTURE
    return {
        "numpy": PICTURE,
        "channels first": np.moveaxis(PICTURE, -1, 0),
        "list": PICTURE.tolist(),
        "dask": dask.array.from_array(PICTURE, chunks=16),
        "zarr": stored,
        "__array__": Wrapped(),
        "uint16": PICTURE.astype(np.uint16) * 257,
        "uint16 that holds 8 bits": PICTURE.astype(np.uint16),
        "int64": PICTURE.astype(np.int64),
        "float32": (PICTURE / 255).astype(np.float32),
        "float64": PICTURE / 255,
        "opaque alpha": np.dstack([PICTURE, np.full(GRAY.shape, 255, np.uint8)]),
        "big-endian": (PICTURE.astype(np.uint16) * 257).astype(">u2"),
        "not contiguous": np.repeat(PICTURE, 2, axis=1)[:, ::2],
    }


@pytest.mark.parametrize("form", list(other_arrays()))
def test_every_array_form_gives_the_same_pixels(form: str) -> None:
    image = read_image(other_arrays()[form])
    np.testing.assert_array_equal(image.pixels, PICTURE)
    assert image.pixels.dtype == np.uint8
    assert (image.name, image.source, image.um_per_px) == ("image", None, None)


@given(
    hnp.arrays(
        np.uint8,
        st.tuples(st.integers(16, 24), st.integers(16, 24), st.just(3)),
        elements=st.integers(0, 255),
    )
)
def test_reading_uint8_arrays_is_the_identity(array: np.ndarray) -> None:
    image = read_image(array)
    np.testing.assert_array_equal(image.pixels, array)
    assert read_image(image) is image
    assert read_image(image.pixels).sha256 == image.sha256


def test_the_array_of_the_caller_is_neither_changed_nor_shared() -> None:
    mine = PICTURE.copy()
    image = read_image(mine)
    np.testing.assert_array_equal(mine, PICTURE)
    mine[:] = 0
    np.testing.assert_array_equal(image.pixels, PICTURE)
    assert not np.may_share_memory(image.pixels, mine)


def test_equal_bytes_of_another_shape_have_another_hash() -> None:
    assert from_array(GRAY).sha256 != from_array(GRAY.reshape(50, 40)).sha256


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_sixteen_bit_samples_are_scaled_by_the_smallest_depth_that_holds_them(bits: int) -> None:
    top = 2**bits - 1
    deep = np.rint(PICTURE / 255 * top).astype(np.uint16)
    image = read_image(deep)
    np.testing.assert_array_equal(image.pixels, PICTURE)
    assert image.notes == (
        f"16-bit samples hold {bits} bits (maximum {top}): 0 to {top} was scaled to 0 to 255",
    )


def test_ome_significant_bits_win_over_the_maximum(tmp_path: Path) -> None:
    dark = (GRAY // 4).astype(np.uint16)
    path = tmp_path / "dark.ome.tif"
    tifffile.imwrite(path, dark, metadata={"axes": "YX", "SignificantBits": 12})
    image = read_image(path)
    assert image.pixels.max() == round(int(dark.max()) * 255 / 4095)
    assert "hold 12 bits (as the file says)" in " ".join(image.notes)


@pytest.mark.parametrize("array", [GRAY, GRAY[..., None], GRAY[None]])
def test_gray_becomes_three_equal_channels_and_says_so(array: np.ndarray) -> None:
    image = read_image(array)
    np.testing.assert_array_equal(image.pixels, np.dstack([GRAY] * 3))
    assert image.notes == ("gray image: no stain colour",)


def test_transparent_parts_are_blended_on_white() -> None:
    alpha = np.full(GRAY.shape, 255, np.uint8)
    alpha[:10], alpha[10:20] = 0, 128
    image = read_image(np.dstack([PICTURE, alpha]))
    assert (image.pixels[:10] == 255).all()
    half = PICTURE[10:20] * (128 / 255) + 255 * (127 / 255)
    np.testing.assert_allclose(image.pixels[10:20], half, atol=0.51)
    np.testing.assert_array_equal(image.pixels[20:], PICTURE[20:])
    assert "transparent parts were blended on white" in image.notes


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK"])
def test_other_pillow_modes_are_converted(mode: str, tmp_path: Path) -> None:
    path = tmp_path / ("picture.jpg" if mode == "CMYK" else "picture.png")
    picture = Image.fromarray(PICTURE).convert(mode)
    picture.save(path)
    image = read_image(path)
    wanted = Image.open(path).convert("RGB")
    np.testing.assert_array_equal(image.pixels, np.asarray(wanted))
    assert ("gray image: no stain colour" in image.notes) == (mode in ("1", "L", "LA"))
    assert any("CMYK" in note for note in image.notes) == (mode == "CMYK")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "HSV", "LAB", "YCbCr", "RGB", "RGBA"])
def test_a_picture_in_pillows_hands_is_what_its_file_would_be(mode: str) -> None:
    picture = Image.fromarray(PICTURE).convert(mode)
    image = read_image(picture)
    wanted = picture.convert("RGBA" if mode in ("LA", "RGBA") else "RGB").convert("RGB")
    np.testing.assert_array_equal(image.pixels, np.asarray(wanted))
    assert any("converted to RGB" in note for note in image.notes) == (
        mode in ("CMYK", "HSV", "LAB", "YCbCr")
    )


def test_a_pixel_size_that_is_set_counts_for_an_image_that_is_read_already() -> None:
    image = read_image(PICTURE, ReadConfig(um_per_px=0.1))
    assert read_image(image) is image
    other = read_image(image, ReadConfig(um_per_px=0.2))
    assert (image.um_per_px, other.um_per_px, other.sha256) == (0.1, 0.2, image.sha256)
    assert other.notes[-1] == "pixel size 0.2 µm instead of 0.1 µm as set"


def test_palette_with_a_transparent_colour_is_blended_on_white(tmp_path: Path) -> None:
    indices = np.zeros((20, 20), np.uint8)
    indices[:, 10:] = 1
    picture = Image.fromarray(indices).convert("P")
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.save(tmp_path / "p.png", transparency=0)
    pixels = read_image(tmp_path / "p.png").pixels
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[0, 19].tolist() == [200, 100, 50]


def test_tiff_palette_and_inverted_gray_show_as_other_viewers_show_them(tmp_path: Path) -> None:
    colormap = np.random.default_rng(1).integers(0, 256, (3, 256)).astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "p.tif", GRAY, photometric="palette", colormap=colormap)
    np.testing.assert_array_equal(read_image(tmp_path / "p.tif").pixels, (colormap >> 8).T[GRAY])
    tifffile.imwrite(tmp_path / "w.tif", 255 - GRAY, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(tmp_path / "w.tif").pixels[..., 0], GRAY)
    Image.fromarray(PICTURE).convert("CMYK").save(tmp_path / "c.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "c.tif").pixels, PICTURE)


def test_one_bit_tiff_is_black_and_white(tmp_path: Path) -> None:
    Image.fromarray(GRAY > 127).save(tmp_path / "bits.tif", compression="group4")
    np.testing.assert_array_equal(read_image(tmp_path / "bits.tif").pixels[..., 1], (GRAY > 127) * 255)


def test_jpeg_inside_tiff_is_read_as_rgb(tmp_path: Path) -> None:
    flat = np.full((32, 32, 3), (200, 90, 140), np.uint8)
    tifffile.imwrite(tmp_path / "j.tif", flat, photometric="rgb", compression="jpeg")
    with tifffile.TiffFile(tmp_path / "j.tif") as tiff:
        assert tiff.pages[0].photometric.name == "YCBCR"
    assert np.abs(read_image(tmp_path / "j.tif").pixels.astype(int) - flat).max() <= 3


def test_exif_rotation_is_not_applied_but_noted(tmp_path: Path) -> None:
    path = tmp_path / "turned.png"
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(PICTURE).save(path, exif=exif)
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels, PICTURE)
    assert image.notes[0].startswith("EXIF orientation 6 was not applied")


def test_content_decides_over_a_wrong_suffix(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "a.bmp")
    path = (tmp_path / "a.bmp").rename(tmp_path / "a.png")
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels, PICTURE)
    assert image.notes == ("the file is BMP, whatever its name says",)


def test_a_page_of_a_stack_is_read_when_it_is_named(tmp_path: Path) -> None:
    stack = np.stack([PICTURE, PICTURE[::-1], PICTURE[:, ::-1]])
    tifffile.imwrite(tmp_path / "s.tif", stack, photometric="rgb")
    image = read_image(tmp_path / "s.tif", ReadConfig(page=2))
    np.testing.assert_array_equal(image.pixels, stack[2])
    assert "page 2 of 0 to 2 was read" in image.notes


def test_the_pyramid_is_read_at_full_resolution_and_the_label_picture_left(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "p.tif") as tiff:
        big = np.tile(PICTURE, (4, 4, 1))
        tiff.write(big, photometric="rgb", subifds=1, tile=(64, 64))
        tiff.write(big[::2, ::2], photometric="rgb", subfiletype=1, tile=(64, 64))
        tiff.write(PICTURE[:20, :20], photometric="rgb", metadata=None)
    image = read_image(tmp_path / "p.tif")
    np.testing.assert_array_equal(image.pixels, big)
    assert "the first of 2 images in the file was read" in image.notes
    label = read_image(tmp_path / "p.tif", ReadConfig(page=1))
    np.testing.assert_array_equal(label.pixels, PICTURE[:20, :20])


@pytest.mark.parametrize(
    ("x", "y", "unit", "um"),
    [(0.25, 0.25, "µm", 0.25), (250, 250, "nm", 0.25), (0.2, 0.4, "µm", 0.08**0.5), (3, 3, "pixel", None)],
)
def test_pixel_size_comes_from_the_ome_xml(
    x: float, y: float, unit: str, um: float | None, tmp_path: Path
) -> None:
    told = {"PhysicalSizeX": x, "PhysicalSizeY": y, "PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    tifffile.imwrite(tmp_path / "a.ome.tif", PICTURE, photometric="rgb", metadata={"axes": "YXS", **told})
    image = read_image(tmp_path / "a.ome.tif")
    assert image.um_per_px == (None if um is None else pytest.approx(um))
    assert any("not square" in note for note in image.notes) == (x != y)


def test_pixel_size_comes_from_imagej_and_from_plausible_resolution_tags(tmp_path: Path) -> None:
    first = np.moveaxis(PICTURE, -1, 0)
    tifffile.imwrite(
        tmp_path / "j.tif", first, imagej=True, resolution=(4, 4), metadata={"axes": "CYX", "unit": "um"}
    )
    assert read_image(tmp_path / "j.tif").um_per_px == pytest.approx(0.25)
    tifffile.imwrite(tmp_path / "t.tif", PICTURE, resolution=(40000, 40000), resolutionunit="CENTIMETER")
    assert read_image(tmp_path / "t.tif").um_per_px == pytest.approx(0.25)
    Image.fromarray(PICTURE).save(tmp_path / "p.png", dpi=(254000, 254000))
    assert read_image(tmp_path / "p.png").um_per_px == pytest.approx(0.1, rel=1e-3)


def test_a_printing_resolution_is_no_pixel_size(tmp_path: Path) -> None:
    for name in ("p.png", "p.jpg", "p.tif"):
        Image.fromarray(PICTURE).save(tmp_path / name, dpi=(300, 300))
        assert read_image(tmp_path / name).um_per_px is None


def test_a_pixel_size_that_is_set_wins_and_the_one_in_the_file_is_named(tmp_path: Path) -> None:
    image = read_image(save_as(tmp_path, "ome-tiff channels"), ReadConfig(um_per_px=0.1))
    assert image.um_per_px == 0.1
    assert image.notes[-1] == "pixel size 0.1 µm as set instead of the file's 0.25 µm"


def test_folders_and_patterns_are_expanded_in_order_and_once(tmp_path: Path) -> None:
    for name in ("b.png", "a.tif", "sub/c.PNG", ".hidden.png", ".cache/d.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(PICTURE).save(tmp_path / name, format="TIFF" if name.endswith("tif") else "PNG")
    (tmp_path / "z.zarr" / "0").mkdir(parents=True)
    (tmp_path / "z.zarr" / ".zgroup").touch()
    (tmp_path / "z.zarr" / "0" / "chunk.png").touch()
    found = [tmp_path / name for name in ("a.tif", "b.png", "sub/c.PNG", "z.zarr")]
    assert find_images(tmp_path) == found
    assert find_images([tmp_path / "b.png", tmp_path]) == [found[1], found[0], *found[2:]]
    assert find_images(str(tmp_path / "*.png")) == [tmp_path / "b.png"]
    assert find_images([tmp_path / "**" / "*.PNG"]) == [tmp_path / "sub" / "c.PNG"]
    assert all(is_image_file(path) for path in found)
    assert not is_image_file(tmp_path / "notes.txt")
    assert not is_image_file(tmp_path)


def test_masks_below_a_data_set_are_no_images_unless_their_folder_is_named(tmp_path: Path) -> None:
    for name in ("images/a.png", "masks/a.png", "lab/Nuclei/b.png", "lab/cells/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        Image.fromarray(PICTURE).save(tmp_path / name)
    assert find_images(tmp_path) == [tmp_path / "images" / "a.png", tmp_path / "lab" / "cells" / "b.png"]
    assert find_images(tmp_path / "masks") == [tmp_path / "masks" / "a.png"]
    (tmp_path / "images" / "a.png").unlink()
    shutil.rmtree(tmp_path / "lab")
    with pytest.raises(ImageError, match="'.*' holds no images.*masks, nuclei.* are left out unless they"):
        find_images(tmp_path)


def test_outlines_beside_an_image_are_no_image_unless_they_are_named(tmp_path: Path) -> None:
    outlines = tmp_path / "smear.labels.ome.tif"  # as `sample` and results write them
    Image.fromarray(PICTURE).save(tmp_path / "smear.png")
    write_labels_ome_tiff(outlines, np.eye(8, dtype=np.int32), 0.1)
    write_labels_ome_tiff(tmp_path / "nuclei.ome.tif", np.eye(8, dtype=np.int32), 0.1)
    assert find_images(tmp_path) == [tmp_path / "smear.png"]
    assert find_images(tmp_path / "*.*") == [tmp_path / "smear.png"]
    assert find_images(outlines) == [outlines]


@pytest.mark.parametrize("um_per_px", [0.25, None])
def test_labels_come_back_from_the_ome_tiff_as_they_were(um_per_px: float | None, tmp_path: Path) -> None:
    labels = np.random.default_rng(2).integers(0, 70_000, (33, 47)).astype(np.int32)
    path = tmp_path / "labels.ome.tif"
    for _ in range(2):  # the second write replaces the first
        write_labels_ome_tiff(path, labels, um_per_px)
    with tifffile.TiffFile(path) as tiff:
        np.testing.assert_array_equal(tiff.asarray(), labels)
        assert tiff.asarray().dtype == np.int32
        assert tiff.is_ome
        assert ('PhysicalSizeX="0.25"' in tiff.ome_metadata) == (um_per_px is not None)
    assert list(tmp_path.iterdir()) == [path]


def test_labels_that_cannot_be_saved_leave_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "labels.ome.tif"
    path.write_text("before")
    with pytest.raises(ImageError, match="give H x W integers"):
        write_labels_ome_tiff(path, np.zeros((4, 4, 3), np.int32), None)
    with pytest.raises(ImageError, match="give a positive number"):
        write_labels_ome_tiff(path, np.zeros((4, 4), np.int32), -1.0)
    with pytest.raises(ArtifactError, match="labels.ome.tif"):
        write_labels_ome_tiff(path / "labels.ome.tif", np.zeros((4, 4), np.int32), None)
    assert path.read_text() == "before"


def test_importing_the_reader_loads_no_heavy_library() -> None:
    code = (
        "import sys, napari_bloodcell.core.image; "
        "print(sorted({'PIL', 'tifffile', 'zarr', 'dask', 'torch', 'napari', 'qtpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
