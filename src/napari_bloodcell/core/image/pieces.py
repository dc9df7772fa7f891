"""An array in a file that is read piece by piece, and the file that is open meanwhile."""

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from napari_bloodcell.core.records import ByteArray


class HeldFile:
    """Closes a file when the last array of it is gone."""

    def __init__(self, close: Callable[[], Any]) -> None:
        weakref.finalize(self, close)


class PiecewiseArray:
    """Bytes with ``shape``, ``dtype`` and slices, as dask and ``LazyImage`` want them."""

    dtype = np.dtype(np.uint8)

    def __init__(self, shape: Sequence[int], read: Callable[[Any], Any], held: HeldFile) -> None:
        self.shape = tuple(int(n) for n in shape)
        self.ndim = len(self.shape)
        self._read, self._held = read, held

    def __getitem__(self, window: Any) -> ByteArray:
        return np.asarray(self._read(window))
