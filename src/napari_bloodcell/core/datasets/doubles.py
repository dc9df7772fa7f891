"""One picture under two classes: a copy that was sorted twice."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from napari_bloodcell.core.datasets.records import CellImage
from napari_bloodcell.core.image import hash_file
from napari_bloodcell.core.words import how_many

MOST_NAMED = 5
PIECE = 4096  # bytes


def contradictions(cells: Iterable[CellImage]) -> list[str]:
    """A sentence for each picture of a single cell that is there with two classes. Hardly any file is read
    whole: only those whose size and middle are the same."""
    named = {cell.path: cell.class_name for cell in cells if cell.box_xyxy is None}
    found = [
        " and ".join(f"{path.parent.name}/{path.name} ({kind})" for path, kind in sorted(one.items()))
        for one in _same(named, (_size, _middle, hash_file))
    ]
    lines = [f"The same picture has two classes: {text}. Keep one of them." for text in found[:MOST_NAMED]]
    if len(found) > MOST_NAMED:
        lines.append(f"{how_many(len(found) - MOST_NAMED, 'more picture')} with two classes.")
    return lines


def _same(named: dict[Path, str], asked: tuple[Callable[[Path], object], ...]) -> Iterator[dict[Path, str]]:
    """The files that give the same answer to every question, where their classes differ."""
    if len(set(named.values())) < 2:
        return
    if not asked:
        yield named
        return
    answers: dict[object, dict[Path, str]] = {}
    for path, kind in named.items():
        try:
            answers.setdefault(asked[0](path), {})[path] = kind
        except OSError:  # who opens it says so
            continue
    for group in answers.values():
        yield from _same(group, asked[1:])


def _size(path: Path) -> int:
    return path.stat().st_size


def _middle(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(path.stat().st_size // 2)
        return file.read(PIECE)
