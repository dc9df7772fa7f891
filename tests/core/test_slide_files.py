"""Slides with several resolutions, read piece by piece: OME-TIFF, SVS, OME-Zarr."""

import gc
from pathlib import Path

import numpy as np
import pytest
from slide_files import TILE, UM, levels_of, write_ome_tiff, write_ome_zarr, write_svs

from napari_bloodcell.core.config import ReadConfig
from napari_bloodcell.core.errors import ImageError
from napari_bloodcell.core.image import read_image, scanners
from napari_bloodcell.core.image.lazy import LazyImage, open_lazily

PICTURE = np.random.default_rng(0).integers(0, 256, (300, 420, 3), dtype=np.uint8)


def opened(path: Path) -> LazyImage:
    image = open_lazily(path)
    assert image is not None
    return image


@pytest.fixture(params=["ome.tif", "svs", "zarr"])
def slide(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, list[np.ndarray]]:
    write = {"ome.tif": write_ome_tiff, "svs": write_svs, "zarr": write_ome_zarr}[request.param]
    path = tmp_path / f"slide.{request.param}"
    return path, write(path, PICTURE)


def test_every_level_of_a_slide_is_there_and_only_pieces_are_read(
    slide: tuple[Path, list[np.ndarray]],
) -> None:
    path, expected = slide
    image = opened(path)
    assert image.um_per_px == pytest.approx(UM)
    assert len(image.levels) == len(expected)
    for level, pixels in zip(image.levels, expected, strict=True):
        assert level.shape == pixels.shape
        assert level.um_per_px == pytest.approx(UM * 300 / pixels.shape[0])
        window = (slice(5, 70), slice(60, 130))
        np.testing.assert_array_equal(level[window], pixels[window])
        np.testing.assert_array_equal(level[slice(60, 900), slice(0, 900)], pixels[60:])
        assert level[slice(70, 70), slice(0, 9)].shape == (0, 9, 3)


def test_a_slide_read_whole_and_by_pieces_has_the_same_pixels(slide: tuple[Path, list[np.ndarray]]) -> None:
    path, _ = slide
    image = opened(path)
    np.testing.assert_array_equal(read_image(path).pixels, image[0:300, 0:420])


def test_a_piece_stays_readable_when_the_slide_is_gone(tmp_path: Path) -> None:
    write_ome_tiff(tmp_path / "slide.ome.tif", PICTURE)
    coarse = opened(tmp_path / "slide.ome.tif").levels[2]
    gc.collect()
    np.testing.assert_array_equal(coarse[0:75, 0:105], levels_of(PICTURE, 3)[2])


def test_jpeg_tiles_give_the_colours_that_reading_whole_gives(tmp_path: Path) -> None:
    smooth = np.repeat(np.linspace(0, 255, 420, dtype=np.uint8)[None, :, None], 300, axis=0)
    pixels = np.concatenate([smooth, 255 - smooth, smooth // 2], axis=2)
    write_ome_tiff(tmp_path / "a.ome.tif", pixels, compression="jpeg")
    image = opened(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(image[0:300, 0:420], read_image(tmp_path / "a.ome.tif").pixels)
    assert np.median(np.abs(image[0:300, 0:420].astype(int) - pixels)) < 3


def test_what_is_no_plain_rgb_in_tiles_is_read_whole(tmp_path: Path) -> None:
    import tifffile

    tifffile.imwrite(tmp_path / "strips.tif", PICTURE, photometric="rgb")
    tifffile.imwrite(tmp_path / "deep.tif", PICTURE.astype(np.uint16), photometric="rgb", tile=TILE)
    tifffile.imwrite(tmp_path / "gray.tif", PICTURE[..., 0], photometric="minisblack", tile=TILE)
    for name in ("strips.tif", "deep.tif", "gray.tif"):
        assert open_lazily(tmp_path / name) is None


def test_the_limit_of_megapixels_is_for_what_is_read_whole(tmp_path: Path) -> None:
    """100,000 MP hold for all: a header can say anything."""
    config = ReadConfig(max_megapixels=0.1)
    for name, write in (("a.ome.tif", write_ome_tiff), ("a.zarr", write_ome_zarr)):
        write(tmp_path / name, PICTURE)
        image = open_lazily(tmp_path / name, config)
        assert image is not None
        assert image.shape == PICTURE.shape
        with pytest.raises(ImageError, match=r"0.126 megapixels.*the limit is 0.1 megapixels"):
            read_image(tmp_path / name, config)


def test_a_slide_without_a_reader_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_svs(tmp_path / "slide.svs", PICTURE)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImageError, match=r"tiffslide, which is not installed: pip install .*\[slides\]"):
        open_lazily(tmp_path / "slide.svs")


def test_openslide_reads_where_tiffslide_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in: level 1 is half as large; what the scanner did not see is transparent."""

    class Slide:
        level_dimensions = ((420, 300), (210, 150))

        def __init__(self, _path: str) -> None:
            self.properties = {"openslide.mpp-x": "0.25", "openslide.mpp-y": "0.25"}

        def close(self) -> None: ...

        def read_region(self, corner: tuple[int, int], level: int, size: tuple[int, int]) -> np.ndarray:
            region = np.zeros((size[1], size[0], 4), np.uint8)
            region[..., 0], region[..., 1], region[1:, :, 3] = corner[0], corner[1], 255
            return region

    (tmp_path / "slide.ndpi").write_bytes(b"II*\0")
    monkeypatch.setattr(scanners, "_reader", lambda where: ("openslide", Slide))
    monkeypatch.setattr(scanners, "_error_of", lambda name: ValueError)
    image = opened(tmp_path / "slide.ndpi")
    assert (image.um_per_px, len(image.levels)) == (0.25, 2)
    piece = image.levels[1][10:12, 20:23]
    assert piece.tolist() == [[[255, 255, 255]] * 3, [[40, 20, 0]] * 3]


@pytest.mark.parametrize("name", ["slide.ome.tif", "slide.svs"])
def test_a_damaged_slide_says_so(name: str, tmp_path: Path) -> None:
    write = write_svs if name.endswith("svs") else write_ome_tiff
    write(tmp_path / name, PICTURE)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(b"II*\0" + b"x" * 60)
    with pytest.raises(ImageError, match=rf"{name}.* (cannot be .*copy it again|holds no images)"):
        open_lazily(tmp_path / name)
    (tmp_path / name).write_bytes(whole[: len(whole) // 3])
    with pytest.raises(ImageError, match=r"(cut short|damaged|Copy it again)"):
        opened(tmp_path / name)[0:300, 0:420]


def test_a_level_that_is_missing_is_passed_over(tmp_path: Path) -> None:
    import shutil

    write_ome_zarr(tmp_path / "a.zarr", PICTURE)
    shutil.rmtree(tmp_path / "a.zarr" / "1")
    assert [level.shape[:2] for level in opened(tmp_path / "a.zarr").levels] == [(300, 420), (75, 105)]
