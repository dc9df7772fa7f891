"""Figures with names of any kind in them."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from napari_bloodcell.core import figure as figures
from napari_bloodcell.core.figure import save_figure
from napari_bloodcell.core.report import count
from napari_bloodcell.core.report.chart import draw_to_file


@pytest.mark.parametrize("name", [r"a$\frac$.png", "p$x_1$.png", "細胞.png", "혈액.png", ""])
def test_a_picture_of_any_name_gets_its_figure(tmp_path: Path, name: str) -> None:
    draw_to_file(tmp_path / "differential.png", count(["monocyte"]), title=name)
    assert imread(tmp_path / "differential.png").size


def test_dollars_in_a_name_are_drawn_and_make_no_formula(tmp_path: Path) -> None:
    drawn = []
    for name in ("p$x$", r"p\$x\$"):
        page = Figure(figsize=(2, 1))
        page.text(0.1, 0.5, name)
        if name == "p$x$":
            save_figure(tmp_path / "one.png", page)
        else:  # as matplotlib wants dollars
            page.savefig(tmp_path / "one.png")
        drawn.append(imread(tmp_path / "one.png"))
    np.testing.assert_array_equal(*drawn)


def test_names_take_a_font_that_has_their_letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "CHINESE", ("STIXGeneral", "not installed"))
    page = Figure(figsize=(2, 1))
    latin, chinese = page.text(0.1, 0.5, "Ärzte"), page.text(0.1, 0.2, "細胞")
    save_figure(tmp_path / "one.png", page)
    assert "STIXGeneral" not in latin.get_fontfamily()
    assert chinese.get_fontfamily()[-1] == "STIXGeneral"
