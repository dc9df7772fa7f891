"""What survives another lab's stain? A field is analysed again under other stain profiles, and each cell is
followed: does it keep its outline and its class?

A cell that does not is one whose answer hangs on the stain: it is the first to look at by eye.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.core.artifact import atomic_path
from napari_bloodcell.core.bundle import Bundle, load_bundle
from napari_bloodcell.core.config import AnalyseConfig, TransferConfig
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.image import read_image
from napari_bloodcell.core.pipeline import Analysis, analyse
from napari_bloodcell.core.progress import Progress, silent, within
from napari_bloodcell.core.records import BoolArray, FloatArray, SmearImage, freeze
from napari_bloodcell.core.stain.lamp import evened
from napari_bloodcell.core.stain.profile import StainProfile

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

SAME_OUTLINE = 0.5  # intersection over union from which on an outline is kept


@dataclass(frozen=True, kw_only=True, eq=False)
class Robustness:
    """One row a cell of the field as it is, one column a profile."""

    analysis: Analysis  # of the field as it is
    profiles: tuple[StainProfile, ...]
    overlap: FloatArray  # N x P, intersection over union with the best cell of the restained field
    same_class: BoolArray  # N x P, and the outline is kept
    restained_cells: tuple[int, ...]  # how many cells were found under each profile

    def __post_init__(self) -> None:
        shape = (len(self.analysis.masks), len(self.profiles))
        freeze(self, "overlap", np.float32, shape)
        freeze(self, "same_class", np.bool_, shape)

    @property
    def kept_outline(self) -> BoolArray:
        kept: BoolArray = self.overlap >= SAME_OUTLINE
        return kept

    def stability(self) -> FloatArray:
        """0 to 1 for each cell: mean over profiles of its overlap, 0 where outline or class is lost."""
        kept: FloatArray = np.where(self.same_class, self.overlap, 0).mean(axis=1, dtype=np.float32)
        return kept

    def table(self) -> "pd.DataFrame":
        import pandas as pd

        masks = self.analysis.masks
        table = pd.DataFrame(
            {
                "image": self.analysis.image.name,
                "cell_id": masks.cell_id,
                "cell_type": self.analysis.predictions.labels,
                "stability": self.stability(),
                "kept_outline": self.kept_outline.mean(axis=1),
                "kept_class": self.same_class.mean(axis=1),
            }
        )
        for column, profile in enumerate(self.profiles):
            name = profile.name or f"profile {column + 1}"
            table[f"{name}: overlap"] = self.overlap[:, column]
            table[f"{name}: same class"] = self.same_class[:, column]
        return table

    def text(self) -> str:
        """What a person wants to know first."""
        n = len(self.analysis.masks)
        lines = [f"Cells: {n}, other stains: {len(self.profiles)} ({self.analysis.image.name})"]
        for column, profile in enumerate(self.profiles):
            name = profile.name or f"profile {column + 1}"
            outline, same = int(self.kept_outline[:, column].sum()), int(self.same_class[:, column].sum())
            lines.append(
                f"  {name}: {outline} of {n} keep their outline, {same} their class too; "
                f"{self.restained_cells[column]} cells found"
            )
        if n:
            order = np.argsort(self.stability(), kind="stable")[:5]
            weakest = ", ".join(
                f"{self.analysis.masks.cell_id[i]} ({self.stability()[i]:.2f})" for i in order
            )
            lines.append(f"  least stable cells: {weakest}")
        return "\n".join(lines)

    def save(self, path: Path) -> None:
        """The table, as CSV."""
        with atomic_path(path) as temporary:
            self.table().to_csv(temporary, index=False)


def robustness(
    image: "str | Path | ArrayLike | SmearImage",
    profiles: Sequence[StainProfile],
    bundle: "str | Path | Bundle" = "nano",
    config: AnalyseConfig = AnalyseConfig(),
    *,
    how: TransferConfig = TransferConfig(),
    progress: Progress = silent,
) -> Robustness:
    """Analyse a field as it is and under each profile. The image is not changed."""
    from napari_bloodcell.core.stain.transfer import transfer

    if not profiles:
        raise DataError("No stain profile to try was given. Measure one: napari-bloodcell stain profile.")
    model = load_bundle(bundle)
    smear = read_image(image, config.read)
    first = analyse(smear, model, config, progress=within(progress, "as it is"))
    overlap = np.zeros((len(first.masks), len(profiles)), np.float32)
    same = np.zeros(overlap.shape, np.bool_)
    counts = []
    for column, profile in enumerate(profiles):
        stage = f"stain {column + 1} of {len(profiles)}"
        pixels = transfer(evened(smear), profile, how)
        restained = replace(smear, pixels=pixels)
        other = analyse(restained, model, config, progress=within(progress, stage))
        partner, overlap[:, column] = match_cells(first.masks.labels, other.masks.labels, first.masks.cell_id)
        counts.append(len(other.masks))
        names = dict(zip(other.masks.cell_id.tolist(), other.predictions.labels.tolist(), strict=True))
        kept = overlap[:, column] >= SAME_OUTLINE
        same[:, column] = kept & np.array(
            [names.get(p) == label for p, label in zip(partner, first.predictions.labels, strict=True)], bool
        )
    return Robustness(
        analysis=first,
        profiles=tuple(profiles),
        overlap=overlap,
        same_class=same,
        restained_cells=tuple(counts),
    )


def match_cells(first: Any, second: Any, cell_id: Any) -> tuple[list[int], FloatArray]:
    """For each cell of ``first``, the cell of ``second`` that overlaps it best (0: none), and how well
    (intersection over union)."""
    width = int(second.max(initial=0)) + 1
    both = np.bincount(first.astype(np.int64).ravel() * width + second.ravel())
    area_first = np.bincount(first.ravel(), minlength=int(np.max(cell_id, initial=0)) + 1)
    area_second = np.bincount(second.ravel(), minlength=width)
    partners, scores = [], np.zeros(len(cell_id), np.float32)
    for row, cell in enumerate(np.asarray(cell_id).tolist()):
        shared = np.zeros(width, np.int64)
        part = both[cell * width : (cell + 1) * width]
        shared[: len(part)] = part
        shared[0] = 0
        iou = shared / np.maximum(area_first[cell] + area_second - shared, 1)
        best = int(iou.argmax())
        partners.append(best if iou[best] > 0 else 0)
        scores[row] = iou[best]
    return partners, scores
