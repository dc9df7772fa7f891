"""A bundle: everything the chain needs, in one folder or one file that describes itself and can run no code.

``bundle.json`` names the kind and the hash of each part and the hash of each file beside it. The parts write
and read their own files (``core/parts.py``); the bundle checks that those are the files that were written.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from napari_bloodcell.core.artifact import read_json, write_bytes, write_json
from napari_bloodcell.core.bundle.archive import SUFFIX, opened, pack
from napari_bloodcell.core.bundle.members import CARD, MANIFEST, check_members, hash_file
from napari_bloodcell.core.classify import CLASSIFIERS, Classifier
from napari_bloodcell.core.embed import EMBEDDERS, Embedder
from napari_bloodcell.core.errors import ArtifactError
from napari_bloodcell.core.parts import Part, Registry
from napari_bloodcell.core.segment import SEGMENTERS, Segmenter
from napari_bloodcell.core.stain.profile import StainProfile, load_profile
from napari_bloodcell.core.taxonomy import DEFAULT, normalise

__all__ = [
    "Bundle",
    "find_bundle",
    "is_bundle",
    "load_bundle",
    "pack_bundle",
    "save_bundle",
    "shipped",
    "verify_bundle",
]

BEFORE = "classifier-before.safetensors"
ROLES: dict[str, Registry] = {"segmenter": SEGMENTERS, "embedder": EMBEDDERS, "classifier": CLASSIFIERS}


@dataclass(frozen=True, kw_only=True, eq=False)
class Bundle:
    name: str
    title: str  # what it is, honestly, in one line
    hash: str
    segmenter: Segmenter
    embedder: Embedder
    classifier: Classifier
    scores: dict[str, Any]
    card: str
    taxonomy: dict[str, str] = field(default_factory=dict)  # class -> coarse class
    stains: tuple[StainProfile, ...] = ()  # of the labs it was made with
    provenance: dict[str, Any] = field(default_factory=dict)  # what it was made from, and how
    before: Classifier | None = None  # the classifier before the last adaptation, to undo it


def shipped() -> list[str]:
    """Names of the bundles inside the package."""
    folder = Path(str(files("napari_bloodcell"))) / "bundles"
    return sorted(path.parent.name for path in folder.glob(f"*/{MANIFEST}"))


def find_bundle(name_or_path: str | Path) -> Path:
    """A shipped bundle's name, or the folder or file of any other."""
    own = Path(str(files("napari_bloodcell"))) / "bundles" / str(name_or_path)
    if str(name_or_path).endswith(".safetensors") and Path(name_or_path).is_file():
        raise ArtifactError(
            f"{name_or_path} is a classifier, or weights: a part of a model. Make a bundle of it: "
            "`napari-bloodcell bundle build`."
        )
    for place in (own, Path(str(name_or_path))):
        if (place / MANIFEST).is_file() or (place.suffix == SUFFIX and place.is_file()):
            return place
    raise ArtifactError(
        f"No bundle {str(name_or_path)!r}. Shipped: {', '.join(shipped())}. "
        f"Or give the path of a folder that holds {MANIFEST}, or of a file that ends in {SUFFIX}."
    )


def is_bundle(name_or_path: str | Path) -> bool:
    """Whether this is the name of a shipped bundle, or the folder or file of another."""
    try:
        find_bundle(name_or_path)
    except ArtifactError:
        return False
    return True


_loaded: dict[str, Bundle] = {}


def load_bundle(name_or_path: "str | Path | Bundle" = "nano") -> Bundle:
    """Read and verify a bundle; each is kept once, by its hash."""
    if isinstance(name_or_path, Bundle):
        return name_or_path
    with _folder_of(find_bundle(name_or_path)) as folder:
        header, body = read_json(folder / MANIFEST, "bundle")
        if header.sha256 not in _loaded:
            _loaded[header.sha256] = _read(folder, header.sha256, body)
    return _loaded[header.sha256]


def verify_bundle(name_or_path: str | Path) -> dict[str, str]:
    """Read everything anew, past what is loaded already; the files and their hashes."""
    with _folder_of(find_bundle(name_or_path)) as folder:
        header, body = read_json(folder / MANIFEST, "bundle")
        _read(folder, header.sha256, body)
    members: dict[str, str] = body["files"]
    return {MANIFEST: header.sha256} | members


def pack_bundle(name_or_path: str | Path, file: Path) -> Path:
    """A bundle's folder as one file, to send or to archive; nothing unlisted goes in."""
    file = file if file.suffix == SUFFIX else file.with_name(file.name + SUFFIX)
    names = verify_bundle(name_or_path)
    with _folder_of(find_bundle(name_or_path)) as folder:
        pack(folder, list(names), file)
    return file


