"""Maps of vectors, and what vectors tell."""

import numpy as np
import pytest

from napari_bloodcell.core.embed.plane import class_in_words, standardised, to_plane, told_apart
from napari_bloodcell.core.errors import DataError


@pytest.fixture
def blobs():
    dice = np.random.default_rng(0)
    centres = dice.normal(size=(3, 8)) * 6
    return (centres.repeat(30, axis=0) + dice.normal(size=(90, 8))).astype(np.float32), ["a"] * 30 + [
        "b"
    ] * 30 + ["c"] * 30


def test_pca_is_the_widest_plane(blobs):
    values, _ = blobs
    plane = to_plane(values)
    ready = standardised(values).astype(float)
    wanted = np.linalg.eigvalsh(np.cov(ready.T))[::-1][:2]
    np.testing.assert_allclose(plane.xy.var(axis=0, ddof=1), wanted, rtol=1e-4)
    assert plane.axes[0].endswith("% of the variance")


def test_units_of_a_column_do_not_matter(blobs):
    values, _ = blobs
    scaled = values * np.array([1e4, 1, 1, 1, 1e-4, 1, 1, 1], np.float32)
    np.testing.assert_allclose(to_plane(values).xy, to_plane(scaled).xy, atol=1e-3)


def test_unknown_values_and_constant_columns_are_no_trouble(blobs):
    values = blobs[0].copy()
    values[3, 2] = np.nan
    values[:, 5] = np.nan
    values[:, 6] = 4
    values[0, 0] = np.inf
    assert np.isfinite(to_plane(values).xy).all()


def test_one_column_is_a_line():
    plane = to_plane(np.arange(5, dtype=np.float32)[:, None])
    assert (plane.xy[:, 1] == 0).all()


def test_two_cells_make_no_map():
    with pytest.raises(DataError, match="takes 3 cells at least; there are 2"):
        to_plane(np.zeros((2, 4), np.float32))


def test_umap_keeps_groups_together_and_repeats(blobs):
    pytest.importorskip("umap.umap_")  # the package alone may be left over, empty
    values, names = blobs
    one, again = to_plane(values, "umap", seed=1).xy, to_plane(values, "umap", seed=1).xy
    np.testing.assert_array_equal(one, again)
    assert told_apart(one, names)[0] > 0.95


def test_groups_that_lie_apart_are_told_and_mixed_ones_are_not(blobs):
    values, names = blobs
    score, chance = told_apart(values, names)
    assert score == 1
    assert chance == pytest.approx(1 / 3)
    mixed, _ = told_apart(values, list(np.tile(["x", "y"], 45)))
    assert abs(mixed - 0.5) < 0.15


def test_a_rare_group_counts_as_much_as_a_common_one():
    """Nearest neighbours against an oracle that goes cell by cell."""
    dice = np.random.default_rng(2)
    values = dice.normal(size=(60, 3)).astype(np.float32)
    values[:8] += 1.5
    names = np.array(["rare"] * 8 + ["common"] * 52)
    ready = standardised(values)
    right = []
    for cell in range(60):
        gaps = np.linalg.norm(ready - ready[cell], axis=1)
        gaps[cell] = np.inf
        near = names[np.argsort(gaps)[:5]]
        rare, common = (near == "rare").sum() / 8, (near == "common").sum() / 52
        right.append(("rare" if rare > common else "common") == names[cell])
    wanted = (np.mean(right[:8]) + np.mean(right[8:])) / 2
    assert told_apart(values, list(names))[0] == pytest.approx(wanted)


def test_too_few_cells_are_not_judged_and_it_is_said(blobs):
    values, names = blobs
    words = class_in_words(values, names)
    assert words == (
        "The class of a cell is told by its nearest neighbours in 100% (guessing: 33%), over the 3 classes "
        f"({', '.join(sorted(set(names)))}) with 4 cells or more."
    )
    rare = class_in_words(values, [*names[:-2], "rare", "rare"])
    assert "over the 3 classes" in rare
    assert "rare" not in rare
    assert "cannot be judged with fewer than 4 cells of two classes" in class_in_words(values, ["a"] * 90)
