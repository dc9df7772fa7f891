from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_bloodcell.core.adapt import adapt, suggest
from napari_bloodcell.core.adapt.adapting import NO_UPDATE, Adaptation, Judged, _best
from napari_bloodcell.core.adapt.bundles import save_adapted, undo
from napari_bloodcell.core.adapt.updates import (
    UPDATES,
    Lab,
    possible,
    recalibrate,
    shift_prototypes,
    thinned,
    without_cells_of,
)
from napari_bloodcell.core.bundle import load_bundle, save_bundle
from napari_bloodcell.core.classify import Classifier, Known, fit
from napari_bloodcell.core.classify.leaning import leaning
from napari_bloodcell.core.config import AdaptConfig, ClassifierConfig, SuggestConfig
from napari_bloodcell.core.embed.measurements import SCALE_FREE, MeasurementEmbedder
from napari_bloodcell.core.errors import ArtifactError, Cancelled, ClassifyError
from napari_bloodcell.core.records import Embeddings
from napari_bloodcell.core.segment import StainSegmenter

NAMES = np.array(["eosinophil", "lymphocyte", "monocyte"])
WIDTH = len(SCALE_FREE)
HASH = MeasurementEmbedder().hash


def made(count: int, seed: int, shift: float = 0.0, stretch: float = 1.0) -> tuple[Embeddings, np.ndarray]:
    """A lab: the same three classes, stretched, and moved towards where another class was."""
    rng = np.random.default_rng(seed)
    truths = rng.choice(3, count, p=[0.2, 0.3, 0.5])
    centres = np.random.default_rng(1).normal(0, 1.1, (3, WIDTH))
    values = (centres[truths] + rng.normal(0, 1, (count, WIDTH))) * stretch
    values += shift * (centres[1] - centres[2])
    cells = Embeddings(cell_id=np.arange(count) + 7, values=values, names=SCALE_FREE, embedder=HASH)
    return cells, NAMES[truths]


@pytest.fixture(scope="module")
def home() -> Classifier:
    cells, labels = made(400, 0)
    config = ClassifierConfig(strength=0.1, iterations=60, folds=2)
    return fit(cells, list(labels), config, labs=["a"] * 200 + ["b"] * 200)


def marks(labels: np.ndarray, rows: np.ndarray | range) -> list[str]:
    given = [""] * len(labels)
    for row in rows:
        given[row] = str(labels[row])
    return given


def right(classifier: Classifier, cells: Embeddings, labels: np.ndarray) -> float:
    return float(np.mean(classifier.predict(cells).top(0)[0] == labels))


def test_a_few_corrected_cells_make_a_moved_lab_right(home: Classifier) -> None:
    cells, labels = made(300, 5, shift=0.8, stretch=1.6)
    assert right(home, cells, labels) < 0.75
    done = adapt(home, cells, marks(labels, range(20)), lab="c")
    assert done.kept != "none"
    assert right(done.classifier, cells, labels) > 0.93
    assert done.before.hash == home.hash
    assert f"adapted to c from 20 corrected cells: {done.kept}" in done.classifier.notes
    assert "20 corrected cells of c, each held out once" in done.classifier.calibration.basis
    assert list(done.classifier.known.labs).count("c") == 20
    assert "kept" in done.text()


def test_where_nothing_moved_the_model_stays_as_it_is(home: Classifier) -> None:
    cells, labels = made(200, 6)
    done = adapt(home, cells, marks(labels, range(12)), AdaptConfig(least_gain=0.5))
    assert done.kept == "none"
    assert done.classifier.hash == home.hash
    assert "No update was better" in done.text()


def test_the_same_seed_adapts_the_same_way(home: Classifier) -> None:
    cells, labels = made(100, 5, shift=0.5)
    first, second = (adapt(home, cells, marks(labels, range(15)), lab="c") for _ in range(2))
    assert first.classifier.hash == second.classifier.hash


def test_a_class_the_model_did_not_know_can_be_taught(home: Classifier) -> None:
    cells, labels = made(200, 5)
    values = np.array(cells.values)
    labels = labels.astype("<U20")
    labels[:12] = "myeloblast"
    values[:12] += 6
    cells = Embeddings(cell_id=cells.cell_id, values=values, names=SCALE_FREE, embedder=HASH)
    done = adapt(home, cells, marks(labels, [*range(8), *range(20, 40)]), lab="c")
    assert "refit" in done.kept
    assert "myeloblast" in done.classifier.class_names
    assert (done.classifier.predict(cells).top(0)[0][8:12] == "myeloblast").all()


