import json
import re
import shutil
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from napari_bloodcell.core import parts
from napari_bloodcell.core.artifact import read_json, write_json
from napari_bloodcell.core.bundle import find_bundle, load_bundle, shipped
from napari_bloodcell.core.bundle.members import MANIFEST
from napari_bloodcell.core.classify.classifier import FILE as CLASSIFIER
from napari_bloodcell.core.embed.measurements import DetailEmbedder, MeasurementEmbedder
from napari_bloodcell.core.errors import ArtifactError
from napari_bloodcell.core.parts import Registry
from napari_bloodcell.core.segment.choose import shipped_weights


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(find_bundle("stain"), tmp_path / "copy"))


def test_an_embedder_of_others_is_found_and_ours_stay_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("theirs", "napari_bloodcell.core.embed.measurements:DetailEmbedder", "g")
    ours = EntryPoint("details", "os:nothing", "g")
    monkeypatch.setattr(parts, "entry_points", lambda group: (point, ours) if group == "g" else ())
    kinds = Registry("embedder", {"details": "napari_bloodcell.core.embed.measurements:DetailEmbedder"}, "g")
    assert list(kinds) == ["details", "theirs"]
    assert kinds["theirs"] is kinds["details"] is DetailEmbedder
    kinds.register("mine", MeasurementEmbedder)
    assert "mine" in kinds
    assert kinds["mine"] is MeasurementEmbedder
    assert len(kinds) == 3
    with pytest.raises(ArtifactError, match="is one of ours"):
        kinds.register("details", MeasurementEmbedder)
    with pytest.raises(ArtifactError, match="is no name for an embedder"):
        kinds.register("mine/logistic", MeasurementEmbedder)
    with pytest.raises(ArtifactError, match="there are details, mine, theirs. Install"):
        kinds["nobodys"]


def test_two_models_ship_and_say_what_they_are() -> None:
    assert shipped() == ["nano", "stain"]
    nano, stain = load_bundle("nano"), load_bundle("stain")
    assert (nano.segmenter.kind, stain.segmenter.kind) == ("sam", "stain-watershed")
    assert "three labs" in nano.title
    assert "weights-free" in stain.title
    assert "synthetic" in stain.title
    assert "Research use only" in nano.card
    assert "Research use only" in stain.card
    assert stain.scores["held-out synthetic"]["accuracy"] > 0.8


def test_nano_tells_how_it_did_on_labs_it_never_saw() -> None:
    nano = load_bundle("nano")
    labs = nano.scores["leave_one_lab_out"]
    assert set(labs) == set(nano.provenance["data"]) == {"jtsc", "cellavision", "bccd"}
    for name, score in labs.items():
        assert score["accuracy"] > score["majority"], name
        assert f"{score['accuracy']:.3f}" in nano.card
    assert {profile.name for profile in nano.stains} == set(labs)


def test_a_bundle_is_loaded_once() -> None:
    assert load_bundle("nano") is load_bundle("nano")
    assert load_bundle(load_bundle("nano")) is load_bundle("nano")


def test_a_folder_anywhere_is_a_bundle(copy: Path) -> None:
    assert load_bundle(copy).hash == load_bundle("stain").hash


def test_unknown_bundle_lists_what_ships() -> None:
    listed = re.escape(", ".join(shipped()))
    with pytest.raises(ArtifactError, match=rf"No bundle 'giant'. Shipped: {listed}. Or give the path"):
        load_bundle("giant")


def rewrite(folder: Path, **changes: object) -> None:
    """Edit the manifest as a forger would: with a hash that fits."""
    _, body = read_json(folder / MANIFEST, "bundle")
    write_json(folder / MANIFEST, "bundle", body | changes)


def test_edited_manifest_is_refused(copy: Path) -> None:
    text = (copy / MANIFEST).read_text()
    (copy / MANIFEST).write_text(text.replace("stain-watershed", "stain-watershod"))
    with pytest.raises(ArtifactError, match="changed after it was written"):
        load_bundle(copy)


def test_edited_member_is_refused(copy: Path) -> None:
    with (copy / CLASSIFIER).open("ab") as file:
        file.write(b"\0")
    rewrite(copy, name="other")  # another manifest hash, so that nothing comes from the cache
    with pytest.raises(ArtifactError, match=f"does not match the hash in {MANIFEST}"):
        load_bundle(copy)


def test_missing_member_is_named(copy: Path) -> None:
    (copy / CLASSIFIER).unlink()
    rewrite(copy, name="other")
    with pytest.raises(ArtifactError, match=f"lacks its file {CLASSIFIER}"):
        load_bundle(copy)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a/b"])
def test_a_path_out_of_the_folder_is_refused(copy: Path, name: str) -> None:
    _, body = read_json(copy / MANIFEST, "bundle")
    rewrite(copy, files=body["files"] | {name: "0" * 64})
    with pytest.raises(ArtifactError, match="names a file outside its folder"):
        load_bundle(copy)


def test_a_link_out_of_the_folder_is_refused(copy: Path) -> None:
    original = find_bundle("stain") / CLASSIFIER
    (copy / CLASSIFIER).unlink()
    (copy / CLASSIFIER).symlink_to(original)
    rewrite(copy, name="other")
    with pytest.raises(ArtifactError, match="names a file outside its folder"):
        load_bundle(copy)


def test_unlisted_classifier_is_refused(copy: Path) -> None:
    rewrite(copy, files={})
    with pytest.raises(ArtifactError, match="does not list"):
        load_bundle(copy)


@pytest.mark.parametrize("role", ["segmenter", "embedder"])
def test_an_unknown_part_names_what_this_release_has(copy: Path, role: str) -> None:
    rewrite(copy, **{role: "telepathy"})
    with pytest.raises(ArtifactError, match=rf"asks for {role} 'telepathy'; this release has"):
        load_bundle(copy)


def test_a_bundle_from_the_future_names_the_release(copy: Path) -> None:
    content = json.loads((copy / MANIFEST).read_text())
    content["header"] |= {"version": 9, "needs_release": "3.1"}
    (copy / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(ArtifactError, match=r"napari-bloodcell>=3\.1"):
        load_bundle(copy)


def test_the_shipped_bundle_holds_no_code_and_little_weight() -> None:
    members = [*find_bundle("nano").iterdir(), shipped_weights()]
    assert {path.suffix for path in members} <= {".json", ".safetensors", ".md"}
    assert sum(path.stat().st_size for path in members) < 15 * 2**20