def save_bundle(  # noqa: PLR0913 (each is one part of the bundle)
    folder: Path,
    *,
    title: str,
    segmenter: Segmenter,
    embedder: Embedder,
    classifier: Classifier,
    scores: Mapping[str, Any],
    card: str,
    stains: Sequence[StainProfile] = (),
    provenance: Mapping[str, Any] | None = None,
    before: Classifier | None = None,
) -> str:
    """Write a bundle and return its hash. The manifest comes last: a half-written folder is no bundle."""
    if classifier.embedder != embedder.hash:
        raise ArtifactError(
            f"The classifier was trained on vectors of embedder {classifier.embedder[:12]}, the bundle's is "
            f"{embedder.hash[:12]}. Put in the embedder that made the training vectors."
        )
    folder.mkdir(parents=True, exist_ok=True)
    stale = _listed(folder)
    (folder / MANIFEST).unlink(missing_ok=True)
    parts: dict[str, Part] = {"segmenter": segmenter, "embedder": embedder, "classifier": classifier}
    names = [name for role, part in parts.items() for name in _save_part(folder, role, part)]
    names += _save_stains(folder, stains)
    if before is not None:
        before.write(folder / BEFORE)
        names.append(BEFORE)
    write_bytes(folder / CARD, card.encode())
    members = {name: hash_file(folder / name) for name in [*names, CARD]}
    body = {
        "name": folder.name,
        "title": title,
        **{role: part.kind for role, part in parts.items()},
        "parts": {role: part.hash for role, part in parts.items() if role != "classifier"},
        "taxonomy": {name: DEFAULT.coarse(name) for name in classifier.class_names},
        "scores": dict(scores),
        "provenance": dict(provenance or {}),
        "files": members,
    }
    sha256 = write_json(folder / MANIFEST, "bundle", body)
    for name in stale - set(members):
        (folder / name).unlink(missing_ok=True)
    return sha256


def _save_part(folder: Path, role: str, part: Part) -> list[str]:
    names = part.save(folder)
    wrong = [name for name in names if not name.startswith(role) or Path(name).name != name]
    if wrong:
        raise ArtifactError(f"The {role} {part.kind!r} wrote {wrong[0]!r}; its files begin with {role!r}.")
    return names


def _save_stains(folder: Path, stains: Sequence[StainProfile]) -> list[str]:
    names = [f"stain-{normalise(profile.name) or number}.json" for number, profile in enumerate(stains)]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ArtifactError(
            f"Two stain profiles would be written to {min(twice)}. Name each lab differently."
        )
    for name, profile in zip(names, stains, strict=True):
        profile.save(folder / name)
    return names


def _listed(folder: Path) -> set[str]:
    """Files of the bundle that stood here before; only plain names, so nothing else is ever removed."""
    try:
        listed = read_json(folder / MANIFEST, "bundle")[1].get("files", {})
    except ArtifactError:
        return set()
    return {name for name in listed if Path(name).name == name}


@contextmanager
def _folder_of(place: Path) -> Iterator[Path]:
    """A bundle's folder; that of a file is there only for a moment."""
    if place.is_dir():
        yield place
        return
    with opened(place) as folder:
        yield folder


def _read(folder: Path, sha256: str, body: dict[str, Any]) -> Bundle:
    _check_body(folder, body)
    check_members(folder, body["files"])
    parts = {role: _part(folder, role, known, body) for role, known in ROLES.items()}
    if parts["classifier"].embedder != parts["embedder"].hash:
        raise ArtifactError(
            f"The classifier of {folder} was trained on another version of embedder {body['embedder']!r}. "
            "Use the bundle with the release it was made for, or take a newer bundle."
        )
    stains = [name for name in sorted(body["files"]) if re.fullmatch(r"stain-\w+\.json", name)]
    return Bundle(
        name=str(body["name"]),
        title=str(body["title"]),
        hash=sha256,
        scores=body["scores"],
        card=(folder / CARD).read_text(),
        taxonomy=body.get("taxonomy", {}),
        stains=tuple(load_profile(folder / name) for name in stains),
        provenance=body.get("provenance", {}),
        before=Classifier.read(folder / BEFORE) if BEFORE in body["files"] else None,
        **parts,
    )


def _check_body(folder: Path, body: dict[str, Any]) -> None:
    kinds = {"name": str, "title": str, "scores": dict, "files": dict} | dict.fromkeys(ROLES, str)
    for key, kind in kinds.items():
        if not isinstance(body.get(key), kind):
            raise ArtifactError(
                f"{folder / MANIFEST} has no valid {key!r}: not loaded. Take the original file."
            )


def _part(folder: Path, role: str, known: Registry, body: dict[str, Any]) -> Any:
    if body[role] not in known:
        raise ArtifactError(
            f"{folder / MANIFEST} asks for {role} {body[role]!r}; this release has {', '.join(known)}. "
            "Install a newer release (pip install -U napari-bloodcell), or the package that brings it."
        )
    part = known[body[role]].load(folder)
    wanted = body.get("parts", {}).get(role)
    if wanted is not None and part.hash != wanted:
        raise ArtifactError(
            f"The {role} {body[role]!r} of this release is another version than the one {folder} was made "
            "with. Use the bundle with the release it was made for, or take a newer bundle."
        )
    return part