def test_a_cell_left_unidentified_teaches_no_class(home: Classifier) -> None:
    cells, labels = made(100, 5, shift=0.6)
    given = marks(labels, range(20))
    without = adapt(home, cells, given, lab="c")
    given[20:30] = ["unidentified"] * 10
    done = adapt(home, cells, given, lab="c")
    assert done.corrected == 20
    assert done.classifier.hash == without.classifier.hash


def test_a_model_without_training_vectors_is_recalibrated_or_shifted_only(home: Classifier) -> None:
    bare = replace(home, known=None)
    cells, labels = made(100, 5, shift=0.6)
    done = adapt(bare, cells, marks(labels, range(20)))
    assert {one.name for one in done.judged} == {"none", "recalibrate", "shift prototypes"}
    assert done.kept == "shift prototypes"
    assert right(done.classifier, cells, labels) > right(bare, cells, labels)


@pytest.mark.parametrize("new", ["basophil", "zebra"])
def test_a_class_that_cannot_be_taught_counts_as_none_of_the_others(home: Classifier, new: str) -> None:
    """Its name sorts between those of the model, or after them."""
    bare = replace(home, known=None)
    cells, labels = made(100, 5, shift=0.6)
    given = marks(labels, range(24))
    given[:4] = [new] * 4
    done = adapt(bare, cells, given)
    assert done.kept != NO_UPDATE
    assert new not in done.classifier.class_names
    calibration = done.classifier.calibration
    named = np.array(done.classifier.class_names)[calibration.truths]
    assert named[:20].tolist() == labels[4:24].tolist()


def test_a_handful_of_cells_offers_no_alignment(home: Classifier) -> None:
    cells, labels = made(12, 5)
    lab = Lab(name="c", values=cells.values, rows=np.arange(6), labels=labels[:6])
    assert not [name for name in possible(home, lab) if "align" in name]


@pytest.mark.parametrize("name", UPDATES)
def test_no_update_changes_the_classifier_it_starts_from(home: Classifier, name: str) -> None:
    cells, labels = made(60, 5, shift=0.5)
    before = home.hash
    lab = Lab(name="c", values=cells.values, rows=np.arange(10), labels=labels[:10])
    after = UPDATES[name](home, lab)
    assert after.hash != before
    again = replace(home)  # its hash is computed anew
    assert again.hash == before


def test_prototypes_meet_where_the_training_cells_were(home: Classifier) -> None:
    cells, labels = made(300, 5, shift=0.7)
    lab = Lab(name="c", values=cells.values, rows=np.arange(200), labels=labels[:200])

    def gap(classifier: Classifier) -> float:
        ready = classifier.standardise(cells.values)
        centres = [ready[labels == name].mean(axis=0) for name in classifier.class_names]
        return float(np.abs(np.array(centres) - classifier.cloud.centres).max())

    assert gap(shift_prototypes(home, lab)) < gap(home) / 2


def test_recalibration_ignores_classes_it_has_no_score_for(home: Classifier) -> None:
    cells, _ = made(30, 5)
    lab = Lab(name="c", values=cells.values, rows=np.arange(4), labels=np.array(["myeloblast"] * 4))
    assert recalibrate(home, lab) is home


@pytest.mark.parametrize("update", ["refit", "refit, align half"])
def test_what_is_fitted_anew_leans_as_before(home: Classifier, update: str) -> None:
    cells, labels = made(60, 5)
    lab = Lab(name="c", values=cells.values, rows=np.arange(40), labels=labels[:40])
    lab.labels[:3] = "myeloblast"
    anew = UPDATES[update](replace(home, config=replace(home.config, lean=0.3)), lab)
    assert anew.class_names[3] == "myeloblast"
    np.testing.assert_array_equal(anew.calibration.offsets, leaning(anew.class_names, 0.3))
    assert not len(UPDATES[update](home, lab).calibration.offsets)


def test_recalibration_starts_from_what_it_leant_to(home: Classifier) -> None:
    cells, labels = made(60, 0)
    lab = Lab(name="c", values=cells.values, rows=np.arange(6), labels=labels[:6])
    even = recalibrate(home, lab).calibration.offsets
    moved = recalibrate(replace(home, config=replace(home.config, lean=1.0)), lab).calibration.offsets
    leant = leaning(home.class_names, 1.0)
    assert np.corrcoef(moved - even, leant)[0, 1] > 0.9


def test_cells_corrected_before_are_not_judged_by_themselves(home: Classifier) -> None:
    cells, labels = made(60, 5)
    lab = Lab(name="c", values=cells.values, rows=np.arange(10), labels=labels[:10])
    old = home.known
    both = Known.of(
        np.concatenate([old.values, cells.values[:15]]),
        np.concatenate([old.labels, labels[:15]]),
        np.concatenate([old.labs, np.full(15, "c")]),
    )
    assert len(without_cells_of(both, lab)) == len(old) + 5
    assert len(without_cells_of(both, replace(lab, name="two open fields"))) == len(old) + 5


