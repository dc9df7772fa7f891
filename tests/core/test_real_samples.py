"""Real fields fetched on demand, from a server on loopback."""

import hashlib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.real_samples import FIELDS, RealSample, fetch_fields

CONTENT = b"a picture" * 100
ONE = RealSample(name="one.jpg", size_bytes=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BLOODCELL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BLOODCELL_OFFLINE", raising=False)
    return tmp_path / "cache" / "samples"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "one.jpg").write_bytes(CONTENT)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "served"))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_a_field_is_fetched_once_and_then_read_from_the_cache(server: str, cache: Path) -> None:
    assert fetch_fields([ONE], server) == [cache / "one.jpg"]
    assert (cache / "one.jpg").read_bytes() == CONTENT
    assert fetch_fields([ONE], "http://127.0.0.1:9/") == [cache / "one.jpg"]


def test_another_picture_under_that_name_is_refused_and_removed(server: str, cache: Path) -> None:
    other = RealSample(name="one.jpg", size_bytes=len(CONTENT), sha256="0" * 64)
    with pytest.raises(DataError, match="is not the picture it was; it was removed"):
        fetch_fields([other], server)
    assert list(cache.iterdir()) == []


def test_offline_nothing_is_asked_and_what_is_here_is_used(
    server: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLOODCELL_OFFLINE", "1")
    with pytest.raises(DataError, match="Downloads are switched off"):
        fetch_fields([ONE], server)
    assert not cache.exists()
    monkeypatch.delenv("BLOODCELL_OFFLINE")
    fetch_fields([ONE], server)
    monkeypatch.setenv("BLOODCELL_OFFLINE", "1")
    assert fetch_fields([ONE], server) == [cache / "one.jpg"]


def test_a_server_that_is_not_there_is_told_with_what_to_do(cache: Path) -> None:
    with pytest.raises(
        DataError, match=r"one.jpg could not be fetched: .* The synthetic samples need no network"
    ):
        fetch_fields([ONE], "http://127.0.0.1:9/")


def test_the_list_is_of_different_pictures() -> None:
    assert len({one.sha256 for one in FIELDS}) == len({one.name for one in FIELDS}) == 3
