"""Which cell a row of somebody's table means: an image by its path or by its name, and the number of a cell.

A path must be the path of the image: pictures of many slides are called 1.jpg. A name alone is taken for the
image of that name, with or without its ending.
"""

from collections.abc import Iterable, Sequence

Cell = tuple[str, int]


class CellPlaces:
    """The rows of a table of cells by their place. ``sources``: paths of the images, "" where not known."""

    def __init__(self, images: Iterable[object], sources: Iterable[object], cells: Iterable[int]) -> None:
        self._said: dict[Cell, list[int]] = {}  # as the column image has it
        self._by_source: dict[Cell, list[int]] = {}
        self._all, self._unplaced = _Names(), _Names()
        self._paths: dict[str, dict[str, None]] = {}  # by their last part
        for row, (image, source, cell) in enumerate(zip(images, sources, cells, strict=True)):
            self._add(row, _plain(image), _plain(source), int(cell))

    def rows(self, image: str, cell: int) -> list[int]:
        """More than one where the table cannot tell them apart; none where there is no such cell."""
        said = _plain(image)
        if (said, cell) in self._said:
            return self._said[said, cell]
        if not has_folder(said):
            return self._all.rows(said, cell)
        found = [row for path in self._like(said) for row in self._by_source.get((path, cell), ())]
        return found or self._unplaced.rows(said, cell)

    def elsewhere(self, image: str) -> str:
        """The path of an image that only has the name of the one asked for; "" where there is none."""
        said = _plain(image)
        return "" if self._like(said) else next(iter(self._paths.get(_last(said), {})), "")

    def _add(self, row: int, image: str, source: str, cell: int) -> None:
        path = source or (image if has_folder(image) else "")
        self._said.setdefault((image, cell), []).append(row)
        self._all.add(row, image, cell)
        if path:
            self._by_source.setdefault((path, cell), []).append(row)
            self._paths.setdefault(_last(path), {})[path] = None
        else:
            self._unplaced.add(row, image, cell)

    def _like(self, said: str) -> list[str]:
        """The path itself, or those a part of a path fits: ``B/1.jpg``."""
        known = self._paths.get(_last(said), {})
        if said in known:
            return [said]
        return [path for path in known if path.endswith(f"/{said.removeprefix('./')}")]


class _Names:
    """Rows by the names of their images, whole and without their endings."""

    def __init__(self) -> None:
        self._names: dict[Cell, list[int]] = {}
        self._stems: dict[Cell, list[int]] = {}

    def add(self, row: int, image: str, cell: int) -> None:
        self._names.setdefault((_last(image), cell), []).append(row)
        self._stems.setdefault((_stem(image), cell), []).append(row)

    def rows(self, image: str, cell: int) -> list[int]:
        return self._names.get((_last(image), cell)) or self._stems.get((_stem(image), cell), [])


def names_apart(images: Sequence[object], sources: Sequence[object]) -> list[str]:
    """What belongs in a column image, row by row: the name; the path where several images have it."""
    paths: dict[str, set[str]] = {}
    for image, source in zip(images, sources, strict=True):
        paths.setdefault(str(image), set()).add(str(source))
    return [
        str(source) if source and len(paths[str(image)]) > 1 else str(image)
        for image, source in zip(images, sources, strict=True)
    ]


def has_folder(image: str) -> bool:
    return "/" in _plain(image)


def _plain(text: object) -> str:
    return str(text).replace("\\", "/")


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _stem(path: str) -> str:
    name = _last(path)
    return name.rpartition(".")[0] or name
