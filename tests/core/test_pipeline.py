from pathlib import Path

import numpy as np
import pytest

from napari_bloodcell import analyse
from napari_bloodcell.core.config import (
    AnalyseConfig,
    ClassifyConfig,
    CountConfig,
    CropConfig,
    SegmentConfig,
    SmearConfig,
)
from napari_bloodcell.core.crop import crop
from napari_bloodcell.core.demo import match
from napari_bloodcell.core.embed import measurements
from napari_bloodcell.core.errors import Cancelled, SegmentError
from napari_bloodcell.core.pipeline import Analysis, classify_masks
from napari_bloodcell.core.synthetic import SyntheticSmear, make_smear


@pytest.fixture(scope="module")
def smear() -> SyntheticSmear:
    return make_smear(SmearConfig(width_px=800, height_px=600, white_cells=6, seed=3))


@pytest.fixture(scope="module")
def analysis(smear: SyntheticSmear) -> Analysis:
    return analyse(smear.image)


def test_every_record_speaks_of_the_same_cells(analysis: Analysis) -> None:
    ids = analysis.masks.cell_id
    assert len(ids) > 0
    np.testing.assert_array_equal(np.unique(analysis.masks.labels)[1:], ids)
    for record in (analysis.embeddings, analysis.predictions, analysis.measurements):
        np.testing.assert_array_equal(record.cell_id, ids)
    assert analysis.masks.labels.dtype == np.int32
    assert analysis.masks.labels.shape == analysis.image.pixels.shape[:2]
    np.testing.assert_allclose(analysis.predictions.probabilities.sum(axis=1), 1, atol=1e-5)
    assert analysis.differential.counted == len(ids)


def test_most_drawn_cells_are_found(smear: SyntheticSmear, analysis: Analysis) -> None:
    assert len(match(smear.masks.labels, analysis.masks.labels)) >= 5
    assert abs(len(analysis.masks) - 6) <= 1


def test_array_path_and_record_give_the_same_numbers(smear: SyntheticSmear, tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.array(smear.image.pixels)
    Image.fromarray(pixels).save(tmp_path / "field.png")
    tables = [
        analyse(source).table() for source in (pixels, tmp_path / "field.png", str(tmp_path / "field.png"))
    ]
    place = ["image", "source"]
    for table in tables[1:]:
        assert table.drop(columns=place).equals(tables[0].drop(columns=place))


def test_the_callers_array_is_not_changed(smear: SyntheticSmear) -> None:
    pixels = np.array(smear.image.pixels)
    before = pixels.copy()
    analyse(pixels)
    np.testing.assert_array_equal(pixels, before)
    assert pixels.flags.writeable


def test_results_cannot_be_edited(analysis: Analysis) -> None:
    with pytest.raises(ValueError, match="read-only"):
        analysis.masks.labels[0, 0] = 7


def test_an_analysis_shows_itself_in_a_few_lines(analysis: Analysis) -> None:
    shown = repr(analysis)
    assert shown.startswith(
        f"<Analysis of {analysis.image.name}: {len(analysis.masks)} white cells, bundle nano>"
    )
    assert "white cells" in shown.splitlines()[-3]
    assert len(shown.splitlines()) < 20


def test_a_field_without_cells_is_an_answer() -> None:
    empty = analyse(make_smear(SmearConfig(width_px=320, height_px=240, white_cells=0, seed=1)).image)
    assert len(empty.masks) == 0
    assert empty.differential.counted == 0
    assert empty.embeddings.values.shape[0] == 0
    assert list(empty.table().columns) == list(analyse(make_smear().image).table().columns)


def test_a_gray_image_is_refused_with_advice() -> None:
    gray = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    with pytest.raises(SegmentError, match="colourless"):
        analyse(gray)


def test_cancel_stops_the_chain_at_any_stage(smear: SyntheticSmear) -> None:
    stages: list[str] = []

    def watch(stage: str, done: int, total: int) -> None:
        stages.append(stage)

    analyse(smear.image, progress=watch)
    for wanted in dict.fromkeys(stages):

        def stop(stage: str, done: int, total: int, wanted: str = wanted) -> None:
            if stage == wanted:
                raise Cancelled

        with pytest.raises(Cancelled):
            analyse(smear.image, progress=stop)


def test_border_cells_can_be_left_out_of_the_count(smear: SyntheticSmear) -> None:
    with_border = analyse(smear.image)
    assert with_border.masks.touches_border.any(), "this seed draws a cell at the border"
    without = analyse(smear.image, config=AnalyseConfig(count=CountConfig(count_border=False)))
    assert len(without.masks) == len(with_border.masks)
    assert without.differential.counted == np.count_nonzero(~without.masks.touches_border)
    dropped = analyse(smear.image, config=AnalyseConfig(segment=SegmentConfig(border="drop")))
    assert len(dropped.masks) == without.differential.counted


def test_stricter_doubt_leaves_more_unidentified(smear: SyntheticSmear) -> None:
    def unidentified(least: float) -> int:
        config = AnalyseConfig(classify=ClassifyConfig(min_probability=least, max_distance=1000))
        return analyse(smear.image, config=config).differential.unidentified

    assert unidentified(0) == 0
    assert unidentified(1) == len(analyse(smear.image).masks)


def test_areas_are_those_of_the_labels_whatever_the_crop(smear: SyntheticSmear, analysis: Analysis) -> None:
    true = np.bincount(analysis.masks.labels.ravel())[analysis.masks.cell_id]
    np.testing.assert_array_equal(analysis.table()["area_px"], true)
    tight = AnalyseConfig(crop=CropConfig(field_um=5, size_px=32))
    np.testing.assert_array_equal(analyse(smear.image, config=tight).table()["area_px"], true)


def test_the_table_says_where_its_micrometres_come_from(smear: SyntheticSmear, analysis: Analysis) -> None:
    assert set(analysis.table()["scale_source"]) == {"given"}
    guessed = analyse(np.array(smear.image.pixels)).table()
    assert set(guessed["scale_source"]) <= {"red cells", "unknown"}


def test_corrected_masks_go_through_the_second_half(smear: SyntheticSmear, analysis: Analysis) -> None:
    exact = classify_masks(smear.image, smear.masks, analysis.bundle, AnalyseConfig())
    assert len(exact.predictions) == len(smear.masks)


def test_the_same_image_gives_the_same_answer_twice(smear: SyntheticSmear, analysis: Analysis) -> None:
    assert analyse(smear.image).table().equals(analysis.table())


def test_cells_are_measured_once_for_table_and_vectors(
    analysis: Analysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    crops = crop(analysis.image, analysis.masks, analysis.config.crop)
    own = analysis.bundle.embedder.embed(crops)
    np.testing.assert_array_equal(own.values, analysis.embeddings.values)
    assert own.embedder == analysis.embeddings.embedder

    def never(*_: object, **__: object) -> None:
        raise AssertionError("measured twice")

    monkeypatch.setattr(measurements, "measure", never)  # what an embedder would call
    again = classify_masks(analysis.image, analysis.masks, analysis.bundle, analysis.config)
    np.testing.assert_array_equal(again.embeddings.values, own.values)
