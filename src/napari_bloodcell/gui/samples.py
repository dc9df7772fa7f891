"""Sample data: synthetic smears of three laboratories, drawn on the spot. Nothing is downloaded."""

from dataclasses import dataclass
from typing import Any

from napari_bloodcell.core.config import SmearConfig, SmearLook
from napari_bloodcell.core.progress import Progress, silent

LayerData = tuple[Any, dict[str, Any], str]


def giemsa() -> list[LayerData]:
    return [draw("giemsa_blue", seed=7)]


def wright() -> list[LayerData]:
    return [draw("wright_cream", seed=11)]


def rapid() -> list[LayerData]:
    return [draw("rapid_yellow", seed=23)]


def draw(look: SmearLook = "giemsa_blue", seed: int = 7, *, progress: Progress = silent) -> LayerData:
    """One field with its pixel size, and the truth in its metadata."""
    from napari_bloodcell.core.synthetic import make_smear

    config = SmearConfig(look=look, seed=seed, width_px=1024, height_px=768, white_cells=10)
    smear = make_smear(config, progress=progress)
    truth = dict(zip(smear.masks.cell_id.tolist(), smear.class_names, strict=True))
    options = {
        "name": smear.image.name,
        "scale": (config.um_per_px, config.um_per_px),
        "units": ("um", "um"),
        "metadata": {"napari_bloodcell_sample": {"config": config.to_json(), "classes": truth}},
    }
    return smear.image.pixels.copy(), options, "image"


@dataclass(frozen=True, kw_only=True, eq=False)
class Counted:
    """A sample with its cells outlined and classified, for the panels that begin there."""

    image: LayerData
    analysis: Any
    table: Any
    rims: Any


def draw_cells(look: SmearLook = "giemsa_blue", seed: int = 7, *, progress: Progress = silent) -> Counted:
    """A synthetic field and what the model that ships finds on it. For a task."""
    from napari_bloodcell.core.config import AnalyseConfig, ReadConfig
    from napari_bloodcell.core.image import from_array
    from napari_bloodcell.core.pipeline import analyse
    from napari_bloodcell.gui.layers import rims_of

    pixels, options, kind = draw(look, seed, progress=progress)
    config = AnalyseConfig(read=ReadConfig(um_per_px=float(options["scale"][0])))
    smear = from_array(pixels, config.read, name=options["name"])
    analysis = analyse(smear, "nano", config, progress=progress)
    rims = rims_of(analysis.masks.labels)
    return Counted(image=(pixels, options, kind), analysis=analysis, table=analysis.table(), rims=rims)
