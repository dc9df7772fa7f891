"""Pictures of the cells a person should look at first."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.core.config import ReadConfig
from napari_bloodcell.core.errors import ImageError
from napari_bloodcell.core.image import read_image
from napari_bloodcell.core.image.lazy import LazyImage, hash_of_source, open_lazily
from napari_bloodcell.core.image.square import cut_square
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import UNIDENTIFIED, ByteArray

if TYPE_CHECKING:
    import pandas as pd

SIDE_PX = 112
MARGIN = 0.25  # of the cell's box, on each side
CUT_OFF = "cut off at the edge of the picture"


Origin = tuple[str, str]  # folder of results, and path of the image


@dataclass(frozen=True)
class Shown:
    """What the picture was when it was analysed: a changed one must give no wrong cells."""

    sha256: str
    page: int | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Doubtful:
    """One cell with its picture; None where the image is not there any more, or is another one."""

    image: str
    cell_id: int
    cell_type: str
    guess: str  # the best guesses with their probabilities
    doubt: str
    pixels: ByteArray | None

    def data_uri(self) -> str:
        """The picture inside a page."""
        if self.pixels is None:
            return ""
        from PIL import Image

        out = io.BytesIO()
        Image.fromarray(np.array(self.pixels)).save(out, format="JPEG", quality=88)
        return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def doubtful_rows(table: "pd.DataFrame", most: int) -> list[int]:
    """The least certain cells nobody has looked at: those without a class first."""
    if not len(table):
        return []
    unsure = (table["cell_type"].astype(str) == UNIDENTIFIED).to_numpy()
    probability = table["cell_type_prob"].to_numpy(float)
    open_ = np.flatnonzero(~table["reviewed"].to_numpy(bool))
    order = np.lexsort((probability[open_], ~unsure[open_]))
    return [int(row) for row in open_[order][:most]]


def pictures(
    table: "pd.DataFrame",
    rows: Sequence[int],
    origins: Mapping[Origin, Shown],
    *,
    progress: Progress = silent,
) -> list[Doubtful]:
    by_image: dict[Origin, list[int]] = {}
    for row in rows:
        by_image.setdefault((str(table["result"].iloc[row]), str(table["source"].iloc[row])), []).append(row)
    found: dict[int, Doubtful] = {}
    for number, (origin, own) in enumerate(by_image.items()):
        progress("Picturing doubtful cells", number, len(by_image))
        pixels = _pixels(origin[1], origins.get(origin, Shown("")))
        for row in own:
            found[row] = _doubtful(table.iloc[row], pixels)
    return [found[row] for row in rows]


def _pixels(source: str, shown: Shown) -> ByteArray | LazyImage | None:
    """A slide is not read whole for a few of its cells."""
    if not source or not Path(source).exists():
        return None
    reading = ReadConfig(max_megapixels=100_000, page=shown.page)
    try:
        slide = open_lazily(Path(source), reading)
        if slide is not None and hash_of_source(Path(source)) == shown.sha256:
            return slide
        if slide is not None and Path(source).is_file():
            return None
        image = read_image(source, reading)
    except ImageError:
        return None
    return image.pixels if image.sha256 == shown.sha256 else None


def _doubtful(cell: Any, pixels: ByteArray | LazyImage | None) -> Doubtful:
    guess = f"{_said(cell['best'])} {cell['cell_type_prob']:.0%}" if cell["best"] else "no model has named it"
    if cell["second_prob"] > 0:
        guess += f", {_said(cell['second'])} {cell['second_prob']:.0%}"
    doubts = [str(cell["doubt"]), CUT_OFF if cell["touches_border"] else ""]
    box = [int(cell[name]) for name in ("x0", "y0", "x1", "y1")]
    return Doubtful(
        image=str(cell["image"]),
        cell_id=int(cell["cell_id"]),
        cell_type=str(cell["cell_type"]),
        guess=guess,
        doubt="; ".join(filter(None, doubts)),
        pixels=None if pixels is None else picture_of(pixels, box),
    )


def picture_of(pixels: ByteArray | LazyImage, box: Sequence[int], margin: float = MARGIN) -> ByteArray | None:
    """A square round the box. None where a piece of a slide is damaged."""
    x0, y0, x1, y1 = box
    side = max(x1 - x0, y1 - y0) * (1 + 2 * margin)
    corner = ((x0 + x1 - side) / 2, (y0 + y1 - side) / 2)
    try:
        picture = np.array(cut_square(pixels, corner, side, SIDE_PX, smooth=True))
    except ImageError:
        return None
    return _white_beyond_edge(picture, corner, side, pixels.shape[:2])


def _white_beyond_edge(
    picture: ByteArray, corner: tuple[float, float], side: float, shape: tuple[int, ...]
) -> ByteArray:
    """A person must not take for a smear what was never photographed."""
    steps = (np.arange(SIDE_PX) + 0.5) * side / SIDE_PX
    (x, y), (height, width) = (corner[0] + steps, corner[1] + steps), shape
    picture[(y < 0) | (y > height)] = 255
    picture[:, (x < 0) | (x > width)] = 255
    return picture


def _said(name: Any) -> str:
    return str(name).replace("_", " ")
