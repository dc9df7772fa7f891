"""Cells of several fields in one table."""

import numpy as np
import pytest

from napari_bloodcell.core.cellmap import in_one_stain, vectors_of
from napari_bloodcell.core.config import SmearConfig
from napari_bloodcell.core.embed.measurements import MeasurementEmbedder
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.records import SmearImage
from napari_bloodcell.core.segment.edit import masks_of
from napari_bloodcell.core.stain.profile import distance, profiles_of
from napari_bloodcell.core.synthetic import make_smear


@pytest.fixture(scope="module")
def fields():
    made = [
        make_smear(
            SmearConfig(width_px=320, height_px=240, um_per_px=0.12, white_cells=3, seed=seed, look=look)
        )
        for seed, look in ((1, "giemsa_blue"), (2, "rapid_yellow"))
    ]
    return [(one.image, one.masks) for one in made]


def test_rows_keep_their_field_and_cell(fields):
    found = vectors_of(fields, MeasurementEmbedder())
    assert found.field.tolist() == [0] * len(fields[0][1]) + [1] * len(fields[1][1])
    assert found.cell_id.tolist() == [*fields[0][1].cell_id, *fields[1][1].cell_id]
    alone = vectors_of(fields[1:], MeasurementEmbedder())
    np.testing.assert_array_equal(found.values[found.field == 1], alone.values)


def test_a_field_without_cells_counts_as_a_field(fields):
    image = fields[0][0]
    empty = (image, masks_of(np.zeros(image.pixels.shape[:2], np.int32)))
    found = vectors_of([empty, fields[1]], MeasurementEmbedder())
    assert set(found.field.tolist()) == {1}


def test_no_cell_at_all_is_refused(fields):
    image = fields[0][0]
    with pytest.raises(DataError, match="no cell in these outlines"):
        vectors_of([(image, masks_of(np.zeros(image.pixels.shape[:2], np.int32)))], MeasurementEmbedder())


def test_stains_made_alike_are_nearer_and_the_fields_stay(fields):
    before = [image.pixels.copy() for image, _ in fields]
    alike = in_one_stain(fields)
    apart = distance(*profiles_of([image.pixels for image, _ in fields]))
    assert distance(*profiles_of([image.pixels for image, _ in alike])) < 0.5 * apart
    for (image, _), was in zip(fields, before, strict=True):
        np.testing.assert_array_equal(image.pixels, was)
    assert isinstance(alike[0][0], SmearImage)
    assert alike[0][1] is fields[0][1]