def test_judging_on_fewer_old_cells_keeps_every_class_of_every_lab() -> None:
    cells, labels = made(500, 0)
    labs = np.repeat(["a", "b"], (480, 20))
    few = thinned(Known.of(cells.values, labels, labs), 100, np.random.default_rng(0))
    assert len(few) == 100
    assert np.sum(few.labs == "b") == 20


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["monocyte"] * 4 + [""] * 6, "Corrected so far: 4 cells; 5 at least are needed"),
        (["monocyte"] * 4 + ["unidentified"] * 6, "Corrected so far: 4 cells; 5 at least are needed"),
        (["monocyte"], "1 labels for 10 cells"),
    ],
)
def test_corrections_that_cannot_be_judged_are_refused(home: Classifier, labels, message: str) -> None:
    with pytest.raises(ClassifyError, match=message):
        adapt(home, made(10, 5)[0], labels)


def test_corrections_of_one_class_alone_are_refused(home: Classifier) -> None:
    cells, labels = made(60, 5)
    given = ["neutrophil" if i < 25 else "" for i in range(len(labels))]
    with pytest.raises(ClassifyError, match="All 25 corrected cells are neutrophil.*another class too"):
        adapt(home, cells, given)


def test_it_is_told_why_an_update_of_less_loss_is_not_kept(home: Classifier) -> None:
    def judged(name: str, loss: float) -> Judged:
        return Judged(name=name, loss=loss, accuracy=0.5, balanced=0.5)

    def told(*updates: Judged) -> str:
        done = Adaptation(lab="c", corrected=10, kept="refit", judged=updates, before=home, classifier=home)
        return done.text()

    none, refit, other = judged("none", 2.9), judged("refit", 1.9), judged("recalibrate", 1.7)
    assert "recalibrate is not clearly better than refit" in told(none, refit, other)
    assert "clearly" not in told(none, refit)


def judged_by(name: str, losses: np.ndarray, balanced: float = 0.5) -> Judged:
    return Judged(name=name, loss=float(losses.mean()), accuracy=0.5, balanced=balanced)


def test_the_update_of_forests_is_kept_unless_corrected_cells_speak_clearly_against_it() -> None:
    spread = np.random.default_rng(0).normal(0, 0.3, 25)
    for name, more, kept in (
        ("refit, second opinion", 0.05, True),
        ("refit, second opinion", 0.5, False),
        ("refit", 0.05, False),
    ):
        losses = {"none": np.full(25, 1.0), name: 1.0 + more + spread - spread.mean()}
        tried = [judged_by(each, loss) for each, loss in losses.items()]
        assert (_best(tried, losses, AdaptConfig()) == name) == kept, (name, more)


def test_keeping_the_update_of_forests_against_the_loss_is_told(home: Classifier) -> None:
    tried = (judged_by("none", np.ones(10)), judged_by("refit, second opinion", np.full(10, 1.05)))
    done = Adaptation(
        lab="c", corrected=10, kept="refit, second opinion", judged=tried, before=home, classifier=home
    )
    assert "do not speak clearly against refit, second opinion" in done.text()


def test_an_update_that_names_fewer_corrected_cells_right_says_why_it_is_kept(home: Classifier) -> None:
    def told(loss: float, right: float) -> str:
        before = Judged(name="none", loss=1.0, accuracy=0.5, balanced=0.5)
        refit = Judged(name="refit", loss=loss, accuracy=right, balanced=0.5)
        return Adaptation(
            lab="c", corrected=10, kept="refit", judged=(before, refit), before=home, classifier=home
        ).text()

    assert "refit names fewer of the corrected cells right, but" in told(0.8, 0.4)
    assert "(loss 0.800, 1.000 before)" in told(0.8, 0.4)
    assert "fewer" not in told(0.8, 0.5)
    assert "fewer" not in told(1.1, 0.4)  # that nothing speaks clearly against it is told instead


def test_vectors_that_do_not_fit_are_refused(home: Classifier) -> None:
    cells, labels = made(10, 5)
    with pytest.raises(ClassifyError, match="Embed the cells with the model's own bundle"):
        adapt(home, replace(cells, embedder="f" * 64), list(labels))
    values = np.array(cells.values)
    values[2, 0] = np.nan
    with pytest.raises(ClassifyError, match="1 of 10 vectors hold NaN"):
        adapt(home, replace(cells, values=values), list(labels))


