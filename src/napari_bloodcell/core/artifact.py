"""Every file we write and read again: one header, no pickle, atomic writes.

The header names format, integer version, config, content hash and the hashes of the parents (the bundle a
result was made with, the embedder a classifier was trained on). JSON files carry it under ``"header"``,
safetensors files in their metadata.
"""

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.errors import ArtifactError, EngineError
from napari_bloodcell.core.folders import where_else

LOCK = ".lock"
MAX_JSON_BYTES = 64 * 2**20
MAX_ARRAY_BYTES = 4 * 2**30

# Format -> (version this release writes and reads up to, first release that reads that version).
FORMATS = {
    "adapter": (1, "0.1"),
    "bundle": (1, "0.1"),
    "cut-cells": (1, "0.1"),
    "classifier": (1, "0.1"),
    "differential": (1, "0.1"),
    "segmenter": (1, "0.1"),
    "embedding": (1, "0.1"),
    "embedder": (1, "0.1"),
    "features": (1, "0.1"),
    "judgement": (1, "0.1"),
    "run": (1, "0.1"),
    "slide-plan": (1, "0.1"),
    "outlines": (1, "0.1"),
    "patients": (1, "0.1"),
    "session": (1, "0.1"),
    "session-cells": (1, "0.1"),
    "batch": (1, "0.1"),
    "stain-profile": (1, "0.1"),
    "training": (1, "0.1"),
    "training-plan": (1, "0.1"),
    "trial": (1, "0.1"),
    "evaluation": (1, "0.1"),
    "report": (1, "0.1"),
    "restained": (1, "0.1"),
}


@dataclass(frozen=True, kw_only=True)
class Header:
    format: str
    version: int
    needs_release: str
    sha256: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    parents: Mapping[str, str] = field(default_factory=dict)
    written_by: str = ""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path that takes the place of ``path`` when the block ends well, and vanishes when not."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem[:40]}-", suffix=path.suffix)
    except OSError as error:
        raise cannot_write(path, error) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Before long work: a folder that cannot be written is named now, not at the end."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise cannot_write(folder, error) from error


def not_taken(path: Path) -> Path:
    """Before long work: a name that nobody chose never costs the file that has it."""
    if path.exists():
        raise ArtifactError(
            f"{path.absolute()} is there already and would be written over. Name another file with --out, or "
            "the same one to replace it."
        )
    return path


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """One run at a time writes to a folder; the lock goes with the process that holds it."""
    from filelock import FileLock, Timeout

    check_writable(folder)
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise EngineError(
            f"Another run is writing to {folder}. Wait until it ends, or choose another folder for --out."
        ) from error
    try:
        yield
    finally:
        lock.release()


