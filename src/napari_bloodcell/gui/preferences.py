"""What a person set under File > Preferences; the defaults where napari has no such page (before 0.9)."""

import os
from typing import Any

from napari_bloodcell.core.session import person

PLUGIN, PAGE = "napari-bloodcell", "general"
# What reaches the core, as its environment variables; panels never pass it on.
VARIABLES = {
    "device": "BLOODCELL_DEVICE",
    "palette": "BLOODCELL_PALETTE",
    "offline": "BLOODCELL_OFFLINE",
    "weights_folder": "BLOODCELL_WEIGHTS",
    "cache_folder": "BLOODCELL_CACHE",
}
FOLDERS = ("weights_folder", "cache_folder")

_set_by_us: dict[str, str] = {}


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
    """Called when a panel opens and when one starts its work, so that a change counts from then on. Variables
    set outside napari win."""
    for name, variable in VARIABLES.items():
        wanted = preference(name)
        if name in FOLDERS and wanted:
            wanted = os.path.expanduser(wanted)  # noqa: PTH111 (of text)
        if variable in os.environ and os.environ[variable] != _set_by_us.get(variable):
            continue
        if wanted:
            os.environ[variable] = _set_by_us[variable] = wanted
        elif variable in _set_by_us:
            os.environ.pop(variable, None)
            del _set_by_us[variable]
