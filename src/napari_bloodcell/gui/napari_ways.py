"""Where napari does things in a way of its own, or of one release."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.viewer import Viewer


def unwrapped(one: Any) -> Any:
    """Plugins are handed the viewer, and some layers, in a wrapping that goes before they do."""
    return getattr(one, "__wrapped__", one)


def camera_of(viewer: "Viewer") -> Any:
    """napari 0.9 moved it."""
    return viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera


def grid_of(viewer: "Viewer") -> Any:
    """napari 0.9 moved it."""
    return viewer.canvas.grid if hasattr(viewer, "canvas") else viewer.grid
