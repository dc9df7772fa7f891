"""What a batch works on: files, folders, patterns, plates, and lists (CSV) of images."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.image import find_images, place_of, well_of
from napari_bloodcell.core.rows import Row, read_rows

LISTS = (".csv", ".tsv")


@dataclass(frozen=True, kw_only=True)
class Input:
    path: Path
    slide: str  # images of one slide are counted together
    um_per_px: float | None = None


def list_inputs(paths: Iterable[str | Path]) -> list[Input]:
    """Each image once, in the order named. A ``.csv`` or ``.tsv`` is a list with the columns image, and
    perhaps slide and um_per_px; elsewhere the slide is the folder an image lies in, or its well."""
    listed: dict[Path, tuple[Input, str]] = {}  # by place; and where it was named
    plain: list[str | Path] = []
    for one in paths:
        if Path(one).suffix.lower() not in LISTS:
            plain.append(one)
            continue
        for entry, where in _read_list(Path(one)):
            before, there = listed.setdefault(place_of(entry.path), (entry, where))
            if replace(before, path=entry.path) != entry:
                raise DataError(
                    f"{where} and {there} name the same image, {entry.path}, with another slide or another "
                    "um_per_px. Keep one line for each image."
                )
    found = {place: entry for place, (entry, _) in listed.items()}
    if plain or not found:
        for path in find_images(plain):
            found.setdefault(place_of(path), Input(path=path, slide=_slide_of(path)))
    return list(found.values())


def _slide_of(path: Path) -> str:
    return well_of(path) or place_of(path).parent.name


def _read_list(path: Path) -> list[tuple[Input, str]]:
    table = read_rows(path)
    if "image" not in table.columns:
        raise DataError(
            f"The list {path} has the columns {table.has}; it needs 'image' (a path, absolute or from the "
            "list's folder), and may have 'slide' and 'um_per_px'."
        )
    if not table.rows:
        raise DataError(f"The list {path} names no image. Add a row for each image.")
    return [(_entry(path, row), f"{path}, line {row.line},") for row in table.rows]


def _entry(path: Path, row: Row) -> Input:
    if not row.get("image"):
        raise DataError(f"{path}, line {row.line}: no image is named. Fill in the column 'image'.")
    image, scale = path.parent / row.get("image"), row.get("um_per_px")
    try:
        um_per_px = float(scale.replace(",", ".")) if scale else None
    except ValueError as error:
        raise DataError(f"{path}, line {row.line}: um_per_px is {scale!r}; it takes a number.") from error
    return Input(path=image, slide=row.get("slide") or _slide_of(image), um_per_px=um_per_px)
