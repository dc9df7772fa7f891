"""Rims of cells against a slow loop."""

import numpy as np

from napari_bloodcell.core.rings import rings


def slow(labels, width):
    result = np.zeros(labels.shape, bool)
    for y, x in np.argwhere(labels > 0):
        window = labels[max(y - width, 0) : y + width + 1, max(x - width, 0) : x + width + 1]
        result[y, x] = (window != labels[y, x]).any()
    return result


def test_rims_lie_inside_and_part_touching_cells():
    labels = np.zeros((20, 30), np.int32)
    labels[3:12, 4:14], labels[3:12, 14:25] = 7, 2
    for width in (1, 2, 3):
        np.testing.assert_array_equal(rings(labels, width), slow(labels, width))


def test_no_cells_have_no_rims():
    assert not rings(np.zeros((9, 9), np.int32), 3).any()
