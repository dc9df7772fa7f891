"""Fields of any size: the same cells however the field is cut, read lazily, in bounded memory."""

import subprocess
import sys
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import zarr
from drawn_fields import UM, blob, field, picture, red_cells, white_cell

from napari_bloodcell.core.config import SegmentConfig
from napari_bloodcell.core.errors import Cancelled, ImageError, SegmentError
from napari_bloodcell.core.image.lazy import LazyImage, open_lazily
from napari_bloodcell.core.records import Masks, SmearImage
from napari_bloodcell.core.segment import StainSegmenter, canvas
from napari_bloodcell.core.segment.canvas import Canvas
from napari_bloodcell.core.segment.tiles import Stopped, tiles_of

NUCLEUS = (0.5, 0.85, 0.15)


@pytest.fixture(scope="module")
def crowded() -> SmearImage:
    """Cells everywhere: on the seams of any cut, at the border, two that touch, one of three lobes."""
    drawn = field(size=(700, 900))
    red_cells(drawn)
    for at in (
        (150, 256),
        (256, 500),
        (300, 120),
        (420, 512),
        (512, 300),
        (560, 700),
        (300, 899),
        (699, 600),
    ):
        white_cell(drawn, at)
    for x in (640, 716):
        blob(drawn, (150, x), 40, (0.13, 0.2, 0.06))
    for x in (640, 716):
        blob(drawn, (150, x), 29, NUCLEUS)
    blob(drawn, (400, 760), 48, (0.13, 0.2, 0.06))
    for at in ((380, 740), (385, 785), (422, 760)):
        blob(drawn, at, 13, NUCLEUS)
    return picture(drawn, UM)


@pytest.fixture(scope="module")
def whole(crowded: SmearImage) -> Masks:
    return StainSegmenter().segment(crowded)


def outlines(masks: Masks) -> set[bytes]:
    """Each cell as its own pixels, whatever its number."""
    return {np.flatnonzero(masks.labels == n).tobytes() for n in masks.cell_id}


@pytest.mark.parametrize("tile_px", [256, 311, 640])
def test_a_field_cut_differently_has_the_same_cells(crowded: SmearImage, whole: Masks, tile_px: int) -> None:
    assert len(whole) == 11
    masks = StainSegmenter().segment(crowded, SegmentConfig(tile_px=tile_px))
    assert outlines(masks) == outlines(whole)
    assert (masks.nucleus == whole.nucleus).all()
    assert sorted(masks.boxes_xyxy.tolist()) == sorted(whole.boxes_xyxy.tolist())
    assert masks.touches_border.sum() == whole.touches_border.sum() == 2
    assert (masks.um_per_px, masks.scale_source) == (whole.um_per_px, whole.scale_source)


def test_cells_cut_by_the_border_are_dropped_and_not_those_cut_by_a_tile(crowded: SmearImage) -> None:
    masks = StainSegmenter().segment(crowded, SegmentConfig(tile_px=256, border="drop"))
    assert len(masks) == 9
    assert not masks.touches_border.any()


def test_lazy_arrays_of_any_library_give_the_same(crowded: SmearImage, whole: Masks, tmp_path: Path) -> None:
    stored = zarr.create_array(tmp_path / "a.zarr", data=np.array(crowded.pixels), chunks=(200, 200, 3))
    channels_first = da.from_array(crowded.pixels.transpose(2, 0, 1), chunks=(1, 300, 300))
    for array in (stored, channels_first):
        lazy = LazyImage(array=array, um_per_px=UM)
        assert lazy.shape == (700, 900, 3)
        masks = StainSegmenter().segment(lazy, SegmentConfig(tile_px=311))
        assert outlines(masks) == outlines(whole)
    opened = open_lazily(tmp_path / "a.zarr")
    assert opened is not None
    assert opened.shape == (700, 900, 3)


def test_what_cannot_be_read_lazily_says_what_to_do() -> None:
    with pytest.raises(ImageError, match=r"40 x 50 x 3 of uint16.*must be uint8.*\(array >> 8\)"):
        LazyImage(array=da.zeros((40, 50, 3), dtype="uint16"))
    with pytest.raises(ImageError, match="40 x 50 x 4 of uint8"):
        LazyImage(array=da.zeros((40, 50, 4), dtype="uint8"))
    gray = da.from_array(np.tile(np.arange(200, dtype=np.uint8)[:, None, None], (1, 300, 3)))
    with pytest.raises(SegmentError, match="colourless"):
        StainSegmenter().segment(LazyImage(array=gray))


