"""What this machine has, what is missing, and the exact command that mends it.

Qt, GL and napari are asked in a process of their own: the core never imports them, and a broken graphics
driver must not take the doctor down with it.
"""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from napari_bloodcell.core.device import resolve
from napari_bloodcell.core.errors import ArtifactError
from napari_bloodcell.core.folders import cache_folder, weights_folder

GUI_PROBE_SECONDS = 60
MIN_FREE_GB = 1.0
GUI_LIBRARIES = (
    "xvfb libgl1 libegl1 libgl1-mesa-dri libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 "
    "libxcb-image0 libxcb-render-util0 libxcb-xinerama0 libxcb-shape0 libdbus-1-3 libglib2.0-0 "
    "libfontconfig1 fontconfig fonts-dejavu-core"
)
PACKAGES = (
    "numpy",
    "scipy",
    "scikit-image",
    "scikit-learn",
    "torch",
    "segment-anything",
    "peft",
    "xgboost",
    "zarr",
)

# Opens a GL context, off screen but on the display: what napari's canvas needs.
_GUI_PROBE = """
from qtpy import API_NAME, QT_VERSION
from qtpy.QtWidgets import QApplication
from qtpy.QtGui import QOffscreenSurface, QOpenGLContext
app = QApplication([])
surface = QOffscreenSurface(); surface.create()
context = QOpenGLContext()
ok = context.create() and context.makeCurrent(surface)
form = context.format()
gl = f"{form.majorVersion()}.{form.minorVersion()}"
print(f"{API_NAME} {QT_VERSION}|{app.platformName()}|{gl}" if ok else "no GL")
"""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the report. ``state``: ok, note (works without) or broken (mend this)."""

    topic: str
    state: str
    found: str
    mend: str = ""


def examine() -> tuple[Finding, ...]:
    checks: tuple[Callable[[], list[Finding]], ...] = (
        _python, _packages, _device, _bundles, _folders, _napari, _screen,
    )  # fmt: skip
    return tuple(finding for check in checks for finding in check())


def is_healthy(findings: tuple[Finding, ...]) -> bool:
    return all(finding.state != "broken" for finding in findings)


def to_text(findings: tuple[Finding, ...]) -> str:
    marks = {"ok": "ok    ", "note": "note  ", "broken": "BROKEN"}
    lines = []
    for finding in findings:
        lines.append(f"{marks[finding.state]}  {finding.topic:<12} {finding.found}")
        if finding.mend:
            lines.append(f"        {'':<12} -> {finding.mend}")
    broken = sum(finding.state == "broken" for finding in findings)
    lines.append(
        "Everything that matters works." if not broken else f"{broken} to mend: see the lines marked BROKEN."
    )
    return "\n".join(lines)


def _python() -> list[Finding]:
    found = f"{platform.python_version()} on {platform.platform()}, {os.cpu_count()} cores"
    return [Finding(topic="python", state="ok", found=found)]


def _packages() -> list[Finding]:
    present, missing = [], []
    for name in PACKAGES:
        try:
            present.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    findings = [Finding(topic="packages", state="ok", found=", ".join(present))] if present else []
    if missing:
        mend = f"{sys.executable} -m pip install {' '.join(missing)}"
        findings.append(
            Finding(topic="packages", state="broken", found=f"missing: {', '.join(missing)}", mend=mend)
        )
    return findings


def _device() -> list[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:  # a torch built for other libraries fails with OSError
        mend = f"{sys.executable} -m pip install --force-reinstall torch torchvision"
        return [Finding(topic="torch", state="broken", found=f"does not import: {error}", mend=mend)]
    device, why = resolve("auto")
    if device.type != "cuda":
        if shutil.which("nvidia-smi"):
            mend = (
                "the driver is there but torch does not see it: compare `nvidia-smi` with torch.version.cuda"
            )
            return [
                Finding(topic="device", state="note", found=f"{why} torch {torch.__version__}", mend=mend)
            ]
        return [Finding(topic="device", state="ok", found=f"{why} {_memory()}")]
    free, total = torch.cuda.mem_get_info(device)
    found = f"{why} {free / 2**30:.1f} of {total / 2**30:.1f} GB free"
    return [Finding(topic="device", state="ok", found=found)]


def _memory() -> str:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return ""
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GB of memory."


def _bundles() -> list[Finding]:
    from napari_bloodcell.core.bundle import load_bundle, shipped

    findings = []
    for name in shipped():
        try:
            bundle = load_bundle(name)
        except ArtifactError as error:
            mend = f"{sys.executable} -m pip install --force-reinstall --no-deps napari-bloodcell"
            findings.append(Finding(topic="bundle", state="broken", found=f"{name}: {error}", mend=mend))
        else:
            found = f"{name} ({bundle.hash[:12]}): {bundle.title}"
            findings.append(Finding(topic="bundle", state="ok", found=found))
    if not findings:
        mend = f"{sys.executable} -m pip install --force-reinstall --no-deps napari-bloodcell"
        findings.append(Finding(topic="bundle", state="broken", found="none shipped", mend=mend))
    return findings


def _folders() -> list[Finding]:
    findings = []
    for topic, folder, variable in (
        ("cache", cache_folder(), "BLOODCELL_CACHE"),
        ("weights", weights_folder(), "BLOODCELL_WEIGHTS"),
    ):
        place = next(parent for parent in (folder, *folder.parents) if parent.exists())
        free = shutil.disk_usage(place).free / 2**30
        found = f"{folder} ({'there' if folder.is_dir() else 'made when needed'}, {free:.0f} GB free)"
        if not os.access(place, os.W_OK) or not place.is_dir():
            mend = f"export {variable}=/a/folder/you/may/write"
            findings.append(
                Finding(topic=topic, state="broken", found=f"{found}: cannot be written", mend=mend)
            )
        elif free < MIN_FREE_GB:
            mend = f"free some space, or export {variable}=/a/larger/disk"
            findings.append(Finding(topic=topic, state="broken", found=f"{found}: nearly full", mend=mend))
        else:
            findings.append(Finding(topic=topic, state="ok", found=found))
    return findings


def _napari() -> list[Finding]:
    try:
        return [Finding(topic="napari", state="ok", found=f"{version('napari')}, npe2 {version('npe2')}")]
    except PackageNotFoundError as error:
        mend = f"{sys.executable} -m pip install 'napari-bloodcell[all]'"
        return [Finding(topic="napari", state="broken", found=f"missing: {error.name}", mend=mend)]


def _screen() -> list[Finding]:
    """Qt and GL. A machine without a screen is no fault: the command line needs neither."""
    if not any(_has(name) for name in ("PyQt6", "PySide6", "PyQt5", "PySide2")):
        mend = f"for the napari panels: {sys.executable} -m pip install 'napari-bloodcell[all]'"
        return [
            Finding(topic="Qt", state="note", found="no Qt binding: command line and API only", mend=mend)
        ]
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        mend = "for the napari panels without a screen: xvfb-run -a napari"
        return [
            Finding(topic="screen", state="note", found="no display: command line and API only", mend=mend)
        ]
    command = [sys.executable, "-c", _GUI_PROBE]
    try:
        probe = subprocess.run(  # noqa: S603 (our own probe)
            command, capture_output=True, text=True, timeout=GUI_PROBE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        probe = subprocess.CompletedProcess(command, 1, "", f"no answer in {GUI_PROBE_SECONDS} s")
    answer = probe.stdout.strip()
    if probe.returncode == 0 and answer.count("|") == 2:
        qt, screen, gl = answer.split("|")
        return [
            Finding(topic="Qt", state="ok", found=f"{qt} on {screen}"),
            Finding(topic="GL", state="ok", found=f"OpenGL {gl}"),
        ]
    said = (probe.stderr.strip() or answer or f"exit code {probe.returncode}").splitlines()[-1]
    mend = f"apt-get install {GUI_LIBRARIES}" if sys.platform == "linux" else "update the graphics driver"
    return [Finding(topic="Qt and GL", state="broken", found=f"no window can open: {said}", mend=mend)]


def _has(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True
