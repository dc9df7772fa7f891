"""What a person set under File > Preferences; the defaults where napari has no such page (before 0.9)."""

import os
from typing import Any

from napari_bloodcell.core.session import person

PLUGIN, PAGE = "napari-bloodcell", "general"
FOLDERS = {"weights_folder": "BLOODCELL_WEIGHTS", "cache_folder": "BLOODCELL_CACHE"}


def preference(name: str) -> str:
    """Empty where nothing is set."""
    try:
        from napari.settings import get_plugin_settings
    except ImportError:
        return ""
    try:
        page: Any = getattr(get_plugin_settings(PLUGIN), PAGE, None)
    except KeyError:  # run without the manifest, as scripts do
        return ""
    return str(getattr(page, name, "") or "").strip()


def reader() -> str:
    """Who sits here: as set, or as the system says."""
    return preference("reader") or person()


def apply() -> None:
    """Folders reach the core as its environment variables; those set outside napari win."""
    for name, variable in FOLDERS.items():
        if folder := preference(name):
            os.environ.setdefault(variable, os.path.expanduser(folder))  # noqa: PTH111 (of text)
