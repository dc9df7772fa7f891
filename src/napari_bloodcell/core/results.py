"""The table of an output folder: ``table/slide=NAME/IMAGE.parquet``, one file an image, whole or not there.

It can be read while a run still writes. Any program that knows Parquet can read it; ``summarise`` asks it
for counts without loading it.
"""

import filecmp
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_bloodcell.core.artifact import atomic_path, read_json
from napari_bloodcell.core.config import CountConfig
from napari_bloodcell.core.errors import ArtifactError, DataError
from napari_bloodcell.core.jobs import Item
from napari_bloodcell.core.ledger import open_ledger, read_ledger
from napari_bloodcell.core.report import Differential, count
from napari_bloodcell.core.report.by_slide import TABLE, parts_of, place_of, slides_of
from napari_bloodcell.core.report.patients import (
    OneSlide,
    Patient,
    check_slides,
    of_patients,
    patients_of,
    read_patients,
)
from napari_bloodcell.core.report.provenance import Made, named, read_made
from napari_bloodcell.core.report.slides import known_classes
from napari_bloodcell.core.rows import harmless_table
from napari_bloodcell.core.store import RUN, clear_results, with_texts

if TYPE_CHECKING:
    import pandas as pd

DROPPED = "dropped"  # in the ledger: taken out by a person
ROWS = 10_000  # in memory at a time: a few MB


@dataclass(frozen=True, kw_only=True)
class Slide:
    name: str
    images: int
    cells: Counter[str]  # of each class
    differential: Differential
    known: frozenset[str] = frozenset()  # what the models of its images can name, where all of them say
    patient: str = ""  # where it is known


def add_to_table(out: Path, item: Item) -> None:
    """The rows of an image that was done; those of an image that failed are taken out. A run that was killed
    may have left the rows of an older analysis: an image that is kept is looked at too."""
    target = place_of(out, item.slide, item.folder.name)
    source = item.folder / "cells.parquet"
    if item.state == "failed":
        target.unlink(missing_ok=True)
    elif not target.is_file() or not filecmp.cmp(source, target, shallow=False):
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)


def keep_only(out: Path, items: list[Item]) -> None:
    """Rows of images that are no longer part of this folder's run stay; rows of a moved slide go, and what a
    killed run left half-written."""
    wanted = {place_of(out, item.slide, item.folder.name) for item in items}
    names = {path.name for path in wanted}
    for path in (out / TABLE).glob("slide=*/*.parquet"):
        if path.name.startswith(".") or (path.name in names and path not in wanted):
            path.unlink()


def earlier_in(out: Path, items: Sequence[Item]) -> list[Made]:
    """Images of earlier runs that the folder still holds, and that are counted with those of this run."""
    names = {item.folder.name for item in items}
    left = [name for name in slides_of(out) if name not in names]
    return [made for name in sorted(left) if (made := read_made(out / name)) is not None]


def drop(out: Path, names: Sequence[str]) -> list[str]:
    """Takes results out of ``out``: of images by the name of their folder, by their own, or by a pattern.
    Returns the folders that were taken out. Files of other origin stay."""
    with open_ledger(out) as ledger:
        last = {line["folder"]: line for line in read_ledger(out) if line.get("folder")}
        slides = slides_of(out)
        there = {name: line for name, line in last.items() if line["state"] != DROPPED}
        there |= {
            name: {"image": _source_in(out, name), "folder": name} for name in slides if name not in there
        }
        chosen = dict.fromkeys(folder for name in names for folder in _chosen(name, there, out))
        for folder in chosen:
            place_of(out, slides.get(folder, ""), folder).unlink(missing_ok=True)
            clear_results(out / folder)
            path = Path(there[folder]["image"])
            ledger.add(Item(path=path, folder=out / folder, state=DROPPED, slide=slides.get(folder, "")))
    return list(chosen)


def _source_in(out: Path, name: str) -> str:
    made = read_made(out / name)
    return made.source or made.image if made is not None else name


def _chosen(name: str, there: Mapping[str, Mapping[str, str]], out: Path) -> list[str]:
    """The folders that a name means. Two images of one name must be told apart; a pattern may mean many."""
    if name in there:
        return [name]
    images = {folder: line["image"] for folder, line in there.items()}
    found = [
        folder for folder, image in images.items() if fnmatchcase(Path(image).name, name) or image == name
    ]
    found += [folder for folder in there if fnmatchcase(folder, name) and folder not in found]
    if not found:
        raise DataError(f"{out} holds no results of {name!r}. It has: {named(sorted(there)) or 'none'}.")
    if len(found) > 1 and not set(name) & set("*?["):
        raise DataError(
            f"{len(found)} images in {out} are called {name!r}. Name the folder of their results: "
            f"{named(sorted(found))}."
        )
    return found


