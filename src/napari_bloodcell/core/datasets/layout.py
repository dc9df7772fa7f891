"""Looking at folders: what counts as an image, what a download leaves around it."""

from pathlib import Path

from napari_bloodcell.core.datasets.records import Skipped
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.taxonomy import normalise

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
DOT_FILE = "dot file (left by an operating system, not an image)"
EMPTY_FILE = "empty file (0 bytes)"
NOT_AN_IMAGE = "not an image file"
TOO_DEEP = "in a folder below its class folder (images are expected right inside)"

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


def is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def holds_images(folder: Path) -> bool:
    """Images right inside, or in one inner folder of the same name (an unpacked archive)."""
    inner = folder / folder.name
    return any(is_image(e) for e in entries(folder)) or (
        inner.is_dir() and any(is_image(e) for e in entries(inner))
    )


def first_image(folder: Path) -> Path | None:
    """One image of a folder, or of those below it."""
    inside = entries(folder)
    below = (first_image(e) for e in visible_folders(folder))
    return next((e for e in inside if is_image(e)), None) or next((e for e in below if e), None)


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


def images_of_class(folder: Path) -> tuple[list[Path], list[Skipped]]:
    """As ``images_of``; goes through ``<class>/<class>/`` and reports other folders below."""
    images, skipped = images_of(folder)
    for below in visible_folders(folder):
        found, left = images_of(below)
        if normalise(below.name) == normalise(folder.name):
            images += found
            skipped += left
        elif found:
            skipped.append(Skipped(below, TOO_DEEP, len(found)))
    return images, skipped


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
