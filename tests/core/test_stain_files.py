"""Files, comparisons and commands; and a field analysed under other stains."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_bloodcell.cli import main
from napari_bloodcell.core.config import SmearConfig, TransferConfig
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.robustness import match_cells, robustness
from napari_bloodcell.core.stain.compare import compare, flatten
from napari_bloodcell.core.stain.files import measure_files, profile_from, transfer_files
from napari_bloodcell.core.stain.profile import distance, load_profile, profiles_of
from napari_bloodcell.core.synthetic import make_smear


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("labs")
    for look in ("giemsa_blue", "rapid_yellow"):
        (root / look / "images").mkdir(parents=True)
        for seed in (1, 2):
            config = SmearConfig(width_px=160, height_px=128, um_per_px=0.25, seed=seed, look=look)
            Image.fromarray(make_smear(config).image.pixels).save(root / look / "images" / f"{seed}.png")
    return root


def command(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["stain", *map(str, arguments)])
    return int(ended.value.code or 0)


def test_profile_measures_a_folder_and_writes_a_file_without_pixels(
    labs: Path, tmp_path: Path, capsys
) -> None:
    assert command("profile", labs / "giemsa_blue", "--out", tmp_path / "blue.json", "--name", "blue") == 0
    shown = capsys.readouterr().out
    assert "blue: 2 images, 40,960 pixels" in shown
    assert "nuclear: strength" in shown
    profile = load_profile(tmp_path / "blue.json")
    assert (profile.name, profile.images) == ("blue", 2)


def test_transfer_writes_copies_and_leaves_the_originals(labs: Path, tmp_path: Path) -> None:
    before = (labs / "giemsa_blue" / "images" / "1.png").read_bytes()
    assert command("transfer", labs / "giemsa_blue", "--to", labs / "rapid_yellow", "--out", tmp_path) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.png", "2.png"]
    assert (labs / "giemsa_blue" / "images" / "1.png").read_bytes() == before
    goal = profile_from(labs / "rapid_yellow")
    start = measure_files([labs / "giemsa_blue"])[0]
    assert distance(measure_files([tmp_path])[0], goal) < 0.5 * distance(start, goal)


def test_originals_are_never_overwritten_and_equal_names_get_a_number(labs: Path, tmp_path: Path) -> None:
    goal = profile_from(labs / "rapid_yellow")
    folder = labs / "giemsa_blue" / "images"
    with pytest.raises(DataError, match="would be overwritten by its own copy. Choose another folder"):
        transfer_files([folder], goal, folder)
    written = transfer_files([labs], goal, tmp_path)
    assert [path.name for path in written] == ["1.png", "2.png", "1-2.png", "2-2.png"]


def test_augment_writes_the_same_views_for_the_same_seed(labs: Path, tmp_path: Path, capsys) -> None:
    for folder in ("a", "b"):
        assert (
            command("augment", labs, "--out", tmp_path / folder, "--views", 2, "--clusters", 2, "--seed", 3)
            == 0
        )
    assert "8 views in" in capsys.readouterr().out
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names[:2] == ["1-2-view1.png", "1-2-view2.png"]
    assert all((tmp_path / "a" / n).read_bytes() == (tmp_path / "b" / n).read_bytes() for n in names)
    assert command("augment", labs / "giemsa_blue", "--out", tmp_path / "c", "--clusters", 3) == 1
    assert "2 images of the size of" in (said := capsys.readouterr().err)
    assert "cannot make 3 groups of stains" in said


def test_augment_looks_at_all_batches_before_it_writes(labs: Path, tmp_path: Path, capsys) -> None:
    Image.new("RGB", (40, 50), (230, 225, 235)).save(tmp_path / "alone.png")
    out = tmp_path / "out"
    assert command("augment", labs, tmp_path / "alone.png", "--out", out, "--clusters", 2) == 1
    assert "1 image of the size of alone cannot make 2 groups" in capsys.readouterr().err
    assert not out.exists()


def test_compare_draws_points_matrix_and_strip_and_names_labs_apart(
    labs: Path, tmp_path: Path, capsys
) -> None:
    places = [labs / look / "images" for look in ("giemsa_blue", "rapid_yellow")]
    assert command("compare", *places, "--out", tmp_path / "stains.png") == 0
    shown = capsys.readouterr().out
    assert "giemsa_blue/images" in shown
    assert "groups of stain found without the labs' names: 2" in shown
    picture = np.asarray(Image.open(tmp_path / "stains.png").convert("RGB"))
    assert picture.shape[0] > 800
    assert picture.std() > 20


def test_a_comparison_without_a_name_does_not_take_the_place_of_another(
    labs: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    profiles = [tmp_path / f"{look}.json" for look in ("giemsa_blue", "rapid_yellow")]
    for path in profiles:
        profile_from(labs / path.stem).save(path)
    monkeypatch.chdir(tmp_path)
    assert command("compare", *profiles) == 0
    assert str(tmp_path / "stains.png") in capsys.readouterr().out
    (tmp_path / "stains.png").write_bytes(b"the first")
    assert command("compare", *profiles) == 1
    assert f"{tmp_path / 'stains.png'} is there already" in capsys.readouterr().err
    assert (tmp_path / "stains.png").read_bytes() == b"the first"
    assert command("compare", *profiles, "--out", "stains.png") == 0, "who names it means it"
    assert (tmp_path / "stains.png").read_bytes() != b"the first"


def test_saved_profiles_are_compared_without_images(labs: Path, tmp_path: Path) -> None:
    for look in ("giemsa_blue", "rapid_yellow"):
        profile_from(labs / look).save(tmp_path / f"{look}.json")
    comparison = compare(sorted(tmp_path.glob("*.json")))
    assert comparison.samples == (None, None)
    assert comparison.between[0, 1] > 5
    assert command("compare", *sorted(tmp_path.glob("*.json")), "--out", tmp_path / "x.png") == 0
    with pytest.raises(DataError, match="Comparing takes at least two labs; 1 was given"):
        compare([labs])


def test_the_plane_keeps_distances_of_points_that_lie_in_one() -> None:
    points = np.zeros((3, 5), np.float32)
    points[1, 3], points[2, 4] = 3, 4
    flat = flatten(points)
    assert np.linalg.norm(flat[1] - flat[2]) == pytest.approx(5, rel=1e-5)
    assert flatten(np.ones((1, 5), np.float32)).tolist() == [[0, 0]]


def test_cells_are_matched_by_overlap() -> None:
    first, second = np.zeros((6, 8), np.int32), np.zeros((6, 8), np.int32)
    first[0:2, 0:4], first[4:6, 0:4], first[0:2, 6:8] = 1, 2, 5
    second[0:2, 1:5], second[4:6, 0:4] = 7, 3
    partners, scores = match_cells(first, second, np.array([1, 2, 5]))
    assert partners == [7, 3, 0]
    np.testing.assert_allclose(scores, [6 / 10, 1, 0], rtol=1e-6)
    assert match_cells(first, np.zeros_like(second), np.array([1]))[0] == [0]


def test_a_field_under_its_own_stain_keeps_its_cells(tmp_path: Path) -> None:
    field = make_smear(
        SmearConfig(width_px=320, height_px=240, um_per_px=0.16, white_cells=3, seed=2)
    ).image.pixels
    own = profiles_of(field, names=["own"])[0]
    result = robustness(np.array(field), [own, own])
    assert len(result.analysis.masks) > 0
    assert result.kept_outline.all()
    assert (result.stability() > 0.9).mean() > 0.5
    table = result.table()
    assert list(table["cell_id"]) == list(result.analysis.masks.cell_id)
    assert {"stability", "kept_outline", "kept_class", "own: overlap"} <= set(table.columns)
    result.save(tmp_path / "cells.csv")
    assert (tmp_path / "cells.csv").read_text().startswith("image,cell_id,cell_type,stability")
    with pytest.raises(DataError, match="No stain profile to try was given"):
        robustness(np.array(field), [])


def test_a_field_without_cells_is_a_valid_answer(labs: Path) -> None:
    result = robustness(
        np.full((64, 64, 3), (230, 220, 240), np.uint8), [profile_from(labs / "rapid_yellow")]
    )
    assert len(result.stability()) == 0
    assert "Cells: 0, other stains: 1" in result.text()
    assert len(result.table()) == 0


def test_robustness_on_the_command_line(labs: Path, tmp_path: Path, capsys) -> None:
    field = tmp_path / "field.png"
    Image.fromarray(
        make_smear(SmearConfig(width_px=320, height_px=240, um_per_px=0.16, seed=2)).image.pixels
    ).save(field)
    places = ["--profiles", labs / "giemsa_blue", "--profiles", labs / "rapid_yellow"]
    assert command("robustness", field, *places, "--out", tmp_path / "r.csv", "--strength", 0.5) == 0
    shown = capsys.readouterr().out
    assert "giemsa_blue:" in shown
    assert "keep their outline" in shown
    assert (tmp_path / "r.csv").is_file()


@pytest.mark.realdata
def test_profiles_tell_three_real_labs_apart_and_transfer_brings_them_together(real_data: Path) -> None:
    """The whole figures are in ``benchmarks/stain.py``; this holds a part of them."""
    from skimage.metrics import structural_similarity
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.neighbors import KNeighborsClassifier

    from napari_bloodcell.core.stain.cluster import cluster
    from napari_bloodcell.core.stain.profile import average
    from napari_bloodcell.core.stain.transfer import transfer

    images, profiles = [], []
    for place in ("jtsc/images", "cellavision/images", "bccd/fields"):
        paths = sorted(p for p in (real_data / place).iterdir() if p.suffix in (".png", ".jpg"))
        paths = [paths[i] for i in np.linspace(0, len(paths) - 1, 40).astype(int)]
        images.append([np.asarray(Image.open(path).convert("RGB")) for path in paths])
        profiles.append(profiles_of(images[-1]))
    points = np.stack([p.vector() for own in profiles for p in own])
    truth = np.repeat([0, 1, 2], 40)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    assert cross_val_score(KNeighborsClassifier(5), points, truth, cv=folds).mean() >= 0.97
    labels = cluster([p for own in profiles for p in own]).labels
    assert sum(np.bincount(truth[labels == g]).max() for g in range(labels.max() + 1)) / 120 >= 0.95
    for source in range(3):
        for goal in {0, 1, 2} - {source}:
            mean = average(profiles[goal])
            before, after, kept = [], [], []
            for i in range(0, 40, 3):
                done = transfer(images[source][i], mean, TransferConfig())
                before.append(distance(profiles[source][i], mean))
                after.append(distance(profiles_of(done)[0], mean))
                a, b = (p.astype(float).mean(2) for p in (images[source][i], done))
                a, b = (a - a.mean()) / a.std(), (b - b.mean()) / b.std()
                kept.append(structural_similarity(a, b, data_range=a.max() - a.min()))
            assert 1 - np.mean(after) / np.mean(before) >= 0.7
            assert np.mean(kept) >= 0.85
