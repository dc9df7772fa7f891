"""Token maps and target pictures of a set of cells, computed once and kept on disk.

store.json   header: model, input size, shape of the maps, how the targets were made
maps.zarr    zarr v3: ``tokens`` (fp16) and ``targets`` (uint8), zstd, one chunk a cell
cells.txt    one key a line, in the order of the rows; a row counts once its line is there

zarr describes the arrays, and reads them; the chunks are written and read here: each is one file of one cell,
and the way through zarr's event loop costs as much again as the work itself.

A key is the hash of a cell's pixels and mask, so a set that grows computes only what is new. A killed
process leaves rows without a line: they are written over.
"""

import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.artifact import check_writable, read_json, write_json
from napari_bloodcell.core.config import TargetConfig
from napari_bloodcell.core.embed.targets import TARGET_PX
from napari_bloodcell.core.errors import ArtifactError
from napari_bloodcell.core.folders import where_else
from napari_bloodcell.core.records import ByteArray, Crops

KIND = "features"
HEADER, MAPS, INDEX = "store.json", "maps.zarr", "cells.txt"
KEY_CHARACTERS = 64
GROW_ROWS = 256
HALF_MAX = 65_504.0
THREADS = min(4, os.cpu_count() or 1)
ZSTD_LEVEL = 1  # higher levels halve the speed and gain nothing on fp16

Half = NDArray[np.float16]


def keys_of(crops: Crops) -> list[str]:
    """One key a cell, from its pixels and its mask."""
    return [
        hashlib.sha256(pixels.tobytes() + parts.tobytes()).hexdigest()
        for pixels, parts in zip(crops.pixels, crops.parts, strict=True)
    ]


