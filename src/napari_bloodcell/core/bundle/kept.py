"""Models a person made and kept on this machine: adapted or trained ones, in one folder of the cache."""

from pathlib import Path

from napari_bloodcell.core.bundle.archive import SUFFIX
from napari_bloodcell.core.bundle.members import MANIFEST
from napari_bloodcell.core.folders import cache_folder


def kept_folder() -> Path:
    return cache_folder() / "bundles"


def kept_bundles() -> list[Path]:
    """The oldest first; by name alone, nothing is read."""
    if not kept_folder().is_dir():
        return []
    found = [one for one in kept_folder().iterdir() if one.suffix == SUFFIX or (one / MANIFEST).is_file()]
    return sorted(found, key=lambda one: (one.stat().st_mtime, one.name))
