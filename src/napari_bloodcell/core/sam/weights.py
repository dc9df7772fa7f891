"""Checkpoints on this machine: list, fetch, import, verify, remove. A file that does not match is never used.

They live in ``weights_folder()``. Only ``fetch`` goes to the network, and only when it is called.
"""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from napari_bloodcell.core.artifact import atomic_path
from napari_bloodcell.core.errors import WeightsError
from napari_bloodcell.core.folders import weights_folder
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.sam.download import check_space, download
from napari_bloodcell.core.sam.files import hash_file
from napari_bloodcell.core.sam.registry import REGISTRY, Weights, known

State = Literal["here", "absent", "partial", "wrong"]
SUFFIXES = (".pth", ".pt", ".safetensors", ".bin", ".ckpt")


@dataclass(frozen=True, kw_only=True)
class Status:
    """What is there of one file. ``here`` means the right length; only ``verified`` says the hash fits."""

    weights: Weights
    path: Path
    state: State
    verified: bool = False


def list_weights() -> tuple[Status, ...]:
    """Every registered file and whether it is here; nothing is read but lengths."""
    return tuple(_status(weights) for weights in REGISTRY.values())


def find_weights(name: str) -> Path:
    """The path of weights that are here, by length; ``load_weights`` checks the hash too, at each load."""
    status = _status(known(name))
    if status.state == "here":
        return status.path
    told = {
        "absent": "are not here",
        "partial": "are here in part only",
        "wrong": "are not what they should be",
    }
    raise WeightsError(
        f"The weights {name!r} {told[status.state]} ({status.path}). Get them with: napari-bloodcell models "
        f"fetch {name} ({status.weights.size_bytes / 1e6:,.0f} MB), or, without internet, with: models import"
    )


def fetch(name: str, *, progress: Progress = silent) -> Path:
    """Download, compare the hash, put in place. Called again it goes on where it broke off."""
    weights = known(name)
    path = _path(weights)
    if path.is_file() and hash_file(path, progress=progress) == weights.sha256:
        return path
    part = _part(weights)
    download(weights.url, part, weights.size_bytes, progress=progress)
    found = hash_file(part, progress=progress)
    if found != weights.sha256:
        part.unlink()
        raise WeightsError(
            f"What {weights.url} sent has the SHA-256 {found[:16]}...; {weights.file_name} has "
            f"{weights.sha256[:16]}.... It was removed. Try again, or from another network."
        )
    part.replace(path)
    return path


def import_files(source: Path, *, progress: Progress = silent) -> tuple[Path, ...]:
    """Bring weights in from a file or a folder. They are told by their hash, whatever they are called."""
    source = Path(source)
    if not source.exists():
        raise WeightsError(f"{source} is not there. Give a file or a folder that holds checkpoints.")
    files = [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.suffix in SUFFIXES)
    by_hash = {weights.sha256: weights for weights in REGISTRY.values()}
    sizes = {weights.size_bytes for weights in REGISTRY.values()}
    taken = []
    for file in files:
        if file.stat().st_size not in sizes:
            continue  # a large file that cannot be one of ours is not read through
        weights = by_hash.get(hash_file(file, progress=progress))
        if weights is not None:
            taken.append(_copy_in(file, weights))
    if not taken:
        raise WeightsError(
            f"{source} holds none of: {_names(REGISTRY.values())} (told by their SHA-256). "
            "Other checkpoints of the format need no import: give their path where a model is asked for."
        )
    return tuple(taken)


def verify(names: Iterable[str] = (), *, progress: Progress = silent) -> tuple[Status, ...]:
    """Read each file that is here (or those named) and compare its hash."""
    chosen = [known(name) for name in names]
    found = []
    for status in map(_status, chosen or REGISTRY.values()):
        if status.state != "here":
            if chosen or status.state == "wrong":
                found.append(status)
            continue
        fits = hash_file(status.path, progress=progress) == status.weights.sha256
        state: State = "here" if fits else "wrong"
        found.append(Status(weights=status.weights, path=status.path, state=state, verified=fits))
    return tuple(found)


def remove(name: str) -> int:
    """Delete a file and what was fetched of it; returns the bytes that are free again."""
    weights = known(name)
    freed = 0
    for path in (_path(weights), _part(weights)):
        if path.is_file():
            freed += path.stat().st_size
            path.unlink()
    return freed


def _status(weights: Weights) -> Status:
    path = _path(weights)
    state: State = "absent"
    if path.is_file():
        state = "here" if path.stat().st_size == weights.size_bytes else "wrong"
    elif _part(weights).is_file():
        state = "partial"
    return Status(weights=weights, path=path, state=state)


def _copy_in(file: Path, weights: Weights) -> Path:
    target = _path(weights)
    if target.exists() and target.samefile(file):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    check_space(target.parent, weights.size_bytes)
    with atomic_path(target) as temporary:
        shutil.copyfile(file, temporary)
    if hash_file(target) != weights.sha256:  # a disk that lies, or a file that changed while it was copied
        target.unlink()
        raise WeightsError(
            f"{file} did not arrive whole in {target.parent}. It was removed; import it again."
        )
    _part(weights).unlink(missing_ok=True)
    return target


def _path(weights: Weights) -> Path:
    return weights_folder() / weights.file_name


def _part(weights: Weights) -> Path:
    return weights_folder() / f"{weights.file_name}.part"


def _names(several: Iterable[Weights]) -> str:
    return ", ".join(weights.name for weights in several)