class CellArray:
    """An array of zarr, one chunk a cell: cell ``row`` is the file of chunk (row, 0, 0, 0)."""

    def __init__(self, folder: Path, array: Any) -> None:
        self.folder, self._array = folder, array
        self.cell_shape: tuple[int, ...] = tuple(array.shape[1:])

    def grow(self, count: int) -> None:
        """Make room for ``count`` cells."""
        if self._array.shape[0] < count:
            self._array.resize((max(count, self._array.shape[0] + GROW_ROWS), *self.cell_shape))

    def write(self, start: int, cells: Sequence[NDArray[Any]], low: float, high: float) -> None:
        from numcodecs import Zstd

        codec = Zstd(level=ZSTD_LEVEL)

        def put(place: int) -> None:
            held = np.clip(cells[place], low, high).astype(self._array.dtype)
            path = self._file(start + place)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(codec.encode(np.ascontiguousarray(held)))

        _side_by_side(put, len(cells))

    def read(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        from numcodecs import Zstd

        codec = Zstd()
        found = np.empty((len(rows), *self.cell_shape), self._array.dtype)

        def take(place: int) -> None:
            path = self._file(int(rows[place]))
            try:
                codec.decode(path.read_bytes(), found[place])
            except (OSError, RuntimeError, ValueError) as error:
                raise ArtifactError(
                    f"{path} is missing or damaged ({error}). Delete {self.folder.parent.parent} and run "
                    "again: its features are then computed anew."
                ) from error

        _side_by_side(take, len(rows))
        return found

    def _file(self, row: int) -> Path:
        place = (row, *(0 for _ in self.cell_shape))
        return self.folder / str(self._array.metadata.encode_chunk_key(place))


class FeatureStore:
    """Use ``open_store``. Rows are numbered in the order they came in."""

    def __init__(self, folder: Path, group: Any) -> None:
        self.folder = folder
        self._tokens, self._targets = (
            CellArray(folder / MAPS / name, group[name]) for name in ("tokens", "targets")
        )
        self.rows = {key: row for row, key in enumerate(_read_index(folder / INDEX))}

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, key: object) -> bool:
        return key in self.rows

    @property
    def shape(self) -> tuple[int, int, int]:
        """D, h, w of a token map."""
        d, h, w = self._tokens.cell_shape
        return d, h, w

    def add(self, keys: Sequence[str], tokens: NDArray[Any], targets: ByteArray) -> None:
        """Append the cells that are new. They count, all of them, once this returns."""
        first = {key: i for i, key in reversed(list(enumerate(keys))) if key not in self.rows}
        new = sorted(first.values())
        start, stop = len(self), len(self) + len(new)
        if not new:
            return
        self._check_alone()
        with _writing(self.folder):
            self._tokens.grow(stop)
            self._targets.grow(stop)
            self._tokens.write(start, [tokens[i] for i in new], -HALF_MAX, HALF_MAX)
            self._targets.write(start, [targets[i] for i in new], 0, 255)
            with (self.folder / INDEX).open("a") as index:
                index.writelines(f"{keys[i]}\n" for i in new)
                index.flush()
                os.fsync(index.fileno())
        self.rows |= {keys[i]: start + place for place, i in enumerate(new)}

    def _check_alone(self) -> None:
        index = self.folder / INDEX
        size = index.stat().st_size if index.is_file() else 0
        if size != len(self) * (KEY_CHARACTERS + 1):
            raise ArtifactError(
                f"{self.folder} was written to by another process in the meantime. Run again when that is "
                "done: what it has computed is then used."
            )

    def read_tokens(self, rows: Sequence[int] | NDArray[np.int64]) -> Half:
        found: Half = self._read(self._tokens, rows)
        return found

    def read_targets(self, rows: Sequence[int] | NDArray[np.int64]) -> ByteArray:
        found: ByteArray = self._read(self._targets, rows)
        return found

    def _read(self, array: CellArray, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[Any]:
        """In the order asked for, whatever that is."""
        wanted = np.asarray(rows, np.int64)
        wrong = wanted[(wanted < 0) | (wanted >= len(self))]
        if len(wrong):
            raise ArtifactError(f"{self.folder} has rows 0 to {len(self) - 1}; {wrong[0]} was asked for.")
        return array.read(wanted)


def open_store(
    folder: Path, *, model: str, size_px: int, shape: tuple[int, int, int], target: TargetConfig
) -> FeatureStore:
    """Open or make the store of one model (its hash) at one input size. Another model's is refused."""
    import zarr

    folder = Path(folder)
    check_writable(folder)
    config = {"size_px": size_px, "shape": list(shape), "target": target.to_json()}
    if (folder / HEADER).is_file():
        header, _ = read_json(folder / HEADER, KIND)
        if header.parents != {"model": model}:
            raise ArtifactError(
                f"{folder} holds features of model {header.parents.get('model', '')[:12]}; this model is "
                f"{model[:12]}. Choose another folder for them, or the model they were made with."
            )
        before = dict(header.config)
        if before != config:
            name = next(name for name in config if before.get(name) != config[name])
            raise ArtifactError(
                f"{folder} was made with {name} = {before.get(name)}; now it is {config[name]}. Choose "
                "another folder, or the settings it was made with."
            )
        if (folder / MAPS).is_dir():
            group = zarr.open_group(folder / MAPS, mode="r+")
            return FeatureStore(folder, group)
    with _writing(folder):
        (folder / INDEX).unlink(missing_ok=True)
        group = zarr.open_group(folder / MAPS, mode="w")
        codec = zarr.codecs.ZstdCodec(level=ZSTD_LEVEL)
        picture = (TARGET_PX, TARGET_PX, 3)
        for name, cell, dtype in (("tokens", shape, "float16"), ("targets", picture, "uint8")):
            group.create_array(
                name, shape=(0, *cell), chunks=(1, *cell), dtype=dtype, compressors=codec, fill_value=0
            )
    write_json(folder / HEADER, KIND, {}, config=config, parents={"model": model})
    return FeatureStore(folder, group)


def _read_index(path: Path) -> list[str]:
    """The keys up to the first line that is not whole; the rest is cut off and computed again."""
    if not path.is_file():
        return []
    text = path.read_text(errors="replace")
    whole = list(takewhile(lambda line: len(line) == KEY_CHARACTERS, text.split("\n")[:-1]))
    kept = "".join(f"{line}\n" for line in whole)
    if kept != text:
        path.write_text(kept)
    return whole


def _side_by_side(work: Callable[[int], None], count: int) -> None:
    """Places 0 to ``count``, shared out to a few threads: compressing and files let them run together."""
    threads = min(THREADS, count)
    if threads < 2:
        for place in range(count):
            work(place)
        return

    def part(first: int) -> None:
        for place in range(first, count, threads):
            work(place)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(part, range(threads)))


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise ArtifactError(
            f"{folder} could not be written: {error.strerror or error}. "
            f"{'Free some space' if full else where_else(folder)} and run again: cells that are "
            f"finished are kept."
        ) from error
