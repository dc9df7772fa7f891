"""White-cell differentials from stained blood smears. Importing this costs nothing: names load on use."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_bloodcell.core.batch import analyse_files
    from napari_bloodcell.core.bundle import load_bundle
    from napari_bloodcell.core.config import AnalyseConfig
    from napari_bloodcell.core.errors import BloodcellError, Cancelled
    from napari_bloodcell.core.pipeline import analyse
    from napari_bloodcell.core.slide.analysis import analyse_slide

__all__ = [
    "AnalyseConfig",
    "BloodcellError",
    "Cancelled",
    "__version__",
    "analyse",
    "analyse_files",
    "analyse_slide",
    "load_bundle",
]

_HOMES = {
    "AnalyseConfig": "napari_bloodcell.core.config",
    "BloodcellError": "napari_bloodcell.core.errors",
    "Cancelled": "napari_bloodcell.core.errors",
    "analyse": "napari_bloodcell.core.pipeline",
    "analyse_files": "napari_bloodcell.core.batch",
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
