"""The model against segment-anything itself, with random weights: nothing is downloaded."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from sam_parts import TINY, error, original, picture, seeded, shake
from segment_anything import SamPredictor, sam_model_registry
from segment_anything.modeling import Sam
from segment_anything.utils.transforms import ResizeLongestSide

from napari_bloodcell.core.errors import WeightsError
from napari_bloodcell.core.sam import attention, variants
from napari_bloodcell.core.sam.attention import SplitAttention, join_qkv, split_qkv
from napari_bloodcell.core.sam.encoder import Encoder, resize_positions
from napari_bloodcell.core.sam.model import CellSam, load_model, new_model, save_model
from napari_bloodcell.core.sam.variants import VARIANTS, Variant, check_size, find_state


def against_predictor(sam: Sam, model: CellSam) -> None:
    """Embedding, masks and scores of points, a box and a mask prompt, on a picture that is not square."""
    side = sam.image_encoder.img_size
    image, predictor = picture(side // 2, side * 3 // 4), SamPredictor(sam)
    predictor.set_image(image)
    resized = ResizeLongestSide(side).apply_image(image)
    pixels = torch.from_numpy(resized).permute(2, 0, 1)[None]
    with torch.inference_mode():
        embedding = model.embed(pixels, side)
        assert error(embedding, predictor.features) < 1e-4
        points = (torch.tensor([[[300.0, 200], [40, 50]]]) * side / 1024, torch.tensor([[1, 0]]))
        box = torch.tensor([[100.0, 80, 420, 500]]) * side / 1024
        masks = seeded((1, 1, side // 4, side // 4))
        for prompts in ({"points": points}, {"boxes": box}, {"points": points, "boxes": box, "masks": masks}):
            maps, quality = model.plain(embedding, (side, side), **prompts)
            _, wanted_quality, wanted = predictor.predict_torch(
                *prompts.get("points", (None, None)),
                prompts.get("boxes"),
                prompts.get("masks"),
                return_logits=True,
            )
            assert error(maps, wanted) < 1e-4
            assert error(quality, wanted_quality) < 1e-4


def test_a_checkpoint_at_1024_px_gives_what_sam_predictor_gives(tiny: Variant, tmp_path: Path) -> None:
    sam = original(tiny)
    torch.save(sam.state_dict(), tmp_path / "tiny.pth")
    model = load_model(tmp_path / "tiny.pth")
    against_predictor(sam, model)
    pixels = torch.from_numpy(picture(1024, 1024)).permute(2, 0, 1)[None]
    model.set_mode("exact")
    with torch.inference_mode():
        assert error(model.embed(pixels), sam.image_encoder(sam.preprocess(pixels.float()))) < 1e-6


def test_vit_b_of_1024_px_gives_what_sam_predictor_gives(tmp_path: Path) -> None:
    sam = sam_model_registry["vit_b"]()
    shake(sam)
    torch.save(sam.state_dict(), tmp_path / "vit_b.pth")
    model = load_model(tmp_path / "vit_b.pth")
    assert model.variant == VARIANTS["vit_b"]
    against_predictor(sam, model)


def test_three_layers_give_the_numbers_of_the_one(tiny: Variant) -> None:
    sam = original(tiny)
    state = {k.removeprefix("image_encoder."): v for k, v in sam.state_dict().items() if "image_encoder" in k}
    encoder = Encoder(tiny)
    encoder.load_state_dict(split_qkv(state))
    encoder.set_mode("exact")
    x = seeded((2, 14, 14, tiny.dim))
    with torch.inference_mode():
        for ours, theirs in zip(encoder.blocks, sam.image_encoder.blocks, strict=True):
            torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-6)


def test_the_layers_are_joined_again_without_a_change(tiny: Variant) -> None:
    state = original(tiny).state_dict()
    back = join_qkv(split_qkv(state))
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], state[key]) for key in state)


@pytest.mark.parametrize("grid", [(14, 14), (5, 9)])
def test_fused_attention_in_pieces_gives_the_exact_numbers(
    grid: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = SplitAttention(48, 3, 27)
    shake(layer)
    x = seeded((2, *grid, 48))
    with torch.inference_mode():
        fused = layer(x)
        monkeypatch.setattr(
            attention, "MAX_BIAS_VALUES", 2 * 3 * grid[0] * grid[1] ** 2 * 3
        )  # three rows a piece
        pieces = layer(x)
        layer.mode = "exact"
        exact = layer(x)
    assert error(fused, exact) < 1e-5
    assert error(pieces, exact) < 1e-5


def test_onednn_gives_the_numbers_of_the_plain_linear_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = attention.FastLinear(48, 96), seeded((2, 5, 5, 48))
    with torch.inference_mode():
        plain = torch.nn.functional.linear(x, layer.weight, layer.bias)
        for taken in (True, False):
            monkeypatch.setattr(attention, "prefers_onednn", lambda taken=taken: taken)
            assert error(layer(x), plain) < 1e-6


def test_fused_attention_can_be_trained_through() -> None:
    layer = SplitAttention(16, 2, 9)
    layer(seeded((1, 5, 5, 16))).square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name


@pytest.mark.parametrize(("height", "width"), [(16, 16), (96, 96), (224, 224), (80, 176)])
def test_any_multiple_of_16_goes_in(height: int, width: int) -> None:
    model = new_model("nano")
    pixels = torch.from_numpy(picture(height, width)).permute(2, 0, 1)[None].repeat(2, 1, 1, 1)
    with torch.inference_mode():
        maps, quality = model(pixels)
        assert model.tokens(pixels).shape == (2, 192, height // 16, width // 16)
    assert maps.shape == (2, 3, height // 4, width // 4)
    assert quality.shape == (2, 3)
    assert error(maps[0], maps[1]) < 1e-5


@pytest.mark.parametrize("shape", [(1, 3, 100, 96), (1, 4, 96, 96), (3, 96, 96), (1, 3, 0, 16)])
def test_other_sizes_are_refused_with_what_is_accepted(shape: tuple[int, ...]) -> None:
    with pytest.raises(WeightsError, match=r"takes B x 3 x H x W with H and W multiples of 16"):
        new_model("nano").embed(torch.zeros(shape))


def test_an_odd_input_size_is_refused_with_the_nearest_good_one() -> None:
    assert check_size(224) == 224
    with pytest.raises(
        WeightsError, match="Input size 250 px is not accepted; it takes a multiple of 16, such as 256"
    ):
        check_size(250)


def test_absolute_positions_are_resized_as_the_published_code_does() -> None:
    table = seeded((1, 64, 64, 8))
    wanted = torch.nn.functional.interpolate(table.permute(0, 3, 1, 2), (14, 14), mode="bilinear").permute(
        0, 2, 3, 1
    )
    assert torch.equal(resize_positions(table, (14, 14)), wanted)


@pytest.mark.parametrize("mode", ["fused", "exact"])
def test_a_1024_px_checkpoint_at_224_px_is_what_a_model_with_resized_tables_gives(
    mode: attention.Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Global blocks of two digits: 'select by digits in the key' is wrong for these (methods, section 1)."""
    deep = dataclasses.replace(TINY, depth=24, global_blocks=(5, 11, 17, 23))
    monkeypatch.setitem(VARIANTS, "deep", deep)
    state = original(deep).state_dict()
    small = original(dataclasses.replace(deep, native_px=224))
    resized = dict(state)
    resized["image_encoder.pos_embed"] = resize_positions(state["image_encoder.pos_embed"], (14, 14))
    for block in deep.global_blocks:
        for axis in "hw":
            key = f"image_encoder.blocks.{block}.attn.rel_pos_{axis}"
            moved = torch.nn.functional.interpolate(state[key][None, None], (27, 32), mode="bilinear")
            resized[key] = moved[0, 0]
    small.load_state_dict(resized)
    model = CellSam(deep, 3)
    model.load_state_dict(
        {k if "image" in k else f"plain.{k}": v for k, v in split_qkv(state).items()}, strict=False
    )
    model.set_mode(mode)
    pixels = torch.from_numpy(picture(224, 224)).permute(2, 0, 1)[None]
    with torch.inference_mode():
        wanted = small.image_encoder(small.preprocess(pixels[0].float())[None])
        assert error(model.embed(pixels), wanted) < 1e-4


