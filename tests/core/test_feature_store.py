"""The store of token maps: what is in it stays in it, whatever happens."""

import errno
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from embed_parts import SHAPE, crops, key, open_small, tiny_sam

from napari_bloodcell.core.config import FeatureConfig, TargetConfig
from napari_bloodcell.core.embed import training_cells
from napari_bloodcell.core.embed.feature_store import INDEX, MAPS, keys_of, open_store
from napari_bloodcell.core.embed.training_cells import add_crops
from napari_bloodcell.core.errors import ArtifactError

RNG = np.random.default_rng(0)
TOKENS = RNG.normal(size=(6, *SHAPE)).astype(np.float32)
TARGETS = RNG.integers(0, 256, (6, 128, 128, 3), dtype=np.uint8)
KEYS = [key(i) for i in range(6)]


def test_what_was_added_is_read_in_any_order_after_opening_again(tmp_path: Path) -> None:
    open_small(tmp_path).add(KEYS, TOKENS, TARGETS)
    store = open_small(tmp_path)
    assert len(store) == 6
    for rows in ([4, 1, 1, 5], [0, 1, 2], []):
        assert np.array_equal(store.read_tokens(rows), TOKENS[rows].astype(np.float16))
        assert np.array_equal(store.read_targets(rows), TARGETS[rows])


def test_cells_that_are_there_are_not_stored_twice(tmp_path: Path) -> None:
    store = open_small(tmp_path)
    store.add(KEYS[:4], TOKENS[:4], TARGETS[:4])
    store.add([KEYS[4], KEYS[0], KEYS[4]], TOKENS[[4, 0, 4]], TARGETS[[4, 0, 4]])
    assert store.rows == {k: i for i, k in enumerate(KEYS[:5])}
    assert np.array_equal(open_small(tmp_path).read_tokens([4])[0], TOKENS[4].astype(np.float16))


def test_features_of_another_model_are_refused(tmp_path: Path) -> None:
    open_small(tmp_path)
    with pytest.raises(ArtifactError, match="holds features of model aaaaaaaaaaaa; this model is bbbbbbbb"):
        open_small(tmp_path, model="b" * 64)


def test_targets_made_otherwise_are_refused(tmp_path: Path) -> None:
    open_small(tmp_path)
    with pytest.raises(ArtifactError, match=r"was made with target = .*Choose another folder"):
        open_store(tmp_path, model="a" * 64, size_px=64, shape=SHAPE, target=TargetConfig(keep_aspect=True))


@pytest.mark.parametrize("tail", ["12345", "0" * 64, "broken\n" + key(77) + "\n"])
def test_a_line_cut_short_costs_only_its_cells(tmp_path: Path, tail: str) -> None:
    open_small(tmp_path).add(KEYS[:3], TOKENS[:3], TARGETS[:3])
    with (tmp_path / INDEX).open("a") as index:
        index.write(tail)
    store = open_small(tmp_path)
    assert list(store.rows) == KEYS[:3]
    store.add(KEYS[3:], TOKENS[3:], TARGETS[3:])
    assert np.array_equal(open_small(tmp_path).read_tokens(range(6)), TOKENS.astype(np.float16))


