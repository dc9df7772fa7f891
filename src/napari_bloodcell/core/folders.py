"""Where files of ours live: by the platform's conventions, or where an environment variable says."""

import os
from pathlib import Path

from platformdirs import user_cache_path


def is_offline() -> bool:
    """Whether downloads are switched off: BLOODCELL_OFFLINE, which the Preferences set."""
    return os.environ.get("BLOODCELL_OFFLINE", "").strip().lower() in ("1", "true", "yes", "on")


def cache_folder() -> Path:
    """Where features and downloads are kept; BLOODCELL_CACHE moves it."""
    return Path(os.environ.get("BLOODCELL_CACHE") or user_cache_path("napari-bloodcell", appauthor=False))


def weights_folder() -> Path:
    """Where checkpoints live; BLOODCELL_WEIGHTS moves it (a shared or offline folder)."""
    return Path(os.environ.get("BLOODCELL_WEIGHTS") or cache_folder() / "weights")


def where_else(path: Path) -> str:
    """What to do where nothing may be written here: a cache was not chosen by anybody."""
    is_cache = Path(path).absolute().is_relative_to(cache_folder().absolute())
    return (
        "Name a folder that may be written in the variable BLOODCELL_CACHE"
        if is_cache
        else "Choose another folder"
    )
