"""Batches, precision, and memory that runs out."""

import numpy as np
import pytest
import torch
from sam_parts import picture

from napari_bloodcell.core.config import LoraConfig, SamConfig
from napari_bloodcell.core.errors import Cancelled, DeviceError
from napari_bloodcell.core.sam import inference
from napari_bloodcell.core.sam.inference import (
    choose_precision,
    in_batches,
    is_out_of_memory,
    largest_channel,
    predict_logits,
    predict_parts,
    predict_tokens,
)
from napari_bloodcell.core.sam.lora import add_lora, pairs_of
from napari_bloodcell.core.sam.model import CellSam, new_model

CPU = SamConfig(device="cpu", batch=3, precision="fp32")
PICTURES = np.stack([picture(64, 64, seed) for seed in range(7)])


@pytest.fixture(scope="module")
def nano() -> CellSam:
    model = new_model("nano")
    add_lora(model, LoraConfig(rank=2))
    for pair in pairs_of(model):
        pair.b.data.normal_(0, 0.02, generator=torch.Generator().manual_seed(1))
    return model


def test_batches_give_what_single_images_give(nano: CellSam) -> None:
    together = predict_logits(nano, PICTURES, CPU)
    alone = predict_logits(nano, PICTURES, SamConfig(device="cpu", batch=1, precision="fp32"))
    assert together.shape == (7, 3, 16, 16)
    np.testing.assert_allclose(together, alone, atol=1e-4)
    exact = predict_logits(nano, PICTURES, SamConfig(device="cpu", attention="exact"))
    np.testing.assert_allclose(together, exact, atol=1e-4)


def test_parts_are_the_largest_enlarged_logit(nano: CellSam) -> None:
    parts = predict_parts(nano, PICTURES, CPU)
    assert parts.shape == (7, 64, 64)
    assert parts.dtype == np.uint8
    logits = torch.from_numpy(predict_logits(nano, PICTURES, CPU))
    wide = torch.nn.functional.interpolate(logits, (64, 64), mode="bilinear", align_corners=False)
    assert (wide.argmax(1).numpy() == parts).mean() > 0.999


def test_the_largest_channel_is_argmax_the_first_of_equals_included() -> None:
    maps = torch.randint(0, 3, (4, 3, 9, 9), generator=torch.Generator().manual_seed(2)).float()
    assert torch.equal(largest_channel(maps), maps.argmax(dim=1).to(torch.uint8))


def test_tokens_come_from_before_the_neck(nano: CellSam) -> None:
    assert predict_tokens(nano, PICTURES[:2], CPU).shape == (2, 192, 4, 4)


def test_no_images_give_an_empty_answer_of_the_right_shape(nano: CellSam) -> None:
    assert predict_parts(nano, PICTURES[:0], CPU).shape == (0, 64, 64)
    assert predict_logits(nano, PICTURES[:0], CPU).shape == (0, 3, 16, 16)


def test_running_leaves_the_model_as_it_was(nano: CellSam) -> None:
    nano.train()
    before = {key: value.clone() for key, value in nano.state_dict().items()}
    flags = [p.requires_grad for p in nano.parameters()]
    predict_parts(nano, PICTURES, CPU)
    assert nano.training
    assert flags == [p.requires_grad for p in nano.parameters()]
    assert all(torch.equal(value, before[key]) for key, value in nano.state_dict().items())
    nano.eval()


def test_out_of_memory_halves_the_batch_and_goes_on() -> None:
    sizes: list[int] = []

    def step(piece: np.ndarray) -> np.ndarray:
        sizes.append(len(piece))
        if len(piece) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return piece.mean(axis=(1, 2, 3))

    found = np.concatenate(list(in_batches(step, PICTURES, 8, image_hw=(64, 64))))
    np.testing.assert_array_equal(found, PICTURES.mean(axis=(1, 2, 3)))
    assert sizes == [7, 4, 2, 2, 2, 1]


def test_out_of_memory_at_one_image_says_what_to_do() -> None:
    def step(piece: np.ndarray) -> np.ndarray:
        raise RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
        )

    with pytest.raises(DeviceError, match="not enough memory for a single image of 64 x 64 px. Close other"):
        list(in_batches(step, PICTURES, 4, image_hw=(64, 64)))


def test_other_errors_are_no_memory_errors() -> None:
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shapes do not match"))

    def step(piece: np.ndarray) -> np.ndarray:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        list(in_batches(step, PICTURES, 4, image_hw=(64, 64)))


def test_cancel_comes_between_batches_and_keeps_what_is_done() -> None:
    seen: list[tuple[str, int, int]] = []

    def progress(stage: str, done: int, total: int) -> None:
        seen.append((stage, done, total))
        if done >= 4:
            raise Cancelled

    finished = []
    with pytest.raises(Cancelled):
        for part in in_batches(lambda piece: piece, PICTURES, 2, image_hw=(64, 64), progress=progress):
            finished += [part]
    assert len(finished) == 2
    assert seen == [("segmenting", 0, 7), ("segmenting", 2, 7), ("segmenting", 4, 7)]


def test_bf16_is_taken_only_where_the_device_computes_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(inference, "computes_bf16", lambda device: False)
    assert choose_precision(cpu, SamConfig()) == "fp32"
    with pytest.raises(DeviceError, match="Precision 'bf16' was asked for, but cpu does not compute in it"):
        choose_precision(cpu, SamConfig(precision="bf16"))
    monkeypatch.setattr(inference, "computes_bf16", lambda device: True)
    assert choose_precision(cpu, SamConfig()) == "bf16"
    assert choose_precision(cpu, SamConfig(precision="fp32")) == "fp32"
    assert choose_precision(cpu, SamConfig(attention="exact")) == "fp32"


def test_bf16_gives_nearly_the_numbers_of_fp32(nano: CellSam, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = predict_logits(nano, PICTURES, SamConfig(device="cpu", precision="fp32"))
    monkeypatch.setattr(inference, "computes_bf16", lambda device: True)
    found = predict_logits(nano, PICTURES, SamConfig(device="cpu", precision="bf16"))
    assert found.dtype == np.float32
    assert 0 < np.abs(found - wanted).max() / np.abs(wanted).max() < 0.1
