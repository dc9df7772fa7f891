"""Whole fields by a network: a stand-in that outlines by colour, so that what is right is known."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from drawn_fields import NUCLEUS, PLASM, UM, blob, field, picture, red_cells, white_cell
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from napari_bloodcell import analyse
from napari_bloodcell.core.artifact import write_json
from napari_bloodcell.core.config import AnalyseConfig, LoraConfig, SamConfig, SegmentConfig
from napari_bloodcell.core.errors import ArtifactError, Cancelled, DeviceError, SegmentError
from napari_bloodcell.core.records import Masks, SmearImage
from napari_bloodcell.core.sam.lora import add_lora
from napari_bloodcell.core.sam.model import new_model
from napari_bloodcell.core.sam.prompt import Prompt
from napari_bloodcell.core.sam.window import Window, window_of
from napari_bloodcell.core.segment.choose import find_segmenter
from napari_bloodcell.core.segment.outlines import to_pixels
from napari_bloodcell.core.segment.pointed import PointedSession
from napari_bloodcell.core.segment.sam_segmenter import SamSegmenter
from napari_bloodcell.core.segment.tiles import Stopped

CPU = SamConfig(device="cpu", size_px=160, precision="fp32", batch=4)
SMALLEST_BATCH_THAT_FAILS = 3


class ByColour(nn.Module):
    """Ground, cytoplasm and nucleus by the density of green, of the piece in the middle of the window."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.image_encoder = nn.Module()
        self.image_encoder.blocks = nn.ModuleList()
        self.weight = nn.Parameter(torch.zeros(1))
        self.variant, self.channels = SimpleNamespace(native_px=160), channels
        self.batches: list[int] = []

    def set_mode(self, mode: str) -> None:
        self.mode = mode

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        self.batches.append(len(pixels))
        seen = F.avg_pool2d(pixels.float(), 4)
        density = torch.log10(240 / seen[:, 1].clamp(min=4))
        red = torch.log10(240 / seen[:, 0].clamp(min=4))
        inside = 40 * (red - 0.065)
        maps = torch.stack([-inside, inside, 60 * (density - 0.4)], dim=1)
        return self.answer(maps), torch.zeros(len(pixels), 3)

    def answer(self, maps: Tensor) -> Tensor:
        return maps if self.channels == 3 else maps[:, :2]


def segment(image: SmearImage, model: nn.Module | None = None, **options: object) -> Masks:
    segmenter = SamSegmenter(model or ByColour(), CPU)  # type: ignore[arg-type]
    return segmenter.segment(image, SegmentConfig(**options))


def disc(shape: tuple[int, int], at: tuple[float, float], radius: float) -> np.ndarray:
    y, x = np.ogrid[: shape[0], : shape[1]]
    return np.hypot(y - at[0], x - at[1]) <= radius


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.fixture(scope="module")
def four_cells() -> SmearImage:
    drawn = field(size=(420, 700))
    red_cells(drawn)
    for at in ((150, 150), (160, 400), (270, 270), (250, 699)):
        white_cell(drawn, at)
    return picture(drawn, UM)


def test_the_outlines_are_those_of_the_network_at_the_right_places(four_cells: SmearImage) -> None:
    masks = segment(four_cells)
    assert masks.segmenter == "sam"
    assert len(masks) == 4
    assert masks.notes == ()
    for at in ((150, 150), (160, 400), (270, 270)):
        number = masks.labels[at]
        assert iou(masks.labels == number, disc(masks.labels.shape, at, 42)) > 0.95
        assert iou((masks.labels == number) & masks.nucleus, disc(masks.labels.shape, at, 28)) > 0.9
    assert not (masks.nucleus & (masks.labels == 0)).any()
    assert masks.touches_border.sum() == 1


@pytest.mark.parametrize("tile_px", [256, 311])
def test_a_field_cut_differently_has_the_same_cells(four_cells: SmearImage, tile_px: int) -> None:
    whole, cut = segment(four_cells), segment(four_cells, tile_px=tile_px)
    assert len(cut) == len(whole)
    assert ((cut.labels > 0) == (whole.labels > 0)).mean() > 0.9999
    assert sorted(cut.boxes_xyxy.tolist()) == sorted(whole.boxes_xyxy.tolist())


def test_touching_cells_share_no_pixel_and_each_keeps_its_nucleus() -> None:
    drawn = field()
    for x in (240, 316):
        blob(drawn, (200, x), 40, PLASM)
    for x in (240, 316):
        blob(drawn, (200, x), 29, NUCLEUS)

    class Middle(ByColour):
        """As a trained network does: the middle cell alone, with some of its neighbour."""

        def answer(self, maps: Tensor) -> Tensor:
            at = torch.arange(maps.shape[-1]) - maps.shape[-1] / 2 + 0.5
            far = torch.hypot(at[:, None], at[None]) > 0.36 * maps.shape[-1]
            maps[:, 0] += 200.0 * far
            return maps

    masks = segment(picture(drawn, UM), Middle())
    assert len(masks) == 2
    assert len({int(masks.labels[200, x]) for x in (240, 316)} - {0}) == 2
    for x in (240, 316):
        own = masks.labels == masks.labels[200, x]
        assert iou(own, disc(own.shape, (200, x), 40)) > 0.8