@pytest.mark.parametrize("channels", [2, 3])
def test_the_cell_head_starts_fresh_only_where_it_must(tiny: Variant, tmp_path: Path, channels: int) -> None:
    sam = original(tiny)
    torch.save(sam.state_dict(), tmp_path / "tiny.pth")
    model = load_model(tmp_path / "tiny.pth", channels=channels)
    cells, state = model.cells.state_dict(), sam.state_dict()
    for key, value in cells.items():
        fresh = any(part in key for part in ("mask_tokens", "hypernetworks", "iou_prediction_head"))
        assert fresh or torch.equal(value, state[key]), key
    assert cells["mask_decoder.mask_tokens.weight"].shape == (channels, tiny.prompt_dim)
    maps, _ = model(torch.zeros(1, 3, 64, 64))
    assert maps.shape == (1, channels, 16, 16)
    model.cells.prompt_encoder.no_mask_embed.weight.data.add_(1)  # its own, not the plain head's
    assert torch.equal(
        model.plain.prompt_encoder.no_mask_embed.weight, state["prompt_encoder.no_mask_embed.weight"]
    )


def test_a_batch_through_the_cell_head_is_each_image_alone(tiny: Variant) -> None:
    model = CellSam(tiny, 3).eval()
    shake(model)
    pixels = torch.from_numpy(np.stack([picture(64, 64, s) for s in range(3)])).permute(0, 3, 1, 2)
    with torch.inference_mode():
        maps, quality = model(pixels)
        # segment-anything's own forward, one image at a time
        decoder, prompts = model.cells.mask_decoder, model.cells.prompt_encoder
        prompts.image_embedding_size = (4, 4)
        sparse, dense = prompts(points=None, boxes=None, masks=None)
        for i in range(3):
            wanted, wanted_quality = decoder.predict_masks(
                model.embed(pixels[i : i + 1]), prompts.get_dense_pe(), sparse, dense
            )
            assert error(maps[i], wanted[0]) < 1e-5
            assert error(quality[i], wanted_quality[0]) < 1e-5


