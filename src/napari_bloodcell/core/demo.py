"""What ``make demo`` and ``napari-bloodcell sample`` do: a synthetic smear with known truth, analysed."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_bloodcell.core.artifact import atomic_path, write_bytes
from napari_bloodcell.core.config import AnalyseConfig, ReadConfig, SmearConfig
from napari_bloodcell.core.errors import ImageError
from napari_bloodcell.core.image import write_labels_ome_tiff
from napari_bloodcell.core.pipeline import Analysis, analyse
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.report import to_text
from napari_bloodcell.core.store import write_analysis
from napari_bloodcell.core.synthetic import SyntheticSmear, make_smear
from napari_bloodcell.core.taxonomy import DEFAULT

if TYPE_CHECKING:
    from numpy.typing import NDArray


def run_demo(out: Path, seed: int = 3, *, progress: Progress = silent) -> str:
    """Draw a field, save it as a microscope would, read it back, count it, compare with the truth."""
    config = SmearConfig(width_px=1280, height_px=960, white_cells=12, mix="even", seed=seed)
    picture = out / "smear.png"
    smear = draw_sample(picture, config, progress=progress)
    reading = AnalyseConfig(read=ReadConfig(um_per_px=config.um_per_px))
    analysis = analyse(picture, "nano", reading, progress=progress)
    write_analysis(out / "result", analysis)
    return "\n".join(
        [
            to_text(analysis.differential),
            compare(smear, analysis),
            f"Model: {analysis.bundle.title}",
            f"Picture with outlines: {out / 'result' / 'overlay.png'}",
        ]
    )


def compare(smear: SyntheticSmear, analysis: Analysis) -> str:
    """One line: how many drawn cells were found, and how many of those got the right coarse class."""
    found = match(smear.masks.labels, analysis.masks.labels)
    answers = dict(zip(analysis.masks.cell_id.tolist(), analysis.predictions.labels, strict=True))
    truths = dict(zip(smear.masks.cell_id.tolist(), smear.class_names, strict=True))
    right = sum(DEFAULT.coarse(answers[got]) == DEFAULT.coarse(truths[true]) for true, got in found.items())
    extra = len(analysis.masks) - len(found)
    return (
        f"Drawn: {len(truths)} white cells. Found: {len(found)}, and {extra} that are none. "
        f"Right class: {right} of {len(found)}. (Drawn cells; the model learned from real ones.)"
    )


def match(truth: "NDArray[np.int32]", found: "NDArray[np.int32]", iou: float = 0.5) -> dict[int, int]:
    """Pairs of cells that overlap by more than ``iou``; above one half the pairing is unique."""
    both = (truth > 0) & (found > 0)
    pairs, overlaps = np.unique(np.stack([truth[both], found[both]]), axis=1, return_counts=True)
    sizes_true, sizes_found = np.bincount(truth.ravel()), np.bincount(found.ravel())
    matched = {}
    for (true, got), overlap in zip(pairs.T.tolist(), overlaps.tolist(), strict=True):
        if overlap > iou * (sizes_true[true] + sizes_found[got] - overlap):
            matched[true] = got
    return matched


def write_sample(path: Path, config: SmearConfig, *, progress: Progress = silent) -> list[Path]:
    """A synthetic smear, its exact labels and its classes, side by side."""
    if path.suffix.lower() != ".png":
        raise ImageError(f"{path} does not end in .png. A sample is written as PNG: pixels exactly as drawn.")
    smear = draw_sample(path, config, progress=progress)
    labels, classes = path.with_suffix(".labels.ome.tif"), path.with_suffix(".classes.csv")
    write_labels_ome_tiff(labels, smear.masks.labels, config.um_per_px)
    pairs = zip(smear.masks.cell_id, smear.class_names, strict=True)
    rows = ["cell_id,class", *(f"{cell},{name}" for cell, name in pairs), ""]
    write_bytes(classes, "\n".join(rows).encode())
    return [path, labels, classes]


def draw_sample(path: Path, config: SmearConfig, *, progress: Progress = silent) -> SyntheticSmear:
    from PIL import Image

    smear = make_smear(config, progress=progress)
    with atomic_path(path) as temporary:
        Image.fromarray(np.asarray(smear.image.pixels)).save(temporary, format="PNG")
    return smear
