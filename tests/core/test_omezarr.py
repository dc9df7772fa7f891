"""OME-Zarr folders, with their metadata written by hand as NGFF 0.4 and 0.5 describe it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_bloodcell.core.config import ReadConfig
from napari_bloodcell.core.errors import ImageError
from napari_bloodcell.core.image import read_image

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
NGFF_AXES = [
    {"name": "t", "type": "time"},
    {"name": "c", "type": "channel"},
    {"name": "z", "type": "space", "unit": "micrometer"},
    {"name": "y", "type": "space", "unit": "nanometer"},
    {"name": "x", "type": "space", "unit": "nanometer"},
]


def save_ngff(folder: Path, version: str, frames: int = 1) -> Path:
    """An OME-Zarr folder with its metadata written by hand."""
    import zarr

    data = np.repeat(np.moveaxis(PICTURE, -1, 0)[None, :, None], frames, axis=0)
    for level, step in enumerate((1, 2)):
        array = zarr.open_array(
            str(folder / str(level)),
            mode="w",
            shape=data[..., ::step, ::step].shape,
            chunks=(1, 1, 1, 32, 32),
            dtype="uint8",
            zarr_format=2 if version == "0.4" else 3,
        )
        array[:] = data[..., ::step, ::step]
    scales = [[1, 1, 1, 125.0 * step, 125.0 * step] for step in (1, 2)]
    multiscale = {
        "axes": NGFF_AXES,
        "datasets": [
            {"path": str(i), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
            for i, scale in enumerate(scales)
        ],
        "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 1, 2, 2]}],
    }
    if version == "0.4":
        (folder / ".zgroup").write_text(json.dumps({"zarr_format": 2}))
        (folder / ".zattrs").write_text(json.dumps({"multiscales": [{"version": "0.4", **multiscale}]}))
    else:
        attributes = {"ome": {"version": "0.5", "multiscales": [multiscale]}}
        told = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        (folder / "zarr.json").write_text(json.dumps(told))
    return folder


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_gives_the_same_pixels_and_its_pixel_size(version: str, tmp_path: Path) -> None:
    image = read_image(save_ngff(tmp_path / "picture.ome.zarr", version))
    np.testing.assert_array_equal(image.pixels, PICTURE)
    assert image.um_per_px == pytest.approx(0.25)
    assert "pixel size 0.25 µm from the OME-Zarr metadata" in image.notes
    assert image.name == "picture.ome.zarr"


def test_a_zarr_stack_needs_a_page_and_then_gives_it(tmp_path: Path) -> None:
    folder = save_ngff(tmp_path / "stack.zarr", "0.5", frames=3)
    with pytest.raises(ImageError, match=r"holds 3 pages .*--read.page, from 0 to 2"):
        read_image(folder)
    np.testing.assert_array_equal(read_image(folder, ReadConfig(page=1)).pixels, PICTURE)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_plain_zarr_array_folder_is_read(zarr_format: Any, tmp_path: Path) -> None:
    import zarr

    path = tmp_path / "plain.zarr"
    stored = zarr.open_array(
        str(path), mode="w", shape=PICTURE.shape, chunks=(16, 16, 3), dtype="uint8", zarr_format=zarr_format
    )
    stored[:] = PICTURE
    np.testing.assert_array_equal(read_image(path).pixels, PICTURE)


def test_bioformats_layout_is_entered(tmp_path: Path) -> None:
    save_ngff(tmp_path / "bf.zarr" / "0", "0.4")
    (tmp_path / "bf.zarr" / ".zgroup").write_text('{"zarr_format": 2}')
    (tmp_path / "bf.zarr" / ".zattrs").write_text('{"bioformats2raw.layout": 3}')
    np.testing.assert_array_equal(read_image(tmp_path / "bf.zarr").pixels, PICTURE)
