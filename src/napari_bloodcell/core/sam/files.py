"""Hashes of files too large to read at once."""

import hashlib
from pathlib import Path

from napari_bloodcell.core.errors import WeightsError
from napari_bloodcell.core.progress import Progress, silent

CHUNK = 16 * 2**20
_MIB = 2**20


def hash_file(path: Path, *, progress: Progress = silent) -> str:
    """SHA-256 of a file, as 64 hex digits."""
    path, digest, done = Path(path), hashlib.sha256(), 0
    try:
        total = path.stat().st_size
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                done += len(chunk)
                progress("checking (MiB)", done // _MIB, total // _MIB)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}. Check the path.") from error
    return digest.hexdigest()
