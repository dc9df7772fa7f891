"""A bundle as one file: a zip archive whose members are stored, not compressed, so that none can swell.

The archive may come from anyone. Names, kinds and sizes of its members are checked before a byte is written.
"""

import stat
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from napari_bloodcell.core.artifact import MAX_JSON_BYTES, atomic_path
from napari_bloodcell.core.bundle.members import (
    MANIFEST,
    MAX_MEMBER_BYTES,
    MAX_MEMBERS,
    SUFFIXES,
    is_plain,
)
from napari_bloodcell.core.errors import ArtifactError

SUFFIX = ".bloodcell"
MAX_TOTAL_BYTES = 4 * 2**30
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same members make the same file, byte for byte
CHUNK = 2**20


def pack(folder: Path, names: Sequence[str], file: Path) -> None:
    with atomic_path(file) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(names):
            member = zipfile.ZipInfo(name, EPOCH)
            member.external_attr = (stat.S_IFREG | 0o644) << 16
            with (folder / name).open("rb") as source, archive.open(member, "w", force_zip64=True) as goal:
                while chunk := source.read(CHUNK):
                    goal.write(chunk)


@contextmanager
def opened(file: Path) -> Iterator[Path]:
    """The members in a folder that vanishes when the block ends."""
    with tempfile.TemporaryDirectory(prefix="bloodcell-") as name:
        folder = Path(name)
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                _check(file, members)
                for member in members:
                    _extract(archive, member, folder / member.filename)
        except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
            raise ArtifactError(f"{file} is broken or no bundle ({error}). Copy it again.") from error
        yield folder


def _check(file: Path, members: list[zipfile.ZipInfo]) -> None:
    names = [member.filename for member in members]
    if len(names) > MAX_MEMBERS or len(set(map(str.casefold, names))) < len(names):
        raise ArtifactError(
            f"{file} holds {len(names)} members, or one name twice; a bundle has {MAX_MEMBERS} at most, each "
            "once: not opened."
        )
    if MANIFEST not in names:
        raise ArtifactError(f"{file} holds no {MANIFEST}: it is no bundle.")
    for member in members:
        mode = member.external_attr >> 16
        if not is_plain(member.filename) or Path(member.filename).suffix not in SUFFIXES:
            raise ArtifactError(f"{file} has a member {member.filename!r} that no bundle has: not opened.")
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise ArtifactError(f"{file}: member {member.filename} is a link or no plain file: not opened.")
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 0x1:
            raise ArtifactError(
                f"{file}: member {member.filename} is compressed or locked; a bundle's are not: not opened. "
                "Make the file by `napari-bloodcell bundle pack`."
            )
        limit = MAX_JSON_BYTES if member.filename.endswith((".json", ".md")) else MAX_MEMBER_BYTES
        if member.file_size > limit:
            raise ArtifactError(
                f"{file}: member {member.filename} claims {member.file_size:,} bytes; limit {limit:,}. "
                "Not opened."
            )
    if sum(member.file_size for member in members) > MAX_TOTAL_BYTES:
        raise ArtifactError(f"{file} claims more than {MAX_TOTAL_BYTES:,} bytes: not opened.")


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    """Never more than announced, whatever the archive's own counts say."""
    left = member.file_size
    with archive.open(member) as source, path.open("xb") as goal:
        while chunk := source.read(min(CHUNK, left + 1)):
            left -= len(chunk)
            if left < 0:
                raise ArtifactError(f"Member {member.filename} is larger than announced: not opened.")
            goal.write(chunk)