def test_cancel_stops_between_two_updates(home: Classifier) -> None:
    cells, labels = made(40, 5)
    seen = []

    def cancel(stage: str, done: int, total: int) -> None:
        seen.append(done)
        if done == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        adapt(home, cells, marks(labels, range(10)), progress=cancel)
    assert seen == [0, 1, 2]


def test_suggested_cells_are_doubtful_different_and_new(home: Classifier) -> None:
    cells, _ = made(300, 5, shift=0.2)
    looked = np.zeros(300, bool)
    looked[:100] = True
    chosen = suggest(home, cells, looked, SuggestConfig(cells=25))
    assert len(set(chosen.tolist())) == 25
    assert not np.isin(chosen, cells.cell_id[:100]).any()
    likely = np.sort(home.predict(cells).probabilities, axis=1)
    doubt = 1 - (likely[:, -1] - likely[:, -2])
    assert doubt[np.isin(cells.cell_id, chosen)].mean() > 2 * doubt[100:].mean()


def test_copies_of_one_doubtful_cell_are_not_all_suggested(home: Classifier) -> None:
    cells, _ = made(60, 5)
    values = np.array(cells.values)
    middle = np.random.default_rng(1).normal(0, 1.1, (3, WIDTH)).mean(axis=0)
    values[:30] = middle
    copies = replace(cells, values=values)
    chosen = suggest(home, copies, None, SuggestConfig(cells=10))
    assert np.sum(np.isin(chosen, cells.cell_id[:30])) == 1


def test_fewer_cells_than_asked_are_all_suggested_and_none_give_none(home: Classifier) -> None:
    cells, _ = made(8, 5)
    assert sorted(suggest(home, cells)) == sorted(cells.cell_id)
    assert len(suggest(home, cells, [True] * 8)) == 0
    with pytest.raises(ClassifyError, match="3 marks for 8 cells"):
        suggest(home, cells, [True] * 3)


def test_an_adapted_bundle_says_so_leaves_its_parent_and_can_be_undone(
    home: Classifier, tmp_path: Path
) -> None:
    save_bundle(
        tmp_path / "home",
        title="made for a test",
        segmenter=StainSegmenter(),
        embedder=MeasurementEmbedder(),
        classifier=home,
        scores={"accuracy": 0.9},
        card="# home\n",
        provenance={"cells": "made"},
    )
    parent = load_bundle(tmp_path / "home")
    cells, labels = made(120, 5, shift=0.6)
    done = adapt(parent.classifier, cells, marks(labels, range(20)), lab="c")
    own = save_adapted(tmp_path / "own", parent, done)
    assert own.title == "made for a test; adapted to c"
    assert own.classifier.hash == done.classifier.hash
    assert own.provenance["adapted"][0]["from_bundle"] == parent.hash
    assert "20 corrected cells of c" in own.card
    assert own.scores["before_adapting"] == {"accuracy": 0.9}
    assert own.scores["held_out_corrections"][done.kept]["accuracy"] > 0
    twice = save_adapted(tmp_path / "twice", own, done)
    assert undo(tmp_path / "twice").scores == own.scores != twice.scores
    assert load_bundle(tmp_path / "home").hash == parent.hash
    back = undo(tmp_path / "own")
    assert back.classifier.hash == home.hash
    assert (back.title, back.provenance["adapted"]) == ("made for a test", [])
    assert back.scores == parent.scores
    with pytest.raises(ArtifactError, match="no classifier from before"):
        undo(tmp_path / "own")


def test_a_forest_is_judged_by_fewer_trees_but_kept_with_all(home: Classifier) -> None:
    cells, labels = made(120, 0)
    config = ClassifierConfig(kind="random_forest", trees=50, depth=6, calibration="none")
    forest = fit(cells, list(labels), config, labs=["a"] * 120)
    away, truths = made(120, 5, shift=0.8)
    done = adapt(forest, away, marks(truths, range(20)), AdaptConfig(folds=2), lab="c")
    assert done.kept.startswith("refit")
    assert done.classifier.config == config
    assert len(done.classifier.head.arrays["roots"]) == 50
    assert right(done.classifier, away, truths) > right(forest, away, truths)


def test_a_forest_takes_the_corrected_cells_in_and_does_not_move_the_lab(home: Classifier) -> None:
    cells, labels = made(120, 0)
    config = ClassifierConfig(kind="random_forest", trees=30, depth=6, calibration="none")
    forest = fit(cells, list(labels), config, labs=["a"] * 120)
    same, truths = made(120, 5)
    tried = [one.name for one in adapt(forest, same, marks(truths, range(20)), lab="c").judged]
    assert tried == ["none", "refit, second opinion"]
    assert "align" in [one.name for one in adapt(home, same, marks(truths, range(20)), lab="c").judged]
