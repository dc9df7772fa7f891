"""The vectors of the shared labs' cells, computed once for each embedder and kept in the cache folder."""

import sys
from dataclasses import dataclass

import numpy as np

from benchmarks._common import real_data
from napari_bloodcell.core.config import EvaluateConfig
from napari_bloodcell.core.embed.choose import find_embedder
from napari_bloodcell.core.evaluate.cells import gather
from napari_bloodcell.core.evaluate.features import features_of
from napari_bloodcell.core.folders import cache_folder
from napari_bloodcell.core.records import Embeddings

LABS = ("jtsc", "cellavision", "bccd")


@dataclass(frozen=True, kw_only=True, eq=False)
class LabCells:
    """Labelled cells of one laboratory."""

    name: str
    cells: Embeddings
    labels: np.ndarray

    def rows(self, rows: np.ndarray) -> Embeddings:
        return part(self.cells, rows)


def shared_labs(embedder: str = "measurements") -> dict[str, LabCells] | None:
    """None where the real cells are not at hand. Cells that were not found in their picture are left out."""
    root = real_data()
    if root is None:
        return None
    table = gather([root / lab for lab in LABS], EvaluateConfig(level="coarse"))
    ready = find_embedder(embedder)
    features = features_of(table, ready, cache_folder() / "benchmarks" / ready.hash[:12], progress=show)
    result = {}
    for lab in LABS:
        rows = table.rows_of(lab)[features.found[table.rows_of(lab)]]
        cells = Embeddings(
            cell_id=np.arange(len(rows)), values=features.values[rows], names=ready.names, embedder=ready.hash
        )
        result[lab] = LabCells(name=lab, cells=cells, labels=table.labels[rows])
    return result


def together(labs: list[LabCells]) -> tuple[Embeddings, np.ndarray, np.ndarray]:
    """Cells, labels and lab names of several labs."""
    values = np.concatenate([lab.cells.values for lab in labs])
    first = labs[0].cells
    cells = Embeddings(
        cell_id=np.arange(len(values)), values=values, names=first.names, embedder=first.embedder
    )
    names = np.repeat([lab.name for lab in labs], [len(lab.labels) for lab in labs])
    return cells, np.concatenate([lab.labels for lab in labs]), names


def part(cells: Embeddings, rows: np.ndarray) -> Embeddings:
    return Embeddings(
        cell_id=cells.cell_id[rows], values=cells.values[rows], names=cells.names, embedder=cells.embedder
    )


def option(name: str, default: str) -> str:
    """``--name value`` on the command line."""
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default


def show(stage: str, done: int, total: int) -> None:
    print(f"{stage}: {done} of {total}", file=sys.stderr)
