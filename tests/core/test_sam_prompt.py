"""Prompts against segment-anything's own predictor, and the cache of embeddings."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sam_parts import error, original, picture
from segment_anything import SamPredictor

from napari_bloodcell.core.config import LoraConfig, SamConfig
from napari_bloodcell.core.errors import SegmentError, WeightsError
from napari_bloodcell.core.sam.embeddings import EmbeddingCache
from napari_bloodcell.core.sam.lora import add_lora, pairs_of
from napari_bloodcell.core.sam.model import CellSam, load_model, new_model
from napari_bloodcell.core.sam.prompt import Prompt, PromptSession, scribble
from napari_bloodcell.core.sam.variants import Variant

CPU = SamConfig(device="cpu", size_px=96, precision="fp32")
EXACTLY = SamConfig(device="cpu", size_px=1024, precision="fp32")
IMAGE = picture(60, 90)


@pytest.fixture(scope="module")
def nano() -> CellSam:
    return new_model("nano")


def test_masks_and_scores_are_those_of_sam_predictor(tiny: Variant, tmp_path: Path) -> None:
    sam, image = original(tiny), picture(200, 300)
    torch.save(sam.state_dict(), tmp_path / "tiny.pth")
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    session = PromptSession(load_model(tmp_path / "tiny.pth"), image, EXACTLY)
    point, two = np.array([[150.0, 90]]), np.array([[150.0, 90], [20, 30]])
    box = np.array([40.0, 30, 200, 150])
    found = session.ask(
        [
            Prompt(points_xy=point),
            Prompt(points_xy=two, inside=np.array([True, False])),
            Prompt(box_xyxy=box),
            Prompt(points_xy=point, box_xyxy=box),
        ]
    )
    wanted = [
        predictor.predict(point, np.array([1])),
        predictor.predict(two, np.array([1, 0]), multimask_output=False),
        predictor.predict(box=box, multimask_output=False),
        predictor.predict(point, np.array([1]), box=box, multimask_output=False),
    ]
    for mask, score, (masks, scores, _) in zip(found.masks, found.scores, wanted, strict=True):
        assert score == pytest.approx(scores.max(), rel=1e-4)
        assert (mask == masks[scores.argmax()]).mean() > 0.999


def test_the_quick_decoder_gives_the_numbers_of_the_plain_one(nano: CellSam) -> None:
    exact = SamConfig(device="cpu", size_px=96, precision="fp32", attention="exact")
    mask = np.zeros((60, 90), bool)
    mask[20:40, 30:60] = True
    points, box = np.array([[45.0, 30], [10, 5], [80, 50]]), np.array([20.0, 10, 70, 50])
    prompts = [
        Prompt(points_xy=points[:1]),
        Prompt(points_xy=points, inside=np.array([True, False, True])),
        Prompt(box_xyxy=box),
        Prompt(points_xy=points[:1], box_xyxy=box, mask=mask),
    ]
    quick, plain = (PromptSession(nano, IMAGE, config) for config in (CPU, exact))
    for prompt in prompts:
        quick.ask([prompt]), plain.ask([prompt])
        with torch.inference_mode():
            found, score = quick._best(prompt, torch.device("cpu"))
            wanted, wanted_score = plain._best(prompt, torch.device("cpu"))
        assert score == pytest.approx(wanted_score, rel=1e-4)
        assert error(found, wanted) < 1e-4


def test_an_existing_mask_changes_the_answer(nano: CellSam) -> None:
    session = PromptSession(nano, IMAGE, CPU)
    mask = np.zeros((60, 90), bool)
    mask[20:40, 30:60] = True
    point = np.array([[45.0, 30]])
    with_mask = session.ask([Prompt(points_xy=point, mask=mask), Prompt(mask=mask)])
    assert with_mask.masks.shape == (2, 60, 90)
    assert with_mask.scores[0] != session.ask([Prompt(points_xy=point)]).scores[0]


def test_no_prompts_give_no_masks(nano: CellSam) -> None:
    assert PromptSession(nano, IMAGE, CPU).ask([]).masks.shape == (0, 60, 90)


def test_a_scribble_becomes_points_along_it() -> None:
    found = scribble(np.array([[0, 0], [10, 0], [10, 10]]), points=5)
    np.testing.assert_allclose(found, [[0, 0], [5, 0], [10, 0], [10, 5], [10, 10]])
    np.testing.assert_allclose(scribble(np.array([[3, 4], [3, 4]])), [[3, 4]])
    with pytest.raises(SegmentError, match="scribble is empty"):
        scribble(np.zeros((0, 2)))


BAD = {
    "point at x 90.5, y 3 is outside the image of 90 x 60 px": Prompt(
        points_xy=np.array([[1, 1], [90.5, 3]])
    ),
    "corner of a box at x -1, y 0 is outside the image": Prompt(box_xyxy=np.array([-1, 0, 20, 20])),
    "The mask has shape .5, 5.; the image has .60, 90.": Prompt(mask=np.ones((5, 5), bool)),
    "The mask is empty: nothing in it": Prompt(mask=np.zeros((60, 90), bool)),
    "The prompt is empty. Give points, a box or a mask": Prompt(),
    "1 points come with 2 values of inside": Prompt(points_xy=np.ones((1, 2)), inside=np.ones(2, bool)),
}


@pytest.mark.parametrize("words", BAD)
def test_prompts_that_cannot_be_are_named(words: str, nano: CellSam) -> None:
    with pytest.raises(SegmentError, match=words):
        PromptSession(nano, IMAGE, CPU).ask([BAD[words]])


def test_images_and_sizes_that_cannot_be_are_named(nano: CellSam) -> None:
    with pytest.raises(SegmentError, match=r"shape \(60, 90\) and type uint8 is not accepted"):
        PromptSession(nano, IMAGE[..., 0], CPU)
    with pytest.raises(WeightsError, match="multiple of 16"):
        PromptSession(nano, IMAGE, SamConfig(size_px=100))


def test_an_adapter_is_left_out_of_prompts(nano: CellSam) -> None:
    adapted = new_model("nano")
    add_lora(adapted, LoraConfig(rank=2))
    for pair in pairs_of(adapted):
        pair.b.data.fill_(0.1)
    prompt = Prompt(points_xy=np.array([[45.0, 30]]))
    plain = PromptSession(nano, IMAGE, CPU).ask([prompt])
    found = PromptSession(adapted, IMAGE, CPU).ask([prompt])
    np.testing.assert_allclose(found.scores, plain.scores, rtol=1e-5)


def test_an_image_seen_before_is_not_embedded_again(
    nano: CellSam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = EmbeddingCache(tmp_path)
    prompt = Prompt(points_xy=np.array([[45.0, 30]]))
    first = PromptSession(nano, IMAGE, CPU, cache).ask([prompt])
    assert len(list(tmp_path.iterdir())) == 1

    def refuse(*arguments: object) -> None:
        raise AssertionError("embedded again")

    monkeypatch.setattr(nano.image_encoder, "forward", refuse)
    again = PromptSession(nano, IMAGE, CPU, cache).ask([prompt])
    np.testing.assert_array_equal(again.masks, first.masks)
    with pytest.raises(AssertionError, match="embedded again"):  # another size is another embedding
        PromptSession(nano, IMAGE, SamConfig(device="cpu", size_px=112), cache)
    with pytest.raises(AssertionError, match="embedded again"):  # and so is another image
        PromptSession(nano, IMAGE[::-1], CPU, cache)


def test_the_cache_is_bounded_and_drops_what_is_broken(tmp_path: Path) -> None:
    one = np.ones((1, 4, 16, 16), np.float32)
    cache = EmbeddingCache(tmp_path, max_bytes=3 * 5000)
    for number in range(5):
        cache.put({"image": number}, one * number)
    kept = [number for number in range(5) if cache.get({"image": number}) is not None]
    assert kept == list(range(5))[-len(kept) :]
    assert len(kept) >= 2
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= cache.max_bytes
    found = cache.get({"image": 4})
    assert found is not None
    np.testing.assert_array_equal(found, one * 4)
    for path in tmp_path.iterdir():
        path.write_bytes(b"broken")
    assert cache.get({"image": 4}) is None
    assert cache.get({"image": 0}) is None
    small = EmbeddingCache(tmp_path / "small", max_bytes=10)
    small.put({}, one)
    assert small.get({}) is None
