"""From a name in a table to the file it means: as written, else as spreadsheets and people change names."""

from collections import defaultdict
from pathlib import Path, PurePosixPath

from napari_bloodcell.core.datasets.layout import by_stem, entries, is_image
from napari_bloodcell.core.words import how_many


class WrittenNames:
    """Names are relative to the images or to the table, with their ending or without. What is not there as
    written is looked for in other capitals, and with the zeros before a number that spreadsheets drop; it
    is taken where one file alone can be meant, and told."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._places = (folder, root)
        self._stems = by_stem(folder)
        self._folded: dict[str, set[Path]] = defaultdict(set)
        self._numbers: dict[str, set[Path]] = defaultdict(set)
        for stem, path in self._stems.items():
            self._folded[stem.casefold()].add(path)
            if stem.isdecimal():
                self._numbers[_plain(stem)].add(path)
        for path in (e for e in entries(folder) if is_image(e)):
            self._folded[path.name.casefold()].add(path)
        self.in_other_capitals: list[str] = []
        self.without_zeros: list[str] = []

    def file_of(self, written: str) -> Path:
        """The file; where there is none, the place where it should be."""
        name = written.replace("\\", "/")
        for place in self._places:
            if (place / name).is_file():
                return place / name
        if name in self._stems:
            return self._stems[name]
        return self._changed(PurePosixPath(name)) or self._places[0] / name

    def _changed(self, name: PurePosixPath) -> Path | None:
        around = name.parent.as_posix().casefold()
        if around not in (".", self._places[0].name.casefold()):
            return None
        found = self._folded.get(name.name.casefold(), set())
        if len(found) == 1:
            self.in_other_capitals.append(name.as_posix())
            return next(iter(found))
        number, ending = (name.name, "") if name.name.isdecimal() else (name.stem, name.suffix.casefold())
        found = self._numbers.get(_plain(number), set()) if number.isdecimal() else set()
        found = {path for path in found if ending in ("", path.suffix.casefold())}
        if len(found) == 1:
            self.without_zeros.append(name.as_posix())
            return next(iter(found))
        return None

    def notes(self) -> list[str]:
        """What was taken for another name than the one that is written."""
        told = []
        for names, how in (
            (self.in_other_capitals, "in other capitals than the files"),
            (self.without_zeros, "without the zeros that the files' names begin with"),
        ):
            if names:
                found = f"{how_many(len(names), 'name')} in labels.csv, e.g. {names[0]!r},"
                told.append(f"{found} {'is' if len(names) == 1 else 'are'} written {how}; they were found.")
        return told


def _plain(number: str) -> str:
    return number.lstrip("0") or "0"
