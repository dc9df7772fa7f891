"""Finding and outlining white cells by stain."""

import csv
import hashlib
import warnings
from pathlib import Path

import numpy as np
import pytest
from drawn_fields import GROUNDS, NUCLEUS, PLASM, UM, blob, field, picture, red_cells, white_cell
from PIL import Image

from napari_bloodcell.core.config import SegmentConfig
from napari_bloodcell.core.errors import Cancelled, SegmentError
from napari_bloodcell.core.records import Masks, SmearImage
from napari_bloodcell.core.segment import StainSegmenter
from napari_bloodcell.core.stain import ground_light, mixed_density, to_density, to_rgb


def segment(image: SmearImage, **options: object) -> Masks:
    return StainSegmenter().segment(image, SegmentConfig(**options))


@pytest.mark.parametrize("ground", GROUNDS.values(), ids=GROUNDS)
def test_one_cell_is_outlined_on_any_ground(ground: tuple[int, int, int]) -> None:
    canvas = field(ground)
    red_cells(canvas)
    white_cell(canvas, (200, 280))
    masks = segment(picture(canvas))
    assert masks.cell_id.tolist() == [1]
    assert masks.segmenter == "stain-watershed"
    y, x = np.ogrid[:420, :560]
    away = np.hypot(y - 200, x - 280)
    cell, nucleus = masks.labels == 1, masks.nucleus
    assert (cell & (away <= 42)).sum() / (cell | (away <= 42)).sum() > 0.88
    assert (nucleus & (away <= 28)).sum() / (nucleus | (away <= 28)).sum() > 0.88
    assert not (nucleus & (masks.labels == 0)).any()
    left, top, right, bottom = masks.boxes_xyxy[0]
    assert (left, top) == (np.flatnonzero(cell.any(0))[0], np.flatnonzero(cell.any(1))[0])
    assert (right, bottom) == (np.flatnonzero(cell.any(0))[-1] + 1, np.flatnonzero(cell.any(1))[-1] + 1)


def test_red_cells_give_the_scale() -> None:
    canvas = field()
    red_cells(canvas)
    white_cell(canvas, (200, 280))
    masks = segment(picture(canvas))
    assert masks.scale_source == "red cells"
    assert masks.um_per_px == pytest.approx(UM, rel=0.2)


def test_the_scale_of_the_file_goes_first_and_without_any_it_is_unknown() -> None:
    canvas = field()
    white_cell(canvas, (200, 280))
    known, unknown = segment(picture(canvas, UM)), segment(picture(canvas))
    assert (known.um_per_px, known.scale_source) == (UM, "given")
    assert (unknown.um_per_px, unknown.scale_source) == (None, "unknown")
    assert len(known) == len(unknown) == 1


def test_field_without_white_cells_yields_none() -> None:
    canvas = field()
    red_cells(canvas)
    masks = segment(picture(canvas))
    assert len(masks) == 0
    assert masks.boxes_xyxy.shape == (0, 4)
    assert masks.labels.shape == (420, 560)


def test_platelets_are_no_cells_unless_the_smallest_nucleus_is_lowered() -> None:
    canvas = field()
    red_cells(canvas)
    white_cell(canvas, (200, 280))
    blob(canvas, (200, 120), 10, NUCLEUS)  # 2.8 µm
    assert len(segment(picture(canvas, UM))) == 1
    assert len(segment(picture(canvas, UM), min_nucleus_um=1.5)) == 2
    assert len(segment(picture(canvas, UM), min_nucleus_um=12.0)) == 0


def test_lobes_of_one_nucleus_are_one_cell() -> None:
    canvas = field()
    blob(canvas, (200, 280), 48, PLASM)
    for at in ((180, 260), (185, 305), (222, 280)):
        blob(canvas, at, 13, NUCLEUS)
    masks = segment(picture(canvas, UM))
    assert len(masks) == 1
    assert masks.nucleus[180, 260]
    assert masks.nucleus[222, 280]


def test_touching_cells_are_split_when_asked() -> None:
    canvas = field()
    for x in (240, 316):
        blob(canvas, (200, x), 40, PLASM)
    for x in (240, 316):
        blob(canvas, (200, x), 29, NUCLEUS)
    assert len(segment(picture(canvas, UM))) == 2
    assert len(segment(picture(canvas, UM), split_touching=False)) == 1


def test_largest_cell_bounds_the_outline() -> None:
    canvas = field()
    white_cell(canvas, (200, 280), radius=60, nucleus=50)
    masks = segment(picture(canvas, UM), max_cell_um=10.0)
    left, top, right, bottom = masks.boxes_xyxy[0]
    assert max(right - left, bottom - top) * UM <= 10.0 + 4 * UM


def test_cut_cell_touches_the_border_and_can_be_dropped() -> None:
    canvas = field()
    white_cell(canvas, (200, 559))
    white_cell(canvas, (200, 200))
    image = picture(canvas, UM)
    masks = segment(image)
    assert sorted(masks.touches_border.tolist()) == [False, True]
    assert masks.boxes_xyxy[:, 2].max() == 560
    dropped = segment(image, border="drop")
    assert dropped.touches_border.tolist() == [False]
    assert dropped.cell_id.tolist() == [1]
    assert dropped.labels.max() == 1
    assert not (dropped.nucleus & (dropped.labels == 0)).any()


