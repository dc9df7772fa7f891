"""Adapters against plain transcriptions of what they must compute."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sam_parts import error, original, picture, seeded
from segment_anything.modeling import Sam
from segment_anything.modeling.image_encoder import add_decomposed_rel_pos
from torch import Tensor

from napari_bloodcell.core.config import LoraConfig
from napari_bloodcell.core.errors import ArtifactError, WeightsError
from napari_bloodcell.core.sam.adapter import HEADER, load_adapter, read_adapter_info, save_adapter
from napari_bloodcell.core.sam.lora import (
    add_lora,
    lora_of,
    merge_for_good,
    merged,
    pairs_of,
    without_adapter,
)
from napari_bloodcell.core.sam.model import CellSam, load_model, new_model, save_model
from napari_bloodcell.core.sam.released import PIXEL_MEAN_RGB, PIXEL_STD_RGB, export_released, import_released
from napari_bloodcell.core.sam.variants import VARIANTS, Variant

PIXELS = torch.from_numpy(picture(96, 96)).permute(2, 0, 1)[None]


def trained(config: LoraConfig = LoraConfig(), seed: int = 0, channels: int = 3) -> CellSam:
    """A nano whose adapter has random numbers in B too, as after training."""
    model = new_model("nano", channels=channels, seed=seed)
    add_lora(model, config)
    for i, pair in enumerate(pairs_of(model)):
        pair.b.data = seeded(tuple(pair.b.shape), i, 0.05)
    return model


@torch.inference_mode()
def maps_of(model: CellSam, pixels: Tensor = PIXELS) -> Tensor:
    return model(pixels)[0]


def test_vit_b_at_rank_4_trains_147456_parameters_of_its_encoder() -> None:
    with torch.device("meta"):
        model = CellSam(VARIANTS["vit_b"], 2)
    add_lora(model)
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    encoder = [p.numel() for name, p in trainable.items() if name.startswith("image_encoder.")]
    assert sum(encoder) == 147_456
    assert len(encoder) == 48
    cells = dict(model.cells.named_parameters(prefix="cells"))
    assert {name for name in trainable if not name.startswith("image_encoder.")} == set(cells)


def test_a_fresh_adapter_changes_nothing_and_starts_as_published() -> None:
    model, plain = new_model("nano"), new_model("nano")
    before = torch.get_rng_state()
    add_lora(model, LoraConfig(seed=5))
    assert torch.equal(before, torch.get_rng_state())
    assert error(maps_of(model), maps_of(plain)) < 1e-6
    bound = 1 / np.sqrt(model.variant.dim)  # Kaiming-uniform with a = sqrt(5)
    for pair in pairs_of(model):
        assert not pair.b.any()
        assert bound * 0.9 < pair.a.abs().max() <= bound
        assert pair.scale == 1


@pytest.mark.parametrize(
    ("config", "count"), [(LoraConfig(rank=2), 12), (LoraConfig(rank=8, alpha=16, layers=(0, 5)), 4)]
)
def test_rank_alpha_and_blocks_are_real_options(config: LoraConfig, count: int) -> None:
    model = trained(config)
    assert len(pairs_of(model)) == count
    found = lora_of(model)
    assert (found.rank, found.layers) == (config.rank, config.layers)
    assert found.alpha == (config.alpha or config.rank)
    plain = new_model("nano")
    for pair in pairs_of(model):
        attention = plain.image_encoder.blocks[pair.block].attn
        getattr(attention, pair.target).weight.data += found.alpha / config.rank * (pair.b @ pair.a)
    assert error(maps_of(model), maps_of(plain)) < 1e-4


def test_merged_is_the_same_numbers_and_leaves_every_bit_as_it_was() -> None:
    model = trained()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    apart = maps_of(model)
    with merged(model):
        assert error(maps_of(model), apart) < 1e-4
        with merged(model):  # twice is once
            assert error(maps_of(model), apart) < 1e-4
        assert all(pair.layer.merged for pair in pairs_of(model))
    after = model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert torch.equal(maps_of(model), apart)
    merge_for_good(model)
    assert not pairs_of(model)
    assert error(maps_of(model), apart) < 1e-4


def test_without_the_adapter_the_encoder_is_the_plain_one() -> None:
    model, plain = trained(), new_model("nano")
    flags = [p.requires_grad for p in model.parameters()]
    with torch.inference_mode(), without_adapter(model), merged(model):
        assert torch.equal(model.embed(PIXELS), plain.embed(PIXELS))
    assert flags == [p.requires_grad for p in model.parameters()]
    with torch.inference_mode():
        assert not torch.allclose(model.embed(PIXELS), plain.embed(PIXELS))


def test_a_second_adapter_and_blocks_that_are_not_there_are_refused() -> None:
    model = trained()
    with pytest.raises(WeightsError, match="already has an adapter"):
        add_lora(model)
    with pytest.raises(WeightsError, match="Block 8 cannot be adapted: nano has blocks 0 to 5"):
        add_lora(new_model("nano"), LoraConfig(layers=(1, 8)))
    with pytest.raises(WeightsError, match="has no adapter"):
        lora_of(new_model("nano"))
    with pytest.raises(WeightsError, match="has an adapter: save that, or merge"):
        save_model(model, Path("never.safetensors"))


@pytest.mark.parametrize("config", [LoraConfig(), LoraConfig(rank=3, alpha=6, layers=(2, 5))])
def test_an_adapter_comes_back_with_its_head_and_header(config: LoraConfig, tmp_path: Path) -> None:
    model = trained(config, channels=2)
    model.set_pixel_scale(PIXEL_MEAN_RGB, PIXEL_STD_RGB)
    sha256 = save_adapter(model, tmp_path / "a", size_px=96, data={"train": "jtsc"}, scores={"iou": 0.9})
    info = read_adapter_info(tmp_path / "a")
    assert (info.sha256, info.size_px, info.channels) == (sha256, 96, ("background", "cell"))
    assert (info.data, info.scores, info.base_variant) == ({"train": "jtsc"}, {"iou": 0.9}, "nano")
    back = new_model("nano")
    assert load_adapter(back, tmp_path / "a") == info
    assert torch.equal(maps_of(back), maps_of(model))
    assert lora_of(back) == lora_of(model)


def test_peft_itself_reads_our_adapters(tmp_path: Path) -> None:
    import peft

    model = trained()
    save_adapter(model, tmp_path, size_px=96)
    stored = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (stored["peft_type"], stored["r"], stored["lora_dropout"], stored["bias"]) == (
        "LORA",
        4,
        0.0,
        "none",
    )
    encoder = peft.PeftModel.from_pretrained(new_model("nano").image_encoder, tmp_path)
    with torch.inference_mode():
        pixels = model.normalise(PIXELS)
        assert error(encoder.eval()(pixels), model.image_encoder(pixels)) < 1e-5


def test_an_adapter_of_another_base_is_refused_by_name(tmp_path: Path, tiny: Variant) -> None:
    save_adapter(trained(seed=0), tmp_path, size_px=96)
    other = new_model("nano", seed=1)
    with pytest.raises(
        WeightsError, match=r"was trained on the nano checkpoint \w{12}; this model comes from \w{12}"
    ):
        load_adapter(other, tmp_path)
    assert not pairs_of(other)
    with pytest.raises(
        WeightsError, match="was trained on nano; this model is tiny. Load the nano checkpoint"
    ):
        load_adapter(new_model("tiny"), tmp_path)


def test_an_adapter_that_was_changed_or_cut_off_is_refused(tmp_path: Path) -> None:
    save_adapter(trained(), tmp_path, size_px=96)
    path = tmp_path / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(
        ArtifactError, match=r"adapter_model.safetensors does not match its hash in adapter.json"
    ):
        load_adapter(new_model("nano"), tmp_path)
    (tmp_path / HEADER).unlink()
    with pytest.raises(ArtifactError, match=r"holds no adapter.json: .* its writing was cut off"):
        load_adapter(new_model("nano"), tmp_path)
    with pytest.raises(
        ArtifactError, match=r"There is no adapter .*nowhere: no such folder or file"
    ) as missing:
        load_adapter(new_model("nano"), tmp_path / "nowhere")
    assert "import_released" not in str(missing.value), "a name of ours says nothing to who typed a command"


def test_an_adapter_of_another_rank_than_it_says_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    from napari_bloodcell.core.artifact import read_json, write_json
    from napari_bloodcell.core.sam.files import hash_file

    save_adapter(trained(), tmp_path, size_px=96)
    path = tmp_path / "adapter_model.safetensors"
    save_file(
        {k: v[:2] if "lora_A" in k else v[:, :2].contiguous() for k, v in load_file(path).items()}, path
    )
    header, body = read_json(tmp_path / HEADER, "adapter")
    body["files"][path.name] = hash_file(path)
    write_json(tmp_path / HEADER, "adapter", body, config=header.config, parents=header.parents)
    with pytest.raises(WeightsError, match="says rank 4, but its matrices have rank 2"):
        load_adapter(new_model("nano"), tmp_path)


class OracleAttention(torch.nn.Module):
    """LoRA on the fused layer, as published: q += B_q A_q x, v += B_v A_v x, no scaling."""

    def __init__(self, attention: torch.nn.Module, pairs: list[Tensor]) -> None:
        super().__init__()
        self.old, self.pairs = attention, pairs

    def forward(self, x: Tensor) -> Tensor:
        a_q, b_q, a_v, b_v = self.pairs
        b, h, w, dim = x.shape
        qkv = self.old.qkv(x)
        qkv[..., :dim] += (x @ a_q.T) @ b_q.T
        qkv[..., -dim:] += (x @ a_v.T) @ b_v.T
        heads = self.old.num_heads
        qkv = qkv.reshape(b, h * w, 3, heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.reshape(3, b * heads, h * w, -1).unbind(0)
        weights = (q * self.old.scale) @ k.transpose(-2, -1)
        weights = add_decomposed_rel_pos(weights, q, self.old.rel_pos_h, self.old.rel_pos_w, (h, w), (h, w))
        out = (weights.softmax(dim=-1) @ v).view(b, heads, h, w, -1).permute(0, 2, 3, 1, 4)
        return self.old.proj(out.reshape(b, h, w, dim))


def released_file(sam: Sam, path: Path, rank: int = 4, channels: int = 2) -> dict[str, Tensor]:
    """A file as the released code writes it, for a base of this shape."""
    from segment_anything.modeling import MaskDecoder, TwoWayTransformer

    dim, depth = sam.image_encoder.pos_embed.shape[-1], len(sam.image_encoder.blocks)
    state = {f"w_a_{i:03d}": seeded((rank, dim), i, 0.1) for i in range(2 * depth)}
    state |= {f"w_b_{i:03d}": seeded((dim, rank), 100 + i, 0.1) for i in range(2 * depth)}
    width = sam.mask_decoder.transformer_dim
    transformer = TwoWayTransformer(2, width, 8, sam.mask_decoder.transformer.layers[0].mlp.lin1.out_features)
    decoder = MaskDecoder(transformer_dim=width, transformer=transformer, num_multimask_outputs=channels - 1)
    for part, module in (("prompt_encoder", sam.prompt_encoder), ("mask_decoder", decoder)):
        state |= {f"{part}.{key}": value for key, value in module.state_dict().items()}
    state["prompt_encoder.no_mask_embed.weight"] = seeded((1, width), 7)  # trained along with it
    torch.save(state, path)
    return state


@torch.inference_mode()
def oracle(sam: Sam, state: dict[str, Tensor], pixels: Tensor) -> Tensor:
    """The published forward pass at a small size, on segment-anything's own model."""
    from segment_anything.modeling import MaskDecoder

    encoder, side = sam.image_encoder, pixels.shape[-1]
    for i, block in enumerate(encoder.blocks):
        names = [f"w_{kind}_{2 * i + j:03d}" for j in (0, 1) for kind in "ab"]
        block.attn = OracleAttention(block.attn, [state[name] for name in names])
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (PIXEL_MEAN_RGB, PIXEL_STD_RGB))
    x = encoder.patch_embed((pixels - mean) / std)
    places = torch.nn.functional.interpolate(
        encoder.pos_embed.permute(0, 3, 1, 2), x.shape[1:3], mode="bilinear"
    )
    x = x + places.permute(0, 2, 3, 1)
    for block in encoder.blocks:  # relative tables: segment-anything resizes them itself, linearly
        x = block(x)
    embedding = encoder.neck(x.permute(0, 3, 1, 2))
    prompts = sam.prompt_encoder
    prompts.no_mask_embed.weight.data = state["prompt_encoder.no_mask_embed.weight"]
    prompts.image_embedding_size = (side // 16, side // 16)
    sparse, dense = prompts(points=None, boxes=None, masks=None)
    old, count = sam.mask_decoder, state["mask_decoder.mask_tokens.weight"].shape[0]
    decoder = MaskDecoder(
        transformer_dim=old.transformer_dim, transformer=old.transformer, num_multimask_outputs=count - 1
    )
    start = "mask_decoder."
    decoder.load_state_dict({k.removeprefix(start): v for k, v in state.items() if k.startswith(start)})
    return torch.cat(
        [decoder.predict_masks(one[None], prompts.get_dense_pe(), sparse, dense)[0] for one in embedding]
    )


@pytest.mark.parametrize("rank", [4, 6])
def test_released_adapters_give_what_the_published_forward_gives(
    rank: int, tiny: Variant, tmp_path: Path
) -> None:
    sam = original(tiny)
    torch.save(sam.state_dict(), tmp_path / "tiny.pth")
    model = load_model(tmp_path / "tiny.pth")
    state = released_file(sam, tmp_path / "released.pth", rank)
    import_released(model, tmp_path / "released.pth")
    assert (model.channels, lora_of(model).rank, lora_of(model).alpha) == (2, rank, rank)
    pixels = torch.from_numpy(np.stack([picture(224, 224, s) for s in (1, 2)])).permute(0, 3, 1, 2)
    found = maps_of(model, pixels)
    assert found.shape == (2, 2, 56, 56)
    with merged(model):
        fast = maps_of(model, pixels)
    wanted = oracle(sam, state, pixels)
    assert error(found, wanted) < 1e-4
    assert error(fast, wanted) < 1e-4


def test_a_released_adapter_goes_out_again_bit_for_bit(tiny: Variant, tmp_path: Path) -> None:
    state = released_file(original(tiny), tmp_path / "in.pth")
    model = new_model("tiny")
    import_released(model, tmp_path / "in.pth")
    export_released(model, tmp_path / "out.pth")
    back = torch.load(tmp_path / "out.pth", weights_only=True)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], state[key]) for key in state)
    save_adapter(model, tmp_path / "ours", size_px=224)  # and through our own layout
    again = new_model("tiny")
    load_adapter(again, tmp_path / "ours")
    export_released(again, tmp_path / "out2.pth")
    assert all(
        torch.equal(v, state[k]) for k, v in torch.load(tmp_path / "out2.pth", weights_only=True).items()
    )


