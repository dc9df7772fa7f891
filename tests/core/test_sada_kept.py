"""Cells cut out for a training outlive its end: they are kept until it is finished."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sada_cells import drawn_labs

from napari_bloodcell.core.cells import crops_of
from napari_bloodcell.core.config import BackboneConfig, CropConfig, SadaConfig, TrainConfig
from napari_bloodcell.core.embed.sada import kept
from napari_bloodcell.core.embed.sada.fit import train_labs
from napari_bloodcell.core.embed.sada.kept import crops_kept
from napari_bloodcell.core.errors import Cancelled
from napari_bloodcell.core.segment import StainSegmenter

CROPS = CropConfig(size_px=32)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "PIECE", 4)


class Told:
    """Remembers what was told, and cancels at a count."""

    def __init__(self, cancel_at: int | None = None) -> None:
        self.done: list[int] = []
        self.cancel_at = cancel_at

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage == "Cutting out cells":
            assert total == 10
            if done == self.cancel_at:
                raise Cancelled("stopped")
            self.done.append(done)


@pytest.mark.usefixtures("small_pieces")
def test_pieces_make_the_same_crops_as_all_cells_at_once_now_and_when_read_again(tmp_path: Path) -> None:
    cells = drawn_labs(tmp_path / "labs").cells
    whole = crops_of(cells, StainSegmenter, CROPS)
    for _ in range(2):
        found = crops_kept(cells, CROPS, tmp_path / "out")
        np.testing.assert_array_equal(found.row, whole.row)
        assert found.missing == whole.missing
        for name in ("cell_id", "pixels", "parts", "ground_rgb", "um_per_px"):
            np.testing.assert_array_equal(getattr(found.crops, name), getattr(whole.crops, name))


@pytest.mark.usefixtures("small_pieces")
def test_a_cancel_costs_only_the_piece_in_hand_and_a_changed_picture_only_its_own(tmp_path: Path) -> None:
    cells = drawn_labs(tmp_path / "labs").cells
    with pytest.raises(Cancelled):
        crops_kept(cells, CROPS, tmp_path / "out", progress=Told(cancel_at=8))
    again = Told()
    crops_kept(cells, CROPS, tmp_path / "out", progress=again)
    assert again.done == [8]
    Image.fromarray(np.full((91, 91, 3), 240, np.uint8)).save(cells[5].path)
    changed = Told()
    found = crops_kept(cells, CROPS, tmp_path / "out", progress=changed)
    assert changed.done == [4]
    assert 5 in dict(found.missing)
    other_size = Told()
    crops_kept(cells, CropConfig(size_px=40), tmp_path / "out", progress=other_size)
    assert other_size.done == [0, 4, 8]


@pytest.mark.usefixtures("small_pieces")
def test_a_piece_cut_short_by_a_crash_is_made_again(tmp_path: Path) -> None:
    cells = drawn_labs(tmp_path / "labs").cells
    first = crops_kept(cells, CROPS, tmp_path / "out")
    for path in (tmp_path / "out" / kept.FOLDER).iterdir():
        path.write_bytes(path.read_bytes()[:2000])
    np.testing.assert_array_equal(crops_kept(cells, CROPS, tmp_path / "out").crops.pixels, first.crops.pixels)


@pytest.mark.usefixtures("small_pieces")
def test_a_stopped_training_keeps_the_cells_and_a_finished_one_drops_them(tmp_path: Path) -> None:
    data, out = drawn_labs(tmp_path / "labs"), tmp_path / "out"
    config = replace(SadaConfig(per_lab=4, held_out=0.5), method="erm", steps_per_epoch=1)
    small = BackboneConfig(backbone="small", weights="none", size_px=32)
    loop = TrainConfig(epochs=2, optimizer="adam", device="cpu")

    def stop_in_the_first_epoch(stage: str, done: int, total: int) -> None:
        if stage != "Cutting out cells":
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        train_labs(data, out, config, backbone=small, training=loop, progress=stop_in_the_first_epoch)
    assert len(list((out / kept.FOLDER).iterdir())) == 3
    told = Told()
    train_labs(data, out, config, backbone=small, training=loop, progress=told)
    assert told.done == []
    assert not (out / kept.FOLDER).exists()


def test_what_a_person_keeps_in_the_folder_is_never_removed(tmp_path: Path) -> None:
    cells = drawn_labs(tmp_path / "labs").cells[:2]
    crops_kept(cells, CROPS, tmp_path)
    own = [tmp_path / "cells" / "a.png", tmp_path / kept.FOLDER / "mine.safetensors"]
    for path in own:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"mine")
    kept.forget(tmp_path)
    assert kept.kept_files(tmp_path) == []
    assert [path.read_bytes() for path in own] == [b"mine", b"mine"]