def test_a_damaged_piece_is_named() -> None:
    def fail(block: np.ndarray) -> np.ndarray:
        raise OSError("chunk 3 is missing")

    broken = da.zeros((400, 400, 3), dtype="uint8").map_blocks(
        fail, dtype="uint8", meta=np.zeros((0, 0, 0), "uint8")
    )
    with pytest.raises(ImageError, match="of 'slide' cannot be read: chunk 3 is missing"):
        StainSegmenter().segment(LazyImage(array=broken, name="slide"))


def test_cancel_in_the_middle_keeps_the_cells_of_the_tiles_done(crowded: SmearImage, whole: Masks) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if stage == "tiles" and done == 4:
            raise Cancelled

    with pytest.raises(Stopped, match=r"The \d+ cells finished before are kept") as caught:
        StainSegmenter().segment(crowded, SegmentConfig(tile_px=256), progress=stop)
    kept = caught.value.masks
    assert 0 < len(kept) < len(whole)
    assert outlines(kept) < outlines(whole)


@pytest.mark.parametrize(
    ("shape", "tile_px", "halo_px", "step"), [((1000, 640), 256, 60, 3), ((90, 5), 256, 9, 2)]
)
def test_tiles_cover_every_pixel_once_and_keep_to_the_grid(
    shape: tuple[int, int], tile_px: int, halo_px: int, step: int
) -> None:
    seen = np.zeros(shape, int)
    for tile in tiles_of(shape, tile_px, halo_px, step):
        seen[tile.core] += 1
        for core, outer, n in zip(tile.core, tile.outer, shape, strict=True):
            assert outer.start % step == core.start % step == 0
            assert outer.start == 0 or core.start - outer.start >= halo_px - step
            assert outer.stop == n or outer.stop - core.stop >= halo_px - step
    assert (seen == 1).all()


def test_a_cell_that_is_there_already_is_not_counted_again() -> None:
    sheet, cell = Canvas((50, 50)), np.ones((10, 10), bool)
    assert sheet.put(cell, cell, (5, 5))
    assert not sheet.put(cell, cell, (6, 7))
    assert sheet.put(cell, cell, (5, 14), "it was pale")
    masks = sheet.masks(None, None, "drawn")
    assert masks.boxes_xyxy.tolist() == [[5, 5, 15, 15], [15, 5, 24, 15]]
    assert masks.notes == ("cell 2: it was pale",)
    assert not (masks.nucleus & (masks.labels == 0)).any()


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canvas, "IN_MEMORY_PX", 1000)


@pytest.mark.usefixtures("small_memory")
def test_labels_of_a_slide_live_in_a_file(crowded: SmearImage, whole: Masks) -> None:
    masks = StainSegmenter().segment(crowded, SegmentConfig(tile_px=311))
    assert outlines(masks) == outlines(whole)
    assert (masks.nucleus == whole.nucleus).all()


MEASURE = """
import resource, sys
import dask.array as da, numpy as np
from napari_bloodcell.core.config import SegmentConfig
from napari_bloodcell.core.image.lazy import LazyImage
from napari_bloodcell.core.segment import StainSegmenter
tile = np.load(sys.argv[1]); n = int(sys.argv[2])
side = n * tile.shape[0]
block = da.from_array(tile, chunks=tile.shape)
slide = da.tile(block, (n, n, 1))
masks = StainSegmenter().segment(LazyImage(array=slide, um_per_px=0.14), SegmentConfig(tile_px=1024))
print(len(masks), side, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def measured(tmp_path: Path, n: int) -> list[int]:
    drawn = field(size=(500, 500))
    red_cells(drawn)
    white_cell(drawn, (200, 280))
    np.save(tmp_path / "tile.npy", picture(drawn).pixels)
    run = [sys.executable, "-c", MEASURE, str(tmp_path / "tile.npy"), str(n)]
    return [int(v) for v in subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()]


@pytest.mark.skipif(sys.platform == "win32", reason="no resource module")
def test_memory_does_not_grow_with_the_slide(tmp_path: Path) -> None:
    """1.5 and 9 million pixels: pixels and labels of the larger are 70 MB more, if they were all held."""
    small, large = measured(tmp_path, 3), measured(tmp_path, 6)
    assert (small[0], large[0]) == (9, 36)
    assert large[2] - small[2] < 60