def test_exporting_keeps_alpha_and_fills_blocks_that_have_no_adapter(tmp_path: Path) -> None:
    model = trained(LoraConfig(rank=2, alpha=6, layers=(3,)), channels=2)
    export_released(model, tmp_path / "out.pth")
    back = new_model("nano")
    import_released(back, tmp_path / "out.pth")
    back.pixel_mean, back.pixel_std = model.pixel_mean, model.pixel_std
    assert error(maps_of(back), maps_of(model)) < 1e-5
    assert lora_of(back).layers == ()


def test_released_files_for_another_base_are_refused_by_name(tiny: Variant, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    state = released_file(original(tiny), path)
    with pytest.raises(WeightsError, match="holds 4 matrices A and 4 B; nano with 6 blocks takes 12 of each"):
        import_released(new_model("nano"), path)
    torch.save(state | {"w_a_001": torch.zeros(5, 32)}, path)
    with pytest.raises(
        WeightsError, match=r"pair 001 has shapes \(5, 32\) and \(32, 4\); tiny at rank 4 takes"
    ):
        import_released(new_model("tiny"), path)
    torch.save({k: v for k, v in state.items() if not k.startswith("mask_decoder")}, path)
    with pytest.raises(WeightsError, match="has no mask decoder"):
        import_released(new_model("tiny"), path)
    torch.save({"abc": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="no released BC-SAM or DoRL adapter: it holds no w_a_000"):
        import_released(new_model("tiny"), path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(WeightsError, match="cut short"):
        import_released(new_model("tiny"), path)