def test_a_cell_proposed_twice_is_counted_once() -> None:
    drawn = field()
    blob(drawn, (200, 280), 52, PLASM)
    blob(drawn, (200, 248), 21, NUCLEUS)
    blob(drawn, (200, 312), 21, NUCLEUS)
    image = picture(drawn, UM)
    assert len(segment(image, min_nucleus_um=2.0)) == 1


def test_of_two_channels_the_nucleus_is_that_of_the_stain(four_cells: SmearImage) -> None:
    masks = segment(four_cells, ByColour(channels=2))
    assert len(masks) == 4
    own = (masks.labels == masks.labels[150, 150]) & masks.nucleus
    assert iou(own, disc(own.shape, (150, 150), 28)) > 0.88


BESIDE = torch.arange(40)[None].expand(40, 40) >= 5
ODD = {
    "it was empty": lambda maps: torch.cat([maps[:, :1] + 1e4, maps[:, 1:]], dim=1),
    "it had no nucleus inside": lambda maps: torch.cat([maps[:, :2], maps[:, 2:] - 1e4], dim=1),
    "it missed the nucleus": lambda maps: maps + 1e4 * torch.stack([BESIDE, ~BESIDE, ~BESIDE]),
}


@pytest.mark.parametrize("words", ODD)
def test_an_outline_that_cannot_be_a_cell_is_replaced_and_noted(four_cells: SmearImage, words: str) -> None:
    class Odd(ByColour):
        def answer(self, maps: Tensor) -> Tensor:
            return ODD[words](maps)

    masks = segment(four_cells, Odd())
    assert len(masks) == len(masks.notes) == 4
    assert all(f"outline by stain; that of the network was left, {words}" in note for note in masks.notes)
    assert iou(masks.labels == masks.labels[150, 150], disc(masks.labels.shape, (150, 150), 42)) > 0.85


def test_an_outline_wider_than_the_largest_cell_is_replaced(four_cells: SmearImage) -> None:
    class Everything(ByColour):
        def answer(self, maps: Tensor) -> Tensor:
            return torch.cat([maps[:, :1] - 1e4, maps[:, 1:]], dim=1)

    masks = segment(four_cells, Everything(), max_cell_um=18.0)
    assert len(masks) == 4
    assert all("px wide, more than the largest cell" in note for note in masks.notes)


def test_a_field_without_white_cells_yields_none_and_asks_no_network() -> None:
    drawn, model = field(), ByColour()
    red_cells(drawn)
    assert len(segment(picture(drawn), model)) == 0
    assert len(segment(SmearImage(pixels=np.full((64, 64, 3), 230, np.uint8)), model)) == 0
    assert model.batches == []
    gray = np.tile(np.arange(200, dtype=np.uint8)[:, None, None], (1, 300, 3))
    with pytest.raises(SegmentError, match="colourless"):
        segment(SmearImage(pixels=gray), model)


def test_a_cell_larger_than_its_window_is_looked_at_again() -> None:
    drawn, model = field(), ByColour()
    blob(drawn, (210, 280), 100, PLASM)
    blob(drawn, (210, 280), 25, NUCLEUS)
    masks = segment(picture(drawn, UM), model, max_cell_um=40.0)
    assert iou(masks.labels > 0, disc(masks.labels.shape, (210, 280), 100)) > 0.95
    assert len(model.batches) == 2


def test_out_of_memory_halves_the_batch_and_goes_on(four_cells: SmearImage) -> None:
    class Small(ByColour):
        def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
            if len(pixels) >= SMALLEST_BATCH_THAT_FAILS:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            return super().forward(pixels)

    model = Small()
    masks = segment(four_cells, model)
    assert len(masks) == 4
    assert max(model.batches) == 2

    class Nothing(ByColour):
        def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(DeviceError, match="not enough memory for a single image of 160 x 160 px"):
        segment(four_cells, Nothing())


def test_cancel_in_the_middle_keeps_the_cells_that_are_done(four_cells: SmearImage) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if stage == "segmenting" and done >= 2:
            raise Cancelled

    segmenter = SamSegmenter(ByColour(), SamConfig(device="cpu", size_px=160, batch=2))  # type: ignore[arg-type]
    with pytest.raises(Stopped, match="The 2 cells finished before are kept") as caught:
        segmenter.segment(four_cells, progress=stop)
    assert len(caught.value.masks) == 2
    assert caught.value.masks.labels.max() == 2


def test_a_saved_segmenter_is_the_same_and_its_adapter_is_merged(tmp_path: Path) -> None:
    model = new_model("nano")
    plain = SamSegmenter(model, CPU).hash
    add_lora(model, LoraConfig(rank=2))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.fill_(0.01)
    segmenter = SamSegmenter(model, CPU, white_ground=False)
    files = segmenter.save(tmp_path)
    assert all(name.startswith("segmenter") and (tmp_path / name).is_file() for name in files)
    assert any("lora" in name for name, _ in model.named_parameters()), "the caller's model keeps its adapter"
    back = SamSegmenter.load(tmp_path)
    assert back.hash == segmenter.hash != plain
    assert back.config.size_px == 160
    assert not back.white_ground


