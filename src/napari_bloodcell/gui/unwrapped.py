"""Plugins are handed the viewer, and some layers, in a wrapping that goes before they do."""

from typing import Any


def unwrapped(one: Any) -> Any:
    return getattr(one, "__wrapped__", one)
