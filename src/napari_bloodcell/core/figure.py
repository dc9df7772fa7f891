"""Figures as files. Names of files, slides and classes stand in them as they are."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from napari_bloodcell.core.artifact import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIRST_CHINESE = "\u2e80"  # what comes after is in none of matplotlib's own fonts
CHINESE = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Microsoft YaHei",
    "PingFang SC",
    "Hiragino Sans",
    "Yu Gothic",
    "Malgun Gothic",
    "WenQuanYi Zen Hei",
    "Arial Unicode MS",
)


def save_figure(path: Path, figure: "Figure", *, kind: str = "png", dpi: float | None = None) -> None:
    with atomic_path(path) as temporary, as_written(figure):
        figure.savefig(temporary, format=kind, dpi="figure" if dpi is None else dpi)


@contextmanager
def as_written(figure: "Figure") -> Iterator[None]:
    """While it is saved. Two dollars in a name are no formula, and a letter that no font here has is drawn as
    a box, without a warning that nobody can mend."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
        if max(text.get_text(), default="") >= FIRST_CHINESE:
            text.set_fontfamily([*text.get_fontfamily(), *_installed(CHINESE)])
    log = logging.getLogger("matplotlib.font_manager")  # of a font that has one weight only
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            yield
    finally:
        log.setLevel(level)


def _installed(families: tuple[str, ...]) -> list[str]:
    from matplotlib.font_manager import fontManager

    there = set(fontManager.get_font_names())
    return [family for family in families if family in there]
