"""Folders of cells as people keep them, made of pictures that hold nothing."""

from pathlib import Path

from PIL import Image

from napari_bloodcell.core.datasets import Dataset


def picture(path: Path, size: tuple[int, int] = (32, 24), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, (0, 0, 0, 255) if mode == "RGBA" else 0).save(path)
    return path


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding)
    return path


def classes(dataset: Dataset) -> dict[str, str]:
    return {cell.path.name: cell.class_name for cell in dataset.cells}


def reasons(dataset: Dataset) -> dict[str, str]:
    return {item.path.name: item.reason for item in dataset.skipped}
