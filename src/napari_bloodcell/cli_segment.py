"""``napari-bloodcell segment``: outlines alone, of whole fields or of what is pointed at."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from napari_bloodcell.cli_progress import progress_bar
from napari_bloodcell.core.config import OutlineConfig


def segment(
    paths: list[Path],
    /,
    *,
    out: Path,
    model: str = "nano",
    adapter: Path | None = None,
    prompts: Path | None = None,
    config: Annotated[OutlineConfig, Parameter(name="*")] = OutlineConfig(),
) -> int:
    """Find and outline white cells, nucleus and cytoplasm, without naming them.

    Writes a folder an image: label images, a table of cells, a run record. OME-Zarr folders of any size are
    read piece by piece.

    Parameters
    ----------
    paths: list[Path]
        Images, or folders of images. With --prompts, one image.
    out: Path
        Folder for the results.
    model: str
        "nano" (ships), "stain" (no network), a name that `models list` shows, or a checkpoint file.
    adapter: Path
        Folder of an adapter that was trained here, or a file that BC-SAM or DoRL released.
    prompts: Path
        Outline only what this file points at: JSON with points, boxes or scribbles, or CSV with x and y or
        x0, y0, x1 and y1 (and cell, where several rows are one).
    """
    from napari_bloodcell.core.errors import SegmentError
    from napari_bloodcell.core.outline_files import item_of, outline_files, outline_prompts
    from napari_bloodcell.core.words import how_many

    with progress_bar() as progress:
        if prompts is not None:
            if len(paths) != 1 or adapter is not None:
                raise SegmentError(
                    f"Prompts belong to one image and a model without an adapter, not to {len(paths)} images"
                    + (f" and {adapter}." if adapter is not None else ".")
                )
            items = [item_of(outline_prompts(paths[0], prompts, out, model, config, progress=progress))]
        else:
            from napari_bloodcell.core.segment.choose import find_segmenter

            items = outline_files(paths, out, find_segmenter(model, adapter), config, progress=progress)
    for one in items:
        if one.state == "failed":
            print(f"failed: {one.reason}", file=sys.stderr)
            continue
        found = [how_many(one.cells, "white cell"), *(how_many(n, kind) for kind, n in one.others.items())]
        kept = " (kept from before)" if one.state == "kept" else ""
        print(f"{one.path}: {', '.join(found)}{kept}. {one.folder}")
        for note in one.notes:
            print(f"  {note}")
    return 1 if any(one.state == "failed" for one in items) else 0
