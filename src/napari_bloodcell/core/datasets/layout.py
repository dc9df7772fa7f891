"""Looking at folders: what counts as an image, what a download leaves around it."""

import re
from collections.abc import Callable
from pathlib import Path

from napari_bloodcell.core.datasets.records import Skipped
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.image import MASK_FOLDERS
from napari_bloodcell.core.taxonomy import normalise

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
DOT_FILE = "dot file (left by an operating system, not an image)"
EMPTY_FILE = "empty file (0 bytes)"
NOT_AN_IMAGE = "not an image file"
OTHER_CLASS = "in a folder of one class below that of another"
A_LINK = "a link to a folder, which is not followed below a class folder"
MASKS = "in a folder of masks"

# Parts of one laboratory's cells: never domains of their own.
_SPLIT_NAME = re.compile(r"(train|training|val|valid|validation|test|testing)(_\w+|\d+|[a-z])?")
_MOST_WRAPPERS = 4  # an archive unpacked into a folder of its own name, twice


def entries(folder: Path) -> list[Path]:
    """All entries by name; a folder that cannot be listed is named."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"Cannot list the folder {folder}: {error.strerror or error}.") from error


def visible_folders(folder: Path) -> list[Path]:
    # __MACOSX is what a Mac adds to a zip: a ghost of each image under its own name.
    return [e for e in entries(folder) if e.name[0] != "." and e.name != "__MACOSX" and e.is_dir()]


def split_folders(folder: Path) -> list[Path]:
    """Those named ``train``, ``valid``, ``test`` and the like."""
    return [f for f in visible_folders(folder) if _SPLIT_NAME.fullmatch(normalise(f.name))]


def is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def holds_images(folder: Path) -> bool:
    """Images right inside, or below."""
    return first_image(folder) is not None


def first_image(folder: Path) -> Path | None:
    """One image of a folder, or of those below it."""
    here = next((e for e in entries(folder) if is_image(e)), None)
    below = (first_image(e) for e in visible_folders(folder) if not e.is_symlink())
    return here or next((e for e in below if e), None)


def images_of(folder: Path) -> tuple[list[Path], list[Skipped]]:
    """The usable image files right inside a folder, and every other file with its reason."""
    images, skipped = [], []
    for entry in entries(folder):
        if entry.is_dir():
            continue
        if entry.name.startswith("."):
            skipped.append(Skipped(entry, DOT_FILE))
        elif entry.suffix.lower() not in IMAGE_SUFFIXES:
            skipped.append(Skipped(entry, NOT_AN_IMAGE))
        elif not entry.is_file() or entry.stat().st_size == 0:
            skipped.append(Skipped(entry, EMPTY_FILE))
        else:
            images.append(entry)
    return images, skipped


def images_of_class(
    folder: Path, is_other: Callable[[str], bool] = lambda _: False
) -> tuple[list[Path], list[Skipped]]:
    """As ``images_of``, with the folders below. ``is_other``: whether a folder's name is that of another
    class; what is in there is left out."""
    images, skipped = images_of(folder)
    for below in visible_folders(folder):
        reason = _closed(below, is_other)
        if reason is None:
            found, left = images_of_class(below, is_other)
            images += found
            skipped += left
        elif (count := len(images_of(below)[0])) or reason == A_LINK:
            skipped.append(Skipped(below, reason, max(1, count)))
    return images, skipped


def _closed(folder: Path, is_other: Callable[[str], bool]) -> str | None:
    if folder.is_symlink():
        return A_LINK
    if folder.name.casefold() in MASK_FOLDERS:
        return MASKS
    return OTHER_CLASS if is_other(folder.name) else None


def unwrap(root: Path) -> list[Path]:
    """The folder itself, then the only folder inside it, and so on: archives unpack into wrappers."""
    chain = [root]
    while len(chain) < _MOST_WRAPPERS:
        inner = visible_folders(chain[-1])
        if len(inner) != 1:
            break
        chain.append(inner[0])
    return chain


def child_named(root: Path, *names: str) -> Path | None:
    """The entry of one of these names; case, blanks and underscores do not matter."""
    wanted = {normalise(name) for name in names}
    return next((e for e in entries(root) if e.name[0] != "." and normalise(e.name) in wanted), None)


def folder_named(root: Path, *names: str) -> Path | None:
    found = child_named(root, *names)
    return found if found is not None and found.is_dir() else None


def by_stem(folder: Path | None) -> dict[str, Path]:
    """The images of a folder by their name without ending (``.ome.tif`` is one); nothing for no folder."""
    return {} if folder is None else {e.stem.removesuffix(".ome"): e for e in entries(folder) if is_image(e)}
