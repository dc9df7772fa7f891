"""The files of a bundle: which may be there, and whether they are the ones that were written."""

import hashlib
from pathlib import Path
from typing import Any

from napari_bloodcell.core.errors import ArtifactError

MANIFEST = "bundle.json"
CARD = "README.md"
SUFFIXES = (".json", ".safetensors", ".md")
MAX_MEMBER_BYTES = 2 * 2**30
MAX_MEMBERS = 64


def check_members(folder: Path, members: dict[str, Any]) -> None:
    """Refuse listed files that are outside the folder, missing, too large, or not those that were listed."""
    if CARD not in members or not any(name.startswith("classifier") for name in members):
        raise ArtifactError(f"{folder / MANIFEST} does not list a classifier and {CARD}: not loaded.")
    if len(members) > MAX_MEMBERS:
        raise ArtifactError(
            f"{folder / MANIFEST} lists {len(members)} files; a bundle has {MAX_MEMBERS} at most: not loaded."
        )
    for name, wanted in members.items():
        path = folder / name
        if not is_plain(name) or path.is_symlink():
            raise ArtifactError(
                f"{folder / MANIFEST} names a file outside its folder ({name!r}): not loaded."
            )
        if path.suffix not in SUFFIXES:
            raise ArtifactError(
                f"{folder / MANIFEST} lists {name!r}; a bundle holds {', '.join(SUFFIXES)} only: not loaded."
            )
        if not path.is_file():
            raise ArtifactError(f"The bundle {folder} lacks its file {name}. Copy the whole folder again.")
        if path.stat().st_size > MAX_MEMBER_BYTES:
            raise ArtifactError(f"{path} is larger than {MAX_MEMBER_BYTES:,} bytes: not loaded.")
        if hash_file(path) != wanted:
            raise ArtifactError(f"{path} does not match the hash in {MANIFEST}: not loaded. Copy it again.")


def is_plain(name: str) -> bool:
    """Whether a name stays in its folder, on every system."""
    return bool(name) and not set(name) & set("/\\:\0") and name not in (".", "..")


def hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_free(folder: Path) -> None:
    """Before long work: a model gets a folder of its own, and the files of another purpose stay."""
    if folder.exists() and not folder.is_dir():
        raise ArtifactError(f"{folder} is a file; a model takes a folder. Give another name.")
    if folder.is_dir() and not (folder / MANIFEST).is_file() and any(folder.iterdir()):
        raise ArtifactError(f"{folder} holds files and no model. Give the new model a folder of its own.")
