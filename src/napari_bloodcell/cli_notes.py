"""What commands tell beside their results, on the error stream."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_bloodcell.core.datasets import Dataset


def tell(lines: Iterable[str]) -> None:
    for line in lines:
        print(f"note: {line}", file=sys.stderr)


def tell_of_sets(sets: "Sequence[Dataset | Path]") -> None:
    """Before any work: what sets of cells, or the folders that hold them, leave out, and what contradicts
    itself in them. An image is passed over."""
    from napari_bloodcell.core.datasets import Dataset, contradictions, left_out, load_dataset

    read = [one if isinstance(one, Dataset) else load_dataset(one) for one in sets if not _is_file(one)]
    tell([*left_out(read), *contradictions(cell for one in read for cell in one.cells)])


def _is_file(one: "Dataset | Path") -> bool:
    return isinstance(one, Path) and one.is_file()
