"""A bundle: everything the chain needs, in one folder that describes itself and can run no code.

``bundle.json`` names the kinds of its segmenter and embedder and the hash of each file beside it.
"""

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from napari_bloodcell.core.artifact import read_json, write_json
from napari_bloodcell.core.classify import LinearClassifier
from napari_bloodcell.core.embed import EMBEDDERS, Embedder
from napari_bloodcell.core.errors import ArtifactError
from napari_bloodcell.core.segment import SEGMENTERS, Segmenter

MANIFEST = "bundle.json"
CLASSIFIER = "classifier.safetensors"
CARD = "README.md"
MAX_MEMBER_BYTES = 2 * 2**30


@dataclass(frozen=True, kw_only=True, eq=False)
class Bundle:
    name: str
    title: str  # what it is, honestly, in one line
    hash: str
    segmenter: Segmenter
    embedder: Embedder
    classifier: LinearClassifier
    scores: dict[str, Any]
    card: str


def shipped() -> list[str]:
    """Names of the bundles inside the package."""
    folder = Path(str(files("napari_bloodcell"))) / "bundles"
    return sorted(path.parent.name for path in folder.glob(f"*/{MANIFEST}"))


def find_bundle(name_or_path: str | Path) -> Path:
    """A shipped bundle's name, or the folder of any other."""
    own = Path(str(files("napari_bloodcell"))) / "bundles" / str(name_or_path)
    for folder in (own, Path(name_or_path)):
        if (folder / MANIFEST).is_file():
            return folder
    raise ArtifactError(
        f"No bundle {str(name_or_path)!r}. Shipped: {', '.join(shipped())}. "
        f"Or give the path of a folder that holds {MANIFEST}."
    )


_loaded: dict[str, Bundle] = {}


def load_bundle(name_or_path: "str | Path | Bundle" = "nano") -> Bundle:
    """Read and verify a bundle; each is kept once, by its hash."""
    if isinstance(name_or_path, Bundle):
        return name_or_path
    folder = find_bundle(name_or_path)
    header, body = read_json(folder / MANIFEST, "bundle")
    if header.sha256 not in _loaded:
        _check_members(folder, body.get("files", {}))
        _loaded[header.sha256] = _build(folder, header.sha256, body)
    return _loaded[header.sha256]


def save_bundle(  # noqa: PLR0913 (each is one part of the bundle)
    folder: Path,
    *,
    title: str,
    segmenter: str,
    embedder: str,
    classifier: LinearClassifier,
    scores: dict[str, Any],
    card: str,
) -> str:
    """Write a bundle; the manifest comes last, so that a half-written folder is no bundle."""
    folder.mkdir(parents=True, exist_ok=True)
    classifier.save(folder / CLASSIFIER)
    (folder / CARD).write_text(card)
    members = {name: _hash_file(folder / name) for name in (CLASSIFIER, CARD)}
    body = {
        "name": folder.name,
        "title": title,
        "segmenter": segmenter,
        "embedder": embedder,
        "classifier": classifier.kind,
        "scores": scores,
        "files": members,
    }
    return write_json(folder / MANIFEST, "bundle", body)


def _build(folder: Path, sha256: str, body: dict[str, Any]) -> Bundle:
    embedder = _kind(folder, "embedder", body, EMBEDDERS)()
    classifier = LinearClassifier.load(folder / CLASSIFIER)
    if classifier.embedder != embedder.hash:
        raise ArtifactError(
            f"The classifier of {folder} was trained on another version of embedder {body['embedder']!r}. "
            "Use the bundle with the release it was made for, or take a newer bundle."
        )
    return Bundle(
        name=str(body["name"]),
        title=str(body["title"]),
        hash=sha256,
        segmenter=_kind(folder, "segmenter", body, SEGMENTERS)(),
        embedder=embedder,
        classifier=classifier,
        scores=body["scores"],
        card=(folder / CARD).read_text(),
    )


def _kind(folder: Path, role: str, body: dict[str, Any], known: dict[str, Any]) -> Any:
    if body.get(role) not in known:
        raise ArtifactError(
            f"{folder / MANIFEST} asks for {role} {body.get(role)!r}; this release has {', '.join(known)}. "
            "Install a newer release: pip install -U napari-bloodcell"
        )
    return known[body[role]]


def _check_members(folder: Path, members: dict[str, str]) -> None:
    for name, wanted in members.items():
        path = folder / name
        if Path(name).name != name or path.is_symlink():
            raise ArtifactError(
                f"{folder / MANIFEST} names a file outside its folder ({name!r}): not loaded."
            )
        if not path.is_file():
            raise ArtifactError(f"The bundle {folder} lacks its file {name}. Copy the whole folder again.")
        if path.stat().st_size > MAX_MEMBER_BYTES:
            raise ArtifactError(f"{path} is larger than {MAX_MEMBER_BYTES:,} bytes: not loaded.")
        if _hash_file(path) != wanted:
            raise ArtifactError(f"{path} does not match the hash in {MANIFEST}: not loaded. Copy it again.")
    if not {CLASSIFIER, CARD} <= set(members):
        raise ArtifactError(f"{folder / MANIFEST} does not list {CLASSIFIER} and {CARD}: not loaded.")


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