def test_nano_has_at_most_six_million_parameters() -> None:
    assert sum(p.numel() for p in new_model("nano").parameters()) <= 6_000_000


def test_a_fresh_model_depends_on_its_seed_alone() -> None:
    before = torch.get_rng_state()
    one, again, other = new_model(seed=1), new_model(seed=1), new_model(seed=2)
    assert torch.equal(before, torch.get_rng_state())
    assert one.base_sha256 == again.base_sha256 != other.base_sha256
    assert new_model(seed=1, channels=2).base_sha256 == one.base_sha256


WRAPPED = {
    "plain": lambda state: state,
    "micro-sam": lambda state: {"model_state": state, "epoch": 3},
    "nested": lambda state: {"model": {"state_dict": {f"module.{k}": v for k, v in state.items()}}},
    "prefixed": lambda state: {f"sam.{k}": v for k, v in state.items()} | {"loss.weight": torch.zeros(2)},
    "half": lambda state: {k: v.half() for k, v in state.items()},
}  # fmt: skip


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED.keys())
def test_files_of_the_format_are_read_however_they_are_wrapped(wrap, tiny: Variant, tmp_path: Path) -> None:
    sam = original(tiny)
    torch.save(wrap(sam.state_dict()), tmp_path / "tiny.pth")
    model = load_model(tmp_path / "tiny.pth")
    assert model.variant == tiny
    found = join_qkv(model.state_dict())
    for key, value in sam.state_dict().items():
        ours = found[key if "image_encoder" in key else f"plain.{key}"]
        torch.testing.assert_close(ours, value, rtol=1e-3, atol=1e-3)
        assert ours.dtype == torch.float32


