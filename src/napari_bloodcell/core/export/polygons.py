"""The pixels of a cell -> polygons along their edges: the area is the number of pixels, to the last one."""

from collections.abc import Iterator

import numpy as np

from napari_bloodcell.core.records import BoolArray, IntArray

Ring = list[tuple[int, int]]  # x, y of its corners, which lie between pixels; the first is not repeated
Polygon = list[Ring]  # the outer ring, then those of holes
Edge = tuple[int, int, int]  # x, y of where it begins, and its direction

STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))  # right, down, left, up: each turns right from the one before
# The pixel that lies to the right of an edge, seen from where the edge begins.
BESIDE = ((0, 0), (-1, 0), (-1, -1), (0, -1))
# The shift and the axis that bring the pixel on its left onto that one.
ACROSS = ((1, 0), (-1, 1), (-1, 0), (1, 1))


def polygons(mask: BoolArray, x: int = 0, y: int = 0) -> list[Polygon]:
    """One for each piece; pixels that only touch at a corner are two pieces. ``x``, ``y``: where the mask
    lies in the picture. The outer ring runs with the clock, those of holes against it."""
    from scipy.ndimage import label

    pieces, count = label(np.pad(mask, 1))
    outer: list[Polygon] = [[] for _ in range(count)]
    holes: list[Polygon] = [[] for _ in range(count)]
    for piece, ring in _rings(pieces):
        kind = outer if signed_area(ring) > 0 else holes
        kind[piece - 1].append([(px + x - 1, py + y - 1) for px, py in ring])
    return [[*ring, *inside] for ring, inside in zip(outer, holes, strict=True)]


def signed_area(ring: Ring) -> float:
    """Above zero where the ring runs with the clock (y points down)."""
    turned = [*ring[1:], ring[0]]
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(ring, turned, strict=True)) / 2


def _rings(pieces: IntArray) -> Iterator[tuple[int, Ring]]:
    """Each closed walk that has its piece to the right, with the number of the piece."""
    edges = _edges(pieces > 0)
    waiting = dict.fromkeys(edges)
    while waiting:
        first = edge = next(iter(waiting))
        ring: Ring = []
        while True:
            waiting.pop(edge)
            after = _after(edge, edges)
            if after[2] != edge[2]:
                ring.append(after[:2])
            if after == first:
                break
            edge = after
        beside_x, beside_y = BESIDE[first[2]]
        yield int(pieces[first[1] + beside_y, first[0] + beside_x]), ring


def _edges(inside: BoolArray) -> set[Edge]:
    edges: set[Edge] = set()
    for direction, (beside_x, beside_y) in enumerate(BESIDE):
        found = np.argwhere(inside & ~np.roll(inside, *ACROSS[direction])).tolist()
        edges |= {(column - beside_x, row - beside_y, direction) for row, column in found}
    return edges


def _after(edge: Edge, edges: set[Edge]) -> Edge:
    """To the right where there is a choice: a walk stays with its own pixel where two touch at a corner."""
    x, y, direction = edge
    x, y = x + STEPS[direction][0], y + STEPS[direction][1]
    turns = ((x, y, (direction + turn) % 4) for turn in (1, 0, 3))
    return next(one for one in turns if one in edges)
