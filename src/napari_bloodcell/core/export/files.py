"""Results and sessions -> files of other programs, with the classes that people gave."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_bloodcell.core.artifact import check_writable, write_bytes
from napari_bloodcell.core.config.report import ExportConfig
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.export.cells import label_images, outlined
from napari_bloodcell.core.export.coco import Coco
from napari_bloodcell.core.export.geojson import write_geojson
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.report.readers import read_readers
from napari_bloodcell.core.report.sessions import read_work, sessions_in
from napari_bloodcell.core.report.slides import Run, answered, read_runs, together
from napari_bloodcell.core.session.folder import KEY_LENGTH, check_outside
from napari_bloodcell.core.taxonomy import DEFAULT, Taxonomy

COCO = "coco.json"


@dataclass(frozen=True, kw_only=True)
class Exported:
    """``left_out``: cells that no person has looked at, where only the others were asked for."""

    files: tuple[Path, ...]
    images: int
    cells: int
    left_out: int
    notes: tuple[str, ...]


def export_cells(
    results: Sequence[str | Path],
    out: Path,
    config: ExportConfig = ExportConfig(),
    *,
    readers: Sequence[Path] = (),
    taxonomy: Taxonomy = DEFAULT,
    progress: Progress = silent,
) -> Exported:
    """Outlines and classes of the cells of result folders and sessions. ``readers``: tables of people whose
    answers take the place of the model's, as in a report."""
    people = read_readers(readers, taxonomy)
    sessions = sessions_in(results)
    for session in sessions:
        check_outside(out, session)
    runs = read_runs(results, [run for session in sessions for run in read_work(session).runs])
    if not runs:
        raise DataError(f"{', '.join(map(str, results))}: there is no image with cells to write.")
    table, _ = answered(together(runs), people)
    if config.only_reviewed and not table["reviewed"].any():
        raise DataError(
            "No person has looked at a cell of these results, so nothing was written. Export the session in "
            "which they were corrected, or give the people's tables with --readers."
        )
    check_writable(out)
    names, coco, files = _names(runs), Coco(), list[Path]()
    cells = left_out = begin = 0
    for at, run in enumerate(runs):
        progress("pictures", at, len(runs))
        mine = table.iloc[begin : begin + len(run.table)]
        begin += len(run.table)
        chosen = mine[mine["reviewed"].astype(bool)] if config.only_reviewed else mine
        left_out += len(mine) - len(chosen)
        images = label_images(run)
        shapes = outlined(images, chosen)
        if config.to == "coco":
            cells += coco.add(_file_name(run, runs), images.size, shapes)
        else:
            files.append(out / f"{names[at]}.geojson")
            picture = run.key or str(run.image["sha256"])[:KEY_LENGTH]
            cells += write_geojson(files[-1], picture, shapes, images.colours)
    if config.to == "coco":
        files.append(out / COCO)
        write_bytes(files[-1], json.dumps(coco.content(), ensure_ascii=False).encode())
    progress("pictures", len(runs), len(runs))
    notes = tuple(
        f"{twin} is the same picture as {run.place}: its cells are written once."
        for run in runs
        for twin in run.twins
    )
    return Exported(files=tuple(files), images=len(runs), cells=cells, left_out=left_out, notes=notes)


def _names(runs: Sequence[Run]) -> list[str]:
    """Of the files: the pictures' names, told apart by content and page where two have one."""
    plain = [_plain(str(run.image["name"]), str(run.image.get("source") or "")) for run in runs]
    times = Counter(name.lower() for name in plain)  # some disks do not tell A from a
    return [
        name if times[name.lower()] == 1 else f"{name}-{str(run.image['sha256'])[:8]}-{run.page or 0}"
        for name, run in zip(plain, runs, strict=True)
    ]


def _plain(name: str, source: str) -> str:
    whole = name.removesuffix(Path(source).suffix) or name
    return "".join(c if c.isalnum() or c in " ._-()" else "_" for c in whole)


def _file_name(run: Run, runs: Sequence[Run]) -> str:
    """Below the folder that holds all pictures."""
    source = run.image.get("source")
    if not source:
        return str(run.image["name"])
    folders = [Path(str(one.image["source"])).parent for one in runs if one.image.get("source")]
    try:
        return Path(source).relative_to(os.path.commonpath(folders)).as_posix()
    except ValueError:  # on several drives
        return Path(source).as_posix()
