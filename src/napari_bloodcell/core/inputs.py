"""What a batch works on: files, folders, patterns, plates, and lists (CSV) of images."""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from napari_bloodcell.core.config import ReadConfig
from napari_bloodcell.core.errors import ConfigError, DataError, ImageError
from napari_bloodcell.core.image import find_images, place_of, well_of
from napari_bloodcell.core.rows import Row, read_rows

LISTS = (".csv", ".tsv")
WELL_DEPTH = 3  # a field lies in a well, a row and a plate


@dataclass(frozen=True, kw_only=True)
class Input:
    path: Path
    slide: str  # images of one slide are counted together
    patient: str = ""  # whose slide it is, where the list says
    um_per_px: float | None = None


def list_inputs(paths: Iterable[str | Path]) -> list[Input]:
    """Each image once, in the order named. A ``.csv`` or ``.tsv`` is a list with the columns image, and
    perhaps slide, patient and um_per_px; elsewhere the slide is the folder an image lies in, or its well.
    Folders of one name are told apart by the folders they lie in, slides of one name by their patients."""
    listed: dict[Path, tuple[Input, str]] = {}  # by place; and where it was named
    plain: list[str | Path] = []
    for one in paths:
        if not isinstance(one, str | os.PathLike):
            raise ImageError(
                f"A {type(one).__name__} is no path. Name files or folders; an array of yours goes to "
                "napari_bloodcell.analyse."
            )
        if Path(one).suffix.lower() not in LISTS:
            plain.append(one)
            continue
        for entry, where in _read_list(Path(one)):
            before, there = listed.setdefault(place_of(entry.path), (entry, where))
            if _as_listed(before) != _as_listed(entry):
                raise DataError(
                    f"{where} and {there} name the same image, {entry.path}, with another slide, patient "
                    "or um_per_px. Keep one line for each image."
                )
    found = {place: entry for place, (entry, _) in listed.items()}
    if plain or not found:
        for path in find_images(plain):
            found.setdefault(place_of(path), Input(path=path, slide=""))
    return _by_patient(_with_slides(found))


def _as_listed(entry: Input) -> tuple[str, str, float | None]:
    return entry.slide or _usual_slide(entry.path)[1], entry.patient, entry.um_per_px


def _by_patient(inputs: list[Input]) -> list[Input]:
    names = slides_apart([(one.slide, one.patient) for one in inputs])
    return [replace(one, slide=name) for one, name in zip(inputs, names, strict=True)]


def slides_apart(slides: Sequence[tuple[str, str]]) -> list[str]:
    """Of slide and patient: what each slide is called. Those of one name and several patients are several
    slides, and are called by both."""
    patients: dict[str, set[str]] = {}
    for slide, patient in slides:
        patients.setdefault(slide, set()).add(patient)
    return [
        f"{patient}/{slide}" if patient and len(patients[slide]) > 1 else slide for slide, patient in slides
    ]


def _with_slides(found: Mapping[Path, Input]) -> list[Input]:
    """Where no list names the slide of an image, it is the usual one. Different folders of one name, smear1
    of two patients say, are different slides: each is called by as much of its path as tells them apart."""
    usual = {place: _usual_slide(place) for place, one in found.items() if not one.slide}
    above: dict[str, set[Path]] = {}
    for where, name in usual.values():
        above.setdefault(name, set()).add(where)
    depth = {name: _parts_that_tell(places) for name, places in above.items()}

    def name_of(place: Path) -> str:
        where, name = usual[place]
        return Path(*where.parts[-depth[name] :], name).as_posix() if depth[name] else name

    return [one if one.slide else replace(one, slide=name_of(place)) for place, one in found.items()]


def _usual_slide(path: Path) -> tuple[Path, str]:
    """The well or the folder of an image: where it lies, and what it is called."""
    well, place = well_of(path), place_of(path)
    if well:
        return place.parents[WELL_DEPTH], well
    return place.parent.parent, place.parent.name


def _parts_that_tell(places: Collection[Path]) -> int:
    """How many of their last folders tell these places apart; 0 for a single one."""
    depth = 0
    while len({place.parts[-depth:] if depth else () for place in places}) < len(places):
        depth += 1
    return depth


def _read_list(path: Path) -> list[tuple[Input, str]]:
    table = read_rows(path)
    if "image" not in table.columns:
        raise DataError(
            f"The list {path} has the columns {table.has}; it needs 'image' (a path, absolute or from the "
            "list's folder), and may have 'slide', 'patient' and 'um_per_px'."
        )
    if not table.rows:
        raise DataError(f"The list {path} names no image. Add a row for each image.")
    return [(_entry(path, row), f"{path}, line {row.line},") for row in table.rows]


def _entry(path: Path, row: Row) -> Input:
    if not row.get("image"):
        raise DataError(f"{path}, line {row.line}: no image is named. Fill in the column 'image'.")
    image, scale = path.parent / row.get("image"), row.get("um_per_px")
    where = f"{path}, line {row.line}: um_per_px is {scale!r}"
    try:
        um_per_px = float(scale.replace(",", ".")) if scale else None
        ReadConfig(um_per_px=um_per_px)
    except ValueError as error:
        raise DataError(f"{where}; it takes a number.") from error
    except ConfigError as error:
        accepted = str(error).rpartition("; ")[2]
        raise DataError(f"{where}; {accepted} Correct it, or leave it empty.") from error
    return Input(path=image, slide=row.get("slide"), patient=row.get("patient"), um_per_px=um_per_px)
