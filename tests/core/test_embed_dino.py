"""Encoders of others, from files in the shapes their authors give them. Weights are made up."""

from pathlib import Path

import numpy as np
import pytest
import torch
from embed_parts import crops

from napari_bloodcell.core.embed.choose import find_embedder
from napari_bloodcell.core.embed.dino import DinoEmbedder, seen_in_training
from napari_bloodcell.core.errors import ArtifactError, WeightsError


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    import timm

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = timm.create_model("vit_small_patch14_dinov2", pretrained=False, img_size=224, num_classes=0)
    return network.state_dict()


def test_plain_and_wrapped_files_give_the_same_vectors(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    torch.save(state | {"mask_token": torch.zeros(1, 384)}, tmp_path / "plain.pth")
    chunked = {f"backbone.{k.replace('blocks.', 'blocks.0.')}": v for k, v in state.items()}
    torch.save({"teacher": chunked | {"dino_head.mlp.0.weight": torch.zeros(2, 2)}}, tmp_path / "bloom.pth")
    plain = find_embedder(f"dinov2:{tmp_path / 'plain.pth'}")
    bloom = find_embedder(f"dinobloom:{tmp_path / 'bloom.pth'}")
    assert plain.hash != bloom.hash  # the family tells what it has seen
    few = crops(2)
    values = plain.embed(few).values
    assert values.shape == (2, 384)
    assert np.array_equal(values, bloom.embed(few).values)
    assert len(plain.embed(crops(0))) == 0
    bloom.save(tmp_path)
    loaded = find_embedder(tmp_path)
    assert loaded.hash == bloom.hash
    assert "matek" in loaded.pretrained_on  # type: ignore[attr-defined]


def test_files_that_do_not_fit_are_named(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "odd.pth"
    torch.save({"layer1.weight": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match="is no DINOv2 or DinoBloom file: it has no class token"):
        DinoEmbedder.read(path, "dinov2")
    torch.save({"cls_token": torch.zeros(1, 1, 1024), "pos_embed": torch.zeros(1, 257, 1024)}, path)
    with pytest.raises(WeightsError, match="1024 wide; known are small"):
        DinoEmbedder.read(path, "dinov2")
    torch.save({k: v for k, v in state.items() if k != "norm.bias"}, path)
    with pytest.raises(WeightsError, match="does not fit vit_small_patch14_dinov2: 'norm.bias'"):
        DinoEmbedder.read(path, "dinov2")


def test_contaminated_sets_are_flagged() -> None:
    assert seen_in_training("dinobloom", ["acevedo", "matek", "bccd"]) == ("matek", "bccd")
    assert seen_in_training("dinov2", ["matek"]) == ()


def test_an_unknown_embedder_is_told_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(
        ArtifactError, match=r"no embedder 'magic'. Give measurements, details, sam, sam-parts"
    ):
        find_embedder("magic")
    with pytest.raises(ArtifactError, match="train bcsam DATA --out FOLDER. Then give that folder"):
        find_embedder("sam+bcsam")
