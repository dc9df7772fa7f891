from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_bloodcell.core.cells import NOT_FOUND, crops_of, masks_of_parts
from napari_bloodcell.core.crop import crop, join
from napari_bloodcell.core.datasets import CellImage, check, load_dataset
from napari_bloodcell.core.embed.measurements import measure
from napari_bloodcell.core.image import read_image
from napari_bloodcell.core.segment import StainSegmenter
from napari_bloodcell.core.synthetic import make_cells


@pytest.fixture
def drawn(tmp_path: Path) -> list[CellImage]:
    cells = make_cells(3, seed=4, size_px=96)
    result = []
    for i in range(3):
        picture, mask = tmp_path / f"{i}.png", tmp_path / f"{i}.mask.png"
        Image.fromarray(np.array(cells.pixels[i])).save(picture)
        Image.fromarray(np.array(cells.parts[i])).save(mask)
        result.append(CellImage(picture, cells.class_names[i], "lab", mask_path=mask, um_per_px=0.1 + i))
    return result


def never() -> StainSegmenter:
    raise AssertionError("no segmenter is needed where there are masks")


def test_given_masks_are_used_and_the_segmenter_is_not(drawn: list[CellImage]) -> None:
    found = crops_of(drawn, never)
    np.testing.assert_array_equal(found.row, [0, 1, 2])
    for i, cell in enumerate(drawn):
        assert cell.mask_path is not None
        parts = np.asarray(Image.open(cell.mask_path))
        assert found.crops.area_px[i] == np.count_nonzero(parts)
        assert found.crops.nucleus_area_px[i] == np.count_nonzero(parts == 2)
    np.testing.assert_allclose(found.crops.um_per_px, [0.1, 1.1, 2.1], rtol=1e-6)


def test_joined_crops_measure_as_each_alone(drawn: list[CellImage]) -> None:
    """Each cell keeps the light and pixel size of its own image."""
    alone = []
    for cell in drawn:
        image = read_image(cell.path)
        masks = masks_of_parts(np.asarray(Image.open(cell.mask_path or "")))
        assert masks is not None
        alone.append(crop(image, masks))
    together = measure(join(alone)).values
    np.testing.assert_array_equal(together, np.concatenate([measure(one).values for one in alone]))


def test_cells_without_a_mask_are_found_in_the_middle(drawn: list[CellImage]) -> None:
    bare = [CellImage(cell.path, cell.class_name, cell.domain) for cell in drawn]
    found = crops_of(bare, StainSegmenter)
    given = crops_of(drawn, never)
    assert len(found.row) >= 2
    for place, row in enumerate(found.row):
        assert found.crops.area_px[place] == pytest.approx(given.crops.area_px[row], rel=0.5)


def test_a_broken_or_blank_picture_is_missing_with_its_reason(drawn: list[CellImage], tmp_path: Path) -> None:
    broken, blank = tmp_path / "broken.png", tmp_path / "blank.png"
    broken.write_bytes(b"no picture")
    Image.fromarray(np.full((64, 64, 3), (230, 220, 240), np.uint8)).save(blank)
    cells = [CellImage(broken, "monocyte", "lab"), CellImage(blank, "monocyte", "lab"), drawn[0]]
    found = crops_of(cells, StainSegmenter)
    np.testing.assert_array_equal(found.row, [2])
    assert [row for row, _ in found.missing] == [0, 1]
    assert "broken.png" in found.missing[0][1]
    assert found.missing[1][1] == NOT_FOUND


def test_a_mask_of_another_size_is_missing_with_both_sizes(drawn: list[CellImage], tmp_path: Path) -> None:
    small = tmp_path / "small.png"
    Image.fromarray(np.ones((8, 9), np.uint8)).save(small)
    found = crops_of([CellImage(drawn[0].path, "monocyte", "lab", mask_path=small)], never)
    assert len(found.crops) == 0
    assert "is 9 x 8 px, its image 96 x 96 px" in found.missing[0][1]


def test_a_file_of_many_pages_is_told_without_a_flag_that_nothing_here_takes(tmp_path: Path) -> None:
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, 64, 64, 3), np.uint8), photometric="rgb")
    found = crops_of([CellImage(tmp_path / "a.tif", "monocyte", "lab")], StainSegmenter)
    ((_, reason),) = found.missing
    assert reason.endswith(
        "holds 3 pages (axes QYXS, shape 3 x 64 x 64 x 3); one field is one page. "
        "Save each page as a file of its own."
    )
    (tmp_path / "labels.csv").write_text("image,class\na.tif,monocyte\n")
    (skipped,) = check(tmp_path, deep=True).skipped
    assert skipped.reason == "holds 3 pages; one field is one page. Save each page as a file of its own"


def test_no_cells_give_no_crops() -> None:
    found = crops_of([], never)
    assert len(found.crops) == 0
    assert measure(found.crops).values.shape[0] == 0


@pytest.mark.realdata
def test_nearly_every_real_cell_is_found(real_data: Path) -> None:
    for lab in ("jtsc", "bccd"):
        cells = load_dataset(real_data / lab).cells[:12]
        if lab == "bccd":
            cells = tuple(cell for cell in cells if cell.mask_path is None)
        assert len(crops_of(cells, StainSegmenter).row) >= 0.9 * len(cells)
