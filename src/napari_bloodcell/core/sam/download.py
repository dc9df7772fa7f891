"""One file from the network: resumed where it broke off, told as it goes, never half-written in its place."""

import errno
import http.client
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from napari_bloodcell.core.errors import WeightsError
from napari_bloodcell.core.folders import is_offline
from napari_bloodcell.core.progress import Progress, silent

CHUNK = 2**20
TIMEOUT_S = 30
ATTEMPTS = 4  # in one call; another call goes on from there
SPARE_BYTES = 64 * 2**20
HTTP_PARTIAL, HTTP_RANGE = 206, 416
_MIB = 2**20


def download(url: str, part: Path, size_bytes: int, *, progress: Progress = silent) -> None:
    """Fill ``part`` from ``url`` until it has ``size_bytes``. What is there already is not fetched again;
    what arrived stays when the transfer breaks, or is cancelled."""
    if is_offline():
        raise WeightsError(
            f"Downloads are switched off, so {url} was not fetched. Switch Offline off in the Preferences "
            "(or unset BLOODCELL_OFFLINE), or bring the file in with: napari-bloodcell models import FILE"
        )
    if not url.startswith(("https://", "http://")):
        raise WeightsError(f"{url} is no web address; it takes https:// or http://.")
    part.parent.mkdir(parents=True, exist_ok=True)
    _check_space(part, size_bytes)
    for _ in range(ATTEMPTS):
        before = _size(part)
        if before > size_bytes:  # not ours, or the file behind the address has changed
            part.unlink()
        _receive(url, part, size_bytes, progress)
        if _size(part) == size_bytes:
            return
        if _size(part) == before:
            break
    raise WeightsError(
        f"The transfer of {url} broke off at {_size(part):,} of {size_bytes:,} bytes. What has arrived is "
        "kept: run it again to go on from there."
    )


def _receive(url: str, part: Path, size_bytes: int, progress: Progress) -> None:
    """One connection; returns when it ends, however early."""
    start = _size(part)
    if start == size_bytes:
        return
    request = urllib.request.Request(url, headers={"User-Agent": "napari-bloodcell"})  # noqa: S310 (checked)
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 (checked)
            going_on = start > 0 and answer.status == HTTP_PARTIAL
            _store(answer, part, size_bytes, going_on, progress)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == HTTP_RANGE:  # nothing after what we have: begin anew
            part.unlink(missing_ok=True)
            return
        raise WeightsError(
            f"{url}: the server answers {error.code} {error.reason}. The file may have moved: fetch it with "
            "a browser and bring it in with: napari-bloodcell models import FILE"
        ) from error
    except urllib.error.URLError as error:
        raise WeightsError(
            f"{url} cannot be reached: {error.reason}. On a machine without internet, fetch the file "
            "elsewhere and bring it in with: napari-bloodcell models import FOLDER"
        ) from error
    except (ConnectionError, TimeoutError, http.client.HTTPException):
        return  # broke off: the caller counts the bytes


def _store(answer: Any, part: Path, size_bytes: int, going_on: bool, progress: Progress) -> None:
    try:
        with part.open("ab" if going_on else "wb") as file:
            while file.tell() <= size_bytes:
                progress("fetching (MiB)", file.tell() // _MIB, size_bytes // _MIB)
                chunk = answer.read(CHUNK)
                if not chunk:
                    break
                file.write(chunk)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise WeightsError(
            f"The disk of {part.parent} is full. Free some space and run it again: what has arrived is kept. "
            "Or choose another disk: export BLOODCELL_WEIGHTS=/a/larger/disk"
        ) from error


def _check_space(part: Path, size_bytes: int) -> None:
    check_space(part.parent, size_bytes - _size(part))


def check_space(folder: Path, needed_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed_bytes + SPARE_BYTES and needed_bytes > 0:
        raise WeightsError(
            f"{folder} has {free / 2**30:.1f} GB free; {needed_bytes / 2**30:.1f} GB are needed. Nothing was "
            "fetched. Free some space, or choose another disk: export BLOODCELL_WEIGHTS=/a/larger/disk"
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
