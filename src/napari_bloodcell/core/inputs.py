"""What a batch works on: files, folders, patterns, plates, and lists (CSV) of images."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.image import find_images, well_of

COLUMNS = ("image", "slide", "um_per_px")


@dataclass(frozen=True, kw_only=True)
class Input:
    path: Path
    slide: str  # images of one slide are counted together
    um_per_px: float | None = None


def list_inputs(paths: Iterable[str | Path]) -> list[Input]:
    """Each image once, in the order named. A ``.csv`` is a list with the columns image, and perhaps slide
    and um_per_px; elsewhere the slide is the folder an image lies in, or the well of its plate."""
    found: dict[Path, Input] = {}
    plain: list[str | Path] = []
    for one in paths:
        if Path(one).suffix.lower() == ".csv":
            found.update((entry.path, entry) for entry in _read_list(Path(one)))
        else:
            plain.append(one)
    if plain or not found:
        for path in find_images(plain):
            found.setdefault(path, Input(path=path, slide=_slide_of(path)))
    return list(found.values())


def _slide_of(path: Path) -> str:
    return well_of(path) or path.absolute().parent.name


def _read_list(path: Path) -> list[Input]:
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype={"image": str, "slide": str})
    except (OSError, ValueError) as error:
        raise DataError(
            f"The list {path} cannot be read ({error}). Give a CSV with a column 'image'."
        ) from error
    if "image" not in table:
        raise DataError(
            f"The list {path} has the columns {', '.join(map(str, table.columns))}; it needs 'image' "
            "(a path, absolute or from the list's folder), and may have 'slide' and 'um_per_px'."
        )
    if not len(table):
        raise DataError(f"The list {path} names no image. Add a row for each image.")
    return [
        _entry(path, number, row) for number, row in enumerate(table.to_dict("records"), 2)
    ]  # row 1 is the header


def _entry(path: Path, number: int, row: Mapping[Any, Any]) -> Input:
    import pandas as pd

    if pd.isna(row["image"]):
        raise DataError(f"{path}, line {number}: no image is named. Fill in the column 'image'.")
    image = path.parent / str(row["image"])
    slide = row.get("slide")
    scale = row.get("um_per_px")
    try:
        um_per_px = None if scale is None or pd.isna(scale) else float(scale)
    except ValueError as error:
        raise DataError(f"{path}, line {number}: um_per_px is {scale!r}; it takes a number.") from error
    name = _slide_of(image) if slide is None or pd.isna(slide) else str(slide)
    return Input(path=image, slide=name, um_per_px=um_per_px)
