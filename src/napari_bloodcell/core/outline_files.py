"""Images -> outlines on disk, without classes: for whole fields, or for what a file of prompts points at.

Each image gets a folder: ``labels.ome.tif``, ``nuclei.ome.tif``, ``cells.csv`` and, written last,
``outlines.json``, which says with what they were made.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.core.artifact import atomic_path, check_writable, hash_of, read_json, write_json
from napari_bloodcell.core.config import OutlineConfig, SamConfig
from napari_bloodcell.core.errors import ArtifactError, ImageError, SegmentError
from napari_bloodcell.core.image import find_images, hash_file, name_of, read_image, write_labels_ome_tiff
from napari_bloodcell.core.image.lazy import LazyImage, open_lazily
from napari_bloodcell.core.progress import Progress, silent, within
from napari_bloodcell.core.records import Masks, SmearImage
from napari_bloodcell.core.segment import Segmenter
from napari_bloodcell.core.segment.edit import masks_of, nuclei_by_stain
from napari_bloodcell.core.segment.others import KINDS, Objects, find_others
from napari_bloodcell.core.segment.tiles import Stopped
from napari_bloodcell.core.stain.lamp import evened

if TYPE_CHECKING:
    import pandas as pd

    from napari_bloodcell.core.sam.prompt import Answer, Prompt

RECORD = "outlines.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class Outlined:
    """What one image gave."""

    path: Path
    folder: Path
    masks: Masks
    scores: tuple[float, ...] = ()  # of prompts, the model's own guess
    others: Objects | None = None  # red cells and platelets, where they were asked for


@dataclass(frozen=True, kw_only=True)
class Item:
    """What became of one image: ``done``, ``kept`` (was done before) or ``failed`` with its reason."""

    path: Path
    folder: Path
    state: str
    cells: int = 0
    others: Mapping[str, int] = field(default_factory=dict)  # red cells and platelets, where asked for
    notes: tuple[str, ...] = ()
    reason: str = ""


def outline_files(
    paths: Sequence[str | Path],
    out: Path,
    segmenter: Segmenter,
    config: OutlineConfig = OutlineConfig(),
    *,
    progress: Progress = silent,
) -> list[Item]:
    """Find and outline the white cells of images; a bad one costs only itself, and what is finished and
    unchanged is kept. A cancel keeps what is finished, the cells of a field that was begun included."""
    images = find_images(paths)
    check_writable(Path(out))
    items = []
    for number, (path, folder) in enumerate(zip(images, _folders(images, Path(out)), strict=True)):
        progress(f"Image {number + 1} of {len(images)}", number, len(images))
        kept = _kept(path, folder, segmenter.hash, config)
        if kept is not None:
            items.append(kept)
            continue
        try:
            outlined = _outline(path, folder, segmenter, config, within(progress, path.name))
        except (ImageError, SegmentError) as error:
            items.append(Item(path=path, folder=folder, state="failed", reason=str(error)))
            continue
        items.append(item_of(outlined))
    return items


def item_of(outlined: Outlined) -> Item:
    return Item(
        path=outlined.path,
        folder=outlined.folder,
        state="done",
        cells=len(outlined.masks),
        others=_counts(outlined),
        notes=outlined.masks.notes,
    )


def _kept(path: Path, folder: Path, made_with: str, config: OutlineConfig) -> Item | None:
    """What the folder says, where it holds finished outlines of just this file, segmenter and config."""
    if not path.is_file():  # a folder of pixels: reading it through costs as much as outlining it
        return None
    try:
        header, record = read_json(folder / RECORD, "outlines")
    except ArtifactError:
        return None
    same = record["complete"] and header.parents == {"segmenter": made_with, "image": hash_file(path)}
    same = same and hash_of(dict(header.config)) == hash_of(json.loads(json.dumps(config.to_json())))
    if not same or not all((folder / name).is_file() for name in record["outputs"]):
        return None
    return Item(
        path=path,
        folder=folder,
        state="kept",
        cells=int(record["cells"]),
        others=record["others"],
        notes=tuple(record["notes"]),
    )


def _outline(
    path: Path, folder: Path, segmenter: Segmenter, config: OutlineConfig, progress: Progress
) -> Outlined:
    image = _open(path, config)
    try:
        masks = segmenter.segment(image, config.segment, progress=progress)
    except Stopped as stopped:
        _write(Outlined(path=path, folder=folder, masks=stopped.masks), segmenter.hash, config, False)
        raise
    others = find_others(image, masks, config.segment, progress=progress) if config.others else None
    outlined = Outlined(path=path, folder=folder, masks=masks, others=others)
    _write(outlined, segmenter.hash, config, True)
    return outlined


def outline_prompts(
    path: Path,
    prompts: Path,
    out: Path,
    model: str | Path,
    config: OutlineConfig = OutlineConfig(),
    *,
    progress: Progress = silent,
) -> Outlined:
    """One mask for each prompt of a file, on one image."""
    from napari_bloodcell.core.sam.prompt_file import read_prompts
    from napari_bloodcell.core.segment.pointed import open_session

    asked = read_prompts(prompts)
    image = read_image(path, config.read)
    check_writable(Path(out))
    progress("embedding the image", 0, 1)
    session, made_with = open_session(model, image, SamConfig(device=config.segment.device))
    progress("embedding the image", 1, 1)
    answer = session.ask(asked)
    outlined = Outlined(
        path=Path(path),
        folder=_folders([Path(path)], Path(out))[0],
        masks=replace(_masks_of(answer, image), notes=_missed(asked, answer)),
        scores=tuple(float(score) for score in answer.scores),
    )
    _write(outlined, made_with, config, True)
    return outlined


def cells_table(masks: Masks, scores: Sequence[float] = ()) -> "pd.DataFrame":
    """One row a cell: place and size; micrometres where the pixel size is known."""
    import pandas as pd

    areas, nuclei = np.zeros(len(masks), int), np.zeros(len(masks), int)
    for row, (cell, (x0, y0, x1, y1)) in enumerate(zip(masks.cell_id, masks.boxes_xyxy, strict=True)):
        own = masks.labels[y0:y1, x0:x1] == cell
        areas[row], nuclei[row] = own.sum(), (own & masks.nucleus[y0:y1, x0:x1]).sum()
    um = float("nan") if masks.um_per_px is None else masks.um_per_px
    columns: dict[str, Any] = {"cell_id": masks.cell_id}
    columns |= dict(zip(("x0", "y0", "x1", "y1"), masks.boxes_xyxy.T, strict=True))
    columns |= {"area_px": areas, "nucleus_area_px": nuclei, "area_um2": areas * um**2}
    columns |= {"touches_border": masks.touches_border, "um_per_px": um, "scale_source": masks.scale_source}
    return pd.DataFrame(columns | ({"score": list(scores)} if scores else {}))


def others_table(others: Objects) -> "pd.DataFrame":
    """One row an object: what it is, and where."""
    import pandas as pd

    columns = dict(zip(("x0", "y0", "x1", "y1"), others.boxes_xyxy.T, strict=True))
    return pd.DataFrame({"kind": others.kind} | columns)


def _open(path: Path, config: OutlineConfig) -> SmearImage | LazyImage:
    return open_lazily(path, config.read) or read_image(path, config.read)


def _folders(images: Sequence[Path], out: Path) -> list[Path]:
    """Named after the file, or the place in its plate; numbered where two have one name."""
    names = [Path(name_of(path)).stem for path in images]
    many, seen = Counter(names), Counter[str]()
    folders = []
    for name in names:
        seen[name] += 1
        folders.append(out / (name if many[name] == 1 else f"{name}-{seen[name]}"))
    return folders


def _masks_of(answer: "Answer", image: SmearImage) -> Masks:
    """Where masks overlap a pixel is the smaller one's: a small cell on a large one stays visible. The
    nuclei are those of the stain."""
    labels = np.zeros(image.pixels.shape[:2], np.int32)
    for row in np.argsort([-int(mask.sum()) for mask in answer.masks], kind="stable"):
        labels[answer.masks[row]] = row + 1
    for number in range(1, len(answer.masks) + 1):
        if not (labels == number).any():
            raise SegmentError(
                f"Prompt {number} gave an empty mask, or one hidden by others. Point at the middle of a cell."
            )
    nuclei = nuclei_by_stain(evened(image), labels, image.um_per_px)
    return masks_of(labels, nuclei, um_per_px=image.um_per_px, segmenter="prompts")


def _missed(asked: "Sequence[Prompt]", answer: "Answer") -> tuple[str, ...]:
    """A network outlines something wherever one points; that it is elsewhere must be told."""
    notes = []
    for number, (prompt, mask) in enumerate(zip(asked, answer.masks, strict=True), 1):
        if prompt.points_xy is None:
            continue
        last = mask.shape[1] - 1, mask.shape[0] - 1  # a point on the far edge belongs to the last pixel
        x, y = np.minimum(np.asarray(prompt.points_xy, float).reshape(-1, 2).astype(int), last).T
        wanted = np.ones(len(x), bool) if prompt.inside is None else np.asarray(prompt.inside, bool)
        if wanted.any() and not mask[y[wanted], x[wanted]].any():
            notes.append(
                f"Cell {number} does not hold the place pointed at, x {x[wanted][0]}, y {y[wanted][0]}: "
                "there may be no cell. Look at it, or point at the middle of a cell."
            )
    return tuple(notes)


def _write(outlined: Outlined, made_with: str, config: OutlineConfig, complete: bool) -> None:
    masks, folder = outlined.masks, outlined.folder
    for name in (RECORD, "nuclei.ome.tif", "others.csv"):  # half a folder, or half an old one, is no result
        (folder / name).unlink(missing_ok=True)
    write_labels_ome_tiff(folder / "labels.ome.tif", masks.labels, masks.um_per_px)
    if masks.nucleus.any():
        write_labels_ome_tiff(folder / "nuclei.ome.tif", masks.labels, masks.um_per_px, within=masks.nucleus)
    with atomic_path(folder / "cells.csv") as temporary:
        cells_table(masks, outlined.scores).to_csv(temporary, index=False, float_format="%.6g")
    if outlined.others is not None:
        with atomic_path(folder / "others.csv") as temporary:
            others_table(outlined.others).to_csv(temporary, index=False)
    record = {
        "image": str(outlined.path.absolute()),
        "cells": len(masks),
        "others": _counts(outlined),
        "complete": complete,
        "segmenter": masks.segmenter,
        "notes": list(masks.notes),
        "outputs": sorted(p.name for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")),
    }
    parents = {"segmenter": made_with}
    if outlined.path.is_file():
        parents["image"] = hash_file(outlined.path)
    write_json(folder / RECORD, "outlines", record, config=config.to_json(), parents=parents)


def _counts(outlined: Outlined) -> dict[str, int]:
    return {} if outlined.others is None else {kind: outlined.others.count(kind) for kind in KINDS}
