"""A part of a field has the cells of the whole field."""

import numpy as np
import pytest

from napari_bloodcell.core.config import SmearConfig
from napari_bloodcell.core.errors import Cancelled
from napari_bloodcell.core.records import SmearImage
from napari_bloodcell.core.segment import Segmenter, StainSegmenter
from napari_bloodcell.core.segment.choose import shipped_segmenter
from napari_bloodcell.core.segment.tiles import Stopped
from napari_bloodcell.core.segment.view import segment_view
from napari_bloodcell.core.synthetic import make_smear


@pytest.fixture(scope="module")
def image() -> SmearImage:
    return make_smear(SmearConfig(width_px=900, height_px=700, white_cells=8, seed=4)).image


@pytest.mark.parametrize("segmenter", [StainSegmenter(), shipped_segmenter()], ids=["stain", "nano"])
def test_four_quarters_have_the_cells_of_the_whole_each_once_and_whole(
    image: SmearImage, segmenter: Segmenter
) -> None:
    whole, found = segmenter.segment(image), []
    for rows in (slice(0, 333), slice(333, 700)):
        for columns in (slice(0, 421), slice(421, 900)):
            part = segment_view(segmenter, image, (rows, columns))
            assert part.labels.shape == whole.labels.shape
            assert part.um_per_px == whole.um_per_px
            for cell in part.cell_id:
                mask = part.labels == cell
                (number,) = set(np.unique(whole.labels[mask]))
                np.testing.assert_array_equal(mask, whole.labels == number)
                found.append(int(number))
    assert sorted(found) == whole.cell_id.tolist()


def test_a_part_without_cells_has_none(image: SmearImage) -> None:
    """Looked at alone, the largest thing in it would be taken for one."""
    whole = StainSegmenter().segment(image).labels > 0
    empty = [
        (slice(y, y + 90), slice(x, x + 90))
        for y in range(0, 610, 30)
        for x in range(0, 810, 30)
        if not whole[y : y + 90, x : x + 90].any()
    ]
    assert empty
    for view in empty[::20]:
        assert not len(segment_view(StainSegmenter(), image, view))


def test_a_cancel_keeps_what_was_finished(image: SmearImage) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if stage == "segmenting" and done == total:
            raise Cancelled

    segmenter, view = shipped_segmenter(), (slice(0, 700), slice(0, 900))
    with pytest.raises(Stopped) as stopped:
        segment_view(segmenter, image, view, progress=stop)
    assert len(stopped.value.masks) <= len(segment_view(segmenter, image, view))
    assert stopped.value.masks.labels.shape == image.pixels.shape[:2]
