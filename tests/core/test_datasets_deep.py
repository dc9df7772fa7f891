"""The deep check reads what it lists: what nothing downstream can use is named, with the reason."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from cell_folders import picture
from PIL import Image

from napari_bloodcell.core.datasets import check

COLOURS = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)


@pytest.fixture
def monocytes(tmp_path: Path) -> Path:
    folder = tmp_path / "lab" / "monocyte"
    folder.mkdir(parents=True)
    Image.fromarray(COLOURS).save(folder / "whole.jpg")
    return folder


def skipped(folder: Path) -> dict[str, str]:
    report = check(folder.parent, deep=True)
    return {group.reason: group.example.removeprefix("monocyte/") for group in report.skipped}


def test_pictures_cut_in_half_are_found_and_counted_together(monocytes: Path) -> None:
    whole = (monocytes / "whole.jpg").read_bytes()
    for name, part in (("half.jpg", len(whole) - 400), ("less.jpg", len(whole) - 200)):
        (monocytes / name).write_bytes(whole[:part])
    report = check(monocytes.parent, deep=True)
    assert report.total == 1
    assert [(group.count, group.example) for group in report.skipped] == [(2, "monocyte/half.jpg")]
    assert report.skipped[0].reason.startswith("cannot be decoded as JPEG: image file is truncated. ")


def test_stacks_of_pages_are_found(monocytes: Path) -> None:
    tifffile.imwrite(monocytes / "pages.tif", np.stack([COLOURS, COLOURS]), photometric="rgb")
    ((reason, name),) = skipped(monocytes).items()
    assert name == "pages.tif"
    assert reason == "holds 2 pages; one field is one page. Save each page as a file of its own"


def test_pictures_without_colour_are_found_where_no_mask_tells_the_cell(monocytes: Path) -> None:
    Image.fromarray(COLOURS[..., 0]).save(monocytes / "gray.png")
    ((reason, name),) = skipped(monocytes).items()
    assert name == "gray.png"
    assert reason.startswith("colourless: red, green and blue are equal in every pixel")


def test_a_mask_cut_in_half_is_told(tmp_path: Path) -> None:
    root = tmp_path / "lab"
    picture(root / "images" / "1.png")
    Image.fromarray(COLOURS[..., 0]).resize((32, 24)).save(root / "1.png")
    whole = (root / "1.png").read_bytes()
    (root / "masks").mkdir()
    (root / "masks" / "1.png").write_bytes(whole[: len(whole) // 2])
    (root / "labels.csv").write_text("image,class\n1.png,eos\n")
    report = check(root, deep=True)
    assert report.total == 1
    assert [group.reason for group in report.skipped] == ["unreadable mask (its cell is kept)"]
