"""The corrected cells once more, in the stain of the nearest lab of the bundle: what adapting needs to judge
whether a new lab's cells are better named when they are restained first."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from napari_bloodcell.core.artifact import read_json
from napari_bloodcell.core.bundle import Bundle
from napari_bloodcell.core.cell_tables import CellVectors, tables_in
from napari_bloodcell.core.config import AnalyseConfig, CropConfig
from napari_bloodcell.core.crop import crop, join
from napari_bloodcell.core.embed.restained import RestainedEmbedder
from napari_bloodcell.core.errors import BloodcellError
from napari_bloodcell.core.image import read_image
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import Crops, Embeddings, Masks, SmearImage
from napari_bloodcell.core.segment.edit import masks_of
from napari_bloodcell.core.stain.profile import StainProfile, average, distance, profiles_of

MOST_FIELDS = 12  # measured for a lab's stain
STAGE = "Restaining corrected cells"


@dataclass(frozen=True, kw_only=True, eq=False)
class Restained:
    """The corrected cells as ``embedder`` describes them; ``cell_id`` as in the embeddings of all cells."""

    cells: Embeddings
    embedder: RestainedEmbedder

    @property
    def name(self) -> str:
        return f"stain of {self.embedder.target.name}"


def restain_cells(
    bundle: Bundle, crops: Crops, source: StainProfile, *, progress: Progress = silent
) -> Restained | None:
    """``crops``: the corrected cells, as the bundle's embedder takes them; ``source``: the lab's stain. None
    where there is nothing to try: the bundle knows no lab's stain, the lab's own stain was not to be seen, or
    the bundle restains already."""
    if source.flag or isinstance(bundle.embedder, RestainedEmbedder) or not len(crops):
        return None
    targets = [one for one in bundle.stains if one.stains == source.stains and not one.flag]
    nearest = min(targets, key=lambda one: distance(source, one), default=None)
    if nearest is None:
        return None
    embedder = RestainedEmbedder(inside=bundle.embedder, source=source, target=nearest)
    return Restained(cells=embedder.embed(crops, progress=progress), embedder=embedder)


def restain_of_results(
    bundle: Bundle,
    tables: Sequence[Path],
    cells: CellVectors,
    corrected: Sequence[bool],
    *,
    lab: str = "new lab",
    progress: Progress = silent,
) -> tuple[Restained | None, str]:
    """From results folders of ``analyse`` whose images are still there; and why not, where it cannot be."""
    wanted = np.flatnonzero(corrected)
    folders = {_image_of(folder): folder for table in tables for folder in _results_in(Path(table))}
    profiles: list[StainProfile] = []
    parts: list[Crops] = []
    rows: list[int] = []
    images = list(zip(cells.source.tolist(), cells.image.tolist(), strict=True))
    for number, one in enumerate(dict.fromkeys(images[row] for row in wanted)):
        progress(STAGE, number, len(folders))
        if one not in folders:
            return None, f"Stain transfer was not tried: no results folder of {one[1]} was given."
        try:
            image, masks, config = _read_back(folders[one])
        except (BloodcellError, OSError, KeyError, ValueError) as error:
            return None, f"Stain transfer was not tried: {error}"
        own = sorted((int(row) for row in wanted if images[row] == one), key=lambda row: cells.cell_id[row])
        parts.append(crops_of(bundle, image, masks, cells.cell_id[own].tolist(), config.crop))
        rows += own
        if len(profiles) < MOST_FIELDS:
            profiles += profiles_of(np.array(image.pixels))
    if not parts or sum(map(len, parts)) != len(rows):
        return None, "Stain transfer was not tried: the outlines do not hold all corrected cells."
    crops = replace(join(parts), cell_id=cells.embeddings.cell_id[rows])
    return restain_cells(bundle, crops, average(profiles, name=lab), progress=progress), ""


def crops_of(
    bundle: Bundle, image: SmearImage, masks: Masks, wanted: Sequence[int], config: CropConfig
) -> Crops:
    own = np.isin(masks.cell_id, np.asarray(wanted, np.int64))
    some = replace(
        masks,
        cell_id=masks.cell_id[own],
        boxes_xyxy=masks.boxes_xyxy[own],
        touches_border=masks.touches_border[own],
    )
    return crop(image, some, getattr(bundle.embedder, "crop", None) or config)


def _results_in(path: Path) -> list[Path]:
    return [table.parent for table in tables_in(path) if (table.parent / "run.json").is_file()]


def _image_of(folder: Path) -> tuple[str, str]:
    """Path and name: pictures of several slides may have one name, and pages of a file one path."""
    image = read_json(folder / "run.json", "run")[1]["image"]
    return str(image.get("source") or ""), str(image["name"])


def _read_back(folder: Path) -> tuple[SmearImage, Masks, AnalyseConfig]:
    """An analysed image and its outlines; refused where the image is another one now."""
    import tifffile

    header, record = read_json(folder / "run.json", "run")
    config = AnalyseConfig.from_json(dict(header.config))
    image = read_image(record["image"]["source"], config.read)
    if image.sha256 != record["image"]["sha256"]:
        raise BloodcellError(f"{image.source} was changed after the analysis.")
    labels = tifffile.imread(folder / "labels.ome.tif")
    nuclei = tifffile.imread(folder / "nuclei.ome.tif")
    return image, masks_of(labels, nuclei > 0, um_per_px=record["scale"]["um_per_px"]), config
