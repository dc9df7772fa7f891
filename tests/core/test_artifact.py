import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from napari_bloodcell.core import artifact
from napari_bloodcell.core.artifact import atomic_path, read_arrays, read_json, write_arrays, write_json
from napari_bloodcell.core.errors import ArtifactError

BODY = {"rows": [1, 2.5, "µm"], "empty": None}


def test_a_cache_that_cannot_be_written_names_what_moves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLOODCELL_CACHE", str(tmp_path / "cache"))
    refused = OSError(errno.EACCES, "Permission denied")
    assert "in the variable BLOODCELL_CACHE and run again" in str(
        artifact.cannot_write(tmp_path / "cache" / "x", refused)
    )
    assert "Choose another folder and run again" in str(
        artifact.cannot_write(tmp_path / "out" / "x", refused)
    )


def test_json_comes_back_with_its_header(tmp_path: Path) -> None:
    sha256 = write_json(tmp_path / "a.json", "run", BODY, config={"x": 1}, parents={"image": "abc"})
    header, body = read_json(tmp_path / "a.json", "run")
    assert body == BODY
    assert (header.sha256, header.config, header.parents) == (sha256, {"x": 1}, {"image": "abc"})
    assert header.written_by.startswith("napari-bloodcell ")


def test_arrays_come_back_with_their_header(tmp_path: Path) -> None:
    arrays = {"b": np.arange(6, dtype=np.int16).reshape(2, 3), "a": np.zeros((0, 4), np.float32)}
    sha256 = write_arrays(tmp_path / "a.safetensors", "classifier", arrays, parents={"embedder": "e"})
    header, found = read_arrays(tmp_path / "a.safetensors", "classifier")
    assert header.sha256 == sha256
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_hash_is_of_the_content_and_not_of_the_time(tmp_path: Path) -> None:
    one = write_json(tmp_path / "1.json", "run", BODY)
    two = write_json(tmp_path / "2.json", "run", dict(reversed(BODY.items())))
    other = write_json(tmp_path / "3.json", "run", BODY | {"empty": 0})
    assert one == two != other


def edit_json(path: Path, **header: object) -> None:
    content = json.loads(path.read_text())
    content["header"] |= header
    path.write_text(json.dumps(content))


def test_newer_version_names_the_release_to_install(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, "run", BODY)
    edit_json(path, version=7, needs_release="2.4")
    with pytest.raises(
        ArtifactError, match=r"run version 7; this release reads up to 1.*napari-bloodcell>=2\.4"
    ):
        read_json(path, "run")


def test_edited_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, "run", BODY)
    path.write_text(path.read_text().replace("2.5", "2.6"))
    with pytest.raises(ArtifactError, match="changed after it was written"):
        read_json(path, "run")


def test_edited_arrays_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_arrays(path, "classifier", {"a": np.ones(4, np.float32)})
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="changed after it was written"):
        read_arrays(path, "classifier")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a readable run file"),
        (b"\xff\xfe\x00", "not a readable run file"),
        (b"[1, 2]", "has no header"),
        (b'{"header": {"format": "napari-bloodcell/bundle", "version": 1}}', "Choose a run file"),
        (b'{"header": {"format": "napari-bloodcell/run", "version": "1"}}', "versions are whole numbers"),
    ],
)
def test_what_is_no_run_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=message):
        read_json(tmp_path / "a.json", "run")


def test_missing_file_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot be read: No such file"):
        read_json(tmp_path / "none.json", "run")


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"\xff" * 64])
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(ArtifactError, match="broken or no safetensors"):
        read_arrays(tmp_path / "a.safetensors", "classifier")


def test_absurd_size_is_refused_before_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact, "MAX_JSON_BYTES", 10)
    (tmp_path / "a.json").write_bytes(b" " * 11)
    with pytest.raises(ArtifactError, match="holds 11 bytes; the limit is 10"):
        read_json(tmp_path / "a.json", "run")


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ValueError, match="half way"), atomic_path(path) as temporary:
        temporary.write_text("new")
        raise ValueError("half way")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_full_disk_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with (
        pytest.raises(ArtifactError, match="No space left on device. What it held before is unchanged"),
        atomic_path(path),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert path.read_text() == "old"


def test_folder_in_the_way_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="could not be written"):
        write_json(tmp_path / "file" / "a.json", "run", BODY)
