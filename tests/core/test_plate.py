"""Plates, patterns and lists, as they are named on the command line."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zarr
from cluster_parts import MODEL, draw
from numpy.typing import NDArray
from PIL import Image

from napari_bloodcell.cli import main
from napari_bloodcell.core.errors import ImageError
from napari_bloodcell.core.image import find_images, read_image
from napari_bloodcell.core.image.lazy import open_lazily
from napari_bloodcell.core.inputs import list_inputs
from napari_bloodcell.core.report.make import make_report
from napari_bloodcell.core.results import summarise

WELLS = ("A/1", "B/12")


def write_plate(path: Path, pixels: NDArray[np.uint8], zarr_format: int) -> Path:
    """Two wells of two fields; the second field's first pixel tells which it is."""

    def told(group: zarr.Group, **what: object) -> None:
        group.attrs.update({"ome": {"version": "0.5", **what}} if zarr_format == 3 else what)

    plate = zarr.create_group(path, zarr_format=zarr_format)
    told(
        plate,
        plate={
            "rows": [{"name": "A"}, {"name": "B"}],
            "columns": [{"name": "1"}, {"name": "12"}],
            "wells": [{"path": w, "rowIndex": i, "columnIndex": i} for i, w in enumerate(WELLS)],
        },
    )
    axes = [{"name": "c", "type": "channel"}, *({"name": n, "type": "space"} for n in "yx")]
    for number, place in enumerate(WELLS):
        well = plate.create_group(place)
        told(well, well={"images": [{"path": "0"}, {"path": "1"}]})
        for field in (0, 1):
            image = well.create_group(str(field))
            data = np.moveaxis(pixels, -1, 0).copy()
            data[:, 0, 0] = (number, field, 9)
            image.create_array("0", data=data)
            told(image, multiscales=[{"axes": axes, "datasets": [{"path": "0"}]}])
    return path


@pytest.fixture
def pixels(tmp_path: Path) -> NDArray[np.uint8]:
    return np.array(Image.open(draw(tmp_path / "drawn.png", 1)))


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_the_fields_of_a_plate_are_images_called_after_well_and_field(
    pixels: NDArray[np.uint8], tmp_path: Path, zarr_format: int
) -> None:
    plate = write_plate(tmp_path / "in" / "plate 7.ome.zarr", pixels, zarr_format)
    fields = [plate / well / field for well in WELLS for field in "01"]
    assert (
        find_images(plate) == find_images(plate.parent) == find_images(tmp_path / "in" / "*.zarr") == fields
    )
    assert find_images(plate / "A" / "1") == fields[:2]
    read = [read_image(field) for field in fields]
    assert [one.name for one in read] == ["plate 7_A1_0", "plate 7_A1_1", "plate 7_B12_0", "plate 7_B12_1"]
    assert [getattr(open_lazily(field), "name", "") for field in fields] == [one.name for one in read]
    assert [tuple(one.pixels[0, 0]) for one in read] == [(0, 0, 9), (0, 1, 9), (1, 0, 9), (1, 1, 9)]


def test_wells_of_two_plates_of_one_name_are_slides_of_their_own(
    pixels: NDArray[np.uint8], tmp_path: Path
) -> None:
    plates = [write_plate(tmp_path / run / "p.zarr", pixels, 3) for run in ("monday", "tuesday")]
    assert {one.slide for one in list_inputs(plates[:1])} == {"p_A1", "p_B12"}
    told = {f"{run}/p_{well}" for run in ("monday", "tuesday") for well in ("A1", "B12")}
    assert {one.slide for one in list_inputs(plates)} == told


def test_a_plate_is_analysed_from_the_command_line(
    pixels: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plate, out = write_plate(tmp_path / "p.zarr", pixels, 3), tmp_path / "out"
    for kept in (0, 4):
        with pytest.raises(SystemExit) as ended:
            main(["analyse", str(plate), "--out", str(out), "--bundle", MODEL])
        assert ended.value.code == 0
        assert f"4 images, {kept} kept from before, 0 failed" in capsys.readouterr().out
    assert sorted(p.parent.name for p in out.glob("*/run.json")) == ["p_A1_0", "p_A1_1", "p_B12_0", "p_B12_1"]
    assert [(s.name, s.images) for s in summarise(out)] == [("p_A1", 2), ("p_B12", 2)]
    assert set(pd.read_parquet(out / "cells.parquet")["image"]) == {"p_A1_0", "p_A1_1", "p_B12_0", "p_B12_1"}


def test_a_well_that_was_not_copied_costs_only_itself(
    pixels: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plate = write_plate(tmp_path / "p.zarr", pixels, 2)
    (plate / "B").rename(tmp_path / "elsewhere")
    with pytest.raises(SystemExit) as ended:
        main(["analyse", str(plate), "--out", str(tmp_path / "out"), "--bundle", MODEL])
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert "3 images, 0 kept from before, 1 failed" in said.out
    assert f"failed: '{plate / 'B' / '12'}' does not exist" in said.err


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({}, "a plate or well that does not list its wells"),
        ({"wells": []}, "names no wells: nothing was acquired"),
        ({"wells": [{"path": "../other"}]}, r"names '\.\./other', which is not a path inside it"),
        ({"wells": [{"path": "."}]}, r"names '\.', which is not a path inside it"),
    ],
)
def test_a_plate_that_names_nothing_says_so(tmp_path: Path, told: dict[str, object], message: str) -> None:
    zarr.create_group(tmp_path / "p.zarr", zarr_format=2, attributes={"plate": told})
    with pytest.raises(ImageError, match=message):
        find_images(tmp_path / "p.zarr")


def test_patterns_and_lists_are_analysed_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, name in enumerate(("s1/a.png", "s1/b.png", "s2/a.png")):
        draw(tmp_path / name, number)
    (tmp_path / "list.csv").write_text("image,slide\ns1/a.png,Smith\ns2/a.png,Jones\n")
    for what, images in (
        (tmp_path / "s*" / "a.png", 2),
        (tmp_path / "**" / "*.png", 3),
        (tmp_path / "list.csv", 2),
    ):
        out = tmp_path / f"out{images}{what.suffix}"
        with pytest.raises(SystemExit) as ended:
            main(["analyse", str(what), "--out", str(out), "--bundle", MODEL])
        assert ended.value.code == 0
        assert f"{images} images, 0 kept" in capsys.readouterr().out
    assert [s.name for s in summarise(tmp_path / "out2.csv")] == ["Jones", "Smith"]
    report = make_report([tmp_path / "out2.csv"], tmp_path / "report")
    assert {s.name: s.images for s in report.slides} == {"Smith": ("a.png",), "Jones": ("a.png",)}
