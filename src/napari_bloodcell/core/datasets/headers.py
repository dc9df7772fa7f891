"""Width, height and mode of an image file without decoding its pixels."""

import warnings
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Header:
    width: int
    height: int
    mode: str  # Pillow's name: RGB, RGBA, L, ...

    @property
    def size(self) -> tuple[int, int]:
        return self.width, self.height


def read_header(path: Path) -> Header | None:
    """None where no reader knows the file."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # nothing is decoded here
            with Image.open(path) as image:
                return Header(*image.size, image.mode)
    except Image.DecompressionBombError:
        return None
    except (OSError, ValueError, SyntaxError):  # Pillow's readers raise all three for broken headers
        return _tiff_header(path) if path.suffix.lower() in (".tif", ".tiff") else None


def _tiff_header(path: Path) -> Header | None:
    """TIFF of 16 bits a channel, and others that Pillow does not know."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages[0]
            return Header(page.imagewidth, page.imagelength, f"{page.dtype} x {page.samplesperpixel}")
    except (OSError, ValueError, IndexError, TypeError):  # TiffFileError is a ValueError
        return None
