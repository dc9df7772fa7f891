"""Separation: the published updates against a slow oracle, the fast ways against the exact one, odd images."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from napari_bloodcell.core.config import SmearConfig, StainConfig
from napari_bloodcell.core.errors import ConfigError, ImageError
from napari_bloodcell.core.stain import updates
from napari_bloodcell.core.stain.sampled import solve
from napari_bloodcell.core.stain.separate import Separation, density_above, measure, reconstruct, separate
from napari_bloodcell.core.stain.tensors import from_optical_density, optical_density
from napari_bloodcell.core.synthetic import make_smear


@pytest.fixture(scope="module")
def smear() -> np.ndarray:
    return np.array(
        make_smear(
            SmearConfig(width_px=160, height_px=128, um_per_px=0.25, white_cells=4, seed=3)
        ).image.pixels
    )


def batch(*images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).movedim(-1, 1).contiguous()


def oracle(
    pixels: np.ndarray, iterations: int = 10, l1: float = 1e-4
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The published recipe, one number at a time where it matters: background, dictionary, concentrations."""
    od = -np.log(np.maximum(pixels.reshape(-1, 3).astype(np.float64), 1) / 255)
    background = np.quantile(od, 0.01, axis=0)
    v = np.maximum(od - background, 0).T
    w = np.stack([np.quantile(v, 0.5, axis=1), v.max(axis=1)], axis=1) + 1e-8
    w /= np.sqrt((w**2).sum(axis=0))
    h = np.ones((2, v.shape[1]))
    for _ in range(iterations):
        fresh = np.empty_like(h)
        for k in range(2):
            upper = sum(w[c, k] * v[c] for c in range(3))
            lower = sum(sum(w[c, k] * w[c, j] for c in range(3)) * h[j] for j in range(2)) + l1
            fresh[k] = h[k] * upper / lower
        h = fresh
        moved = np.empty_like(w)
        for c in range(3):
            for k in range(2):
                lower = sum(w[c, j] * (h[j] * h[k]).sum() for j in range(2))
                moved[c, k] = w[c, k] * (v[c] * h[k]).sum() / (lower + 1e-8)
        w = moved / np.sqrt((moved**2).sum(axis=0))
    return background, w, h


def test_exact_is_the_published_recipe(smear: np.ndarray) -> None:
    background, w, h = oracle(smear)
    b, found_w, found_h = updates.exact(batch(smear)[0], 2, 10, 1e-4)
    np.testing.assert_allclose(b, background, atol=1e-5)
    np.testing.assert_allclose(found_w, w, atol=2e-3)
    np.testing.assert_allclose(found_w.numpy() @ found_h.numpy(), w @ h, atol=5e-3)


@pytest.mark.parametrize("stains", [2, 3])
def test_fused_repeats_exact_to_one_percent_of_the_density(smear: np.ndarray, stains: int) -> None:
    images = batch(smear, smear[::-1].copy())
    exact = reconstruct(separate(images, StainConfig(mode="exact", stains=stains)))
    fused = reconstruct(separate(images, StainConfig(mode="fused", stains=stains)))
    assert float((fused - exact).norm() / exact.norm()) < 0.01


def test_the_loop_written_for_a_compiler_gives_what_the_plain_one_gives() -> None:
    generator = torch.Generator().manual_seed(0)
    v, steps = torch.rand(3, 500, generator=generator), torch.rand(10, 3, 2, generator=generator)
    torch.testing.assert_close(
        updates._replay_two(v, steps, 1e-4), updates._replay(v, steps, 1e-4), rtol=1e-4, atol=1e-5
    )


