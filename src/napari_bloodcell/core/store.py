"""What an analysis leaves on disk: one folder an image, complete once its ``run.json`` is there."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.core.artifact import atomic_path, hash_of, read_json, write_json
from napari_bloodcell.core.config import AnalyseConfig
from napari_bloodcell.core.edited import set_aside
from napari_bloodcell.core.errors import ArtifactError
from napari_bloodcell.core.image import hash_file, write_labels_ome_tiff
from napari_bloodcell.core.picture import draw_overlay
from napari_bloodcell.core.pipeline import Analysis, versions
from napari_bloodcell.core.records import ABOUT_CELL, AS_SET
from napari_bloodcell.core.report import RESEARCH_USE, write_differential
from napari_bloodcell.core.report.pixel_sizes import SizeOf
from napari_bloodcell.core.rows import harmless_table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

TEXTS = (
    "image", "source", "cell_type", "cell_type_source", "best", "second", "possible", "doubt", "scale_source",
)  # fmt: skip
RUN = "run.json"
COUNTED = frozenset({"cells.parquet", "differential.json", "differential.csv"})
OF_FIELD = COUNTED | {"labels.ome.tif", "nuclei.ome.tif", "cells.csv"}
FIELD_PICTURES = frozenset({"differential.png", "overlay.png"})
BLOCKS, PLAN = "blocks", "plan.safetensors"  # what a slide goes on from
OF_SLIDE = COUNTED | {"labels.ome.zarr", BLOCKS, PLAN}
SLIDE_PICTURES = frozenset({"differential.png", "overview.png"})


def write_analysis(folder: Path, analysis: Analysis, *, pictures: bool = True) -> None:
    """Labels, table, differential, pictures; the run record last."""
    clear_half_written(folder)
    changed = set_aside(folder, _written_before(folder))
    masks, name = analysis.masks, analysis.image.name
    write_labels_ome_tiff(folder / "labels.ome.tif", masks.labels, analysis.image.um_per_px)
    nuclei = np.where(masks.nucleus, masks.labels, 0).astype(np.int32)
    write_labels_ome_tiff(folder / "nuclei.ome.tif", nuclei, analysis.image.um_per_px)
    write_table(folder, analysis.table())
    parents = {"image": analysis.image.sha256, "bundle": analysis.bundle.hash}
    title = f"{name}, bundle {analysis.bundle.name}"
    write_differential(folder, analysis.differential, title=title, parents=parents, picture=pictures)
    if pictures:
        draw_overlay(folder / "overlay.png", analysis)
    clear_others(folder, OF_FIELD | (FIELD_PICTURES if pictures else frozenset()))
    write_json(
        folder / RUN,
        "run",
        _run_record(folder, analysis, changed),
        config=analysis.config.to_json(),
        parents=parents,
    )


def clear_half_written(folder: Path) -> None:
    """What a process that was killed had begun: the temporary files of ``atomic_path``."""
    for place in (folder, folder / BLOCKS):
        for path in place.glob(".*-????????.*"):
            path.unlink(missing_ok=True)


def clear_others(folder: Path, written: frozenset[str]) -> None:
    """What an earlier analysis left, of a field or of a slide, that this one did not write anew: no old
    picture may stand beside new numbers. At the end, for another worker may be writing the same results. A
    folder is taken away only where the plan of a slide says that it is ours."""
    of_slide = (folder / PLAN).is_file()
    for name in (OF_FIELD | FIELD_PICTURES | OF_SLIDE | SLIDE_PICTURES) - written:
        if not (folder / name).is_dir():
            (folder / name).unlink(missing_ok=True)
        elif of_slide:
            shutil.rmtree(folder / name, ignore_errors=True)


def clear_results(folder: Path) -> None:
    """Takes an analysis away; the run record first, for without it the rest is no result. What else lies in
    the folder stays, and so does the folder then."""
    (folder / RUN).unlink(missing_ok=True)
    clear_half_written(folder)
    clear_others(folder, frozenset())
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def write_table(folder: Path, table: "pd.DataFrame") -> None:
    """``cells.csv`` for people and spreadsheets, ``cells.parquet`` with exact numbers and types."""
    with atomic_path(folder / "cells.csv") as temporary:
        harmless_table(table).to_csv(temporary, index=False, float_format="%.6g")
    with atomic_path(folder / "cells.parquet") as temporary:
        to_parquet(table, temporary)


def to_parquet(table: "pd.DataFrame", path: Path) -> None:
    import pyarrow as pa

    schema = with_texts(pa.Schema.from_pandas(table, preserve_index=False))
    texts = {name: object for name in TEXTS if name in table}
    table.astype(texts).to_parquet(path, index=False, schema=schema)


def with_texts(schema: "pa.Schema") -> "pa.Schema":
    """Columns of text are text in an image without cells too: all files of a data set must agree."""
    import pyarrow as pa

    for name in TEXTS:
        place = schema.get_field_index(name)
        if place >= 0:
            schema = schema.set(place, pa.field(name, pa.string()))
    return schema


def source_of(folder: Path) -> str | None:
    """The file whose analysis a folder holds; None where there is none."""
    try:
        return str(read_json(folder / RUN, "run")[1]["image"]["source"])
    except ArtifactError:
        return None


def notes_of(folder: Path) -> tuple[str, ...]:
    """What reading the image and looking for its cells had to decide or doubted; not of single cells, nor
    what a person set."""
    try:
        _, body = read_json(folder / RUN, "run")
    except ArtifactError:
        return ()
    found = (*body.get("notes", ()), *body["image"].get("notes", ()))
    return tuple(
        note for note in map(str, found) if not note.startswith(ABOUT_CELL) and not note.endswith(AS_SET)
    )


def size_of(folder: Path) -> SizeOf | None:
    """The pixel size that an analysis measured its cells with; None where it found none."""
    try:
        _, body = read_json(folder / RUN, "run")
    except ArtifactError:
        return None
    if not body["cells"]:
        return None
    image, scale = body["image"], body["scale"]
    shape = (image["height_px"], image["width_px"])
    return SizeOf(shape_px=shape, um_per_px=scale["um_per_px"], source=scale["from"])


def is_done(folder: Path, image_sha256: str, bundle_hash: str, config: AnalyseConfig) -> bool:
    """Whether the folder holds a finished analysis of just this image, bundle and config."""
    try:
        header, body = read_json(folder / RUN, "run")
    except ArtifactError:
        return False
    same = header.parents == {"image": image_sha256, "bundle": bundle_hash}
    same = same and hash_of(dict(header.config)) == hash_of(_plain(config.to_json()))
    return same and all(_is_intact(folder / name, sha256) for name, sha256 in body["outputs"].items())


def _is_intact(path: Path, sha256: str) -> bool:
    """A result that was cut short or edited is made again."""
    return path.is_file() and hash_file(path) == sha256


def outputs_of(folder: Path) -> dict[str, str]:
    """Name and hash of each file in a folder of results; ``is_done`` looks whether they are still there."""
    files = sorted(
        p for p in folder.iterdir() if p.is_file() and p.name != RUN and not p.name.startswith(".")
    )
    return {p.name: hash_file(p) for p in files}


def _written_before(folder: Path) -> dict[str, str]:
    try:
        outputs: dict[str, str] = read_json(folder / RUN, "run")[1]["outputs"]
    except ArtifactError:
        return {}
    return outputs


def _run_record(folder: Path, analysis: Analysis, changed: list[str]) -> dict[str, Any]:
    masks = analysis.masks
    return {
        "image": {
            "name": analysis.image.name,
            "source": analysis.image.source,
            "sha256": analysis.image.sha256,
            "width_px": analysis.image.pixels.shape[1],
            "height_px": analysis.image.pixels.shape[0],
            "um_per_px": analysis.image.um_per_px,
            "notes": list(analysis.image.notes),
        },
        "cells": len(masks),
        "notes": [*changed, *masks.notes],
        "scale": {"um_per_px": masks.um_per_px, "from": masks.scale_source},
        "bundle": {
            "name": analysis.bundle.name,
            "title": analysis.bundle.title,
            "sha256": analysis.bundle.hash,
            "segmenter": masks.segmenter,
            "embedder": analysis.embeddings.embedder,
            "classifier": analysis.predictions.classifier,
            "calibration": analysis.bundle.classifier.calibration.basis,
            "classes": list(analysis.bundle.classifier.class_names),
        },
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "outputs": outputs_of(folder),
        "note": RESEARCH_USE,
    }


def _plain(value: Any) -> Any:
    """As JSON gives it back: tuples become lists."""
    return json.loads(json.dumps(value))
