"""The two published networks: their sizes, at ViT-B's width and at ours."""

import pytest
import torch
from sam_parts import seeded

from napari_bloodcell.core.embed.bcsam import DECODER, BcsamAutoencoder, BcsamShape
from napari_bloodcell.core.embed.dorl import DorlAutoencoder, DorlShape
from napari_bloodcell.core.embed.networks import Widening, scaled


def parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_bcsam_of_vit_b_has_the_published_3_9_million_parameters() -> None:
    with torch.device("meta"):
        assert parameters(BcsamAutoencoder(BcsamShape(dim=768))) == 3_857_197


def test_dorl_of_vit_b_has_the_published_123_million_parameters() -> None:
    with torch.device("meta"):
        assert parameters(DorlAutoencoder(DorlShape(dim=768))) == 123_162_869


def test_a_wider_encoder_keeps_the_published_decoder() -> None:
    widths = [step[0] for step in DECODER]
    assert scaled(widths, 768) == scaled(widths, 1280) == widths


@pytest.mark.parametrize(("dim", "grid"), [(32, 14), (32, 10), (48, 4)])
def test_both_networks_take_any_width_and_grid(dim: int, grid: int) -> None:
    tokens = seeded((2, dim, grid, grid))
    one = BcsamAutoencoder(BcsamShape(dim=dim)).eval()
    z = one.encode(tokens)
    assert z.shape == (2, 50)
    assert one.decode(z).shape == (2, 3, 128, 128)
    two = DorlAutoencoder(DorlShape(dim=dim, grid=grid, depth=1, decoder_depth=1)).eval()
    made, kept, cls = two(tokens, torch.rand(2, grid**2), 0.75)
    assert made.shape == (2, grid**2, dim)
    assert cls.shape == (2, dim)
    assert two.picture(made).shape == (2, 3, 128, 128)
    assert two.discrepancy_vector(made).shape == (2, 50)
    assert kept.sum(dim=1).tolist() == [round(grid**2 / 4)] * 2


def tiny_dorl() -> DorlAutoencoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return DorlAutoencoder(DorlShape(dim=16, grid=4, depth=1, decoder_depth=1)).eval()


def test_the_tokens_with_the_smallest_noise_are_kept() -> None:
    noise = seeded((3, 16))
    _, kept, _ = tiny_dorl()(seeded((3, 16, 4, 4)), noise, 0.75)
    for row in range(3):
        assert set(torch.where(kept[row])[0].tolist()) == set(noise[row].argsort()[:4].tolist())


def test_hidden_tokens_do_not_reach_the_encoder() -> None:
    network, tokens, noise = tiny_dorl(), seeded((1, 16, 4, 4)), torch.arange(16.0)[None]
    made, _, cls = network(tokens, noise, 0.75)
    other = tokens.clone()
    other.flatten(2)[:, :, 4:] += 5  # the tokens with more noise
    made_again, _, cls_again = network(other, noise, 0.75)
    assert torch.equal(cls, cls_again)
    assert torch.equal(made, made_again)


def test_kept_tokens_go_back_to_their_own_places() -> None:
    """Without position and blocks, the decoder's input shows where each token went."""
    network = tiny_dorl()
    network.blocks, network.decoder = torch.nn.Sequential(), torch.nn.Sequential()
    for table in (network.position, network.decoder_position, network.mask_token):
        table.data.zero_()
    tokens = seeded((1, 16, 4, 4))
    made, kept, _ = network(tokens, seeded((1, 16), 5), 0.5)
    wanted = tokens.flatten(2).transpose(1, 2) * kept[..., None]
    assert torch.equal(made, wanted)


def test_a_decoder_that_is_told_the_lab_draws_labs_differently() -> None:
    network = BcsamAutoencoder(BcsamShape(dim=32, labs=2)).eval()
    z = seeded((2, 50))
    a, b = network.decode(z, torch.tensor([0, 0])), network.decode(z, torch.tensor([1, 1]))
    assert not torch.allclose(a, b)
    assert network.decode(z).shape == a.shape  # a lab it does not know


@pytest.mark.parametrize(("kernel", "side"), [(5, 1), (3, 12), (2, 17)])
def test_widening_is_the_transposed_convolution_it_stands_for(kernel: int, side: int) -> None:
    torch.manual_seed(0)
    ours, plain = Widening(6, 4, kernel), torch.nn.ConvTranspose2d(6, 4, kernel)
    plain.load_state_dict(ours.state_dict())
    one = torch.randn(3, 6, side, side, requires_grad=True)
    other = one.detach().clone().requires_grad_()
    found, expected = ours(one), plain(other)
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, atol=1e-5)
    found.square().sum().backward()
    expected.square().sum().backward()
    assert torch.allclose(one.grad, other.grad, atol=1e-4)
    assert torch.allclose(ours.weight.grad, plain.weight.grad, atol=1e-3)
