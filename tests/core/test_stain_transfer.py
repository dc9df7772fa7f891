"""Transfer, augmentation, normalisation: what must stay, what must move."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_bloodcell.core.config import SmearConfig, StainAugmentConfig, StainConfig, TransferConfig
from napari_bloodcell.core.errors import DataError, ImageError
from napari_bloodcell.core.stain.augment import augment
from napari_bloodcell.core.stain.normalise import macenko, normalise, reinhard
from napari_bloodcell.core.stain.profile import StainProfile, distance, profiles_of
from napari_bloodcell.core.stain.transfer import transfer
from napari_bloodcell.core.synthetic import make_smear

LOOKS = ("giemsa_blue", "rapid_yellow", "wright_cream", "leishman_pink")


def smear(look: str, seed: int = 1) -> np.ndarray:
    config = SmearConfig(width_px=160, height_px=128, um_per_px=0.25, white_cells=4, seed=seed, look=look)
    return np.array(make_smear(config).image.pixels)


@pytest.fixture(scope="module")
def smears() -> dict[str, np.ndarray]:
    return {look: smear(look) for look in LOOKS}


@pytest.fixture(scope="module")
def batch(smears: dict[str, np.ndarray]) -> torch.Tensor:
    return (
        torch.from_numpy(np.stack([smears[look] for look in LOOKS for _ in (0, 1)]))
        .movedim(-1, 1)
        .contiguous()
    )


def levels_apart(one: object, other: object) -> int:
    return int(np.abs(np.asarray(one).astype(int) - np.asarray(other).astype(int)).max())


@pytest.mark.parametrize("stains", [2, 3])
@pytest.mark.parametrize("look", LOOKS)
def test_transfer_to_its_own_profile_is_the_image_within_one_grey_level(
    smears, look: str, stains: int
) -> None:
    own = profiles_of(smears[look], StainConfig(stains=stains))[0]
    assert levels_apart(transfer(smears[look], own), smears[look]) <= 1
    assert levels_apart(transfer(smears[look], own, source=own), smears[look]) <= 1


def test_no_strength_is_no_change_and_more_strength_comes_nearer(smears) -> None:
    image, goal = smears["giemsa_blue"], profiles_of(smears["rapid_yellow"])[0]
    gaps = []
    for strength in (0.0, 0.5, 1.0):
        restained = transfer(image, goal, TransferConfig(strength=strength))
        gaps.append(distance(profiles_of(restained)[0], goal))
        if strength == 0:
            assert levels_apart(restained, image) <= 1
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 0.4 * gaps[0]


@pytest.mark.parametrize("stains", [2, 3])
def test_stains_are_paired_by_colour_whatever_their_names(smears, stains: int) -> None:
    image, config = smears["giemsa_blue"], StainConfig(stains=stains)
    own, goal = (profiles_of(smears[look], config)[0] for look in ("giemsa_blue", "rapid_yellow"))
    turned = replace(goal, dictionary=goal.dictionary[:, ::-1], scale=goal.scale[::-1])
    assert levels_apart(transfer(image, goal, source=own), transfer(image, turned, source=own)) <= 1


@pytest.mark.parametrize("goal", ["rapid_yellow", "wright_cream", "leishman_pink"])
def test_nuclei_take_the_colour_nuclei_have_in_the_other_lab(goal: str) -> None:
    def drawn(look: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
        config = SmearConfig(width_px=160, height_px=128, um_per_px=0.25, white_cells=4, seed=seed, look=look)
        made = make_smear(config)
        return np.array(made.image.pixels), np.asarray(made.masks.nucleus) > 0

    (image, nuclei), (other, its_nuclei) = drawn("giemsa_blue", 1), drawn(goal, 2)
    wanted, plain = other[its_nuclei].mean(0), other[~its_nuclei].mean(0)
    restained = transfer(image, profiles_of(other)[0])[nuclei].mean(0)
    assert np.linalg.norm(restained - wanted) < 0.5 * np.linalg.norm(restained - plain)


def test_transfer_keeps_form_and_never_writes_to_the_image(smears) -> None:
    image, goal = smears["giemsa_blue"], profiles_of(smears["leishman_pink"])[0]
    before = image.copy()
    wanted = transfer(image, goal)
    assert (wanted.shape, wanted.dtype) == (image.shape, np.uint8)
    tensor = torch.from_numpy(image).movedim(-1, 0).contiguous()
    assert levels_apart(transfer(tensor, goal).movedim(0, -1), wanted) <= 1
    floats = transfer(tensor[None].float() / 255, goal)
    assert floats.dtype == torch.float32
    assert levels_apart((floats[0] * 255).round().movedim(0, -1), wanted) <= 1
    np.testing.assert_array_equal(image, before)


def test_stains_that_nearly_coincide_do_not_blow_up(smears) -> None:
    image, goal = smears["giemsa_blue"], profiles_of(smears["rapid_yellow"])[0]
    column = np.array([0.6, 0.7, 0.387])
    for angle in (0.0, 1e-6, 1e-3):
        pair = np.stack([column, column + np.array([0, angle, -angle])], 1)
        narrow = StainProfile(
            dictionary=pair / np.linalg.norm(pair, axis=0),
            background=np.array([0.2, 0.2, 0.2]),
            scale=np.ones(2),
        )
        assert levels_apart(transfer(image, narrow, source=narrow), image) <= 1
        away = transfer(image, goal, source=narrow).astype(int)
        # Neighbouring pixels of like colour stay of like colour.
        close = np.abs(np.diff(image.astype(int), axis=1)).max(axis=2) <= 1
        assert np.abs(np.diff(away, axis=1)).max(axis=2)[close].max() <= 24


def test_an_image_without_stain_takes_the_ground_and_no_noise(smears) -> None:
    goal = profiles_of(smears["rapid_yellow"])[0]
    blank = np.full((30, 30, 3), (225, 230, 228), np.uint8)
    restained = transfer(blank, goal)
    assert levels_apart(restained, restained[:1, :1]) <= 1
    assert levels_apart(restained[0, 0], np.rint(255 * np.exp(-goal.background))) <= 2


def test_profiles_of_other_stain_counts_are_refused(smears) -> None:
    two = profiles_of(smears["giemsa_blue"])[0]
    three = profiles_of(smears["giemsa_blue"], StainConfig(stains=3))[0]
    with pytest.raises(DataError, match="A profile of 2 stains cannot become one of 3"):
        transfer(smears["giemsa_blue"], three, source=two)


def test_views_take_the_stain_of_other_groups_and_keep_the_geometry(batch: torch.Tensor) -> None:
    views = augment(batch, StainAugmentConfig(views=3, clusters=4), generator=1)
    assert views.shape == (3, *batch.shape)
    assert views.dtype == torch.uint8
    mean, restained = batch.float().mean(1).flatten(1), views.float().mean(2).flatten(2)
    for view in range(3):
        for i in range(len(batch)):
            assert levels_apart(views[view, i], batch[i]) > 8
            assert np.corrcoef(mean[i], restained[view, i])[0, 1] > 0.85


@pytest.mark.parametrize("kind", ["sada", "random"])
def test_views_repeat_from_the_same_generator_state_and_differ_from_another(
    batch: torch.Tensor, kind: str
) -> None:
    config = StainAugmentConfig(kind=kind)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    one = augment(batch, config, generator=torch.Generator().manual_seed(7))
    two = augment(batch, config, generator=7)
    three = augment(batch, config, generator=8)
    assert torch.equal(one, two)
    assert not torch.equal(one, three)
    assert torch.equal(state, torch.get_rng_state())  # the global generator is left alone


def test_random_views_stay_near_the_profiles_they_are_drawn_from(smears, batch: torch.Tensor) -> None:
    yellow = profiles_of(smears["rapid_yellow"])[0]
    known = [profiles_of(smear("leishman_pink", seed))[0] for seed in (1, 2, 3, 4)]
    views = augment(batch[2:4], StainAugmentConfig(kind="random", views=3), profiles=known)
    gaps = [min(distance(p, k) for k in known) for view in views for p in profiles_of(view)]
    assert np.mean(gaps) < 0.6 * min(distance(yellow, k) for k in known)
    narrow = augment(batch[2:4], StainAugmentConfig(kind="random", spread=0), profiles=known)
    assert torch.equal(narrow[0], narrow[1])  # no spread: the mean profile each time


def test_views_of_arrays_are_arrays(smears) -> None:
    images = np.stack([smears[look] for look in LOOKS])
    views = augment(images, StainAugmentConfig(views=2))
    assert (views.shape, views.dtype) == ((2, *images.shape), np.uint8)
    assert augment(images / 255, StainAugmentConfig(views=1)).max() <= 1


def test_identical_images_have_no_other_stain_and_stay_as_they_are(batch: torch.Tensor) -> None:
    views = augment(batch[:1].expand(4, -1, -1, -1), StainAugmentConfig())
    assert levels_apart(views[0, 0], batch[0]) <= 1


def test_too_few_images_or_profiles_are_refused(batch: torch.Tensor, smears) -> None:
    with pytest.raises(
        DataError, match="2 images cannot make 3 groups of stains. Give batches of at least 3 images"
    ):
        augment(batch[:2])
    with pytest.raises(
        DataError, match="drawn from the spread of profiles, and there is 1. Give the profiles of at least"
    ):
        augment(batch, StainAugmentConfig(kind="random"), profiles=profiles_of(smears["giemsa_blue"]))


@pytest.mark.parametrize("method", ["reinhard", "macenko", "vahadane"])
def test_normalised_images_look_more_like_the_reference(smears, method: str) -> None:
    image, reference = smears["giemsa_blue"], smears["leishman_pink"]
    done = normalise(image, reference, method)
    assert (done.shape, done.dtype) == (image.shape, np.uint8)
    gap = np.abs(image.mean((0, 1)) - reference.mean((0, 1))).sum()
    assert np.abs(done.mean((0, 1)) - reference.mean((0, 1))).sum() < 0.7 * gap


def test_vahadane_takes_a_profile_and_the_others_say_that_they_do_not(smears) -> None:
    goal = profiles_of(smears["leishman_pink"])[0]
    assert normalise(smears["giemsa_blue"], goal).shape == smears["giemsa_blue"].shape
    with pytest.raises(ImageError, match="macenko needs a reference image; a stain profile was given"):
        normalise(smears["giemsa_blue"], goal, "macenko")
    with pytest.raises(ImageError, match="Macenko finds 0 stained pixels in the image; it needs 16"):
        normalise(np.full((9, 9, 3), 250, np.uint8), smears["giemsa_blue"], "macenko")
    with pytest.raises(
        ImageError, match="Unknown normalisation 'khan'. Accepted: reinhard, macenko, vahadane"
    ):
        normalise(smears["giemsa_blue"], goal, "khan")


@pytest.mark.parametrize("look", ["giemsa_blue", "wright_cream"])
def test_reinhard_and_macenko_agree_with_torchstain(smears, look: str) -> None:
    torchstain = pytest.importorskip("torchstain", reason="torchstain is not installed")
    image, reference = smears[look], smears["leishman_pink"]
    theirs = torchstain.normalizers.ReinhardNormalizer(backend="numpy")
    theirs.fit(reference)
    gap = np.abs(theirs.normalize(image).astype(int) - reinhard(image, reference))
    assert gap.max() <= 3  # they cut decimals off, we round; and their white point has fewer digits
    theirs = torchstain.normalizers.MacenkoNormalizer(backend="numpy")
    theirs.fit(reference)
    gap = np.abs(theirs.normalize(image, stains=False)[0].astype(int) - macenko(image, reference))
    assert gap.max() <= 1
