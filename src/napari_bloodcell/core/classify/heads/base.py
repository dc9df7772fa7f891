"""What all heads share."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.config import ClassifierConfig
from napari_bloodcell.core.errors import ArtifactError

Arrays = dict[str, NDArray[Any]]
Floats = NDArray[np.float32]
BLOCK = 2048  # cells scored at a time: memory stays small whatever the number of cells


class Head(ABC):
    """Arrays that score vectors. ``names`` are the arrays it needs; ``check`` refuses what does not fit."""

    names: ClassVar[tuple[str, ...]]

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays

    @classmethod
    @abstractmethod
    def fit(
        cls, ready: Floats, truths: NDArray[np.int32], weights: NDArray[Any], config: ClassifierConfig
    ) -> Self:
        """``truths`` are whole numbers from 0 without gaps; ``weights`` one number a cell."""

    @abstractmethod
    def scores(self, ready: Floats) -> Floats:
        """N x C; a softmax makes probabilities of them."""

    @abstractmethod
    def fits(self, width: int, classes: int) -> bool:
        """Whether the arrays go with vectors of this width and so many classes, and with each other."""

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], width: int, classes: int) -> Self:
        """Arrays of a file: all there, and nothing in them that could be looked up out of bounds."""
        missing = [name for name in cls.names if name not in arrays]
        if missing:
            raise ArtifactError(f"it lacks {missing[0]!r}")
        head = cls({name: arrays[name] for name in cls.names})
        if not head.fits(width, classes):
            raise ArtifactError("its arrays do not fit each other")
        return head


def in_blocks(call: Any, ready: Floats, classes: int, block: int = BLOCK) -> Floats:
    """``call`` on ``block`` rows at a time."""
    result = np.zeros((len(ready), classes), np.float32)
    for start in range(0, len(ready), block):
        result[start : start + block] = call(ready[start : start + block])
    return result
