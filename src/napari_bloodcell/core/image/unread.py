"""Pictures in folders that hold a format which is not read: to be told, never passed over in silence."""

import os
from collections.abc import Iterable
from pathlib import Path

from napari_bloodcell.core.image.omezarr import is_zarr_folder

CAMERAS = (".cr2", ".cr3", ".dng", ".nef", ".arw", ".raf", ".orf")
MICROSCOPES = (".czi", ".lif", ".lsm", ".nd2", ".oib", ".oif", ".oir", ".vsi", ".dcm")
SCANNERS = (".bif", ".kfb", ".mrxs", ".scn", ".sdpc", ".svslide", ".vms")
RASTERS = (".avif", ".gif", ".heic", ".heif", ".j2k", ".jp2", ".jxl", ".ppm", ".psd", ".tga")
UNREAD = frozenset((*CAMERAS, *MICROSCOPES, *SCANNERS, *RASTERS))


def unread_pictures(paths: Iterable[str | Path]) -> list[Path]:
    """By suffix, in the folders among ``paths`` and all below them."""
    found: list[Path] = []
    for folder in (Path(path).expanduser() for path in paths):
        if not folder.is_dir() or is_zarr_folder(folder):
            continue
        for top, folders, files in os.walk(folder):
            here = Path(top)
            folders[:] = [n for n in folders if not n.startswith(".") and not is_zarr_folder(here / n)]
            names = [name for name in files if not name.startswith(".")]
            found += [here / name for name in names if Path(name).suffix.lower() in UNREAD]
    return sorted(set(found))