def pool_tables(out: Path, folders: Sequence[Path], config: CountConfig) -> Counter[str]:
    """``cells.parquet`` and ``cells.csv`` of all images, part by part: a hundred million cells do not fit in
    memory. Returns how many cells of each class count."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    counted: Counter[str] = Counter()
    files = [folder / "cells.parquet" for folder in folders]
    if not files:
        return counted
    # A column of whole numbers in one image only is what it is in the others.
    schema = pa.unify_schemas([with_texts(pq.read_schema(f)) for f in files], promote_options="permissive")
    with (
        atomic_path(out / "cells.csv") as as_csv,
        atomic_path(out / "cells.parquet") as as_parquet,
        pq.ParquetWriter(as_parquet, schema) as writer,
    ):
        for number, table in enumerate(_parts(files)):
            writer.write_table(pa.Table.from_pandas(table, schema=schema, preserve_index=False))
            harmless_table(table).to_csv(
                as_csv, mode="a", header=not number, index=False, float_format="%.6g"
            )
            cut = table["touches_border"].astype(bool)
            counted.update(table["cell_type"] if config.count_border else table["cell_type"][~cut])
    return counted


def cells_in(folder: Path) -> int:
    """How many cells an image's result holds."""
    import pyarrow.parquet as pq

    return int(pq.read_metadata(folder / "cells.parquet").num_rows)


def _parts(files: Sequence[Path]) -> Iterator["pd.DataFrame"]:
    """The rows of all files in their order, many rows at a time."""
    import pandas as pd

    held: list[pd.DataFrame] = []
    rows = 0
    for file in files:
        held.append(pd.read_parquet(file))
        rows += len(held[-1])
        if rows >= ROWS or file == files[-1]:
            yield pd.concat(held, ignore_index=True)
            held.clear()
            rows = 0


def summarise(
    out: Path, config: CountConfig = CountConfig(), *, where: str = "", least_probability: float = 0.0
) -> list[Slide]:
    """The differential of each slide, from the files that are there now.

    ``where`` keeps slides whose name holds this text; cells below ``least_probability`` are left out.
    """
    import pyarrow.dataset as ds

    if not (Path(out) / TABLE).is_dir():
        exported = any(Path(out).glob("*/run.json"))
        other = f"; `napari-bloodcell report {out}` reads what the window exported" if exported else ""
        raise DataError(f"{out} holds no results of `analyse`. Give the folder that was its --out{other}.")
    slides = []
    patients = patients_of(Path(out))
    parts = [(name, files) for name, files in parts_of(Path(out)) if files]
    if where and not any(where in name for name, _ in parts):
        there = ", ".join(name for name, _ in parts) or "none"
        raise DataError(f"No slide in {out} has {where!r} in its name. Its slides: {there}.")
    for name, files in parts:
        if where not in name:
            continue
        table = ds.dataset([str(f) for f in files], format="parquet")
        keep = ds.field("cell_type_prob") >= least_probability if least_probability else None
        columns = ["cell_type", "touches_border"]
        cells: Counter[str] = Counter()
        for batch in table.to_batches(columns=columns, filter=keep):
            types, cut = batch.column(0).to_pylist(), batch.column(1).to_pylist()
            cells.update(t for t, c in zip(types, cut, strict=True) if config.count_border or not c)
        known = known_classes([_record(Path(out) / file.stem) for file in files])
        differential = count(cells, config, known=known)
        slides.append(
            Slide(
                name=name,
                images=len(files),
                cells=cells,
                differential=differential,
                known=known,
                patient=patients.get(name, ""),
            )
        )
    return slides


def with_patients(slides: Sequence[Slide], table: Path | None) -> list[Slide]:
    """``table``: whose the slides are (CSV); it goes before what the list of images said."""
    if table is None:
        return list(slides)
    told = read_patients(table)
    check_slides(table, told, [one.name for one in slides])
    return [replace(one, patient=told.get(one.name, one.patient)) for one in slides]


def by_patient(slides: Sequence[Slide], config: CountConfig = CountConfig()) -> list[Patient]:
    """The differential of each patient. What is no patient's is left out: ``without_patient`` names it."""
    named = {one.name: one for one in slides}
    return of_patients(each_of(slides), lambda names: pooled([named[name] for name in names], config))


def each_of(slides: Sequence[Slide]) -> list[OneSlide]:
    return [OneSlide(one.name, one.patient, one.images, one.differential) for one in slides]


def pooled(slides: Sequence[Slide], config: CountConfig = CountConfig()) -> Differential:
    """All slides as one."""
    total: Counter[str] = sum((s.cells for s in slides), Counter())
    known = frozenset[str]().union(*(s.known for s in slides)) if all(s.known for s in slides) else ()
    return count(total, config, known=known)


def _record(folder: Path) -> dict[str, Any]:
    try:
        return read_json(folder / RUN, "run")[1]
    except ArtifactError:  # it is being made anew
        return {}
