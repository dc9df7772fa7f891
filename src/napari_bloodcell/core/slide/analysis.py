"""A whole slide to a differential, block by block in bounded memory. What is finished stays finished."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.core.artifact import (
    atomic_path,
    hash_arrays,
    hash_of,
    only_writer,
    read_arrays,
    write_arrays,
    write_json,
)
from napari_bloodcell.core.bundle import Bundle, load_bundle
from napari_bloodcell.core.config import AnalyseConfig
from napari_bloodcell.core.errors import ArtifactError, ImageError
from napari_bloodcell.core.image.lazy import LazyImage, hash_of_source, open_lazily
from napari_bloodcell.core.pipeline import cut_cells, describe, table_of, versions
from napari_bloodcell.core.progress import Progress, silent, within
from napari_bloodcell.core.records import IntArray, SmearImage
from napari_bloodcell.core.report import RESEARCH_USE, Differential, count, write_differential
from napari_bloodcell.core.segment.canvas import Canvas
from napari_bloodcell.core.segment.doubts import doubt_of_size
from napari_bloodcell.core.slide.block import (
    NOTE,
    OWN,
    VERSION,
    Block,
    Work,
    analyse_block,
    blocks_of,
    is_block_done,
    read_outlines,
    unpacked,
    write_block,
)
from napari_bloodcell.core.slide.overview import draw_overview, thumbnail
from napari_bloodcell.core.slide.plan import Plan, make_plan, plan_arrays, plan_of, seen_of
from napari_bloodcell.core.slide.pyramid import FOLDER, cached, write_labels
from napari_bloodcell.core.store import (
    BLOCKS,
    OF_SLIDE,
    PLAN,
    RUN,
    SLIDE_PICTURES,
    clear_half_written,
    clear_others,
    outputs_of,
    to_parquet,
    with_texts,
)

if TYPE_CHECKING:
    import pandas as pd

TABLE = "cells.parquet"


@dataclass(frozen=True, kw_only=True)
class SlideResult:
    """What one slide gave; the rest is in ``folder``."""

    folder: Path
    cells: int
    differential: Differential
    blocks: int
    kept: int  # blocks that an earlier run had finished


def open_slide(path: Path, config: AnalyseConfig) -> LazyImage | None:
    """The image, where it is so large that it is analysed block by block; None for all others."""
    image = open_lazily(path, config.read)
    if image is None or image.shape[0] * image.shape[1] < config.slide.from_megapixels * 1e6:
        return None
    return image


def analyse_slide(
    image: str | Path | LazyImage,
    folder: str | Path,
    bundle: "str | Path | Bundle" = "nano",
    config: AnalyseConfig = AnalyseConfig(),
    *,
    pictures: bool = True,
    progress: Progress = silent,
) -> SlideResult:
    """Find, outline, classify and count the white cells of a slide of any size, into ``folder``. The same
    call goes on where one was stopped: blocks that are finished and unchanged are kept."""
    slide, folder = _opened(image, config), Path(folder)
    model = load_bundle(bundle)
    with only_writer(folder):
        (folder / RUN).unlink(missing_ok=True)  # a half-written folder is no result
        clear_half_written(folder)
        parents = {"image": _identity(slide), "bundle": model.hash}
        plan, plan_hash = _planned(folder, slide, config, parents, progress)
        blocks = blocks_of(plan, config.slide.block_px)
        kept = _work_blocks(folder, blocks, plan_hash, _work(slide, plan, model, config), progress)
        files = [folder / BLOCKS / block.name for block in blocks]
        table = _join(folder, files, _no_cells(slide, model, config))
        packed = cached(lambda number: read_outlines(files[number]), table.starts)
        outlines, um = (lambda row: unpacked(packed(row))), slide.um_per_px
        write_labels(folder, plan.shape, table.boxes, outlines, um_per_px=um, progress=progress)
        differential = count(table.counted(config), config.count, known=model.classifier.class_names)
        title = f"{slide.name}, bundle {model.name}"
        write_differential(folder, differential, title=title, parents=parents, picture=pictures)
        if pictures:
            middles = ((table.boxes[:, :2] + table.boxes[:, 2:]) / 2).astype(np.float32)
            named = f"{slide.name}: {model.title}"
            draw_overview(folder / "overview.png", slide, plan, (middles, table.kinds), differential, named)
        clear_others(folder, OF_SLIDE | (SLIDE_PICTURES if pictures else frozenset()))
        record = _record(folder, slide, plan, model, {"blocks": len(blocks), "cells": len(table.kinds)})
        record["image"]["sha256"] = parents["image"]
        record["notes"] += [f"{many} cells: {text}" for text, many in sorted(table.notes.items())]
        write_json(folder / RUN, "run", record, config=config.to_json(), parents=parents)
    return SlideResult(
        folder=folder, cells=len(table.kinds), differential=differential, blocks=len(blocks), kept=kept
    )


def _opened(image: str | Path | LazyImage, config: AnalyseConfig) -> LazyImage:
    if isinstance(image, LazyImage):
        return image
    if not isinstance(image, str | os.PathLike):
        raise ImageError(
            f"A {type(image).__name__} is no slide. Name a file, or give LazyImage(array=..., um_per_px=...) "
            "(napari_bloodcell.core.image.lazy)."
        )
    path = Path(image).expanduser()
    if not path.exists():
        raise ImageError(f"'{path}' does not exist. Check the path; a relative one starts at '{Path.cwd()}'.")
    found = open_lazily(path, config.read)
    if found is None:
        raise ImageError(
            f"'{path}' cannot be read piece by piece. Slides are OME-Zarr, tiled TIFF, SVS or NDPI of 8-bit "
            "RGB; export it as a tiled OME-TIFF, or analyse it whole (napari_bloodcell.analyse)."
        )
    return found


def _identity(slide: LazyImage) -> str:
    """Of a file or an array in memory its bytes; of one that is computed, what it looks like from afar."""
    if slide.source is not None and Path(slide.source).exists():
        return hash_of_source(Path(slide.source))
    held = isinstance(slide.array, np.ndarray)
    pixels = slide.array if held else thumbnail(slide, 256)[0]
    return hash_arrays({"pixels": pixels}, {"name": slide.name, "shape": list(slide.shape)}, {})


def _planned(
    folder: Path, slide: LazyImage, config: AnalyseConfig, parents: dict[str, str], progress: Progress
) -> tuple[Plan, str]:
    """The plan of an earlier run, where it was for just this; what belongs to another plan is taken away."""
    told = config.to_json()
    asked = hash_of([VERSION, told, parents, slide.um_per_px])
    try:
        header, arrays = read_arrays(folder / PLAN, "slide-plan")
        if header.config.get("asked") == asked:
            return plan_of((slide.shape[0], slide.shape[1]), header.config["seen"], arrays), header.sha256
    except ArtifactError:
        pass
    if (folder / PLAN).is_file():  # else the folder of that name is somebody's
        shutil.rmtree(folder / BLOCKS, ignore_errors=True)
    plan = make_plan(slide, config, progress=progress)
    kept = {"asked": asked, "seen": seen_of(plan)}
    return plan, write_arrays(folder / PLAN, "slide-plan", plan_arrays(plan), config=kept, parents=parents)


def _work(slide: LazyImage, plan: Plan, model: Bundle, config: AnalyseConfig) -> Work | None:
    if plan.seen is None:
        return None
    return Work(image=slide, plan=plan, seen=plan.seen, bundle=model, config=config)


def _work_blocks(
    folder: Path, blocks: Sequence[Block], plan_hash: str, work: Work | None, progress: Progress
) -> int:
    """Those that are not done yet; returns how many were."""
    kept = 0
    for number, block in enumerate(blocks):
        progress("blocks", number, len(blocks))
        path = folder / BLOCKS / block.name
        if is_block_done(path, plan_hash):
            kept += 1
        elif work is not None:
            inner = within(progress, f"block {number + 1} of {len(blocks)}")
            write_block(path, analyse_block(block, work, progress=inner), plan_hash)
    progress("blocks", len(blocks), len(blocks))
    return kept


@dataclass(frozen=True, kw_only=True, eq=False)
class _Joined:
    """Of all cells what is needed at once: a few bytes each. ``starts``: the first row of each file."""

    boxes: IntArray
    kinds: list[str]
    cut: np.ndarray[Any, np.dtype[np.bool_]]
    starts: IntArray
    notes: Mapping[str, int]  # how many cells have each

    def counted(self, config: AnalyseConfig) -> list[str]:
        if config.count.count_border:
            return self.kinds
        return [kind for kind, cut in zip(self.kinds, self.cut, strict=True) if not cut]


def _join(folder: Path, files: Sequence[Path], empty: "pd.DataFrame") -> _Joined:
    """All blocks as one table, a block in memory at a time; cells are numbered in the order of the blocks.
    ``empty`` is written where there are none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    starts, boxes, kinds, cut = [], [np.zeros((0, 4), np.int32)], [], [np.zeros(0, np.bool_)]
    notes: Counter[str] = Counter()
    total = 0
    with atomic_path(folder / TABLE) as temporary:
        writer = None
        for content in _rows(files):
            starts.append(total)
            if content is None:
                continue
            rows = len(content)
            notes.update(text.partition(",")[0] for text in content.pop(NOTE) if text)
            content["cell_id"] = np.arange(total + 1, total + rows + 1, dtype=np.int32)
            total += rows
            part = pa.Table.from_pandas(content, preserve_index=False)
            writer = writer or pq.ParquetWriter(temporary, with_texts(part.schema), compression="zstd")
            writer.write_table(part.cast(writer.schema))
            boxes.append(content[["x0", "y0", "x1", "y1"]].to_numpy(np.int32))
            kinds += list(content["cell_type"])
            cut.append(content["touches_border"].to_numpy(np.bool_))
        if writer is None:
            to_parquet(empty, temporary)
        else:
            writer.close()
    return _Joined(
        boxes=np.concatenate(boxes),
        kinds=kinds,
        cut=np.concatenate(cut),
        starts=np.array(starts, np.int32),
        notes=notes,
    )


