"""A bundle as one file, also as a stranger might have made it."""

import json
import stat
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from napari_bloodcell.core.bundle import find_bundle, load_bundle, pack_bundle, save_bundle, verify_bundle
from napari_bloodcell.core.bundle.archive import opened
from napari_bloodcell.core.bundle.describe import build, describe
from napari_bloodcell.core.bundle.members import MANIFEST
from napari_bloodcell.core.errors import ArtifactError
from napari_bloodcell.core.segment import StainSegmenter
from napari_bloodcell.core.stain.profile import StainProfile


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    return pack_bundle("nano", tmp_path / "nano")


def forge(
    packed: Path, *members: tuple[zipfile.ZipInfo | str, bytes], drop: str = "", method: int = 0
) -> Path:
    """The same archive with members added, dropped or stored in another way."""
    goal = packed.with_name("forged.bloodcell")
    with zipfile.ZipFile(packed) as source, zipfile.ZipFile(goal, "w", method) as made:
        for name in source.namelist():
            if name != drop:
                made.writestr(name, source.read(name))
        for member, content in members:
            made.writestr(member, content)
    return goal


def test_one_file_loads_as_the_folder_does(packed: Path) -> None:
    assert packed.name == "nano.bloodcell"
    assert load_bundle(packed).hash == load_bundle("nano").hash
    assert verify_bundle(packed) == verify_bundle("nano")


def test_packing_twice_gives_the_same_bytes(packed: Path) -> None:
    assert pack_bundle("nano", packed.with_name("again")).read_bytes() == packed.read_bytes()


@pytest.mark.parametrize(
    "name", ["../evil.json", "/tmp/evil.json", "a/b.json", "..\\evil.json", "c:evil.json"]
)
def test_a_member_that_would_leave_the_folder_is_refused(packed: Path, name: str) -> None:
    with pytest.raises(ArtifactError, match="that no bundle has: not opened"):
        verify_bundle(forge(packed, (name, b"{}")))
    assert not (packed.parent / "evil.json").exists()


@pytest.mark.parametrize("name", ["run.py", "weights.pkl", "lib.so"])
def test_a_member_of_another_kind_is_refused(packed: Path, name: str) -> None:
    with pytest.raises(ArtifactError, match="that no bundle has"):
        verify_bundle(forge(packed, (name, b"")))


