"""Raabin-WBC: ``Train``, ``TestA`` and ``TestB``. TestB comes from another microscope and camera."""

from dataclasses import replace
from pathlib import Path

from napari_bloodcell.core.datasets.class_tree import has_class_folders, read_classes
from napari_bloodcell.core.datasets.layout import folder_named, images_of
from napari_bloodcell.core.datasets.naming import Namer
from napari_bloodcell.core.datasets.records import UNLABELLED, CellImage, Dataset, Preset
from napari_bloodcell.core.datasets.sources import DATASETS
from napari_bloodcell.core.taxonomy import DEFAULT, Taxonomy

OTHER_CAMERA = (
    "TestB of Raabin-WBC is of another microscope and camera: it counts as a laboratory of its own."
)
_PARTS = {"Train": ("train",), "TestA": ("testa", "test_a"), "TestB": ("testb", "test_b")}


def _parts(root: Path) -> dict[str, Path]:
    found = {part: folder_named(root, *names) for part, names in _PARTS.items()}
    return {part: folder for part, folder in found.items() if folder is not None}


def recognises(root: Path) -> bool:
    parts = _parts(root)
    tests = [part for part in parts if part != "Train"]
    return bool(tests) and any(has_class_folders(folder) for folder in parts.values())


def load(root: Path, *, taxonomy: Taxonomy = DEFAULT, preset: Preset = "standard") -> Dataset:
    domain = DATASETS["raabin"].domain
    whole = Dataset("raabin", root, ())
    for part, folder in _parts(root).items():
        # The published comparisons count TestB as the same domain; another camera is another domain.
        own = f"{domain}-testb" if part == "TestB" and preset == "standard" else domain
        found = read_classes(folder, Namer(taxonomy), own)
        loose, _ = images_of(folder)
        whole = replace(
            whole,
            cells=whole.cells + found.cells,
            skipped=whole.skipped + tuple(s for s in found.skipped if s.path not in loose),
            notes=whole.notes + ((OTHER_CAMERA,) if own != domain else ()) + found.notes,
            unlabelled=whole.unlabelled + tuple(CellImage(path, UNLABELLED, own) for path in loose),
        )
    return whole