def _rows(files: Sequence[Path]) -> "Iterator[pd.DataFrame | None]":
    import pyarrow.parquet as pq

    for path in files:
        columns = [name for name in pq.read_schema(path).names if name == NOTE or name not in OWN]
        rows = pq.read_metadata(path).num_rows
        yield pq.read_table(path, columns=columns).to_pandas() if rows else None


def _no_cells(slide: LazyImage, model: Bundle, config: AnalyseConfig) -> "pd.DataFrame":
    """The same columns as of any other slide."""
    blank = SmearImage(pixels=np.full((64, 64, 3), 255, np.uint8))
    masks = Canvas((64, 64)).masks(None, None, model.segmenter.kind)
    cut = cut_cells(blank, masks, model, config)
    measurements, _, predictions = describe(*cut, model, config)
    return table_of(slide, masks, model, measurements, predictions)


def _record(
    folder: Path, slide: LazyImage, plan: Plan, model: Bundle, numbers: dict[str, int]
) -> dict[str, Any]:
    seen, area = plan.seen, (plan.unit_px * (plan.seen.assumed_um_per_px if plan.seen else 0) / 1000) ** 2
    outputs = outputs_of(folder)
    outputs |= {f"{FOLDER}/zarr.json": outputs_of(folder / FOLDER)["zarr.json"]}
    return {
        "image": {
            "name": slide.name,
            "source": slide.source,
            "width_px": slide.shape[1],
            "height_px": slide.shape[0],
            "um_per_px": slide.um_per_px,
            "notes": list(slide.notes),
        },
        "cells": numbers["cells"],
        "notes": list(doubt_of_size(seen)) if seen else ["there is nothing to see: glass, or too dark"],
        "scale": {
            "um_per_px": seen.um_per_px if seen else slide.um_per_px,
            "from": seen.scale_source if seen else "unknown",
        },
        "slide": {
            "labels": FOLDER,
            "blocks": numbers["blocks"],
            "film_mm2": round(float(plan.stained.sum() * area), 3),
            "out_of_focus_mm2": round(float((plan.stained & ~plan.sharp).sum() * area), 3),
            "searched_fully_mm2": round(float(plan.wanted.sum() * area), 3),
        },
        "bundle": {
            "name": model.name,
            "title": model.title,
            "sha256": model.hash,
            "segmenter": model.segmenter.kind,
            "embedder": model.embedder.hash,
            "classifier": model.classifier.hash,
            "calibration": model.classifier.calibration.basis,
            "classes": list(model.classifier.class_names),
        },
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "outputs": outputs,
        "note": RESEARCH_USE,
    }
