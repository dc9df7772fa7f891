"""Adapting by stain transfer: tried like the other updates, kept only if better, the same wherever it is applied."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from napari_bloodcell.core.adapt import Field, adapt, adapt_to_fields, restain_cells
from napari_bloodcell.core.adapt.bundles import save_adapted, undo
from napari_bloodcell.core.adapt.files import adapt_on_tables
from napari_bloodcell.core.adapt.of_fields import restain_of_fields
from napari_bloodcell.core.adapt.restaining import Restained, restain_of_results
from napari_bloodcell.core.bundle import Bundle, load_bundle, pack_bundle, save_bundle
from napari_bloodcell.core.bundle.describe import describe
from napari_bloodcell.core.cell_tables import Correction, read_cells, write_corrections
from napari_bloodcell.core.classify import Classifier, fit
from napari_bloodcell.core.config import AdaptConfig, AnalyseConfig, ClassifierConfig, ReadConfig, SmearConfig
from napari_bloodcell.core.crop import crop
from napari_bloodcell.core.embed.choose import find_embedder
from napari_bloodcell.core.embed.measurements import MeasurementEmbedder
from napari_bloodcell.core.embed.restained import VERSION, RestainedEmbedder, restained
from napari_bloodcell.core.errors import ArtifactError, ClassifyError
from napari_bloodcell.core.pipeline import analyse
from napari_bloodcell.core.records import Embeddings
from napari_bloodcell.core.segment import StainSegmenter
from napari_bloodcell.core.stain.profile import StainProfile, profiles_of
from napari_bloodcell.core.store import write_analysis
from napari_bloodcell.core.synthetic import make_smear

EMBEDDER = MeasurementEmbedder()
READ = AnalyseConfig(read=ReadConfig(um_per_px=0.1))
NAMES = np.array(["eosinophil", "lymphocyte", "monocyte"])
NUMBERS = [[252, 255, 255], [148, 113, 186], [210, 151, 207], [87, 83, 154]]  # of VERSION


def smear(look: str, seed: int = 3) -> Any:
    return make_smear(
        SmearConfig(width_px=360, height_px=300, um_per_px=0.1, white_cells=3, seed=seed, look=look)  # type: ignore[arg-type]
    )


def profile_of(look: str, name: str) -> StainProfile:
    return replace(profiles_of(np.array(smear(look).image.pixels))[0], name=name)


@pytest.fixture(scope="module")
def stains() -> tuple[StainProfile, StainProfile]:
    return profile_of("giemsa_blue", "home"), profile_of("leishman_pink", "pink")


def vectors(count: int, seed: int, *, mixed_up: bool = False) -> tuple[Embeddings, np.ndarray]:
    """Three classes; mixed up, each lies where another one did."""
    rng = np.random.default_rng(seed)
    truths = rng.choice(3, count)
    centres = np.random.default_rng(1).normal(0, 1.2, (3, len(EMBEDDER.names)))
    values = centres[(truths + mixed_up) % 3] + rng.normal(0, 1, (count, centres.shape[1]))
    cells = Embeddings(
        cell_id=np.arange(count) + 4, values=values, names=EMBEDDER.names, embedder=EMBEDDER.hash
    )
    return cells, NAMES[truths]


@pytest.fixture(scope="module")
def home() -> Classifier:
    cells, labels = vectors(150, 0)
    config = ClassifierConfig(strength=0.1, iterations=60, folds=2)
    return fit(cells, list(labels), config, labs=["a"] * 75 + ["b"] * 75)


def bundle_in(folder: Path, classifier: Classifier, *stains: StainProfile) -> Bundle:
    save_bundle(
        folder,
        title="made for a test",
        segmenter=StainSegmenter(),
        embedder=EMBEDDER,
        classifier=classifier,
        scores={},
        card="# home\n",
        stains=stains,
    )
    return load_bundle(folder)


def as_restained(
    values: Embeddings, rows: np.ndarray, stains: tuple[StainProfile, StainProfile]
) -> Restained:
    embedder = RestainedEmbedder(inside=EMBEDDER, source=stains[1], target=stains[0])
    cells = replace(values, cell_id=values.cell_id[rows], values=values.values[rows], embedder=embedder.hash)
    return Restained(cells=cells, embedder=embedder)


# The picture


def test_cells_restained_to_their_own_stain_stay_as_they_are(
    stains: tuple[StainProfile, StainProfile],
) -> None:
    one = smear("giemsa_blue")
    crops = crop(one.image, one.masks)
    same = replace(stains[0], background=np.log(255 / crops.ground_rgb[0]))
    again = restained(crops, same, same)
    assert np.abs(again.pixels.astype(int) - crops.pixels).mean() < 1
    np.testing.assert_allclose(again.ground_rgb, crops.ground_rgb, atol=0.01)
    np.testing.assert_array_equal(again.parts, crops.parts)


def test_restained_cells_lie_nearer_to_the_other_labs_colours(
    stains: tuple[StainProfile, StainProfile],
) -> None:
    """The same cells are drawn in both stains: restained ones must look like their twins."""
    home_cells, pink_cells = (crop(s.image, s.masks) for s in (smear("giemsa_blue"), smear("leishman_pink")))
    np.testing.assert_array_equal(home_cells.parts, pink_cells.parts)
    shown = restained(pink_cells, stains[1], stains[0])
    inside = pink_cells.parts > 0
    before, after = (
        np.abs(pixels[inside].astype(float) - home_cells.pixels[inside]).mean()
        for pixels in (pink_cells.pixels, shown.pixels)
    )
    assert after < 0.7 * before


def test_numbers_that_change_raise_the_version(stains: tuple[StainProfile, StainProfile]) -> None:
    """Vectors are kept by the embedder's hash: those of another transfer must not be taken for these. Where this
    fails, raise VERSION in ``embed/restained.py`` and write down the new numbers."""
    source = StainProfile(
        dictionary=np.array([[0.6, 0.2], [0.75, 0.9], [0.28, 0.38]]) / [1.0003, 0.9972],
        background=np.array([0.05, 0.08, 0.06]),
        scale=np.array([1.0, 0.8]),
    )
    target = StainProfile(
        dictionary=np.array([[0.7, 0.25], [0.65, 0.9], [0.3, 0.35]]) / [1.0012, 0.9975],
        background=np.array([0.1, 0.05, 0.04]),
        scale=np.array([0.7, 1.1]),
    )
    colours = np.array([[230, 220, 225], [120, 80, 150], [190, 130, 170], [60, 40, 110]], np.uint8)
    one = smear("giemsa_blue")
    cells = crop(one.image, one.masks)
    size = cells.pixels.shape[1]
    pixels = np.repeat(np.repeat(colours.reshape(2, 2, 3), size // 2, 0), size // 2, 1)
    shown = restained(replace(cells, pixels=np.stack([pixels] * len(cells))), source, target).pixels[0]
    seen = shown[:: size // 2, :: size // 2].reshape(4, 3).astype(int)
    assert VERSION == 2
    np.testing.assert_allclose(seen, NUMBERS, atol=1)


# Judging


def test_restaining_is_kept_where_it_makes_corrected_cells_right(
    home: Classifier, stains: tuple[StainProfile, StainProfile]
) -> None:
    cells, labels = vectors(60, 5, mixed_up=True)
    right, _ = vectors(60, 5)
    rows = np.arange(30)
    given = [str(name) if row in rows else "" for row, name in enumerate(labels)]
    done = adapt(home, cells, given, lab="pink", restained=as_restained(right, rows, stains))
    assert done.kept.startswith("stain of home")
    assert done.restained is not None
    assert done.classifier.embedder == done.restained.embedder.hash != home.embedder
    assert done.before.embedder == home.embedder
    assert "stain of home, refit" in done.text()
    answers = done.classifier.predict(replace(right, embedder=done.classifier.embedder)).top(0)[0]
    assert np.mean(answers == labels) > 0.9


def test_restaining_that_mixes_classes_up_is_not_kept(
    home: Classifier, stains: tuple[StainProfile, StainProfile]
) -> None:
    cells, labels = vectors(60, 5)
    wrong, _ = vectors(60, 5, mixed_up=True)
    rows = np.arange(20)
    given = [str(name) if row in rows else "" for row, name in enumerate(labels)]
    done = adapt(home, cells, given, AdaptConfig(), restained=as_restained(wrong, rows, stains))
    assert "stain of home" not in done.kept
    assert done.restained is None
    assert done.classifier.embedder == home.embedder


def test_a_corrected_cell_that_was_not_restained_is_refused(
    home: Classifier, stains: tuple[StainProfile, StainProfile]
) -> None:
    cells, labels = vectors(30, 5)
    half = as_restained(cells, np.arange(5), stains)
    with pytest.raises(ClassifyError, match="Cell 9 is corrected, but not among the restained ones"):
        adapt(home, cells, [str(name) for name in labels], restained=half)


def test_there_is_nothing_to_try_without_a_known_stain_or_twice(
    home: Classifier, stains: tuple[StainProfile, StainProfile], tmp_path: Path
) -> None:
    one = smear("leishman_pink")
    crops = crop(one.image, one.masks)
    plain = bundle_in(tmp_path / "plain", home)
    assert restain_cells(plain, crops, stains[1]) is None
    known = bundle_in(tmp_path / "known", home, stains[0])
    found = restain_cells(known, crops, stains[1])
    assert found is not None
    assert found.embedder.target.name == "home"
    assert restain_cells(known, crops, replace(stains[1], flag="no stain")) is None
    assert restain_cells(replace(known, embedder=found.embedder), crops, stains[1]) is None


# The bundle


@pytest.fixture
def adapted(home: Classifier, stains: tuple[StainProfile, StainProfile], tmp_path: Path) -> Bundle:
    cells, labels = vectors(40, 5, mixed_up=True)
    right, _ = vectors(40, 5)
    given = as_restained(right, np.arange(40), stains)
    parent = bundle_in(tmp_path / "home", home, stains[0])
    done = adapt(home, cells, [str(name) for name in labels], lab="pink", restained=given)
    return save_adapted(tmp_path / "adapted", parent, done)


def test_an_adapted_bundle_restains_every_cell_says_so_and_can_be_undone(
    adapted: Bundle, home: Classifier, tmp_path: Path
) -> None:
    assert "measurements of cells restained from pink to home" in describe(adapted)
    image = smear("leishman_pink").image
    analysis = analyse(image, adapted, READ)
    crops = crop(analysis.image, analysis.masks)
    shown = restained(crops, adapted.embedder.source, adapted.embedder.target)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(analysis.embeddings.values, EMBEDDER.embed(shown).values)
    np.testing.assert_array_equal(  # the table tells what the cell is, not what it is restained to
        analysis.measurements.values, analyse(image, "stain", READ).measurements.values
    )
    assert find_embedder(tmp_path / "adapted").hash == adapted.embedder.hash
    back = undo(tmp_path / "adapted")
    assert back.embedder.hash == EMBEDDER.hash
    assert back.classifier.hash == home.hash
    assert "stain transfer" not in describe(back)
    assert not list((tmp_path / "adapted").glob("embedder-*"))


def test_a_second_adaptation_keeps_the_transfer(adapted: Bundle, tmp_path: Path) -> None:
    cells, labels = vectors(60, 8)
    cells = replace(cells, values=cells.values * 1.6, embedder=adapted.embedder.hash)
    done = adapt(adapted.classifier, cells, [str(name) for name in labels], lab="other")
    again = save_adapted(tmp_path / "again", adapted, done)
    assert again.embedder.hash == adapted.embedder.hash
    assert undo(tmp_path / "again").embedder.hash == adapted.embedder.hash


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inside": "restained"}, "does not name the embedder inside"),
        ({"inside_hash": "ab" * 32}, "is another version than the one"),
        ({"files": {"../../etc/passwd": "embedder.safetensors"}}, "that is not its own"),
        ({"files": {"embedder-inside-x": "../x"}}, "that is not its own"),
        ({"source": {"name": "x"}}, "no complete stain profile"),
    ],
)
def test_a_file_that_was_tampered_with_is_refused(
    adapted: Bundle, change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    from napari_bloodcell.core.artifact import read_json, write_json

    adapted.embedder.save(tmp_path)
    _, body = read_json(tmp_path / "embedder-restained.json", "restained")
    write_json(tmp_path / "embedder-restained.json", "restained", dict(body) | change)
    with pytest.raises(ArtifactError, match=message):
        RestainedEmbedder.load(tmp_path)


def test_an_embedder_with_files_of_its_own_goes_along_in_one_bundle_file(
    home: Classifier, stains: tuple[StainProfile, StainProfile], tmp_path: Path
) -> None:
    one = smear("leishman_pink")
    crops = crop(one.image, one.masks)
    embedder = RestainedEmbedder(inside=find_embedder("sam"), source=stains[1], target=stains[0])
    vectors = embedder.embed(crops)
    classifier = fit(
        replace(vectors, cell_id=np.arange(6), values=np.tile(vectors.values[:2], (3, 1))),
        ["monocyte", "lymphocyte"] * 3,
        ClassifierConfig(folds=2, iterations=5, keep_cells=0),
    )
    save_bundle(
        tmp_path / "own",
        title="made for a test",
        segmenter=StainSegmenter(),
        embedder=embedder,
        classifier=classifier,
        scores={},
        card="# own\n",
    )
    again = load_bundle(pack_bundle(tmp_path / "own", tmp_path / "own.bloodcell")).embedder
    assert again.hash == embedder.hash
    np.testing.assert_array_equal(again.embed(crops).values, vectors.values)


# From results on disk, and from a window


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    for seed in (3, 4):
        picture = root / f"field-{seed}.png"
        Image.fromarray(np.array(smear("leishman_pink", seed).image.pixels)).save(picture)
        write_analysis(root / "out" / picture.stem, analyse(picture, "stain", READ))
    return root


def test_the_command_line_and_the_window_restain_the_same_cells_the_same_way(
    results: Path, home: Classifier, stains: tuple[StainProfile, StainProfile], tmp_path: Path
) -> None:
    bundle = bundle_in(tmp_path / "home", home, stains[0])
    cells = read_cells([results / "out"])
    corrected = cells.image == "field-3.png"
    of_table, why_not = restain_of_results(bundle, [results / "out"], cells, list(corrected), lab="pink")
    assert why_not == ""
    analysis = analyse(results / "field-3.png", "stain", READ)
    field = Field(
        image=analysis.image,
        masks=analysis.masks,
        cells=analysis.embeddings,
        corrected=dict.fromkeys(analysis.masks.cell_id.tolist(), "monocyte"),
    )
    of_image = restain_of_fields(bundle, [field], lab="pink")
    assert of_table is not None
    assert of_image is not None
    assert of_table.embedder.hash == of_image.embedder.hash
    np.testing.assert_array_equal(of_table.cells.values, of_image.cells.values)
    np.testing.assert_array_equal(of_table.cells.cell_id, cells.embeddings.cell_id[corrected])


def test_fields_whose_cells_have_the_same_numbers_are_learnt_from_together(
    home: Classifier, stains: tuple[StainProfile, StainProfile], tmp_path: Path
) -> None:
    bundle = bundle_in(tmp_path / "home", home, stains[0])
    fields = []
    for seed in (3, 4):
        one = smear("leishman_pink", seed)
        values, labels = vectors(len(one.masks), seed, mixed_up=True)
        cells = replace(values, cell_id=one.masks.cell_id)
        corrected = dict(zip(one.masks.cell_id.tolist(), labels.tolist(), strict=True))
        fields.append(Field(image=one.image, masks=one.masks, cells=cells, corrected=corrected))
    done = adapt_to_fields(bundle, fields, lab="2 open fields")
    assert done.corrected == sum(len(field.cells) for field in fields) > len(fields[0].cells)
    both = restain_of_fields(bundle, fields, lab="2 open fields")
    second = restain_of_fields(bundle, [replace(fields[0], corrected={}), fields[1]], lab="2 open fields")
    assert both is not None
    assert second is not None
    count = len(fields[0].cells)
    assert both.cells.cell_id.tolist() == list(range(done.corrected))
    assert second.cells.cell_id.tolist() == list(range(count, done.corrected))
    assert restain_of_fields(bundle, [replace(fields[0], corrected={})]) is None
    with pytest.raises(ClassifyError, match="Give the fields with corrected cells"):
        adapt_to_fields(bundle, [])


def test_cells_of_an_image_are_not_restained_from_another_of_its_name(
    home: Classifier, stains: tuple[StainProfile, StainProfile], tmp_path: Path
) -> None:
    for slide, seed in (("A", 3), ("B", 4)):
        (tmp_path / slide).mkdir()
        picture = tmp_path / slide / "1.png"
        Image.fromarray(np.array(smear("leishman_pink", seed).image.pixels)).save(picture)
        write_analysis(tmp_path / "out" / slide, analyse(picture, "stain", READ))
    bundle, cells = bundle_in(tmp_path / "home", home, stains[0]), read_cells([tmp_path / "out"])
    of_first = cells.source == str(tmp_path / "A" / "1.png")
    together, _ = restain_of_results(bundle, [tmp_path / "out"], cells, list(of_first), lab="pink")
    alone, _ = restain_of_results(
        bundle, [tmp_path / "out" / "A"], read_cells([tmp_path / "out" / "A"]), [True] * 3, lab="pink"
    )
    assert together is not None
    assert alone is not None
    np.testing.assert_array_equal(together.cells.values, alone.cells.values)


def test_an_image_that_is_gone_or_changed_leaves_the_other_updates(
    results: Path, home: Classifier, stains: tuple[StainProfile, StainProfile], tmp_path: Path
) -> None:
    bundle_in(tmp_path / "home", home, stains[0])
    cells = read_cells([results / "out"])
    corrections = [
        Correction(str(image), int(cell), str(NAMES[row % 3]), "mk")
        for row, (image, cell) in enumerate(zip(cells.image, cells.cell_id, strict=True))
    ]
    write_corrections(tmp_path / "mine.csv", corrections)

    def adapted() -> str:
        table, own = tmp_path / "mine.csv", tmp_path / "own"
        return adapt_on_tables([results / "out"], table, own, str(tmp_path / "home"), AdaptConfig(), lab="x")[
            0
        ]

    shutil.move(results / "field-4.png", results / "kept.png")
    try:
        said = adapted()
        assert "Stain transfer was not tried" in said
        assert "recalibrate" in said
        Image.new("RGB", (360, 300)).save(results / "field-4.png")
        assert "field-4.png was changed after the analysis" in adapted()
    finally:
        shutil.move(results / "kept.png", results / "field-4.png")
    assert "stain of home" in adapted()
