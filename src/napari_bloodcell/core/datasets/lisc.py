"""LISC: ``Main Dataset/<class>/N.bmp`` with two experts' outlines under ``Ground Truth Segmentation``."""

from dataclasses import replace
from pathlib import Path

from napari_bloodcell.core.datasets.class_tree import read_classes
from napari_bloodcell.core.datasets.layout import by_stem, folder_named, visible_folders
from napari_bloodcell.core.datasets.naming import Namer
from napari_bloodcell.core.datasets.records import Dataset, Preset
from napari_bloodcell.core.datasets.sources import DATASETS
from napari_bloodcell.core.taxonomy import DATASET_CODES, DEFAULT, Taxonomy, normalise

_CODES = DATASET_CODES["lisc"]
_LEAST_FOLDERS = 3  # "mono" and "neut" alone could be any lab's short names


def _images(root: Path) -> Path:
    return folder_named(root, "Main Dataset") or root


def recognises(root: Path) -> bool:
    inside = {normalise(folder.name) for folder in visible_folders(_images(root))} & set(_CODES)
    return bool(inside) if _images(root) != root else len(inside) >= _LEAST_FOLDERS


def load(root: Path, *, taxonomy: Taxonomy = DEFAULT, preset: Preset = "standard") -> Dataset:  # noqa: ARG001
    info = DATASETS["lisc"]
    found = read_classes(_images(root), Namer(taxonomy, _CODES), info.domain, info.um_per_px)
    truth = folder_named(_images(root).parent, "Ground Truth Segmentation")
    masks = {f.name.casefold(): _masks(f) for f in visible_folders(truth)} if truth is not None else {}
    cells = tuple(
        replace(cell, mask_path=masks.get(cell.path.parent.name.casefold(), {}).get(cell.path.stem))
        for cell in found.cells
    )
    return Dataset("lisc", root, cells, found.skipped, (*info.notes, *found.notes))


def _masks(folder: Path) -> dict[str, Path]:
    """``areaforexpert1/7_expert.bmp`` by ``7``; the first expert, as in the published comparisons."""
    place = folder_named(folder, "areaforexpert1") or folder
    return {stem.removesuffix("_expert"): path for stem, path in by_stem(place).items()}
