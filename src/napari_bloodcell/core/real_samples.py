"""A few real fields to look at, fetched when somebody asks for them and kept in the cache.

BCCD (Shenggan, MIT licence): Giemsa, 640 x 480 px. Nothing here is part of the package.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_bloodcell.core.errors import DataError, WeightsError
from napari_bloodcell.core.folders import cache_folder, is_offline
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.sam.download import download

SOURCE = "https://raw.githubusercontent.com/Shenggan/BCCD_Dataset/master/BCCD/JPEGImages/"


@dataclass(frozen=True, kw_only=True)
class RealSample:
    name: str
    size_bytes: int
    sha256: str


FIELDS = (
    RealSample(
        name="BloodImage_00000.jpg",
        size_bytes=23_302,
        sha256="e1dcc488889acba247a895df7be839e514850030217b4025048619f664fd4cb3",
    ),
    RealSample(
        name="BloodImage_00108.jpg",
        size_bytes=21_171,
        sha256="736d4735e8bed3151a3d7c0a57c797f20971a7c45502219c0a62356c4b0a17fd",
    ),
    RealSample(
        name="BloodImage_00017.jpg",
        size_bytes=21_181,
        sha256="0317c72ae1486ac1fff77409e890cd119fcb0e87a9dda073470ea3a430d136d3",
    ),
)


def fetch_fields(
    fields: Sequence[RealSample] = FIELDS, source: str = SOURCE, *, progress: Progress = silent
) -> list[Path]:
    """The files, fetched where they are not here yet; each is compared with its hash before it is used."""
    folder, found = cache_folder() / "samples", []
    for number, one in enumerate(fields):
        progress("Fetching real smears", number, len(fields))
        path = folder / one.name
        if not (path.is_file() and _hash(path) == one.sha256):
            _fetch(one, source, path)
        found.append(path)
    return found


def _fetch(one: RealSample, source: str, path: Path) -> None:
    instead = "The synthetic samples need no network."
    if is_offline():
        raise DataError(
            f"Downloads are switched off (Preferences, Offline), and {one.name} is not in {path.parent}. "
            f"{instead}"
        )
    part = path.with_name(f"{path.name}.part")
    try:
        download(source + one.name, part, one.size_bytes)
    except WeightsError as error:
        raise DataError(
            f"{one.name} could not be fetched: {str(error).split('. ', 1)[0]}. {instead}"
        ) from error
    if _hash(part) != one.sha256:
        part.unlink()
        raise DataError(f"{source}{one.name} is not the picture it was; it was removed. {instead}")
    part.replace(path)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