def write_bytes(path: Path, content: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_json(
    path: Path,
    kind: str,
    body: Mapping[str, Any],
    *,
    config: Mapping[str, Any] | None = None,
    parents: Mapping[str, str] | None = None,
) -> str:
    """Write ``body`` under a header; returns its content hash."""
    header = _header(
        kind, _hash_json({"body": body, "config": config or {}, "parents": parents or {}}), config, parents
    )
    text = json.dumps({"header": asdict(header), **body}, indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes(path, text.encode() + b"\n")
    return header.sha256


def read_json(path: Path, kind: str) -> tuple[Header, dict[str, Any]]:
    path = Path(path)
    _check_size(path, MAX_JSON_BYTES)
    try:
        content = json.loads(path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(
            f"{path} is not a readable {kind} file ({error}). Copy it again from its source."
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("header"), dict):
        raise ArtifactError(f"{path} has no header: it is not a napari-bloodcell {kind} file.")
    header = _read_header(path, kind, content.pop("header"))
    found = _hash_json({"body": content, "config": header.config, "parents": header.parents})
    _check_hash(path, kind, header, found)
    return header, content


def write_arrays(
    path: Path,
    kind: str,
    arrays: Mapping[str, NDArray[Any]],
    *,
    config: Mapping[str, Any] | None = None,
    parents: Mapping[str, str] | None = None,
) -> str:
    """Write arrays as safetensors under a header; returns the content hash."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    ready = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    header = _header(kind, hash_arrays(ready, config or {}, parents or {}), config, parents)
    with atomic_path(path) as temporary:
        try:
            save_file(ready, temporary, metadata={"header": json.dumps(asdict(header))})
        except SafetensorError as error:  # it wraps what the system said
            number = errno.ENOSPC if "No space left" in str(error) else errno.EIO
            raise OSError(number, os.strerror(number)) from error
    return header.sha256


def read_arrays(path: Path, kind: str) -> tuple[Header, dict[str, NDArray[Any]]]:
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    _check_size(path, MAX_ARRAY_BYTES)
    try:
        with safe_open(path, framework="numpy") as file:
            stored = (file.metadata() or {}).get("header")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        raise ArtifactError(f"{path} is broken or no safetensors file ({error}). Copy it again.") from error
    if stored is None:
        raise ArtifactError(f"{path} has no header: it is not a napari-bloodcell {kind} file.")
    header = _read_header(path, kind, json.loads(stored))
    _check_hash(path, kind, header, hash_arrays(arrays, header.config, header.parents))
    return header, arrays


def read_kept(path: Path, kind: str) -> tuple[Header, dict[str, NDArray[Any]]] | None:
    """What an earlier run kept to save work; None where there is nothing, or a crash cut it short: the work
    is then done again."""
    try:
        return read_arrays(path, kind) if path.is_file() else None
    except ArtifactError:
        return None


def hash_of(value: Any) -> str:
    """SHA-256 of anything JSON can hold, the same on every machine."""
    return _hash_json(value)


def _header(
    kind: str, sha256: str, config: Mapping[str, Any] | None, parents: Mapping[str, str] | None
) -> Header:
    version, needs = FORMATS[kind]
    return Header(
        format=f"napari-bloodcell/{kind}",
        version=version,
        needs_release=needs,
        sha256=sha256,
        config=dict(config or {}),
        parents=dict(parents or {}),
        written_by=f"napari-bloodcell {installed_version('napari-bloodcell')}",
    )


def _read_header(path: Path, kind: str, stored: Mapping[str, Any]) -> Header:
    wanted = f"napari-bloodcell/{kind}"
    if stored.get("format") != wanted:
        raise ArtifactError(f"{path} is {stored.get('format')!r}, not {wanted!r}. Choose a {kind} file.")
    version, known = stored.get("version"), FORMATS[kind][0]
    if not isinstance(version, int) or version < 1:
        raise ArtifactError(f"{path} has version {version!r}; versions are whole numbers from 1.")
    if version > known:
        release = str(stored.get("needs_release", "a newer release"))
        raise ArtifactError(
            f"{path} is {kind} version {version}; this release reads up to {known}. "
            f"Install napari-bloodcell {release} or newer: pip install -U 'napari-bloodcell>={release}'"
        )
    fields = {name: stored[name] for name in Header.__dataclass_fields__ if name in stored}
    return Header(**fields)


def _check_size(path: Path, limit: int) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}. Check the path.") from error
    if size > limit:
        raise ArtifactError(
            f"{path} holds {size:,} bytes; the limit is {limit:,}. It is not one of our files."
        )


def _check_hash(path: Path, kind: str, header: Header, found: str) -> None:
    if header.sha256 != found:
        raise ArtifactError(
            f"{path} was changed after it was written: its content does not match its hash. "
            f"Take the original {kind} file again."
        )


def _hash_json(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def hash_arrays(
    arrays: Mapping[str, NDArray[Any]], config: Mapping[str, Any], parents: Mapping[str, str]
) -> str:
    """The hash ``write_arrays`` gives to this content."""
    digest = hashlib.sha256(_hash_json({"config": config, "parents": parents}).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}|{array.dtype.str}|{array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()


def cannot_write(path: Path, error: OSError) -> ArtifactError:
    """What to say when the disk refuses."""
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return ArtifactError(
            f"{path} could not be written: there is a file where a folder is needed. Choose another folder."
        )
    advice = "Free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else where_else(path)
    return ArtifactError(
        f"{path} could not be written: {error.strerror or error}. What it held before "
        f"is unchanged. {advice} and run again: what was finished before is kept."
    )
