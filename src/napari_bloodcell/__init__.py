"""White-cell differentials from stained blood smears. Importing this costs nothing: names load on use."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_bloodcell.core.bundle import load_bundle
    from napari_bloodcell.core.pipeline import analyse
    from napari_bloodcell.core.slide.analysis import analyse_slide

__all__ = ["__version__", "analyse", "analyse_slide", "load_bundle"]

_HOMES = {
    "analyse": "napari_bloodcell.core.pipeline",
    "analyse_slide": "napari_bloodcell.core.slide.analysis",
    "load_bundle": "napari_bloodcell.core.bundle",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("napari-bloodcell")
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
