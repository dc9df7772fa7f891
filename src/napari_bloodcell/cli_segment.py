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
    from napari_bloodcell.core.outline_files import Failed, outline_files, outline_prompts
    from napari_bloodcell.core.report.differential import how_many
    from napari_bloodcell.core.segment.others import KINDS

    failed: list[Failed] = []
    with progress_bar() as progress:
        if prompts is not None:
            if len(paths) != 1 or adapter is not None:
                raise SegmentError(
                    f"Prompts belong to one image and a model without an adapter, not to {len(paths)} images"
                    + (f" and {adapter}." if adapter is not None else ".")
                )
            done = [outline_prompts(paths[0], prompts, out, model, config, progress=progress)]
        else:
            from napari_bloodcell.core.segment.choose import find_segmenter

            done, failed = outline_files(
                paths, out, find_segmenter(model, adapter), config, progress=progress
            )
    for one in done:
        others = [] if one.others is None else [how_many(one.others.count(kind), kind) for kind in KINDS]
        print(f"{one.path}: {', '.join([how_many(len(one.masks), 'white cell'), *others])}. {one.folder}")
        for note in one.masks.notes:
            print(f"  {note}")
    for bad in failed:
        print(f"failed: {bad.reason}", file=sys.stderr)
    return 1 if failed else 0
