"""Pictures with masks, from data sets, from any folder, or from labels drawn in napari."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_bloodcell.core.datasets import CellImage, Split, load_dataset, read_parts, split_of
from napari_bloodcell.core.datasets.layout import by_stem, folder_named
from napari_bloodcell.core.errors import DataError, ImageError
from napari_bloodcell.core.image import read_image
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import ByteArray, IntArray
from napari_bloodcell.core.sam.train.cells import CYTOPLASM, NUCLEUS, MaskedCells, cells_of, join
from napari_bloodcell.core.segment.edit import nuclei_by_stain
from napari_bloodcell.core.stain.lamp import evened
from napari_bloodcell.core.words import how_many

IMAGES, MASKS, NUCLEI = ("images", "cells", "fields"), ("masks", "labels"), ("nuclei",)
# Masks that mark parts and do not count cells.
_PARTS = ({0, 1}, {0, 1, 2}, {0, 255}, {0, 128, 255})


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """The cells of one picture. Pictures of one ``key`` never sit on both sides of the split."""

    key: str
    cells: MaskedCells


def read_pictures(folder: Path, *, progress: Progress = silent) -> list[Picture]:
    """A data set with masks, or a folder with ``images/`` and ``masks/`` (and ``nuclei/``) of the same names.

    A mask holds parts (0 ground, 1 cytoplasm, 2 nucleus; or 0, 128, 255) or counts the cells from 1; then
    ``nuclei/`` tells the nuclei.
    """
    folder = Path(folder)
    masks = folder_named(folder, *MASKS) if folder.is_dir() else None
    if masks is None or (folder / "labels.csv").exists():
        dataset = load_dataset(folder)
        drawn = [cell for cell in dataset.unlabelled if cell.outline is not None]  # "WBC" is enough here
        return pictures_of([*dataset.cells, *drawn], progress=progress)
    images, outlines = by_stem(folder_named(folder, *IMAGES)), by_stem(masks)
    nuclei = by_stem(folder_named(folder, *NUCLEI))
    both = sorted(set(images) & set(outlines))
    if not both:
        raise DataError(
            f"{folder} holds {len(images)} images and {len(outlines)} masks, and no two of one name. "
            "Put each picture in images/ and its mask in masks/ under the same name."
        )
    found = []
    for done, stem in enumerate(both):
        progress("Reading masks", done, len(both))
        labels, nucleus = _read_mask(outlines[stem], nuclei.get(stem))
        found.append(
            from_labels(
                evened(read_image(images[stem])), labels, nucleus, name=images[stem].name, source=folder.name
            )
        )
    progress("Reading masks", len(both), len(both))
    return found


def from_labels(
    pixels: ByteArray, labels: IntArray, nucleus: ByteArray, *, name: str, source: str = "drawn"
) -> Picture:
    """Labels drawn in napari: each number is a cell; ``nucleus`` is not 0 in nuclei, wherever they are."""
    return Picture(key=name, cells=cells_of(pixels, labels, nucleus, name=name, source=source))


def pictures_of(cells: Sequence[CellImage], *, progress: Progress = silent) -> list[Picture]:
    """The cells of a data set that come with masks or outlines. Pictures of one patient or slide share a
    key."""
    masked = [cell for cell in cells if cell.mask_path is not None]
    drawn: dict[Path, list[CellImage]] = {}
    for cell in cells:
        if cell.outline is not None:
            drawn.setdefault(cell.path, []).append(cell)
    if not masked and not drawn:
        where = f" of {cells[0].domain}" if cells else ""
        raise DataError(
            f"None of the {len(cells)} cells{where} has a mask. Choose a data set with masks, or a folder "
            "with images/ and masks/."
        )
    found = []
    for done, cell in enumerate(masked):
        progress("Reading masks", done, len(masked) + len(drawn))
        assert cell.mask_path is not None
        parts = read_parts(cell.mask_path)
        inside = (parts >= CYTOPLASM).astype(np.int32)
        one = from_labels(
            evened(read_image(cell.path)),
            inside,
            (parts == NUCLEUS).astype(np.uint8),
            name=f"{cell.domain}/{cell.path.name}",
            source=cell.domain,
        )
        key = cell.path.name if cell.group is None else f"{cell.domain} {cell.group}"
        found.append(Picture(key=key, cells=one.cells))
    for done, (path, own) in enumerate(drawn.items(), len(masked)):
        progress("Reading masks", done, len(masked) + len(drawn))
        found.append(_drawn_in(path, own))
    progress("Reading masks", len(masked) + len(drawn), len(masked) + len(drawn))
    return found


def _drawn_in(path: Path, cells: Sequence[CellImage]) -> Picture:
    """A field with outlines drawn in it; where two cover a pixel it is the later one's. Nuclei are those of
    the stain."""
    pixels = evened(read_image(path))
    labels = np.zeros(pixels.shape[:2], np.int32)
    for number, cell in enumerate(cells, 1):
        assert cell.outline is not None
        assert cell.box_xyxy is not None
        x0, y0, x1, y1 = cell.box_xyxy
        labels[y0:y1, x0:x1][cell.outline.mask(cell.box_xyxy)] = number
    nucleus = nuclei_by_stain(pixels, labels, cells[0].um_per_px).astype(np.uint8)
    return from_labels(pixels, labels, nucleus, name=f"{cells[0].domain}/{path.name}", source=cells[0].domain)


def read_cells(cells: Sequence[CellImage], *, progress: Progress = silent) -> MaskedCells:
    return join(picture.cells for picture in pictures_of(cells, progress=progress))


def divide(pictures: Sequence[Picture], held_out: float) -> tuple[MaskedCells, MaskedCells, str]:
    """Cells to train on and cells held out, by the hash of each picture's key; and what had to be decided.

    A handful of pictures may all fall on one side: then their cells are divided instead, and a note says so.
    """
    sides: dict[Split, list[MaskedCells]] = {"train": [], "held_out": []}
    for picture in pictures:
        sides[split_of(picture.key, held_out)].append(picture.cells)
    if sides["train"] and sides["held_out"]:
        return join(sides["train"]), join(sides["held_out"]), ""
    every = join(picture.cells for picture in pictures)
    rows: dict[Split, list[int]] = {"train": [], "held_out": []}
    for i, name in enumerate(every.names):
        rows[split_of(name, held_out)].append(i)
    if not rows["train"] or not rows["held_out"]:
        raise DataError(
            f"{how_many(len(every), 'cell')} of {how_many(len(pictures), 'picture')} are too few to hold "
            f"{held_out:.0%} of them out. Mark more cells, or change the share."
        )
    few = "One picture is" if len(pictures) == 1 else f"The {len(pictures)} pictures are"
    note = (
        f"{few} too few to hold whole ones out: some of the cells are held out instead, so the scores are of "
        "these pictures, not of new ones."
    )
    return every.take(rows["train"]), every.take(rows["held_out"]), note


def _read_mask(path: Path, nuclei: Path | None) -> tuple[IntArray, ByteArray]:
    from scipy import ndimage as ndi

    values = _read_numbers(path)
    found = set(np.unique(values).tolist())
    if any(found <= kinds for kinds in _PARTS) and found != {0}:
        top = max(found)
        nucleus = (values == top) & (top != 1) & (found != {0, 255})
        labels = ndi.label(values > 0)[0].astype(np.int32)
    else:
        labels, nucleus = values.astype(np.int32), np.zeros(values.shape, np.bool_)
    if nuclei is not None:
        nucleus = _read_numbers(nuclei) > 0
    return labels, nucleus.astype(np.uint8)


def _read_numbers(path: Path) -> IntArray:
    from PIL import Image

    try:
        if path.suffix.lower() in (".tif", ".tiff"):
            import tifffile

            values = np.asarray(tifffile.imread(path))
        else:
            with Image.open(path) as image:
                values = np.asarray(image)
    except (OSError, ValueError) as error:
        raise ImageError(
            f"Cannot read the mask {path}: {error}. It takes an image of one channel."
        ) from error
    if values.ndim != 2 or values.dtype.kind not in "uib":
        raise ImageError(
            f"The mask {path} has shape {values.shape} and type {values.dtype}; it takes whole numbers, one "
            "for each pixel."
        )
    return values.astype(np.int32)
