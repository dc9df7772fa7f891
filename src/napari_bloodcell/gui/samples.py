"""Sample data: synthetic smears of three laboratories, drawn on the spot. Nothing is downloaded."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_bloodcell.core.class_list import ClassList
from napari_bloodcell.core.config import SmearConfig, SmearLook
from napari_bloodcell.core.progress import Progress, silent

LayerData = tuple[Any, dict[str, Any], str]
LABS: tuple[tuple[SmearLook, int], ...] = (("giemsa_blue", 7), ("wright_cream", 11), ("rapid_yellow", 23))


def giemsa() -> list[LayerData]:
    return [draw("giemsa_blue", seed=7)]


def wright() -> list[LayerData]:
    return [draw("wright_cream", seed=11)]


def rapid() -> list[LayerData]:
    return [draw("rapid_yellow", seed=23)]


def three_labs() -> list[LayerData]:
    """One field of each laboratory side by side, with its cells, classes and measurements."""
    from napari_bloodcell.gui.reader import cells_data

    found: list[LayerData] = []
    for place, (look, seed) in enumerate(LABS):
        drawn = draw_cells(look, seed, bundle="stain")  # of the models the one that needs no torch
        (pixels, options, kind), analysis = drawn.image, drawn.analysis
        options |= {"name": look.replace("_", " ")}
        options["translate"] = (0.0, place * 1.03 * pixels.shape[1] * options["scale"][1])
        found.append((pixels, options, kind))
        known = ClassList.of([*analysis.predictions.class_names, *analysis.predictions.labels])
        labels = np.array(analysis.masks.labels)  # ours cannot be written to; a layer's can
        found += cells_data(labels, drawn.table, options, known)
    return found


def real_fields() -> list[LayerData]:
    """Fetched the first time; nothing of them is part of the package."""
    from napari_bloodcell.core.image import read_image
    from napari_bloodcell.core.real_samples import fetch_fields
    from napari_bloodcell.gui import preferences

    preferences.apply()
    images = [read_image(path) for path in fetch_fields()]
    return [(image.pixels.copy(), {"name": image.name, "rgb": True}, "image") for image in images]


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


def draw_cells(
    look: SmearLook = "giemsa_blue", seed: int = 7, *, bundle: str = "nano", progress: Progress = silent
) -> Counted:
    """A synthetic field and what a model that ships finds on it. For a task."""
    from napari_bloodcell.core.config import AnalyseConfig, ReadConfig
    from napari_bloodcell.core.image import from_array
    from napari_bloodcell.core.pipeline import analyse
    from napari_bloodcell.gui.layers import rims_of

    pixels, options, kind = draw(look, seed, progress=progress)
    config = AnalyseConfig(read=ReadConfig(um_per_px=float(options["scale"][0])))
    smear = from_array(pixels, config.read, name=options["name"])
    analysis = analyse(smear, bundle, config, progress=progress)
    rims = rims_of(analysis.masks.labels)
    return Counted(image=(pixels, options, kind), analysis=analysis, table=analysis.table(), rims=rims)
