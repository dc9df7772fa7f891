"""Qt's own questions for a file or a folder: a path, or None where the person thought better of it.

Each begins in the folder where the last one ended, in whichever panel that was.
"""

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget

CHECKPOINTS = "Segment Anything (*.pth *.pt *.safetensors)"


class _Last:
    folder = ""  # until then Qt's own choice


def _begin(name: str = "") -> str:
    there = bool(_Last.folder) and Path(_Last.folder).is_dir()
    return str(Path(_Last.folder) / name) if there else name


def file_to_read(parent: QWidget, title: str, kinds: str = "") -> Path | None:
    chosen, _ = QFileDialog.getOpenFileName(parent, title, _begin(), kinds)
    return _ended(Path(chosen).parent, Path(chosen)) if chosen else None


def file_to_write(parent: QWidget, title: str, name: str, kinds: str) -> Path | None:
    """It ends as ``name`` does, whatever was typed: what is written is read again by its ending."""
    chosen, _ = QFileDialog.getSaveFileName(parent, title, _begin(name), kinds)
    if not chosen:
        return None
    path, ending = Path(chosen), Path(name).suffix
    if path.suffix.lower() != ending:
        path = path.with_name(path.name + ending)
        if path.exists() and not _may_replace(parent, title, path):
            return None
    return _ended(path.parent, path)


def folder(parent: QWidget, title: str) -> Path | None:
    chosen = QFileDialog.getExistingDirectory(parent, title, _begin())
    return _ended(Path(chosen), Path(chosen)) if chosen else None


def _ended(inside: Path, chosen: Path) -> Path:
    _Last.folder = str(inside)
    return chosen


def _may_replace(parent: QWidget, title: str, path: Path) -> bool:
    """Qt has asked for the name as it was typed."""
    yes, no = QMessageBox.StandardButton.Yes, QMessageBox.StandardButton.No
    text = f"{path.name} is there already. Replace it?"
    return bool(QMessageBox.question(parent, title, text, yes | no, no) == yes)