def test_colourless_image_says_what_to_do() -> None:
    canvas = field()
    white_cell(canvas, (200, 280))
    gray = np.repeat(picture(canvas).pixels[..., 1:2], 3, axis=2)
    with pytest.raises(SegmentError, match=r"colourless.*stain.*by hand"):
        segment(SmearImage(pixels=gray, name="smear.png"))


@pytest.mark.parametrize("shape", [(300, 400), (1, 1), (7, 300), (0, 0)])
@pytest.mark.parametrize("level", [0, 20, 200, 255])
def test_blank_image_yields_no_cells(shape: tuple[int, int], level: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        masks = segment(SmearImage(pixels=np.full((*shape, 3), level, np.uint8)))
    assert len(masks) == 0
    assert masks.labels.shape == shape
    assert ("no cell was looked for" in " ".join(masks.notes)) == (level <= 20 or min(shape) < 8)


def test_noise_alone_yields_no_cells() -> None:
    assert len(segment(picture(field()))) == 0


def test_segmenting_is_deterministic_and_leaves_the_pixels() -> None:
    canvas = field()
    white_cell(canvas, (200, 280))
    image = picture(canvas)
    before = image.pixels.copy()
    first, second = segment(image), segment(image)
    assert (first.labels == second.labels).all()
    assert (first.nucleus == second.nucleus).all()
    assert (image.pixels == before).all()


def test_progress_is_reported_and_cancel_is_honoured() -> None:
    canvas = field()
    white_cell(canvas, (200, 280))
    stages: list[str] = []

    def cancel_at_outline(stage: str, done: int, total: int) -> None:
        assert 0 <= done <= total
        stages.append(stage)
        if stage == "outline cells":
            raise Cancelled

    with pytest.raises(Cancelled):
        StainSegmenter().segment(picture(canvas), progress=cancel_at_outline)
    assert list(dict.fromkeys(stages)) == ["look at the stain", "locate nuclei", "outline cells"]


def test_density_goes_to_rgb_and_back() -> None:
    pixels = np.random.default_rng(1).integers(20, 250, (9, 8, 3)).astype(np.uint8)
    light = np.array([250, 240, 200], np.float32)
    assert np.abs(to_rgb(to_density(pixels, light), light).astype(int) - pixels).max() <= 1
    mixed = mixed_density(pixels, light, (1, 2, -1))
    assert mixed == pytest.approx(to_density(pixels, light) @ np.array([1, 2, -1], np.float32), abs=1e-5)


def test_light_is_that_of_the_ground_and_not_of_glints() -> None:
    canvas = field(GROUNDS["grey"])
    red_cells(canvas)
    pixels = picture(canvas).pixels.copy()
    pixels[40:45, 45:60] = 255
    assert ground_light(pixels) == pytest.approx(GROUNDS["grey"], abs=2)


@pytest.mark.realdata
def test_white_cells_of_real_fields_are_found(real_data: Path) -> None:
    truth: dict[str, list[list[int]]] = {}
    with (real_data / "bccd" / "boxes.csv").open() as file:
        for row in csv.DictReader(file):
            if row["kind"] == "wbc":
                box = [int(row[k]) for k in ("xmin", "ymin", "xmax", "ymax")]
                truth.setdefault(row["image"], []).append(box)
    paths = (real_data / "bccd" / "fields").glob("*.jpg")
    chosen = sorted(paths, key=lambda p: hashlib.sha256(p.name.encode()).hexdigest())[-20:]
    cells = hits = found = 0
    for path in chosen:
        with Image.open(path) as opened:
            masks = segment(SmearImage(pixels=np.asarray(opened.convert("RGB"))))
        found += len(masks)
        for box in truth.get(path.name, []):
            cells += 1
            hits += any(_iou(box, other) >= 0.5 for other in masks.boxes_xyxy.tolist())
    assert hits / cells >= 0.9
    assert (found - hits) / len(chosen) <= 0.15


def _iou(a: list[int], b: list[int]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(0, width) * max(0, height)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def test_a_cell_with_a_ragged_edge_and_two_lobes_is_one() -> None:
    """As eosinophils are: granules with gaps between them, and two round lobes far apart."""
    canvas = field()
    rng = np.random.default_rng(4)
    for _ in range(700):
        angle, away = rng.uniform(0, 2 * np.pi), 62 * np.sqrt(rng.uniform())
        blob(canvas, (200 + away * np.sin(angle), 280 + away * np.cos(angle)), 3.5, (0.2, 0.45, 0.2))
    for at in ((178, 250), (225, 312)):
        blob(canvas, at, 22, NUCLEUS)
    assert len(segment(picture(canvas, UM))) == 1


def test_three_cells_in_a_heap_are_three() -> None:
    canvas = field()
    places = [(165, 240), (165, 318), (232, 279)]
    for at in places:
        blob(canvas, at, 40, PLASM)
    for at in places:
        blob(canvas, at, 27, NUCLEUS)
    assert len(segment(picture(canvas, UM))) == 3


def test_the_plasm_inside_a_ring_is_no_nucleus() -> None:
    canvas = field()
    blob(canvas, (200, 280), 48, PLASM)
    blob(canvas, (200, 280), 34, NUCLEUS)
    blob(canvas, (200, 280), 15, PLASM)
    blob(canvas, (176, 280), 3, PLASM)
    masks = segment(picture(canvas, UM))
    assert len(masks) == 1
    assert masks.labels[200, 280] == 1
    assert not masks.nucleus[200, 280]
    assert masks.nucleus[200, 308]
    assert masks.nucleus[176, 280], "a pale spot in chromatin is nucleus"