def test_without_a_compiler_fused_says_so_and_gives_the_same(smear: np.ndarray, monkeypatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> object:
        def broken(*_: object) -> None:
            raise RuntimeError("No working C++ compiler found")

        return broken

    monkeypatch.setattr(torch, "compile", refuse)
    updates._compiled_replay.cache_clear()
    plain = separate(smear, StainConfig(mode="fused"))
    with pytest.warns(
        UserWarning, match=r"torch cannot compile here \(No working C\+\+ compiler.*with the same result"
    ):
        compiled = separate(smear, StainConfig(mode="fused", compiled=True))
    updates._compiled_replay.cache_clear()
    torch.testing.assert_close(plain.concentrations, compiled.concentrations)


def test_fast_explains_the_density_no_worse_than_exact(smear: np.ndarray) -> None:
    errors = {}
    for mode in ("exact", "fast"):
        found = separate(smear, StainConfig(mode=mode))
        density = density_above(smear, found.background)
        errors[mode] = float((reconstruct(found) - density).norm() / density.norm())
    assert errors["fast"] <= errors["exact"]


def test_closed_form_concentrations_are_the_least_squares_ones_without_negatives() -> None:
    from scipy.optimize import nnls

    rng = np.random.default_rng(0)
    for angle in (1.0, 0.3, 0.01):
        w = rng.random((3, 2))
        w[:, 1] = (1 - angle) * w[:, 0] + angle * w[:, 1]
        w /= np.linalg.norm(w, axis=0)
        v = rng.random((3, 40))
        found = solve(torch.tensor(w[None], dtype=torch.float32), torch.tensor(v[None], dtype=torch.float32))[
            0
        ]
        best = np.stack([nnls(w, column)[0] for column in v.T], axis=1)
        residual = np.linalg.norm(v - w @ found.numpy(), axis=0) - np.linalg.norm(v - w @ best, axis=0)
        assert residual.max() < 2e-3
        assert float(found.min()) >= 0


def test_concentrations_stay_bounded_where_two_stains_coincide() -> None:
    w = torch.tensor([[[0.6, 0.6], [0.7, 0.7], [0.387, 0.387001]]])
    v = torch.rand(1, 3, 200)
    h = solve(w / w.norm(dim=1, keepdim=True), v)
    assert torch.isfinite(h).all()
    assert float(h.max()) <= float(v.norm(dim=1).max()) + 1e-5


def test_stains_come_in_one_order_whatever_the_order_of_pixels(smear: np.ndarray) -> None:
    for mode in ("fast", "exact", "fused"):
        found = separate(batch(smear, smear[::-1, ::-1].copy()), StainConfig(mode=mode))
        assert found.names == ("nuclear", "cytoplasmic")
        torch.testing.assert_close(found.dictionary[0], found.dictionary[1], atol=0.03, rtol=0)


def nuclear_tells_nuclei(found: Separation, nucleus: np.ndarray) -> bool:
    """Does the stain called nuclear rise most from the other stained pixels to the nuclei?"""
    assert found.concentrations is not None
    h = found.concentrations[0].numpy()
    stained = (h / found.scale[0].numpy()[:, None, None]).max(axis=0) > 0.3
    rise = h[:, nucleus].mean(axis=1) / h[:, stained & ~nucleus].mean(axis=1).clip(1e-6)
    return bool(rise[0] == rise.max())


@pytest.mark.parametrize("mode", ["fast", "fused", "exact"])
@pytest.mark.parametrize("look", ["giemsa_blue", "rapid_yellow", "wright_cream", "leishman_pink"])
def test_the_stain_called_nuclear_is_that_of_the_nuclei_in_every_lab(look: str, mode: str) -> None:
    for seed in (1, 2):
        config = SmearConfig(width_px=160, height_px=128, um_per_px=0.25, white_cells=4, seed=seed, look=look)
        drawn = make_smear(config)
        found = separate(drawn.image.pixels, StainConfig(mode=mode))
        assert nuclear_tells_nuclei(found, np.asarray(drawn.masks.nucleus) > 0)


@pytest.mark.realdata
@pytest.mark.parametrize(("lab", "least"), [("jtsc", 0.95), ("cellavision", 0.95)])
def test_the_nuclear_stain_of_real_cells_is_nearly_always_the_one_called_so(
    real_data: Path, lab: str, least: float
) -> None:
    right = []
    for path in sorted((real_data / lab / "images").glob("*.png"))[::4]:
        nucleus = np.asarray(Image.open(real_data / lab / "masks" / path.name)) == 2
        right.append(nuclear_tells_nuclei(separate(np.asarray(Image.open(path).convert("RGB"))), nucleus))
    assert len(right) >= 20
    assert np.mean(right) >= least


def test_an_image_measures_the_same_alone_and_in_a_batch(smear: np.ndarray) -> None:
    other = (255 - smear // 3).astype(np.uint8)
    together = measure(batch(smear, other))
    torch.testing.assert_close(together.dictionary[0], measure(batch(smear)).dictionary[0], atol=1e-4, rtol=0)


def test_bytes_and_floats_and_arrays_and_tensors_give_the_same_numbers(smear: np.ndarray) -> None:
    wanted = separate(smear).concentrations
    for images in (smear / 255, batch(smear), batch(smear).float() / 255, np.asfortranarray(smear)):
        torch.testing.assert_close(separate(images).concentrations, wanted, atol=1e-4, rtol=1e-3)


def test_the_callers_array_is_never_written_to(smear: np.ndarray) -> None:
    before = smear.copy()
    frozen = smear.copy()
    frozen.flags.writeable = False
    for mode in ("fast", "fused", "exact"):
        separate(smear, StainConfig(mode=mode))
        separate(frozen, StainConfig(mode=mode))
    optical_density(smear)
    np.testing.assert_array_equal(smear, before)


@pytest.mark.parametrize("as_float", [False, True])
def test_density_there_and_back_is_the_image_within_one_grey_level(as_float: bool) -> None:
    levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    density = optical_density(levels / 255 if as_float else levels)
    assert density.dtype == np.float32
    back = from_optical_density(density)
    assert np.abs(back.astype(int) - levels).max() <= 1
    tensor = from_optical_density(optical_density(batch(levels)), as_bytes=False)
    assert float((tensor * 255 - batch(levels)).abs().max()) <= 1.001


ODD = {
    "constant": np.full((40, 40, 3), 200, np.uint8),
    "white": np.full((40, 40, 3), 255, np.uint8),
    "black": np.zeros((40, 40, 3), np.uint8),
    "gray levels": np.arange(1600, dtype=np.uint32).reshape(40, 40, 1).repeat(3, 2).astype(np.uint8),
    "one pixel": np.full((1, 1, 3), 90, np.uint8),
    "one dot": np.pad(
        np.full((2, 2, 3), (90, 20, 120), np.uint8), ((19, 19), (19, 19), (0, 0)), constant_values=230
    ),
}
FLAGS = {
    "constant": "constant",
    "white": "constant",
    "black": "too dark",
    "gray levels": "no colour",
    "one pixel": "constant",
    "one dot": "no stain",
}


@pytest.mark.parametrize("mode", ["fast", "fused", "exact"])
@pytest.mark.parametrize("kind", sorted(ODD))
@pytest.mark.parametrize("stains", [2, 3])
def test_images_without_stain_give_a_flag_and_finite_numbers(kind: str, mode: str, stains: int) -> None:
    found = separate(ODD[kind], StainConfig(mode=mode, stains=stains))
    assert found.flags == (FLAGS[kind],)
    for tensor in (found.dictionary, found.background, found.scale, found.concentrations):
        assert torch.isfinite(tensor).all()
    torch.testing.assert_close(found.dictionary.norm(dim=1), torch.ones(1, stains))


def test_a_mask_limits_what_the_stains_are_learned_from(smear: np.ndarray) -> None:
    painted = smear.copy()
    painted[:40] = (20, 140, 30)  # green dye that is no stain of blood
    mask = np.ones(smear.shape[:2], bool)
    mask[:40] = False
    inside = measure(painted, mask=mask).dictionary
    clean = measure(smear, mask=mask).dictionary
    everything = measure(painted).dictionary
    assert (inside - clean).abs().max() < 0.06 < (everything - clean).abs().max()


def test_a_batch_of_512_goes_through() -> None:
    tile = np.array(
        make_smear(SmearConfig(width_px=48, height_px=48, white_cells=1, um_per_px=0.3)).image.pixels
    )
    found = separate(batch(tile).expand(512, -1, -1, -1))
    assert found.concentrations.shape == (512, 2, 48, 48)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((5, 5), np.uint8), "A gray image of shape (5, 5) has no stains to tell apart"),
        (np.zeros((5, 5, 1), np.uint8), "A gray image of shape (5, 5, 1)"),
        (np.zeros((5, 5, 4), np.uint8), "four channels, the last one alpha, perhaps; stains take three. Leave alpha out"),
        (torch.zeros(2, 4, 5, 5), "Leave alpha out: image[..., :3] of an array, image[:3] of a tensor."),
        (np.zeros((5, 5, 7), np.uint8), "channels come last (H x W x 3)"),
        (torch.zeros(5, 5, 3), "channels come first (3 x H x W)"),
        (np.zeros((0, 5, 3), np.uint8), "hold no pixel"),
        (np.full((5, 5, 3), 200.0), "values from 200 to 200; floats are light from 0 to 1. Divide by 255"),
        (np.full((5, 5, 3), np.nan), "values from nan to nan; floats are light from 0 to 1"),
        (np.full((5, 5, 3), -0.5), "values from -0.5 to -0.5"),
        (np.zeros((5, 5, 3), np.int32), "Images of torch.int32 are not accepted; give bytes 0..255 (uint8) or floats 0..1."),
    ],
)  # fmt: skip
def test_what_is_no_image_of_stains_is_refused_with_the_way_out(images: object, message: str) -> None:
    with pytest.raises(ImageError) as caught:
        separate(images)
    assert message in str(caught.value)


def test_masks_that_cannot_be_used_are_refused(smear: np.ndarray) -> None:
    with pytest.raises(ImageError, match="The mask of image 0 selects no pixel; a stain needs some"):
        measure(smear, mask=np.zeros(smear.shape[:2], bool))
    with pytest.raises(
        ImageError, match=r"The mask has shape \(1, 3, 3\); these images need \(1, 128, 160\)"
    ):
        measure(smear, mask=np.ones((3, 3), bool))
    with pytest.raises(ConfigError, match="A mask goes with mode 'fast', not 'exact'"):
        separate(smear, StainConfig(mode="exact"), mask=np.ones(smear.shape[:2], bool))


def test_importing_the_room_loads_no_torch() -> None:
    code = "import sys, napari_bloodcell.core.stain, napari_bloodcell.core.pipeline; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
