"""Weights over the network: a server on loopback, and everything that goes wrong with one."""

import errno
import hashlib
import io
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from napari_bloodcell.core.errors import Cancelled, WeightsError
from napari_bloodcell.core.sam import download as download_module
from napari_bloodcell.core.sam import registry, weights
from napari_bloodcell.core.sam.registry import REGISTRY, Weights
from napari_bloodcell.core.sam.weights import fetch, find_weights, import_files, list_weights, remove, verify

CONTENT = bytes(range(256)) * 12_000  # 3 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """``break_at``: each connection ends after so many bytes. ``asked``: the Range of every request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.break_at, self.ranges = CONTENT, len(CONTENT) + 1, True
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/missing.pth":
            self.send_error(404)
            return
        if self.path == "/moved.pth":
            self.send_response(302)
            self.send_header("Location", f"{self.server.url}/tiny.pth")
            self.end_headers()
            return
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.server.ranges else 0
        if start >= len(self.server.content):
            self.send_error(416)
            return
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.break_at])
        self.close_connection = True


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as one:
        thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield one
        one.shutdown()
        thread.join()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BLOODCELL_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


@pytest.fixture
def tiny_weights(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Weights:
    one = Weights(
        name="tiny", file_name="tiny.pth", url=f"{server.url}/tiny.pth", size_bytes=len(CONTENT),
        sha256=SHA256, licence="CC0", citation="nobody",
    )  # fmt: skip
    monkeypatch.setitem(REGISTRY, "tiny", one)
    return one


def test_a_file_is_fetched_told_of_and_put_in_place(tiny_weights: Weights, folder: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    path = fetch("tiny", progress=lambda *one: seen.append(one))
    assert path == folder / "tiny.pth" == find_weights("tiny")
    assert path.read_bytes() == CONTENT
    assert [p.name for p in folder.iterdir()] == ["tiny.pth"]
    assert ("fetching (MiB)", 0, 2) in seen
    assert seen[-1] == ("checking (MiB)", 2, 2)


def test_what_is_here_is_not_fetched_again(tiny_weights: Weights, server: Server) -> None:
    fetch("tiny")
    fetch("tiny")
    assert server.asked == [None]


def test_a_broken_transfer_is_resumed_where_it_broke(tiny_weights: Weights, server: Server) -> None:
    server.break_at = 1_000_000
    path = fetch("tiny")
    assert path.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1000000-", "bytes=2000000-", "bytes=3000000-"]


def test_a_transfer_that_keeps_breaking_says_how_far_and_goes_on_later(
    tiny_weights: Weights, server: Server, folder: Path
) -> None:
    server.break_at = 100_000
    with pytest.raises(
        WeightsError, match=r"broke off at 400,000 of 3,072,000 bytes. What has arrived is\s+kept"
    ):
        fetch("tiny")
    assert (folder / "tiny.pth.part").stat().st_size == 400_000
    assert [s.state for s in list_weights() if s.weights.name == "tiny"] == ["partial"]
    server.break_at = len(CONTENT)
    assert fetch("tiny").read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=400000-"


def test_a_server_without_ranges_sends_all_again(tiny_weights: Weights, server: Server, folder: Path) -> None:
    folder.mkdir()
    (folder / "tiny.pth.part").write_bytes(b"x" * 500)
    server.ranges = False
    assert fetch("tiny").read_bytes() == CONTENT


def test_a_wrong_hash_is_refused_and_removed(tiny_weights: Weights, server: Server, folder: Path) -> None:
    server.content = b"y" + CONTENT[1:]
    with pytest.raises(
        WeightsError, match=rf"has the SHA-256 \w+\.\.\.; tiny.pth has {SHA256[:16]}.*It was removed"
    ):
        fetch("tiny")
    assert list(folder.iterdir()) == []
    server.content = CONTENT
    assert fetch("tiny").read_bytes() == CONTENT


@pytest.mark.parametrize("extra", [b"", b"z" * 10])
def test_a_part_that_is_not_ours_is_found_out(tiny_weights: Weights, folder: Path, extra: bytes) -> None:
    folder.mkdir()
    (folder / "tiny.pth.part").write_bytes(b"z" * len(CONTENT) + extra)
    if extra:  # too long: fetched anew
        assert fetch("tiny").read_bytes() == CONTENT
    else:
        with pytest.raises(WeightsError, match="It was removed"):
            fetch("tiny")
        assert fetch("tiny").read_bytes() == CONTENT


def test_a_file_that_shrank_on_the_server_is_not_waited_for(
    tiny_weights: Weights, server: Server, folder: Path
) -> None:
    server.content = CONTENT[:1000]
    with pytest.raises(WeightsError, match="broke off at"):
        fetch("tiny")


def test_404_names_the_answer_and_the_other_way(
    tiny_weights: Weights, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(REGISTRY, "tiny", replace(tiny_weights, url=f"{server.url}/missing.pth"))
    with pytest.raises(
        WeightsError, match=r"missing.pth: the server answers 404 Not Found.*models import FILE"
    ):
        fetch("tiny")


def test_a_redirect_is_followed_and_resumed(
    tiny_weights: Weights, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(REGISTRY, "tiny", replace(tiny_weights, url=f"{server.url}/moved.pth"))
    server.break_at = 2_000_000
    assert fetch("tiny").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=2000000-"]


def test_no_route_says_how_to_do_without(tiny_weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/tiny.pth"
    monkeypatch.setitem(REGISTRY, "tiny", replace(tiny_weights, url=url))
    with pytest.raises(WeightsError, match=r"cannot be reached: .*Connection refused.*models import FOLDER"):
        fetch("tiny")


def test_only_web_addresses_are_opened(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="file:///etc/passwd is no web address"):
        download_module.download("file:///etc/passwd", tmp_path / "a.part", 10)


def test_a_disk_too_small_is_told_before_anything_is_fetched(
    tiny_weights: Weights, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_module, "SPARE_BYTES", 10**18)
    with pytest.raises(WeightsError, match=r"GB free; 0.0 GB are needed.*export BLOODCELL_WEIGHTS="):
        fetch("tiny")
    assert server.asked == []


def test_a_disk_that_fills_up_keeps_what_has_arrived(
    tiny_weights: Weights, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    class Full(io.FileIO):
        def write(self, data: object) -> int:
            if self.tell() >= 2**20:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)

    def opened(path: Path, mode: str = "r", *rest: object, **more: object) -> object:
        return (
            Full(path, mode)
            if path.suffix == ".part" and mode in ("ab", "wb")
            else real(path, mode, *rest, **more)
        )

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", opened)
        with pytest.raises(WeightsError, match=r"The disk of .* is full.*what has arrived is kept"):
            fetch("tiny")
    assert (folder / "tiny.pth.part").stat().st_size >= 2**20
    assert fetch("tiny").read_bytes() == CONTENT


def test_cancel_keeps_what_has_arrived(tiny_weights: Weights, server: Server, folder: Path) -> None:
    def progress(stage: str, done: int, total: int) -> None:
        if done >= 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        fetch("tiny", progress=progress)
    assert (folder / "tiny.pth.part").stat().st_size >= 2**20
    assert not (folder / "tiny.pth").exists()
    fetch("tiny")
    assert server.asked[-1].startswith("bytes=")


def test_weights_that_are_not_here_come_with_their_command(tiny_weights: Weights, folder: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"'tiny' are not here .*models fetch tiny \(3 MB\).*models import"
    ):
        find_weights("tiny")
    folder.mkdir()
    (folder / "tiny.pth").write_bytes(b"short")
    with pytest.raises(WeightsError, match="are not what they should be"):
        find_weights("tiny")
    with pytest.raises(WeightsError, match="No weights are called 'vit_x'. There are: vit_b, vit_l, vit_h"):
        find_weights("vit_x")


def test_verify_finds_a_changed_file_and_fetch_mends_it(tiny_weights: Weights, folder: Path) -> None:
    path = fetch("tiny")
    assert [(s.weights.name, s.verified) for s in verify()] == [("tiny", True)]
    path.write_bytes(b"y" + CONTENT[1:])
    assert [(s.state, s.verified) for s in verify(["tiny"])] == [("wrong", False)]
    fetch("tiny")
    assert verify(["tiny"])[0].verified
    assert verify(["vit_b"])[0].state == "absent"


def test_a_changed_file_is_never_loaded(tiny_weights: Weights, folder: Path) -> None:
    from napari_bloodcell.core.sam.model import load_weights

    folder.mkdir()
    (folder / "tiny.pth").write_bytes(b"y" + CONTENT[1:])
    with pytest.raises(WeightsError, match="expected is .*was not loaded"):
        load_weights("tiny")


def test_remove_frees_the_file_and_its_part(tiny_weights: Weights, folder: Path) -> None:
    fetch("tiny")
    (folder / "tiny.pth.part").write_bytes(b"abc")
    assert remove("tiny") == len(CONTENT) + 3
    assert list(folder.iterdir()) == []
    assert remove("tiny") == 0


def test_import_knows_files_by_their_hash_in_any_folder(
    tiny_weights: Weights, folder: Path, tmp_path: Path
) -> None:
    stick = tmp_path / "stick" / "deep"
    stick.mkdir(parents=True)
    (stick / "renamed.bin").write_bytes(CONTENT)
    (stick / "other.pth").write_bytes(b"y" + CONTENT[1:])
    (stick / "notes.txt").write_text("hello")
    assert import_files(tmp_path / "stick") == (folder / "tiny.pth",)
    assert (folder / "tiny.pth").read_bytes() == CONTENT
    assert import_files(folder) == (folder / "tiny.pth",)  # from its own folder: nothing to copy
    with pytest.raises(WeightsError, match=r"other.pth holds none of: vit_b, .*tiny .told by their SHA-256"):
        import_files(stick / "other.pth")
    with pytest.raises(WeightsError, match="is not there"):
        import_files(tmp_path / "none")


def test_metas_files_are_registered_as_published() -> None:
    metas = {name: one for name, one in registry.REGISTRY.items() if name.startswith("vit_")}
    assert {name: one.sha256[:8] for name, one in metas.items()} == {
        "vit_b": "ec2df627", "vit_l": "3adcc431", "vit_h": "a7bf3b02",
    }  # fmt: skip
    assert REGISTRY["vit_b"].size_bytes == 375_042_383
    for one in metas.values():
        assert one.url == f"https://dl.fbaipublicfiles.com/segment_anything/{one.file_name}"
        assert one.licence == "Apache-2.0"
        assert "Segment Anything" in one.citation


def test_torchvisions_files_carry_the_start_of_their_hash_in_their_name() -> None:
    for name in ("resnet18", "resnet50"):
        one = REGISTRY[name]
        assert one.url == f"https://download.pytorch.org/models/{one.file_name}"
        assert one.file_name == f"{name}-{one.sha256[:8]}.pth"


def test_the_command_line_lists_fetches_verifies_and_removes(
    tiny_weights: Weights, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_bloodcell.cli import main

    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["models", *arguments])
        written = capsys.readouterr()
        return int(ended.value.code or 0), written.out + written.err

    shown = run("list")[1]
    assert "tiny     absent" in shown
    assert tiny_weights.url in shown  # for those who fetch it by hand, on another machine
    assert run("verify") == (0, "No weights are here.\n")
    code, said = run("fetch", "tiny")
    assert code == 0
    assert "Licence CC0. Please cite: nobody" in said
    assert "matches its hash" in run("verify")[1]
    (folder / "tiny.pth").write_bytes(b"y" + CONTENT[1:])
    assert run("verify", "tiny")[0] == 1
    assert "3 MB are free again" in run("remove", "tiny")[1]
    code, said = run("import", str(folder))
    assert code == 1
    assert f"{folder} holds none of: " in said


def test_nothing_here_loads_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys, napari_bloodcell.core.sam.weights as w; w.list_weights(); "
        "assert not {'torch', 'segment_anything', 'peft', 'numpy.core'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert weights.list_weights()
