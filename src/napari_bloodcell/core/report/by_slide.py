"""Where an output folder keeps the cells of an image: ``table/slide=NAME/IMAGE.parquet``. It also tells
which slide an image is of."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

TABLE = "table"
PARQUET = ".parquet"


def place_of(out: Path, slide: str, image: str) -> Path:
    """``image``: the name of its folder of results."""
    return out / TABLE / f"slide={quote(slide, safe=' ()+,')}" / f"{image}{PARQUET}"


def parts_of(out: Path) -> Iterator[tuple[str, list[Path]]]:
    """Each slide with the files that are whole now: those that are being written are hidden."""
    for part in sorted((out / TABLE).glob("slide=*")):
        files = sorted(file for file in part.glob(f"*{PARQUET}") if not file.name.startswith("."))
        yield unquote(part.name.removeprefix("slide=")), files


def slides_of(out: Path) -> dict[str, str]:
    """The slide of each image, by the name of its folder of results; empty where no run was made there."""
    return {file.name.removesuffix(PARQUET): slide for slide, files in parts_of(out) for file in files}