def test_a_link_is_refused(packed: Path) -> None:
    link = zipfile.ZipInfo("classifier-link.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(ArtifactError, match="is a link or no plain file"):
        verify_bundle(forge(packed, (link, b"/etc/passwd")))


def test_a_compressed_member_is_refused_before_it_can_swell(packed: Path) -> None:
    with pytest.raises(ArtifactError, match="is compressed or locked"):
        verify_bundle(forge(packed, ("bomb.json", b"0" * 10**6), method=zipfile.ZIP_DEFLATED))


def test_an_oversized_member_is_refused_by_what_it_claims(packed: Path) -> None:
    raw = bytearray(packed.read_bytes())
    place = raw.rfind(b"PK\x01\x02", 0, raw.rfind(b"README.md"))
    raw[place + 24 : place + 28] = (2**31).to_bytes(4, "little")  # the size in the directory
    packed.write_bytes(raw)
    with pytest.raises(ArtifactError, match="claims 2,147,483,648 bytes; limit 67,108,864"):
        verify_bundle(packed)


def test_the_same_name_twice_is_refused(packed: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        forged = forge(packed, (MANIFEST, b"{}"))
    with pytest.raises(ArtifactError, match="one name twice"):
        verify_bundle(forged)


def test_an_archive_without_manifest_and_a_file_that_is_no_archive_are_refused(packed: Path) -> None:
    with pytest.raises(ArtifactError, match="it is no bundle"):
        verify_bundle(forge(packed, drop=MANIFEST))
    packed.write_bytes(b"no archive at all")
    with pytest.raises(ArtifactError, match="is broken or no bundle"):
        verify_bundle(packed)
    with pytest.raises(ArtifactError, match="is broken or no bundle"):
        load_bundle(packed)


def test_a_damaged_byte_is_noticed(packed: Path) -> None:
    raw = bytearray(packed.read_bytes())
    raw[raw.find(b"Research use only")] ^= 1
    packed.write_bytes(raw)
    with pytest.raises(ArtifactError, match="broken|does not match"):
        verify_bundle(packed)


def test_nothing_is_left_behind_when_opening_ends(packed: Path) -> None:
    with opened(packed) as folder:
        assert (folder / MANIFEST).is_file()
    assert not folder.exists()


def stained(name: str) -> StainProfile:
    return StainProfile(
        dictionary=[[0.6, 0.1], [0.7, 0.9], [0.4, 0.4]], background=[0.1, 0.1, 0.1], scale=[1, 1], name=name
    )


def save(folder: Path, **changes: object) -> None:
    nano = load_bundle("nano")
    parts = {
        "title": "made for a test",
        "segmenter": nano.segmenter,
        "embedder": nano.embedder,
        "classifier": nano.classifier,
        "scores": {},
        "card": "# card\n",
    }
    save_bundle(folder, **(parts | changes))


def test_stains_of_labs_provenance_and_taxonomy_go_along(tmp_path: Path) -> None:
    nano = load_bundle("nano").classifier
    fine = tuple(name.replace("neutrophil", "neutrophil_banded") for name in nano.class_names)
    save(
        tmp_path / "own",
        stains=[stained("Lab A"), stained("Lab B")],
        provenance={"cells": "made"},
        classifier=replace(nano, class_names=fine),
    )
    own = load_bundle(tmp_path / "own")
    assert [profile.name for profile in own.stains] == ["Lab A", "Lab B"]
    assert own.provenance == {"cells": "made"}
    assert own.taxonomy["neutrophil_banded"] == "neutrophil"
    assert own.taxonomy["monocyte"] == "monocyte"
    assert set(own.taxonomy) == set(fine)
    assert "Lab A, Lab B" in describe(own)
    with pytest.raises(ArtifactError, match="Name each lab differently"):
        save(tmp_path / "twice", stains=[stained("Lab A"), stained("lab a")])


def test_saving_again_removes_what_is_no_longer_part_of_it_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    save(folder, stains=[stained("Lab A")])
    (folder / "notes.txt").write_text("mine")
    save(folder)
    assert not (folder / "stain-lab_a.json").exists()
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_classifier_of_another_embedder_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    class Other:
        kind, hash = "other", "f" * 64

    with pytest.raises(ArtifactError, match="Put in the embedder that made the training vectors"):
        save(tmp_path / "own", embedder=Other())
    assert not (tmp_path / "own").exists()


def test_a_part_of_another_version_is_refused(tmp_path: Path) -> None:
    from napari_bloodcell.core.artifact import read_json, write_json

    save(tmp_path / "own")
    _, body = read_json(tmp_path / "own" / MANIFEST, "bundle")
    parts = body["parts"] | {"segmenter": "0" * 64}
    write_json(tmp_path / "own" / MANIFEST, "bundle", body | {"parts": parts})
    with pytest.raises(ArtifactError, match="of this release is another version"):
        load_bundle(tmp_path / "own")


def test_a_manifest_without_what_it_needs_is_refused(tmp_path: Path) -> None:
    from napari_bloodcell.core.artifact import read_json, write_json

    save(tmp_path / "own")
    _, body = read_json(tmp_path / "own" / MANIFEST, "bundle")
    del body["segmenter"]
    write_json(tmp_path / "own" / MANIFEST, "bundle", body)
    with pytest.raises(ArtifactError, match="has no valid 'segmenter'"):
        load_bundle(tmp_path / "own")
    (tmp_path / "own" / MANIFEST).write_text(json.dumps([1]))
    with pytest.raises(ArtifactError, match="has no header"):
        load_bundle(tmp_path / "own")


def test_a_bundle_is_built_from_another_segmenter_or_an_adapter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, object]] = []

    def found(name: str, adapter: Path | None) -> StainSegmenter:
        asked.append((name, adapter))
        return StainSegmenter()

    monkeypatch.setattr("napari_bloodcell.core.bundle.describe.find_segmenter", found)
    (tmp_path / "card.md").write_text("# mine\nResearch use only.\n")
    nano, told = load_bundle("nano"), {"title": "mine", "card": tmp_path / "card.md"}
    own = build(tmp_path / "own", adapter=tmp_path / "my-adapter", **told)  # type: ignore[arg-type]
    other = build(tmp_path / "other", segmenter="vit_b", **told)  # type: ignore[arg-type]
    assert asked == [("nano", tmp_path / "my-adapter"), ("vit_b", None)]
    assert own.segmenter.kind == StainSegmenter.kind != nano.segmenter.kind
    assert own.classifier.hash == other.classifier.hash == nano.classifier.hash
    assert own.provenance["adapter"] == "my-adapter"
    assert own.provenance["data"] == nano.provenance["data"]  # it knows these labs still
    assert [one.name for one in own.stains] == [one.name for one in nano.stains]
    with pytest.raises(ArtifactError, match="Name a classifier, a segmenter or an adapter"):
        build(tmp_path / "same", **told)  # type: ignore[arg-type]


def test_a_bundle_is_built_from_a_classifier_file_and_another_bundle(tmp_path: Path) -> None:
    load_bundle("nano").classifier.write(tmp_path / "c.safetensors")
    (tmp_path / "card.md").write_text("# mine\nResearch use only.\n")
    own = build(tmp_path / "own", tmp_path / "c.safetensors", title="mine", card=tmp_path / "card.md")
    assert own.card.startswith("# mine")
    assert own.provenance["segmenter_from"] == load_bundle(find_bundle("nano")).hash
    with pytest.raises(ArtifactError, match="Write a model card"):
        build(tmp_path / "next", tmp_path / "c.safetensors", title="mine", card=tmp_path / "none.md")
    assert not (tmp_path / "next").exists()
    with pytest.raises(ArtifactError, match="own holds a model already"):
        build(tmp_path / "own", tmp_path / "c.safetensors", title="next", card=tmp_path / "card.md")
    assert load_bundle(tmp_path / "own").hash == own.hash
