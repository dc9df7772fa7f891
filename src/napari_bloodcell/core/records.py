"""The nouns of the chain: ``image -> Masks -> Crops -> Embeddings -> Predictions -> Differential``.

Each is one frozen record whose arrays start with ``cell_id``, so any two can be joined. Zero cells is a
valid value of each. Arrays are read-only views: nothing is edited after it is made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.errors import BloodcellError

UNIDENTIFIED = "unidentified"
PERSON = "person"  # how the source of a class begins where a person decided
ABOUT_CELL = "cell "  # how a note of one cell begins
AS_SET = " as set"  # how a note of what a person asked for ends
COULD_BE, FITS_NONE = "could be ", "fits no class"  # doubts that leave a cell its class begin so

IntArray = NDArray[np.int32]
FloatArray = NDArray[np.float32]
ByteArray = NDArray[np.uint8]
BoolArray = NDArray[np.bool_]


def freeze(record: Any, name: str, dtype: Any, shape: Sequence[int | None]) -> None:
    """Check one array of a record and replace it by a read-only view. ``None`` in shape: any length."""
    array = np.asarray(getattr(record, name), dtype=dtype)
    fits = array.ndim == len(shape) and all(w in (None, n) for w, n in zip(shape, array.shape, strict=True))
    if not fits:
        wanted = " x ".join("any" if w is None else str(w) for w in shape)
        raise BloodcellError(
            f"{type(record).__name__}.{name} has shape {array.shape}; it takes {wanted}. "
            "Records of one image belong together: make them in one run."
        )
    view = array.view()
    view.flags.writeable = False
    object.__setattr__(record, name, view)


@dataclass(frozen=True, kw_only=True, eq=False)
class SmearImage:
    """Pixels of one field, always H x W x 3, uint8, RGB."""

    pixels: ByteArray
    name: str = "image"
    source: str | None = None  # path or address; None for an array in memory
    um_per_px: float | None = None
    sha256: str = ""  # of the file, or of the array's bytes
    notes: tuple[str, ...] = ()  # what reading had to decide, for the run record
    even_light: bool = True  # whether an uneven lamp is to be evened out before cells are looked for

    def __post_init__(self) -> None:
        freeze(self, "pixels", np.uint8, (None, None, 3))


@dataclass(frozen=True, kw_only=True, eq=False)
class Masks:
    """Where each white cell is. ``labels`` holds the cell's id on nucleus and cytoplasm alike."""

    cell_id: IntArray  # N, the values found in labels, ascending
    labels: IntArray  # H x W, 0 is ground
    nucleus: BoolArray  # H x W, true on nuclei; a subset of labels > 0
    boxes_xyxy: IntArray  # N x 4, pixels, right and lower edge exclusive
    touches_border: BoolArray  # N
    um_per_px: float | None = None
    scale_source: str = "unknown"  # "given" (by the file, the layer or a person), "red cells", "unknown"
    segmenter: str = ""
    notes: tuple[str, ...] = ()  # what was decided on the way, for the run record

    def __post_init__(self) -> None:
        freeze(self, "cell_id", np.int32, (None,))
        n = len(self.cell_id)
        freeze(self, "labels", np.int32, (None, None))
        freeze(self, "nucleus", np.bool_, self.labels.shape)
        freeze(self, "boxes_xyxy", np.int32, (n, 4))
        freeze(self, "touches_border", np.bool_, (n,))

    def __len__(self) -> int:
        return len(self.cell_id)

    @property
    def about_image(self) -> tuple[str, ...]:
        """Those notes that tell of the image and not of one cell."""
        return tuple(note for note in self.notes if not note.startswith(ABOUT_CELL))