def test_a_store_half_written_by_a_killed_process_continues(tmp_path: Path) -> None:
    code = f"""
        import os
        from pathlib import Path
        import numpy as np
        from napari_bloodcell.core.config import TargetConfig
        from napari_bloodcell.core.embed.feature_store import open_store
        tokens, pictures = np.zeros((6, *{SHAPE})), np.zeros((6, 128, 128, 3), np.uint8)
        keys = {KEYS}
        store = open_store(
            Path({str(tmp_path)!r}), model="a" * 64, size_px=64, shape={SHAPE}, target=TargetConfig()
        )
        store.add(keys[:2], tokens[:2], pictures[:2])
        write = type(store._targets).write
        def killed(array, *given):
            write(array, *given)
            if array is store._targets:
                os.kill(os.getpid(), 9)
        type(store._targets).write = killed
        store.add(keys[2:], tokens[2:], pictures[2:])
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)  # noqa: PLW1510
    assert run.returncode == -9, run.stderr
    store = open_small(tmp_path)
    assert list(store.rows) == KEYS[:2]
    store.add(KEYS, TOKENS, TARGETS)
    assert np.array_equal(open_small(tmp_path).read_targets(range(2, 6)), TARGETS[2:])


def test_a_full_disk_keeps_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_small(tmp_path)
    store.add(KEYS[:2], TOKENS[:2], TARGETS[:2])

    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(ArtifactError, match="No space left on device. Free some space and run again"):
            store.add(KEYS[2:], TOKENS[2:], TARGETS[2:])
    again = open_small(tmp_path)
    assert list(again.rows) == KEYS[:2]
    again.add(KEYS[2:], TOKENS[2:], TARGETS[2:])
    assert len(open_small(tmp_path)) == 6


def test_two_writers_at_once_are_noticed(tmp_path: Path) -> None:
    one, other = open_small(tmp_path), open_small(tmp_path)
    one.add(KEYS[:2], TOKENS[:2], TARGETS[:2])
    with pytest.raises(ArtifactError, match="written to by another process"):
        other.add(KEYS[2:], TOKENS[2:], TARGETS[2:])


def test_numbers_beyond_half_precision_stay_finite(tmp_path: Path) -> None:
    store = open_small(tmp_path)
    store.add(KEYS[:1], np.full((1, *SHAPE), 1e9, np.float32), TARGETS[:1])
    assert np.isfinite(store.read_tokens([0])).all()


def test_zarr_reads_what_was_written(tmp_path: Path) -> None:
    import zarr

    open_small(tmp_path).add(KEYS, TOKENS, TARGETS)
    group = zarr.open_group(tmp_path / MAPS, mode="r")
    assert np.array_equal(group["tokens"][:6], TOKENS.astype(np.float16))
    assert np.array_equal(group["targets"][:6], TARGETS)


def test_what_zarr_wrote_is_read(tmp_path: Path) -> None:
    import zarr

    open_small(tmp_path).add(KEYS, np.zeros_like(TOKENS), TARGETS)
    zarr.open_group(tmp_path / MAPS, mode="r+")["tokens"][:6] = TOKENS.astype(np.float16)
    assert np.array_equal(open_small(tmp_path).read_tokens(range(6)), TOKENS.astype(np.float16))


@pytest.mark.parametrize("left", [None, b"", b"no zstd at all"])
def test_a_chunk_that_is_missing_or_damaged_is_named(tmp_path: Path, left: bytes | None) -> None:
    store = open_small(tmp_path)
    store.add(KEYS, TOKENS, TARGETS)
    chunk = tmp_path / MAPS / "tokens" / "c" / "3" / "0" / "0" / "0"
    chunk.unlink()
    if left is not None:
        chunk.write_bytes(left)
    with pytest.raises(
        ArtifactError, match=r"tokens/c/3/0/0/0 is missing or damaged .* Delete .*computed anew"
    ):
        store.read_tokens(range(6))
    assert np.array_equal(store.read_tokens([2, 4]), TOKENS[[2, 4]].astype(np.float16))


def test_rows_that_are_not_there_are_named(tmp_path: Path) -> None:
    store = open_small(tmp_path)
    store.add(KEYS[:2], TOKENS[:2], TARGETS[:2])
    with pytest.raises(ArtifactError, match="has rows 0 to 1; 7 was asked for"):
        store.read_tokens([0, 7])


def test_the_key_knows_pixels_and_mask() -> None:
    cells = crops(2)
    assert len(set(keys_of(cells))) == 2
    other = type(cells)(**{**vars(cells), "parts": np.zeros_like(cells.parts)})
    assert not set(keys_of(cells)) & set(keys_of(other))


def test_adding_cells_computes_only_the_new_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sam, features = tiny_sam(), FeatureConfig(input_px=32)
    shape = sam.map_shape(features)
    store = open_store(tmp_path, model=sam.hash, size_px=32, shape=shape, target=features.drawing)
    seen: list[int] = []
    real = training_cells.each_batch

    def counted(sam, crops, *rest, **more):
        seen.append(len(crops))
        return real(sam, crops, *rest, **more)

    monkeypatch.setattr(training_cells, "each_batch", counted)
    few, many = crops(3), crops(5)
    many = type(many)(
        **{name: np.concatenate([getattr(few, name), getattr(many, name)[3:]]) for name in vars(few) if name != "cell_id"},
        cell_id=many.cell_id,
    )  # fmt: skip
    assert add_crops(store, sam, few, features) == [0, 1, 2]
    assert add_crops(store, sam, many, features) == [0, 1, 2, 3, 4]
    assert add_crops(store, sam, many, features) == [0, 1, 2, 3, 4]
    assert seen == [3, 2]
