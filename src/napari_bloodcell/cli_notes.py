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


def tell_left_out(sets: "Sequence[Dataset | Path]") -> None:
    """Of sets of cells, or of the folders that hold them, before any work; an image is passed over."""
    from napari_bloodcell.core.datasets import Dataset, left_out, load_dataset

    read = [one if isinstance(one, Dataset) else load_dataset(one) for one in sets if not _is_file(one)]
    tell(left_out(read))


def _is_file(one: "Dataset | Path") -> bool:
    return isinstance(one, Path) and one.is_file()