@dataclass(frozen=True, kw_only=True, eq=False)
class Crops:
    """One square picture a cell, with its parts: 0 outside, 1 cytoplasm, 2 nucleus.

    Light and pixel size may be given once, where all cells are of one image.
    """

    cell_id: IntArray
    pixels: ByteArray  # N x S x S x 3
    parts: ByteArray  # N x S x S
    px_per_crop_px: FloatArray  # N, image pixels one crop pixel stands for
    area_px: IntArray  # N, of the cell in the image: a fixed field may show only a part of it
    nucleus_area_px: IntArray  # N
    ground_rgb: FloatArray  # N x 3, light of the empty ground of the cell's image, 0..255
    um_per_px: FloatArray | float | None = None  # N, of the cell's image; kept as NaN where unknown

    def __post_init__(self) -> None:
        freeze(self, "cell_id", np.int32, (None,))
        n = len(self.cell_id)
        freeze(self, "pixels", np.uint8, (n, None, None, 3))
        freeze(self, "parts", np.uint8, (n, *self.pixels.shape[1:3]))
        freeze(self, "px_per_crop_px", np.float32, (n,))
        freeze(self, "area_px", np.int32, (n,))
        freeze(self, "nucleus_area_px", np.int32, (n,))
        if np.ndim(self.ground_rgb) == 1:
            object.__setattr__(self, "ground_rgb", np.tile(np.asarray(self.ground_rgb, np.float32), (n, 1)))
        freeze(self, "ground_rgb", np.float32, (n, 3))
        if np.ndim(self.um_per_px) == 0:  # type: ignore[arg-type]
            um = np.nan if self.um_per_px is None else self.um_per_px
            object.__setattr__(self, "um_per_px", np.full(n, um, np.float32))
        freeze(self, "um_per_px", np.float32, (n,))

    def __len__(self) -> int:
        return len(self.cell_id)


@dataclass(frozen=True, kw_only=True, eq=False)
class Measurements:
    """Size, shape and colour of each cell; ``names`` names the columns. Unknown sizes are NaN."""

    cell_id: IntArray
    values: FloatArray  # N x D
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        freeze(self, "cell_id", np.int32, (None,))
        freeze(self, "values", np.float32, (len(self.cell_id), len(self.names)))

    def __len__(self) -> int:
        return len(self.cell_id)


@dataclass(frozen=True, kw_only=True, eq=False)
class Embeddings:
    """One vector a cell. ``names`` names the columns; ``embedder`` is the hash a classifier insists on."""

    cell_id: IntArray
    values: FloatArray  # N x D
    names: tuple[str, ...]
    embedder: str

    def __post_init__(self) -> None:
        freeze(self, "cell_id", np.int32, (None,))
        freeze(self, "values", np.float32, (len(self.cell_id), len(self.names)))

    def __len__(self) -> int:
        return len(self.cell_id)


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """What each cell is, how sure, and why not."""

    cell_id: IntArray
    class_names: tuple[str, ...]
    probabilities: FloatArray  # N x C, rows sum to 1
    labels: NDArray[np.str_]  # N, a class name or "unidentified"
    doubt: tuple[str, ...]  # N, empty where there is none
    distance: FloatArray  # N, to the training cells; above 1 is further than 99 % of them
    classifier: str = ""
    sets: BoolArray | None = None  # N x C, the classes a cell may be; None where nothing was held out

    def __post_init__(self) -> None:
        freeze(self, "cell_id", np.int32, (None,))
        n = len(self.cell_id)
        freeze(self, "probabilities", np.float32, (n, len(self.class_names)))
        freeze(self, "labels", np.str_, (n,))
        freeze(self, "distance", np.float32, (n,))
        if len(self.doubt) != n:
            raise BloodcellError(f"Predictions.doubt has {len(self.doubt)} entries for {n} cells.")
        if self.sets is not None:
            freeze(self, "sets", np.bool_, (n, len(self.class_names)))

    def __len__(self) -> int:
        return len(self.cell_id)

    def top(self, rank: int) -> tuple[NDArray[np.str_], FloatArray]:
        """Class and probability of the rank-th best guess (0 is the best), before any doubt."""
        order = np.argsort(-self.probabilities, axis=1, kind="stable")[:, rank]
        names = np.asarray(self.class_names, dtype=np.str_)[order]
        return names, np.take_along_axis(self.probabilities, order[:, None], axis=1)[:, 0]

    def columns(self, source: str = "") -> dict[str, Any]:
        """What a table of cells says of them; ``source`` tells who named them."""
        best, probability = self.top(0)
        second, second_probability = self.top(1)
        return {
            "cell_type": self.labels,
            "cell_type_prob": probability,
            **({"cell_type_source": source} if source else {}),
            "best": best,
            "second": second,
            "second_prob": second_probability,
            "possible": list(self.possible()),
            "doubt": list(self.doubt),
            "distance": self.distance,
        }

    def possible(self) -> tuple[str, ...]:
        """The possible classes of each cell as text, ``a|b``; empty where sets are not known."""
        if self.sets is None:
            return ("",) * len(self)
        names = np.asarray(self.class_names, dtype=np.str_)
        return tuple("|".join(names[row]) for row in self.sets)