def test_maps_of_a_window_land_on_their_pixels() -> None:
    """A ramp over a window that reaches beyond the image comes back as the same ramp of pixels."""
    window = Window(x0=-10.0, y0=20.0, side_px=80.0)
    centres = (np.arange(40) + 0.5) * 2
    ramp = np.stack([np.tile(centres - 10, (40, 1)), np.tile(centres[:, None] + 20, (1, 40))])
    corner, maps = to_pixels(ramp.astype(np.float32), window, (90, 60))
    assert corner == (20, 0)
    assert maps.shape == (2, 70, 60)
    inner = (slice(2, 67), slice(0, 58))
    np.testing.assert_allclose(maps[0][inner], np.tile(np.arange(60) + 0.5, (70, 1))[inner], atol=1e-4)
    np.testing.assert_allclose(
        maps[1][inner], np.tile(np.arange(70)[:, None] + 20.5, (1, 60))[inner], atol=1e-4
    )


def test_a_window_is_square_round_the_middle_and_pads_with_the_edge() -> None:
    window = window_of((10, 20, 30, 60), factor=1.5)
    assert (window.x0, window.y0, window.side_px) == (-10, 10, 60)
    pixels = np.zeros((70, 50, 3), np.uint8)
    pixels[:, 0] = 200
    cut = window.cut(pixels, 60)
    assert cut.shape == (60, 60, 3)
    assert (cut[:, :10] == 200).all()
    labels = window.cut_labels(np.ones((70, 50), np.int32), 60)
    assert labels[:, :10].sum() == 0
    assert labels[:, 10:60].all()


def test_click_box_scribble_and_mask_point_at_the_same_cell(four_cells: SmearImage) -> None:
    session = PointedSession(SamSegmenter(ByColour(), CPU), four_cells)  # type: ignore[arg-type]
    wanted = disc((420, 700), (270, 270), 42)
    asked = [
        Prompt(points_xy=np.array([[275.0, 262.0]])),
        Prompt(box_xyxy=np.array([225.0, 226.0, 310.0, 318.0])),
        Prompt(points_xy=np.array([[250.0, 260.0], [270.0, 280.0], [292.0, 270.0]])),
        Prompt(mask=disc((420, 700), (265, 275), 30)),
    ]
    found = session.ask(asked)
    assert found.masks.shape == (4, 420, 700)
    for mask, score in zip(found.masks, found.scores, strict=True):
        assert iou(mask, wanted) > 0.95
        assert 0.5 < score <= 1


def test_a_negative_point_takes_its_side_away(four_cells: SmearImage) -> None:
    session = PointedSession(SamSegmenter(ByColour(), CPU), four_cells)  # type: ignore[arg-type]
    points = np.array([[260.0, 270.0], [300.0, 270.0]])
    found = session.ask([Prompt(points_xy=points, inside=np.array([True, False]))])
    assert found.masks[0][270, 250]
    assert not found.masks[0][270, 300]


def test_a_click_beside_every_cell_gives_an_empty_mask_and_one_outside_is_refused(
    four_cells: SmearImage,
) -> None:
    session = PointedSession(SamSegmenter(ByColour(), CPU), four_cells)  # type: ignore[arg-type]
    found = session.ask([Prompt(points_xy=np.array([[560.0, 260.0]]))])
    assert not found.masks.any()
    assert found.scores.tolist() == [0]
    assert session.ask([]).masks.shape == (0, 420, 700)
    with pytest.raises(SegmentError, match="outside the image of 700 x 420 px"):
        session.ask([Prompt(points_xy=np.array([[701.0, 20.0]]))])


def test_the_network_that_ships_outlines_a_drawn_field(four_cells: SmearImage) -> None:
    analysis = analyse(four_cells, config=AnalyseConfig(segmenter="sam", segment=SegmentConfig(device="cpu")))
    assert analysis.masks.segmenter == "sam"
    assert len(analysis.masks) == 4
    assert (
        iou(analysis.masks.labels == analysis.masks.labels[150, 150], disc((420, 700), (150, 150), 42)) > 0.8
    )
    by_stain = analyse(four_cells, config=AnalyseConfig(segmenter="stain"))
    assert by_stain.masks.segmenter == "stain-watershed"


def test_the_segmenter_that_ships_is_named_and_not_copied(tmp_path: Path) -> None:
    segmenter = find_segmenter("nano")
    assert segmenter.save(tmp_path) == ["segmenter.json"]
    assert SamSegmenter.load(tmp_path).hash == segmenter.hash


def test_a_file_that_names_other_weights_of_that_name_is_refused(tmp_path: Path) -> None:
    settings = {"segmenter": "sam", "size_px": 128, "white_ground": True, "source": "nano", "hash": "0" * 64}
    write_json(tmp_path / "segmenter.json", "segmenter", settings)
    with pytest.raises(ArtifactError, match="other weights of 'nano' than this release ships"):
        SamSegmenter.load(tmp_path)
