"""Many images, one after the other. A bad image is reported and costs only itself; a second run does
only what is missing or changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_bloodcell.core.artifact import check_writable, hash_of, write_json
from napari_bloodcell.core.bundle import Bundle, load_bundle
from napari_bloodcell.core.config import AnalyseConfig
from napari_bloodcell.core.errors import BloodcellError, Cancelled, ImageError
from napari_bloodcell.core.image import find_images, read_image
from napari_bloodcell.core.pipeline import analyse
from napari_bloodcell.core.progress import Progress, silent, within
from napari_bloodcell.core.report import Differential, count, write_differential
from napari_bloodcell.core.store import is_done, source_of, write_analysis, write_table


@dataclass(frozen=True, kw_only=True)
class Item:
    """What became of one image: ``done``, ``kept`` (was done before) or ``failed`` with its reason."""

    path: Path
    folder: Path
    state: str
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class BatchResult:
    items: tuple[Item, ...]
    differential: Differential  # pooled over all images
    out: Path

    @property
    def failed(self) -> tuple[Item, ...]:
        return tuple(item for item in self.items if item.state == "failed")


def analyse_files(
    paths: Sequence[str | Path],
    out: Path,
    bundle: "str | Path | Bundle" = "nano",
    config: AnalyseConfig = AnalyseConfig(),
    *,
    progress: Progress = silent,
) -> BatchResult:
    """Analyse files and folders into ``out``: one folder an image, and the pooled count beside them."""
    # The results may lie inside the folder of the images: what we wrote is no input of the next run.
    images = [path for path in find_images(paths) if not path.resolve().is_relative_to(Path(out).resolve())]
    if not images:
        raise ImageError(f"All images named lie in the output folder {out}. Choose another folder for --out.")
    model = load_bundle(bundle)
    check_writable(Path(out))
    folders = _folders(images, Path(out))
    items = []
    for number, (path, folder) in enumerate(zip(images, folders, strict=True)):
        progress(f"Image {number + 1} of {len(images)}", number, len(images))
        items.append(_one(path, folder, model, config, within(progress, path.name)))
    differential = _pool(items, Path(out), model, config)
    return BatchResult(items=tuple(items), differential=differential, out=Path(out))


def _one(path: Path, folder: Path, bundle: Bundle, config: AnalyseConfig, progress: Progress) -> Item:
    """A bad image fails alone; a folder that cannot be written stops the batch: it would fail them all."""
    try:
        image = read_image(path, config.read)
        if is_done(folder, image.sha256, bundle.hash, config):
            return Item(path=path, folder=folder, state="kept")
        analysis = analyse(image, bundle, config, progress=progress)
    except Cancelled:
        raise
    except BloodcellError as error:
        return Item(path=path, folder=folder, state="failed", reason=str(error))
    write_analysis(folder, analysis)
    return Item(path=path, folder=folder, state="done")


def _folders(images: Sequence[Path], out: Path) -> list[Path]:
    """A folder for each image, named after the file. Where that name holds another file's result, from this
    run or an earlier one, a piece of the path's hash is added: nothing is overwritten, and a file finds its
    own folder again whatever else is analysed beside it."""
    result: list[Path] = []
    for path in images:
        place = str(path.absolute())
        plain = out / path.stem
        is_free = plain not in result and source_of(plain) in (None, place)
        result.append(plain if is_free else out / f"{path.stem}-{hash_of(place)[:8]}")
    return result


def _pool(items: Sequence[Item], out: Path, bundle: Bundle, config: AnalyseConfig) -> Differential:
    import pandas as pd

    tables = [pd.read_parquet(item.folder / "cells.parquet") for item in items if item.state != "failed"]
    table = (
        pd.concat(tables, ignore_index=True)
        if tables
        else pd.DataFrame({"cell_type": [], "touches_border": []})
    )
    counted = table if config.count.count_border else table[~table["touches_border"].astype(bool)]
    differential = count(list(counted["cell_type"]), config.count)
    if tables:
        write_table(out, table)
        title = f"{len(tables)} images, bundle {bundle.name}"
        write_differential(out, differential, title=title, parents={"bundle": bundle.hash})
    listing = [
        {"image": str(i.path), "folder": i.folder.name, "state": i.state, "reason": i.reason} for i in items
    ]
    write_json(
        out / "images.json",
        "batch",
        {"images": listing},
        config=config.to_json(),
        parents={"bundle": bundle.hash},
    )
    return differential
