"""Where each picture of a gallery lies: rows of squares under the headers of their groups. No Qt."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

Box = tuple[int, int, int, int]  # x, y, width, height


@dataclass(frozen=True, kw_only=True)
class Grid:
    """``counts`` pictures in each group, in squares of ``side`` px, ``width`` px in all."""

    counts: Sequence[int]
    width: int
    side: int
    gap: int = 4
    header: int = 26

    def __post_init__(self) -> None:
        tops, firsts, y, first = [], [], 0, 0
        for count in self.counts:
            tops.append(y)
            firsts.append(first)
            y += self.header + -(-count // self.columns) * self.step + self.gap
            first += count
        object.__setattr__(self, "tops", tops)
        object.__setattr__(self, "firsts", firsts)
        object.__setattr__(self, "height", y)

    tops: Sequence[int] = ()
    firsts: Sequence[int] = ()
    height: int = 0

    @property
    def step(self) -> int:
        return self.side + self.gap

    @property
    def columns(self) -> int:
        return max(1, (self.width - self.gap) // self.step)

    @property
    def n(self) -> int:
        return sum(self.counts)

    def header_box(self, group: int) -> Box:
        return 0, self.tops[group], self.width, self.header

    def box(self, index: int) -> Box:
        group = self.group_of(index)
        row, column = divmod(index - self.firsts[group], self.columns)
        return (
            self.gap + column * self.step,
            self.tops[group] + self.header + row * self.step,
            self.side,
            self.side,
        )

    def group_of(self, index: int) -> int:
        """The group of a picture; empty groups hold none."""
        return bisect_right(self.firsts, index) - 1

    def group_at(self, y: int) -> int | None:
        return bisect_right(self.tops, y) - 1 if 0 <= y < self.height else None

    def index_at(self, x: int, y: int) -> int | None:
        group = self.group_at(y)
        if group is None:
            return None
        column, off_x = divmod(x - self.gap, self.step)
        row, off_y = divmod(y - self.tops[group] - self.header, self.step)
        inside = off_x < self.side and off_y < self.side and 0 <= column < self.columns and row >= 0
        place = row * self.columns + column
        return self.firsts[group] + place if inside and place < self.counts[group] else None

    def indices_in(self, box: Box) -> list[int]:
        """All pictures that a box touches: those to paint, or those in a rubber band."""
        x, y, width, height = box
        found = []
        left = max(0, (x - self.gap - self.side) // self.step + 1)
        right = min(self.columns - 1, (x + width - self.gap) // self.step)
        begin = max(0, bisect_right(self.tops, y) - 1)
        for group in range(begin, len(self.counts)):
            top = self.tops[group] + self.header
            if self.tops[group] > y + height:
                break
            first_row = max(0, (y - top - self.side) // self.step + 1)
            rows = -(-self.counts[group] // self.columns)
            last_row = min(rows - 1, (y + height - top) // self.step)
            for row in range(first_row, last_row + 1):
                for column in range(left, right + 1):
                    place = row * self.columns + column
                    if place < self.counts[group]:
                        found.append(self.firsts[group] + place)
        return found

    def groups_in(self, y: int, height: int) -> list[int]:
        """Groups whose header is between these heights."""
        return [g for g, top in enumerate(self.tops) if top + self.header >= y and top <= y + height]
