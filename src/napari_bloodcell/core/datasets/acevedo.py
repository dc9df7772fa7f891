"""Acevedo-20: the folder is coarse (ig, neutrophil); the class is the prefix of the FILE."""

from pathlib import Path

from napari_bloodcell.core.datasets.layout import images_of_class, is_image, visible_folders
from napari_bloodcell.core.datasets.naming import Namer
from napari_bloodcell.core.datasets.records import CellImage, Dataset, Preset, Skipped
from napari_bloodcell.core.datasets.sources import DATASETS
from napari_bloodcell.core.taxonomy import DATASET_CODES, DEFAULT, Taxonomy, normalise

FOLDERS = frozenset(
    {"basophil", "eosinophil", "erythroblast", "ig", "lymphocyte", "monocyte", "neutrophil", "platelet"}
)
_CODES = DATASET_CODES["acevedo"]


def prefix_of(path: Path) -> str:
    """``SNE_123456.jpg`` -> ``SNE``; nothing where there is no underscore."""
    head, underscore, _ = path.name.partition("_")
    return head if underscore else ""


def recognises(root: Path) -> bool:
    for folder in visible_folders(root):
        if normalise(folder.name) not in FOLDERS:
            continue
        first = next((entry for entry in folder.iterdir() if is_image(entry)), None)
        if first is not None and prefix_of(first).upper() in _CODES:
            return True
    return False


def load(root: Path, *, taxonomy: Taxonomy = DEFAULT, preset: Preset = "standard") -> Dataset:  # noqa: ARG001
    info, namer = DATASETS["acevedo"], Namer(taxonomy, _CODES)
    cells: list[CellImage] = []
    skipped: list[Skipped] = []
    for folder in visible_folders(root):
        images, left = images_of_class(folder)
        if normalise(folder.name) not in FOLDERS:
            skipped.append(Skipped(folder, "not a folder of Acevedo-20", len(images)))
            continue
        skipped += left
        for path in images:
            prefix = prefix_of(path)
            named = namer(prefix)
            if not prefix or named.class_name is None:
                reason = named.reason if prefix else "no class prefix in the file name"
                skipped.append(Skipped(path, reason))
            else:
                cells.append(CellImage(path, named.class_name, info.domain, um_per_px=info.um_per_px))
    return Dataset("acevedo", root, tuple(cells), tuple(skipped), info.notes)