def test_a_plain_safetensors_file_is_read_too(tiny: Variant, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(original(tiny).state_dict(), tmp_path / "tiny.safetensors")
    assert load_model(tmp_path / "tiny.safetensors").variant == tiny


@pytest.mark.parametrize("half", [False, True])
def test_what_we_save_comes_back_and_others_can_read_it(tmp_path: Path, half: bool) -> None:
    model = new_model("nano", channels=2, seed=4)
    model.set_pixel_scale((215.0, 187.0, 200.0), (41.0, 56.0, 21.0))
    path = tmp_path / "nano.safetensors"
    save_model(model, path, half=half)
    back = load_model(path)
    assert back.channels == 2
    assert torch.equal(back.pixel_mean, model.pixel_mean)
    pixels = torch.from_numpy(picture(96, 96)).permute(2, 0, 1)[None]
    with torch.inference_mode():
        assert error(back(pixels)[0], model(pixels)[0]) < (2e-2 if half else 1e-6)
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        assert "image_encoder.blocks.0.attn.qkv.weight" in file.keys()  # noqa: SIM118
        assert "prompt_encoder.no_mask_embed.weight" in file.keys()  # noqa: SIM118
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    from napari_bloodcell.core.errors import ArtifactError

    with pytest.raises(ArtifactError, match="changed after it was written"):
        load_model(path)


OTHERS = {
    "SAM 2": {"model": {"image_encoder.trunk.blocks.0.attn.qkv.weight": torch.zeros(1)}},
    "MobileSAM": {"image_encoder.layers.0.blocks.0.conv1.c.weight": torch.zeros(1)},
    "plain vision transformer": {"teacher": {"backbone.cls_token": torch.zeros(1)}},
    "ResNet": {"layer1.0.conv1.weight": torch.zeros(1)},
    "LoRA adapter of BC-SAM or DoRL": {"w_a_000": torch.zeros(1)},
    "its first key is 'abc'": {"abc": torch.zeros(1)},
    "it is empty": {},
}


@pytest.mark.parametrize("words", OTHERS)
def test_a_checkpoint_of_another_model_is_named(words: str, tmp_path: Path) -> None:
    torch.save(OTHERS[words], tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=f"no Segment Anything checkpoint: .*{words}.* Accepted are"):
        load_model(tmp_path / "other.pth")


def test_a_transformer_of_unknown_size_is_named(tmp_path: Path) -> None:
    torch.save(original(TINY).state_dict(), tmp_path / "tiny.pth")
    with pytest.raises(WeightsError, match="transformer of 2 blocks of 32; no variant is like that"):
        load_model(tmp_path / "tiny.pth")


def test_missing_extra_and_odd_tensors_are_named(tiny: Variant, tmp_path: Path) -> None:
    state = original(tiny).state_dict()
    path = tmp_path / "odd.pth"
    torch.save({k: v for k, v in state.items() if not k.startswith("mask_decoder")}, path)
    with pytest.raises(WeightsError, match=r"looks like tiny but lacks .*'mask_decoder\.iou_prediction_head"):
        load_model(path)
    torch.save(state | {"image_encoder.blocks.0.Space_Adapter.D_fc1.weight": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match=r"layers that tiny does not have, .*Space_Adapter"):
        load_model(path)
    torch.save(state | {"image_encoder.blocks.0.attn.rel_pos_h": torch.zeros(99, 16)}, path)
    with pytest.raises(
        WeightsError, match=r"rel_pos_h has shape \(99, 16\); tiny at 1024 px takes \(27, 32\)"
    ):
        load_model(path)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_truncated_file_is_named_and_not_loaded(suffix: str, tiny: Variant, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / f"tiny.{suffix}"
    save = torch.save if suffix == "pth" else save_file
    save(original(tiny).state_dict(), path)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(WeightsError, match="cut short"):
        load_model(path)
    path.write_bytes(b"")
    with pytest.raises(WeightsError, match="is empty|cut short"):
        load_model(path)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"model": Path("/")}, tmp_path / "code.pth")
    with pytest.raises(WeightsError, match="holds more than tensors"):
        load_model(tmp_path / "code.pth")


def test_a_file_of_another_hash_is_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"abc")
    with pytest.raises(WeightsError, match="has the SHA-256 ba7816bf8f01cfea.*was not loaded"):
        load_model(tmp_path / "a.pth", sha256="0" * 64)
    with pytest.raises(WeightsError, match="cannot be read: No such file"):
        load_model(tmp_path / "none.pth")


def test_unknown_variants_and_channels_are_named() -> None:
    with pytest.raises(WeightsError, match="No variant 'vit_x'. There are: vit_b, vit_l, vit_h, nano"):
        new_model("vit_x")
    with pytest.raises(WeightsError, match="4 channels are not accepted; it takes 2 .background, cell.; 3"):
        new_model("nano", channels=4)


def test_prefixes_are_stripped_and_strangers_left_out() -> None:
    state = {f"net.{variants.MARKER}": 1, "net.x": 2, "loss": 3}
    assert find_state({"a": [1], "b": state}, "file") == {variants.MARKER: 1, "x": 2}
