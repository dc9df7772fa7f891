"""Profiles and their groups: what is measured, saved, averaged, told apart."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_bloodcell.core.config import ClusterConfig, SmearConfig, StainConfig
from napari_bloodcell.core.errors import ArtifactError, BloodcellError, DataError
from napari_bloodcell.core.stain.cluster import cluster, kmeans
from napari_bloodcell.core.stain.profile import (
    StainProfile,
    average,
    distance,
    distances,
    load_profile,
    profiles_of,
)
from napari_bloodcell.core.synthetic import make_smear


def smear(look: str, seed: int = 1) -> np.ndarray:
    config = SmearConfig(width_px=160, height_px=128, um_per_px=0.25, white_cells=4, seed=seed, look=look)
    return np.array(make_smear(config).image.pixels)


def some(background: tuple[float, float, float], scale: float = 1.0, **more: object) -> StainProfile:
    dictionary = np.array([[0.6, 0.2], [0.7, 0.9], [0.387, 0.387]])
    return StainProfile(
        dictionary=dictionary, background=np.array(background), scale=np.full(2, scale), **more
    )


def test_a_profile_survives_its_file(tmp_path: Path) -> None:
    profile = profiles_of(smear("giemsa_blue"), names=["lab A"])[0]
    profile.save(tmp_path / "a.json")
    again = load_profile(tmp_path / "a.json")
    assert (again.name, again.pixels, again.images, again.flag) == ("lab A", 160 * 128, 1, "")
    assert distance(profile, again) < 1e-3
    assert (tmp_path / "a.json").stat().st_size < 4000


def test_profiles_of_another_version_format_or_count_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    some((0.1, 0.1, 0.1)).save(path)
    content = json.loads(path.read_text())
    newer = tmp_path / "newer.json"
    newer.write_text(json.dumps(content | {"header": content["header"] | {"version": 2}}))
    with pytest.raises(
        ArtifactError, match=r"stain-profile version 2; this release reads up to 1. Install napari-bloodcell"
    ):
        load_profile(newer)
    edited = tmp_path / "edited.json"
    edited.write_text(json.dumps(content | {"scale": [2.0, 2.0]}))
    with pytest.raises(ArtifactError, match="was changed after it was written"):
        load_profile(edited)
    three = profiles_of(smear("giemsa_blue"), StainConfig(stains=3))[0]
    with pytest.raises(
        DataError,
        match=r"Profiles of 2 and of 3 stains cannot be compared. Measure all of them with the same",
    ):
        distance(three, some((0, 0, 0)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": [0.0, 1.0]}, "holds numbers no stain can have"),
        ({"dictionary": [[1.0], [0.0], [0.0]], "scale": [1.0]}, "holds 1 stains; a profile has 2 or 3"),
        ({"scale": None}, "is no complete stain profile"),
    ],
)
def test_a_profile_file_of_nonsense_is_refused(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    from napari_bloodcell.core.artifact import write_json

    body = {
        "name": "", "dictionary": [[0.6, 0.2], [0.7, 0.9], [0.4, 0.4]], "background": [0, 0, 0],
        "scale": [1.0, 1.0], "pixels": 1, "images": 1, "flag": "",
    }  # fmt: skip
    write_json(tmp_path / "odd.json", "stain-profile", body | change)
    with pytest.raises(ArtifactError, match=message):
        load_profile(tmp_path / "odd.json")


def test_the_mean_counts_images_and_leaves_out_those_without_stain() -> None:
    blank = some((0.9, 0.9, 0.9), flag="no stain")
    mean = average([some((0.0, 0, 0), images=3), some((0.4, 0, 0)), blank], name="slide")
    assert mean.images == 5
    assert mean.flag == ""
    np.testing.assert_allclose(mean.background, [0.1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(mean.dictionary, axis=0), 1, rtol=1e-5)
    assert average([blank]).flag == "no stain"
    with pytest.raises(DataError, match="The mean of no profiles"):
        average([])


def test_distance_is_zero_to_itself_symmetric_and_grows_with_the_difference() -> None:
    a, b, c = some((0.0, 0, 0)), some((0.1, 0, 0)), some((0.3, 0, 0), scale=2)
    assert distance(a, a) == 0
    assert distance(a, b) == distance(b, a)
    assert 0 < distance(a, b) < distance(a, c)
    matrix = distances([a, b, c])
    assert matrix[0, 2] == pytest.approx(distance(a, c))


def exchanged(profile: StainProfile) -> StainProfile:
    return replace(profile, dictionary=profile.dictionary[:, ::-1], scale=profile.scale[::-1])


def test_profiles_that_differ_only_in_which_stain_is_called_nuclear_are_the_same_stain() -> None:
    one = replace(some((0.1, 0.1, 0.1)), scale=np.array([1.0, 2.0]))
    assert distance(one, exchanged(one)) == 0
    assert len(cluster([one, exchanged(one)] * 4)) == 1


def test_the_mean_pairs_stains_by_colour_and_calls_nuclear_what_most_images_do() -> None:
    one = replace(some((0.1, 0.1, 0.1)), scale=np.array([1.0, 2.0]))
    for most, few in ((one, exchanged(one)), (exchanged(one), one)):
        mean = average([few, most, most])
        np.testing.assert_allclose(mean.dictionary, most.dictionary, atol=1e-3)
        np.testing.assert_allclose(mean.scale, most.scale, rtol=1e-4)


def test_fields_of_one_look_are_nearer_than_fields_of_two() -> None:
    blue = [profiles_of(smear("giemsa_blue", seed))[0] for seed in (1, 2)]
    yellow = [profiles_of(smear("rapid_yellow", seed))[0] for seed in (1, 2)]
    within = max(distance(*blue), distance(*yellow))
    assert within < 0.5 * min(distance(b, y) for b in blue for y in yellow)


def test_a_list_of_images_of_any_size_gives_one_profile_each() -> None:
    images = [smear("giemsa_blue"), smear("giemsa_blue")[:90, :100]]
    assert [p.pixels for p in profiles_of(images)] == [160 * 128, 90 * 100]


def clouds(counts: tuple[int, ...], apart: float = 0.5) -> list[StainProfile]:
    rng = np.random.default_rng(0)
    return [
        some((apart * c, 0.1, 0.1 + rng.normal(0, 0.01)), scale=float(np.exp(rng.normal(0, 0.1))))
        for c, count in enumerate(counts)
        for _ in range(count)
    ]


def test_groups_are_found_without_being_told_how_many() -> None:
    found = cluster(clouds((12, 8, 5)))
    assert np.bincount(found.labels).tolist() == [12, 8, 5]
    assert [c.images for c in found.centres] == [12, 8, 5]
    assert len(cluster(clouds((20,)))) == 1


def test_identical_images_end_in_one_group_and_k_means_ends() -> None:
    same = [some((0.1, 0.1, 0.1))] * 6
    assert len(cluster(same, ClusterConfig(clusters=3))) == 1
    assert len(cluster(same)) == 1
    labels, centres = kmeans(np.zeros((5, 2)), 3, ClusterConfig())
    assert labels.tolist() == [0] * 5
    assert np.isfinite(centres).all()


def test_the_same_seed_gives_the_same_groups() -> None:
    profiles = clouds((9, 9, 9), apart=0.02)
    one, two = (cluster(profiles, ClusterConfig(clusters=3, seed=5)).labels for _ in range(2))
    assert one.tolist() == two.tolist()


def test_two_images_cannot_make_three_groups() -> None:
    with pytest.raises(
        DataError, match=r"2 images cannot make 3 groups of stains. Give at least 3 images, or ask for fewer"
    ):
        cluster(clouds((1, 1)), ClusterConfig(clusters=3))
    with pytest.raises(BloodcellError, match="Groups of no profiles"):
        cluster([])
