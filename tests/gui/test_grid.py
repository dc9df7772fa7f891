"""The gallery's geometry, against a slow look at every picture."""

from napari_bloodcell.gui.grid import Grid


def overlaps(a, b):
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


def test_every_picture_is_found_where_it_lies_and_none_overlap():
    grid = Grid(counts=(7, 0, 3, 12), width=330, side=72)
    boxes = [grid.box(index) for index in range(grid.n)]
    assert grid.columns == 4
    assert [grid.group_of(index) for index in range(grid.n)] == [0] * 7 + [2] * 3 + [3] * 12
    for index, (x, y, width, height) in enumerate(boxes):
        assert grid.index_at(x, y) == index
        assert grid.index_at(x + width - 1, y + height - 1) == index
        assert grid.index_at(x - 1, y) is None
        assert x + width <= 330
        assert not any(overlaps(boxes[index], other) for other in boxes[:index])
    assert max(y + height for _, y, _, height in boxes) <= grid.height


def test_what_a_box_touches_is_what_overlaps_it():
    grid = Grid(counts=(7, 0, 3, 12), width=330, side=72)
    for box in ((0, 0, 330, 100), (80, 60, 90, 200), (0, 300, 10, 900), (5, 1, 2, 2), (-20, -20, 40, 90)):
        slow = [index for index in range(grid.n) if overlaps(grid.box(index), box)]
        assert set(slow) <= set(grid.indices_in(box))
        assert all(
            overlaps(grid.box(i), (box[0] - 1, box[1] - 1, box[2] + 2, box[3] + 2))
            for i in grid.indices_in(box)
        )


def test_an_empty_group_still_has_a_place_to_drop_on():
    grid = Grid(counts=(2, 0, 1), width=200, side=72)
    _, y, width, height = grid.header_box(1)
    assert (width, height) == (200, 26)
    assert grid.group_at(y + 5) == 1
    assert grid.index_at(10, y + 5) is None
    assert grid.group_at(grid.height + 1) is None


def test_nothing_is_an_empty_grid():
    grid = Grid(counts=(), width=300, side=72)
    assert grid.height == 0
    assert grid.indices_in((0, 0, 300, 300)) == []
    assert grid.group_at(0) is None


def test_a_width_of_less_than_one_picture_still_shows_one_a_row():
    assert Grid(counts=(3,), width=20, side=72).columns == 1
