"""Outlines in the formats of other programs: the polygons, the two files, what goes into them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from drawn_files import draw
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.measure import points_in_poly

from napari_bloodcell.core.batch import analyse_files
from napari_bloodcell.core.config.report import ExportConfig
from napari_bloodcell.core.errors import ArtifactError, DataError, SessionError
from napari_bloodcell.core.export import export_cells
from napari_bloodcell.core.export.polygons import polygons, signed_area
from napari_bloodcell.core.taxonomy import Taxonomy


def painted(found: list, shape: tuple[int, int]) -> np.ndarray:
    """Even and odd: a pixel in the outer ring and in no hole."""
    centres = np.stack(np.meshgrid(np.arange(shape[1]), np.arange(shape[0])), -1).reshape(-1, 2) + 0.5
    inside = np.zeros(len(centres), bool)
    for polygon in found:
        for ring in polygon:
            inside ^= points_in_poly(centres, np.array(ring, float))
    return inside.reshape(shape)


@settings(deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_polygons_are_the_pixels_to_the_last_one(mask: np.ndarray) -> None:
    found = polygons(mask)
    np.testing.assert_array_equal(painted(found, mask.shape), mask)
    assert sum(signed_area(ring) for polygon in found for ring in polygon) == mask.sum()
    for outer, *holes in found:
        assert signed_area(outer) > 0
        assert all(signed_area(hole) < 0 for hole in holes)


def test_a_square_has_four_corners_and_lies_where_it_lay() -> None:
    ((ring,),) = polygons(np.ones((3, 5), bool), x=10, y=20)
    assert sorted(ring) == [(10, 20), (10, 23), (15, 20), (15, 23)]


def test_pixels_that_touch_at_a_corner_are_two_pieces_and_a_hole_belongs_to_its_own() -> None:
    mask = np.zeros((7, 7), bool)
    mask[:4, :4], mask[1, 1], mask[4:, 4:], mask[5, 5] = True, False, True, False
    first, second = polygons(mask)
    assert [len(first), len(second)] == [2, 2]
    assert sorted(first[1]) == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert sorted(second[1]) == [(5, 5), (5, 6), (6, 5), (6, 6)]


def test_no_pixel_no_polygon() -> None:
    assert polygons(np.zeros((4, 4), bool)) == []


MODEL = "stain"


@pytest.fixture
def results(fields: Path, tmp_path: Path) -> Path:
    out = tmp_path / "results"
    analyse_files([fields], out, MODEL)
    return out


def rings(geometry: dict[str, Any]) -> list[Any]:
    whole = geometry["coordinates"]
    return whole if geometry["type"] == "MultiPolygon" else [whole]


def test_geojson_has_each_cell_with_its_pixels_nucleus_class_and_measurements(
    results: Path, tmp_path: Path
) -> None:
    done = export_cells([results], tmp_path / "out")
    assert [path.name for path in done.files] == ["f1.geojson", "f2.geojson"]
    labels = tifffile.imread(results / "f1" / "labels.ome.tif")
    nuclei = tifffile.imread(results / "f1" / "nuclei.ome.tif")
    table = pd.read_parquet(results / "f1" / "cells.parquet").set_index("cell_id")
    told = json.loads(done.files[0].read_text())["features"]
    assert [int(one["properties"]["name"]) for one in told] == list(table.index)
    for one in told:
        number, said = int(one["properties"]["name"]), one["properties"]
        np.testing.assert_array_equal(painted(rings(one["geometry"]), labels.shape), labels == number)
        np.testing.assert_array_equal(painted(rings(one["nucleusGeometry"]), labels.shape), nuclei == number)
        assert all(ring[0] == ring[-1] for piece in rings(one["geometry"]) for ring in piece)
        assert said["objectType"] == "cell"
        assert said["classification"]["name"] == table.loc[number, "cell_type"]
        assert said["measurements"]["area_px"] == table.loc[number, "area_px"]
        assert "NaN" not in json.dumps(said)
    again = export_cells([results], tmp_path / "again")
    assert again.files[0].read_bytes() == done.files[0].read_bytes()  # ids too


def test_coco_has_all_pictures_in_one_file(results: Path, tmp_path: Path) -> None:
    done = export_cells([results], tmp_path / "out", ExportConfig(to="coco"))
    content = json.loads(done.files[0].read_text())
    tables = [pd.read_parquet(results / name / "cells.parquet") for name in ("f1", "f2")]
    assert [one["file_name"] for one in content["images"]] == ["f1.png", "f2.png"]
    assert content["images"][0]["width"] == 320
    assert len(content["annotations"]) == done.cells == sum(map(len, tables))
    names = {one["id"]: one["name"] for one in content["categories"]}
    rows = pd.concat(tables).to_dict("records")
    for one, row in zip(content["annotations"], rows, strict=True):
        assert names[one["category_id"]] == row["cell_type"]
        assert one["area"] == row["area_px"]
        assert one["bbox"] == [row["x0"], row["y0"], row["x1"] - row["x0"], row["y1"] - row["y0"]]
        assert all(len(ring) % 2 == 0 for ring in one["segmentation"])
        assert one["score"] == pytest.approx(row["cell_type_prob"], abs=1e-5)


def test_classes_have_the_same_numbers_in_every_coco_file(results: Path, tmp_path: Path) -> None:
    numbers = []
    for kind in ("basophil", "hairy_cell"):
        reader = tmp_path / "ada.csv"
        reader.write_text(f"image,cell_id,cell_type\nf2,1,{kind}\n")
        done = export_cells(
            [results],
            tmp_path / kind,
            ExportConfig(to="coco", only_reviewed=True),
            readers=[reader],
            taxonomy=Taxonomy.of_lab(["hairy cell"]),
        )
        content = json.loads(done.files[0].read_text())
        numbers.append({one["name"]: one["id"] for one in content["categories"]})
        assert content["annotations"][0]["category_id"] == numbers[-1][kind]
    assert numbers[0].items() < numbers[1].items()


def test_what_people_said_goes_first_and_can_be_had_alone(results: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No person has looked at a cell"):
        export_cells([results], tmp_path / "none", ExportConfig(only_reviewed=True))
    assert not (tmp_path / "none").exists()
    reader = tmp_path / "ada.csv"
    reader.write_text("image,cell_id,cell_type\nf2,1,basophil\n")
    done = export_cells([results], tmp_path / "out", ExportConfig(only_reviewed=True), readers=[reader])
    assert done.cells == 1
    assert done.left_out > 0
    (one,) = json.loads((tmp_path / "out" / "f2.geojson").read_text())["features"]
    assert one["properties"]["classification"]["name"] == "basophil"
    assert one["properties"]["metadata"]["cell_type_source"] == "person ada"
    assert "cell_type_prob" not in one["properties"]["measurements"]  # it was the model's, of another class
    assert json.loads((tmp_path / "out" / "f1.geojson").read_text())["features"] == []


def test_pictures_of_one_name_do_not_share_a_file(fields: Path, tmp_path: Path) -> None:
    draw(tmp_path / "other" / "f1.png", 5)
    analyse_files([fields / "f1.png", tmp_path / "other" / "f1.png"], tmp_path / "results", MODEL)
    done = export_cells([tmp_path / "results"], tmp_path / "out")
    assert len({path.name for path in done.files}) == 2
    coco = export_cells([tmp_path / "results"], tmp_path / "out", ExportConfig(to="coco"))
    images = json.loads(coco.files[0].read_text())["images"]
    assert [one["file_name"] for one in images] == ["in/f1.png", "other/f1.png"]


def test_a_picture_that_lies_there_twice_is_written_once_and_told(fields: Path, tmp_path: Path) -> None:
    (fields / "copy.png").write_bytes((fields / "f1.png").read_bytes())
    analyse_files([fields], tmp_path / "results", MODEL)
    done = export_cells([tmp_path / "results"], tmp_path / "out")
    assert len(done.files) == done.images == 2
    (told,) = done.notes
    assert "is the same picture as" in told


def test_outlines_that_were_changed_by_hand_are_refused(results: Path, tmp_path: Path) -> None:
    (results / "f1" / "labels.ome.tif").write_bytes(b"something else")
    with pytest.raises(ArtifactError, match="was changed after the analysis"):
        export_cells([results], tmp_path / "out")


def test_a_session_gives_its_corrections_and_takes_no_files(fields: Path, tmp_path: Path) -> None:
    from napari_bloodcell.core.image import read_image
    from napari_bloodcell.core.session import Change, Session, SessionCells

    labels = np.zeros((240, 320), np.int32)
    labels[10:30, 20:50] = 4
    table = pd.DataFrame(
        {
            "label": [4],
            "cell_type": ["hairy cell"],
            "cell_type_source": ["person Ada"],
            "cell_type_prob": [0.3],
        }
    )
    with Session(tmp_path / "session", who="Ada") as session:
        key = session.add_image(read_image(fields / "f1.png"))
        session.record(
            [Change(action="classes", image=key, new=[{"name": "hairy cell", "colour": "#102030"}])]
        )
        cells = SessionCells(labels=labels, nucleus=labels > 0, table=table, made_from={})
        session.save_cells(key, cells)
    with pytest.raises(SessionError, match="lies in the session itself"):
        export_cells([tmp_path / "session"], tmp_path / "session" / "out")
    (file,) = export_cells([tmp_path / "session"], tmp_path / "out").files
    (one,) = json.loads(file.read_text())["features"]
    assert one["properties"]["classification"] == {"name": "hairy cell", "color": [0x10, 0x20, 0x30]}
    assert sorted(one["geometry"]["coordinates"][0][:-1]) == [[20, 10], [20, 30], [50, 10], [50, 30]]
