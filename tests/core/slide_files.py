"""Small slides in the formats of scanners, written with tifffile: what the tests of slides share."""

from pathlib import Path

import numpy as np
import tifffile

UM = 0.25
TILE = (64, 64)


def halved(pixels: np.ndarray) -> np.ndarray:
    """The next resolution of a pyramid: means of 2 x 2."""
    height, width = (n // 2 * 2 for n in pixels.shape[:2])
    even = pixels[:height, :width].astype(np.uint16)
    return ((even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) // 4).astype(np.uint8)


def levels_of(pixels: np.ndarray, count: int) -> list[np.ndarray]:
    found = [pixels]
    while len(found) < count:
        found.append(halved(found[-1]))
    return found


def write_ome_tiff(path: Path, pixels: np.ndarray, levels: int = 3, **options: object) -> list[np.ndarray]:
    """A pyramidal OME-TIFF: the coarser levels lie in SubIFDs."""
    found = levels_of(pixels, levels)
    options = {"tile": TILE, "photometric": "rgb", "compression": "zlib"} | options
    metadata = {"axes": "YXS", "PhysicalSizeX": UM, "PhysicalSizeY": UM, "PhysicalSizeXUnit": "µm"}
    with tifffile.TiffWriter(path, ome=True, bigtiff=True) as file:
        file.write(found[0], subifds=levels - 1, metadata=metadata, **options)
        for level in found[1:]:
            file.write(level, subfiletype=1, **options)
    return found


def write_svs(path: Path, pixels: np.ndarray) -> list[np.ndarray]:
    """Pages as an Aperio scanner lays them: the slide, a thumbnail, the slide a quarter as large."""
    found = levels_of(pixels, 3)
    told = f"Aperio Image Library v12\n{pixels.shape[1]}x{pixels.shape[0]} |AppMag = 40|MPP = {UM}"
    with tifffile.TiffWriter(path) as file:
        options = {"photometric": "rgb", "compression": "zlib", "metadata": None}
        file.write(found[0], tile=TILE, description=told, **options)
        file.write(found[2][::4, ::4], description=told + "thumbnail", rowsperstrip=16, **options)
        file.write(found[2], tile=TILE, description=told, **options)
    return [found[0], found[2]]


def write_ome_zarr(folder: Path, pixels: np.ndarray, levels: int = 3) -> list[np.ndarray]:
    import zarr

    found = levels_of(pixels, levels)
    group = zarr.open_group(folder, mode="w", zarr_format=3)
    datasets = []
    for number, level in enumerate(found):
        group.create_array(str(number), data=level, chunks=(*TILE, 3))
        scale = [UM * 2**number, UM * 2**number, 1.0]
        datasets.append(
            {"path": str(number), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        )
    axes = [{"name": n, "type": "space", "unit": "micrometer"} for n in "yx"] + [
        {"name": "c", "type": "channel"}
    ]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    return found
