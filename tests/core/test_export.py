"""Outlines in the formats of other programs: the polygons, the two files, what goes into them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.measure import points_in_poly

from napari_bloodcell.core.export.polygons import polygons, signed_area


def painted(found: list, shape: tuple[int, int]) -> np.ndarray:
    """Even and odd: a pixel in the outer ring and in no hole."""
    centres = np.stack(np.meshgrid(np.arange(shape[1]), np.arange(shape[0])), -1).reshape(-1, 2) + 0.5
    inside = np.zeros(len(centres), bool)
    for polygon in found:
        for ring in polygon:
            inside ^= points_in_poly(centres, np.array(ring, float))
    return inside.reshape(shape)


@settings(deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_polygons_are_the_pixels_to_the_last_one(mask: np.ndarray) -> None:
    found = polygons(mask)
    np.testing.assert_array_equal(painted(found, mask.shape), mask)
    assert sum(signed_area(ring) for polygon in found for ring in polygon) == mask.sum()
    for outer, *holes in found:
        assert signed_area(outer) > 0
        assert all(signed_area(hole) < 0 for hole in holes)


def test_a_square_has_four_corners_and_lies_where_it_lay() -> None:
    ((ring,),) = polygons(np.ones((3, 5), bool), x=10, y=20)
    assert sorted(ring) == [(10, 20), (10, 23), (15, 20), (15, 23)]


def test_pixels_that_touch_at_a_corner_are_two_pieces_and_a_hole_belongs_to_its_own() -> None:
    mask = np.zeros((7, 7), bool)
    mask[:4, :4], mask[1, 1], mask[4:, 4:], mask[5, 5] = True, False, True, False
    first, second = polygons(mask)
    assert [len(first), len(second)] == [2, 2]
    assert sorted(first[1]) == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert sorted(second[1]) == [(5, 5), (5, 6), (6, 5), (6, 6)]


def test_no_pixel_no_polygon() -> None:
    assert polygons(np.zeros((4, 4), bool)) == []
