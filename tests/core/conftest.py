"""Fixtures the tests of the core share."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from napari_bloodcell.core.sam.variants import Variant


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> "Variant":
    """A Segment Anything variant of 1024 px that is small enough for quick tests."""
    from sam_parts import TINY

    from napari_bloodcell.core.sam.variants import VARIANTS

    monkeypatch.setitem(VARIANTS, "tiny", TINY)
    return TINY


@pytest.fixture
def fields(tmp_path: Path) -> Path:
    """A folder of two drawn fields."""
    from drawn_files import draw

    for seed in (1, 2):
        draw(tmp_path / "in" / f"f{seed}.png", seed)
    return tmp_path / "in"


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of the time of so small an evaluation."""
    monkeypatch.setattr("napari_bloodcell.core.evaluate.files.draw_all", lambda *a: [])


@pytest.fixture
def own_cache(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Vectors are kept for the tests of one file."""
    name = f"{request.module.__name__.rpartition('.')[2]}-cache"
    monkeypatch.setenv("BLOODCELL_CACHE", str(tmp_path_factory.getbasetemp() / name))
