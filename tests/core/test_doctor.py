import subprocess
import sys
from pathlib import Path

import pytest

from napari_bloodcell.core import doctor
from napari_bloodcell.core.bundle import find_bundle
from napari_bloodcell.core.doctor import Finding, examine, is_healthy, to_text


def test_a_working_machine_is_healthy() -> None:
    findings = examine()
    assert is_healthy(findings), to_text(findings)
    topics = {finding.topic for finding in findings}
    assert {"python", "packages", "device", "bundle", "cache", "weights", "napari"} <= topics


def test_whatever_is_not_well_comes_with_its_command() -> None:
    for finding in examine():
        assert finding.state == "ok" or finding.mend


def test_a_missing_package_names_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", ("numpy", "no-such-package"))
    findings = examine()
    assert not is_healthy(findings)
    assert f"{sys.executable} -m pip install no-such-package" in to_text(findings)
    assert "1 to mend" in to_text(findings)


def test_a_cache_that_cannot_be_written_names_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BLOODCELL_CACHE", str(tmp_path / "file" / "cache"))
    assert "export BLOODCELL_CACHE=" in to_text(examine())
    assert not is_healthy(examine())


def test_a_nearly_full_disk_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MIN_FREE_GB", 1e9)
    assert "nearly full" in to_text(examine())


def test_no_screen_is_a_note_and_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_has", lambda name: True)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    notes = [f for f in examine() if f.topic == "screen"]
    assert [f.state for f in notes] == ["note"]
    assert "xvfb-run" in notes[0].mend


def test_no_qt_is_a_note_with_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_has", lambda name: False)
    notes = [f for f in examine() if f.topic == "Qt"]
    assert [f.state for f in notes] == ["note"]
    assert "napari-bloodcell[all]" in notes[0].mend


def test_a_window_that_cannot_open_names_the_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_has", lambda name: True)
    monkeypatch.setattr(
        doctor, "_GUI_PROBE", "import sys; sys.exit('libEGL.so.1: cannot open shared object file')"
    )
    monkeypatch.setenv("DISPLAY", ":77")
    monkeypatch.setattr(sys, "platform", "linux")
    finding = next(f for f in examine() if f.topic == "Qt and GL")
    assert finding.state == "broken"
    assert "libEGL.so.1" in finding.found
    assert "libegl1" in finding.mend


def test_a_broken_bundle_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_bloodcell.core import bundle

    nano = find_bundle("nano")
    (tmp_path / "bundles" / "nano").mkdir(parents=True)
    (tmp_path / "bundles" / "nano" / "bundle.json").write_bytes((nano / "bundle.json").read_bytes()[:-40])
    monkeypatch.setattr(bundle, "files", lambda name: tmp_path)
    broken = [f for f in examine() if f.topic == "bundle"]
    assert [f.state for f in broken] == ["broken"]


def test_the_command_exits_1_when_something_is_broken(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "napari_bloodcell.cli", "doctor"]
    (tmp_path / "file").write_text("")
    environment = {"PATH": "", "HOME": str(tmp_path), "BLOODCELL_CACHE": str(tmp_path / "file" / "x")}
    broken = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (broken.returncode, "BROKEN" in broken.stdout) == (1, True), broken.stderr
    well = subprocess.run(
        command, capture_output=True, text=True, env={"PATH": "", "HOME": str(tmp_path)}, check=False
    )
    assert (well.returncode, "Everything that matters works." in well.stdout) == (0, True), well.stderr


def test_the_text_lines_up() -> None:
    text = to_text(
        (Finding(topic="a", state="ok", found="x"), Finding(topic="b", state="note", found="y", mend="z"))
    )
    assert text.splitlines()[0].index("x") == text.splitlines()[1].index("y")
